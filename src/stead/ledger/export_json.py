"""Records as JSON Lines: one object a line, in ASCII, with names that stay.

Fields that hold nothing are left out, but for `number`, `time`, `event`, `event_id`,
`outcome` and `server`. docs/export.md says what each field means; a field may be added,
none changes its meaning. `read_record` reads the trail's own form, not this one.
"""

from __future__ import annotations

import json
from typing import Any, Final

from stead.ledger.exporting import (
    Numbered,
    Origin,
    event_name,
    has_moment,
    identity_of,
    mask,
    rfc3339,
    visible,
)
from stead.model.audit_record import AuditRecord, Principal

_ENCODER: Final = json.JSONEncoder(ensure_ascii=True, separators=(",", ":"))


def json_line(numbered: Numbered, origin: Origin) -> str:
    """Return one line of printable ASCII, without its end, that any reader takes."""
    return _ENCODER.encode(json_fields(numbered, origin))


def json_fields(numbered: Numbered, origin: Origin) -> dict[str, Any]:
    """Return the fields of a record, in their order, empty ones left out."""
    record = numbered.record
    always = {
        "id": identity_of(numbered, origin),
        "number": numbered.number,
        "time": rfc3339(record.time),
        "event": event_name(record),
        "event_id": int(record.event),
        "outcome": record.outcome.value,
        "host": visible(origin.host),
        "server": _principal(record.server),
    }
    return always | {name: value for name, value in _more(record).items() if value}


def _more(record: AuditRecord) -> dict[str, Any]:
    client = record.client
    return {
        "time_out_of_range": "" if has_moment(record.time) else str(record.time),
        "client": None if client is None else _principal(client),
        "chain": [_principal(link) for link in record.chain],
        "gate": visible(record.gate),
        "peer": visible(record.peer),
        "correlation": visible(record.correlation),
        "operation": visible(record.operation),
        "object_type": visible(record.object_type),
        "object_name": visible(record.object_name),
        "desired": mask(record.desired) if record.desired else "",
        "granted": mask(record.granted) if record.granted else "",
        "privileges": [visible(name) for name in record.privileges],
        "reasons": [visible(reason) for reason in record.reasons],
        "status": record.status,
        "detail": {visible(k): visible(v) for k, v in sorted(record.detail.items())},
    }


def _principal(principal: Principal) -> dict[str, str]:
    whole = {"sid": str(principal.sid), "name": visible(principal.name)}
    return whole | ({"logon_id": str(principal.logon_id)} if principal.logon_id else {})
