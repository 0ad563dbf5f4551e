"""Records as Windows Event XML, as its schema asks (`NAMESPACE`).

One event a line, in ASCII. `System` is as Windows writes it; the provider is ours,
since Windows' own did not see it. `EventData` begins with what Windows' event of this
number has, under Windows' names and in Windows' order (`windows_templates`), with
Windows' marks for what is not known; then comes what only our records have.

XML cannot hold most control characters, U+FFFE, U+FFFF or lone surrogates: they are
written visibly (`exporting.visible`). Line ends and everything beyond ASCII are written
as references, so nothing in a record can end a line or an element.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from typing import Final

from stead.ledger.exporting import (
    WINDOWS_EVENTS,
    Numbered,
    Origin,
    event_name,
    identity_of,
    is_failure,
    mask,
    rfc3339,
    seen,
    visible,
)
from stead.ledger.trace_context import trace_id
from stead.ledger.windows_policy import task_of
from stead.ledger.windows_templates import VERSIONS, template_data
from stead.model.audit_record import AuditRecord, Principal

NAMESPACE: Final = "http://schemas.microsoft.com/win/2004/08/events/event"
PROVIDER: Final = "Stead-Auditing"
PROVIDER_GUID: Final = "{b7d0a2f4-4c1e-4f0b-9a7e-3d5c86e1f902}"
CHANNEL: Final = "Security"

OURS: Final = 60_000
"""Where our own events begin here: an EventID has 16 bits, so 100 001 is 60 001."""

_SUCCESS: Final = "0x8020000000000000"
_FAILURE: Final = "0x8010000000000000"
_UNHELD: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_MARKUP: Final = str.maketrans(
    {
        "&": "&amp;",
        "<": "&lt;",
        ">": "&gt;",
        '"': "&quot;",
        "'": "&apos;",
        "\t": "&#9;",
        "\n": "&#10;",
        "\r": "&#13;",
        "\x7f": "&#127;",
    }
)


def windows_xml(numbered: Numbered, origin: Origin) -> str:
    """Return one `Event` element, on one line of ASCII."""
    data = "".join(
        f'<Data Name="{_escaped(name)}">{_escaped(text)}</Data>'
        for name, text in _event_data(numbered, origin)
    )
    return (
        f'<Event xmlns="{NAMESPACE}"><System>{_system(numbered, origin)}</System>'
        f"<EventData>{data}</EventData></Event>"
    )


def event_id(number: int) -> int:
    """Return the EventID for an event's number: Windows' own below 60 000."""
    if 0 <= number < OURS:
        return number
    return OURS + (number - WINDOWS_EVENTS) % (0x1_0000 - OURS)


def activity_id(correlation: str) -> str:
    """Return the GUID that ties the records of one request together.

    A W3C trace id has the size of a GUID and is one; other marks are hashed into one.
    """
    if not correlation:
        return ""
    digits = (
        trace_id(correlation)
        or hashlib.sha256(correlation.encode("utf-8", "surrogatepass")).hexdigest()
    )
    parts = digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:32]
    return "{" + "-".join(parts) + "}"


def _system(numbered: Numbered, origin: Origin) -> str:
    record = numbered.record
    number = int(record.event)
    activity = activity_id(record.correlation)
    correlation = f' ActivityID="{activity}"' if activity else ""
    keywords = _FAILURE if is_failure(record) else _SUCCESS
    pid = record.detail.get("process id", "0")
    process = pid if pid.isascii() and pid.isdigit() and len(pid) <= 9 else "0"  # noqa: PLR2004 - digits of 32 bits
    return (
        f'<Provider Name="{PROVIDER}" Guid="{PROVIDER_GUID}"/>'
        f"<EventID>{event_id(number)}</EventID>"
        f"<Version>{VERSIONS.get(number, 0)}</Version>"
        f"<Level>0</Level><Task>{task_of(record)}</Task><Opcode>0</Opcode>"
        f"<Keywords>{keywords}</Keywords>"
        f'<TimeCreated SystemTime="{rfc3339(record.time)}"/>'
        f"<EventRecordID>{numbered.number}</EventRecordID>"
        f"<Correlation{correlation}/>"
        f'<Execution ProcessID="{process}" ThreadID="0"/>'
        f"<Channel>{CHANNEL}</Channel>"
        f"<Computer>{_escaped(origin.host)}</Computer>"
        f'<Security UserID="{seen(record).sid}"/>'
    )


def _event_data(numbered: Numbered, origin: Origin) -> Iterator[tuple[str, str]]:
    record = numbered.record
    yield from template_data(numbered, origin)
    yield "SteadEvent", event_name(record)
    yield "SteadEventNumber", str(int(record.event))
    yield "SteadRecordId", identity_of(numbered, origin)
    yield from ((name, text) for name, text in _ours(record) if text)
    for key in sorted(record.detail):
        yield f"Detail: {key}", record.detail[key]


def _ours(record: AuditRecord) -> Iterator[tuple[str, str]]:
    """Yield what no template of Windows' has room for."""
    server = record.server
    yield "ServerUserSid", str(server.sid)
    yield "ServerUserName", server.name
    yield "ServerLogonId", str(server.logon_id)
    if record.client is not None:
        yield "ClientUserSid", str(record.client.sid)
        yield "ClientUserName", record.client.name
        yield "ClientLogonId", str(record.client.logon_id)
    yield "Chain", " > ".join(map(_link, record.chain))
    yield "Gate", record.gate
    yield "Peer", record.peer
    yield "CorrelationId", record.correlation
    yield "Operation", record.operation
    yield "StatusCode", f"0x{record.status & 0xFFFFFFFF:08x}" if record.status else ""
    yield "DesiredAccess", mask(record.desired) if record.desired else ""
    yield "GrantedAccess", mask(record.granted) if record.granted else ""
    yield "Object", record.object_name
    yield "ObjectKind", record.object_type
    yield "Privileges", " ".join(record.privileges)
    yield "Reasons", "\n".join(record.reasons)


def _link(principal: Principal) -> str:
    return f"{principal.name} ({principal.sid}, {principal.logon_id})"


def _escaped(text: str) -> str:
    held = visible(text, _UNHELD).translate(_MARKUP)
    return held.encode("ascii", "xmlcharrefreplace").decode()
