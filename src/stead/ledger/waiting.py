"""A future that an interrupted waiter cannot jam.

`Future.result` enters the future's condition in Python code. KeyboardInterrupt can end
it there with the condition's lock held, and then whoever sets the result waits for
ever: the one thread that writes the trail. Here the waiter waits on a plain lock, and
touches the condition only when the result has been set.
"""

from __future__ import annotations

import threading
from concurrent.futures import Future
from typing import TypeVar

_T = TypeVar("_T")


class WrittenFuture(Future[_T]):
    """A future whose `wait` may be interrupted at any moment."""

    def __init__(self) -> None:
        super().__init__()
        self._told = threading.Lock()
        self._told.acquire()

    def set_result(self, result: _T) -> None:
        """Set the result, and then let the waiter go."""
        super().set_result(result)
        self._told.release()

    def set_exception(self, exception: BaseException | None) -> None:
        """Set the error, and then let the waiter go."""
        super().set_exception(exception)
        self._told.release()

    def wait(self) -> _T:
        """Wait for the result and return it; one thread does, and once."""
        self._told.acquire()
        return self.result()
