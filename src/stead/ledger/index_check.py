"""Comparing an index with the trail: what does it hide, what does it invent?

Whatever is found by the index is read from the trail, so what it invents costs time and
no more. What it hides, nobody would miss; so somebody compares, now and then.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from stead.ledger.indexing import terms_of_entry, trusted
from stead.ledger.ports import Entry, LedgerStore, TrailIndex
from stead.ledger.postings import chunk_of, read_numbers
from stead.ledger.terms import BOUNDING, Term

_NAMED: Final = 1000


@dataclass(frozen=True, slots=True)
class IndexCheck:
    """What came of a comparison.

    Attributes:
        entries: how many entries were compared: those that the index should hold.
        hidden: the first numbers that some question would miss.
        hidden_count: how many there are.
        invented: how many answers it promises that the trail does not hold.
    """

    entries: int
    hidden: tuple[int, ...]
    hidden_count: int
    invented: int


def check_index(store: LedgerStore, index: TrailIndex) -> IndexCheck:
    """Compare an index with the trail, as far as the index says that it goes.

    Raises:
        LedgerUnavailableError, StoreUnavailableError: one of them cannot be read.
    """
    reached = trusted(store, index).sequence
    comparison = _Comparison(index)
    for entries in _stretches(store, reached):
        comparison.compare(entries)
    return comparison.result()


@dataclass(slots=True)
class _Comparison:
    index: TrailIndex
    entries: int = 0
    hidden: list[int] = field(default_factory=list)
    hidden_count: int = 0
    invented: int = 0

    def compare(self, entries: Sequence[Entry]) -> None:
        """Compare the entries of one stretch."""
        expected: defaultdict[Term, set[int]] = defaultdict(set)
        for entry in entries:
            for term in terms_of_entry(entry):
                expected[term].add(entry.sequence)
        hidden = self._out_of_bounds(expected)
        hidden |= self._not_posted(expected, chunk_of(entries[0].sequence))
        self.entries += len(entries)
        self.hidden_count += len(hidden)
        self.hidden += sorted(hidden)[: _NAMED - len(self.hidden)]

    def result(self) -> IndexCheck:
        """Return what was found."""
        return IndexCheck(
            self.entries, tuple(self.hidden), self.hidden_count, self.invented
        )

    def _out_of_bounds(self, expected: dict[Term, set[int]]) -> set[int]:
        """Return the numbers of terms that are not kept, or said to end elsewhere."""
        by_kind: defaultdict[int, list[bytes]] = defaultdict(list)
        for term in expected:
            by_kind[term.kind].append(term.value)
        hidden: set[int] = set()
        for kind, values in by_kind.items():
            kept = {use.value: use for use in self.index.uses_of(kind, values)}
            for value in values:
                numbers, use = expected[Term(kind, value)], kept.get(value)
                hidden |= {
                    number
                    for number in numbers
                    if use is None or not use.first <= number <= use.last
                }
        return hidden

    def _not_posted(self, expected: dict[Term, set[int]], chunk: int) -> set[int]:
        """Return the numbers that are not where a question would look for them."""
        # Two terms may share a number; what is kept is then of both.
        wanted: defaultdict[int, set[int]] = defaultdict(set)
        for term, numbers in expected.items():
            if term.kind not in BOUNDING:
                wanted[term.id] |= numbers
        kept: defaultdict[int, set[int]] = defaultdict(set)
        for block in self.index.blocks(list(wanted), [chunk]):
            kept[block.term] |= read_numbers(chunk, block.postings)
        hidden: set[int] = set()
        for number, sequences in wanted.items():
            hidden |= sequences - kept[number]
            self.invented += len(kept[number] - sequences)
        return hidden


def _stretches(store: LedgerStore, reached: int) -> Iterator[list[Entry]]:
    """Yield the entries up to `reached`, one stretch of the index at a time."""
    part: list[Entry] = []
    for entry in store.entries():
        if entry.sequence > reached:
            break
        if part and chunk_of(part[0].sequence) != chunk_of(entry.sequence):
            yield part
            part = []
        part.append(entry)
    if part:
        yield part
