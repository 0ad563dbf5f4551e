"""Keeping an index of the trail up: a page of entries at a time, in the background.

The index is derived. What it holds of an entry follows from the entry alone, so it can
be thrown away at any time, and is, when it turns out to be of another trail: a store
that was restored from a copy, or an index that was put beside another store. That is
seen by the digest of the last entry it holds, which names the whole trail up to there.

Appends come first. The keeper reads over a connection of its own and takes turns with
the interpreter's lock in slices of a few records: while the trail grows it works a
fiftieth of the time, else half of it.
"""

from __future__ import annotations

import logging
import os
import threading
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextvars import Context
from operator import attrgetter
from typing import Final

from stead.errors import LedgerCorruptError, SteadError
from stead.ledger.ports import (
    Block,
    Entry,
    LedgerStore,
    Reached,
    TermUse,
    TrailIndex,
)
from stead.ledger.postings import chunk_of, write_places
from stead.ledger.query import read_entry
from stead.ledger.terms import BOUNDING, UNREADABLE, Term, terms_of

PAGE: Final = 1024
"""Entries that go into the index in one transaction, in the background."""

BULK: Final = 65_536
"""The same where all of a trail is taken in, so that what lies together goes together.

Most terms of a long trail are traces, as random as they come: each lies on a page of
its own, which is written once for a transaction. The larger that is, the more of them
share a page.
"""

_log: Final = logging.getLogger("stead.ledger")
_MOST_TERMS: Final = 131_072  # held at once; a term has up to half a kilobyte
_IDLE_SECONDS: Final = 1.0
_SLICE: Final = 8
_GROWING: Final = 64  # new records since the last look at which the trail is busy
_BUSY_SHARE: Final = 0.02
_QUIET_SHARE: Final = 0.5
_LARGEST: Final = (1 << 63) - 1


def catch_up(
    store: LedgerStore,
    index: TrailIndex,
    *,
    limit: int | None = None,
    pace: Callable[[], None] = lambda: None,
) -> Reached:
    """Take what the index lacks into it, and return how far it goes then.

    Args:
        store: the trail.
        index: its index.
        limit: at most so many entries; None for all there are.
        pace: called after each entry, to leave others their turn.

    Raises:
        StoreUnavailableError: the index cannot be read or written.
        LedgerUnavailableError: the trail cannot be read.
    """
    reached = trusted(store, index)
    left = limit
    while left is None or left > 0:
        size = BULK if left is None else min(left, PAGE)
        batch = _Batch()
        for entry in store.entries(reached.sequence, size):
            batch.add(entry)
            pace()
            if batch.is_full():
                break
        if batch.upto == Reached():
            break
        reached = _add(store, index, reached, batch)
        left = None if left is None else left - size
    return reached


def _add(
    store: LedgerStore, index: TrailIndex, reached: Reached, batch: _Batch
) -> Reached:
    """Add what follows `reached`, and return how far the index goes then.

    Others do the same work (a server's keeper, who asks): what they have added of it
    meanwhile is left out, and nothing is done twice.
    """
    since = reached
    while reached.sequence <= since.sequence < batch.upto.sequence:
        uses, blocks = batch.uses(since.sequence), batch.blocks(since.sequence)
        if index.add(since, batch.upto, uses, blocks):
            return batch.upto
        since = trusted(store, index)
    return since


def trusted(store: LedgerStore, index: TrailIndex) -> Reached:
    """Return how far the index goes; one of another trail is emptied first."""
    reached = index.reached()
    if reached == Reached() or _is_in(store, reached):
        return reached
    _log.warning(
        "the trail's index ends at a record that is not there (removed, or of another "
        "trail), and is made anew"
    )
    index.clear()
    return Reached()


def terms_of_entry(entry: Entry) -> set[Term]:
    """Return what an entry is found by; what is no record, every query meets."""
    try:
        return terms_of(read_entry(entry))
    except LedgerCorruptError:
        return {UNREADABLE}


class IndexKeeper:
    """A thread that keeps an index up; it ends with its server and never stops it."""

    def __init__(
        self, store: LedgerStore, index: TrailIndex, *, monotonic: Callable[[], int]
    ) -> None:
        """Start the thread.

        Make it on a thread that impersonates nobody, as the ledger.

        Args:
            store: the trail, over a connection on which nobody appends.
            index: its index.
            monotonic: nanoseconds that never step.
        """
        self._store = store
        self._index = index
        self._monotonic = monotonic
        self._pid = os.getpid()
        self._stopping = threading.Event()
        self._said = ""
        self._seen = 0
        self._reached = 0
        self._share = _QUIET_SHARE
        self._done = 0
        self._began = 0
        self._thread = threading.Thread(
            target=Context().run, args=(self._run,), name="stead-index", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """End the thread; in a forked child, which has none, nothing."""
        self._stopping.set()
        if os.getpid() == self._pid:
            self._thread.join()

    def _run(self) -> None:
        # It waits first: a program that is over in a moment leaves the index alone.
        while not self._stopping.wait(_IDLE_SECONDS):
            try:
                while not self._stopping.is_set() and self._take_page():
                    pass
            except _StoppedError:
                return
            except SteadError as error:
                self._say(str(error))
            except Exception:  # noqa: BLE001 - the outermost loop of this thread
                _log.exception("the trail's index is not kept up")
            else:
                self._said = ""

    def _take_page(self) -> bool:
        """Take in a page of entries; tell whether there may be more."""
        last = self._store.last()
        number = 0 if last is None else last.sequence
        if number == self._reached:
            return False
        is_busy = number - self._seen >= _GROWING
        self._share = _BUSY_SHARE if is_busy else _QUIET_SHARE
        self._seen = number
        self._began = self._monotonic()
        reached = catch_up(self._store, self._index, limit=PAGE, pace=self._pace)
        self._reached = reached.sequence
        self._rest()
        return reached.sequence < number

    def _pace(self) -> None:
        self._done += 1
        if self._done % _SLICE == 0:
            self._rest()

    def _rest(self) -> None:
        """Leave others their share of the time since the last rest."""
        worked = self._monotonic() - self._began
        if self._stopping.wait(worked * (1 / self._share - 1) / 1e9):
            raise _StoppedError
        self._began = self._monotonic()

    def _say(self, what: str) -> None:
        if what != self._said:
            _log.warning("the trail's index is not kept up: %s", what)
        self._said = what


class _StoppedError(Exception):
    """The keeper is to end, in the middle of a page."""


class _Batch:
    """What some entries in a row add to an index."""

    def __init__(self) -> None:
        self.upto = Reached()
        self._numbers: defaultdict[Term, list[int]] = defaultdict(list)

    def add(self, entry: Entry) -> None:
        """Take an entry, numbered above those before it."""
        for term in terms_of_entry(entry):
            self._numbers[term].append(entry.sequence)
        self.upto = Reached(entry.sequence, entry.digest)

    def is_full(self) -> bool:
        """Tell whether no more should be held in memory."""
        return len(self._numbers) >= _MOST_TERMS

    def uses(self, after: int) -> list[TermUse]:
        """Return each term's first and last entry above a number, and their count.

        They come in the order in which they are kept: a database's pages are visited
        one after another.
        """
        return [
            TermUse(term.kind, term.value, numbers[0], numbers[-1], len(numbers))
            for term, numbers in sorted(self._above(after))
        ]

    def blocks(self, after: int) -> list[Block]:
        """Return which entries above a number have which term, in order as `uses`."""
        found = []
        for term, numbers in self._above(after):
            if term.kind in BOUNDING:
                continue
            number = term.id
            for chunk, part in by_chunk(numbers):
                found.append(Block(number, chunk, write_places(part)))
        return sorted(found, key=attrgetter("term", "chunk"))

    def _above(self, after: int) -> Iterator[tuple[Term, list[int]]]:
        for term, numbers in self._numbers.items():
            if numbers[0] > after:
                yield term, numbers
            elif numbers[-1] > after:
                yield term, numbers[bisect_right(numbers, after) :]


def by_chunk(numbers: list[int]) -> Iterator[tuple[int, list[int]]]:
    """Cut ascending numbers where stretches of the trail begin."""
    if chunk_of(numbers[0]) == chunk_of(numbers[-1]):
        yield chunk_of(numbers[0]), numbers
        return
    part: list[int] = []
    for number in numbers:
        if part and chunk_of(part[0]) != chunk_of(number):
            yield chunk_of(part[0]), part
            part = []
        part.append(number)
    if part:
        yield chunk_of(part[0]), part


def _is_in(store: LedgerStore, reached: Reached) -> bool:
    found = store.picked([reached.sequence]) if reached.sequence <= _LARGEST else []
    return any(entry.digest == reached.digest for entry in found)
