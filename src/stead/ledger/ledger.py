"""The ledger as the rest of Stead sees it: hand it a record, and it is durable.

Three ways in, and which one is right follows from who may act before the record is on
the disk:

- ``record`` waits. What the record announces happens only after it returned.
- ``submit`` gives a future, for ``asyncio.wrap_future``; the same promise.
- ``queue`` never waits and never raises: for ends (leaving, closing), which nobody may
  be kept from, and which finalizers and signal handlers report too.

Example::

    with Ledger(store.ledger, genesis=store.accounts.domain(), lost=lost) as ledger:
        ledger.record(record)
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future
from types import TracebackType
from typing import Final, Self

from stead.errors import LedgerUnavailableError
from stead.ledger.canonical import write_record
from stead.ledger.ports import LedgerStore
from stead.ledger.waiting import WrittenFuture
from stead.ledger.writer import Awaited, Queued, Writer, ended
from stead.model.audit_record import AuditRecord

_BACKLOG: Final = 4096


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
        lost: Callable[[int], AuditRecord],
        backlog: int = _BACKLOG,
    ) -> None:
        """Start the writer.

        Args:
            store: where entries are kept.
            genesis: the bytes of the store's own SID, with which the chain begins.
            lost: makes the record that says how many queued records were lost; called
                on the writer's thread. Whoever owns the clock hands it in.
            backlog: how many records may wait before new ones are refused; as many
                again are set aside for those that are queued.
        """
        self._pid = os.getpid()
        self._backlog = backlog
        self._is_closed = False
        self._writer = Writer(store, genesis=genesis, lost=lost, reserve=backlog)

    def record(self, record: AuditRecord) -> int:
        """Write a record, wait until it is durable, and return its number.

        Raises:
            LedgerUnavailableError: it was not written; what it announces must not
                happen. ``advice`` names the cause.
            InvalidRecordError: the record cannot be written at all.
        """
        if self._writer.is_current_thread():
            raise LedgerUnavailableError("the ledger's writer cannot wait for itself")
        return self._submit(record).wait()

    def submit(self, record: AuditRecord) -> Future[int]:
        """Hand a record over and return the future of its number.

        The future cannot be cancelled: the record is written even if nobody waits.

        Raises:
            LedgerUnavailableError: too many records wait, or the ledger is closed. A
                failure to write is raised by the future.
            InvalidRecordError: the record cannot be written at all.
        """
        return self._submit(record)

    def _submit(self, record: AuditRecord) -> WrittenFuture[int]:
        self._require_open()
        if self._writer.backlog() >= self._backlog:
            raise LedgerUnavailableError(
                f"{self._backlog} records wait to be written already",
                advice="the store's disk is too slow for so many requests, or stuck",
            )
        future: WrittenFuture[int] = WrittenFuture()
        future.set_running_or_notify_cancel()
        self._writer.put(Awaited(write_record(record), future))
        return future

    def queue(self, record: AuditRecord) -> None:
        """Hand over a record that nobody waits for; never waits, never raises.

        If too much waits already, this record is dropped (the earlier ones are kept)
        and counted; the trail says how many were lost as soon as it can be written.
        In a forked child it does nothing: the parent has the same record to queue.
        """
        if os.getpid() != self._pid:
            return
        if self._writer.backlog() >= 2 * self._backlog:
            self._writer.lost.add()
        else:
            self._writer.put(Queued(record))

    def lost(self) -> int:
        """Return how many queued records were lost since the ledger was made."""
        return self._writer.lost.total()

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

    def _require_open(self) -> None:
        if os.getpid() != self._pid:
            raise LedgerUnavailableError(
                "the ledger belongs to the process that made it, not to its forks",
                advice="let the parent record, or open a ledger in the child",
            )
        if self._is_closed or self._writer.has_ended:
            raise ended()
