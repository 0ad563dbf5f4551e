from __future__ import annotations

import threading

import pytest

from stead.server.acting.deadlines import Deadlines

SECONDS = 60


@pytest.fixture
def deadlines():
    made = Deadlines("test-deadlines")
    yield made
    made.close()


def test_what_is_due_sooner_is_done_sooner_whoever_came_first(deadlines):
    done, order = threading.Event(), []
    deadlines.after(0.02, lambda: (order.append("later"), done.set()))
    deadlines.after(0.01, lambda: order.append("sooner"))
    deadlines.soon(lambda: order.append("at once"))
    assert done.wait(SECONDS)
    assert ["at once", "sooner", "later"] == order


def test_what_is_called_off_is_not_done(deadlines):
    done, order = threading.Event(), []
    deadlines.after(0.01, lambda: order.append("called off")).call_off()
    deadlines.after(0.02, done.set)
    assert done.wait(SECONDS)
    assert [] == order


def test_what_fails_keeps_nothing_else_from_being_done(deadlines, caplog):
    done = threading.Event()
    deadlines.soon(lambda: 1 // 0)
    deadlines.after(0, done.set)
    assert done.wait(SECONDS)
    assert "ZeroDivisionError" in caplog.text


def test_it_is_done_on_a_thread_of_its_own(deadlines):
    seen, done = [], threading.Event()
    deadlines.soon(lambda: (seen.append(threading.current_thread().name), done.set()))
    assert done.wait(SECONDS)
    assert ["test-deadlines"] == seen


def test_what_is_not_due_when_it_is_closed_is_never_done():
    order = []
    made = Deadlines("test-deadlines")
    made.after(600, lambda: order.append("late"))
    made.soon(lambda: order.append("in time"))
    made.close()
    made.soon(lambda: order.append("closed"))
    assert ["in time"] == order
