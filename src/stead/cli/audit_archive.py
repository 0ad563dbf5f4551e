"""`stead audit archive`, `check-archive`: segments of the trail as files."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from stead.adapters.archive_files import lines_of
from stead.cli.audit_verify import KeyOption, verifier_of
from stead.cli.opening import opened
from stead.cli.output import (
    DryRunFlag,
    JsonFlag,
    StoreOption,
    errors_are_lines,
    show,
)
from stead.errors import InvalidRequestError, LedgerCorruptError
from stead.ledger.archives import ArchiveHead, read_archive
from stead.ledger.checkpoint import NoteVerifier, signed_checkpoint
from stead.ledger.segments import Seal
from stead.server.trail_archive import RetentionPolicy, TrailArchive

_DAY: Final = 86_400.0


def archive(  # noqa: PLR0913 - each option of a verb is a parameter
    folder: Annotated[Path, typer.Argument(help="Where to; it must be there.")],
    store: StoreOption,
    *,
    seal: Annotated[
        bool, typer.Option("--seal", help="Seal what is there now, due or not.")
    ] = False,
    clear: Annotated[
        bool,
        typer.Option("--clear", help="Remove archived segments that nothing keeps."),
    ] = False,
    keep_records: Annotated[
        int, typer.Option(help="With --clear: the newest so many stay.", min=0)
    ] = 0,
    keep_days: Annotated[
        float, typer.Option(help="With --clear: what was sealed later stays.", min=0)
    ] = 0.0,
    without_witness: Annotated[
        bool,
        typer.Option(
            "--without-witness",
            help="The trail has no witness any more: do not wait for what it has not "
            "signed. If it comes back, it disagrees for good.",
        ),
    ] = False,
    dry_run: DryRunFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Write sealed segments of the trail to files, and remove old ones if asked to.

    It takes CLEAR on the trail and SeSecurityPrivilege, and is recorded before it is
    done. What remains still verifies.
    """
    policy = RetentionPolicy(keep_records, keep_days * _DAY)
    with errors_are_lines(), opened(store) as (server, me):
        archivist = TrailArchive(server.trail_for(me), time.time_ns, without_witness)
        if dry_run:
            _say_what_would_be(archivist, policy, clear=clear, as_json=as_json)
            return
        if seal:
            archivist.seal()
        done = archivist.archive(folder)
        gone = archivist.clear(policy) if clear else ()
    data = {
        "archived": [{**_named(one), "file": str(place)} for one, place in done],
        "removed": [_named(one) for one in gone],
    }
    show(
        data,
        as_json=as_json,
        lines=lambda: [
            *(f"archived {_range(one)} as {place}" for one, place in done),
            *(f"removed {_range(one)} from the store" for one in gone),
            *([] if done or gone else ["nothing to do"]),
        ],
    )


def check_archive(
    files: Annotated[list[Path], typer.Argument(help="Archives, the first first.")],
    *,
    witness_key: KeyOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Verify archives alone and together, without the store; status 1 if one is wrong.

    Several must follow one another. With the witness's key, seals that hold its
    checkpoint are vouched for by it.
    """
    rows: list[dict[str, Any]] = []
    before: tuple[ArchiveHead, Seal] | None = None
    with errors_are_lines():
        verifier = None if witness_key is None else verifier_of(witness_key)
        for place in files:
            with closing(lines_of(place)) as lines:
                found = read_archive(lines)
            if before is not None:
                _require_neighbors(before, found)
            before = found
            signed = _vouched(found, verifier)
            rows.append({"file": str(place), **_named(found[1]), "signed": signed})
    show(
        {"verified": True, "archives": rows},
        as_json=as_json,
        lines=lambda: [_verified(row) for row in rows],
    )


def _vouched(found: tuple[ArchiveHead, Seal], verifier: NoteVerifier | None) -> bool:
    head, seal = found
    if verifier is None or not seal.note:
        return False
    signed = signed_checkpoint(seal.note, verifier, head.origin)
    if (signed.size, signed.root) != (seal.last, seal.tree.root()):
        raise LedgerCorruptError(
            f"the seal at {seal.last} is not what the witness signed",
            sequence=seal.first,
        )
    return True


def _require_neighbors(
    before: tuple[ArchiveHead, Seal], after: tuple[ArchiveHead, Seal]
) -> None:
    (one, seal), (other, _) = before, after
    ended = (one.origin, seal.digest, seal.tree)
    if ended != (other.origin, other.before.digest, other.before.tree):
        raise InvalidRequestError(
            f"segment {other.segment} does not follow segment {one.segment}",
            advice="name archives of one trail, in order, without a gap",
        )


def _say_what_would_be(
    archivist: TrailArchive, policy: RetentionPolicy, *, clear: bool, as_json: bool
) -> None:
    would = archivist.pending()
    gone = archivist.removable(policy) if clear else ()
    show(
        {
            "would_archive": [_named(one) for one in would],
            "would_remove": [_named(one) for one in gone],
        },
        as_json=as_json,
        lines=lambda: [
            *(f"would archive {_range(one)}" for one in would),
            *(f"would remove {_range(one)} from the store" for one in gone),
            *([] if would or gone else ["nothing to do"]),
        ],
    )


def _named(seal: Seal) -> dict[str, Any]:
    return {"segment": seal.number, "first": seal.first, "last": seal.last}


def _range(seal: Seal) -> str:
    return f"segment {seal.number}, records {seal.first} to {seal.last}"


def _verified(row: dict[str, Any]) -> str:
    by = ", signed by the witness" if row["signed"] else ""
    name = f"segment {row['segment']}, records {row['first']} to {row['last']}"
    return f"{row['file']}: {name}: verified{by}"


def register(group: typer.Typer) -> None:
    """Add the verbs to `stead audit`."""
    group.command("archive")(archive)
    group.command("check-archive")(check_archive)
