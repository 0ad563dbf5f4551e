"""Asking what may never answer, for so long and no longer.

A library that asks another machine waits as it likes: MIT's Kerberos (1.20) close to
half a minute for a key distribution centre that takes what it is sent and says nothing,
and no setting changes that. So the question is asked in a thread of its own. Whoever
asks gives it up in time; the thread stays until the library returns, and what it brings
then is dropped. Meanwhile nobody else is made to wait for the same silence. Who answers
others is not silent: then it is one question alone that has no answer (docs/adr/0140).
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from contextvars import Context
from typing import Any, Final, Generic, TypeVar

from stead.errors import DirectoryUnavailableError
from stead.monitor import context

_T = TypeVar("_T")
_Asked = tuple[int, str]
_FEW: Final = 2
_MOST_THREADS: Final = 64
"""That are past their time, of one who is asked; what is asked beyond fails at once."""

SECONDS: Final = 5.0
"""More than several dead servers of a realm take, each of which gets a second."""
_ADVICE: Final = "see whether its key distribution centre runs, and the network"


class _Question(Generic[_T]):
    """One question, and who waits for it."""

    __slots__ = (
        "about", "act", "answered", "began", "drop", "error", "found", "is_given_up",
    )  # fmt: skip

    def __init__(
        self, act: Callable[[], _T], drop: Callable[[_T], object], about: str
    ) -> None:
        self.act = act
        self.drop = drop
        self.about = about
        self.began = time.monotonic()
        self.answered = threading.Event()
        self.found: list[_T] = []
        self.error: BaseException | None = None
        self.is_given_up = False


class Patience:
    """How long somebody is asked, and who is silent by now; for any thread."""

    def __init__(
        self, seconds: float = SECONDS, *, advice: str = _ADVICE, silences: int = _FEW
    ) -> None:
        """Ask nothing yet.

        Args:
            seconds: until a question is given up.
            advice: what to do about silence.
            silences: of how many different things nothing has been said, since there
                was an answer, when somebody is taken to say nothing at all.
        """
        self._seconds: Final = seconds
        self._silences: Final = silences
        self._advice: Final = advice
        self._lock: Final = threading.Lock()
        # By process, too: one that is forked off has none of these threads.
        self._open: dict[_Asked, set[_Question[Any]]] = {}
        # When whoever leaves a question open answered another one last.
        self._heard: dict[_Asked, float] = {}

    def ask(
        self,
        whom: str,
        act: Callable[[], _T],
        drop: Callable[[_T], object],
        about: str = "",
    ) -> _T:
        """Return what `act` returns, or raise what it raises.

        Args:
            whom: who is asked, such as a realm.
            act: asks, in a thread of its own.
            drop: gets rid of what comes too late.
            about: what it is asked about; empty for no matter what.

        Raises:
            DirectoryUnavailableError: it takes too long; or an earlier question about
                the same does, or several that were asked since an answer came, and then
                at once; or this machine has no thread to ask in.
        """
        if context.client_frame() is not None:
            return act()  # a thread that is made here would be the client, too
        question, place = _Question(act, drop, about), (os.getpid(), whom)
        thread = threading.Thread(
            target=Context().run, args=(self._work, place, question),
            name="stead-asking", daemon=True,
        )  # fmt: skip
        try:
            self._begin(place, question)
            thread.start()
        except BaseException as error:
            # An interrupt, too, leaves no question that seems to be open for ever. The
            # thread may run all the same: what it finds is nobody's.
            self._give_up(question)
            self._close(place, question)
            if isinstance(error, RuntimeError):
                raise _without_thread(whom, error) from error
            raise
        try:
            question.answered.wait(self._seconds)
        except BaseException:
            self._give_up(question)
            raise
        with self._lock:
            question.is_given_up = not question.answered.is_set()
        if question.is_given_up:
            raise self._silent(whom)
        if question.error is not None:
            raise question.error
        return question.found.pop()

    def _begin(self, place: _Asked, question: _Question[Any]) -> None:
        """Have a question open, unless it would wait for the same silence."""
        with self._lock:
            asked = self._open.setdefault(place, set())
            late = [one for one in asked if one.began < question.began - self._seconds]
            if self._is_silent(place, question.about, late):
                raise self._silent(place[1])
            asked.add(question)

    def _is_silent(self, place: _Asked, about: str, late: list[_Question[Any]]) -> bool:
        """Tell whether nothing would be said either, by what is past its time."""
        heard = self._heard.get(place, 0.0)
        unheard = {one.about for one in late if one.began >= heard}
        return (
            "" in unheard
            or len(unheard) >= self._silences
            or len(late) >= _MOST_THREADS
            or any(one.about == about for one in late)
        )

    def _give_up(self, question: _Question[Any]) -> None:
        """Have what it finds dropped: by its thread, or here if that has ended."""
        with self._lock:
            question.is_given_up = not question.answered.is_set()
        if not question.is_given_up:
            for found in question.found:
                question.drop(found)

    def _work(self, place: _Asked, question: _Question[_T]) -> None:
        try:
            question.found.append(question.act())
        except BaseException as error:  # noqa: BLE001 - it belongs to who waits
            question.error = error
        self._close(place, question)
        if question.is_given_up:
            for found in question.found:
                question.drop(found)

    def _close(self, place: _Asked, question: _Question[Any]) -> None:
        with self._lock:
            asked = self._open.get(place, set())
            asked.discard(question)
            if not asked:
                self._open.pop(place, None)
                self._heard.pop(place, None)
            elif not question.is_given_up and not isinstance(
                question.error, DirectoryUnavailableError
            ):
                self._heard[place] = time.monotonic()
            # From here on nobody gives it up.
            question.answered.set()

    def _silent(self, whom: str) -> DirectoryUnavailableError:
        return DirectoryUnavailableError(
            f"`{whom}` does not answer in time", advice=self._advice
        )


def _without_thread(whom: str, error: RuntimeError) -> DirectoryUnavailableError:
    return DirectoryUnavailableError(
        f"`{whom}` cannot be asked: {error}",
        advice="see to the limits of tasks that the server runs under",
    )
