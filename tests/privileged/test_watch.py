"""One thread that notices, and callbacks that find nobody's identity."""

import contextvars
import os
import queue
import socket
import threading

import pytest

from stead.errors import ServerClosedError
from stead.privileged.watch import Watch

WAIT = 60


@pytest.fixture
def pair():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        yield ours, theirs


def test_what_arrives_is_told_on_the_watchs_own_thread(watch, pair):
    told = queue.SimpleQueue()

    def readable():
        told.put((pair[0].recv(10), threading.current_thread().name))

    watch.add(pair[0], readable)
    pair[1].send(b"one")
    assert (b"one", "test-watch") == told.get(timeout=WAIT)
    pair[1].send(b"two")
    assert (b"two", "test-watch") == told.get(timeout=WAIT)
    watch.remove(pair[0])


def test_who_closes_it_wakes_no_thread_that_has_ended(pair, monkeypatch):
    """The thread may see by itself that it is closed, and closes what wakes it."""
    watch = Watch("test-watch")
    watch.add(pair[0], lambda: None)
    pair[1].send(b"x")  # nobody reads it: the thread sleeps no more
    write = os.eventfd_write

    def late(descriptor, value):
        watch._thread.join(0.5)  # as long as it takes to end, if it may
        write(descriptor, value)

    monkeypatch.setattr(os, "eventfd_write", late)
    watch.close()
    assert not watch._thread.is_alive()


def test_a_callback_finds_nothing_of_whoever_added_it_or_ran_before(watch, pair):
    whose = contextvars.ContextVar("whose", default="nobody")
    whose.set("a client")
    told = queue.SimpleQueue()

    def readable():
        pair[0].recv(1)
        told.put(whose.get())
        whose.set("the one before")

    watch.add(pair[0], readable)
    pair[1].send(b"12")
    assert ["nobody", "nobody"] == [told.get(timeout=WAIT), told.get(timeout=WAIT)]
    watch.remove(pair[0])


def test_a_callback_that_fails_is_logged_and_called_no_more(watch, pair, caplog):
    told = queue.SimpleQueue()
    other, its_peer = socket.socketpair()

    def failing():
        told.put("failing")
        raise RuntimeError("broken")

    with other, its_peer:
        watch.add(pair[0], failing)
        pair[1].send(b"x")
        assert "failing" == told.get(timeout=WAIT)
        watch.add(other, lambda: told.put(other.recv(10)))
        its_peer.send(b"other")
        assert b"other" == told.get(timeout=WAIT)
        watch.remove(other)
    assert told.empty()
    assert ["a callback failed: its socket is watched no more"] == caplog.messages


def test_a_callback_that_fails_after_it_removed_itself_harms_no_other(
    watch, pair, caplog
):
    told = queue.SimpleQueue()

    def failing():
        watch.remove(pair[0])
        told.put("failing")
        raise RuntimeError("broken")

    watch.add(pair[0], failing)
    pair[1].send(b"x")
    assert "failing" == told.get(timeout=WAIT)
    watch.add(pair[0], lambda: told.put(pair[0].recv(1)))
    assert b"x" == told.get(timeout=WAIT)
    watch.remove(pair[0])
    assert ["a callback failed: its socket is watched no more"] == caplog.messages


def test_what_is_removed_is_not_called_even_if_it_was_ready(watch, pair):
    told = queue.SimpleQueue()
    other, its_peer = socket.socketpair()

    def first_come():
        # Both are ready; whoever comes first takes away the other.
        told.put("called")
        watch.remove(pair[0])
        watch.remove(other)

    hold = threading.Event()
    gate, its_gate = socket.socketpair()

    def wait():
        gate.recv(1)
        hold.wait(WAIT)

    with other, its_peer, gate, its_gate:
        watch.add(gate, wait)
        its_gate.send(b"x")
        watch.add(pair[0], first_come)
        watch.add(other, first_come)
        pair[1].send(b"x")
        its_peer.send(b"x")
        hold.set()
        assert "called" == told.get(timeout=WAIT)
        watch.add(pair[0], lambda: told.put(pair[0].recv(1)))
        assert b"x" == told.get(timeout=WAIT)
        watch.remove(pair[0])
        watch.remove(gate)
    assert told.empty()


def test_removing_what_is_not_watched_does_nothing(watch, pair):
    watch.remove(pair[0])
    pair[0].close()
    watch.remove(pair[0])


def test_a_closed_watch_has_no_thread_and_takes_nothing(pair, descriptors):
    before = descriptors()
    watch = Watch("short")
    watch.close()
    watch.close()
    assert "short" not in {thread.name for thread in threading.enumerate()}
    assert set() == descriptors() - before
    with pytest.raises(ServerClosedError, match="nothing is watched"):
        watch.add(pair[0], bool)
    watch.remove(pair[0])


def test_a_watch_can_be_closed_on_its_own_thread(pair):
    watch = Watch("own")
    closed = threading.Event()

    def close():
        watch.close()
        closed.set()

    watch.add(pair[0], close)
    pair[1].send(b"x")
    assert closed.wait(WAIT)
    watch.close()
    assert "own" not in {thread.name for thread in threading.enumerate()}


def test_a_copy_in_another_process_watches_nothing_and_leaves_the_parents_alone(pair):
    watch = Watch("copy")
    watch._pid += 1  # as a forked process sees it
    with pytest.raises(ServerClosedError, match="another process"):
        watch.add(pair[0], print)
    watch.remove(pair[0])
    watch._closed = True
    watch.close()  # what is closed already stays as it is
    watch._closed = False
    watch._pid -= 1
    watch.close()


def test_a_paused_socket_is_told_of_again_when_it_is_resumed(watch, pair):
    told = queue.SimpleQueue()
    other, its_peer = socket.socketpair()
    with other, its_peer:
        watch.add(pair[0], lambda: told.put(pair[0].recv(10)))
        watch.add(other, lambda: told.put(other.recv(10)))
        watch.pause(pair[0])
        pair[1].send(b"meanwhile")
        its_peer.send(b"another")
        assert b"another" == told.get(timeout=WAIT)
        assert told.empty()
        watch.resume(pair[0])
        assert b"meanwhile" == told.get(timeout=WAIT)
        watch.remove(other)
        watch.remove(pair[0])
        watch.pause(pair[0])  # what is not watched is left alone


def test_a_forked_process_pauses_nothing(watch, pair):
    told = queue.SimpleQueue()
    watch.add(pair[0], lambda: told.put(pair[0].recv(10)))
    pid = os.fork()
    if not pid:
        watch.pause(pair[0])
        os._exit(0)
    assert 0 == os.waitpid(pid, 0)[1]
    pair[1].send(b"told")
    assert b"told" == told.get(timeout=WAIT)
    watch.remove(pair[0])
