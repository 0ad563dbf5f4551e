"""Programs that a server starts for its clients, as the kernel sees them."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pwd
import resource
import signal
import stat
import subprocess
import termios
import threading
from contextlib import suppress
from pathlib import Path
from subprocess import DEVNULL, PIPE, STDOUT

import pytest
from tests.lives import long_enough

from stead.errors import (
    InvalidRequestError,
    KernelRefusedError,
    LoopThreadError,
    ProcessTimeoutError,
)

pytestmark = pytest.mark.root

SECONDS = 60


@pytest.fixture
def theirs(kernel_server, client_of):
    return client_of(kernel_server, "alice")


@pytest.fixture
def told(theirs):
    """Give what returns what a program writes."""

    def ask(*argv, **options):
        with theirs.start(argv, stdout=PIPE, **options) as process:
            out, _ = process.communicate(timeout=SECONDS)
        assert 0 == process.returncode
        return out.decode()

    return ask


def shell(script):
    return "/bin/sh", "-c", script


# --- who it is --------------------------------------------------------------------


def test_a_program_runs_with_the_clients_ids_and_groups(kernel_server, told):
    naive = subprocess.run(["/usr/bin/id"], capture_output=True, check=True)
    assert b"uid=0(root)" in naive.stdout
    assert "uid=70001 gid=70001 groups=70001" == told("id").strip()
    status = told("cat", "/proc/self/status").splitlines()
    ids = {line.split(":")[0]: line.split()[1:] for line in status}
    assert ["70001"] * 4 == ids["Uid"] == ids["Gid"]
    assert ["0000000000000000"] == ids["CapEff"] == ids["CapPrm"] == ids["CapInh"]


def test_the_environment_is_not_the_servers(told, monkeypatch):
    monkeypatch.setenv("SERVER_SECRET", "tiger")
    naive = subprocess.run(["/usr/bin/env"], capture_output=True, check=True)
    assert b"tiger" in naive.stdout
    found = dict(line.split("=", 1) for line in told("env").splitlines())
    assert {"HOME", "USER", "LOGNAME", "SHELL", "PATH", "LANG"} == found.keys()
    assert ("/", "70001") == (found["HOME"], found["USER"])


def test_variables_are_set_beside_what_a_logon_gives_or_taken_out(told):
    lines = told("env", environment={"COLOR": "blue", "LANG": None, "HOME": b"/x"})
    found = dict(line.split("=", 1) for line in lines.splitlines())
    assert ("blue", "/x") == (found["COLOR"], found["HOME"])
    assert "LANG" not in found
    assert "PATH" in found


def test_a_uid_that_the_host_knows_is_at_home_there(kernel_server, client_of):
    entry = pwd.getpwnam("nobody")
    kernel_server.accounts.add("dora", uid=70004)
    dora = client_of(kernel_server, "dora")
    assert entry.pw_uid != 70004
    with dora.start(shell("pwd; cd; pwd"), stdout=PIPE) as process:
        assert b"/\n/\n" == process.communicate(timeout=SECONDS)[0]


def test_it_starts_where_it_is_told_to_if_the_client_may_enter(told, theirs, world):
    assert str(world) == told("pwd", directory=world).strip()
    closed = world / "closed"
    closed.mkdir(mode=0o700)
    with pytest.raises(KernelRefusedError) as refused:
        theirs.start(["/bin/true"], directory=closed)
    assert 13 == refused.value.errno


def test_umask_and_limits_are_those_asked_for(told):
    assert "0022" == told(*shell("umask")).strip()
    assert "0077" == told(*shell("umask"), umask=0o077).strip()
    limits = {resource.RLIMIT_NOFILE: (31, 32)}
    assert (
        "31 32" == told(*shell("echo $(ulimit -Sn) $(ulimit -Hn)"), limits=limits)[:-1]
    )


@pytest.mark.parametrize(("asked", "found"), [(False, "0"), (True, "1")])
def test_set_uid_programs_give_it_nothing_on_request(told, asked, found):
    status = told("cat", "/proc/self/status", no_new_privileges=asked)
    assert f"NoNewPrivs:\t{found}" in status


# --- what it has open -------------------------------------------------------------


def test_it_has_the_null_device_and_nothing_of_the_servers(told, theirs, world):
    with (world / "store" / "kept").open("w") as kept:
        os.set_inheritable(kept.fileno(), True)
        naive = subprocess.run(
            ["/bin/ls", "/proc/self/fd"],
            capture_output=True,
            check=True,
            close_fds=False,
        )
        assert str(kept.fileno()) in naive.stdout.decode().split()
        # Nothing but the three, and the one by which `ls` looks.
        assert ["0", "1", "2", "3"] == told("ls", "/proc/self/fd").split()
    links = told(*shell("readlink /proc/self/fd/0 /proc/self/fd/2"))
    assert ["/dev/null"] * 2 == links.split()
    with theirs.start(
        shell("exec 1>&2; readlink /proc/$$/fd/1"), stderr=PIPE
    ) as process:
        assert (None, b"/dev/null\n") != process.communicate(timeout=SECONDS)


def test_three_pipes_carry_much_without_waiting_for_each_other(theirs):
    given = os.urandom(1 << 20)
    argv = ["/usr/bin/tee", "/dev/stderr"]
    with theirs.start(argv, stdin=PIPE, stdout=PIPE, stderr=PIPE) as process:
        out, err = process.communicate(given, timeout=SECONDS)
    assert (given, given, 0) == (out, err, process.returncode)


def test_streams_may_be_files_descriptors_and_one_another(theirs, world):
    script = shell("cat; echo wrong >&2")
    with (world / "in").open("w+b") as given, (world / "out").open("w+b") as out:
        given.write(b"given\n")
        given.seek(0)
        with theirs.start(
            script, stdin=given, stdout=out.fileno(), stderr=STDOUT
        ) as process:
            assert (None, None) == process.communicate(timeout=SECONDS)
        out.seek(0)
        assert b"given\nwrong\n" == out.read()
        assert not given.closed


def test_what_opens_its_own_stdout_by_name_is_let_in(told):
    assert "told\n" == told(*shell("echo told > /dev/stdout"))


def test_one_that_reads_nothing_ends_all_the_same(theirs):
    with theirs.start(["/bin/true"], stdin=PIPE, stdout=PIPE) as process:
        assert (b"", None) == process.communicate(b"x" * (1 << 20), timeout=SECONDS)
    with theirs.start(["/bin/cat"], stdin=PIPE, stderr=DEVNULL) as process:
        process.stdin.write(b"never read back")
    assert 0 == process.returncode


def test_a_terminal_is_the_clients_and_its_controlling_one(theirs):
    script = "tty; stat -c '%u %a' $(tty); echo in > /dev/tty; read line; echo $line"
    with theirs.start(shell(script), terminal=True) as process:
        termios.tcgetattr(process.terminal)
        process.terminal.write(b"typed\n")
        came = b"".join(iter(lambda: some_of(process.terminal), b""))
        assert 0 == process.wait(SECONDS)
        with pytest.raises(InvalidRequestError, match="no such pipe"):
            process.communicate()
    words = came.decode().split()
    assert any(word.startswith("/dev/pts/") for word in words)
    assert {"70001", "600", "in", "typed"} <= set(words)


def some_of(terminal):
    try:
        return terminal.read(4096)
    except OSError:  # nobody has its other side open any more
        return b""


# --- how it ends ------------------------------------------------------------------


def test_exit_codes_and_signals_are_told_as_popen_tells_them(theirs):
    with theirs.start(shell("exit 7")) as process:
        assert 7 == process.wait(SECONDS)
    with theirs.start(["/bin/sleep", "600"]) as process:
        assert process.poll() is None
        assert "runs" in repr(process)
        process.terminate()
        assert -signal.SIGTERM == process.wait(SECONDS)
        process.terminate()  # nobody is there any more
    assert f"ended with {-signal.SIGTERM}" in repr(process)
    assert process.pid > 0


def test_a_wait_that_is_over_leaves_the_process_alone(theirs):
    with theirs.start(["/bin/cat"], stdin=PIPE, stdout=PIPE) as process:
        with pytest.raises(ProcessTimeoutError, match="goes on"):
            process.wait(0.01)
        with pytest.raises(ProcessTimeoutError):
            process.communicate(b"kept", timeout=0)
        assert (b"kept", None) == process.communicate(timeout=SECONDS)
    assert 0 == process.returncode


def test_its_own_time_out_kills_the_whole_tree(theirs):
    tree = shell("setsid sleep 600 & echo $!; sleep 600")

    def started(seconds):
        process = theirs.start(tree, stdout=PIPE, timeout=seconds)
        if not (said := process.stdout.readline()):
            process.wait(SECONDS)  # says so
        return process, int(said)

    process, daemon = long_enough(started, seconds=3.0, late=ProcessTimeoutError)
    with process, pytest.raises(ProcessTimeoutError, match="was killed"):
        process.wait(SECONDS)
    assert -signal.SIGKILL == process.returncode
    assert not is_alive(daemon)


def test_kill_ends_the_whole_tree_and_a_naive_one_does_not(theirs):
    script = "setsid sleep 600 & echo $!; exec sleep 600"
    with subprocess.Popen(shell(script), stdout=PIPE) as naive:
        left = int(naive.stdout.readline())
        naive.kill()
        naive.wait()
        assert is_alive(left)
        os.kill(left, signal.SIGKILL)
    with theirs.start(shell(script), stdout=PIPE) as process:
        daemon = int(process.stdout.readline())
        process.kill()
        assert -signal.SIGKILL == process.wait(SECONDS)
        assert not is_alive(daemon)


def is_alive(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


def test_one_that_is_forgotten_leaves_no_pipe_open(theirs):
    process = theirs.start(["/bin/cat"], stdin=PIPE, stdout=PIPE)
    child = process._life.child
    pipes = {os.fstat(end.fileno()).st_ino for end in (process.stdin, process.stdout)}
    assert 2 == len(pipes & open_pipes())
    del process
    # Its stdin is closed, so it ends by itself.
    assert 0 == child.ended.result(SECONDS)
    assert set() == pipes & open_pipes()


def open_pipes():
    """Return the numbers of all pipes that this process has an end of."""
    found = set()
    for entry in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # the one by which this is read
            status = entry.stat()
            found |= {status.st_ino} if stat.S_ISFIFO(status.st_mode) else set()
    return found


# --- what is refused before anything ----------------------------------------------


@pytest.mark.parametrize(
    ("argv", "options"),
    [
        ("id -u", {}),
        (b"id", {}),
        (Path("/bin/id"), {}),
        ([], {}),
        ([""], {}),
        (["id", 3], {}),
        (["id\0"], {}),
        (["id"], {"stdin": "input"}),
        (["id"], {"stdout": 4096}),
        (["id"], {"stdin": STDOUT}),
        (["id"], {"terminal": True, "stdout": PIPE}),
        (["id"], {"timeout": 0}),
        (["id"], {"umask": 0o7777}),
        (["id"], {"directory": "here"}),
        (["id"], {"environment": {"A=B": "c"}}),
        (["id"], {"environment": {"A": 3}}),
        (["id"], {"pam": True}),  # the host does not know the uid
    ],
)
def test_what_cannot_be_meant_is_refused(theirs, argv, options):
    with pytest.raises(InvalidRequestError):
        theirs.start(argv, **options)


@pytest.mark.parametrize(
    ("option", "advice"),
    [("close_fds", "the options are stdin, "), ("cwd", "`directory`"),
     ("env", "`environment`"), ("shell", "/bin/sh")],
)  # fmt: skip
def test_an_option_that_is_none_is_an_error_that_names_the_right_one(
    theirs, option, advice
):
    with pytest.raises(InvalidRequestError, match=option) as refused:
        theirs.start(["id"], **{option: "x"})
    assert advice in refused.value.advice


def test_a_program_that_is_not_there_is_the_kernels_refusal(theirs, world):
    for program, number in (("/no/such/program", 2), (str(world), 13), ("no-such", 2)):
        with pytest.raises(KernelRefusedError) as refused:
            theirs.start([program])
        assert number == refused.value.errno


def test_input_without_a_pipe_is_refused(theirs):
    with theirs.start(["/bin/true"]) as process:
        with pytest.raises(InvalidRequestError, match="no such pipe"):
            process.communicate(b"input")
        assert (None, None) == process.communicate(timeout=SECONDS)


def test_nothing_is_started_on_a_loops_thread(theirs):
    async def request():
        theirs.start(["id"])

    with pytest.raises(LoopThreadError, match=r"client.start") as refused:
        asyncio.run(request())
    assert "client.aio.start" in refused.value.advice


# --- from where -------------------------------------------------------------------


def test_a_program_is_started_in_blocks_and_handlers_too(kernel_server, theirs):
    def in_a_block():
        with theirs.impersonate():
            return asked(theirs)

    assert b"70001\n" == kernel_server.executor().submit(in_a_block).result(SECONDS)
    with theirs.impersonate():
        assert b"70001\n" == asked(theirs)
    kernel_server.operation("ask")(asked)
    assert b"70001\n" == kernel_server.call(theirs, "ask")


def asked(client) -> bytes:
    with client.start(["id", "-u"], stdout=PIPE) as process:
        return process.communicate(timeout=SECONDS)[0]


def test_many_threads_start_programs_of_several_clients_at_once(
    kernel_server, client_of
):
    wrong = []
    clients = [client_of(kernel_server, name) for name in ("alice", "bob")]

    def work(client, uid):
        answers = [asked(client) for _ in range(5)]
        wrong.extend(answer for answer in answers if answer != b"%d\n" % uid)

    threads = [
        threading.Thread(target=work, args=(client, 70001 + number))
        for number, client in enumerate(clients)
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [] == wrong


def test_the_servers_own_ends_are_inherited_by_nobody(theirs):
    with theirs.start(["/bin/cat"], stdin=PIPE, stdout=PIPE, stderr=PIPE) as process:
        for stream in (process.stdin, process.stdout, process.stderr):
            assert fcntl.fcntl(stream, fcntl.F_GETFD) & fcntl.FD_CLOEXEC
        process.stdin.close()
