"""A few threads that are always the server, for what must not be done as a client.

They do what is short: a durable record, an order to a launcher. None of them ever waits
for what a client does.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import Context
from typing import Final, TypeVar

from stead.errors import ServerClosedError
from stead.monitor import context
from stead.privileged.hardened_thread import is_hardened

_T = TypeVar("_T")

_THREADS: Final = 4


class Errands:
    """Threads, started now, as the server; later ones might be somebody's client."""

    def __init__(self, name: str, threads: int = _THREADS) -> None:
        self._pid = os.getpid()
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix=name)
        together = threading.Barrier(threads + 1)
        for _ in range(threads):
            self._executor.submit(together.wait)
        together.wait()

    def run(self, act: Callable[[], _T]) -> _T:
        """Run `act` as the server: here, or carried over if this may be a client.

        A handler's thread is the server's, however little the handler is allowed: here
        it does what Stead does for it, so in a context in which nobody is in force.

        Raises:
            ServerClosedError: the threads have ended, or are another process's.
        """
        self._require_own()
        nobody = Context()
        if is_hardened() or _may_be_client() or nobody.run(_may_be_client):
            return self.submit(act).result()
        return nobody.run(act)

    def submit(self, act: Callable[[], _T]) -> Future[_T]:
        """Have `act` done on one of the threads.

        Raises:
            ServerClosedError: they have ended, or are another process's.
        """
        self._require_own()
        try:
            return self._executor.submit(Context().run, act)
        except RuntimeError as error:
            raise ServerClosedError("the server is closed") from error

    def close(self) -> None:
        """End the threads once they have done what they were given.

        In a forked process there are none, and nothing is waited for.
        """
        if os.getpid() == self._pid:
            self._executor.shutdown()

    def _require_own(self) -> None:
        if os.getpid() != self._pid:
            raise ServerClosedError("the server belongs to the process that opened it")


def _may_be_client() -> bool:
    """Tell whether a client's block is open, in this context or on this thread."""
    return context.client_frame() is not None
