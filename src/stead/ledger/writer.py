"""The one thread that writes the trail, and what it is handed.

Whatever has gathered while the disk was busy goes into the next transaction: the more
producers wait, the more records share one flush (group commit). The thread is started
by the server for itself: it inherits neither the credentials of an impersonating
thread nor its context.

What becomes of a failure to write:

1. Everybody who waits for a record of that batch is told, and does not act.
2. Records nobody waits for are kept, within bounds, and tried again: with the next
   batch, or after a second.
3. What does not fit the bounds is counted, and the count is recorded as soon as
   anything can be.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import Context
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Final

from stead.errors import InvalidRecordError, LedgerUnavailableError, SteadError
from stead.ledger.canonical import write_record
from stead.ledger.chain import seal
from stead.ledger.ports import Entry, LedgerStore
from stead.ledger.tally import Tally
from stead.model.audit_record import AuditRecord

_BATCH: Final = 512
_RETRY_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Awaited:
    """A record somebody waits for, in its canonical form."""

    body: bytes
    future: Future[int]


@dataclass(frozen=True, slots=True)
class Queued:
    """A record nobody waits for; the writer puts it into its canonical form."""

    record: AuditRecord


class Stop:
    """Tells the writer to finish what it was handed and end."""


class Writer:
    """Writes what it is handed, in order, in as few transactions as it can.

    ``SimpleQueue`` because its ``put`` may interrupt itself in the same thread, which
    a finalizer or signal handler does; ``queue.Queue`` would wait for its own lock.
    """

    def __init__(
        self,
        store: LedgerStore,
        *,
        genesis: bytes,
        lost: Callable[[int], AuditRecord],
        reserve: int,
    ) -> None:
        self._store = store
        self._genesis = genesis
        self._lost_record = lost
        self._reserve = reserve
        self._inbox: SimpleQueue[Awaited | Queued | Stop] = SimpleQueue()
        self._kept: list[bytes] = []
        self._reported = 0
        self._is_stopping = False
        self._failure: BaseException | None = None
        self.has_ended = False
        self.lost = Tally()
        self._thread = threading.Thread(
            target=Context().run, args=(self._run,), name="stead-ledger", daemon=True
        )
        self._thread.start()

    def backlog(self) -> int:
        """Return how much waits to be written."""
        return self._inbox.qsize()

    def put(self, item: Awaited | Queued | Stop) -> None:
        """Hand something over; never waits, and may be called from anywhere."""
        self._inbox.put(item)
        if self.has_ended:
            # Either the ending thread saw the item or this one sees that it ended.
            self._refuse_rest()

    def is_current_thread(self) -> bool:
        """Tell whether the caller is the writer's own thread."""
        return threading.current_thread() is self._thread

    def stop(self) -> int:
        """Write what was handed over, end, and return how many could not be kept."""
        self.put(Stop())
        self._thread.join()
        return len(self._kept) + self.lost.total() - self._reported

    def _run(self) -> None:
        try:
            while not (self._is_stopping and self._inbox.empty()):
                self._write(self._take())
        except BaseException as error:
            # Not one of the store's failures: those are answered in `_write`.
            self._failure = error
            raise
        finally:
            self.has_ended = True
            self._refuse_rest()

    def _take(self) -> list[Awaited | Queued]:
        """Wait for the next item and take all that has gathered behind it."""
        timeout = _RETRY_SECONDS if self._kept or self._unreported() else None
        items: list[Awaited | Queued] = []
        try:
            item = self._inbox.get(block=not self._is_stopping, timeout=timeout)
            while True:
                if isinstance(item, Stop):
                    self._is_stopping = True
                else:
                    items.append(item)
                if len(items) >= _BATCH:
                    break
                item = self._inbox.get_nowait()
        except Empty:
            pass
        return items

    def _write(self, items: list[Awaited | Queued]) -> None:
        ends: list[bytes] = []
        bodies: list[bytes] = []
        waiting: list[tuple[int, Future[int]]] = []
        for item in items:
            if isinstance(item, Awaited):
                waiting.append((len(bodies), item.future))
                bodies.append(item.body)
            elif body := self._body(item):
                ends.append(body)
                bodies.append(body)
        try:
            first = self._append(bodies)
        except BaseException as error:
            self._keep(ends)
            for _, future in waiting:
                future.set_exception(_unavailable(error))
            # The outermost loop of this thread: no failure of a store ends it.
            if not isinstance(error, Exception):
                raise
        else:
            for place, future in waiting:
                future.set_result(first + place)

    def _append(self, bodies: list[bytes]) -> int:
        """Append what was kept, then a note of losses, then `bodies`.

        Returns:
            The sequence number of the first of `bodies`.
        """
        unreported = self._unreported()
        note = [write_record(self._lost_record(unreported))] if unreported else []
        before = [*self._kept, *note]
        sealed: list[Entry] = []

        def build(last: Entry | None) -> list[Entry]:
            sealed[:] = seal(last, [*before, *bodies], self._genesis)
            return sealed

        if not before and not bodies:
            return 0
        self._store.append(build)
        self._kept.clear()
        self._reported += unreported
        return sealed[0].sequence + len(before)

    def _body(self, item: Queued) -> bytes:
        try:
            return write_record(item.record)
        except InvalidRecordError:
            self.lost.add()
            return b""

    def _keep(self, ends: list[bytes]) -> None:
        room = max(0, self._reserve - len(self._kept))
        self._kept.extend(ends[:room])
        for _ in ends[room:]:
            self.lost.add()

    def _unreported(self) -> int:
        return self.lost.total() - self._reported

    def _refuse_rest(self) -> None:
        while True:
            try:
                item = self._inbox.get_nowait()
            except Empty:
                return
            if isinstance(item, Awaited):
                item.future.set_exception(ended(self._failure))
            elif isinstance(item, Queued):
                self.lost.add()


def ended(failure: BaseException | None = None) -> LedgerUnavailableError:
    """Return the refusal of a ledger that writes no more."""
    if failure is None:
        return LedgerUnavailableError("the ledger is closed")
    return LedgerUnavailableError(
        f"the ledger's writer has failed: {failure}", advice="restart the server"
    )


def _unavailable(error: BaseException) -> LedgerUnavailableError:
    # One error for each waiter: raising the same one in many threads would mix up
    # their tracebacks.
    advice = error.advice if isinstance(error, SteadError) else ""
    refusal = LedgerUnavailableError(
        f"the record was not written, so nothing is done: {error}", advice=advice
    )
    refusal.__cause__ = error
    return refusal
