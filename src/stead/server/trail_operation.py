"""`stead.trail`: the trail of a running server, asked by a client of it.

The client is judged as itself, and its asking is recorded, as with
`ProtectedServer.trail_for`. What a record holds is told to nobody else.
"""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from stead.errors import InvalidRequestError
from stead.ledger.canonical import write_record
from stead.ledger.query import Query
from stead.model.audit_record import AuditEvent, Outcome
from stead.server.client_context import ClientContext

if TYPE_CHECKING:
    from stead.server.protected_server import ProtectedServer

MOST_RECORDS: Final = 100
_MOST_BYTES: Final = 262_144  # a quarter of what a pipe's answer may have

_TEXTS: Final = frozenset({
    "client", "server", "member", "object_name", "object_prefix", "correlation",
    "gate", "peer",
})  # fmt: skip
_NUMBERS: Final = frozenset({"since", "until", "session", "after", "before"})


def offer_trail(server: ProtectedServer) -> None:
    """Add `stead.trail` to a server."""

    @server.operation("stead.trail")
    def trail(
        client: ClientContext,
        asked: dict[str, str | int | bool],
        limit: int = MOST_RECORDS,
    ) -> dict[str, Any]:
        """Return a page: `records`, `unreadable` numbers, and the key `next`.

        `asked` has fields of `stead.ledger.query.Query` by name, an event by its
        number.
        """
        query = read_query(asked, limit)
        page = server.trail_for(client).page(query)
        records: list[dict[str, Any]] = []
        size, key = 0, page.next
        for number, record in page.found:
            body = write_record(record)
            size += len(body)
            if records and size > _MOST_BYTES:
                key = int(records[-1]["sequence"])
                break
            records.append({"sequence": number, "record": json.loads(body)})
        return {"records": records, "unreadable": list(page.unreadable), "next": key}


def read_query(asked: dict[str, str | int | bool], limit: int) -> Query:
    """Return the query that a client asks for.

    Raises:
        InvalidRequestError: it has fields that no query has, or of another type.
    """
    if not 0 < limit <= MOST_RECORDS:
        raise InvalidRequestError(f"a page has 1 to {MOST_RECORDS} records")
    fields: dict[str, Any] = {}
    for name, value in asked.items():
        is_number = isinstance(value, int) and not isinstance(value, bool)
        if (
            (name in _TEXTS and isinstance(value, str))
            or (name in _NUMBERS and is_number)
            or (name == "newest_first" and isinstance(value, bool))
        ):
            fields[name] = value
        else:
            fields[name] = _member(name, value)
    return Query(**fields, limit=limit)


def _member(name: str, value: object) -> AuditEvent | Outcome:
    with suppress(ValueError):
        if name == "event" and isinstance(value, int):
            return AuditEvent(value)
        if name == "outcome":
            return Outcome(value)
    raise InvalidRequestError(
        f"`{name[:80]}` cannot be asked for like that",
        advice="fields are those of `stead.ledger.query.Query`",
    )
