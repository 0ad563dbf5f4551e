"""Sealing, archiving and removing segments of the trail, for who may.

What is removed was archived before, and the archive was read again and verified. That
it was removed is a record, durable before the first entry goes, which says the seal of
what went: verifying the rest begins there. It takes CLEAR on the trail and
SeSecurityPrivilege, as clearing the security log does on Windows.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from stead.adapters.archive_files import digest_of, drafted, keep, lines_of
from stead.errors import InvalidRequestError, LedgerCorruptError
from stead.ledger.archives import archive_lines, read_archive
from stead.ledger.chain import beginning
from stead.ledger.checkpoint import origin_of
from stead.ledger.examination import require_told
from stead.ledger.keeping import Sealing
from stead.ledger.segments import Before, Seal, SegmentPolicy, tells_archive
from stead.ledger.tree import CompactRange
from stead.model.audit_record import AuditEvent
from stead.model.privilege import Privilege
from stead.model.sid import Sid
from stead.server.own_objects import AuditTrail
from stead.server.trail import Trail

_NANOSECONDS: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class RetentionPolicy:
    """What stays in the store; what neither rule keeps is removed.

    Attributes:
        records: the newest so many stay.
        seconds: what was sealed later than so long ago stays.
    """

    records: int = 0
    seconds: float = 0.0

    def removable(
        self, seals: tuple[Seal, ...], end: int, signed: int, now: int
    ) -> tuple[Seal, ...]:
        """Return which segments can go.

        Args:
            seals: all there are.
            end: how many records there ever were.
            signed: up to where the witness has signed; what it has not seen stays.
            now: nanoseconds since the epoch.
        """
        found = []
        for seal in seals:
            if seal.cleared_by:
                continue
            is_old = now - seal.sealed_at >= self.seconds * _NANOSECONDS
            is_far = seal.last <= min(end - self.records, signed)
            if not (seal.archived_by and is_old and is_far):
                break
            found.append(seal)
        return tuple(found)


@dataclass(frozen=True, slots=True)
class TrailArchive:
    """The archivist of a trail.

    Attributes:
        trail: the trail, and on whose behalf.
        clock: nanoseconds since the epoch.
        without_witness: the trail has no witness any more: what it has not signed is
            sealed and removed too. If it comes back, it disagrees for good.
    """

    trail: Trail
    clock: Callable[[], int]
    without_witness: bool = False

    def seal(self) -> Seal | None:
        """Seal what is there, without waiting until it is due; None if nothing is new.

        Raises:
            AccessDeniedError, PrivilegeNotHeldError: the subject may not.
        """
        self._require("seal the audit trail")
        trail = self.trail
        sealing = Sealing(
            SegmentPolicy(),
            trail.store,
            trail.evidence,
            self.clock,
            with_witness=self._is_witnessed(),
        )
        return sealing.seal_now()

    def archive(self, folder: Path) -> tuple[tuple[Seal, Path], ...]:
        """Write every sealed segment to a file that was not yet.

        Args:
            folder: where to.

        Returns:
            The seals and files.

        Raises:
            AccessDeniedError, PrivilegeNotHeldError: the subject may not.
            LedgerCorruptError: the records do not lead to the seal: nothing is written.
            OSError: a file cannot be written.
        """
        self._require("archive the audit trail")
        seals = self.trail.evidence.seals()
        return tuple(
            (seal, self._archive(folder, seals, seal)) for seal in self.pending()
        )

    def clear(self, policy: RetentionPolicy) -> tuple[Seal, ...]:
        """Remove archived segments that the policy does not keep, all or none.

        Returns:
            The seals of what was removed.

        Raises:
            AccessDeniedError, PrivilegeNotHeldError: the subject may not.
            LedgerUnavailableError: it could not be recorded; nothing was removed.
            LedgerCorruptError: an earlier removal is told by no record.
        """
        self._require("clear the audit trail")
        self._finish()
        going = self.removable(policy)
        if not going:
            return ()
        last = going[-1]
        detail = {**last.named(), "from": str(going[0].first)}
        if self.without_witness:
            detail["without witness"] = "yes"
        by = self._say(AuditEvent.TRAIL_CLEARED, detail)
        self.trail.evidence.clear(going, by)
        return going

    def pending(self) -> tuple[Seal, ...]:
        """Return what `archive` would write; whether the subject may is not asked."""
        return tuple(seal for seal in self._seals() if not seal.archived_by)

    def removable(self, policy: RetentionPolicy) -> tuple[Seal, ...]:
        """Return what `clear` would remove; whether the subject may is not asked."""
        evidence = self.trail.evidence
        signed = end = evidence.tree().size
        if self._is_witnessed():
            kept = evidence.last_checkpoint()
            signed = 0 if kept is None else kept.tree.size
        return policy.removable(self._seals(), end, signed, self.clock())

    def _seals(self) -> tuple[Seal, ...]:
        """Return the seals; one counts as archived only where a record says so.

        Whoever writes the store must not have us remove what nobody archived. The
        record is there as long as the segment: it came later, and goes later.
        """
        return tuple(
            seal
            if seal.cleared_by or self._is_archived(seal)
            else replace(seal, archived_by=0)
            for seal in self.trail.evidence.seals()
        )

    def _is_archived(self, seal: Seal) -> bool:
        told = self.trail.store.picked((seal.archived_by,)) if seal.archived_by else []
        return any(tells_archive(entry.body, seal) for entry in told)

    def _is_witnessed(self) -> bool:
        return not self.without_witness and self.trail.evidence.has_witness()

    def _archive(self, folder: Path, seals: tuple[Seal, ...], seal: Seal) -> Path:
        trail = self.trail
        place = folder.absolute() / f"trail-{seal.number:06}.jsonl"
        entries = trail.store.entries(seal.first - 1, seal.last - seal.first + 1)
        before = _before(seals, seal, trail.genesis)
        origin = origin_of(str(Sid(trail.genesis)))
        lines = archive_lines(origin, before, seal, entries)
        with drafted(place, lines) as draft:
            # What is read again, and nothing else, may stand for what is removed.
            with closing(lines_of(draft)) as written:
                _, found = read_archive(written)
            if (found.digest, found.tree) != (seal.digest, seal.tree):
                raise LedgerCorruptError(
                    f"the archive of segment {seal.number} is another than written",
                    sequence=seal.first,
                )
            digest = digest_of(draft)
            # A run that was interrupted may have left the same file.
            is_there = place.exists() and digest_of(place) == digest
            if place.exists() and not is_there:
                raise InvalidRequestError(
                    f"`{place}` is there already, and is another file",
                    advice="name another folder",
                )
            detail = {**seal.named(), "file": str(place), "sha256": digest}
            by = self._say(AuditEvent.TRAIL_ARCHIVED, detail)
            if not is_there:
                keep(draft, place)
        trail.evidence.set_archived(seal, by)
        return place

    def _finish(self) -> None:
        """Finish a removal that was interrupted."""
        trail = self.trail
        cleared = trail.evidence.last_removed()
        if cleared is not None:
            # Whoever writes the store must not have us remove what nobody archived.
            require_told(cleared, trail.store)
            trail.evidence.clear((cleared,), cleared.cleared_by)

    def _require(self, what: str) -> None:
        guard, subject = self.trail.guard, self.trail.subject
        guard.require(subject, self.trail.securable, int(AuditTrail.CLEAR))
        guard.require_privilege(subject, (Privilege.SECURITY,), operation=what)

    def _say(self, event: AuditEvent, detail: dict[str, str]) -> int:
        return self.trail.guard.recorder.record(
            event, self.trail.subject, object_name="stead:trail", detail=detail
        )


def _before(seals: tuple[Seal, ...], seal: Seal, genesis: bytes) -> Before:
    if seal.number == 1:
        return Before(beginning(genesis).head, CompactRange())
    previous = seals[seal.number - 2]
    return Before(previous.digest, previous.tree)
