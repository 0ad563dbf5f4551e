"""By which terms a record is found, and which terms a query asks for.

A term is a kind and some bytes. The law between the two halves: if a query matches a
record, then of each of the query's clauses the record has at least one term. The other
way round need not hold, since whatever is found is read and tested again
(`stead.ledger.asking`); so long texts are cut, and two terms may share a number.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from hashlib import blake2b
from typing import Final, NamedTuple, Self

from stead.ledger.query import WITHIN, Query, sessions_of
from stead.model.audit_record import AuditRecord, Outcome, Principal

LONGEST_VALUE: Final = 512
"""Bytes of a text by which it is found; what is longer is tested when it is read."""

_HOUR: Final = 3_600_000_000_000
_HOURS: Final = 1 << 40  # beyond any calendar; a clock that lies further counts as this
_HOUR_BYTES: Final = 6
_SESSION_BYTES: Final = 8
_LARGEST_SESSION: Final = (1 << 64) - 1
_ID_BYTES: Final = 8


class Kind(IntEnum):
    """What a term says of a record."""

    CLIENT = 1
    SERVER = 2
    LINK = 3
    OBJECT = 4
    EVENT = 5
    OUTCOME = 6
    CORRELATION = 7
    SESSION = 8
    GATE = 9
    PEER = 10
    HOUR = 11
    UNREADABLE = 12


# As plain numbers: an enumeration's members hash in Python.
_CLIENT, _SERVER, _LINK = int(Kind.CLIENT), int(Kind.SERVER), int(Kind.LINK)
_OBJECT, _EVENT, _OUTCOME = int(Kind.OBJECT), int(Kind.EVENT), int(Kind.OUTCOME)
_CORRELATION, _SESSION_KIND = int(Kind.CORRELATION), int(Kind.SESSION)
_GATE, _PEER, _HOUR_KIND = int(Kind.GATE), int(Kind.PEER), int(Kind.HOUR)

BOUNDING: Final = frozenset({int(Kind.HOUR)})
"""Kinds of which only the first and last record are kept, not which have it."""


class Term(NamedTuple):
    """One thing that a record can be found by.

    Attributes:
        kind: what it says, a `Kind` as a plain number: terms are hashed by the million.
        value: the value, cut to `LONGEST_VALUE` bytes.
    """

    kind: int
    value: bytes

    @property
    def id(self) -> int:
        """Its number, made of it alone: 63 bits, so that any database holds it."""
        digest = blake2b(self.value, digest_size=_ID_BYTES, salt=bytes([self.kind]))
        return int.from_bytes(digest.digest(), "big") >> 1


UNREADABLE: Final = Term(int(Kind.UNREADABLE), b"")
"""The term of an entry that is no record: every query meets it."""


@dataclass(frozen=True, slots=True)
class Span:
    """Some terms of one kind: all from `low` up to, but without, `high`.

    Attributes:
        kind: their kind.
        low: the first value.
        high: the first value that is no more meant; None for all above `low`.
    """

    kind: int
    low: bytes
    high: bytes | None

    @classmethod
    def of(cls, kind: int, value: bytes) -> Self:
        """Return one term alone."""
        cut = value[:LONGEST_VALUE]
        return cls(kind, cut, cut + b"\0")

    @classmethod
    def beginning(cls, kind: int, value: bytes) -> Self:
        """Return every term that begins so."""
        cut = value[:LONGEST_VALUE]
        rest = cut.rstrip(b"\xff")
        return cls(kind, cut, rest[:-1] + bytes([rest[-1] + 1]) if rest else None)


Clause = tuple[Span, ...]
"""Alternatives: what is found has a term of one of them."""


def terms_of(record: AuditRecord) -> set[Term]:
    """Return what a record is found by."""
    within = record.detail.get(WITHIN, "")
    found = {
        Term(_HOUR_KIND, _hour(record.time)),
        *_act(int(record.event), record.outcome),
        *_party(record.server, record.client, record.chain, within),
    }
    for kind, text in (
        (_OBJECT, record.object_name),
        (_GATE, record.gate),
        (_PEER, record.peer),
    ):
        if text:
            found.add(_known_text(kind, text))
    if record.correlation:  # of each request another
        found.add(_text(_CORRELATION, record.correlation))
    return found


def _text(kind: int, text: str) -> Term:
    return Term(kind, _bytes(text)[:LONGEST_VALUE])


# The same few come again and again.
_known_text: Final = lru_cache(maxsize=4096)(_text)


@lru_cache(maxsize=1024)
def _act(event: int, outcome: Outcome) -> tuple[Term, Term]:
    """Return the terms of what happened, and of how it came out."""
    return Term(_EVENT, _number(event)), Term(_OUTCOME, outcome.value.encode())


@lru_cache(maxsize=4096)
def _party(
    server: Principal,
    client: Principal | None,
    chain: tuple[Principal, ...],
    within: str,
) -> frozenset[Term]:
    """Return the terms of everybody in a record, and of their sessions."""
    found = {*_people(_SERVER, server)}
    for session in sessions_of(server, client, chain, within):
        found.add(Term(_SESSION_KIND, _session(session)))
    if client is not None:
        found.update(_people(_CLIENT, client))
    for link in chain:
        if link not in {server, client}:
            found.update(_people(_LINK, link))
    return frozenset(found)


def clauses_of(query: Query) -> list[Clause]:
    """Return what of a query an index can narrow; time is `hours_of`."""
    clauses: list[Clause] = []
    if query.event is not None:
        events = sorted(query.events)
        clauses.append(tuple(Span.of(_EVENT, _number(int(e))) for e in events))
    if query.outcome is not None:
        clauses.append((Span.of(_OUTCOME, query.outcome.value.encode()),))
    if query.session is not None:
        known = sorted(one for one in query.sessions if 0 <= one <= _LARGEST_SESSION)
        clauses.append(tuple(Span.of(_SESSION_KIND, _session(one)) for one in known))
    for name, kinds in (
        (query.client, (_CLIENT,)),
        (query.server, (_SERVER,)),
        (query.member, (_CLIENT, _SERVER, _LINK)),
    ):
        if name is not None:
            value = _bytes(name.casefold())
            clauses.append(tuple(Span.of(kind, value) for kind in kinds))
    return clauses + _texts(query)


def _texts(query: Query) -> list[Clause]:
    """Return the clauses about texts; an empty one is a record without such a term."""
    clauses: list[Clause] = []
    if query.object_name:
        clauses.append((Span.of(_OBJECT, _bytes(query.object_name)),))
    if query.object_prefix:
        clauses.append((Span.beginning(_OBJECT, _bytes(query.object_prefix)),))
    if query.gate:
        clauses.append((Span.of(_GATE, _bytes(query.gate)),))
    if query.peer:
        clauses.append((Span.beginning(_PEER, _bytes(query.peer)),))
    if query.correlation:
        clauses.append(
            tuple(
                Span.beginning(_CORRELATION, _bytes(one)) for one in query.correlations
            )
        )
    return clauses


def hours_of(query: Query) -> Span | None:
    """Return the hours in which a query's time lies; None for all time."""
    if query.since is None and query.until is None:
        return None
    low = _hour(-_HOURS * _HOUR if query.since is None else query.since)
    last = _hour(_HOURS * _HOUR if query.until is None else query.until - 1)
    return Span(_HOUR_KIND, low, last + b"\0")


def _people(kind: int, principal: Principal) -> tuple[Term, Term]:
    name = _bytes(principal.name.casefold())[:LONGEST_VALUE]
    return Term(kind, name), Term(kind, str(principal.sid).casefold().encode())


def _bytes(text: str) -> bytes:
    # Lone surrogates are names with stray bytes; they sort and begin as text does.
    return text.encode("utf-8", "surrogatepass")


def _number(number: int) -> bytes:
    return str(number).encode()


def _session(logon_id: int) -> bytes:
    return int(logon_id).to_bytes(_SESSION_BYTES, "big")


def _hour(time: int) -> bytes:
    hour = min(max(time // _HOUR, -_HOURS), _HOURS) + _HOURS
    return hour.to_bytes(_HOUR_BYTES, "big")
