"""Questions to the trail, and one line for each answer.

`find` streams: it reads every entry of the asked range and keeps nothing. With an index
`stead.ledger.asking` answers the same questions in pages.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Final

from stead.errors import InvalidRecordError, LedgerCorruptError, SteadError
from stead.ledger.canonical import read_record
from stead.ledger.ports import Entry, LedgerStore
from stead.model.arguments import several
from stead.model.audit_record import AuditEvent, AuditRecord, Outcome, Principal
from stead.model.luid import NO_LUID, Luid

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NANOSECONDS_OF_A_MICROSECOND: Final = 1000
_PLAIN: Final = frozenset("-_./:@\\+~%*$")
_TRACE: Final = re.compile(r"(?:[0-9a-f]{2}-)?([0-9a-f]{32})(?:-.*)?", re.DOTALL)
_TRACE_VERSION: Final = "00-"

WITHIN: Final = "within"
"""The detail that names the logon session in which another one was begun."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """Which records are asked for; what is left out does not matter.

    Attributes:
        client: the client's name, in any case, or SID.
        server: the server's name, in any case, or SID.
        member: somebody who had a part: as client, as server, or between them.
        object_name: the object, exactly.
        object_prefix: how the object's name begins.
        event: what happened; one of several, for a set.
        outcome: how it came out.
        since: not before this time, in nanoseconds since the epoch, UTC.
        until: before this time.
        correlation: a request and all below it; of a W3C trace context, its trace.
        session: a logon id: what was done in that session, or begun from it; one of
            several, for a set.
        gate: how the client came.
        peer: the other end, as far as it is given: `uid 1000` means its every process.
        after: only records with a higher number.
        before: only records with a lower number.
        newest_first: whether the highest number comes first.
        limit: no more than so many records.
    """

    client: str | None = None
    server: str | None = None
    member: str | None = None
    object_name: str | None = None
    object_prefix: str | None = None
    event: AuditEvent | Collection[AuditEvent] | None = None
    outcome: Outcome | None = None
    since: int | None = None
    until: int | None = None
    correlation: str | None = None
    session: int | Collection[int] | None = None
    gate: str | None = None
    peer: str | None = None
    after: int = 0
    before: int | None = None
    newest_first: bool = False
    limit: int | None = None

    def matches(self, record: AuditRecord) -> bool:
        """Tell whether a record is asked for, its number aside."""
        return (
            (self.event is None or record.event in self.events)
            and self.outcome in {None, record.outcome}
            and self.object_name in {None, record.object_name}
            and record.object_name.startswith(self.object_prefix or "")
            and self.gate in {None, record.gate}
            and (self.since is None or self.since <= record.time)
            and (self.until is None or record.time < self.until)
            and (self.peer is None or is_at_or_below(record.peer, self.peer))
            and self._is_asked_correlation(record.correlation)
            and (self.session is None or not self.sessions.isdisjoint(sessions(record)))
            and self._are_asked_people(record)
        )

    @property
    def events(self) -> frozenset[AuditEvent]:
        """The events that are asked for, where `event` says any."""
        if isinstance(self.event, AuditEvent):
            return frozenset({self.event})
        given = self.event or ()
        return frozenset(several("event", given, AuditEvent, "`AuditEvent.LOGON`"))

    @property
    def sessions(self) -> frozenset[int]:
        """The sessions that are asked for, where `session` says any."""
        if isinstance(self.session, int):
            return frozenset({int(self.session)})
        return frozenset(map(int, self.session or ()))

    @property
    def correlations(self) -> tuple[str, ...]:
        """How the correlation of what is asked for may begin."""
        if self.correlation is None:
            return ()
        trace = _TRACE.fullmatch(self.correlation)
        if trace is None:
            return (self.correlation,)
        return (trace[1], f"{_TRACE_VERSION}{trace[1]}")

    def describe(self) -> str:
        """Say what is asked, for the record of asking: no value looks like another."""
        told = [
            f"{_SHOWN.get(part.name, part.name)}={_shown(value)}"
            for part in fields(self)
            if (value := getattr(self, part.name)) != part.default
        ]
        return " ".join(told) or "everything"

    def _is_asked_correlation(self, correlation: str) -> bool:
        asked = self.correlations
        return not asked or any(is_at_or_below(correlation, one) for one in asked)

    def _are_asked_people(self, record: AuditRecord) -> bool:
        client = () if record.client is None else (record.client,)
        return (
            _is_among(self.client, client)
            and _is_among(self.server, (record.server,))
            and _is_among(self.member, (record.server, *client, *record.chain))
        )


_SHOWN: Final = {"object_name": "object"}


def find(store: LedgerStore, query: Query) -> Iterator[tuple[int, AuditRecord]]:
    """Yield the numbers and records that a query asks for, in its order.

    Raises:
        LedgerCorruptError: an entry that is read is no record; verify the trail.
        LedgerUnavailableError: the store cannot be read.
    """
    found = (
        (entry.sequence, record)
        for entry in _entries(store, query)
        if query.matches(record := read_entry(entry))
    )
    return islice(found, query.limit)


def _entries(store: LedgerStore, query: Query) -> Iterator[Entry]:
    if query.newest_first:
        for entry in store.backwards(query.before):
            if entry.sequence <= query.after:
                return
            yield entry
        return
    for entry in store.entries(query.after):
        if query.before is not None and entry.sequence >= query.before:
            return
        yield entry


def read_entry(entry: Entry) -> AuditRecord:
    """Return the record of an entry.

    Raises:
        LedgerCorruptError: it is none; names it.
    """
    try:
        return read_record(entry.body)
    except InvalidRecordError as error:
        raise LedgerCorruptError(
            f"record {entry.sequence} cannot be read: {error}", sequence=entry.sequence
        ) from error


def sessions(record: AuditRecord) -> frozenset[int]:
    """Return the logon sessions in which something was done, or begun from which.

    A server takes part in everything: its own session is meant only by what it does
    for nobody.
    """
    within = record.detail.get(WITHIN, "")
    return sessions_of(record.server, record.client, record.chain, within)


def sessions_of(
    server: Principal,
    client: Principal | None,
    chain: tuple[Principal, ...],
    within: str,
) -> frozenset[int]:
    """Return what `sessions` does, of a record's parts."""
    own = server.logon_id
    found = {int(link.logon_id) for link in chain if link.logon_id != own}
    found.add(int(own if client is None else client.logon_id))
    with suppress(
        ValueError, SteadError
    ):  # not every record is of something that was begun
        found.add(int(Luid(int(within, 0))))
    return frozenset(found) - {int(NO_LUID)}


def is_at_or_below(text: str, asked: str) -> bool:
    """Tell whether a mark is `asked`, or goes on after it with another word."""
    if not text.startswith(asked):
        return False
    return len(text) == len(asked) or not text[len(asked)].isalnum()


def format_line(record: AuditRecord, sequence: int) -> str:
    """Return one line that names client, server, chain, object and decision.

    Whatever a client may have made up is quoted, and characters that do not print are
    escaped: no name can look like another field, or like another line. A detail that
    has the name of a field is `detail.NAME`.
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
    }
    more = {
        f"detail.{name}" if name in fields else _quoted(name): _quoted(text)
        for name, text in record.detail.items()
    }
    head = f"#{sequence} {format_moment(record.time)} {record.event.name}"
    told = [f"{name}={text}" for name, text in (fields | more).items() if text]
    return " ".join((head, record.outcome.value, *told))


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


def format_moment(nanoseconds: int) -> str:
    """Return a time in UTC as people read it; beyond the calendar, the number."""
    try:
        offset = timedelta(microseconds=nanoseconds // _NANOSECONDS_OF_A_MICROSECOND)
        moment = _EPOCH + offset
    except OverflowError:
        return f"time:{nanoseconds}"
    return moment.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def _is_among(name: str | None, principals: Collection[Principal]) -> bool:
    if name is None:
        return True
    wanted = name.casefold()
    return any(
        wanted in {principal.name.casefold(), str(principal.sid).casefold()}
        for principal in principals
    )


def _shown(value: object) -> str:
    if isinstance(value, AuditEvent):
        return value.name.lower()
    if isinstance(value, Outcome):
        return value.value
    if isinstance(value, frozenset | set | tuple | list):
        return ",".join(sorted(map(_shown, value)))
    return _quoted(str(value)) or '""'
