"""The audit trail, for who may read it; reading it is recorded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from stead.decision.access_check import access_check
from stead.errors import InvalidRequestError, LedgerCorruptError
from stead.ledger.asking import Page, ask
from stead.ledger.chain import Verification, verify
from stead.ledger.checkpoint import NoteVerifier
from stead.ledger.examination import Leaves, require_told
from stead.ledger.exporting import Numbered, Origin, numbered
from stead.ledger.findings import Report
from stead.ledger.history import (
    Found,
    SessionHistory,
    Touch,
    session_history,
    who_touched,
)
from stead.ledger.index_check import IndexCheck, check_index
from stead.ledger.indexing import catch_up
from stead.ledger.judging_again import ACCESSES, JudgedAgain, PastJudge
from stead.ledger.ports import EvidenceStore, LedgerStore, TrailIndex
from stead.ledger.proof_text import InclusionProof
from stead.ledger.query import Query
from stead.ledger.segments import cleared_until
from stead.ledger.tree import (
    CompactRange,
    Node,
    inclusion_ranges,
    leaf_hash,
    nodes_of,
    roots_of,
)
from stead.model.acl import ABSENT_SACL
from stead.model.arguments import require_kind
from stead.model.audit_record import AuditEvent, AuditRecord, Outcome
from stead.model.luid import Luid
from stead.model.security_descriptor import SecurityDescriptor
from stead.model.sid import Sid
from stead.monitor.guard import Guard
from stead.monitor.ports import Subject
from stead.monitor.securable_object import SecurableObject
from stead.server.own_objects import AuditTrail
from stead.server.sinks import export_origin
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


_READ: Final = int(AuditTrail.READ)
_AT_ONCE: Final = 500


@dataclass(frozen=True, slots=True)
class Trail:
    """The trail of a server's store, read on behalf of a subject.

    Every question is judged and recorded before it is answered. A record tells of other
    people: who may not read the trail is shown nothing of it.

    Attributes:
        guard: judges and records who reads.
        store: where entries are.
        evidence: what is known of them.
        index: what finds them.
        genesis: what the chain begins with.
        securable: the object whose descriptor says who may read.
        subject: on whose behalf.
    """

    guard: Guard
    store: LedgerStore
    evidence: EvidenceStore
    index: TrailIndex
    genesis: bytes
    securable: SecurableObject
    subject: Subject

    def find(self, query: Query) -> Iterator[tuple[int, AuditRecord]]:
        """Return numbers and records that a query asks for, in its order.

        Raises:
            AccessDeniedError: the subject may not read the trail.
            LedgerCorruptError: an entry that may have been asked for is no record.
        """
        self._require(_told(query))
        return self._find(query)

    def page(self, query: Query) -> Page:
        """Return one page of what a query asks for; see `stead.ledger.asking`.

        Raises:
            AccessDeniedError: the subject may not read the trail.
        """
        self._require(_told(query))
        return ask(self.store, self.index, query)

    def follow(
        self, query: Query, *, wait: Callable[[], object]
    ) -> Iterator[tuple[int, AuditRecord]]:
        """Yield what a query asks for as it becomes durable, for as long as it may.

        Args:
            query: what is asked for; `after` says where to begin, 0 for now.
            wait: waits a little, until it is worth looking again; may raise to end.

        Raises:
            AccessDeniedError: the subject may not read the trail, or may no more.
            LedgerCorruptError: an entry is no record.
        """
        self._require(f"follow {_told(query)}")
        if not query.after:
            last = self.store.last()
            query = replace(query, after=0 if last is None else last.sequence)
        return self._follow(replace(query, newest_first=False), wait)

    def who_touched(self, query: Query) -> tuple[Touch, ...]:
        """Return who did something with an object, by name and outcome.

        Args:
            query: names the object; times and the like may narrow it.

        Raises:
            AccessDeniedError, LedgerCorruptError: as `find`.
        """
        self._require(f"who touched {_told(query)}")
        return who_touched(self._find(replace(query, newest_first=False)))

    def session(self, logon_id: int, query: Query | None = None) -> SessionHistory:
        """Return what a session did, and every session that it began.

        Args:
            logon_id: its number.
            query: what else is asked of the acts; None for all of them.

        Raises:
            AccessDeniedError, LedgerCorruptError: as `find`.
        """
        asked = Query() if query is None else query
        require_kind("logon_id", logon_id, int, "such as 0x10002")
        self._require(f"session={logon_id:#x} {_told(asked)}")
        return session_history(self._find, Luid(logon_id), asked)

    def would_refuse(
        self, securable: SecurableObject, descriptor: SecurityDescriptor, query: Query
    ) -> Iterator[JudgedAgain]:
        """Yield what a descriptor would have answered to the recorded accesses.

        Args:
            securable: the object, for what its rights mean.
            descriptor: the other descriptor; without an owner or a SACL, which holds
                the label, it has the object's, as if it were set.
            query: which accesses; the object need not be named.

        Raises:
            AccessDeniedError, LedgerCorruptError: as `find`.
        """
        require_kind("securable", securable, SecurableObject, "what `protect` returned")
        require_kind("descriptor", descriptor, SecurityDescriptor, "of one's own")
        self._require(f"would refuse {securable.name} {_told(query)}")
        now = securable.in_force()
        whole = replace(
            descriptor,
            owner=now.owner if descriptor.owner is None else descriptor.owner,
            group=now.group if descriptor.group is None else descriptor.group,
            sacl=now.sacl if descriptor.sacl is ABSENT_SACL else descriptor.sacl,
        )
        judge = PastJudge(self._find, whole, securable.kind.mapping)
        asked = replace(
            query,
            object_name=securable.name,
            event=ACCESSES,
            outcome=Outcome.SUCCESS,
        )
        return judge.judge(
            (number, record)
            for number, record in self._find(asked)
            if record.object_type == securable.kind.name
        )

    def reindex(self) -> int:
        """Make the index anew of the trail; return how far it goes.

        Raises:
            AccessDeniedError: the subject may not read the trail.
            StoreUnavailableError: the index cannot be written.
        """
        self._require("reindex")
        self.index.clear()
        return catch_up(self.store, self.index).sequence

    def check_index(self) -> IndexCheck:
        """Compare the index with the trail; raises as `reindex` does."""
        self._require("check the index")
        return check_index(self.store, self.index)

    def export(self, query: Query, form: str) -> Iterator[Numbered]:
        """Return the records that a query asks for, with what exports say of each.

        It ends with the last record that there is now.

        Args:
            query: which.
            form: what they are written as; the record of the asking says so.

        Raises:
            AccessDeniedError: the subject may not read the trail.
            LedgerCorruptError: a record that is read is none.
        """
        self._require(f"export {form} {_told(query)}")
        return numbered(self.store, query)

    def export_origin(self) -> Origin:
        """Return what exports say of where this trail is."""
        return export_origin(str(Sid.from_bytes(self.genesis)))

    def verify(self, witness: Verification | None = None) -> Verification:
        """Check the whole chain; return its length and head.

        Args:
            witness: what an earlier call returned, kept elsewhere: with it a trail
                whose end was cut off is found too.

        Raises:
            AccessDeniedError: the subject may not read the trail.
            LedgerCorruptError: names the first wrong record; the first of all if
                no record says that what is not there was removed.
        """
        self._require("verify")
        seal = cleared_until(self.evidence.seals())
        start = None if seal is None else Verification(seal.last, seal.digest)
        entries = self.store.entries(0 if seal is None else seal.last)
        found = verify(entries, self.genesis, witness=witness, start=start)
        if seal is not None:
            require_told(seal, self.store)
        return found

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

    # --- inside -----------------------------------------------------------------------

    def _find(self, query: Query) -> Iterator[Found]:
        """Yield what a query asks for, page after page."""
        left = query.limit
        while left is None or left > 0:
            size = _AT_ONCE if left is None else min(left, _AT_ONCE)
            page = ask(self.store, self.index, replace(query, limit=size))
            yield from page.found
            _require_readable(page)
            if page.next is None:
                return
            left = None if left is None else left - len(page.found)
            query = page.following(query)

    def _follow(self, query: Query, wait: Callable[[], object]) -> Iterator[Found]:
        left = query.limit
        while left is None or left > 0:
            self._still_may()
            page = ask(self.store, self.index, replace(query, limit=_AT_ONCE))
            found = page.found if left is None else page.found[:left]
            yield from found
            left = None if left is None else left - len(found)
            _require_readable(page)
            query = replace(query, after=page.through)
            if page.is_last and left != 0:
                wait()

    def _still_may(self) -> None:
        """Look whether the subject may still read; recorded only if it may not.

        To record that somebody looks would be a new record to look at.
        """
        self.guard.liveness.require_live(self.subject.token)
        decision = access_check(
            self.subject.token,
            self.securable.in_force(),
            _READ,
            self.securable.kind.mapping,
            circumstances=self.guard.circumstances(self.subject.token, self.securable),
        )
        if not decision:
            self.guard.require(self.subject, self.securable, _READ)

    def _require(self, what: str) -> None:
        self.guard.require(self.subject, self.securable, _READ)
        self.guard.recorder.note(
            AuditEvent.TRAIL_READ, self.subject, detail={"asked": what}
        )


def _require_readable(page: Page) -> None:
    """Return if every entry of a page is a record; nobody knows what another one says.

    Raises:
        LedgerCorruptError: one is not.
    """
    for sequence in page.unreadable:
        raise LedgerCorruptError(
            f"record {sequence} cannot be read",
            sequence=sequence,
            advice="`stead audit verify` says whether the trail was changed; if it was "
            f"not, a newer Stead wrote this record. `--after {sequence}` goes on "
            "behind it",
        )


def _told(query: Query) -> str:
    """Return what is asked, for the record of asking; raises `InvalidRequestError`."""
    require_kind("query", query, Query, 'write `Query(object_name="plan")`')
    return query.describe()
