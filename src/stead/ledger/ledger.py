"""The ledger as the rest of Stead sees it: hand it a record, and it is durable.

The ways in, and which one is right follows from who may act before the record is on
the disk:

- ``record`` waits. What the record announces happens only after it returned.
- ``recording`` gives a future of the running event loop, to be awaited, and ``submit``
  one for any thread; the same promise.
- ``queue`` never waits and never raises: for ends (leaving, closing), which nobody may
  be kept from, and which finalizers and signal handlers report too.

Example::

    with Ledger(store.ledger, genesis=store.accounts.domain(), note=note) as ledger:
        ledger.record(record)
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Container
from concurrent.futures import Future
from types import TracebackType
from typing import Final, Self

from stead.errors import LedgerUnavailableError
from stead.ledger.canonical import write_record
from stead.ledger.ports import LedgerStore, NoRoom, Room
from stead.ledger.waiting import Mailbox, Slot, TaskSlot, Waiter
from stead.ledger.writer import Awaited, Counted, Note, Queued, Writer, ended
from stead.model.audit_record import AuditEvent, AuditRecord
from stead.monitor.frames import process

_BACKLOG: Final = 4096


def _nothing() -> Container[AuditEvent]:
    """Allow no record to be lost."""
    return frozenset()


class Ledger:
    """The durable, chained trail of one server process.

    Several processes may each have a ledger over one store: they keep one chain. Make
    it on a thread that impersonates nobody: its writer is the server's own.
    """

    def __init__(
        self,
        store: LedgerStore,
        *,
        genesis: bytes,
        note: Note,
        backlog: int = _BACKLOG,
        room: Room | None = None,
        may_lose: Callable[[], Container[AuditEvent]] = _nothing,
    ) -> None:
        """Start the writer.

        Args:
            store: where entries are kept.
            genesis: the bytes of the store's own SID, with which the chain begins.
            note: makes the records that say what was lost or refused; called on the
                writer's thread. Whoever owns the clock hands it in.
            backlog: how many records may wait before new ones are refused; as many
                again are set aside for those that are queued or an administrator's.
            room: what is kept on the disk for administrators.
            may_lose: the events that may go on, counted, when they cannot be written;
                asked when that happens.
        """
        self._pid = os.getpid()
        self._backlog = backlog
        self._is_closed = False
        self._mailboxes: dict[asyncio.AbstractEventLoop, Mailbox] = {}
        self._writer = Writer(
            store,
            genesis=genesis,
            note=note,
            keep=backlog,
            room=NoRoom() if room is None else room,
            may_lose=may_lose,
        )

    def record(self, record: AuditRecord, *, is_reserved: bool = False) -> int:
        """Write a record, wait until it is durable, and return its number.

        Args:
            record: what is about to happen.
            is_reserved: whether it may use what is kept for administrators, who can
                make room on a full disk.

        Returns:
            the number; 0 if the record is lost, as the policy allows for its event.

        Raises:
            LedgerUnavailableError: it was not written; what it announces must not
                happen. ``advice`` names the cause.
            InvalidRecordError: the record cannot be written at all.
        """
        if self._writer.is_current_thread():
            raise LedgerUnavailableError("the ledger's writer cannot wait for itself")
        slot: Slot[int] = Slot()
        self._put(record, slot, is_reserved=is_reserved)
        return slot.wait()

    def submit(self, record: AuditRecord, *, is_reserved: bool = False) -> Future[int]:
        """Hand a record over and return the future of its number.

        The future cannot be cancelled: the record is written even if nobody waits.

        Raises:
            LedgerUnavailableError: too many records wait, or the ledger is closed. A
                failure to write is raised by the future.
            InvalidRecordError: the record cannot be written at all.
        """
        future: Future[int] = Future()
        future.set_running_or_notify_cancel()
        self._put(record, future, is_reserved=is_reserved)
        return future

    def recording(
        self, record: AuditRecord, *, is_reserved: bool = False
    ) -> asyncio.Future[int]:
        """Hand a record over, on an event loop, and return its future of the number.

        One wake-up of the loop brings the numbers of all that one flush made durable.
        The record is written even if the task that awaits it is cancelled.

        Raises:
            LedgerUnavailableError, InvalidRecordError: as `submit`.
            RuntimeError: no event loop runs here.
        """
        loop = asyncio.get_running_loop()
        mailbox = self._mailboxes.get(loop) or self._new_mailbox(loop)
        slot: TaskSlot[int] = TaskSlot(mailbox, loop.create_future())
        try:
            self._put(record, slot, is_reserved=is_reserved)
        except BaseException:
            slot.future.cancel()  # nobody will ask it
            raise
        return slot.future

    def _new_mailbox(self, loop: asyncio.AbstractEventLoop) -> Mailbox:
        """Make a loop's mailbox, and forget those of loops that were closed."""
        for other in list(self._mailboxes):
            if other.is_closed():
                self._mailboxes.pop(other, None)
        return self._mailboxes.setdefault(loop, Mailbox(loop))

    def _put(
        self, record: AuditRecord, waiter: Waiter[int], *, is_reserved: bool
    ) -> None:
        self._require_open()
        item = Awaited(
            write_record(record), record.event, record.time, waiter, is_reserved
        )
        bound = self._backlog * (2 if is_reserved else 1)
        if self._writer.backlog() < bound:
            self._writer.put(item)
            return
        refusal = self._too_many(bound)
        if self._writer.refuse(item, refusal):
            raise refusal

    def is_well(self) -> bool:
        """Tell whether `cover` would take a record now, as far as is known.

        It costs little, and waits for nothing.
        """
        is_open = not self._is_closed and process() == self._pid
        return is_open and self._writer.is_ready(self._backlog)

    def cover(self, record: AuditRecord) -> None:
        """Hand over a record that nobody waits for, if the trail is being written.

        It announces what another, durable record has announced already.

        Raises:
            LedgerUnavailableError: what came last could not be written, or too much
                waits, or the ledger is closed; what it announces must not happen.
        """
        self._require_open()
        if self._writer.is_in_trouble():
            raise LedgerUnavailableError(
                "the trail cannot be written just now, so nothing is done",
                advice="see the records of refusals, and the store's disk",
            )
        if self._writer.backlog() >= self._backlog:
            raise self._too_many(self._backlog)
        self._writer.put(Queued(record))
        if self._writer.has_ended:
            # It ended meanwhile, and nobody tells whether this was its last.
            raise ended()

    def queue(self, record: AuditRecord) -> None:
        """Hand over a record that nobody waits for; never waits, never raises.

        If too much waits already, this record is dropped (the earlier ones are kept)
        and counted; the trail says how many were lost as soon as it can be written.
        In a forked child it does nothing: the parent has the same record to queue.
        """
        self._hand_over(Queued(record))

    def count(self, record: AuditRecord, kind: str) -> None:
        """Hand over a record that is told with others; never waits, never raises.

        Some seconds later, or when the ledger closes, one record tells of all of a
        kind: the last one, with `count` and `since` among its detail.

        Args:
            record: what happened.
            kind: what is told together.
        """
        self._hand_over(Counted(record, kind))

    def _hand_over(self, item: Queued | Counted) -> None:
        if os.getpid() != self._pid:
            return
        if self._writer.backlog() >= 2 * self._backlog:
            self._writer.losses.add(getattr(item.record, "event", None))
        else:
            self._writer.put(item)

    def lost(self) -> int:
        """Return how many records were lost since the ledger was made."""
        return self._writer.losses.total()

    def close(self) -> None:
        """Write everything that was handed over, and end; a second call does nothing.

        Raises:
            LedgerUnavailableError: queued records, or the note of lost ones, could
                not be written.
        """
        if self._is_closed or os.getpid() != self._pid:
            return
        self._is_closed = True
        unwritten = self._writer.stop()
        if unwritten:
            raise LedgerUnavailableError(
                f"{unwritten} queued records could not be written before the ledger "
                f"closed"
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the ledger."""
        self.close()

    @staticmethod
    def _too_many(bound: int) -> LedgerUnavailableError:
        return LedgerUnavailableError(
            f"{bound} records wait to be written already",
            advice="the store's disk is too slow for so many requests, or stuck",
        )

    def _require_open(self) -> None:
        if os.getpid() != self._pid:
            raise LedgerUnavailableError(
                "the ledger belongs to the process that made it, not to its forks",
                advice="let the parent record, or open a ledger in the child",
            )
        if self._is_closed or self._writer.has_ended:
            raise ended()
