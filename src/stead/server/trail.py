"""The audit trail, for who may read it; reading it is recorded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from stead.errors import InvalidRequestError
from stead.ledger.chain import Verification, verify
from stead.ledger.checkpoint import NoteVerifier
from stead.ledger.examination import Leaves
from stead.ledger.findings import Report
from stead.ledger.ports import EvidenceStore, LedgerStore
from stead.ledger.proof_text import InclusionProof
from stead.ledger.query import Query, find
from stead.ledger.segments import cleared_until
from stead.ledger.tree import (
    CompactRange,
    Node,
    inclusion_ranges,
    leaf_hash,
    nodes_of,
    roots_of,
)
from stead.model.audit_record import AuditEvent, AuditRecord
from stead.monitor.guard import Guard
from stead.monitor.ports import Subject
from stead.monitor.securable_object import SecurableObject
from stead.server.objects import AuditTrail
from stead.server.trail_examination import examine_store


@dataclass(frozen=True, slots=True)
class TrailStanding:
    """How the trail stands.

    Attributes:
        records: how many there ever were.
        removed: how many of them, from the first on, were removed on purpose.
        witnessed: up to which the witness has signed, as far as the store knows; 0
            without a witness.
        segments: how many segments are sealed.
    """

    records: int
    removed: int
    witnessed: int
    segments: int


@dataclass(frozen=True, slots=True)
class Trail:
    """The trail of a server's store, read on behalf of a subject.

    Attributes:
        guard: judges and records who reads.
        store: where entries are.
        evidence: what is known of them.
        genesis: what the chain begins with.
        securable: the object whose descriptor says who may read.
        subject: on whose behalf.
    """

    guard: Guard
    store: LedgerStore
    evidence: EvidenceStore
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
        seal = cleared_until(self.evidence.seals())
        start = None if seal is None else Verification(seal.last, seal.digest)
        entries = self.store.entries(0 if seal is None else seal.last)
        return verify(entries, self.genesis, witness=witness, start=start)

    def examine(
        self,
        verifier: NoteVerifier | None = None,
        *,
        leaves: Leaves | None = None,
        notes: Iterable[str] = (),
        witness: Verification | None = None,
    ) -> Report:
        """Compare the trail with all that is known of it.

        Args:
            verifier: of the witness's key; without it no checkpoint vouches.
            leaves: the witness's leaves, which tell which record is wrong.
            notes: signed checkpoints that were kept elsewhere.
            witness: a count and head that an earlier `verify` returned.

        Raises:
            AccessDeniedError: the subject may not read the trail.
        """
        self._require("verify with all that is known")
        return examine_store(
            self.store,
            self.evidence,
            self.genesis,
            verifier=verifier,
            leaves=leaves,
            notes=notes,
            witness=witness,
        )

    def prove(self, number: int) -> InclusionProof:
        """Prove that a record is in the trail that the witness signed last.

        Args:
            number: the record's.

        Raises:
            AccessDeniedError: the subject may not read the trail.
            InvalidRequestError: the witness has not signed it, or it is not there.
            InvalidProofError: the trail cannot lead to the checkpoint: verify it.
        """
        self._require(f"proof of record {number}")
        kept = self.evidence.last_checkpoint()
        if kept is None or not 0 < number <= kept.tree.size:
            signed = 0 if kept is None else kept.tree.size
            raise InvalidRequestError(
                f"record {number} is not among the {signed} that a witness has signed",
                advice="wait for the witness, or let the server have one",
            )
        seal = cleared_until(self.evidence.seals())
        begun = CompactRange() if seal is None else seal.tree
        entry = next(iter(self.store.entries(number - 1, 1)), None)
        if number <= begun.size or entry is None:
            raise InvalidRequestError(
                f"record {number} was removed from the store",
                advice="look into the archive of its segment",
            )
        nodes = self._nodes(begun, kept.tree.size)
        hashes = roots_of(inclusion_ranges(number - 1, kept.tree.size), nodes)
        return InclusionProof(entry.body, number - 1, hashes, kept.note)

    def standing(self) -> TrailStanding:
        """Say how the trail stands.

        Raises:
            AccessDeniedError: the subject may not read the trail.
        """
        self._require("standing")
        seals = self.evidence.seals()
        cleared = cleared_until(seals)
        kept = self.evidence.last_checkpoint()
        return TrailStanding(
            self.evidence.tree().size,
            0 if cleared is None else cleared.last,
            0 if kept is None else kept.tree.size,
            len(seals),
        )

    def _nodes(self, begun: CompactRange, size: int) -> Iterator[Node]:
        yield from nodes_of(begun)
        for entry in self.store.entries(begun.size, size - begun.size):
            yield Node(entry.sequence - 1, 0, leaf_hash(entry.body))

    def _require(self, what: str) -> None:
        self.guard.require(self.subject, self.securable, int(AuditTrail.READ))
        self.guard.recorder.record(
            AuditEvent.TRAIL_READ, self.subject, detail={"asked": what}
        )
