"""Where one thread waits for the writer's answer, and an interrupt cannot jam it.

`Future.result` enters the future's condition in Python code. KeyboardInterrupt can end
it there with the condition's lock held, and then whoever sets the result waits for
ever: the one thread that writes the trail. Here the waiter waits on a plain lock, which
only the writer lets go.
"""

from __future__ import annotations

import threading
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
