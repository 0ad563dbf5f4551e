"""Records as user messages of Linux audit: `name=value` pairs on one line.

Values that a client may have made up are written as auditd's tools write untrusted
strings: in quotes where they are plain, otherwise as hexadecimal digits of their UTF-8
without quotes (`ausearch -i` reads both). The kernel takes 8559 bytes of a message and
drops what is more (`AUDIT_MESSAGE_TEXT_MAX`), so a value that is long is left out or
cut here, and `cut=yes` says so: `id` leads to the whole record.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from stead.ledger.exporting import (
    Numbered,
    Origin,
    event_name,
    identity_of,
    is_failure,
    mask,
    of_detail,
    seen,
)
from stead.model.audit_record import AuditRecord

LARGEST: Final = 8192
"""Bytes of one message, the end of its text included."""

_LONGEST_VALUE: Final = 512  # characters
_PLAIN: Final = frozenset(range(0x21, 0x7F)) - frozenset(b"\"'")


def linux_audit_message(numbered: Numbered, origin: Origin) -> bytes:
    """Return the text of one message, ASCII, without its final zero byte."""
    result = "failed" if is_failure(numbered.record) else "success"
    # `op`, `acct`, `res` and the like are names that the audit tools know.
    end = f" terminal=? res={result}"
    room = LARGEST - len(end) - len(" cut=yes")
    said, is_cut = "", False
    for name, text in _fields(numbered, origin):
        value = _encoded(text[:_LONGEST_VALUE])
        is_cut = is_cut or len(text) > _LONGEST_VALUE
        field = f"{' ' if said else ''}{name}={value}"
        if len(said) + len(field) > room:
            is_cut = True
        else:
            said += field
    return f"{said}{' cut=yes' if is_cut else ''}{end}".encode()


def _fields(numbered: Numbered, origin: Origin) -> Iterator[tuple[str, str]]:
    record = numbered.record
    who = seen(record)
    yield "op", f"stead:{event_name(record)}"
    yield "id", identity_of(numbered, origin)
    yield "number", str(numbered.number)
    yield "event", str(int(record.event))
    yield "acct", who.name
    yield "sid", str(who.sid)
    yield "ses_luid", str(who.logon_id)
    yield "server", record.server.name
    yield "server_sid", str(record.server.sid)
    yield from ((name, text) for name, text in _more(record) if text)


def _more(record: AuditRecord) -> Iterator[tuple[str, str]]:
    yield "chain", ">".join(link.name for link in record.chain)
    yield "gate", record.gate
    yield "peer", record.peer
    yield "correlation", record.correlation
    yield "operation", record.operation
    yield "obj_type", record.object_type
    yield "obj", record.object_name
    yield "desired", mask(record.desired) if record.desired else ""
    yield "granted", mask(record.granted) if record.granted else ""
    yield "status", str(record.status) if record.status else ""
    yield "privileges", " ".join(record.privileges)
    yield "reason", "; ".join(record.reasons)
    yield "target_pid", of_detail(record, "pid")


def _encoded(text: str) -> str:
    raw = text.encode("utf-8", "surrogatepass")
    if raw and all(byte in _PLAIN for byte in raw):
        return f'"{text}"'
    return raw.hex().upper() if raw else '""'
