"""Asking a long trail: an index is built, and pages are asked for, warm.

usage: trail.py [--large]

The entries are synthetic: a thousand clients over a hundred days, each request with a
trace of its own, in the real canonical form and chain. `--large` makes ten million of
them, which takes long and some 8 GB of disk.
"""

from __future__ import annotations

import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from threading import Thread

from bench import Bench

from stead.adapters.store import Store
from stead.ledger.asking import ask
from stead.ledger.canonical import read_record, write_record
from stead.ledger.chain import seal
from stead.ledger.indexing import IndexKeeper, catch_up
from stead.ledger.ledger import Ledger
from stead.ledger.query import Query
from stead.model.audit_record import AuditEvent, AuditRecord, Outcome, Principal
from stead.model.luid import Luid
from stead.model.sid import Sid

_CLIENTS = 1000
_OBJECTS = 5000
_DAYS = 100
_DAY = 86_400_000_000_000
_BEGAN = 1_750_000_000_000_000_000
_MARK = f"00-{1:032x}-{1:016x}-01"
_NAME = "/srv/0000"
_FAILURES = 0.01
_ASKS = 50
_PRODUCERS = 64
_REPEATS = 3
_APPENDING_SECONDS = 4.0  # the keeper begins after one
_AT_ONCE = 10_000
_DOMAIN = Sid.from_string("S-1-5-21-1-2-3")
_SERVER = Principal(Sid.from_string("S-1-5-80-1-2-3-4-5"), "bench", Luid(1000))
_EVENTS = (
    AuditEvent.OBJECT_ACCESS,
    AuditEvent.OPERATION_REQUESTED,
    AuditEvent.OPERATION_ENDED,
    AuditEvent.HANDLE_REQUESTED,
)


def measure(bench: Bench, folder: Path, count: int = 1_000_000) -> None:
    """Build a trail and its index, and ask for pages of it."""
    place = folder / "trail"
    place.mkdir(mode=0o700)
    with Store.open(place / "trail.db") as store:
        began = time.perf_counter()
        genesis = store.accounts.domain().to_bytes()
        rest = bodies_of(count)
        while bodies := list(islice(rest, _AT_ONCE)):
            store.ledger.append(lambda last, new=bodies: seal(last, new, genesis))
        _tell(f"{count:,} entries written", began)
        began = time.perf_counter()
        catch_up(store.reading, store.index)
        took = time.perf_counter() - began
        bench.add(f"trail of {count:,}, an entry indexed", took / count)
        size = sum(one.stat().st_size for one in place.glob("*-trail-index*"))
        bench.notes.append(f"index of {count:,} entries: {size / 1e6:,.0f} MB")
        _ask(bench, store, count)
    _appending(bench, place)


def bodies_of(count: int) -> Iterator[bytes]:
    """Yield records as a busy server writes them, day after day, in canonical form.

    What changes from one to the next is put into a form that `write_record` made, and
    now and then it is asked whether it would have written the same.
    """
    chance = random.Random(6)
    forms = [[write_record(_record(n, e)) for e in _EVENTS] for n in range(_CLIENTS)]
    for number in range(count):
        step = number % len(_EVENTS)
        if step == 0:
            client = chance.randrange(_CLIENTS)
            mark = f"00-{chance.getrandbits(128):032x}-{chance.getrandbits(64):016x}-01"
            name = f"/srv/{chance.randrange(_OBJECTS):04d}"
            moment = _BEGAN + number * _DAYS * _DAY // count
            failed = chance.random() < _FAILURES
        form = forms[client][step]
        body = form.replace(_MARK.encode(), mark.encode())
        body = body.replace(_NAME.encode(), name.encode())
        body = body.replace(str(_BEGAN).encode(), str(moment).encode())
        if failed:
            body = body.replace(b'"success"', b'"failure"')
        if number % _AT_ONCE == 0 and write_record(read_record(body)) != body:
            raise SystemExit("the bench's records are not in canonical form")
        yield body


def _record(client: int, event: AuditEvent) -> AuditRecord:
    who = Principal(
        _DOMAIN.with_rid(1000 + client), f"user{client}", Luid(10_000 + client)
    )
    return AuditRecord(
        event=event,
        outcome=Outcome.SUCCESS,
        time=_BEGAN,
        server=_SERVER,
        client=who,
        chain=(_SERVER, who),
        gate="pipe",
        peer=f"uid {70_000 + client} pid {1000 + client}",
        correlation=_MARK,
        operation="read",
        object_type="Doc",
        object_name=_NAME,
        desired=1,
        granted=1,
        reasons=("READ is granted by entry 2 of the DACL, which names staff",),
    )


def _ask(bench: Bench, store: Store, count: int) -> None:
    chance = random.Random(7)

    def by_client_and_day() -> Query:
        day = _BEGAN + chance.randrange(_DAYS) * _DAY
        return Query(
            client=f"user{chance.randrange(_CLIENTS)}", since=day, until=day + _DAY
        )

    def by_object() -> Query:
        return Query(object_name=f"/srv/{chance.randrange(_OBJECTS):04d}")

    def failures_of_a_client() -> Query:
        name = f"user{chance.randrange(_CLIENTS)}"
        return Query(client=name, outcome=Outcome.FAILURE, newest_first=True)

    def by_prefix() -> Query:
        return Query(object_prefix=f"/srv/{chance.randrange(_OBJECTS // 100):02d}")

    for what, make in (
        ("client and day", by_client_and_day),
        ("object", by_object),
        ("client's failures, newest first", failures_of_a_client),
        ("object by prefix", by_prefix),
    ):
        times = _times(store, make)
        bench.add(f"trail of {count:,}, {what}", statistics.median(times))
        bench.notes.append(
            f"a page of 100 by {what}: slowest of {_ASKS} {max(times) * 1000:.1f} ms"
        )


def _times(store: Store, make: Callable[[], Query]) -> list[float]:
    times = []
    for _ in range(_ASKS):
        query = make()
        ask(store.reading, store.index, query)  # warm
        began = time.perf_counter()
        ask(store.reading, store.index, query)
        times.append(time.perf_counter() - began)
    return times


def _appending(bench: Bench, place: Path) -> None:
    """Measure what an index that is kept up costs those who write, in turn."""
    with_it, without = [], []
    for turn in range(2 * _REPEATS):
        times = with_it if turn % 2 else without
        path = place / f"appending{turn}.db"
        times.append(_append(path, is_indexed=bool(turn % 2)))
    bench.add(
        f"ledger record, {_PRODUCERS} producers, indexed meanwhile",
        statistics.median(with_it),
        to=("the same, not indexed", statistics.median(without)),
    )


def _append(path: Path, *, is_indexed: bool) -> float:
    body = _record(0, AuditEvent.OBJECT_ACCESS)
    with (
        Store.open(path) as store,
        Ledger(
            store.ledger,
            genesis=store.accounts.domain().to_bytes(),
            note=lambda *_: body,
        ) as ledger,
        ExitStack() as keeping,
    ):
        if is_indexed:
            keeper = IndexKeeper(
                store.reading, store.index, monotonic=time.monotonic_ns
            )
            keeping.callback(keeper.close)
        return _seconds_of_one(ledger, body)


def _seconds_of_one(ledger: Ledger, record: AuditRecord) -> float:
    """Return how long a record takes while the index is being caught up with."""
    ends = time.monotonic() + _APPENDING_SECONDS
    counts = [0] * _PRODUCERS

    def produce(place: int) -> None:
        while time.monotonic() < ends:
            ledger.record(record)
            counts[place] += 1

    threads = [Thread(target=produce, args=(n,)) for n in range(_PRODUCERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return _APPENDING_SECONDS / sum(counts)


def _tell(what: str, began: float) -> None:
    sys.stderr.write(f"{what} in {time.perf_counter() - began:,.0f} s\n")


if __name__ == "__main__":
    made = Bench(1)
    with tempfile.TemporaryDirectory(prefix="stead-bench-") as name:
        measure(made, Path(name), 10_000_000 if "--large" in sys.argv else 1_000_000)
    print("\n".join(made.table()))
