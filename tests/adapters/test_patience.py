"""What is asked and never answers is given up, and nobody waits for it again."""

from __future__ import annotations

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
