"""Durable records a second, beside SQLite written by one thread in the same way."""

from __future__ import annotations

import secrets
import sqlite3
import statistics
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from queue import Empty, SimpleQueue

from bench import Bench

from stead.adapters.store import Store
from stead.ledger.canonical import write_record
from stead.ledger.ledger import Ledger
from stead.model.audit_record import AuditEvent, AuditRecord, Outcome, Principal
from stead.model.sid import Sid

_RECORDS = 1600
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


class BareWriter:
    """The least that is durable and chained: one thread, one table, group commit."""

    def __init__(self, path: Path) -> None:
        """Start its thread."""
        self._path = path
        self._inbox: SimpleQueue[tuple[bytes, Future[None]] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def record(self) -> None:
        """Write one record and wait until it is durable."""
        done: Future[None] = Future()
        self._inbox.put((write_record(_RECORD), done))
        done.result()

    def close(self) -> None:
        """End the thread."""
        self._inbox.put(None)
        self._thread.join()

    def _run(self) -> None:
        digest = b""
        with closing(sqlite3.connect(self._path, isolation_level=None)) as database:
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = FULL")
            database.execute("CREATE TABLE entry (n INTEGER PRIMARY KEY, b, d)")
            while (batch := self._take())[-1] is not None:
                database.execute("BEGIN IMMEDIATE")
                for body, _ in batch:
                    digest = sha256(digest + body).digest()
                    row = (body, digest)
                    database.execute("INSERT INTO entry (b, d) VALUES (?, ?)", row)
                database.execute("COMMIT")
                for _, done in batch:
                    done.set_result(None)

    def _take(self) -> list:
        batch = [self._inbox.get()]
        while batch[-1] is not None:
            try:
                batch.append(self._inbox.get_nowait())
            except Empty:
                break
        return batch


def measure(bench: Bench, folder: Path) -> None:
    """Measure 1, 16 and 64 producers that each wait for every record."""
    place = folder / "ledgers"
    place.mkdir(mode=0o700)
    for producers in (1, 16, 64):
        ours, bare = [], []
        for _ in range(_REPEATS):
            ours.append(_ledger(place, producers))
            bare.append(_bare(place, producers))
        bench.add(
            f"ledger record, {producers} producers",
            statistics.median(ours),
            to=("bare sqlite3, group commit", statistics.median(bare)),
        )


def _ledger(place: Path, producers: int) -> float:
    with (
        Store.open(place / f"{secrets.token_hex(8)}.db") as store,
        Ledger(
            store.ledger,
            genesis=store.accounts.domain().to_bytes(),
            note=lambda *_: _RECORD,
        ) as ledger,
    ):
        return _seconds_of_one(lambda: ledger.record(_RECORD), producers)


def _bare(place: Path, producers: int) -> float:
    with closing(BareWriter(place / f"{secrets.token_hex(8)}.db")) as writer:
        return _seconds_of_one(writer.record, producers)


def _seconds_of_one(record: Callable[[], object], producers: int) -> float:
    each = _RECORDS // producers // (4 if producers == 1 else 1)

    def produce() -> None:
        for _ in range(each):
            record()

    threads = [threading.Thread(target=produce) for _ in range(producers)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return (time.perf_counter() - began) / (each * producers)
