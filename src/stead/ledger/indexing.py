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
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextvars import Context
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
"""Entries that go into the index in one transaction."""

_log: Final = logging.getLogger("stead.ledger")
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
        size = PAGE if left is None else min(left, PAGE)
        batch = _Batch()
        for entry in store.entries(reached.sequence, size):
            batch.add(entry)
            pace()
        if batch.upto == Reached():
            break
        is_added = index.add(reached, batch.upto, batch.uses(), batch.blocks())
        # Not added: another process does the same work; go on from where it is.
        reached = batch.upto if is_added else trusted(store, index)
        left = None if left is None else left - size
    return reached


def trusted(store: LedgerStore, index: TrailIndex) -> Reached:
    """Return how far the index goes; one of another trail is emptied first."""
    reached = index.reached()
    if reached == Reached() or _is_in(store, reached):
        return reached
    _log.warning("the trail's index is of another trail, and is made anew")
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

    def uses(self) -> list[TermUse]:
        """Return each term's first and last entry, and its count."""
        return [
            TermUse(term.kind, term.value, numbers[0], numbers[-1], len(numbers))
            for term, numbers in self._numbers.items()
        ]

    def blocks(self) -> list[Block]:
        """Return which entries have which term, stretch by stretch."""
        found = []
        for term, numbers in self._numbers.items():
            if term.kind in BOUNDING:
                continue
            number = term.id
            for chunk, part in by_chunk(numbers):
                found.append(Block(number, chunk, write_places(part)))
        return found


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
