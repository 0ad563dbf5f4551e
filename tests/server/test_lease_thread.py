from __future__ import annotations

import threading
import time

import pytest

from stead.errors import ServerClosedError, StoreUnavailableError
from stead.server import lease_thread
from stead.server.lease_thread import LeaseThread


@pytest.fixture
def hurried():
    thread = LeaseThread("notes", patience=0.05)
    yield thread
    thread.close()


def test_what_is_asked_is_asked_on_its_thread():
    thread = LeaseThread("notes")
    asked = []

    def nested():
        return thread.ask(threading.current_thread)

    assert "notes-leases" == thread.ask(nested).name
    with pytest.raises(ZeroDivisionError):
        thread.ask(lambda: 1 / 0)
    thread.close()
    with pytest.raises(ServerClosedError):
        thread.ask(lambda: asked.append(1))
    assert [] == asked


def test_a_disk_that_never_answers_is_a_refusal_and_the_next_ones_wait_for_nothing(
    hurried,
):
    """A naive question waits as long as the disk does."""
    begun, answers, done = threading.Event(), threading.Event(), []

    def silent():
        begun.set()
        done.append(answers.wait(60))

    while not begun.is_set():  # one that its thread was too slow for is never asked
        with pytest.raises(StoreUnavailableError, match="does not answer"):
            hurried.ask(silent)
    time.sleep(2 * hurried._patience)
    before = hurried._questions.qsize()
    for _ in range(3):
        with pytest.raises(StoreUnavailableError, match="does not answer"):
            hurried.ask(lambda: done.append("late"))
    # None waited: not one is kept that nobody waits for.
    assert before == hurried._questions.qsize()
    answers.set()
    while not done:
        time.sleep(0.001)
    assert _asked_again(hurried)
    assert [True] == done  # what was given up is never asked


def _asked_again(thread):
    for _ in range(1000):
        try:
            return thread.ask(lambda: "asked")
        except StoreUnavailableError:
            time.sleep(0.005)
    raise AssertionError("it never answers again")


@pytest.mark.parametrize("name", ["Future", "Context"])
def test_it_outlives_a_machine_that_has_no_memory_for_a_while(monkeypatch, name):
    """Whoever asked then is told; whoever asked later waited for good."""
    thread = LeaseThread("notes")

    def none_left():
        raise MemoryError

    with monkeypatch.context() as patched:
        patched.setattr(lease_thread, name, none_left)
        with pytest.raises(MemoryError):
            thread.ask(lambda: 5)
    assert 5 == thread.ask(lambda: 5)
    thread.close()
