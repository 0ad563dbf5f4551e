"""The launcher's own life: what it is started with, and how it ends."""

import contextlib
import os
import queue
import select
import signal
import socket
import sys
import threading
import time
from pathlib import Path

import pytest

from stead.errors import LauncherUnavailableError, ServerClosedError
from stead.model.posix_identity import PosixIdentity
from stead.privileged import launching, trees
from stead.privileged.launching import Launcher
from stead.privileged.orders import Order
from stead.privileged.parcels import Parcel
from stead.privileged.system_uids import DEFAULT_GUARD_UID
from stead.privileged.watch import Watch

pytestmark = pytest.mark.root

CLIENT = PosixIdentity(70001, 70001)
PROGRAMS = str(Path(__file__).parent / "programs")
WAIT = 60


@contextlib.contextmanager
def open_null():
    null = os.open(os.devnull, os.O_RDWR)
    try:
        yield null
    finally:
        os.close(null)


def no_note(_status):
    """Take no note."""


def test_what_is_preloaded_must_be_there(watch, monkeypatch):
    monkeypatch.syspath_prepend(PROGRAMS)
    for module, words in (
        ("no_such_module", "`no_such_module` cannot be preloaded: ModuleNotFoundError"),
        ("leaving", "`leaving` cannot be preloaded: SystemExit"),
        ("threading_module", "`threading_module` starts a thread"),
    ):
        launcher = Launcher(
            "workers", watch, guard=DEFAULT_GUARD_UID, preload=("json", module)
        )
        with contextlib.closing(launcher):
            with pytest.raises(LauncherUnavailableError, match=words):
                launcher.open()
            with open_null() as null:
                order = Order(CLIENT, (b"/bin/true",))
                child = launcher.start(order, (null, null, null), on_end=no_note)
            with pytest.raises(LauncherUnavailableError, match="was not started"):
                child.started.result(WAIT)


def test_a_launcher_that_cannot_be_executed_is_an_error(
    watch, monkeypatch, descriptors
):
    before = descriptors()
    monkeypatch.setattr(sys, "executable", "/no/such/interpreter")
    launcher = Launcher("test", watch, guard=DEFAULT_GUARD_UID)
    with contextlib.closing(launcher):
        with pytest.raises(LauncherUnavailableError, match="no such file"):
            launcher.open()
        with pytest.raises(LauncherUnavailableError, match="no such file"):
            launcher.start(Order(CLIENT, (b"/bin/true",)), (0, 1, 2), on_end=no_note)
    assert set() == descriptors() - before


def test_a_launcher_that_ends_at_once_is_an_error(watch, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    launcher = Launcher("test", watch, guard=DEFAULT_GUARD_UID)
    with (
        contextlib.closing(launcher),
        pytest.raises(LauncherUnavailableError, match="ended before it was ready"),
    ):
        launcher.open()


def test_a_server_started_without_standard_error_gives_none_to_its_launcher(
    launcher, monkeypatch
):
    monkeypatch.setattr(sys, "__stderr__", None)
    launcher.open()
    pid = launcher._processes[-1]._process.pid
    assert Path(f"/proc/{pid}/fd/2").samefile(os.devnull)


def test_a_launcher_that_is_not_ready_in_time_is_an_error(watch, monkeypatch, world):
    sleeper = world / "sleeper"
    sleeper.write_text("#!/bin/sh\nexec sleep 60\n")
    sleeper.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(sleeper))
    monkeypatch.setattr(launching, "_SECONDS_TO_OPEN", 0.01)
    monkeypatch.setattr(launching, "_SECONDS_TO_CLOSE", 0.01)
    launcher = Launcher("test", watch, guard=DEFAULT_GUARD_UID)
    with contextlib.closing(launcher):
        with pytest.raises(LauncherUnavailableError, match="not ready in time"):
            launcher.open()
        with open_null() as null:
            order = Order(CLIENT, (b"/bin/true",))
            child = launcher.start(order, (null, null, null), on_end=no_note)
    with pytest.raises(LauncherUnavailableError, match="was not started"):
        child.started.result(WAIT)


def test_a_closed_launcher_or_watch_starts_nothing(watch, descriptors):
    before = descriptors()
    order = Order(CLIENT, (b"/bin/true",))
    launcher = Launcher("test", watch, guard=DEFAULT_GUARD_UID)
    launcher.close()
    with pytest.raises(ServerClosedError, match="the launcher `test` is closed"):
        launcher.start(order, (0, 1, 2), on_end=no_note)
    with pytest.raises(ServerClosedError, match="is closed"):
        launcher.open()
    other = Watch("closed")
    other.close()
    launcher = Launcher("test", other, guard=DEFAULT_GUARD_UID)
    for act in (
        launcher.open,
        lambda: launcher.start(order, (0, 1, 2), on_end=no_note),
    ):
        with pytest.raises(ServerClosedError, match="nothing is watched"):
            act()
    launcher.close()
    assert set() == descriptors() - before


def test_an_end_that_raises_is_logged_and_the_process_has_ended(launcher, caplog):
    def fail(_status):
        raise RuntimeError("broken")

    with open_null() as null:
        order = Order(CLIENT, (b"/bin/true",))
        child = launcher.start(order, (null, null, null), on_end=fail)
    assert 0 == child.ended.result(WAIT)
    launcher.close()
    assert ["a callback failed: its socket is watched no more"] == caplog.messages


def test_nobody_can_call_off_what_is_so(start):
    child, output = start("true")
    assert not child.started.cancel()
    assert not child.ended.cancel()
    output()


def test_many_threads_start_processes_at_once(launcher):
    launcher.open()
    ended = queue.SimpleQueue()

    def work(number):
        with open_null() as null:
            for _ in range(10):
                order = Order(CLIENT, (b"/bin/sh", b"-c", b"exit %d" % number))
                child = launcher.start(order, (null, null, null), on_end=no_note)
                ended.put((number, child.ended.result(WAIT)))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT)
    pairs = [ended.get_nowait() for _ in range(80)]
    assert all(number == status for number, status in pairs)


def test_more_orders_than_keepers_wait_their_turn(launcher):
    with open_null() as null:
        order = Order(CLIENT, (b"/bin/true",))
        children = [
            launcher.start(order, (null, null, null), on_end=no_note)
            for _ in range(100)
        ]
    assert {0} == {child.ended.result(WAIT) for child in children}


@contextlib.contextmanager
def a_busy(watch):
    """Keep the watch's thread in a callback: it hears of nothing meanwhile."""
    ours, theirs = socket.socketpair()
    is_busy, leave = threading.Event(), threading.Event()

    def wait():
        is_busy.set()
        ours.recv(1)
        leave.wait(WAIT)

    with ours, theirs:
        watch.add(ours, wait)
        theirs.send(b"x")
        assert is_busy.wait(WAIT)
        try:
            yield
        finally:
            leave.set()
            watch.remove(ours)


def kill_everything_of(launcher):
    """Kill the launcher and all below it as if at once, and wait for that.

    Each is stopped before its children are looked for: none is forked meanwhile.
    """
    pids, held = [launcher._processes[-1]._process.pid], []
    for pid in pids:
        held.append(os.pidfd_open(pid))
        signal.pidfd_send_signal(held[-1], signal.SIGSTOP)
        while trees._read(pid).state not in "TZ":
            time.sleep(0.001)
        pids.extend(each.pid for each in trees._processes() if each.parent == pid)
    for each in held:
        with contextlib.suppress(ProcessLookupError):  # it ended with its parent
            signal.pidfd_send_signal(each, signal.SIGKILL)
    for each in held:
        assert select.select([each], [], [], WAIT)[0]
        os.close(each)


def true(launcher):
    with open_null() as null:
        order = Order(CLIENT, (b"/bin/true",))
        return launcher.start(order, (null, null, null), on_end=no_note)


def test_an_order_to_a_launcher_that_ended_unnoticed_goes_to_a_new_one(launcher, watch):
    assert 0 == true(launcher).ended.result(WAIT)
    with a_busy(watch):
        kill_everything_of(launcher)
        child = true(launcher)
    assert 0 == child.ended.result(WAIT)


def test_a_launcher_that_is_gone_takes_no_order(launcher, watch):
    launcher.open()
    process = launcher._processes[-1]
    kill_everything_of(launcher)
    launcher.close()
    with pytest.raises(ConnectionError):
        process.send(Parcel(0, 0, ()))
    process._hear()  # as if the watch had been about to


def test_signals_and_orders_that_nobody_reads_end_with_the_launcher(launcher, stopped):
    stopped()
    process = launcher._processes[-1]
    child = true(launcher)
    child.signal(signal.SIGTERM)
    child._hear()  # as if the watch had been mistaken
    process._hear()
    kill_everything_of(launcher)
    assert child.ended.result(WAIT) is None
    child._hear()
    assert isinstance(child.started.exception(), LauncherUnavailableError)


def test_closing_does_not_wait_for_ever_for_what_cannot_end(
    launcher, watch, monkeypatch, caplog
):
    with open_null() as null:
        order = Order(CLIENT, (b"/bin/sleep", b"600"))
        child = launcher.start(order, (null, null, null), on_end=no_note)
    child.started.result(WAIT)
    with a_busy(watch):
        monkeypatch.setattr(launching, "_SECONDS_TO_CLOSE", 5)
        launcher.close()
        assert "1 processes of clients did not end in time" in caplog.text
    assert -signal.SIGKILL == child.ended.result(WAIT)


def test_a_start_costs_less_than_a_fork_of_a_server_with_a_large_heap(outcome_of):
    cost = outcome_of("start_cost.py")
    print(f"start: {cost['ours'] / cost['bare']:.1f} times bare posix_spawn")
    print(f"Popen(user=): {cost['naive'] / cost['bare']:.1f} times")
    assert cost["ours"] < cost["naive"]
