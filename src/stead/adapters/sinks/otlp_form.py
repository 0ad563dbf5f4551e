"""Records as OpenTelemetry log records (OTLP, opentelemetry-proto).

Names are the semantic conventions' where those have one: `log.record.uid` (the record's
identity, under which doubles may be dropped), `user.id`, `user.name`, `session.id`,
`service.name`, `host.name`. Everything else is ours, under `stead.` and the names of
`export_json`. A W3C trace context in the correlation becomes the log record's own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any, Final

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
)
from opentelemetry.proto.common.v1.common_pb2 import (
    AnyValue,
    ArrayValue,
    InstrumentationScope,
    KeyValue,
    KeyValueList,
)
from opentelemetry.proto.logs.v1.logs_pb2 import (
    LogRecord,
    ResourceLogs,
    ScopeLogs,
    SeverityNumber,
)
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from stead.ledger.export_json import json_fields
from stead.ledger.exporting import (
    Numbered,
    Origin,
    event_name,
    identity_of,
    is_failure,
    seen,
    visible,
)
from stead.ledger.trace_context import trace_context
from stead.model.audit_record import Principal

_SCOPE: Final = "stead.ledger"
_LARGEST_TIME: Final = (1 << 64) - 1
_LARGEST_NUMBER: Final = (1 << 63) - 1
_MAPPED: Final = frozenset({"id", "host"})


def logs_request(batch: Sequence[Numbered], origin: Origin) -> ExportLogsServiceRequest:
    """Return the request that exports records; each server is a resource."""
    runs = groupby(batch, key=lambda numbered: numbered.record.server)
    return ExportLogsServiceRequest(
        resource_logs=[
            ResourceLogs(
                resource=_resource(server, origin),
                scope_logs=[_scope_logs(list(records), origin)],
            )
            for server, records in runs
        ]
    )


def _resource(server: Principal, origin: Origin) -> Resource:
    attributes = {
        "service.name": visible(server.name),
        "service.instance.id": str(server.sid),
        "host.name": visible(origin.host),
    }
    return Resource(attributes=_pairs(attributes))


def _scope_logs(records: list[Numbered], origin: Origin) -> ScopeLogs:
    return ScopeLogs(
        scope=InstrumentationScope(name=_SCOPE, version=origin.version),
        log_records=[log_record(numbered, origin) for numbered in records],
    )


def log_record(numbered: Numbered, origin: Origin) -> LogRecord:
    """Return one log record; the same for the same record."""
    record = numbered.record
    is_bad = is_failure(record)
    time = min(max(record.time, 0), _LARGEST_TIME)
    made = LogRecord(
        time_unix_nano=time,
        observed_time_unix_nano=time,
        severity_number=(
            SeverityNumber.SEVERITY_NUMBER_WARN
            if is_bad
            else SeverityNumber.SEVERITY_NUMBER_INFO
        ),
        severity_text="WARN" if is_bad else "INFO",
        event_name=f"stead.{event_name(record)}",
        body=AnyValue(string_value=_body(numbered)),
        attributes=_pairs(dict(_attributes(numbered, origin))),
    )
    context = trace_context(record.correlation)
    if context is not None:
        made.trace_id = bytes.fromhex(context.trace)
        made.span_id = bytes.fromhex(context.parent)
        made.flags = context.flags
    return made


def _body(numbered: Numbered) -> str:
    record = numbered.record
    about = record.object_name or record.operation
    said = f"{event_name(record)}: {record.outcome.value}, {seen(record).name}"
    return visible(f"{said}, {about}" if about else said)


def _attributes(numbered: Numbered, origin: Origin) -> Iterator[tuple[str, Any]]:
    record = numbered.record
    who = seen(record)
    yield "log.record.uid", identity_of(numbered, origin)
    yield "user.id", str(who.sid)
    yield "user.name", visible(who.name)
    if who.logon_id:
        yield "session.id", str(who.logon_id)
    if is_failure(record):
        yield "error.type", str(record.status)
    for name, value in json_fields(numbered, origin).items():
        if name not in _MAPPED:
            yield f"stead.{name}", value


def _pairs(values: dict[str, Any]) -> list[KeyValue]:
    return [KeyValue(key=key, value=_any(value)) for key, value in values.items()]


def _any(value: Any) -> AnyValue:
    if isinstance(value, dict):
        return AnyValue(kvlist_value=KeyValueList(values=_pairs(value)))
    if isinstance(value, list):
        return AnyValue(array_value=ArrayValue(values=map(_any, value)))
    if isinstance(value, int) and abs(value) <= _LARGEST_NUMBER:
        return AnyValue(int_value=value)
    return AnyValue(string_value=str(value))
