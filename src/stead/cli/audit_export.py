"""`stead audit export`: the trail in the forms that other programs read."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import Annotated, Final, TextIO

import typer

from stead.cli.audit_asking import event_named
from stead.cli.opening import opened
from stead.cli.output import StoreOption, errors_are_lines
from stead.errors import InvalidRequestError
from stead.ledger.export_json import json_line
from stead.ledger.export_ocsf import ocsf_line
from stead.ledger.export_windows import windows_xml
from stead.ledger.exporting import Numbered, Origin
from stead.ledger.query import Query
from stead.model.audit_record import Outcome


class Format(Enum):
    """What records are written as."""

    JSONL = "jsonl"
    OCSF = "ocsf"
    WINDOWS_XML = "windows-xml"


_FORMS: Final[dict[Format, Callable[[Numbered, Origin], str]]] = {
    Format.JSONL: json_line,
    Format.OCSF: ocsf_line,
    Format.WINDOWS_XML: windows_xml,
}
_MODE: Final = 0o600


def add_to(audit: typer.Typer) -> None:
    """Add the verb to the group of the trail's."""
    audit.command("export")(export)


def export(  # noqa: PLR0913 - each parameter is an option of the command line
    store: StoreOption,
    *,
    form: Annotated[
        Format, typer.Option("--format", help="What records are written as.")
    ] = Format.JSONL,
    client: Annotated[str | None, typer.Option(help="Name or SID.")] = None,
    name: Annotated[str | None, typer.Option("--object", help="Exact name.")] = None,
    event: Annotated[str | None, typer.Option(help="Name or number.")] = None,
    outcome: Annotated[Outcome | None, typer.Option()] = None,
    after: Annotated[int, typer.Option(help="Only later numbers.", min=0)] = 0,
    limit: Annotated[int | None, typer.Option(help="At most so many.", min=1)] = None,
    output: Annotated[
        Path | None, typer.Option(help="A new file; standard output without it.")
    ] = None,
) -> None:
    """Write records, oldest first, one a line; standard error says where it ended."""
    with errors_are_lines(), opened(store) as (server, me):
        trail = server.trail_for(me)
        query = Query(
            client=client,
            object_name=name,
            event=None if event is None else event_named(event),
            outcome=outcome,
            after=after,
            limit=limit,
        )
        records = trail.export(query, form.value)
        with _opened_output(output) as file:
            count, last = _write(file, records, form, trail.export_origin())
    typer.echo(f"{count} records; go on with --after {last or after}", err=True)


def _write(
    file: TextIO, records: Iterable[Numbered], form: Format, origin: Origin
) -> tuple[int, int]:
    """Write each record as it is read; return how many, and the last one's number."""
    count = last = 0
    is_xml = form is Format.WINDOWS_XML
    if is_xml:
        file.write('<?xml version="1.0" encoding="utf-8"?>\n<Events>\n')
    for numbered in records:
        file.write(f"{_FORMS[form](numbered, origin)}\n")
        count, last = count + 1, numbered.number
    if is_xml:
        file.write("</Events>\n")
    return count, last


@contextmanager
def _opened_output(path: Path | None) -> Iterator[TextIO]:
    """Open where it goes: a new file, which only its owner may read, or stdout."""
    if path is None:
        yield sys.stdout
        sys.stdout.flush()
        return
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags, _MODE)
    except FileExistsError:
        raise InvalidRequestError(
            f"`{path}` is there already",
            advice="name a new file; --after goes on where another ended",
        ) from None
    with os.fdopen(descriptor, "w", encoding="ascii", newline="\n") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
