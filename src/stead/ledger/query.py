"""Questions to the trail, and one line for each answer.

The filters stream: they read every entry of the asked range and keep nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Final

from stead.errors import InvalidRecordError, LedgerCorruptError
from stead.ledger.canonical import read_record
from stead.ledger.ports import Entry, LedgerStore
from stead.model.audit_record import AuditEvent, AuditRecord, Outcome, Principal

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NANOSECONDS_OF_A_MICROSECOND: Final = 1000
_PLAIN: Final = frozenset("-_./:@\\+~%*$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """Which records are asked for; what is left out does not matter.

    Attributes:
        client: the client's name, in any case, or SID.
        object_name: the object, exactly.
        event: what happened.
        outcome: how it came out.
        after: only records with a higher number.
        limit: no more than so many records.
    """

    client: str | None = None
    object_name: str | None = None
    event: AuditEvent | None = None
    outcome: Outcome | None = None
    after: int = 0
    limit: int | None = None

    def matches(self, record: AuditRecord) -> bool:
        """Tell whether a record is asked for, its number aside."""
        return (
            self.event in {None, record.event}
            and self.outcome in {None, record.outcome}
            and self.object_name in {None, record.object_name}
            and (self.client is None or _is_named(record.client, self.client))
        )


def find(store: LedgerStore, query: Query) -> Iterator[tuple[int, AuditRecord]]:
    """Yield the numbers and records that a query asks for, in order.

    Raises:
        LedgerCorruptError: an entry that is read is no record; verify the trail.
        LedgerUnavailableError: the store cannot be read.
    """
    found = (
        (entry.sequence, record)
        for entry in store.entries(query.after)
        if query.matches(record := read_entry(entry))
    )
    return islice(found, query.limit)


def format_line(record: AuditRecord, sequence: int) -> str:
    """Return one line that names client, server, chain, object and decision.

    Whatever a client may have made up is quoted, and characters that do not print are
    escaped: no name can look like another field, or like another line.
    """
    fields = {
        "client": _name(record.client),
        "server": _name(record.server),
        "chain": ">".join(_name(link) for link in record.chain),
        "gate": _quoted(record.gate),
        "peer": _quoted(record.peer),
        "operation": _quoted(record.operation),
        "object": _object(record),
        "desired": _mask(record.desired),
        "granted": _mask(record.granted),
        "privileges": ",".join(map(_quoted, record.privileges)),
        "status": str(record.status or ""),
        "correlation": _quoted(record.correlation),
        "reasons": ",".join(map(_quoted, record.reasons)),
        **{_quoted(name): _quoted(text) for name, text in record.detail.items()},
    }
    head = f"#{sequence} {_moment(record.time)} {record.event.name}"
    told = [f"{name}={text}" for name, text in fields.items() if text]
    return " ".join((head, record.outcome.value, *told))


def read_entry(entry: Entry) -> AuditRecord:
    """Return the record of an entry; raises `LedgerCorruptError`."""
    try:
        return read_record(entry.body)
    except InvalidRecordError as error:
        raise LedgerCorruptError(
            f"record {entry.sequence} cannot be read: {error}", sequence=entry.sequence
        ) from error


def _is_named(principal: Principal | None, name: str) -> bool:
    if principal is None:
        return False
    wanted = name.casefold()
    return wanted in {principal.name.casefold(), str(principal.sid).casefold()}


def _name(principal: Principal | None) -> str:
    if principal is None:
        return ""
    return f"{_quoted(principal.name)}({principal.sid})"


def _object(record: AuditRecord) -> str:
    kind = f"{_quoted(record.object_type)}:" if record.object_type else ""
    return f"{kind}{_quoted(record.object_name)}" if record.object_name else ""


def _mask(mask: int) -> str:
    return f"0x{mask:08X}" if mask else ""


def _quoted(text: str) -> str:
    if all(char in _PLAIN or (char.isascii() and char.isalnum()) for char in text):
        return text
    shown = "".join(map(_printable, text))
    return f'"{shown}"'


def _printable(char: str) -> str:
    if char in {'"', "\\"}:
        return f"\\{char}"
    return char if char.isprintable() else ascii(char)[1:-1]


def _moment(nanoseconds: int) -> str:
    try:
        offset = timedelta(microseconds=nanoseconds // _NANOSECONDS_OF_A_MICROSECOND)
        moment = _EPOCH + offset
    except OverflowError:
        return f"time:{nanoseconds}"
    return moment.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"
