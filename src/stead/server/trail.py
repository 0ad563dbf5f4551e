"""The audit trail, for who may read it; reading it is recorded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from stead.ledger.chain import Verification, verify
from stead.ledger.ports import LedgerStore
from stead.ledger.query import Query, find
from stead.model.audit_record import AuditEvent, AuditRecord
from stead.monitor.guard import Guard
from stead.monitor.ports import Subject
from stead.monitor.securable_object import SecurableObject
from stead.server.objects import AuditTrail


@dataclass(frozen=True, slots=True)
class Trail:
    """The trail of a server's store, read on behalf of a subject.

    Attributes:
        guard: judges and records who reads.
        store: where entries are.
        genesis: what the chain begins with.
        securable: the object whose descriptor says who may read.
        subject: on whose behalf.
    """

    guard: Guard
    store: LedgerStore
    genesis: bytes
    securable: SecurableObject
    subject: Subject

    def find(self, query: Query) -> Iterator[tuple[int, AuditRecord]]:
        """Return numbers and records that a query asks for, in order.

        Raises:
            AccessDeniedError: the subject may not read the trail.
            LedgerCorruptError: a record that is read is none.
        """
        self._require(f"client={query.client or ''} object={query.object_name or ''}")
        return find(self.store, query)

    def verify(self, witness: Verification | None = None) -> Verification:
        """Check the whole chain; return its length and head.

        Args:
            witness: what an earlier call returned, kept elsewhere: with it a trail
                whose end was cut off is found too.

        Raises:
            AccessDeniedError: the subject may not read the trail.
            LedgerCorruptError: names the first wrong record.
        """
        self._require("verify")
        return verify(self.store.entries(), self.genesis, witness=witness)

    def _require(self, what: str) -> None:
        self.guard.require(self.subject, self.securable, int(AuditTrail.READ))
        self.guard.recorder.note(
            AuditEvent.TRAIL_READ, self.subject, detail={"asked": what}
        )
