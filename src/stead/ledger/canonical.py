"""Audit records as canonical bytes, and back.

One record has exactly one form: JSON in UTF-8, keys sorted, no spaces, fields that hold
nothing left out. The chain is computed over these bytes, so nobody has to agree about
more than bytes to verify it.

Text that UTF-8 cannot hold (file names with stray bytes reach Python as lone
surrogates) is written as ``{"wtf8": "<hex>"}``: every body stays valid JSON for any
reader, and no name that a client makes up can be confused with another.

The twin in C (`_canonical.c`), where it was built, writes records whose fields are just
what they are meant to be; what it does not write, and all reading, is done here.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import lru_cache
from operator import index
from typing import Any, Final

from stead.errors import InvalidRecordError, SteadError
from stead.ledger.twins import load
from stead.model.audit_record import AuditEvent, AuditRecord, Outcome, Principal
from stead.model.luid import Luid
from stead.model.sid import Sid

_Write = Callable[[str], Any]

FORMAT: Final = 1
"""The number of this form; a reader refuses every other."""

MAXIMUM_BODY: Final = 65_536
"""The largest body, so that a backlog of records has a largest size too."""

_TEXTS: Final = (
    "gate",
    "peer",
    "correlation",
    "operation",
    "object_type",
    "object_name",
)
_NUMBERS: Final = ("time", "desired", "granted", "status")
_LISTS: Final = ("privileges", "reasons")
_PARTS: Final = ("format", "event", "outcome", "server", "client", "chain", "detail")
_KEYS: Final = frozenset((*_TEXTS, *_NUMBERS, *_LISTS, *_PARTS))
_WTF8: Final = "wtf8"
_JSON: Final = json.JSONEncoder(
    ensure_ascii=False, separators=(",", ":"), sort_keys=True, allow_nan=False
)

# What a record of the wrong shape makes the code below raise, in either direction.
_MISFITS: Final = (
    SteadError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
)


def pure_write_record(record: AuditRecord) -> bytes:
    """Return the one form of a record, by Python alone.

    Raises:
        InvalidRecordError: a field holds what it may not, or the whole is too large.
    """
    try:
        body = _encode(record)
    except _MISFITS as error:
        raise InvalidRecordError(f"the record cannot be written: {error}") from error
    if len(body) > MAXIMUM_BODY:
        raise InvalidRecordError(
            f"the record has {len(body)} bytes, more than {MAXIMUM_BODY}"
        )
    return body


TWIN: Final = load("stead.ledger._canonical")

if TWIN is not None:
    TWIN.connect(
        AuditRecord, Principal, Sid, AuditEvent, Outcome.SUCCESS, Outcome.FAILURE
    )
_write_plain: Final[Callable[[AuditRecord], bytes | None]] = getattr(
    TWIN, "write_plain", lambda _: None
)


def write_record(record: AuditRecord) -> bytes:
    """Return the one form of a record; raises as `pure_write_record` does."""
    body = _write_plain(record)
    return pure_write_record(record) if body is None else body


def read_record(body: bytes) -> AuditRecord:
    """Return the record that `write_record` made these bytes of.

    Raises:
        InvalidRecordError: the bytes are no record, or one of another format.
    """
    try:
        fields = json.loads(body.decode())
        if fields["format"] != FORMAT:
            raise InvalidRecordError(f"format `{fields['format']}` is not known")
        return _record(fields)
    except _MISFITS as error:
        raise InvalidRecordError(f"the bytes are not a record: {error}") from error


def _encode(record: AuditRecord) -> bytes:
    try:
        return _JSON.encode(_fields(record, _plain)).encode()
    except UnicodeEncodeError:
        # Rare, and costly to look for in each text beforehand.
        return _JSON.encode(_fields(record, _marked)).encode()


def _fields(record: AuditRecord, text: _Write) -> dict[str, Any]:
    """Return what a record holds; what is empty is left out."""
    client, detail = record.client, record.detail
    fields = {
        "format": FORMAT,
        "event": int(AuditEvent(record.event)),
        "outcome": Outcome(record.outcome).value,
        "server": _principal(record.server, text),
        "client": None if client is None else _principal(client, text),
        "chain": [_principal(link, text) for link in record.chain],
        "detail": [[text(key), text(detail[key])] for key in sorted(detail)],
    }
    for name in _TEXTS:
        fields[name] = text(getattr(record, name))
    for name in _NUMBERS:
        fields[name] = int(index(getattr(record, name)))
    for name in _LISTS:
        fields[name] = [text(part) for part in getattr(record, name)]
    return {name: value for name, value in fields.items() if value}


@lru_cache(maxsize=256)
def _principal(principal: Principal, text: _Write) -> tuple[Any, ...]:
    """Write somebody; the same few are in every record of theirs."""
    return (str(principal.sid), text(principal.name), int(principal.logon_id))


def _plain(value: str) -> str:
    if not isinstance(value, str):
        raise TypeError(f"`{value!r}` is not text")
    return value


def _marked(value: str) -> str | dict[str, str]:
    try:
        _plain(value).encode()
    except UnicodeEncodeError:
        return {_WTF8: value.encode("utf-8", "surrogatepass").hex()}
    return value


def _record(fields: dict[str, Any]) -> AuditRecord:
    if not fields.keys() <= _KEYS:
        unknown = fields.keys() - _KEYS
        raise InvalidRecordError(f"field `{min(unknown)}` is not known")
    get = fields.get
    client = get("client")
    return AuditRecord(
        event=AuditEvent(_read_number(fields["event"])),
        outcome=Outcome(fields["outcome"]),
        time=_read_number(get("time", 0)),
        server=_read_principal(fields["server"]),
        client=None if client is None else _read_principal(client),
        chain=tuple(map(_read_principal, get("chain", ()))),
        gate=_read_text(get("gate", "")),
        peer=_read_text(get("peer", "")),
        correlation=_read_text(get("correlation", "")),
        operation=_read_text(get("operation", "")),
        object_type=_read_text(get("object_type", "")),
        object_name=_read_text(get("object_name", "")),
        desired=_read_number(get("desired", 0)),
        granted=_read_number(get("granted", 0)),
        privileges=tuple(map(_read_text, get("privileges", ()))),
        reasons=tuple(map(_read_text, get("reasons", ()))),
        status=_read_number(get("status", 0)),
        detail={_read_text(k): _read_text(v) for k, v in get("detail", ())},
    )


def _read_principal(parts: list[Any]) -> Principal:
    sid, name, logon_id = parts
    return _principal_of(sid, _read_text(name), _read_number(logon_id))


@lru_cache(maxsize=4096)
def _principal_of(sid: str, name: str, logon_id: int) -> Principal:
    """Return somebody; a trail names the same few in record after record."""
    return Principal(Sid.from_string(sid), name, Luid(logon_id))


def _read_text(value: object) -> str:
    if type(value) is str:
        return value
    if isinstance(value, dict) and value.keys() == {_WTF8}:
        return bytes.fromhex(value[_WTF8]).decode("utf-8", "surrogatepass")
    raise TypeError(f"`{value!r}` is not text")


def _read_number(value: object) -> int:
    if type(value) is not int:
        raise TypeError(f"`{value!r}` is not a number")
    return value
