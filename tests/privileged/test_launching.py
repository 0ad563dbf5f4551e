"""Processes as a client, from the order to the end of the whole tree."""

import contextlib
import errno
import json
import os
import queue
import resource
import signal
import socket
from dataclasses import replace
from pathlib import Path

import pytest

from stead.errors import (
    ImpersonationRefusedError,
    InvalidRequestError,
    KernelRefusedError,
    LauncherUnavailableError,
    QuotaExceededError,
    ServerClosedError,
)
from stead.model.posix_identity import PosixIdentity
from stead.privileged.child import Child, begin
from stead.privileged.launching import Launcher
from stead.privileged.orders import Order
from stead.privileged.parcels import MAXIMUM_EXTRA
from stead.privileged.system_uids import DEFAULT_GUARD_UID
from stead.privileged.watch import Watch

pytestmark = pytest.mark.root

CLIENT = PosixIdentity(70001, 70001, (70005,))
PROGRAMS = str(Path(__file__).parent / "programs")
WAIT = 60


@pytest.fixture
def serving(watch, monkeypatch):
    """Give what runs a function of ``programs/bodies.py`` as the client.

    It gives the process, and what waits for the function's answer.
    """
    monkeypatch.syspath_prepend(PROGRAMS)
    launcher = Launcher("workers", watch, guard=DEFAULT_GUARD_UID, preload=("bodies",))

    def begin(name, identity=CLIENT):
        body = name if ":" in name else f"bodies:{name}"
        order = Order(identity, environment=((b"A", b"b"),), body=body)
        ours, theirs = socket.socketpair()
        with theirs, open_null() as null:
            child = launcher.start(
                order, (null, null, null), extra=[theirs.fileno()], on_end=no_note
            )

        def answer():
            with ours, ours.makefile() as file:
                return json.loads(file.readline())

        sockets.append(ours)
        return child, answer

    sockets = []
    with contextlib.closing(launcher):
        yield begin
    for each in sockets:
        each.close()


def fields(status):
    """Read the lines of a process's status (proc_pid_status(5))."""
    return dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)


def test_a_program_runs_as_the_client_with_all_ids_and_no_capability(output_of):
    status = fields(output_of("cat", "/proc/self/status"))
    assert "\t".join(["70001"] * 4) == status["Uid"]
    assert "\t".join(["70001"] * 4) == status["Gid"]
    assert "70005" == status["Groups"].strip()
    names = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
    assert {"0" * 16} == {status[name] for name in names}


def test_its_environment_is_what_the_order_says_and_nothing_else(output_of):
    given = ((b"PATH", b"/usr/bin:/bin"), (b"ODD", b"\xff=\n"))
    text = output_of("env", "-0", environment=given)
    assert {"PATH=/usr/bin:/bin", "ODD=\ufffd=\n", ""} == set(text.split("\0"))


def test_it_has_the_descriptors_of_the_order_and_nothing_else(output_of, world):
    (world / "note").write_text("extra")
    with (world / "note").open() as extra:
        text = output_of(
            "sh", "-c", "ls /proc/self/fd; cat <&3", extra=[extra.fileno()]
        )
    # ls opens one itself, behind those it was given.
    assert ["0", "1", "2", "3", "4", "extra"] == text.split()


def test_descriptors_may_stand_where_others_belong(launcher):
    """All orders of 0, 1 and 2 and one more come out as they were asked for."""
    ends = [os.pipe() for _ in range(4)]
    writing = [end[1] for end in ends]
    order = Order(
        CLIENT, (b"/bin/sh", b"-c", b"for i in 0 1 2 3; do echo $i >&$i; done")
    )
    child = launcher.start(
        order, (writing[3], writing[0], writing[2]), extra=[writing[1]], on_end=no_note
    )
    for descriptor in writing:
        os.close(descriptor)
    assert child.ended.result(WAIT) == 0
    said = []
    for reading, _ in ends:
        said.append(os.read(reading, 10))
        os.close(reading)
    assert [b"1\n", b"3\n", b"2\n", b"0\n"] == said


def no_note(_status):
    """Take no note."""


# Signals 32 and 33: libc lets nobody handle them, and ignores them in what it spawns.
LIBC_S_OWN = 0b11 << 31


def test_its_signals_are_handled_as_if_nobody_had_touched_them(start, output_of):
    before = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    try:
        status = fields(output_of("cat", "/proc/self/status"))
    finally:
        signal.signal(signal.SIGUSR1, before)
    masks = {int(status[name], 16) for name in ("SigIgn", "SigBlk", "SigCgt")}
    assert {0} == {mask & ~LIBC_S_OWN for mask in masks}


def test_it_leads_a_session_of_its_own(start):
    child, output = start("sh", "-c", "cut -d' ' -f1,5,6,7 /proc/$$/stat")
    pid = child.started.result(WAIT)
    assert f"{pid} {pid} {pid} 0\n" == output()


def test_umask_directory_and_limits_are_the_orders(output_of):
    text = output_of(
        "sh",
        "-c",
        "pwd; umask; ulimit -Sn; ulimit -Hn",
        directory=b"/usr",
        umask=0o027,
        limits=((resource.RLIMIT_NOFILE, 10, 20),),
    )
    assert ["/usr", "0027", "10", "20"] == text.split()


def test_a_limit_below_what_its_descriptors_need_is_still_obeyed(output_of, world):
    (world / "note").write_text("")
    with (world / "note").open() as extra:
        text = output_of(
            "/bin/sh",
            "-c",
            "echo hello; : </dev/null || true",
            extra=[extra.fileno()],
            limits=((resource.RLIMIT_NOFILE, 3, 3),),
        )
    # The dynamic loader cannot even open the C library.
    assert "error while loading shared libraries" in text


def test_a_home_that_the_client_cannot_enter_is_replaced_only_if_ordered(
    output_of, refusal_of, world
):
    home = world / "home"
    home.mkdir(mode=0o700)
    refusal = refusal_of("pwd", directory=bytes(home))
    assert isinstance(refusal, KernelRefusedError)
    assert errno.EACCES == refusal.errno
    assert "/\n" == output_of("pwd", directory=bytes(home), fallback_directory=b"/")
    refusal = refusal_of("pwd", directory=bytes(home), fallback_directory=bytes(home))
    assert errno.EACCES == refusal.errno


@pytest.mark.parametrize("flag", [False, True])
def test_new_privileges_are_forbidden_on_request(output_of, flag):
    status = fields(output_of("cat", "/proc/self/status", no_new_privileges=flag))
    assert str(int(flag)) == status["NoNewPrivs"]


def test_a_terminal_becomes_its_controlling_one(start):
    ours, theirs = os.openpty()
    os.fchown(theirs, CLIENT.uid, CLIENT.gid)
    _, output = start("sh", "-c", "tty; ps -o tty= -p $$", stdin=theirs, terminal=True)
    name = os.ttyname(theirs)
    os.close(theirs)
    assert [name, name.removeprefix("/dev/")] == output().split()
    os.close(ours)


def test_a_terminal_that_is_none_is_refused(refusal_of):
    refusal = refusal_of("true", terminal=True)
    assert isinstance(refusal, ImpersonationRefusedError)
    assert "at terminal: inappropriate ioctl" in str(refusal)


def test_another_sessions_terminal_is_not_taken_away(refusal_of, start):
    ours, theirs = os.openpty()
    child, _ = start("sleep", "60", stdin=theirs, terminal=True)
    child.started.result(WAIT)
    refusal = refusal_of("true", stdin=theirs, terminal=True)
    assert "at terminal: operation not permitted" in str(refusal)
    os.close(theirs)
    child.end()
    assert -signal.SIGKILL == child.ended.result(WAIT)
    os.close(ours)


@pytest.mark.parametrize(
    ("program", "number"),
    [
        ("no-such-program", errno.ENOENT),
        ("/no/such/program", errno.ENOENT),
        ("/etc/passwd/program", errno.ENOENT),
        ("/etc/passwd", errno.EACCES),
        ("passwd", errno.EACCES),
    ],
)
def test_what_the_client_cannot_execute_is_refused_by_the_kernel(
    refusal_of, program, number
):
    places = ((b"PATH", b"/usr/share:/etc"),)
    refusal = refusal_of(program, environment=places)
    assert isinstance(refusal, KernelRefusedError)
    assert number == refusal.errno
    assert program == refusal.object_name


def test_programs_are_looked_for_in_the_orders_path_alone(output_of, refusal_of, world):
    tool = world / "tool"
    tool.write_text("#!/bin/sh\necho found\n")
    tool.chmod(0o755)
    path = b"relative::/nowhere:/etc/passwd:" + bytes(world)
    assert "found\n" == output_of("tool", environment=((b"PATH", path),))
    refusal = refusal_of(
        "tool", environment=((b"PATH", b":."),), directory=bytes(world)
    )
    assert errno.ENOENT == refusal.errno
    assert errno.ENOENT == refusal_of("true", environment=()).errno


def test_a_program_in_no_known_format_is_refused(refusal_of, world):
    tool = world / "tool"
    tool.write_text("echo found\n")
    tool.chmod(0o755)
    assert errno.ENOEXEC == refusal_of(tool).errno


@pytest.mark.parametrize(
    ("identity", "words"),
    [
        (PosixIdentity(0, 0), "uid 0 is never impersonated"),
        (PosixIdentity(DEFAULT_GUARD_UID, 70001), "is never impersonated"),
        (PosixIdentity(70001, DEFAULT_GUARD_UID), "is never impersonated"),
        (PosixIdentity(33, 33), "no policy names it"),
        (PosixIdentity(70001, 0), "a member of group 0"),
        (PosixIdentity(70001, 70001, (0,)), "a member of group 0"),
    ],
)
def test_the_launcher_itself_refuses_whom_nobody_may_become(
    refusal_of, identity, words
):
    refusal = refusal_of("true", identity=identity)
    assert isinstance(refusal, ImpersonationRefusedError)
    assert words in str(refusal)


def test_a_system_uid_that_the_policy_names_may_be_a_client(watch):
    with contextlib.closing(
        Launcher("test", watch, guard=DEFAULT_GUARD_UID, allowed=frozenset({33}))
    ) as launcher:
        order = Order(PosixIdentity(33, 33), (b"/bin/true",))
        with open_null() as null:
            child = launcher.start(order, (null, null, null), on_end=no_note)
        assert 0 == child.ended.result(WAIT)


@contextlib.contextmanager
def open_null():
    null = os.open(os.devnull, os.O_RDWR)
    try:
        yield null
    finally:
        os.close(null)


def test_a_limit_that_there_is_not_is_refused(refusal_of):
    refusal = refusal_of("true", limits=((4711, 1, 1),))
    assert isinstance(refusal, ImpersonationRefusedError)
    assert "at limits: ValueError" in str(refusal)


@pytest.mark.parametrize(
    ("script", "status"), [("exit 7", 7), ("kill -TERM $$", -signal.SIGTERM)]
)
def test_the_exit_status_is_told_as_subprocess_counts(launcher, script, status):
    told = queue.SimpleQueue()
    with open_null() as null:
        order = Order(CLIENT, (b"/bin/sh", b"-c", script.encode()))
        child = launcher.start(order, (null, null, null), on_end=told.put)
    assert child.pid in {None, child.started.result(WAIT)}
    assert status == child.ended.result(WAIT)
    assert status == told.get_nowait()
    assert told.empty()
    child.signal(signal.SIGTERM)  # it has ended: nothing happens
    child.end()


def test_a_signal_reaches_the_process_itself(start):
    child, output = start("sh", "-c", "trap 'echo caught; exit' TERM; echo; cat")
    child.started.result(WAIT)
    assert child.pid == child.started.result()
    child.signal(signal.SIGTERM)
    # Whether it came before the trap was set or after, it came.
    assert output() in {"", "\ncaught\n", "\n"}
    assert child.ended.result() in {0, -signal.SIGTERM}


def test_no_such_signal_is_an_error_and_harms_nobody(start):
    child, _ = start("sleep", "60")
    with pytest.raises(ValueError, match="4711"):
        child.signal(4711)
    child.end()
    assert child.ended.result(WAIT) in {-signal.SIGKILL, None}


def test_signals_that_are_too_many_are_refused_and_not_waited_for(start):
    child, _ = start("sleep", "60")
    pid = child.started.result(WAIT)
    keeper = int(fields(Path(f"/proc/{pid}/status").read_text())["PPid"])
    os.kill(keeper, signal.SIGSTOP)

    def flood():
        for _ in range(100_000):
            child.signal(signal.SIGCONT)

    with pytest.raises(LauncherUnavailableError, match="takes no more signals"):
        flood()
    os.kill(keeper, signal.SIGCONT)
    child.end()
    assert -signal.SIGKILL == child.ended.result(WAIT)


def test_the_program_does_not_wait_for_whoever_holds_no_descriptor_of_it(start):
    """The pipe ends with the process: no keeper holds the other end."""
    assert "" == start("true")[1]()


def test_a_function_runs_as_the_client_with_its_descriptor(serving):
    child, answer = serving("who")
    said = answer()
    assert [70001] * 3 == said["uids"]
    assert [70001] * 3 == said["gids"]
    assert [70005] == said["groups"]
    assert {"A": "b"} == said["environment"]
    assert 0 == said["dumpable"]
    assert ["0", "1", "2", "3"] == said["descriptors"]
    assert 7 == child.ended.result(WAIT)


@pytest.mark.parametrize("name", ["fails", "leaves", "returns_no_number"])
def test_a_function_that_fails_ends_its_process_with_1_or_127(serving, name):
    child, _ = serving(name)
    assert child.started.result(WAIT) > 0
    assert child.ended.result(WAIT) in {1, 127}


@pytest.mark.parametrize("body", ["bodies:nothing", "no_such_module:f", "bodies:"])
def test_a_function_that_there_is_not_is_refused(serving, body):
    child, _ = serving(body)
    with pytest.raises(ImpersonationRefusedError, match="at body: "):
        child.started.result(WAIT)
    assert child.ended.result(WAIT) is None


def test_a_function_is_never_started_without_a_descriptor(launcher):
    order = Order(CLIENT, body="module:function")
    with pytest.raises(InvalidRequestError, match="too many descriptors, or none"):
        launcher.start(order, (0, 1, 2), on_end=no_note)


def test_too_many_descriptors_are_refused(launcher):
    order = Order(CLIENT, (b"/bin/true",))
    extra = (0,) * (MAXIMUM_EXTRA + 1)
    with pytest.raises(InvalidRequestError, match="too many descriptors, or none"):
        launcher.start(order, (0, 1, 2), extra=extra, on_end=no_note)


def test_a_descriptor_that_is_not_open_is_refused_before_anything_runs(
    launcher, descriptors
):
    launcher.open()
    before = descriptors()
    with pytest.raises(LauncherUnavailableError, match="bad file descriptor"):
        launcher.start(Order(CLIENT, (b"/bin/true",)), (4711, 1, 2), on_end=no_note)
    assert set() == descriptors() - before


def test_nothing_stays_open_in_the_server_when_a_process_has_ended(
    start, descriptors, launcher
):
    launcher.open()
    before = descriptors()
    for _ in range(3):
        start("true")[1]()
    assert set() == descriptors() - before


def test_what_a_keeper_says_is_heard_though_it_left_a_signal_unread(watch):
    """The kernel tells of the unread signal first, which is no word of the keeper's."""
    naive, its_peer = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for one, other in ((naive, its_peer), (ours, theirs)):
        one.send(b'{"signal": 15}')
        other.send(b'{"started": 4711}')
        other.send(b'{"ended": 3}')
        other.close()
    with naive, pytest.raises(ConnectionResetError):
        naive.recv(100)
    child = Child(watch, ours, name="test", on_end=no_note)
    assert (4711, 3) == (child.started.result(WAIT), child.ended.result(WAIT))


def test_a_copy_of_a_handle_in_another_process_asks_and_ends_nothing(watch):
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        theirs.setblocking(False)
        child = Child(watch, ours, name="cat", on_end=no_note)
        watch.remove(ours)
        child._server += 1  # as a forked process sees it
        child.started._pid += 1
        with pytest.raises(ServerClosedError):
            child.signal(signal.SIGTERM)
        for ask in (child.started.result, child.started.exception):
            with pytest.raises(ServerClosedError):
                ask(WAIT)
        child.end()
        assert -1 == ours.fileno()
        assert b"" == theirs.recv(10)  # nothing was said: it is closed, and no more


def test_a_copy_of_a_launcher_in_another_process_starts_nothing(watch):
    launcher = Launcher("copy", watch, guard=DEFAULT_GUARD_UID)
    launcher._terms = replace(launcher._terms, server=launcher._terms.server + 1)
    with pytest.raises(ServerClosedError, match="another process"):
        launcher.open()
    launcher.close()


@pytest.mark.parametrize(
    ("stage", "kind"),
    [
        ("quota", QuotaExceededError),
        ("broker", LauncherUnavailableError),
        ("exec", KernelRefusedError),
        ("ids", ImpersonationRefusedError),
    ],
)
def test_a_refusal_says_who_refused(stage, kind):
    watch = Watch("test")
    child, theirs = begin(watch, "id", lambda _: None)
    with theirs:
        said = {"refused": stage, "errno": 13, "text": "no more"}
        theirs.send(json.dumps(said).encode())
        with pytest.raises(kind, match="no more"):
            child.started.result(WAIT)
    child.let_go()
    watch.close()
