"""Gathering what is known of a store's trail, and comparing it.

What the store keeps may have been bent by whoever changed the trail. What cannot be
read of it is a fault by itself, and hides nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from stead.errors import InvalidProofError, LedgerUnavailableError
from stead.ledger.chain import Verification
from stead.ledger.checkpoint import NoteVerifier, origin_of
from stead.ledger.examination import Known, Leaves, examine
from stead.ledger.findings import Report, Wrong
from stead.ledger.ports import EvidenceStore, LedgerStore
from stead.ledger.segments import Seal
from stead.model.sid import Sid

_T = TypeVar("_T")


def examine_store(
    store: LedgerStore,
    evidence: EvidenceStore,
    genesis: bytes,
    *,
    verifier: NoteVerifier | None = None,
    leaves: Leaves | None = None,
    notes: Iterable[str] = (),
    witness: Verification | None = None,
) -> Report:
    """Compare a trail with all that is known of it; nobody is asked whether he may.

    Args:
        store: where entries are.
        evidence: what the store keeps of them.
        genesis: the bytes of the store's own SID.
        verifier: of the witness's key; without it no checkpoint vouches.
        leaves: the witness's leaves, which tell which record is wrong.
        notes: signed checkpoints that were kept elsewhere.
        witness: a count and head that was kept by hand.
    """
    elsewhere, no_notes = tuple(notes), tuple[str, ...]()
    while True:
        damage: list[str] = []
        seals = _seals(evidence, damage)
        known = Known(
            genesis=genesis,
            origin=origin_of(str(Sid(genesis))),
            tree=_read(evidence.tree, None, damage),
            seals=seals,
            notes=(*_read(evidence.notes, no_notes, damage), *elsewhere),
            verifier=verifier,
            leaves=leaves,
            witness=witness,
            damage=tuple(damage),
        )
        report = examine(store.entries, known)
        is_gone = report.fault is not None and report.fault.wrong is Wrong.MISSING
        if not is_gone or seals == _seals(evidence, []):
            return report
        # Somebody removed a segment meanwhile: what went is no fault.


def _seals(evidence: EvidenceStore, damage: list[str]) -> tuple[Seal, ...]:
    return _read(evidence.seals, (), damage)


def _read(read: Callable[[], _T], otherwise: _T, damage: list[str]) -> _T:
    try:
        return read()
    except (InvalidProofError, LedgerUnavailableError) as error:
        damage.append(str(error))
        return otherwise
