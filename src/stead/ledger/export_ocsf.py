"""Records as OCSF events (https://schema.ocsf.io), version 1.5.0, as JSON lines.

Which class an event becomes is in `ocsf_classes`; an event that is not known there, or
lacks what its class demands, becomes a Base Event that says as much. `actor` is who
acts: the client with its session, and the server as the application through which it
does. What OCSF has no place for (the chain above all) is in `unmapped`, under the names
of `export_json`.
"""

from __future__ import annotations

import json
from typing import Any, Final

from stead.ledger.export_json import json_fields
from stead.ledger.exporting import (
    Numbered,
    Origin,
    bare_name,
    event_name,
    identity_of,
    is_failure,
    rfc3339,
    seen,
    visible,
)
from stead.ledger.ocsf_classes import OcsfClass, class_of, fill
from stead.model.audit_record import AuditEvent, AuditRecord, Principal

SCHEMA: Final = "1.5.0"
"""The version of the schema; `metadata.version` names it in each event."""

_ENCODER: Final = json.JSONEncoder(ensure_ascii=True, separators=(",", ":"))
_NANOSECONDS_OF_A_MILLISECOND: Final = 1_000_000
_LARGEST: Final = (1 << 63) - 1

_INFORMATIONAL: Final = (1, "Informational")
_LOW: Final = (2, "Low")
_HIGH: Final = (4, "High")
_GRAVE: Final = frozenset({AuditEvent.IDENTITY_LEAKED, AuditEvent.RECORDS_LOST})
_MAPPED: Final = frozenset({"id", "number", "time", "event_id", "outcome", "host"})


def ocsf_line(numbered: Numbered, origin: Origin) -> str:
    """Return one OCSF event as one line of ASCII, without its end."""
    return _ENCODER.encode(ocsf_event(numbered, origin))


def ocsf_event(numbered: Numbered, origin: Origin) -> dict[str, Any]:
    """Return the OCSF event that a record becomes."""
    record = numbered.record
    kind = class_of(record)
    severity, caption = _severity(record)
    status = (2, "Failure") if is_failure(record) else (1, "Success")
    event: dict[str, Any] = {
        **_classified(kind, record),
        "time": _milliseconds(record.time),
        "severity_id": severity,
        "severity": caption,
        "status_id": status[0],
        "status": status[1],
        "message": _message(record),
        "metadata": _metadata(numbered, origin),
        "device": {"hostname": visible(origin.host), "type_id": 0, "type": "Unknown"},
        "actor": _actor(record, origin),
        "unmapped": _unmapped(numbered, origin),
        **fill(kind, record, user_of),
    }
    if record.status:
        event["status_code"] = f"0x{record.status & 0xFFFFFFFF:08X}"
    if record.reasons:
        event["status_detail"] = "; ".join(map(visible, record.reasons))
    return event


def user_of(principal: Principal) -> dict[str, Any]:
    """Return a principal as an OCSF user with its account."""
    domain, _ = bare_name(principal.name)
    sid, name = str(principal.sid), visible(principal.name)
    user: dict[str, Any] = {
        "uid": sid,
        "name": name,
        "type_id": 0,
        "type": "Unknown",
        "account": {"uid": sid, "name": name, "type_id": 99, "type": "Stead"},
    }
    return user | ({"domain": visible(domain)} if domain else {})


def _classified(kind: OcsfClass, record: AuditRecord) -> dict[str, Any]:
    return {
        "category_uid": kind.category,
        "class_uid": kind.uid,
        "class_name": kind.name,
        "activity_id": kind.activity,
        "activity_name": kind.activity_name or event_name(record),
        "type_uid": kind.uid * 100 + kind.activity,
    }


def _severity(record: AuditRecord) -> tuple[int, str]:
    if record.event in _GRAVE:
        return _HIGH
    return _LOW if is_failure(record) else _INFORMATIONAL


def _metadata(numbered: Numbered, origin: Origin) -> dict[str, Any]:
    record = numbered.record
    metadata: dict[str, Any] = {
        "version": SCHEMA,
        "uid": identity_of(numbered, origin),
        "sequence": numbered.number,
        "event_code": str(int(record.event)),
        "original_time": rfc3339(record.time),
        "log_name": "trail",
        "log_provider": "stead",
        "tenant_uid": origin.store,
        "profiles": ["host"],
        "product": {
            "name": "Stead",
            "vendor_name": "The Stead authors",
            "version": origin.version,
        },
    }
    if record.correlation:
        metadata["correlation_uid"] = visible(record.correlation)
    return metadata


def _message(record: AuditRecord) -> str:
    about = record.object_name or record.operation
    said = f"{event_name(record)}: {record.outcome.value}, {seen(record).name}"
    return visible(f"{said}, {about}" if about else said)


def _actor(record: AuditRecord, origin: Origin) -> dict[str, Any]:
    who = seen(record)
    actor: dict[str, Any] = {
        "user": user_of(who),
        "app_name": visible(record.server.name),
        "app_uid": str(record.server.sid),
    }
    if who.logon_id:
        actor["session"] = {"uid": str(who.logon_id), "issuer": origin.store}
    return actor


def _unmapped(numbered: Numbered, origin: Origin) -> dict[str, Any]:
    fields = json_fields(numbered, origin)
    return {name: value for name, value in fields.items() if name not in _MAPPED}


def _milliseconds(nanoseconds: int) -> int:
    whole = nanoseconds // _NANOSECONDS_OF_A_MILLISECOND
    return min(max(whole, -_LARGEST), _LARGEST)
