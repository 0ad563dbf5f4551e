"""The trail on a real disk: killed, full, read-only, shared, tampered with."""

from __future__ import annotations

import os
import resource
import sqlite3
import subprocess

import pytest

from stead.adapters.store import Store
from stead.errors import (
    LedgerCorruptError,
    LedgerUnavailableError,
    StoreUnavailableError,
)
from stead.ledger.canonical import read_record
from stead.ledger.chain import verify
from stead.ledger.ledger import Ledger
from stead.ledger.ports import Entry
from stead.model.audit_record import AuditEvent, AuditRecord, Outcome, Principal
from stead.model.well_known import LOCAL_SERVICE

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def _record(**changes):
    fields = {"event": AuditEvent.LOGON, "operation": "read", **changes}
    server = Principal(LOCAL_SERVICE, "notes")
    return AuditRecord(outcome=Outcome.SUCCESS, time=1, server=server, **fields)


def _note(event, detail):
    return _record(event=event, detail=detail)


def _open_ledger(store):
    return Ledger(
        store.ledger,
        genesis=store.accounts.domain(),
        note=_note,
    )


def _verify(place):
    with Store.open(place, create=False) as store:
        return verify(store.ledger.entries(), store.accounts.domain())


@pytest.fixture
def trail(place):
    """A trail of five records."""
    with Store.open(place) as store, _open_ledger(store) as ledger:
        for number in range(5):
            ledger.record(_record(object_name=f"{number}"))
    return place


# --- reading ----------------------------------------------------------------------


def test_an_empty_trail_has_no_last_entry(store):
    assert store.ledger.last() is None
    assert [] == list(store.ledger.entries())


def test_entries_are_kept_exactly_and_streamed_over_pages(store):
    entries = [Entry(n, b"\0%d" % n, bytes([n % 256])) for n in range(1, 1203)]
    store.ledger.append(lambda _: entries)
    assert entries == list(store.ledger.entries())
    assert entries[-1] == store.ledger.last()
    assert entries[100:700] == list(store.ledger.entries(after=100, limit=600))
    assert entries[:500] == list(store.ledger.entries(limit=500))
    assert [] == list(store.ledger.entries(limit=0))
    assert [] == list(store.ledger.entries(after=1202))
    assert [] == list(store.ledger.entries(after=1 << 70))
    assert entries == list(store.ledger.entries(after=-5, limit=1 << 70))


def test_a_build_that_fails_keeps_nothing(store):
    def build(last):
        raise KeyError(last)

    with pytest.raises(KeyError):
        store.ledger.append(build)
    store.ledger.append(lambda _: [])
    assert store.ledger.last() is None
    store.ledger.append(lambda _: [Entry(1, b"", b"")])


def test_a_number_that_is_taken_keeps_nothing(store):
    store.ledger.append(lambda _: [Entry(1, b"a", b"")])
    with pytest.raises(LedgerUnavailableError):
        store.ledger.append(lambda _: [Entry(2, b"b", b""), Entry(1, b"c", b"")])
    assert [Entry(1, b"a", b"")] == list(store.ledger.entries())


@pytest.mark.parametrize("taken", [1, 64, 65, 128, 149])
def test_many_entries_are_kept_all_or_none(store, taken):
    store.ledger.append(lambda _: [Entry(1, b"a", b"")])
    entries = [Entry(n, b"%d" % n, b"") for n in range(2, 152)]
    twice = [*entries[:taken], entries[0], *entries[taken:]]
    with pytest.raises(LedgerUnavailableError):
        store.ledger.append(lambda _: twice)
    assert [Entry(1, b"a", b"")] == list(store.ledger.entries())
    store.ledger.append(lambda _: entries)
    assert entries == list(store.ledger.entries(after=1))


def test_a_closed_store_refuses_to_keep_or_read(store):
    store.close()
    with pytest.raises(LedgerUnavailableError, match="closed"):
        store.ledger.append(lambda _: [])
    with pytest.raises(LedgerUnavailableError, match="closed"):
        store.ledger.last()


def test_lookups_do_not_wait_for_a_record_to_be_flushed(place):
    with Store.open(place) as store:
        found = []

        def build(_last):
            found.append(store.accounts.account_by_uid(1))
            return []

        store.ledger.append(build)
        assert [None] == found


# --- tampering --------------------------------------------------------------------

AWAY = "UPDATE entry SET sequence = sequence + 10"
COPY = "INSERT INTO entry SELECT 3, body, digest FROM entry"


@pytest.mark.parametrize(
    ("sequence", "statements"),
    [
        (3, ["UPDATE entry SET body = replace(body, '2', '9') WHERE sequence = 3"]),
        (3, ["UPDATE entry SET digest = zeroblob(32) WHERE sequence = 3"]),
        (2, ["DELETE FROM entry WHERE sequence = 2"]),
        (1, ["DELETE FROM entry WHERE sequence = 1"]),
        (
            3,
            [
                "DELETE FROM entry WHERE sequence = 3",
                "UPDATE entry SET sequence = sequence - 1 WHERE sequence > 3",
            ],
        ),
        (
            2,
            [
                "UPDATE entry SET sequence = 99 WHERE sequence = 2",
                "UPDATE entry SET sequence = 2 WHERE sequence = 3",
                "UPDATE entry SET sequence = 3 WHERE sequence = 99",
            ],
        ),
        (6, ["INSERT INTO entry SELECT 6, body, digest FROM entry WHERE sequence = 5"]),
        (
            3,
            [
                f"{AWAY} WHERE sequence > 2",
                "UPDATE entry SET sequence = sequence - 9 WHERE sequence > 9",
                f"{COPY} WHERE sequence = 2",
            ],
        ),
        (6, ["INSERT INTO entry VALUES (7, x'7b7d', zeroblob(32))"]),
        (5, ["UPDATE entry SET body = 7 WHERE sequence = 5"]),
        (5, ["UPDATE entry SET digest = 'x' WHERE sequence = 5"]),
        (1, ["UPDATE store SET domain = 'S-1-5-21-1-2-3'"]),
    ],
)
def test_tampering_with_the_file_is_found_and_named(trail, sequence, statements):
    assert 5 == _verify(trail).count
    connection = sqlite3.connect(trail)
    with connection:
        for statement in statements:
            assert connection.execute(statement).rowcount > 0
    connection.close()
    with pytest.raises(LedgerCorruptError) as caught:
        _verify(trail)
    assert sequence == caught.value.sequence


def test_no_record_hides_below_the_first(trail):
    connection = sqlite3.connect(trail)
    with pytest.raises(sqlite3.IntegrityError, match="sequence > 0"):
        connection.execute("INSERT INTO entry VALUES (0, x'7b7d', zeroblob(32))")
    connection.close()


# --- killed, and shared --------------------------------------------------------------

HAMMER = """
import sys, threading
from stead.adapters.store import Store
from stead.ledger.ledger import Ledger
from stead.model.audit_record import AuditEvent, AuditRecord, Outcome, Principal
from stead.model.well_known import LOCAL_SERVICE

def record(name):
    return AuditRecord(event=AuditEvent.LOGON, outcome=Outcome.SUCCESS, time=1,
                       server=Principal(LOCAL_SERVICE, "notes"), object_name=name)

place, threads, count, gate = sys.argv[1], *map(int, sys.argv[2:])
store = Store.open(place)
ledger = Ledger(store.ledger, genesis=store.accounts.domain(),
                note=lambda *_: record("lost"))
speech = threading.Lock()
print("ready", flush=True)
if gate:
    sys.stdin.readline()

def work(thread):
    number = 0
    while number < count:
        name = f"{thread}.{number}"
        sequence = ledger.record(record(name))
        with speech:
            print(sequence, name, flush=True)
        number += 1

workers = [threading.Thread(target=work, args=(n,)) for n in range(threads)]
for worker in workers:
    worker.start()
for worker in workers:
    worker.join()
ledger.close()
store.close()
"""


def _acknowledged(text):
    # What was cut off in mid-line had not been said.
    lines = text[: text.rfind("\n") + 1].splitlines()
    return {int(n): name for n, name in (line.split() for line in lines)}


@pytest.mark.slow
def test_a_killed_server_has_kept_whatever_it_acknowledged(place, run_program):
    acknowledged = {}
    for turn in range(20):
        process = run_program(HAMMER, place, 4, 1_000_000, 0)
        assert "ready\n" == process.stdout.readline()
        # Killed after so many acknowledgements: another moment in each turn.
        heard = "".join(process.stdout.readline() for _ in range(1 + 7 * turn))
        process.kill()
        heard += process.communicate(timeout=60)[0]
        acknowledged |= _acknowledged(heard)
    with Store.open(place, create=False) as store:
        kept = {
            entry.sequence: read_record(entry.body).object_name
            for entry in store.ledger.entries()
        }
        assert len(kept) == _verify(place).count
    assert len(acknowledged) >= 20
    assert acknowledged == {n: kept.get(n) for n in acknowledged}


@pytest.mark.slow
def test_two_processes_keep_one_chain(place, run_program):
    Store.open(place).close()
    writing = [run_program(HAMMER, place, 3, 50, 1, stdin=-1) for _ in range(2)]
    for process in writing:
        assert "ready\n" == process.stdout.readline()
    for process in writing:
        process.stdin.write("go\n")
        process.stdin.flush()
    heard = [process.communicate(timeout=120)[0] for process in writing]
    numbers = [n for text in heard for n in _acknowledged(text)]
    assert list(range(1, 301)) == sorted(numbers)
    assert 300 == _verify(place).count


# --- a disk that is full, locked or read-only -----------------------------------------

LIMITED = """
import resource, signal, sys
from stead.adapters.store import Store
from stead.errors import LedgerUnavailableError
from stead.ledger.canonical import read_record
exec(sys.argv[2])
store = Store.open(sys.argv[1])
ledger = make(store)
ledger.record(record())
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, hard))
written, refused = 1, []
while len(refused) < 3:
    try:
        ledger.record(record(peer="x" * 20_000))
        written += 1
    except LedgerUnavailableError as error:
        refused.append(error)
ledger.queue(record(operation="leave"))
resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
ledger.record(record())
ledger.close()
records = [read_record(entry.body) for entry in store.ledger.entries()]
notes = [r for r in records if r.event is AuditEvent.TRAIL_FAILED]
assert sum(int(note.detail["refused"]) for note in notes) == 3, notes
assert len(records) - len(notes) == written + 2, (len(records), written)
assert all(error.advice for error in refused)
print(refused[0])
"""

MAKE = """
from stead.ledger.ledger import Ledger
from stead.model.audit_record import AuditEvent, AuditRecord, Outcome, Principal
from stead.model.well_known import LOCAL_SERVICE

def record(event=AuditEvent.LOGON, **changes):
    return AuditRecord(event=event, outcome=Outcome.SUCCESS, time=1,
                       server=Principal(LOCAL_SERVICE, "notes"), **changes)

def make(store):
    return Ledger(store.ledger, genesis=store.accounts.domain(),
                  note=lambda event, detail: record(event, detail=detail))
"""


def test_a_file_that_may_not_grow_refuses_until_it_may(place, run_program):
    process = run_program(LIMITED, place, MAKE)
    output, errors = process.communicate(timeout=120)
    assert "" == errors
    assert "a size limit is reached" in output
    assert resource.RLIM_INFINITY == resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    _verify(place)


def _fill(ledger, acknowledged):
    while True:
        try:
            acknowledged.append(ledger.record(_record(peer="x" * 5000)))
        except LedgerUnavailableError as error:
            return error


@pytest.mark.root
@needs_root
@pytest.mark.slow
def test_a_full_disk_refuses_and_says_so_until_there_is_room(small_disk):
    place = small_disk / "store.db"
    with Store.open(place) as store, _open_ledger(store) as ledger:
        acknowledged = [ledger.record(_record())]
        ballast = small_disk / "ballast"
        with pytest.raises(OSError, match="No space"):
            ballast.write_bytes(bytes(1 << 20))
        refusal = _fill(ledger, acknowledged)
        assert "the disk is full" in str(refusal)
        assert "free some space on the store's disk" == refusal.advice
        ledger.queue(_record(operation="leave"))
        with pytest.raises(LedgerUnavailableError):
            ledger.record(_record(peer="x" * 60_000))
        ballast.unlink()
        acknowledged.append(ledger.record(_record()))
        kept = [read_record(entry.body) for entry in store.ledger.entries()]
    notes = [record for record in kept if record.event is AuditEvent.TRAIL_FULL]
    assert [{"refused": "2"}] == [note.detail for note in notes]
    assert len(acknowledged) + 2 == len(kept)
    assert 1 == [record.operation for record in kept].count("leave")
    assert len(kept) == _verify(place).count


@pytest.mark.root
@needs_root
def test_a_store_on_a_read_only_disk_cannot_be_opened(small_disk):
    place = small_disk / "store.db"
    Store.open(place).close()
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    with pytest.raises(StoreUnavailableError, match="its files cannot") as caught:
        Store.open(place)
    assert caught.value.advice


def test_a_trail_that_somebody_keeps_locked_refuses_and_names_it(trail, monkeypatch):
    monkeypatch.setattr("stead.adapters.store.database.BUSY_SECONDS", 0.01)
    with Store.open(trail) as store, _open_ledger(store) as ledger:
        other = sqlite3.connect(trail, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(LedgerUnavailableError, match="another process holds it"):
            ledger.record(_record())
        other.execute("COMMIT")
        other.close()
        # Number 6 says that a record was refused.
        assert 7 == ledger.record(_record())


def test_a_trail_that_turns_read_only_refuses_and_names_it(trail):
    with Store.open(trail) as store, _open_ledger(store) as ledger:
        with store._databases[1].reading() as connection:
            connection.exec_driver_sql("PRAGMA query_only = ON")
        with pytest.raises(LedgerUnavailableError, match="it is read-only"):
            ledger.record(_record())
        with store._databases[1].reading() as connection:
            connection.exec_driver_sql("PRAGMA query_only = OFF")
        # Number 6 says that a record was refused.
        assert 7 == ledger.record(_record())


def test_a_damaged_file_is_named(trail):
    with trail.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (trail.stat().st_size - 4096))
    with pytest.raises(StoreUnavailableError, match="its file is damaged"):
        Store.open(trail)
