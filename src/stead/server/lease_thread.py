"""A thread that asks whether leases may be renewed, and for how long it may take.

A store's disk may never answer. Nothing is done meanwhile for whoever's lease is over;
so that requests end in a refusal, and not in the middle, the question has a time-out.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import Context
from queue import Empty, SimpleQueue
from typing import Any, Final, TypeVar

from stead.errors import ServerClosedError, StoreSilentError

_T = TypeVar("_T")

PATIENCE: Final = 5.0
"""Seconds: as long as a transaction waits for another process's."""


class _Question:
    """Something that is asked, for as long as whoever asks waits."""

    __slots__ = ("act", "answers", "is_given_up")

    def __init__(self, act: Callable[[], Any]) -> None:
        self.act = act
        self.answers: SimpleQueue[Future[Any] | BaseException] = SimpleQueue()
        self.is_given_up = False


class LeaseThread:
    """One thread, started now, as the server.

    Args:
        name: what it is called.
        patience: seconds until a question is given up.
    """

    def __init__(self, name: str, patience: float = PATIENCE) -> None:
        self._patience = patience
        self._questions: SimpleQueue[_Question | None] = SimpleQueue()
        self._pid = os.getpid()
        self._asking_since: float | None = None
        self._has_ended = False
        # A daemon: a disk that never answers keeps no program from ending.
        self._thread = threading.Thread(
            target=self._work, name=f"{name}-leases", daemon=True
        )
        self._thread.start()

    def ask(self, act: Callable[[], _T]) -> _T:
        """Return what `act` returns.

        Raises:
            StoreSilentError: it takes too long, or what is asked before it does.
            ServerClosedError: the server is closed, or belongs to another process.
        """
        if threading.current_thread() is self._thread:
            return act()
        if self._has_ended or os.getpid() != self._pid:
            raise ServerClosedError(
                "the server is closed, or belongs to another process"
            )
        self._require_answers()
        question = _Question(act)
        self._questions.put(question)
        try:
            answer = question.answers.get(timeout=self._patience)
        except Empty:
            question.is_given_up = True
            raise _silent() from None
        if isinstance(answer, BaseException):
            raise answer
        found: _T = answer.result()
        return found

    def close(self) -> None:
        """End the thread when it has answered; one that a disk holds is left behind."""
        self._has_ended = True
        self._questions.put(None)
        self._thread.join(self._patience)

    def _require_answers(self) -> None:
        """Refuse at once while an earlier question is past its time."""
        since = self._asking_since
        if since is not None and time.monotonic() - since > self._patience:
            raise _silent()

    def _work(self) -> None:
        while (question := self._questions.get()) is not None:
            if not question.is_given_up:
                self._asking_since = time.monotonic()
                try:
                    question.answers.put(Context().run(_outcome, question.act))
                except BaseException as error:  # noqa: BLE001 - without memory, even that
                    question.answers.put(error)
                self._asking_since = None
            del question  # nothing of it outlives it here


def _outcome(act: Callable[[], Any]) -> Future[Any]:
    done: Future[Any] = Future()
    try:
        done.set_result(act())
    except BaseException as error:  # noqa: BLE001 - it belongs to who waits
        done.set_exception(error)
    return done


def _silent() -> StoreSilentError:
    return StoreSilentError(
        "the store does not answer", advice="see to the disk that it lies on"
    )
