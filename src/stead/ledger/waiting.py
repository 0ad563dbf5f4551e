"""Where a thread, or a loop's task, waits for the writer's answer.

An interrupt cannot jam the writer: what it tells, it tells without waiting for anybody.

`Future.result` enters the future's condition in Python code. KeyboardInterrupt can end
it there with the condition's lock held, and then whoever sets the result waits for
ever: the one thread that writes the trail. Here the waiter waits on a plain lock, which
only the writer lets go.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Generic, Protocol, TypeVar

_T = TypeVar("_T")
_Told_contra = TypeVar("_Told_contra", contravariant=True)


class Waiter(Protocol[_Told_contra]):
    """Whoever is told the outcome: a `Slot`, or a future."""

    def set_result(self, result: _Told_contra, /) -> None:
        """Tell the result; once."""

    def set_exception(self, error: BaseException, /) -> None:
        """Tell the failure; once, and instead of a result."""


class Slot(Generic[_T]):
    """Holds one answer for one thread, whose `wait` may be interrupted at any moment.

    An interrupted waiter goes away; what it was told later is told to nobody.
    """

    __slots__ = ("_error", "_result", "_told")

    def __init__(self) -> None:
        self._error: BaseException | None = None
        self._told = threading.Lock()
        self._told.acquire()

    def set_result(self, result: _T, /) -> None:
        """Keep the result, and let the waiter go."""
        self._result = result
        self._told.release()

    def set_exception(self, error: BaseException, /) -> None:
        """Keep the error, and let the waiter go."""
        self._error = error
        self._told.release()

    def wait(self) -> _T:
        """Wait for the answer and return it, or raise it; one thread does, and once."""
        self._told.acquire()
        if self._error is not None:
            raise self._error
        return self._result


class Mailbox:
    """Brings answers to the tasks of one event loop.

    To wake a loop takes a call into the kernel, and a turn of the loop. So the first
    answer wakes it, and what is told before it comes to look goes along: one wake-up
    for a batch of the writer's, and not one for each task.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._letters: deque[Callable[[], None]] = deque()
        self._is_woken = False

    def post(self, letter: Callable[[], None]) -> None:
        """Have the loop call something soon; from any thread.

        Where the loop has been closed, nobody waits any more.
        """
        self._letters.append(letter)
        if not self._is_woken:
            self._is_woken = True
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._deliver)

    def _deliver(self) -> None:
        # Before looking: whoever posts after the last look wakes the loop again.
        self._is_woken = False
        letters = self._letters
        while letters:
            letters.popleft()()


class TaskSlot(Generic[_T]):
    """Holds one answer for a task; as `Slot`, and told through its loop's mailbox.

    A task that was cancelled went away, as an interrupted thread does.

    Attributes:
        future: what the task awaits.
    """

    __slots__ = ("_mailbox", "future")

    def __init__(self, mailbox: Mailbox, future: asyncio.Future[_T]) -> None:
        self.future = future
        self._mailbox = mailbox

    def set_result(self, result: _T, /) -> None:
        """Let the task have the result."""
        self._mailbox.post(partial(self._settle, result))

    def set_exception(self, error: BaseException, /) -> None:
        """Let the task have the error."""
        self._mailbox.post(partial(self._fail, error))

    def _settle(self, result: _T) -> None:
        if not self.future.done():
            self.future.set_result(result)

    def _fail(self, error: BaseException) -> None:
        if not self.future.done():
            self.future.set_exception(error)
