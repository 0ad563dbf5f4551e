"""Durable records a second, beside SQLite written by one thread in the same way."""

from __future__ import annotations

import asyncio
import secrets
import sqlite3
import statistics
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from bench import Bench

from stead.adapters.store import Store
from stead.ledger.canonical import write_record
from stead.ledger.ledger import Ledger
from stead.model.audit_record import AuditEvent, AuditRecord, Outcome, Principal
from stead.model.sid import Sid

_EACH = 600
"""Records of one producer alone; of many, this many in all times ten."""

_REPEATS = 3
_SERVER = Principal(Sid.from_string("S-1-5-80-1-2-3-4-5"), "bench")
_CLIENT = Principal(Sid.from_string("S-1-5-21-1-2-3-1001"), "alice")
_RECORD = AuditRecord(
    event=AuditEvent.OBJECT_ACCESS,
    outcome=Outcome.SUCCESS,
    time=1,
    server=_SERVER,
    client=_CLIENT,
    chain=(_SERVER, _CLIENT),
    object_name="plan",
    reasons=("WRITE is granted by entry 2 of the DACL, which names staff",),
)


_BODY = write_record(_RECORD)


class BareWriter:
    """The least that is durable: one thread, one table, group commit.

    It is handed bytes of the same size as a record's, and neither makes nor hashes any.
    Tasks await its futures as asyncio has it, each by itself.
    """

    def __init__(self, path: Path) -> None:
        """Start its thread."""
        self._path = path
        self._inbox: SimpleQueue[Future[object] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def submit(self) -> Future[object]:
        """Hand a record over."""
        done: Future[object] = Future()
        self._inbox.put(done)
        return done

    def record(self) -> None:
        """Write one record and wait until it is durable."""
        self.submit().result()

    def recording(self) -> asyncio.Future[object]:
        """Hand a record over and return the running loop's future."""
        return asyncio.wrap_future(self.submit())

    def close(self) -> None:
        """End the thread."""
        self._inbox.put(None)
        self._thread.join()

    def _run(self) -> None:
        row = (_BODY, bytes(32))
        with closing(sqlite3.connect(self._path, isolation_level=None)) as database:
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = FULL")
            database.execute("CREATE TABLE entry (n INTEGER PRIMARY KEY, b, d)")
            while (batch := self._take())[-1] is not None:
                database.execute("BEGIN IMMEDIATE")
                rows = [row] * len(batch)
                database.executemany("INSERT INTO entry (b, d) VALUES (?, ?)", rows)
                database.execute("COMMIT")
                for done in batch:
                    done.set_result(None)

    def _take(self) -> list:
        batch = [self._inbox.get()]
        while batch[-1] is not None:
            try:
                batch.append(self._inbox.get_nowait())
            except Empty:
                break
        return batch


@dataclass(frozen=True)
class Times:
    """Seconds that a record took: of the whole time, and what one in 100 exceeds."""

    mean: float
    slow: float


def measure(bench: Bench, folder: Path) -> None:
    """Measure producers that each wait for every record: threads, and tasks."""
    place = folder / "ledgers"
    place.mkdir(mode=0o700)
    for producers in (1, 16, 64):
        of_threads = partial(_threads, producers)
        name = f"{producers} thread" + "s" * (producers > 1)
        _compare(bench, place, name, of_threads, lambda writer: writer.record)
    of_tasks = partial(_tasks, 64)
    _compare(bench, place, "64 tasks", of_tasks, lambda writer: writer.recording)


def _compare(
    bench: Bench,
    place: Path,
    name: str,
    time_them: Callable[[Callable[[], Any]], Times],
    way: Callable[[Any], Callable[[], Any]],
) -> None:
    ours, bare = [], []
    for _ in range(_REPEATS):
        file = place / secrets.token_hex(8)
        with closing(BareWriter(file)) as writer:
            bare.append(time_them(way(writer)))
        with _ledger(file.with_suffix(".db")) as ledger:
            ours.append(time_them(way(ledger)))
    for what, field in (("", "mean"), (", 1 in 100 slower", "slow")):
        mine, theirs = (
            statistics.median(getattr(times, field) for times in side)
            for side in (ours, bare)
        )
        to = ("bare sqlite3, group commit", theirs)
        bench.add(f"ledger record, {name}{what}", mine, to=to)


class _Bound:
    """A ledger, and the record that it is handed."""

    def __init__(self, ledger: Ledger) -> None:
        self.record = partial(ledger.record, _RECORD)
        self.submit = partial(ledger.submit, _RECORD)
        self.recording = partial(ledger.recording, _RECORD)


@contextmanager
def _ledger(path: Path) -> Iterator[_Bound]:
    with (
        Store.open(path) as store,
        Ledger(
            store.ledger,
            genesis=store.accounts.domain().to_bytes(),
            note=lambda *_: _RECORD,
        ) as ledger,
    ):
        yield _Bound(ledger)


def _threads(producers: int, record: Callable[[], object]) -> Times:
    each = _EACH if producers == 1 else 10 * _EACH // producers
    took: list[float] = []

    def produce() -> None:
        for _ in range(each):
            began = time.perf_counter()
            record()
            took.append(time.perf_counter() - began)

    threads = [threading.Thread(target=produce) for _ in range(producers)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return _times(took, time.perf_counter() - began)


def _tasks(producers: int, recording: Callable[[], Awaitable[object]]) -> Times:
    took: list[float] = []

    async def produce() -> None:
        for _ in range(10 * _EACH // producers):
            began = time.perf_counter()
            await recording()
            took.append(time.perf_counter() - began)

    async def all_of_them() -> float:
        began = time.perf_counter()
        await asyncio.gather(*(produce() for _ in range(producers)))
        return time.perf_counter() - began

    return _times(took, asyncio.run(all_of_them()))


def _times(took: list[float], whole: float) -> Times:
    return Times(whole / len(took), sorted(took)[len(took) * 99 // 100])
