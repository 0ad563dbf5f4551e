"""Answers to questions in pages: found by the index, believed by the trail alone.

A page is made in this order:

1. What the index lacks is taken into it, within bounds.
2. Of what the query asks for, the clause with the fewest entries leads; numbers that
   every clause has are candidates.
3. Each candidate is read from the trail and tested against the whole query. An index
   that somebody changed can hide a record until `check_index` names it; it can invent
   none.
4. What lies beyond the index is read from the trail itself, and all of it where there
   is no index.

A page does a bounded amount of work, and says how far it looked.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Final, TypeVar

from stead.errors import (
    IndexDamagedError,
    LedgerCorruptError,
    StoreUnavailableError,
)
from stead.ledger.indexing import catch_up
from stead.ledger.ports import Entry, LedgerStore, Reached, TermUse, TrailIndex
from stead.ledger.postings import CHUNK, chunk_of, read_numbers
from stead.ledger.query import Query, read_entry
from stead.ledger.terms import (
    UNREADABLE,
    Clause,
    Span,
    Term,
    clauses_of,
    hours_of,
)
from stead.model.audit_record import AuditRecord

RECORDS: Final = 100
"""Records of a page where the query does not say."""

_WORK: Final = 20_000
_WORK_OF_A_CHUNK: Final = 8
_CATCH_UP: Final = 4096
_MOST_TERMS: Final = 512  # of one clause; with more, it does not lead, nor narrow
_MOST_CHUNKS: Final = 32
_READ_AT_ONCE: Final = 128
_LARGEST: Final = (1 << 63) - 1
_UNREADABLE: Final = Span.of(UNREADABLE.kind, UNREADABLE.value)
_log: Final = logging.getLogger("stead.ledger")
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Page:
    """A part of an answer.

    Attributes:
        found: numbers and records, in the query's order.
        unreadable: numbers of entries that are no records, so that nobody knows whether
            they were asked for; verify the trail.
        through: the last number that was looked at.
        is_last: whether nothing follows, by now.
    """

    found: tuple[tuple[int, AuditRecord], ...]
    unreadable: tuple[int, ...]
    through: int
    is_last: bool

    @property
    def next(self) -> int | None:
        """What the next page's query has for `after`, or `before` if newest first."""
        return None if self.is_last else self.through

    def following(self, query: Query) -> Query:
        """Return the query of the page after this one, which `query` asked for."""
        if query.newest_first:
            return replace(query, before=self.through)
        return replace(query, after=self.through)


def ask(
    store: LedgerStore, index: TrailIndex, query: Query, *, work: int = _WORK
) -> Page:
    """Return one page of what a query asks for.

    Args:
        store: the trail.
        index: its index; if it fails, the trail is read instead.
        query: what is asked; `limit` is the size of the page.
        work: how many entries may be looked at.

    Raises:
        LedgerUnavailableError: the trail cannot be read.
    """
    try:
        reached = catch_up(store, index, limit=_CATCH_UP)
    except StoreUnavailableError as error:
        _log.warning("the trail is read without its index: %s", error)
        reached = Reached()
    return _Asking(store, index, query, work).answer(reached.sequence)


@dataclass(frozen=True, slots=True)
class _Step:
    """Entries to be tested, and how far that goes.

    Attributes:
        entries: in the query's order.
        through: the last number that is settled when they are tested.
        work: what it costs.
    """

    entries: Sequence[Entry]
    through: int
    work: int


@dataclass(frozen=True, slots=True)
class _Plan:
    """How candidates are found.

    Attributes:
        clauses: the terms of each clause, by number; the one with the fewest entries
            first. With none, every entry is a candidate.
        low: the first number that can be one.
        high: the last.
    """

    clauses: list[tuple[int, ...]]
    low: int
    high: int


@dataclass(slots=True)
class _Asking:
    """One page in the making; numbers from `low` to `high` are left to be looked at."""

    store: LedgerStore
    index: TrailIndex
    query: Query
    work: int
    found: list[tuple[int, AuditRecord]] = field(default_factory=list)
    unreadable: list[int] = field(default_factory=list)
    low: int = 0
    high: int = _LARGEST

    def answer(self, reached: int) -> Page:
        """Look at what is indexed and at the rest, in the query's order."""
        query = self.query
        self.low = max(query.after, 0) + 1
        self.high = _LARGEST if query.before is None else query.before - 1
        begins, ends = self.low, min(self.high, _LARGEST)
        if query.newest_first:
            done = self._read(max(begins, reached + 1), ends)
            done = done or self._look_up(begins, min(ends, reached))
            through = self.high + 1
        else:
            done = self._look_up(begins, min(ends, reached))
            done = done or self._read(max(begins, reached + 1), ends)
            through = self.low - 1
        return Page(tuple(self.found), tuple(self.unreadable), through, not done)

    # --- testing ----------------------------------------------------------------------

    def _look_up(self, low: int, high: int) -> bool:
        """Settle a stretch by the index; tell whether the page is full."""
        if low > high:
            return False
        try:
            return self._take(self._indexed(low, high))
        except StoreUnavailableError as error:
            _log.warning("the trail is read without its index: %s", error)
            if isinstance(error, IndexDamagedError):
                with suppress(StoreUnavailableError):
                    self.index.clear()
            return self._read(max(low, self.low), min(high, self.high))

    def _read(self, low: int, high: int) -> bool:
        """Settle a stretch by reading all of it; tell whether the page is full."""
        return low <= high and self._take(self._streamed(low, high))

    def _take(self, steps: Iterator[_Step]) -> bool:
        limit = RECORDS if self.query.limit is None else self.query.limit
        if limit <= 0:
            return True
        for step in steps:
            for entry in step.entries:
                self._test(entry)
                self._settle(entry.sequence)
                if len(self.found) >= limit:
                    return True
            self._settle(step.through)
            self.work -= step.work
            if self.work <= 0:
                return True
        return False

    def _test(self, entry: Entry) -> None:
        try:
            record = read_entry(entry)
        except LedgerCorruptError:
            self.unreadable.append(entry.sequence)
        else:
            if self.query.matches(record):
                self.found.append((entry.sequence, record))

    def _settle(self, sequence: int) -> None:
        if self.query.newest_first:
            self.high = min(self.high, sequence - 1)
        else:
            self.low = max(self.low, sequence + 1)

    # --- reading ----------------------------------------------------------------------

    def _streamed(self, low: int, high: int) -> Iterator[_Step]:
        """Yield every entry of a stretch."""
        is_newest = self.query.newest_first
        entries = (
            self.store.backwards(high + 1 if high < _LARGEST else None)
            if is_newest
            else self.store.entries(low - 1)
        )
        for part in _parts(entries, _READ_AT_ONCE):
            inside = [entry for entry in part if low <= entry.sequence <= high]
            if inside:
                yield _Step(inside, inside[-1].sequence, len(inside))
            if len(inside) < len(part):
                break
        if is_newest:
            yield _Step((), low, 0)

    def _indexed(self, low: int, high: int) -> Iterator[_Step]:
        """Yield the candidates of a stretch."""
        end = low if self.query.newest_first else high
        plan = self._plan(low, high)
        if plan is None:
            yield _Step((), end, 0)
            return
        if not plan.clauses:
            yield from self._streamed(plan.low, plan.high)
            yield _Step((), end, 0)
            return
        for chunk, numbers in self._chunks(plan):
            inside = sorted(
                (n for n in numbers if plan.low <= n <= plan.high),
                reverse=self.query.newest_first,
            )
            for part in _parts(inside, _READ_AT_ONCE):
                entries = self.store.picked(part)
                if self.query.newest_first:
                    entries.reverse()
                yield _Step(entries, part[-1], len(part))
            yield _Step((), self._edge(chunk, plan), _WORK_OF_A_CHUNK)
        yield _Step((), end, 0)

    def _edge(self, chunk: int, plan: _Plan) -> int:
        """Return the last number that is settled with a stretch."""
        if self.query.newest_first:
            return max(chunk * CHUNK, plan.low)
        return min((chunk + 1) * CHUNK - 1, plan.high)

    def _chunks(self, plan: _Plan) -> Iterator[tuple[int, set[int]]]:
        """Yield stretches and the numbers that every clause has there."""
        leader, *others = plan.clauses
        first, last = chunk_of(plan.low), chunk_of(plan.high)
        size = 1
        while first <= last:
            chunks = self.index.chunks(
                leader, first, last, limit=size, newest_first=self.query.newest_first
            )
            if not chunks:
                return
            found = self._numbers(leader, chunks)
            for clause in others:
                with_it = self._numbers(clause, [c for c in chunks if found[c]])
                found = {c: found[c] & with_it.get(c, set()) for c in chunks}
            yield from ((chunk, found[chunk]) for chunk in chunks)
            if self.query.newest_first:
                last = chunks[-1] - 1
            else:
                first = chunks[-1] + 1
            size = min(2 * size, _MOST_CHUNKS)

    def _numbers(
        self, clause: Sequence[int], chunks: Sequence[int]
    ) -> dict[int, set[int]]:
        found: dict[int, set[int]] = {chunk: set() for chunk in chunks}
        for block in self.index.blocks(clause, chunks):
            found[block.chunk] |= read_numbers(block.chunk, block.postings)
        return found

    # --- planning ---------------------------------------------------------------------

    def _plan(self, low: int, high: int) -> _Plan | None:
        """Return how candidates are found, or None if there are none."""
        hours = hours_of(self.query)
        if hours is not None:
            bounds = self.index.bounds(hours.kind, hours.low, hours.high)
            if bounds is None:
                return None
            low, high = max(low, bounds[0]), min(high, bounds[1])
        # Whether an entry that is no record was asked for, nobody can say.
        unreadable = self._uses((_UNREADABLE,))
        leads: list[tuple[int, tuple[int, ...]]] = []
        for clause in clauses_of(self.query):
            uses = self._uses(clause)
            if len(uses) > _MOST_TERMS:
                bounds = self._bounds(clause)
            else:
                uses += unreadable
                if not uses:
                    return None
                bounds = min(u.first for u in uses), max(u.last for u in uses)
                numbers = tuple(_id(use) for use in uses)
                leads.append((sum(use.count for use in uses), numbers))
            low, high = max(low, bounds[0]), min(high, bounds[1])
        if low > high:
            return None
        return _Plan([numbers for _, numbers in sorted(leads)], low, high)

    def _uses(self, clause: Clause) -> list[TermUse]:
        """Return what is known of a clause's terms; a few more than count, at most."""
        found: list[TermUse] = []
        for span in clause:
            most = _MOST_TERMS + 1 - len(found)
            if most > 0:
                found += self.index.uses(span.kind, span.low, span.high, most)
        return found

    def _bounds(self, clause: Clause) -> tuple[int, int]:
        """Return the first and last entry of a clause with many terms."""
        found = [
            bounds
            for span in (*clause, _UNREADABLE)
            if (bounds := self.index.bounds(span.kind, span.low, span.high))
        ]
        return min(low for low, _ in found), max(high for _, high in found)


def _id(use: TermUse) -> int:
    return Term(use.kind, use.value).id


def _parts(items: Iterable[_T], size: int) -> Iterator[tuple[_T, ...]]:
    """Yield so many at a time."""
    rest = iter(items)
    while part := tuple(islice(rest, size)):
        yield part
