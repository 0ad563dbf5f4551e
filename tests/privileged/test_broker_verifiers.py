"""Verifiers that wait for the next client, without a broker around them."""

from __future__ import annotations

import os
import time

import pytest

from stead.privileged.broker_passwords import VERIFIER
from stead.privileged.broker_poll import Poll
from stead.privileged.broker_verifiers import Verifiers

LATER = 60.0


class Stage:
    """What a monitor has: somewhere to wait, and what was told."""

    def __init__(self):
        self.poll = Poll()
        self.verifiers = Verifiers(self.poll)
        self.told = []
        self.nothing = os.open(os.devnull, os.O_RDONLY)

    def show(self, program=VERIFIER):
        """Have nothing looked at, which is no password."""
        both = (self.nothing, self.nothing)
        return self.verifiers.start(program, {}, both, self.told.append)

    def hear(self, verifier):
        """Wait for its word, as a monitor does, and end it."""
        known = len(self.told)
        until = time.monotonic() + LATER
        while len(self.told) == known and time.monotonic() < until:
            self.poll.wait(0.1)
        verifier.stop()
        return self.told[known:]

    def make_ready(self):
        self.verifiers.make_ready(time.monotonic() + LATER)

    def waiting(self):
        return [each._process.pid for each in self.verifiers._spares.values()]


@pytest.fixture
def stage():
    made = Stage()
    yield made
    made.verifiers.close()
    for process in made.verifiers._ending:
        process.wait(LATER)
    os.close(made.nothing)


def test_one_is_made_ready_after_the_first_and_not_at_once(stage):
    first = stage.show()
    stage.make_ready()
    assert [] == stage.waiting()
    assert [None] == stage.hear(first)
    stage.verifiers.make_ready(time.monotonic() - LATER)
    assert [] == stage.waiting()  # it rests
    (due,) = stage.verifiers.moments()
    stage.verifiers.make_ready(due)
    (spare,) = stage.waiting()
    second = stage.show()
    assert spare == second._process.pid != first._process.pid
    assert [None] == stage.hear(second)


def test_one_that_ended_unheard_is_replaced_when_somebody_comes(stage):
    stage.hear(stage.show())
    stage.make_ready()
    (spare,) = stage.verifiers._spares.values()
    spare._process.kill()
    spare._process.wait()
    # Nothing was heard of that yet: no turn of the poll lies between.
    other = stage.show()
    assert other._process.pid != spare._process.pid
    assert [None] == stage.hear(other)


def test_one_that_ended_and_was_heard_is_not_replaced_before(stage):
    stage.hear(stage.show())
    stage.make_ready()
    (spare,) = stage.verifiers._spares.values()
    spare._process.kill()
    stage.poll.wait(LATER)
    assert [] == stage.waiting()
    assert [] == list(stage.verifiers.moments())
    assert [None] == stage.hear(stage.show())


def test_another_program_is_another_s(stage):
    stage.hear(stage.show())
    stage.make_ready()
    (spare,) = stage.waiting()
    other = stage.show("stead.adapters.kerberos_verifier")
    assert other._process.pid != spare
    assert [spare] == stage.waiting()
    assert [None] == stage.hear(other)


def test_nothing_waits_after_the_end(stage):
    stage.hear(stage.show())
    stage.make_ready()
    (spare,) = stage.verifiers._spares.values()
    stage.verifiers.close()
    assert spare._process.wait(LATER) < 0
    stage.make_ready()
    assert [] == stage.waiting()
