"""Nothing of a client's outlives its keeper, its channel, launcher or server."""

import contextlib
import os
import queue
import random
import resource
import select
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from stead.errors import LauncherUnavailableError
from stead.model.posix_identity import PosixIdentity
from stead.privileged.launching import Launcher
from stead.privileged.orders import Order
from stead.privileged.system_uids import DEFAULT_GUARD_UID
from stead.privileged.trees import _read

pytestmark = pytest.mark.root

PROGRAMS = Path(__file__).parent / "programs"
PATH = ((b"PATH", b"/usr/bin:/bin"),)
WAIT = 60
LEAVES_A_DAEMON = "( setsid sleep 600 >/dev/null 2>&1 & ); "


@pytest.fixture
def uid():
    """Give a uid that no other run of these tests uses now."""
    return 1_000_000 + os.getpid()


@pytest.fixture
def run(launcher, uid):
    """Give what starts a shell script as the client."""

    def begin(script, **fields):
        order = Order(
            PosixIdentity(uid, uid),
            (b"sh", b"-c", script.encode()),
            environment=PATH,
            **fields,
        )
        null = os.open(os.devnull, os.O_RDWR)
        try:
            return launcher.start(order, (null, null, null), on_end=ends.put)
        finally:
            os.close(null)

    ends = queue.SimpleQueue()
    begin.ends = ends
    return begin


def processes_of(uid):
    found = []
    for status in Path("/proc").glob("[0-9]*/status"):
        with contextlib.suppress(OSError):
            text = status.read_text()
            if f"\nUid:\t{uid}\t" in text and "\nState:\tZ" not in text:
                found.append(int(status.parent.name))
    return found


def processes_outside(group, uid):
    """Return the processes of a uid that have left the process group."""
    found = []
    for pid in processes_of(uid):
        with contextlib.suppress(ProcessLookupError):
            if os.getpgid(pid) != group:
                found.append(pid)
    return found


def wait_until(claim):
    """Look until the claim is true; a machine that needs this long has a defect."""
    deadline = time.monotonic() + WAIT
    while not claim():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def kill(pid):
    """Kill a process that may have ended already: by itself, or with its parent."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def wait_for_end(pid):
    with contextlib.suppress(ProcessLookupError):
        held = os.pidfd_open(pid)
        try:
            assert select.select([held], [], [], WAIT)[0]
        finally:
            os.close(held)


def launcher_of(launcher):
    return launcher._processes[-1]._process.pid


def keeper_of(child):
    return _read(child.started.result(WAIT)).parent


def test_a_daemon_survives_a_naive_kill_of_the_group_and_not_ours(run, uid):
    naive = subprocess.Popen(
        ["sh", "-c", LEAVES_A_DAEMON + "exec sleep 600"],
        user=uid,
        group=uid,
        extra_groups=[],
        start_new_session=True,
    )
    wait_until(lambda: processes_outside(naive.pid, uid))
    os.killpg(naive.pid, signal.SIGKILL)
    naive.wait()
    survivors = processes_outside(naive.pid, uid)
    assert 1 == len(survivors)
    os.kill(survivors[0], signal.SIGKILL)
    wait_until(lambda: not processes_of(uid))

    ours = run(LEAVES_A_DAEMON + "exec sleep 600")
    wait_until(lambda: len(processes_of(uid)) == 2)
    ours.end()
    assert -signal.SIGKILL == ours.ended.result(WAIT)
    assert [] == processes_of(uid)


def test_what_a_process_leaves_behind_ends_before_its_end_is_told(run, uid):
    left = run(LEAVES_A_DAEMON + "sleep 600 & exit 3")
    assert 3 == left.ended.result(WAIT)
    assert [] == processes_of(uid)


def test_a_tree_that_forks_without_end_is_ended(watch, uid, monkeypatch):
    monkeypatch.syspath_prepend(PROGRAMS)
    launcher = Launcher("bombs", watch, guard=DEFAULT_GUARD_UID, preload=("bodies",))
    order = Order(
        PosixIdentity(uid, uid),
        body="bodies:multiplies",
        limits=((resource.RLIMIT_NPROC, 40, 40),),
    )
    with contextlib.closing(launcher), Path(os.devnull).open("r+b") as null:
        child = launcher.start(
            order, (null.fileno(),) * 3, extra=[null.fileno()], on_end=bool
        )
        wait_until(lambda: len(processes_of(uid)) >= 20)
        child.end()
        assert -signal.SIGKILL == child.ended.result(WAIT)
        assert [] == processes_of(uid)


def test_processes_that_stop_or_ignore_signals_are_ended(run, uid):
    stubborn = run("trap '' TERM INT HUP; (kill -STOP $$; sleep 600) & sleep 600; wait")
    wait_until(lambda: processes_of(uid))
    stubborn.end()
    assert -signal.SIGKILL == stubborn.ended.result(WAIT)
    assert [] == processes_of(uid)


def test_a_killed_keeper_takes_its_whole_tree_with_it(run, uid):
    child = run(LEAVES_A_DAEMON + "exec sleep 600")
    wait_until(lambda: len(processes_of(uid)) == 2)
    os.kill(keeper_of(child), signal.SIGKILL)
    assert child.ended.result(WAIT) is None
    assert run.ends.get(timeout=WAIT) is None
    wait_until(lambda: not processes_of(uid))
    assert 0 == run("exit 0").ended.result(WAIT)


def test_the_keepers_own_tree_is_spared_when_another_keeper_is_killed(run, uid):
    kept, lost = run("exec sleep 600"), run(LEAVES_A_DAEMON + "exec sleep 600")
    wait_until(lambda: len(processes_of(uid)) == 3)
    os.kill(keeper_of(lost), signal.SIGKILL)
    assert lost.ended.result(WAIT) is None
    wait_until(lambda: processes_of(uid) == [kept.pid])
    kept.end()
    assert -signal.SIGKILL == kept.ended.result(WAIT)


def test_a_killed_launcher_takes_all_trees_with_it_and_the_next_order_starts_anew(
    run, uid, launcher
):
    children = [run(LEAVES_A_DAEMON + "exec sleep 600") for _ in range(3)]
    wait_until(lambda: len(processes_of(uid)) == 6)
    first = launcher_of(launcher)
    os.kill(first, signal.SIGKILL)
    for child in children:
        assert child.ended.result(WAIT) in {None, -signal.SIGKILL}
    wait_until(lambda: not processes_of(uid))
    wait_until(lambda: launcher._processes[-1].is_gone)
    assert 0 == run("exit 0").ended.result(WAIT)
    assert first != launcher_of(launcher)


def test_orders_that_a_killed_launcher_did_not_take_fail(run, uid, stopped):
    pids = stopped()
    child = run("exec sleep 600")
    for each in pids:
        kill(each)
    with pytest.raises(LauncherUnavailableError, match="was not started"):
        child.started.result(WAIT)
    assert child.ended.result(WAIT) is None
    assert [] == processes_of(uid)
    assert 0 == run("exit 0").ended.result(WAIT)


def children_of(parent):
    found = [_read(int(path.name)) for path in Path("/proc").glob("[0-9]*")]
    return [each.pid for each in found if each is not None and each.parent == parent]


def test_keepers_that_wait_can_be_killed_one_after_another(run, launcher):
    launcher.open()
    for _ in range(5):
        waiting = children_of(launcher_of(launcher))
        for pid in waiting:
            kill(pid)
            wait_for_end(pid)
        assert 0 == run("exit 0").ended.result(WAIT)


def test_a_child_that_is_killed_before_its_order_is_a_refusal(run, launcher):
    launcher.open()
    wait_until(lambda: children_of(launcher_of(launcher)))
    keeper = children_of(launcher_of(launcher))[0]
    wait_until(lambda: children_of(keeper))
    os.kill(children_of(keeper)[0], signal.SIGKILL)
    child = run("exit 0")
    with pytest.raises(LauncherUnavailableError, match="the child ended before it"):
        child.started.result(WAIT)
    assert child.ended.result(WAIT) is None
    assert 0 == run("exit 0").ended.result(WAIT)


def test_a_child_that_waits_ends_with_its_keeper_even_if_it_is_stopped(run, launcher):
    """It would keep the launcher's sockets open, and the server would not miss it."""
    launcher.open()
    pid = launcher_of(launcher)
    wait_until(lambda: children_of(pid))
    keeper = children_of(pid)[0]
    wait_until(lambda: children_of(keeper))
    waiting = children_of(keeper)[0]
    # It ends with its keeper from when it says so to the kernel; a session comes after.
    wait_until(lambda: os.getsid(waiting) == waiting)
    os.kill(waiting, signal.SIGSTOP)
    os.kill(keeper, signal.SIGKILL)
    os.kill(pid, signal.SIGKILL)
    wait_for_end(waiting)
    wait_until(lambda: launcher._processes[-1].is_gone)
    assert 0 == run("exit 0").ended.result(WAIT)


def test_closing_ends_every_tree_and_the_launcher(run, uid, launcher):
    children = [run(LEAVES_A_DAEMON + "exec sleep 600") for _ in range(3)]
    wait_until(lambda: len(processes_of(uid)) == 6)
    pid = launcher_of(launcher)
    launcher.close()
    assert {-signal.SIGKILL} == {child.ended.result(0) for child in children}
    assert [] == processes_of(uid)
    assert not Path(f"/proc/{pid}").exists()


@pytest.mark.parametrize("copy", [(), ("copy",)])
def test_a_killed_server_takes_everything_with_it(uid, copy):
    """Also where a process that was forked from it keeps all its sockets open."""
    with subprocess.Popen(
        [sys.executable, PROGRAMS / "abandoned.py", str(uid), *copy],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as server:
        assert server.stdout.readline()
        wait_until(lambda: len(processes_of(uid)) == 6)
        server.kill()
        wait_until(lambda: not processes_of(uid))


@pytest.mark.slow
def test_kills_at_random_under_load_leave_nothing_and_lose_no_order(run, uid, launcher):
    """Every order ends, whatever is killed, and the last ones are served again."""
    chance = random.Random(20)  # noqa: S311  # which one is killed, not a secret
    outcomes = queue.SimpleQueue()

    def load():
        for _ in range(25):
            child = run(LEAVES_A_DAEMON + "exit 5")
            outcomes.put(child.ended.result(WAIT))

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        with contextlib.suppress(ProcessLookupError, IndexError):
            pid = launcher_of(launcher)
            if chance.random() < 0.8:
                keeper = chance.choice(children_of(pid))
                os.kill(keeper, signal.SIGKILL)
                wait_for_end(keeper)
            else:
                # What a keeper leaves is the launcher's to end, if it gets the time.
                # One look can miss what loses its parent while /proc is read.
                wait_until(
                    lambda pid=pid: not any(have_orphans(pid, uid) for _ in range(3))
                )
                os.kill(pid, signal.SIGKILL)
        threads[0].join(0.02)
        for thread in threads[1:]:
            thread.join(0)
    told = [outcomes.get_nowait() for _ in range(100)]
    assert {None, 5, -signal.SIGKILL} >= set(told)
    assert 100 == sum(1 for _ in iter_now(run.ends))
    wait_until(lambda: not processes_of(uid))
    # The last kill may have met a launcher that nobody has missed yet.
    wait_until(lambda: run("exit 0").ended.result(WAIT) == 0)


def have_orphans(pid, uid):
    return bool({*children_of(pid)} & {*processes_of(uid)})


def iter_now(ends):
    with contextlib.suppress(queue.Empty):
        while True:
            yield ends.get_nowait()
