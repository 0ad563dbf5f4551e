"""Who waits for an answer that comes soon takes it, and no other thread is woken."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor

import pytest

from stead.errors import WorkerLostError

pytestmark = pytest.mark.root

ALICE = 70001
SECONDS = 60
TRIES = 200


@pytest.fixture
def handler():
    """A thread that is not the program's main one, as handlers' are."""
    with ThreadPoolExecutor(1) as pool:
        yield lambda act: pool.submit(act).result(SECONDS)


@pytest.fixture
def ask(workers, registrar, jobs):
    """Return what has a worker run a function, and gives the future."""

    def submit(function, *args):
        token = registrar.token(ALICE)
        return workers.run(token, function, args, seconds=SECONDS)

    submit(jobs.echo, 1).result(SECONDS)  # the worker is started and warm
    return submit


def taker(future):
    """Return what becomes the thread that hands over a future's answer."""
    found = Future()
    future.add_done_callback(lambda _: found.set_result(threading.current_thread()))
    return found


def takers(ask, jobs, times):
    found = set()
    for number in range(times):
        future = ask(jobs.echo, number)
        who = taker(future)
        assert number == future.result()
        found.add(who.result(SECONDS))
    return found


def test_who_waits_takes_the_answer(ask, jobs, handler):
    def until_taken_here():
        tries = range(TRIES)
        return any(threading.current_thread() in takers(ask, jobs, 1) for _ in tries)

    assert handler(until_taken_here)


def test_on_the_main_thread_an_interrupt_could_lose_it(ask, jobs):
    assert threading.current_thread() is threading.main_thread()
    assert threading.main_thread() not in takers(ask, jobs, 20)


def test_what_comes_late_is_taken_by_the_watch(ask, handler):
    def work():
        future = ask(time.sleep, 0.2)
        who = taker(future)
        assert future.result() is None
        return who.result(SECONDS)

    assert "test-watch" == handler(work).name


def test_a_file_comes_to_who_waits(workers, registrar, handler, tmp_path):
    note = tmp_path / "note"
    note.write_bytes(b"hers")
    for place in (*tmp_path.parents[:-1], tmp_path):
        if place.stat().st_mode & 0o001 == 0:
            place.chmod(0o711)

    def opened():
        token = registrar.token(ALICE)
        future = workers.open(token, str(note), os.O_RDONLY, seconds=SECONDS)
        with os.fdopen(future.result(), "rb") as file:
            return file.read()

    assert [b"hers"] * 20 == [handler(opened) for _ in range(20)]


def test_a_worker_that_ends_meanwhile_is_noticed_at_once(ask, jobs, handler):
    def work():
        with pytest.raises(WorkerLostError):
            ask(os.kill, ask(os.getpid).result(), 9).result()
        return ask(jobs.echo, 2).result()

    assert 2 == handler(work)


def test_a_worker_that_breaks_the_protocol_meanwhile_is_ended(ask, jobs, handler):
    def work():
        with pytest.raises(WorkerLostError):
            ask(jobs.say, b"\xff" * 64).result()
        return ask(jobs.echo, 3).result()

    assert 3 == handler(work)


def test_what_somebody_else_cancels_is_waited_for_no_longer(ask, handler):
    def work():
        future = ask(time.sleep, SECONDS)
        threading.Timer(0.005, future.cancel).start()
        with pytest.raises(CancelledError):
            future.result()
        return True

    assert handler(work)


def test_everybody_gets_the_answer_to_what_it_asked(ask, jobs):
    """More threads than workers; some wait, some have theirs told."""

    def many(first):
        found = []
        for number in range(first, first + 60):
            future = ask(jobs.echo, number)
            if number % 3:
                found.append(future.result())
            else:
                told = Future()
                future.add_done_callback(told.set_result)
                found.append(told.result(SECONDS).result())
        return found

    with ThreadPoolExecutor(8) as pool:
        starts = range(0, 8_000, 1_000)
        for first, found in zip(starts, pool.map(many, starts), strict=True):
            assert list(range(first, first + 60)) == found
