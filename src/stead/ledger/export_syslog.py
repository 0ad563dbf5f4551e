"""Records as syslog messages (RFC 5424), framed by their length (RFC 5425, 4.3).

The structured data name the record, its event and who acts, for receivers that route by
them; the message is the whole record as in `export_json`, printable ASCII. A receiver
need not take more than 8192 bytes (RFC 5425, 4.3.1), so a longer record comes in parts:
each has the same structured data and `part="2/3"`; put together in order, they are the
JSON again. The same record always gives the same bytes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from stead.ledger.export_json import json_line
from stead.ledger.exporting import (
    Numbered,
    Origin,
    event_name,
    identity_of,
    is_failure,
    rfc3339,
    seen,
    visible,
)
from stead.model.audit_record import AuditRecord

LARGEST: Final = 8192
"""Bytes of one message, unless the receiver is known to take more."""

SMALLEST: Final = 4096
"""No bound below this: the header and structured data need some of it."""

DOCUMENTATION: Final = 32473
"""The enterprise number that nobody has (RFC 5612); name one's own in its place."""

_LOG_AUDIT: Final = 13  # the facility (RFC 5424, table 1)
_YEAR_2100: Final = 4_102_444_800_000_000_000  # nanoseconds
_NOTICE: Final = 5
_WARNING: Final = 4
_LONGEST_VALUE: Final = 64
_LARGEST_SEQUENCE: Final = 2_147_483_647
# Controls, ends of lines, what turns the direction of writing, and lone surrogates.
_UNPRINTABLE: Final = re.compile(
    "[\0-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
_NO_HEADER: Final = re.compile(r"[^\x21-\x7e]")
_SPECIAL: Final = re.compile(r'(["\\\]])')


def syslog_frames(
    numbered: Numbered,
    origin: Origin,
    *,
    largest: int = LARGEST,
    enterprise: int = DOCUMENTATION,
) -> bytes:
    """Return a record's messages, each after its length: what goes over the wire."""
    messages = syslog_messages(numbered, origin, largest=largest, enterprise=enterprise)
    return b"".join(b"%d %b" % (len(message), message) for message in messages)


def syslog_messages(
    numbered: Numbered,
    origin: Origin,
    *,
    largest: int = LARGEST,
    enterprise: int = DOCUMENTATION,
) -> list[bytes]:
    """Return the messages of one record; one, unless it is too long for that."""
    head, common = _header(numbered.record, origin), _common(numbered, origin)
    text = json_line(numbered, origin)
    sequence = (numbered.number - 1) % _LARGEST_SEQUENCE + 1
    meta = f'[meta sequenceId="{sequence}"]'

    def message(part: str, piece: str) -> bytes:
        data = f"[stead@{enterprise} {common}{part}]{meta}"
        return f"{head} {data} {piece}".encode()

    # As many bytes as any number of parts can need.
    room = largest - len(message(' part="999999/999999"', ""))
    pieces = [text[i : i + room] for i in range(0, len(text), room)]
    if len(pieces) == 1:
        return [message("", text)]
    last = len(pieces)
    return [
        message(f' part="{place}/{last}"', piece)
        for place, piece in enumerate(pieces, 1)
    ]


def _header(record: AuditRecord, origin: Origin) -> str:
    priority = _LOG_AUDIT * 8 + (_WARNING if is_failure(record) else _NOTICE)
    host = _word(origin.host, 255)
    program = _word(record.server.name, 48)
    event = _word(event_name(record), 32)
    return f"<{priority}>1 {_time(record.time)} {host} {program} - {event}"


def _time(nanoseconds: int) -> str:
    """Return a timestamp: six digits of a second at most (RFC 5424, 6.2.3).

    Receivers take years for mistakes that no clock shows, and the whole message with
    them: of such a time only the JSON tells.
    """
    if not 0 <= nanoseconds < _YEAR_2100:
        return "-"
    return f"{rfc3339(nanoseconds)[:-4]}Z"


def _word(text: str, longest: int) -> str:
    """Return a word of the header: printable, no spaces, never empty."""
    return _NO_HEADER.sub("_", text)[:longest] or "-"


def _common(numbered: Numbered, origin: Origin) -> str:
    return " ".join(
        f'{name}="{_value(text)}"' for name, text in _parameters(numbered, origin)
    )


def _parameters(numbered: Numbered, origin: Origin) -> Iterator[tuple[str, str]]:
    record = numbered.record
    who = seen(record)
    yield "number", str(numbered.number)
    yield "id", identity_of(numbered, origin)
    yield "event", event_name(record)
    yield "eventId", str(int(record.event))
    yield "outcome", record.outcome.value
    yield "userSid", str(who.sid)
    yield "user", who.name[:_LONGEST_VALUE]
    yield "serverSid", str(record.server.sid)
    yield "server", record.server.name[:_LONGEST_VALUE]
    if record.correlation:
        yield "correlation", record.correlation[:_LONGEST_VALUE]


def _value(text: str) -> str:
    """Escape a value (RFC 5424, 6.3.3), what does not print visibly first."""
    return _SPECIAL.sub(r"\\\1", visible(text, _UNPRINTABLE))
