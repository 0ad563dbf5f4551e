"""What is asked and never answers is given up, and nobody waits for it again."""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from types import SimpleNamespace

import pytest

from stead.adapters.patience import Patience
from stead.errors import DirectoryUnavailableError
from stead.server.enforcement import Enforcement
from stead.server.protected_server import ProtectedServer


def drop(_):
    pass


def until(holds):
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def test_an_answer_and_an_error_are_whose_question_it_was():
    patience = Patience()
    assert 5 == patience.ask("REALM", lambda: 5, drop)
    with pytest.raises(ZeroDivisionError):
        patience.ask("REALM", lambda: 1 / 0, drop)
    assert {} == patience._open


def test_who_is_silent_is_given_up_and_others_do_not_wait_for_the_same_silence():
    patience, answers, dropped = Patience(0.05), threading.Event(), []
    asked = []

    def silent():
        asked.append(threading.current_thread())
        answers.wait(60)
        return "late"

    with pytest.raises(DirectoryUnavailableError, match="`REALM` does not answer"):
        patience.ask("REALM", silent, dropped.append)
    until(lambda: asked)
    time.sleep(0.06)
    for _ in range(3):
        with pytest.raises(DirectoryUnavailableError):
            patience.ask("REALM", silent, dropped.append)
    assert 1 == len(asked)  # the others were not begun at all
    patience._seconds = 60  # who does answer may take its time here
    assert "OTHER" == patience.ask("OTHER", lambda: "OTHER", drop)
    answers.set()
    until(lambda: ["late"] == dropped)
    until(lambda: {} == patience._open)
    assert "back" == patience.ask("REALM", lambda: "back", drop)


class HalfOpen:
    """Somebody who answers about all but some, whom a test waits for no longer."""

    def __init__(self, patience):
        self.patience, self.answers = patience, threading.Event()
        self.asked = []

    def ask(self, about, is_silent=False, whom="REALM"):
        def act():
            self.asked.append(about)
            if is_silent:
                self.answers.wait(60)
            return about

        return self.patience.ask(whom, act, drop, about)

    def never_hear(self, about):
        """Ask, be given no answer, and have that be past its time."""
        self.patience._seconds = 0.05
        with pytest.raises(DirectoryUnavailableError):
            self.ask(about, is_silent=True)
        self.patience._seconds = 60  # who does answer may take its time here
        for asked in self.patience._open.values():
            for one in asked:
                one.began -= 120
        for place in self.patience._heard:
            self.patience._heard[place] -= 120


@pytest.fixture
def half_open():
    made = HalfOpen(Patience())
    yield made
    made.answers.set()
    until(lambda: {} == made.patience._open)
    assert {} == made.patience._heard


def test_of_whom_nothing_is_said_refuses_nobody_else(half_open):
    """The naive one takes who is silent about one name for silent about all."""
    half_open.never_hear("alice")
    asked = half_open.patience._open[os.getpid(), "REALM"]
    naive = any(one.began < time.monotonic() - 60 for one in asked)
    assert naive  # and bob is not asked about
    assert "bob" == half_open.ask("bob")
    for _ in range(3):
        with pytest.raises(DirectoryUnavailableError):
            half_open.ask("alice")
    assert ["alice", "bob"] == half_open.asked


def test_who_answers_others_is_not_silent_whatever_nothing_is_said_of(half_open):
    """Also of two, if a third one has been told of since they were asked about."""
    for name in ("alice", "bob", "carol"):
        half_open.never_hear(name)
        assert "dave" == half_open.ask("dave")
    assert ["alice", "dave", "bob", "dave", "carol", "dave"] == half_open.asked


def test_who_says_nothing_of_two_since_the_last_answer_says_nothing(half_open):
    for name in ("alice", "bob"):
        half_open.never_hear(name)
    for name in ("alice", "bob", "carol"):
        with pytest.raises(DirectoryUnavailableError):
            half_open.ask(name)
    assert "carol" == half_open.ask("carol", whom="OTHER")
    assert ["alice", "bob", "carol"] == half_open.asked


def test_an_error_that_nobody_answers_is_no_answer(half_open):
    half_open.never_hear("alice")

    def down():
        raise DirectoryUnavailableError("no key distribution centre")

    with pytest.raises(DirectoryUnavailableError, match="no key"):
        half_open.patience.ask("REALM", down, drop, "bob")
    assert {} == half_open.patience._heard
    with pytest.raises(ZeroDivisionError):  # what is said of a name may be "no"
        half_open.patience.ask("REALM", lambda: 1 / 0, drop, "bob")
    assert [(os.getpid(), "REALM")] == [*half_open.patience._heard]


def test_threads_that_wait_for_one_who_answers_others_are_bounded(
    half_open, monkeypatch
):
    monkeypatch.setattr("stead.adapters.patience._MOST_THREADS", 3)
    half_open.patience = Patience(silences=100)
    for name in ("alice", "bob", "carol"):
        half_open.never_hear(name)
    with pytest.raises(DirectoryUnavailableError):
        half_open.ask("dave")
    assert ["alice", "bob", "carol"] == half_open.asked


@pytest.mark.parametrize("moment", ["made", "started", "runs"])
def test_an_interrupt_before_anybody_is_asked_is_no_silence(monkeypatch, moment):
    """Ctrl-C just then: for good, the realm was taken for one that does not answer."""
    patience, dropped = Patience(0.05), []

    class Interrupted(threading.Thread):
        def __init__(self, **how):
            if moment == "made":
                raise KeyboardInterrupt
            super().__init__(**how)

        def start(self):
            if moment == "runs":
                super().start()
                until(lambda: not self.is_alive())
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("stead.adapters.patience.threading.Thread", Interrupted)
        with pytest.raises(KeyboardInterrupt):
            patience.ask("REALM", lambda: "found", dropped.append)
    assert {} == patience._open
    time.sleep(0.06)
    asked = []
    with suppress(DirectoryUnavailableError):  # that a slow thread is too late for
        patience.ask("REALM", lambda: asked.append("back"), drop)
    until(lambda: ["back"] == asked)


@pytest.mark.parametrize("moment", ["starts", "waits"])
def test_an_interrupt_just_when_it_is_answered_drops_what_was_found(
    monkeypatch, moment
):
    """The tickets of a renewal would stay in memory for good: nobody knows of them."""
    patience, dropped = Patience(60), []

    class Started(threading.Thread):
        def start(self):
            super().start()
            self.join()
            raise KeyboardInterrupt

    class Awaited(threading.Event):
        def wait(self, timeout=None):
            super().wait(timeout)
            raise KeyboardInterrupt

    name, kind = {"starts": ("Thread", Started), "waits": ("Event", Awaited)}[moment]
    with monkeypatch.context() as patched:
        own = SimpleNamespace(
            Thread=threading.Thread, Event=threading.Event, Lock=threading.Lock
        )
        setattr(own, name, kind)
        patched.setattr("stead.adapters.patience.threading", own)
        with pytest.raises(KeyboardInterrupt):
            patience.ask("REALM", lambda: "found", dropped.append)
    assert ["found"] == dropped
    assert {} == patience._open


def test_an_interrupt_while_the_thread_starts_drops_what_it_finds(monkeypatch):
    patience, goes_on, dropped = Patience(5), threading.Event(), []

    class Interrupted(threading.Thread):
        def start(self):
            super().start()
            raise KeyboardInterrupt

    def act():
        goes_on.wait(60)
        return "found"

    with monkeypatch.context() as patched:
        patched.setattr("stead.adapters.patience.threading.Thread", Interrupted)
        with pytest.raises(KeyboardInterrupt):
            patience.ask("REALM", act, dropped.append)
    goes_on.set()
    until(lambda: ["found"] == dropped)
    assert {} == patience._open


def test_what_fails_late_is_nobody_s():
    patience, answers = Patience(0.01), threading.Event()

    def silent():
        answers.wait(60)
        raise ZeroDivisionError

    with pytest.raises(DirectoryUnavailableError):
        patience.ask("REALM", silent, drop)
    answers.set()
    until(lambda: {} == patience._open)


def test_many_answers_just_in_time_are_kept_or_dropped_and_never_both():
    patience, kept, dropped = Patience(0.01), [], []

    def ask(number):
        def act():
            time.sleep(0.01)
            return number

        with suppress(DirectoryUnavailableError):
            kept.append(patience.ask(str(number), act, dropped.append))

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(60)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    until(lambda: 60 == len(kept) + len(dropped))
    assert set(range(60)) == {*kept, *dropped}


def test_without_a_thread_nothing_is_asked_and_nobody_is_taken_for_silent(monkeypatch):
    """It is a directory that cannot be asked, and no failure of the name's.

    The machine may have threads again by then.
    """
    patience = Patience(0.01)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", cannot_start)
        with pytest.raises(DirectoryUnavailableError, match="can't start"):
            patience.ask("REALM", lambda: 5, drop)
    assert {} == patience._open
    patience._seconds = 60
    assert 5 == patience.ask("REALM", lambda: 5, drop)


def cannot_start(_thread):
    raise RuntimeError("can't start new thread")


def test_in_a_client_s_block_no_thread_is_made(tmp_path):
    """It would be the client for as long as it asks."""
    with ProtectedServer("notes", enforcement=Enforcement.TOKEN) as server:
        server.accounts.add("alice")
        alice = server.client_for("alice", authenticated_by="test")
        here, patience = threading.current_thread(), Patience()
        assert here is not patience.ask("REALM", threading.current_thread, drop)
        with alice.impersonate():
            assert here is patience.ask("REALM", threading.current_thread, drop)
