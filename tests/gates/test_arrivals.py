"""Who waits to be looked at: in turns, within bounds, and never for nothing."""

import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from stead.errors import ServerUnavailableError
from stead.gates import arrivals
from stead.gates.arrivals import Arrivals

FLOOD, QUIET = "192.0.2.1:{}", "192.0.2.2:1"
PLACES = 8


class Naive:
    """As many gates do: a pool of threads, and whoever comes is queued."""

    def __init__(self, name):
        self._threads = ThreadPoolExecutor(1)

    def submit(self, peer, act):
        return self._threads.submit(act)


@pytest.fixture(autouse=True)
def few(monkeypatch):
    monkeypatch.setattr(arrivals, "_THREADS", 1)
    monkeypatch.setattr(arrivals, "_WAITING", PLACES)


@pytest.fixture
def go_on():
    made = threading.Event()
    yield made
    made.set()


class Gate:
    """Threads that are all at work until they may go on."""

    def __init__(self, kind, go_on):
        self.done, self.go_on, begun = [], go_on, threading.Event()
        self.threads = kind("test")

        def work():
            begun.set()
            assert go_on.wait(60)

        self.first = self.threads.submit("", work)
        assert begun.wait(60)

    def come(self, peer):
        return self.threads.submit(peer, partial(self.done.append, peer))

    def end(self, *waiting):
        """Let all go on, and return who was looked at, in turn."""
        self.go_on.set()
        for each in (self.first, *waiting):
            each.result(60)
        return self.done


@pytest.mark.parametrize(("kind", "turn"), [(Naive, PLACES - 1), (Arrivals, 1)])
def test_a_flood_of_one_address_delays_nobody_of_another(go_on, kind, turn):
    gate = Gate(kind, go_on)
    flood = [gate.come(FLOOD.format(n)) for n in range(PLACES - 1)]
    done = gate.end(*flood, gate.come(QUIET))
    assert turn == done.index(QUIET)
    assert PLACES == len(done)


def test_a_flood_that_fills_all_places_makes_room_for_another_address(go_on):
    gate = Gate(Arrivals, go_on)
    flood = [gate.come(FLOOD.format(n)) for n in range(PLACES)]
    with pytest.raises(ServerUnavailableError, match="too many"):
        gate.come(FLOOD.format(PLACES))
    quiet = gate.come(QUIET)
    with pytest.raises(ServerUnavailableError, match="too many"):
        flood[-1].result(60)
    done = gate.end(quiet, *flood[:-1])
    # The first of the flood keeps its turn: it came before.
    assert [FLOOD.format(0), QUIET, FLOOD.format(1)] == done[:3]
    assert PLACES == len(done)


def test_nobody_goes_for_an_origin_that_would_then_have_as_many(go_on):
    gate = Gate(Arrivals, go_on)
    peers = [f"[2001:db8:0:{n // 2}::{n}]:1" for n in range(PLACES)]
    waiting = [gate.come(peer) for peer in peers]
    with pytest.raises(ServerUnavailableError):
        gate.come("[2001:db8:0:1::ffff]:1")  # has two, and another address
    newcomer = gate.come("[2001:db8:0:99::1]:1")
    with pytest.raises(ServerUnavailableError):
        waiting[1].result(60)
    with pytest.raises(ServerUnavailableError):
        gate.come("[2001:db8:0:99::2]:1")
    assert PLACES == len(gate.end(newcomer, waiting[0], *waiting[2:]))


def test_who_goes_away_leaves_its_place_and_is_not_looked_at(go_on):
    gate = Gate(Arrivals, go_on)
    gone = [gate.come(FLOOD.format(n)) for n in range(PLACES)]
    assert all(each.cancel() for each in gone)
    here = [gate.come(f"here {n}") for n in range(PLACES)]
    assert [f"here {n}" for n in range(PLACES)] == gate.end(*here)


def test_what_is_raised_is_told_and_the_thread_goes_on():
    threads = Arrivals("test")
    with pytest.raises(ZeroDivisionError):
        threads.submit("", lambda: 1 // 0).result(60)
    assert 1 == threads.submit("", lambda: 1).result(60)


def none_left(_):
    raise RuntimeError("can't start new thread")


def test_without_threads_nobody_is_looked_at_later(monkeypatch):
    threads, done = Arrivals("test"), []
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", none_left)
        for _ in range(PLACES + 2):
            refused = threads.submit("", partial(done.append, "refused"))
            with pytest.raises(ServerUnavailableError, match="new thread"):
                refused.result(60)
    threads.submit("", partial(done.append, "here")).result(60)
    assert ["here"] == done


def test_who_counted_on_a_thread_that_could_not_be_started_is_told(monkeypatch):
    """It is the only one there would have been: nobody would ever look at them."""
    threads, waiting = Arrivals("test"), []

    def come_meanwhile(_):
        waiting.append(threads.submit("", int))
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", come_meanwhile)
        waiting.append(threads.submit("", int))
    assert 2 == len(waiting)
    for each in waiting:
        with pytest.raises(ServerUnavailableError, match="new thread"):
            each.result(60)
    assert 0 == threads.submit("", int).result(60)


def test_where_some_threads_are_at_work_they_come_to_everybody(monkeypatch, go_on):
    monkeypatch.setattr(arrivals, "_THREADS", 2)
    gate = Gate(Arrivals, go_on)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", none_left)
        waiting = [gate.come(QUIET) for _ in range(3)]
    assert [QUIET] * 3 == gate.end(*waiting)


def test_an_interrupt_while_a_thread_is_started_strands_nobody(monkeypatch):
    threads = Arrivals("test")

    def interrupted(_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", interrupted)
        with pytest.raises(KeyboardInterrupt):
            threads.submit("", int)
    assert 0 == threads.submit("", int).result(60)
