"""What the trail tells of an object and of a session, put together from its records."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from stead.ledger.query import WITHIN, Query
from stead.model.audit_record import AuditEvent, AuditRecord, Outcome, Principal
from stead.model.luid import Luid

Found = tuple[int, AuditRecord]
"""A number and the record that has it."""

Finds = Callable[[Query], Iterator[Found]]
"""Finds what a query asks for."""

_BEGINNINGS: Final = frozenset({AuditEvent.LOGON, AuditEvent.GRANT_MADE})
_MOST_SESSIONS: Final = 10_000


@dataclass(frozen=True, slots=True)
class Touch:
    """What one principal did to one object, with one outcome.

    Attributes:
        principal: who; the server for what it did for nobody.
        outcome: how it came out.
        first: number and time of the first record.
        last: number and time of the last.
        count: how many records there are.
        rights: all rights that were used; of failures, those that were asked for.
    """

    principal: Principal
    outcome: Outcome
    first: tuple[int, int]
    last: tuple[int, int]
    count: int
    rights: int


def who_touched(records: Iterable[Found]) -> tuple[Touch, ...]:
    """Put together who touched an object, the last toucher first.

    Args:
        records: those of the object, the oldest first.
    """
    found: dict[tuple[object, Outcome], Touch] = {}
    for number, record in records:
        who = record.server if record.client is None else record.client
        failed = record.outcome is Outcome.FAILURE
        at, rights = (number, record.time), record.desired if failed else record.granted
        known = found.get((who.sid, record.outcome))
        if known is None:
            known = Touch(who, record.outcome, at, at, 0, 0)
        found[who.sid, record.outcome] = replace(
            known,
            principal=who,
            last=at,
            count=known.count + 1,
            rights=known.rights | rights,
        )
    return tuple(sorted(found.values(), key=lambda touch: touch.last, reverse=True))


@dataclass(frozen=True, slots=True)
class Begun:
    """A session that was begun from another one.

    Attributes:
        session: its logon id.
        within: the session that began it.
        depth: how many lie between it and the one that was asked about, and one more.
        record: the number of the record that says so.
        event: what began it: a logon with a password, or a grant.
    """

    session: Luid
    within: Luid
    depth: int
    record: int
    event: AuditEvent


@dataclass(frozen=True, slots=True)
class Act:
    """One thing that was done in a session, or in one that it began.

    Attributes:
        number: the record's number.
        record: the record.
        depth: 0 in the session itself, 1 in one that it began, and so on.
    """

    number: int
    record: AuditRecord
    depth: int


@dataclass(frozen=True, slots=True)
class SessionHistory:
    """What a session did.

    Attributes:
        session: its logon id.
        begun: the sessions that it began, and those that these began.
        acts: everything that was done in any of them, in order; processes and functions
            among it, which records of their ends tie to their beginnings.
    """

    session: Luid
    begun: tuple[Begun, ...]
    acts: Iterator[Act]


def session_history(find: Finds, session: Luid, query: Query) -> SessionHistory:
    """Put together what a session did.

    Args:
        find: finds records.
        session: its logon id.
        query: what else is asked of the acts: `after`, `limit`, times.
    """
    begun = begun_from(find, session)
    depths = {int(session): 0} | {int(one.session): one.depth for one in begun}
    asked = replace(query, session=frozenset(depths))
    acts = (
        Act(number, record, _depth(record, depths)) for number, record in find(asked)
    )
    return SessionHistory(session, begun, acts)


def begun_from(find: Finds, session: Luid) -> tuple[Begun, ...]:
    """Return every session that one began, directly or through others."""
    found: dict[int, Begun] = {}
    depth, outer = 0, frozenset({int(session)})
    while outer and len(found) < _MOST_SESSIONS:
        depth += 1
        new: dict[int, Begun] = {}
        for number, record in find(Query(session=outer, event=_BEGINNINGS)):
            within = _outer_of(record)
            client = record.client
            if client is None or within not in outer or client.logon_id in found:
                continue
            begun = Begun(client.logon_id, Luid(within), depth, number, record.event)
            if client.logon_id != session:
                new.setdefault(int(client.logon_id), begun)
        found |= new
        outer = frozenset(new)
    return tuple(found.values())


def _outer_of(record: AuditRecord) -> int:
    try:
        return int(record.detail.get(WITHIN, ""), 0)
    except ValueError:
        return -1


def _depth(record: AuditRecord, depths: dict[int, int]) -> int:
    """Return how deep the session lies in which something was done."""
    client = record.server if record.client is None else record.client
    if client.logon_id in depths:
        return depths[client.logon_id]
    return min(
        (depths[link.logon_id] for link in record.chain if link.logon_id in depths),
        default=0,
    )
