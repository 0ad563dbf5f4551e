"""Hardened threads behind the interface of ``concurrent.futures``.

Every thread is started and hardened before the constructor returns: one that is
created later, by a thread that happens to impersonate, would be the client for ever.
Each item runs in a context of its own, and its thread is proved to be the server
before anybody learns the result.

The queue has no bound, as in the standard library: whoever takes requests from the
network bounds them there, where the client can be told. Work belongs here if it is a
short block that the kernel judges; long or hostile work belongs into a process.

>>> with KernelExecutor(4, guard=DEFAULT_GUARD_UID) as executor:   # doctest: +SKIP
...     executor.submit(read_notes, client).result()
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from concurrent.futures import Executor, Future
from contextvars import Context
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

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

_P = ParamSpec("_P")
_T = TypeVar("_T")

_log = logging.getLogger(__name__)


class KernelExecutor(Executor):
    """A fixed number of hardened threads, all ready when the constructor returns.

    Leave it by ``with`` or `shutdown`: its threads are daemons, so items that are still
    queued when the process ends are not run.
    """

    def __init__(
        self,
        workers: int,
        *,
        guard: int = DEFAULT_GUARD_UID,
        name: str = "stead",
        context_factory: Callable[[], Context] = Context,
    ) -> None:
        """Start and harden all threads.

        Args:
            workers: how many.
            guard: the real uid and gid while impersonating; nobody may run as it.
            name: how the threads are called, with a number behind.
            context_factory: makes the context of each item, on the item's thread; a
                fresh and empty one by default.

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
        self._queue: SimpleQueue[_Item | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._closed = False
        self._process = os.getpid()
        self._guard = LateImportGuard()
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
        with self._lock:
            if self._closed:
                raise ServerClosedError("the executor is shut down")
            if os.getpid() != self._process:
                raise ServerClosedError("the executor's threads are another process's")
            self._queue.put(_Item(future, lambda: fn(*args, **kwargs)))
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
        if first:
            sys.meta_path.remove(self._guard)
        if first or cancel_futures:
            for _ in self._threads:
                self._queue.put(None)
        if wait:
            for thread in self._threads:
                if thread.ident is not None:
                    thread.join()

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
            item.run(thread, self._context_factory)
            # A callback of the future ran on this thread too, after the proof.
            if not thread.settle():
                _log.critical("a callback of a future left a block open: reverted")
            del item


@dataclass(frozen=True, slots=True)
class _Item:
    """One queued call."""

    future: Future[Any]
    act: Callable[[], object]

    def run(self, thread: HardenedThread, make_context: Callable[[], Context]) -> None:
        """Run the call, prove that the thread is the server, then tell the future."""
        if not self.future.set_running_or_notify_cancel():
            return
        result, failure = self._outcome(make_context)
        if not thread.settle():
            disorder = RevertOrderError("the call left a block open or out of order")
            disorder.__cause__ = failure
            failure = disorder
        if failure is None:
            self.future.set_result(result)
        else:
            self.future.set_exception(failure)

    def _outcome(
        self, make_context: Callable[[], Context]
    ) -> tuple[object, BaseException | None]:
        try:
            return make_context().run(self.act), None
        except BaseException as failure:  # noqa: BLE001  # it belongs to who waits
            return None, failure
