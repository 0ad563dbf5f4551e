"""What a client's worker was asked to do, to be taken once by whoever waits for it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Final, Generic, Protocol, TypeVar

from stead.errors import OperationFailedError, SteadError, WorkerFailedError
from stead.server.workers.answers import close_aside

_T = TypeVar("_T")
_T_co = TypeVar("_T_co", covariant=True)


class Called(Protocol[_T_co]):
    """Something that a worker does."""

    def when_done(self, act: Callable[[object], None]) -> None:
        """Have `act` called when the worker has answered, on whatever thread."""

    def take(self) -> _T_co:
        """Wait, record what came of it, and return the value or raise the error.

        Whoever is interrupted meanwhile has it cancelled.
        """
        ...

    def give_up(self) -> None:
        """Have the worker ended, and record that nobody waits any more."""


class CalledFunction(Generic[_T]):
    """A function at work in a client's worker; see `Called`."""

    def __init__(
        self, future: Future[_T], record: Callable[[SteadError | None], None]
    ) -> None:
        """Begin to wait.

        Args:
            future: the worker's.
            record: queues what came of it for the trail.
        """
        self._future: Final = future
        self._record = record

    def when_done(self, act: Callable[[object], None]) -> None:
        """Have `act` called when the worker has answered, on whatever thread."""
        self._future.add_done_callback(act)

    def take(self) -> _T:
        """Wait, record what came of it, and return the value or raise the error."""
        try:
            value = self._future.result()
        except SteadError as error:
            self._record(error)
            raise
        except Exception as error:
            self._record(_nameless(error))
            raise
        except BaseException:
            self.give_up()
            raise
        self._record(None)
        return value

    def give_up(self) -> None:
        """Have the worker ended, and record that nobody waits any more."""
        self._future.cancel()
        self._record(_given_up())


class OpenedFile:
    """A file that a client's worker opens; see `Called`."""

    def __init__(
        self,
        future: Future[int],
        answer: Callable[[SteadError | None], object],
    ) -> None:
        """Begin to wait.

        Args:
            future: the worker's.
            answer: records durably what came of it.
        """
        self._future: Final = future
        self._answer = answer

    def when_done(self, act: Callable[[object], None]) -> None:
        """Have `act` called when the worker has answered, on whatever thread."""
        self._future.add_done_callback(act)

    def take(self) -> int:
        """Wait, record what came of it durably, and return the descriptor.

        Raises:
            KernelRefusedError: the kernel, judging as the client, refused.
            NotARegularFileError: it is a directory, or something else.
            LedgerUnavailableError: it could not be recorded; it is closed again.
        """
        try:
            descriptor = self._future.result()
        except SteadError as error:
            self._answer(error)
            raise
        except BaseException:
            self.give_up()
            raise
        try:
            self._answer(None)
        except BaseException:
            close_aside(descriptor)
            raise
        return descriptor

    def give_up(self) -> None:
        """Have the worker ended, and record that nobody waits any more."""
        self._future.cancel()
        self._answer(_given_up())


def _nameless(error: Exception) -> SteadError:
    """Return what the trail says of an error: its class; its text is the client's."""
    name = type(error).__qualname__
    return WorkerFailedError(f"the function raised {name}", type_name=name)


def _given_up() -> SteadError:
    return OperationFailedError("nobody waited for the answer")
