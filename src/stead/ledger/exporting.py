"""What every form of an exported record is made of: its identity, time, visible text.

A form (`export_json`, `export_ocsf`, `export_windows`, and those of sinks) is a pure
function of one numbered record and of where it comes from. The same record always gives
the same bytes, so that whoever receives it twice can tell.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from itertools import count, islice, takewhile
from typing import Final

from stead.ledger.ports import LedgerStore
from stead.ledger.query import Query, read_entry
from stead.model.audit_record import AuditRecord, Outcome, Principal

_NANOSECONDS: Final = 1_000_000_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST: Final = (
    -62_135_596_800 * _NANOSECONDS
)  # 0001-01-01, the first that RFC 3339 has
_LAST: Final = 253_402_300_800 * _NANOSECONDS - 1  # the end of 9999
_PLACE: Final = re.compile(
    r"(?:\[(?P<six>[^\[\]]+)\]|(?P<four>[^\[\]:]+))(?::(?P<port>[0-9]{1,5}))?"
)
_LAST_PORT: Final = 65_535
_SURROGATES: Final = re.compile(r"[\ud800-\udfff]")

WINDOWS_EVENTS: Final = 100_000
"""Events below have the number of a Windows event; from here on they are ours."""


@dataclass(frozen=True, slots=True)
class Numbered:
    """A record as the trail has it.

    Attributes:
        number: its number in the trail.
        record: what it says.
        digest: what ties it to all before it; empty where that is not known.
    """

    number: int
    record: AuditRecord
    digest: bytes = b""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a trail is.

    Attributes:
        host: the name of the machine.
        store: the SID of the store's own authority.
        version: the version of Stead that exports.
    """

    host: str
    store: str
    version: str


def identity_of(numbered: Numbered, origin: Origin) -> str:
    """Return what only this record is called: `SID/number`, and its digest if known.

    Whoever receives two records of one identity may drop one. The digest is part of it
    because a trail that was restored from a copy gives its numbers out again.
    """
    whole = f"{origin.store}/{numbered.number}"
    return f"{whole}/{numbered.digest.hex()}" if numbered.digest else whole


def event_name(record: AuditRecord) -> str:
    """Return the event's name in small letters; its number where it has no name."""
    name = getattr(record.event, "name", None)
    return str(int(record.event)) if name is None else name.lower()


def is_failure(record: AuditRecord) -> bool:
    """Tell whether what the record tells of failed or was refused."""
    return record.outcome is Outcome.FAILURE


def seen(record: AuditRecord) -> Principal:
    """Return who acts in a record: the client, or the server for itself."""
    return record.server if record.client is None else record.client


def rfc3339(nanoseconds: int) -> str:
    """Return a moment as RFC 3339 has it, in UTC, with nine digits of a second.

    Moments outside the years 1 to 9999 are moved to the nearest that there is.
    """
    within = min(max(nanoseconds, _FIRST), _LAST)
    seconds, rest = divmod(within, _NANOSECONDS)
    moment = (_EPOCH + timedelta(seconds=seconds)).replace(tzinfo=None)
    return f"{moment.isoformat(timespec='seconds')}.{rest:09d}Z"


def has_moment(nanoseconds: int) -> bool:
    """Tell whether `rfc3339` says this time exactly."""
    return _FIRST <= nanoseconds <= _LAST


def mask(value: int) -> str:
    """Return an access mask as hexadecimal text, such as `0x00000001`."""
    return f"{value:#010x}"


def visible(text: str, unheld: re.Pattern[str] = _SURROGATES) -> str:
    r"""Return text in which what a form cannot hold is written as `\\uXXXX`.

    Nothing else changes, except that backslashes which stand before such an escape, or
    before what looks like one, are doubled: two different texts stay different, and an
    odd number of backslashes before `uXXXX` is always an escape.

    Args:
        text: any text, lone surrogates included.
        unheld: what the form cannot hold, one character, none above U+FFFF.
    """
    if "\\u" in text:
        text = _LOOKS_LIKE_ONE.sub(lambda found: found[0] * 2, text)
    if not unheld.search(text):
        return text
    doubled = re.sub(rf"{_RUN}(?={unheld.pattern})", lambda found: found[0] * 2, text)
    return unheld.sub(lambda found: f"\\u{ord(found[0]):04x}", doubled)


# From its first one on: to begin again at each of a thousand backslashes takes a
# million steps, for one name that a client makes up.
_RUN: Final = r"(?<!\\)\\+"
_LOOKS_LIKE_ONE: Final = re.compile(rf"{_RUN}(?=u[0-9A-Fa-f]{{4}})")


def of_detail(record: AuditRecord, *names: str) -> str:
    """Return the first of these details that a record has; empty if it has none.

    One that was written in parts, `new`, `new 2` and so on, is put together.
    """
    name = next((name for name in names if name in record.detail), None)
    if name is None:
        return ""
    rest = takewhile(
        lambda part: part in record.detail, (f"{name} {n}" for n in count(2))
    )
    return record.detail[name] + "".join(record.detail[part] for part in rest)


def address_of(record: AuditRecord) -> tuple[str, int] | None:
    """Return the address and port that a client came from; None where it has none.

    A port that the gate does not know is 0.
    """
    found = _PLACE.fullmatch(record.peer)
    host, port = record.peer, 0
    if found is not None:
        host, port = found["six"] or found["four"], int(found["port"] or 0)
    try:
        address = ip_address(host)
    except ValueError:
        return None
    return str(address), port if port <= _LAST_PORT else 0


def bare_name(name: str) -> tuple[str, str]:
    r"""Return the domain and the name of `DOMAIN\name`; no domain where it has none."""
    domain, _, rest = name.rpartition("\\")
    return domain, rest


def numbered(store: LedgerStore, query: Query) -> Iterator[Numbered]:
    """Yield the records that a query asks for, up to the last that there is now.

    Raises:
        LedgerCorruptError: an entry that is read is no record; verify the trail.
        LedgerUnavailableError: the store cannot be read.
    """
    last = store.last()
    end = 0 if last is None else last.sequence
    within = takewhile(lambda one: one.sequence <= end, store.entries(query.after))
    found = (
        Numbered(entry.sequence, record, entry.digest)
        for entry in within
        if query.matches(record := read_entry(entry))
    )
    return islice(found, query.limit)
