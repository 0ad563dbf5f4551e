"""Hardened threads behind the interface of ``concurrent.futures``.

Every thread is started and hardened before the constructor returns: one that is
created later, by a thread that happens to impersonate, would be the client for ever.
Each item runs in a context of its own, and its thread is proved to be the server
before anybody learns the result.

The queue has no bound, as in the standard library: whoever takes requests from the
network bounds them there, where the client can be told. Work belongs here if it is a
short block that the kernel judges; long or hostile work belongs into a process.

A client's file can keep a thread for ever (a FIFO, its own FUSE mount), and no thread
can be ended from outside. So leaving an executor waits for a bounded time; what is busy
then is abandoned: who waits for its result gets an error, and the daemon thread ends
with the process.

>>> with KernelExecutor(4, guard=DEFAULT_GUARD_UID) as executor:   # doctest: +SKIP
...     executor.submit(read_notes, client).result()
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
import time
from concurrent.futures import Executor, Future, InvalidStateError
from contextvars import Context
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar

from stead.errors import (
    EnforcementUnavailableError,
    RevertOrderError,
    ServerClosedError,
)
from stead.privileged.hardened_thread import HardenedThread
from stead.privileged.late_imports import LateImportGuard, preload
from stead.privileged.probe import guard_reasons
from stead.privileged.system_uids import DEFAULT_GUARD_UID

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

_P = ParamSpec("_P")
_T = TypeVar("_T")

_log = logging.getLogger(__name__)

DEFAULT_GRACE: Final = 10.0
"""For how many seconds leaving an executor waits for the work that it has."""


class KernelExecutor(Executor):
    """A fixed number of hardened threads, all ready when the constructor returns.

    Leave it by ``with``, `close` or `shutdown`: its threads are daemons, so items that
    are still queued when the process ends are not run.
    """

    def __init__(
        self,
        workers: int,
        *,
        guard: int = DEFAULT_GUARD_UID,
        name: str = "stead",
        context_factory: Callable[[], Callable[[], Context]] = lambda: Context,
        after: Callable[[], object] | None = None,
        grace: float = DEFAULT_GRACE,
    ) -> None:
        """Start and harden all threads.

        Args:
            workers: how many.
            guard: the real uid and gid while impersonating; nobody may run as it.
            name: how the threads are called, with a number behind.
            context_factory: is called where an item is submitted, and returns what
                makes its context on the item's thread; a fresh and empty one by
                default.
            after: is called in that context when the item's call has ended, whatever
                it left in force; it raises nothing.
            grace: for how many seconds leaving the ``with`` waits; see `close`.

        Raises:
            EnforcementUnavailableError: somebody runs as the guard; or a thread could
                not be started or hardened, and the others have ended then.
            ValueError: `workers` is not positive.
        """
        if workers < 1:
            raise ValueError("an executor needs at least one worker")
        for reason in guard_reasons(guard):
            raise EnforcementUnavailableError(reason, advice="name another guard")
        self._context_factory = context_factory
        self._after = after
        self._grace = grace
        self._queue: SimpleQueue[_Item | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._closed = False
        self._process = os.getpid()
        self._guard = LateImportGuard()
        self._unfinished: set[Future[Any]] = set()
        self._busy: set[str] = set()
        self._threads = [
            HardenedThread(self._work, guard=guard, name=f"{name}-{number}")
            for number in range(workers)
        ]
        preload()
        sys.meta_path.insert(0, self._guard)
        try:
            self._start()
        except BaseException:
            self.shutdown()
            raise

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close it; see `close`."""
        self.close(self._grace)

    def submit(
        self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs
    ) -> Future[_T]:
        """Queue a call for one of the threads.

        Returns:
            Its future. It holds RevertOrderError, whatever the call returned or raised,
            if the call left a block open or blocks out of order.

        Raises:
            ServerClosedError: the executor is shut down, or belongs to the process that
                this one was forked from.
        """
        future: Future[_T] = Future()
        make_context = self._context_factory()
        with self._lock:
            if self._closed:
                raise ServerClosedError("the executor is shut down")
            if os.getpid() != self._process:
                raise ServerClosedError("the executor's threads are another process's")
            self._unfinished.add(future)
            future.add_done_callback(self._unfinished.discard)
            item = _Item(future, lambda: fn(*args, **kwargs), make_context)
            self._queue.put(item)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002  # the base class's signature
        """Let the threads end when the queue is empty.

        Args:
            wait: return only when they have ended.
            cancel_futures: empty the queue first.
        """
        with self._lock:
            first, self._closed = not self._closed, True
        if cancel_futures:
            self._cancel_queued()
        if first or cancel_futures:
            for _ in self._threads:
                self._queue.put(None)
        if wait:
            self._join(None)

    def close(self, grace: float) -> tuple[str, ...]:
        """Let the threads end, and abandon what is not done in time.

        1. Take no more work.
        2. Wait until the queue is empty and the threads have ended, or the time is up.
        3. Then cancel what is queued; the futures of what runs hold ServerClosedError.

        Args:
            grace: how many seconds to wait in all.

        Returns:
            The names of the threads that are still busy. Their work goes on, as its
            client, until it ends or the process does; nobody learns its result.
        """
        self.shutdown(wait=False)
        self._join(time.monotonic() + grace)
        alive = [thread.name for thread in self._threads if thread.is_alive()]
        busy = tuple(name for name in alive if name in self._busy)
        if busy:
            _log.warning(
                "abandoned the work of %s after %s seconds", ", ".join(busy), grace
            )
        if alive:
            for future in tuple(self._unfinished):
                _abandon(future)
        return busy

    def _join(self, deadline: float | None) -> None:
        """Wait for the threads; while one may be a client, imports stay guarded."""
        for thread in self._threads:
            if thread.ident is not None:
                left = None if deadline is None else deadline - time.monotonic()
                thread.join(left if left is None else max(left, 0))
        is_idle = not any(thread.is_alive() for thread in self._threads)
        with self._lock:
            if is_idle and self._guard in sys.meta_path:
                sys.meta_path.remove(self._guard)

    def _start(self) -> None:
        for thread in self._threads:
            try:
                thread.start()
            except RuntimeError as error:
                # On a hardened thread too: its filter lets it start no other.
                raise EnforcementUnavailableError(
                    f"the thread `{thread.name}` cannot be started",
                    advice="open the executor on a plain thread, before the blocks",
                ) from error
        for thread in self._threads:
            thread.ready.result()

    def _cancel_queued(self) -> None:
        while True:
            try:
                item = self._queue.get_nowait()
            except Empty:
                return
            if item is not None:
                item.future.cancel()

    def _work(self, thread: HardenedThread) -> None:
        while (item := self._queue.get()) is not None:
            self._busy.add(thread.name)
            item.run(thread, self._after)
            # A callback of the future ran on this thread too, after the proof.
            if not thread.settle():
                _log.critical("a callback of a future left a block open: reverted")
            self._busy.discard(thread.name)
            del item


@dataclass(frozen=True, slots=True)
class _Item:
    """One queued call."""

    future: Future[Any]
    act: Callable[[], object]
    make_context: Callable[[], Context]

    def run(self, thread: HardenedThread, after: Callable[[], object] | None) -> None:
        """Run the call, prove that the thread is the server, then tell the future."""
        if not self.future.set_running_or_notify_cancel():
            return
        result, failure = self._outcome(after)
        if not thread.settle():
            disorder = RevertOrderError("the call left a block open or out of order")
            disorder.__cause__ = failure
            failure = disorder
        try:
            if failure is None:
                self.future.set_result(result)
            else:
                self.future.set_exception(failure)
        except InvalidStateError:
            _log.warning("work that was abandoned has ended after all")

    def _outcome(
        self, after: Callable[[], object] | None
    ) -> tuple[object, BaseException | None]:
        try:
            made = self.make_context()
            try:
                return made.run(self.act), None
            finally:
                if after is not None:
                    made.run(after)
        except BaseException as failure:  # noqa: BLE001  # it belongs to who waits
            return None, failure


def _abandon(future: Future[Any]) -> None:
    """Tell who waits for a call that nobody will."""
    if future.cancel():
        return  # it was queued
    with contextlib.suppress(InvalidStateError):  # it has ended just now
        future.set_exception(
            ServerClosedError("the executor was closed before the call ended")
        )
