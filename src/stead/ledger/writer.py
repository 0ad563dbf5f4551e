"""The one thread that writes the trail, and what it is handed.

Whatever has gathered while the disk was busy goes into the next transaction: the more
producers wait, the more records share one flush (group commit). The thread is started
by the server for itself: it inherits neither the credentials of an impersonating
thread nor its context.

What becomes of a failure to write:

1. Everybody who waits for a record of that batch is told, and does not act; unless the
   audit policy lets records of that event be lost: those are counted.
2. Records nobody waits for are kept, within bounds, and tried again: with the next
   batch, or after a second.
3. What does not fit the bounds is counted, and the count is recorded as soon as
   anything can be.
4. If the disk is full, records of administrators are written into the room that is kept
   for them, and nobody else's until that room is whole again.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Container, Sequence
from contextvars import Context
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Final, NamedTuple

from stead.errors import (
    InvalidRecordError,
    LedgerFullError,
    LedgerUnavailableError,
    SteadError,
)
from stead.ledger.canonical import read_record, write_record
from stead.ledger.chain import seal
from stead.ledger.flood import Flood
from stead.ledger.losses import Losses
from stead.ledger.ports import Entry, LedgerStore, Room
from stead.ledger.waiting import Waiter
from stead.model.audit_record import AuditEvent, AuditRecord

_BATCH: Final = 512
_RETRY_SECONDS: Final = 1.0

Note = Callable[[AuditEvent, dict[str, str]], AuditRecord]
"""Makes a record of the trail's own, given what it says. Who owns the clock does."""


class Awaited(NamedTuple):
    """A record somebody waits for, in its canonical form.

    Attributes:
        body: the record.
        event: what it records.
        time: the record's.
        waiter: is told its number.
        is_reserved: whether it may use what is kept for administrators.
    """

    body: bytes
    event: AuditEvent
    time: int
    waiter: Waiter[int]
    is_reserved: bool


@dataclass(frozen=True, slots=True)
class Queued:
    """A record nobody waits for; the writer puts it into its canonical form."""

    record: AuditRecord

    @property
    def time(self) -> int | None:
        """The record's; None if this is no record, for anything may be queued."""
        return getattr(self.record, "time", None)


@dataclass(frozen=True, slots=True)
class Counted:
    """A record that is told with others of its kind (`stead.ledger.flood`)."""

    record: AuditRecord
    kind: str


class Stop:
    """Tells the writer to finish what it was handed and end."""


_Item = Awaited | Queued | Counted | Stop


@dataclass(slots=True)
class _Batch:
    """What one transaction shall hold: bodies, and who waits for which of them."""

    bodies: list[bytes]
    ends: list[bytes]
    waiting: list[tuple[int, Awaited]]


class Writer:
    """Writes what it is handed, in order, in as few transactions as it can.

    ``SimpleQueue`` because its ``put`` may interrupt itself in the same thread, which
    finalizers and signal handlers do; any other queue would wait for its own lock.
    """

    def __init__(
        self,
        store: LedgerStore,
        *,
        genesis: bytes,
        note: Note,
        keep: int,
        room: Room,
        may_lose: Callable[[], Container[AuditEvent]],
    ) -> None:
        self._store = store
        self._genesis = genesis
        self._note = note
        self._most_kept = keep
        self._room = room
        self._may_lose = may_lose
        self._inbox: SimpleQueue[_Item] = SimpleQueue()
        self._kept: list[bytes] = []
        self._refused: Counter[AuditEvent] = Counter()
        self._flood = Flood()
        self._is_stopping = False
        self._failure: BaseException | None = None
        self._ident: int | None = None
        self.has_ended = False
        self.losses = Losses()
        self._thread = threading.Thread(
            target=Context().run, args=(self._run,), name="stead-ledger", daemon=True
        )
        self._thread.start()

    def backlog(self) -> int:
        """Return how much waits to be written."""
        return self._inbox.qsize()

    def is_in_trouble(self) -> bool:
        """Tell whether what came last could not be written, or not all of it."""
        return bool(self._kept or self._refused or self.losses.is_owing)

    def is_ready(self, most: int) -> bool:
        """Tell whether less than `most` waits, and what came last was written."""
        return not (
            self._kept
            or self._refused
            or self.losses.is_owing
            or self.has_ended
            or self._inbox.qsize() >= most
        )

    def put(self, item: _Item) -> None:
        """Hand something over; never waits, and may be called from anywhere."""
        self._inbox.put(item)
        if self.has_ended:
            # Either the ending thread saw the item or this one sees that it ended.
            self._refuse_rest()

    def is_current_thread(self) -> bool:
        """Tell whether the caller is the writer's own thread."""
        return threading.get_ident() == self._ident

    def refuse(self, item: Awaited, error: LedgerUnavailableError) -> bool:
        """Tell one waiter that its record is not written, and whether it must not act.

        What the policy lets be lost goes on instead, and is counted.
        """
        may_go_on = item.event in self._may_lose()
        if may_go_on:
            self.losses.add(item.event)
            item.waiter.set_result(0)
        else:
            item.waiter.set_exception(error)
        return not may_go_on

    def stop(self) -> int:
        """Write what was handed over, end, and return how many could not be kept."""
        self.put(Stop())
        self._thread.join()
        return len(self._kept) + self.losses.unreported().total()

    def _run(self) -> None:
        self._ident = threading.get_ident()
        try:
            while not (self._is_stopping and self._inbox.empty()):
                self._write(self._sort(self._take()))
            self._write(self._sort([Queued(record) for record in self._flood.rest()]))
        except BaseException as error:
            # Not one of the store's failures: those are answered in `_write`.
            self._failure = error
            raise
        finally:
            self.has_ended = True
            self._ident = None  # the next thread may be given the number
            self._refuse_rest()

    def _take(self) -> list[_Item]:
        """Wait for the next item and take all that has gathered behind it."""
        inbox = self._inbox
        is_owing = self.is_in_trouble() or self._flood.kinds
        timeout = _RETRY_SECONDS if is_owing else None
        try:
            first = inbox.get(block=not self._is_stopping, timeout=timeout)
        except Empty:
            return []
        # What is counted counts too: a flood must not keep the others waiting. Nobody
        # else takes: as many as are there now can be had.
        more = min(inbox.qsize(), _BATCH - 1)
        return [first, *[inbox.get_nowait() for _ in range(more)]]

    def _sort(self, items: Sequence[_Item]) -> _Batch:
        """Put each item where it belongs: into the batch, to be counted, or an end."""
        batch = _Batch([], [], [])
        newest: Awaited | Queued | AuditRecord | None = None
        for item in items:
            if isinstance(item, Awaited):
                batch.waiting.append((len(batch.bodies), item))
                batch.bodies.append(item.body)
                newest = item
            elif isinstance(item, Queued):
                self._add_end(batch, item.record)
                newest = item
            elif isinstance(item, Counted):
                self._flood.add(item.kind, item.record)
                newest = item.record
            else:
                self._is_stopping = True
        if self._flood.kinds:
            for record in self._flood.due(None if newest is None else newest.time):
                self._add_end(batch, record)
        return batch

    def _write(self, batch: _Batch) -> None:
        try:
            if not self._room.is_whole():
                self._require_room()
            first = self._append(batch.bodies)
        except LedgerFullError as error:
            self._keep(batch.ends)
            self._write_reserved([item for _, item in batch.waiting], error)
        except BaseException as error:
            self._keep(batch.ends)
            self._refuse([item for _, item in batch.waiting], error)
            # The outermost loop of this thread: no failure of a store ends it.
            if not isinstance(error, Exception):
                raise
        else:
            for place, item in batch.waiting:
                item.waiter.set_result(first + place)

    def _require_room(self) -> None:
        if not self._room.refill():
            raise LedgerFullError(
                "the disk is full but for what is kept for administrators",
                advice="free some space on the store's disk",
            )

    def _append(self, bodies: list[bytes]) -> int:
        """Append what was kept, then what is to be said of losses, then `bodies`.

        Returns:
            The sequence number of the first of `bodies`.
        """
        if not self.is_in_trouble():
            return self._seal(bodies) if bodies else 0
        lost, refused = self.losses.unreported(), self._refused
        before = [*self._kept, *self._notes(lost, refused)]
        if not before and not bodies:
            return 0
        first = self._seal(before + bodies) + len(before)
        self._kept.clear()
        self.losses.report(lost)
        self._refused = Counter()
        return first

    def _seal(self, bodies: list[bytes]) -> int:
        sealed: list[Entry] = []

        def build(last: Entry | None) -> list[Entry]:
            sealed[:] = seal(last, bodies, self._genesis)
            return sealed

        self._store.append(build)
        return sealed[0].sequence

    def _notes(self, lost: Counter[str], refused: Counter[AuditEvent]) -> list[bytes]:
        records = [
            self._note(event, {"refused": str(count)})
            for event, count in refused.items()
        ]
        if lost:
            counts = {name: str(count) for name, count in sorted(lost.items())}
            said = {"lost": str(lost.total())} | counts
            records.append(self._note(AuditEvent.RECORDS_LOST, said))
        return [write_record(record) for record in records]

    def _write_reserved(self, waiting: list[Awaited], error: LedgerFullError) -> None:
        """Write what administrators wait for with the room that is kept for them."""
        chosen = [item for item in waiting if item.is_reserved]
        self._refuse([item for item in waiting if not item.is_reserved], error)
        if not chosen:
            return
        try:
            first = self._seal_in_room([item.body for item in chosen])
        except BaseException as failure:
            self._refuse(chosen, failure)
            if not isinstance(failure, Exception):
                raise
        else:
            for place, item in enumerate(chosen):
                item.waiter.set_result(first + place)

    def _seal_in_room(self, bodies: list[bytes]) -> int:
        while True:
            try:
                return self._seal(bodies)
            except LedgerFullError:
                if not self._room.release():
                    raise

    def _refuse(self, waiting: list[Awaited], error: BaseException) -> None:
        """Tell everybody that nothing was written, and note how often it was said."""
        is_full = isinstance(error, LedgerFullError)
        event = AuditEvent.TRAIL_FULL if is_full else AuditEvent.TRAIL_FAILED
        for item in waiting:
            if self.refuse(item, _unavailable(error)):
                self._refused[event] += 1

    def _add_end(self, batch: _Batch, record: AuditRecord) -> None:
        """Add a record that nobody waits for, in its canonical form."""
        try:
            body = write_record(record)
        except InvalidRecordError:
            self.losses.add(getattr(record, "event", None))
        else:
            batch.ends.append(body)
            batch.bodies.append(body)

    def _keep(self, ends: list[bytes]) -> None:
        room = max(0, self._most_kept - len(self._kept))
        self._kept.extend(ends[:room])
        for body in ends[room:]:
            self.losses.add(read_record(body).event)

    def _refuse_rest(self) -> None:
        while True:
            try:
                item = self._inbox.get_nowait()
            except Empty:
                return
            if isinstance(item, Awaited):
                self.refuse(item, ended(self._failure))
            elif not isinstance(item, Stop):
                self.losses.add(getattr(item.record, "event", None))


def ended(failure: BaseException | None = None) -> LedgerUnavailableError:
    """Return the refusal of a ledger that writes no more."""
    if failure is None:
        return LedgerUnavailableError(
            "the ledger is closed", advice="its server was closed: open another one"
        )
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
