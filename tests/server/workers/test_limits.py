"""Ends, limits and lines: what one client does keeps no other waiting."""

from __future__ import annotations

import dis
import os
import random
import signal
import sys
import threading
import time
from concurrent.futures import CancelledError, ThreadPoolExecutor, wait

import pytest
from tests.lives import long_enough

from stead.errors import (
    InvalidRequestError,
    LauncherUnavailableError,
    LogonSessionEndedError,
    ProcessTimeoutError,
    QuotaExceededError,
    ServerClosedError,
    WorkerLostError,
)
from stead.server.workers.workers import WorkerLimits

pytestmark = pytest.mark.root

SECONDS = 60


@pytest.fixture
def ask(registrar):
    """Give what asks workers as a client, and returns the future."""

    def submit(workers, function, *args, uid=70001, number=0, seconds=SECONDS):
        token = registrar.token(uid, number)
        return workers.run(token, function, args, seconds=seconds)

    return submit


@pytest.fixture
def hold(ask, jobs, home, pid_in):
    """Give what keeps a worker busy for ever, and returns the future and its pid."""
    counted = iter(range(1000))

    def busy(workers, **options):
        path = home / f"busy-{next(counted)}"
        future = ask(workers, jobs.wait_in, str(path), **options)
        return future, pid_in(path)

    return busy


# --- ends -----------------------------------------------------------------------------


def test_what_takes_too_long_is_ended_with_its_whole_tree(
    workers, ask, jobs, home, pid_in, is_gone, until
):
    ways = [home / "pid", home / "pid-own"]

    def begun(seconds):
        future = ask(workers, jobs.family, str(ways[0]), seconds=seconds)
        until(lambda: future.done() or all(way.exists() for way in ways))
        return future if not future.done() else future.result()

    future = long_enough(begun, seconds=3.0, late=ProcessTimeoutError)
    pids = [pid_in(way) for way in ways]
    with pytest.raises(ProcessTimeoutError):
        future.result(SECONDS)
    until(lambda: all(map(is_gone, pids)))
    assert "x" == ask(workers, jobs.echo, "x").result(SECONDS)


def test_what_is_cancelled_is_ended_and_said_to_be_cancelled(
    workers, hold, ask, jobs, is_gone, until
):
    future, pid = hold(workers)
    assert future.cancel()
    with pytest.raises(CancelledError):
        future.result(SECONDS)
    until(lambda: is_gone(pid))
    until(lambda: wait([future], 0).done)
    assert "x" == ask(workers, jobs.echo, "x").result(SECONDS)


def test_an_answer_that_is_there_cannot_be_cancelled(workers, ask, jobs):
    future = ask(workers, jobs.echo, "x")
    wait([future], SECONDS)
    assert not future.cancel()
    assert "x" == future.result()
    assert future.exception() is None


def test_a_wait_that_is_given_up_ends_nothing(workers, ask, hold):
    future, _ = hold(workers)
    with pytest.raises(TimeoutError):
        future.result(0.01)
    assert not future.done()


def test_the_end_of_a_session_ends_its_workers_and_no_others(
    make_workers, registrar, hold, ask, jobs, is_gone, until
):
    workers = make_workers(per_client=2)
    (busy, pid), (other, other_pid) = hold(workers), hold(workers, number=1)
    waiting = ask(workers, jobs.echo, "late")
    also_waiting = ask(workers, jobs.echo, "in time", number=1)
    logon_id = registrar.token(70001).logon_id
    registrar.ended.add(logon_id)
    workers.end_session(logon_id)
    for future in (busy, waiting):
        with pytest.raises(LogonSessionEndedError):
            future.result(SECONDS)
    until(lambda: is_gone(pid))
    assert "in time" == also_waiting.result(SECONDS)
    assert not other.done()
    assert not is_gone(other_pid)
    with pytest.raises(LogonSessionEndedError):
        ask(workers, jobs.echo, "x")


def test_a_session_that_ends_in_the_middle_of_asking_starts_nothing(
    workers, registrar, ask, jobs, home
):
    token = registrar.token(70001)

    def end():
        registrar.ended.add(token.logon_id)
        workers.end_session(token.logon_id)

    # Before it stands in line, and while it does.
    registrar.at_asking = {2: end}
    with pytest.raises(LogonSessionEndedError):
        workers.run(token, jobs.wait_in, (str(home / "pid"),), seconds=SECONDS)
    assert [] == list(home.iterdir())
    assert 0 == workers._pool._places.count


def test_closing_ends_what_runs_and_what_waits(make_workers, hold, ask, jobs, is_gone):
    workers = make_workers(per_client=1)
    busy, pid = hold(workers)
    waiting = ask(workers, jobs.echo, "x")
    workers.close()
    workers.close()
    assert is_gone(pid)
    for future in (busy, waiting):
        with pytest.raises(ServerClosedError):
            future.result(0)
    with pytest.raises(ServerClosedError):
        ask(workers, jobs.echo, "x")


def test_idle_workers_are_retired(make_workers, ask, jobs, is_gone, until):
    workers = make_workers(idle_seconds=0.0)
    pid = ask(workers, jobs.whoami).result(SECONDS)[0]
    until(lambda: is_gone(pid))
    assert pid != ask(workers, jobs.whoami).result(SECONDS)[0]


def test_a_worker_that_is_killed_while_idle_is_replaced(
    workers, ask, jobs, is_gone, until
):
    pid = ask(workers, jobs.whoami).result(SECONDS)[0]
    os.kill(pid, signal.SIGKILL)
    until(lambda: not workers._pool._places.count)
    assert pid != ask(workers, jobs.whoami).result(SECONDS)[0]


def test_a_launcher_that_starts_nothing_any_more_is_an_error(
    workers, launcher, ask, jobs
):
    launcher.close()
    with pytest.raises(ServerClosedError):
        ask(workers, jobs.echo, "x").result(SECONDS)
    assert 0 == workers._pool._places.count


def test_a_launcher_that_cannot_preload_is_an_error(watch, registrar, ask, jobs):
    from stead.privileged.launching import Launcher
    from stead.privileged.system_uids import DEFAULT_GUARD_UID
    from stead.server.workers.workers import Workers

    broken = Launcher("broken", watch, guard=DEFAULT_GUARD_UID, preload=("no_such",))
    workers = Workers(
        broken,
        watch,
        identity=registrar.identity,
        environment=registrar.environment,
        limits=WorkerLimits(),
    )
    try:
        with pytest.raises(LauncherUnavailableError):
            ask(workers, jobs.echo, "x").result(SECONDS)
    finally:
        workers.close()
        broken.close()


# --- limits and lines -----------------------------------------------------------------


@pytest.mark.parametrize(
    "limits", [{"per_client": 0}, {"total": 0}, {"idle_seconds": -1.0}]
)
def test_limits_leave_room_for_somebody(limits):
    with pytest.raises(InvalidRequestError):
        WorkerLimits(**limits)


def test_a_client_beyond_its_limit_waits_and_then_is_refused(
    make_workers, hold, ask, jobs
):
    workers = make_workers(per_client=1, waiting_per_client=2)
    busy, _ = hold(workers)
    waiting = [ask(workers, jobs.echo, n) for n in range(2)]
    with pytest.raises(QuotaExceededError, match="2 calls of uid 70001 wait"):
        ask(workers, jobs.echo, "too many")
    assert "hers" == ask(workers, jobs.echo, "hers", uid=70002).result(SECONDS)
    assert [False, False] == [future.done() for future in waiting]
    busy.cancel()
    assert [0, 1] == [future.result(SECONDS) for future in waiting]


def test_two_sessions_of_one_client_share_its_limit(make_workers, hold, ask, jobs):
    workers = make_workers(per_client=1)
    busy, _ = hold(workers)
    other = ask(workers, jobs.echo, "x", number=1)
    with pytest.raises(TimeoutError):
        other.result(0.2)
    busy.cancel()
    # The place is the other session's only once the first worker is gone.
    assert "x" == other.result(SECONDS)


def test_an_idle_worker_makes_room_for_another_kind_or_session(make_workers, ask, jobs):
    workers = make_workers(per_client=1)
    seen = [
        ask(workers, jobs.whoami, number=n % 2).result(SECONDS)[0] for n in range(4)
    ]
    assert 4 == len(set(seen))


def test_an_idle_worker_makes_room_for_another_client(make_workers, ask, jobs):
    workers = make_workers(total=1)
    for uid in (70001, 70002, 70001):
        assert (uid,) * 3 == ask(workers, jobs.whoami, uid=uid).result(SECONDS)[1]


def test_a_place_that_becomes_free_goes_round(make_workers, hold, ask, jobs, home):
    workers = make_workers(total=1)
    busy, _ = hold(workers)
    order, lock = [], threading.Lock()

    def note(uid):
        def done(_):
            with lock:
                order.append(uid)

        return done

    futures = []
    for uid in (70001, 70001, 70001, 70002, 70003):
        futures.append(ask(workers, jobs.echo, uid, uid=uid))
        futures[-1].add_done_callback(note(uid))
    busy.cancel()
    wait(futures, SECONDS)
    # Nobody waits behind all of another client's calls.
    assert [70001, 70002, 70003, 70001, 70001] == order


def test_what_waits_too_long_is_too_late(make_workers, hold, ask, jobs):
    workers = make_workers(per_client=1)
    busy, pid = hold(workers)
    with pytest.raises(ProcessTimeoutError):
        ask(workers, jobs.echo, "x", seconds=0.1).result(SECONDS)
    assert not busy.done()
    os.kill(pid, 0)


@pytest.mark.parametrize("how", ["fifo", "spin", "stopped"])
def test_one_client_that_never_ends_keeps_no_other_waiting(
    make_workers, registrar, ask, jobs, home, how
):
    def naive():
        """One pool for all, as servers have: the same work by the same functions."""
        with ThreadPoolExecutor(4) as pool:
            release = threading.Event()
            for _ in range(4):
                pool.submit(release.wait, SECONDS)
            other = pool.submit(jobs.echo, "hers")
            try:
                other.result(0.5)
            except TimeoutError:
                return "waits"
            finally:
                release.set()
        return "served"

    def ours():
        workers = make_workers(seconds=None)
        os.mkfifo(home / "fifo")
        stuck = []
        for _ in range(8):
            if how == "fifo":
                future = ask(workers, jobs.read_fifo, str(home / "fifo"), seconds=None)
            elif how == "spin":
                future = ask(workers, jobs.spin, seconds=None)
            else:
                future = ask(workers, os.kill, 0, signal.SIGSTOP, seconds=None)
            stuck.append(future)
        token = registrar.token(70002)
        note = home / "note"
        note.write_text("hers")
        for _ in range(20):
            assert "hers" == ask(workers, jobs.echo, "hers", uid=70002).result(SECONDS)
            opened = workers.open(token, str(note), os.O_RDONLY, seconds=SECONDS)
            os.close(opened.result(SECONDS))
        return "served" if not any(one.done() for one in stuck) else "ended"

    assert ("waits", "served") == (naive(), ours())


# --- under load -----------------------------------------------------------------------


def test_no_function_of_one_client_ever_runs_as_another(make_workers, registrar, jobs):
    workers = make_workers(per_client=2, total=9, waiting_per_client=1000)
    chance = random.Random(7)  # noqa: S311 - a load, no secret
    asked = [
        (uid, number)
        for uid, number in (
            (70001 + chance.randrange(8), chance.randrange(2)) for _ in range(400)
        )
    ]

    def one(who):
        uid, number = who
        token = registrar.token(uid, number)
        future = workers.run(token, jobs.whoami, (), seconds=SECONDS)
        if sum(who) % 11 == 0:
            future.cancel()
            return None
        return future.result(2 * SECONDS)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(one, asked))
    sessions: dict[int, set[tuple[int, int]]] = {}
    for who, answer in zip(asked, answers, strict=True):
        if answer is not None:
            pid, uids, gids, groups = answer
            uid = who[0]
            assert ((uid,) * 3, (uid,) * 3, [uid + 5000]) == (uids, gids, groups)
            sessions.setdefault(pid, set()).add(who)
    assert [1] * len(sessions) == [len(served) for served in sessions.values()]


def test_killed_workers_fail_their_calls_and_nothing_else(
    make_workers, ask, jobs, until
):
    workers = make_workers(waiting_per_client=1000)
    chance = random.Random(11)  # noqa: S311 - likewise
    stop = threading.Event()

    def kill():
        while not stop.wait(0.02):
            places = workers._pool._places
            with workers._pool._lock:
                pids = [one.child.pid for one in places._workers() if one.child]
            if pids and (pid := chance.choice(pids)):
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue

    killer = threading.Thread(target=kill)
    killer.start()
    answered = lost = 0
    try:
        enough, end = time.monotonic() + 5, time.monotonic() + SECONDS
        while time.monotonic() < (end if not (answered and lost) else enough):
            futures = [ask(workers, jobs.echo, n, uid=70001 + n % 4) for n in range(12)]
            for number, future in enumerate(futures):
                try:
                    assert number == future.result(SECONDS)
                    answered += 1
                except WorkerLostError:
                    lost += 1
    finally:
        stop.set()
        killer.join()
    assert answered
    assert lost

    def answers():
        try:
            return "x" == ask(workers, jobs.echo, "x").result(SECONDS)
        except WorkerLostError:
            return False  # it got the one that was killed last, which nobody knows yet

    until(answers)


# --- what happens to whoever asks -----------------------------------------------------


INTERRUPTED = tuple(
    f"/server/workers/{name}.py"
    for name in ("pool", "places", "channel", "housekeeper")
)


class Interrupting:
    """Raises where the interpreter lets a signal's handler run, at the given of these.

    That is where a function begins, and where a call of one written in C has returned.
    """

    def __init__(self, number):
        self.left = number
        self.before = {}
        self.callers = set()

    def __enter__(self):
        self.outer = sys.gettrace()  # coverage's, or a debugger's
        sys.settrace(self._call)

    def __exit__(self, *_):
        sys.settrace(self.outer)

    def _call(self, frame, event, value):
        del event, value
        self.callers.add(frame.f_back)
        if not frame.f_code.co_filename.endswith(INTERRUPTED):
            return None
        frame.f_trace_opcodes = True
        return self._step

    def _step(self, frame, event, value):
        del value
        if event == "opcode":
            now = dis.opname[frame.f_code.co_code[frame.f_lasti]]
            before, self.before[frame] = self.before.get(frame), now
            has_called = before in {"CALL", "CALL_FUNCTION_EX"}
            is_here = now == "RESUME" or (has_called and frame not in self.callers)
            self.callers.discard(frame)
            self.left -= is_here
            if is_here and self.left == 0:
                sys.settrace(None)
                raise KeyboardInterrupt
        return self._step


def waiting(workers):
    with workers._pool._lock:
        clients = list(workers._pool._places._clients.values())
    return [call for client in clients for call in client.line]


@pytest.mark.parametrize("is_warm", [False, True])
def test_who_is_interrupted_anywhere_in_asking_takes_no_place_with_him(
    make_workers, registrar, ask, jobs, until, is_warm
):
    workers = make_workers(per_client=1, waiting_per_client=1)
    if is_warm:
        ask(workers, jobs.echo, "x").result(SECONDS)
    for number in range(1, 500):
        interrupting = Interrupting(number)
        try:
            with interrupting:
                future = ask(workers, jobs.echo, number)
        except KeyboardInterrupt:
            pass
        else:
            assert number == future.result(SECONDS)
            break
        until(lambda: not waiting(workers))
        assert "x" == ask(workers, jobs.echo, "x").result(SECONDS)
        if not is_warm:
            workers.end_session(registrar.token(70001).logon_id)
            until(lambda: not workers._pool._places.count)
    assert number > 10  # it came so far
    assert 1 == workers._pool._places.count


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError, RuntimeError])
def test_a_worker_that_cannot_be_ordered_gives_up_its_place(
    make_workers, ask, jobs, launcher, monkeypatch, caplog, error
):
    workers = make_workers(per_client=1)
    order = launcher.start

    def fail(*arguments, **options):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(launcher, "start", fail)
        for _ in range(3):
            with pytest.raises(LauncherUnavailableError, match=error.__name__):
                ask(workers, jobs.echo, "x").result(SECONDS)
    assert order == launcher.start
    assert "x" == ask(workers, jobs.echo, "x").result(SECONDS)
    assert "housekeeping failed" in caplog.text


def test_what_is_secret_is_in_no_repr(workers, hold):
    hold(workers)
    (worker,) = workers._pool._places._workers()
    assert "jobs" in str(worker.call.body)
    assert "HOME" in str(worker.environment)
    for shown in (repr(worker), repr(worker.call)):
        assert "jobs" not in shown.replace("jobs.echo", "")
        assert "HOME" not in shown
