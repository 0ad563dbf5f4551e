"""What `stead audit` prints of records, and of what is put together from them."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import typer

from stead.cli.output import printable
from stead.errors import UnknownObjectError
from stead.ledger.canonical import write_record
from stead.ledger.history import Act, Begun, Touch
from stead.ledger.index_check import IndexCheck
from stead.ledger.judging_again import JudgedAgain
from stead.ledger.query import format_line, format_moment
from stead.model.access_mask import format_mask
from stead.model.audit_record import AuditRecord
from stead.server.protected_server import ProtectedServer


def check_lines(found: IndexCheck) -> Iterator[str]:
    """Yield what people read of a comparison."""
    yield (
        f"index compared with {found.entries} records: {found.hidden_count} hidden, "
        f"{found.invented} invented"
    )
    yield from (f"hidden: record {number}" for number in found.hidden)


def record_data(number: int, record: AuditRecord) -> dict[str, Any]:
    """Return a record as data."""
    return {"sequence": number, "record": json.loads(write_record(record))}


def print_record(number: int, record: AuditRecord, *, as_json: bool) -> None:
    """Print a record as one line."""
    # Escaped: a terminal acts on more than JSON escapes.
    typer.echo(
        json.dumps(record_data(number, record))
        if as_json
        else format_line(record, number)
    )


def tell_next(key: int, *, newest: bool) -> None:
    """Say on standard error where the next page begins."""
    way = "--before" if newest else "--after"
    sys.stderr.write(f"more may follow: {way} {key}\n")


def field_lines(record: AuditRecord, number: int) -> Iterator[str]:
    """Yield a record, a field a line."""
    yield f"record {number}"
    for name, value in json.loads(write_record(record)).items():
        shown = value if isinstance(value, str) else json.dumps(value)
        yield f"  {name:12} {shown}"
    yield f"  {'when':12} {format_moment(record.time)}"
    yield f"  {'what':12} {record.event.name}"


def touch_data(touch: Touch, spell: Callable[[int], str]) -> dict[str, Any]:
    """Return who touched an object as data."""
    return {
        "name": printable(touch.principal.name),
        "sid": str(touch.principal.sid),
        "outcome": touch.outcome.value,
        "count": touch.count,
        "first": {"sequence": touch.first[0], "time": format_moment(touch.first[1])},
        "last": {"sequence": touch.last[0], "time": format_moment(touch.last[1])},
        "rights": spell(touch.rights),
        "mask": touch.rights,
    }


def touch_line(touch: Touch, spell: Callable[[int], str]) -> str:
    """Return the line of somebody who touched an object."""
    return (
        f"{touch.principal.name} ({touch.principal.sid})  {touch.outcome.value}  "
        f"{touch.count} times  {spell(touch.rights)}  "
        f"first {format_moment(touch.first[1])} #{touch.first[0]}  "
        f"last {format_moment(touch.last[1])} #{touch.last[0]}"
    )


def print_begun(begun: Begun, *, as_json: bool) -> None:
    """Print a session that another one began."""
    data = {
        "begun": str(begun.session),
        "within": str(begun.within),
        "by": begun.event.name.lower(),
        "sequence": begun.record,
    }
    line = f"{data['begun']} begun within {data['within']} by {begun.event.name}"
    typer.echo(json.dumps(data) if as_json else f"{line} #{begun.record}")


def print_act(act: Act, *, as_json: bool) -> None:
    """Print an act of a session, deeper ones further in."""
    if as_json:
        typer.echo(
            json.dumps(record_data(act.number, act.record) | {"depth": act.depth})
        )
    else:
        typer.echo("  " * act.depth + format_line(act.record, act.number))


def print_judged(
    judged: JudgedAgain, spell: Callable[[int], str], *, as_json: bool
) -> None:
    """Print an access that was judged again, and what came of it."""
    if as_json:
        more = {
            "refused": None if judged.unknown else judged.is_refused,
            "lost": spell(judged.lost),
            "unknown": judged.unknown,
        }
        typer.echo(json.dumps(record_data(judged.number, judged.record) | more))
        return
    said = f"unknown: {judged.unknown}" if judged.unknown else spell(judged.lost)
    typer.echo(f"{printable(said)}  {format_line(judged.record, judged.number)}")


@dataclass(slots=True)
class Counts:
    """How many accesses were judged again, and how it came out."""

    judged: int = 0
    refused: int = 0
    unknown: int = 0

    def add(self, one: JudgedAgain) -> None:
        """Count one more."""
        self.judged += not one.unknown
        self.refused += one.is_refused
        self.unknown += bool(one.unknown)

    def line(self) -> str:
        """Return what people read."""
        return (
            f"{self.judged} accesses judged again: {self.refused} would be refused; "
            f"{self.unknown} cannot be judged"
        )


def speller(host: ProtectedServer, name: str) -> Callable[[int], str]:
    """Return what prints rights to an object; numbers, where there is none any more."""
    try:
        return host.find_object(name).kind.spell
    except UnknownObjectError:
        return format_mask
