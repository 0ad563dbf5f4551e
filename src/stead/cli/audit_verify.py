"""`stead audit verify`, `prove`, `check-proof`: is the trail what it was?"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Final, TypedDict

import typer

from stead.adapters.store import Store
from stead.adapters.witness_files import LeafFile, notes_of
from stead.cli.opening import opened
from stead.cli.output import (
    REFUSED,
    JsonFlag,
    StoreOption,
    errors_are_lines,
    read_text,
    show,
    show_exactly,
)
from stead.errors import (
    InvalidRequestError,
    LedgerCorruptError,
    LedgerUnavailableError,
)
from stead.ledger.canonical import read_record
from stead.ledger.chain import Verification
from stead.ledger.checkpoint import NoteVerifier, origin_of
from stead.ledger.findings import Fault, Report
from stead.ledger.proof_text import InclusionProof
from stead.ledger.query import format_line
from stead.model.sid import Sid
from stead.server.trail_examination import examine_store

KeyOption = Annotated[
    str | None,
    typer.Option(
        help="The witness's public key, as `stead witness key` prints it, or a file "
        "that holds it."
    ),
]
_LONGEST_KEY: Final = 4096


def verify(
    store: StoreOption,
    *,
    witness: Annotated[
        str | None,
        typer.Option(help="COUNT:HEAD as an earlier run printed it, kept elsewhere."),
    ] = None,
    witness_key: KeyOption = None,
    witness_state: Annotated[
        Path | None,
        typer.Option(help="The witness's folder, or a copy of its file of leaves."),
    ] = None,
    checkpoints: Annotated[
        Path | None,
        typer.Option(help="Notes that the witness wrote, as it appended them."),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Compare the whole trail with all that is known of it; status 1 if it is wrong.

    Says the first record that is changed, missing, doubled, reordered or cut off, and
    the last checkpoint that it can vouch from. With the witness's leaves it is the very
    record; with its checkpoints alone, the range between two.
    """
    with errors_are_lines(), ExitStack() as undo:
        verifier = None if witness_key is None else verifier_of(witness_key)
        known = None if witness is None else Verification.from_string(witness)
        leaves = None
        notes = [] if checkpoints is None else notes_of(checkpoints)
        if witness_state is not None:
            leaves = LeafFile(witness_state)
            undo.callback(leaves.close)
            notes += notes_of(witness_state) if witness_state.is_dir() else []
        given: _Given = {
            "verifier": verifier,
            "leaves": leaves,
            "notes": notes,
            "witness": known,
        }
        report = _examined(store, given)
        if report.fault is not None and not as_json:
            raise LedgerCorruptError(
                _verdict(report, report.fault), sequence=report.fault.first
            )
    signed = verifier is not None
    show(_data(report), as_json=as_json, lines=lambda: _lines(report, signed=signed))
    if report.fault is not None:
        raise typer.Exit(REFUSED)


def prove(
    number: Annotated[int, typer.Argument(help="The record's number.", min=1)],
    store: StoreOption,
    *,
    as_json: JsonFlag = False,
) -> None:
    """Print a proof that a record is in the trail that the witness signed last.

    Whoever has it and the witness's public key can check it without the store. It holds
    the record.
    """
    with errors_are_lines(), opened(store) as (server, me):
        proof = server.trail_for(me).prove(number)
    if as_json:
        show({"proof": str(proof)}, as_json=True, lines=list)
    else:
        for line in str(proof).removesuffix("\n").split("\n"):
            show_exactly(line)


def check_proof(
    proof: Annotated[
        str, typer.Argument(help="A file with a proof; - reads it from stdin.")
    ],
    *,
    witness_key: Annotated[
        str,
        typer.Option(help="The witness's public key, or a file that holds it."),
    ],
    domain: Annotated[
        str | None, typer.Option(help="The SID of the store it must be of.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Check a proof without the store, and print the record; status 1 if it is none."""
    with errors_are_lines():
        verifier = verifier_of(witness_key)
        found = InclusionProof.from_string(read_text(proof))
        origin = None if domain is None else origin_of(str(Sid.from_string(domain)))
        checkpoint = found.verify(verifier, origin)
        line = format_line(read_record(found.body), found.index + 1)
    data = {
        "proved": True,
        "number": found.index + 1,
        "origin": checkpoint.origin,
        "size": checkpoint.size,
        "record": found.body.decode(),
    }
    said = (
        f"is record {found.index + 1} of the {checkpoint.size} that "
        f"{verifier.key.name} has signed for {checkpoint.origin}"
    )
    show(data, as_json=as_json, lines=lambda: [line, said])


def verifier_of(key: str) -> NoteVerifier:
    """Return what verifies signatures of a key, given as text or as a file.

    Raises:
        InvalidCheckpointError: it is no key.
        InvalidRequestError: the library for it is missing.
    """
    try:
        from stead.adapters.ed25519 import (  # noqa: PLC0415 - an extra's
            Ed25519Verifier,
        )
    except ModuleNotFoundError as missing:
        raise InvalidRequestError(
            f"signatures need `{missing.name}`", advice="pip install 'stead[witness]'"
        ) from missing
    path = Path(key)
    if "+" not in key and path.is_file():
        with path.open(encoding="utf-8", errors="replace") as file:
            key = file.read(_LONGEST_KEY)
    return Ed25519Verifier.from_string(key)


class _Given(TypedDict):
    """What `verify` was given to compare with."""

    verifier: NoteVerifier | None
    leaves: LeafFile | None
    notes: list[str]
    witness: Verification | None


def _examined(store: str, given: _Given) -> Report:
    """Compare a trail, as a client of the server; without one if it cannot record.

    A trail that was cut off, or whose tree was bent, takes no more records. Whoever may
    open the store's file is told all the same where it is wrong.
    """
    try:
        with opened(store) as (server, me):
            return server.trail_for(me).examine(**given)
    except LedgerUnavailableError as error:
        typer.echo(f"not recorded, as the owner of the file: {error}", err=True)
    with Store.open(store, create=False) as bare:
        genesis = bare.accounts.domain().to_bytes()
        return examine_store(bare.reading, bare.evidence, genesis, **given)


def _data(report: Report) -> dict[str, Any]:
    fault, vouched = report.fault, report.vouched
    return {
        "verified": fault is None,
        "count": report.count,
        "removed": report.removed,
        "witness": str(Verification(report.count, report.head)),
        "root": report.root.hex(),
        "checkpoints": report.checkpoints,
        "vouched": None if vouched is None else vouched.size,
        "fault": None
        if fault is None
        else {**asdict(fault), "wrong": fault.wrong.value, "exact": fault.is_exact},
    }


def _lines(report: Report, *, signed: bool) -> list[str]:
    known = Verification(report.count, report.head)
    lines = [f"trail verified: {report.count} records", f"witness {known}"]
    if report.removed:
        lines.append(
            f"records 1 to {report.removed} were removed on purpose, and that is told"
        )
    lines.append(_vouched(report, signed=signed))
    lines.append("keep the witness elsewhere: only with one can a cut-off end be seen")
    return lines


def _vouched(report: Report, *, signed: bool) -> str:
    """Say what the witness's signatures cover."""
    if report.vouched is not None:
        return (
            f"vouched for by a signed checkpoint: the first {report.vouched.size} "
            f"records; {report.checkpoints} checkpoints agree"
        )
    if signed:
        return "no checkpoint of that key vouches for any record"
    return f"{report.checkpoints} checkpoints agree, whoever signed them: --witness-key"


def _verdict(report: Report, fault: Fault) -> str:
    """Say in one line what is wrong, where, and what still is vouched for."""
    where = f"record {fault.first}"
    if not fault.is_exact:
        where = (
            f"the first wrong one is among the records {fault.first} to {fault.last}"
        )
    if not fault.last:
        where = "no record is touched by this"
    vouched = "nothing is vouched for"
    if report.vouched is not None:
        vouched = f"the first {report.vouched.size} records are vouched for"
    return f"{fault.text} ({fault.wrong.value}: {where}; {vouched})"


def register(group: typer.Typer) -> None:
    """Add the verbs to `stead audit`."""
    group.command("verify")(verify)
    group.command("prove")(prove)
    group.command("check-proof")(check_proof)
