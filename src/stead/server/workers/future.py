"""What is waited for while a client's worker does something."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

_T = TypeVar("_T")


class Outcome(Generic[_T]):
    """An answer that is looked into once, by whoever first wants to know."""

    __slots__ = ("_error", "_lock", "_read", "_value")

    def __init__(self, read: Callable[[], _T]) -> None:
        self._lock = threading.Lock()
        self._read: Callable[[], _T] | None = read
        self._value: _T | None = None
        self._error: BaseException | None = None

    def error(self) -> BaseException | None:
        """Look into it, and return the error that it is, or None."""
        with self._lock:
            if self._read is not None:
                try:
                    self._value = self._read()
                except BaseException as error:  # noqa: BLE001 - as a Future holds it
                    self._error = error
                self._read = None  # the bytes are not needed any more
        return self._error

    def get(self) -> _T:
        """Look into it, and return its value or raise its error."""
        error = self.error()
        if error is None:
            return self._value  # type: ignore[return-value]  # set where there is none
        try:
            raise error
        finally:
            del error  # the error's traceback holds this frame


class WorkerFuture(Future[_T]):
    """A `Future` whose result is read by whoever asks for it, not by who got it.

    So a client's large answer costs the time of its own request. Until the answer is
    there it can be cancelled: that ends the worker.
    """

    def __init__(self, cancelled: Callable[[], None]) -> None:
        """Begin to wait.

        Args:
            cancelled: called when somebody cancels; it must not wait.
        """
        super().__init__()
        self._cancelled = cancelled
        self._outcome: Outcome[_T] | None = None
        self._attend: Callable[[], None] | None = None

    def attended_by(self, attend: Callable[[], None]) -> None:
        """Have whoever waits take the answer, if it comes soon, and wake nobody else.

        Args:
            attend: called on the waiting thread; it returns when the answer is there,
                or soon.
        """
        self._attend = attend
        if self.done():
            self._attend = None  # it holds the call, which holds this

    def cancel(self) -> bool:
        """Cancel, unless the answer is there; return whether it is cancelled."""
        is_cancelled = super().cancel()
        if is_cancelled:
            self._cancelled()
        return is_cancelled

    def result(self, timeout: float | None = None) -> _T:
        """Return what came of it, or raise what was raised; see `Future.result`."""
        attend, self._attend = self._attend, None
        if attend is not None and timeout is None and self._outcome is None:
            attend()
        if self._outcome is None:  # else nobody can cancel it any more
            super().result(timeout)
        assert self._outcome is not None  # noqa: S101 - `deliver` set it; for types
        return self._outcome.get()

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Return the error that came of it, or None; see `Future.exception`."""
        error = super().exception(timeout)
        return self._outcome.error() if error is None and self._outcome else error

    def deliver(self, outcome: Outcome[_T]) -> bool:
        """Hand over the answer; return whether anybody still wants it."""
        if not self.set_running_or_notify_cancel():
            return False
        # They hold the call, which holds this.
        self._cancelled, self._attend = _nothing, None
        self._outcome = outcome
        self.set_result(None)  # type: ignore[arg-type]  # `result` returns the outcome's
        return True

    def fail(self, error: BaseException) -> None:
        """Say that there will be no answer, and why."""
        if self.set_running_or_notify_cancel():
            self._cancelled, self._attend = _nothing, None
            self.set_exception(error)


def _nothing() -> None:
    """Hear that what is done already was cancelled."""
