"""A store that a test can bend, and records to put into it."""

from __future__ import annotations

import threading

import pytest

from stead.adapters.store.trail_index import SqlTrailIndex
from stead.errors import LedgerUnavailableError
from stead.ledger.canonical import write_record
from stead.ledger.chain import seal
from stead.ledger.ledger import Ledger
from stead.ledger.ports import Entry
from stead.model.audit_record import AuditEvent, AuditRecord, Outcome, Principal
from stead.model.luid import Luid
from stead.model.sid import Sid

GENESIS = Sid.from_string("S-1-5-21-1-2-3")
SERVER = Principal(Sid.from_string("S-1-5-80-1-2-3-4-5"), "notes")
ALICE = Principal(GENESIS.with_rid(1001), "alice", Luid(0x1_0000))


class BendableStore:
    """Keeps entries in a list; a test can make it fail, or make it wait."""

    def __init__(self):
        self.kept: list[Entry] = []
        self.batches: list[int] = []
        self.failure: Exception | None = None
        self.entered = threading.Semaphore(0)
        self.refused = threading.Semaphore(0)
        self.gate = threading.Event()
        self.gate.set()

    def append(self, build):
        self.entered.release()
        assert self.gate.wait(60)
        failure = self.failure
        if failure is not None:
            self.refused.release()
            raise failure
        added = build(self.last())
        self.kept.extend(added)
        self.batches.append(len(added))

    def entries(self, after=0, limit=None):
        later = [entry for entry in self.kept if entry.sequence > after]
        yield from later[:limit]

    def backwards(self, before=None):
        for entry in reversed(self.kept):
            if before is None or entry.sequence < before:
                yield entry

    def picked(self, sequences):
        return [entry for entry in self.kept if entry.sequence in set(sequences)]

    def last(self):
        return self.kept[-1] if self.kept else None


def make_record(**changes) -> AuditRecord:
    fields = {
        "event": AuditEvent.OBJECT_ACCESS,
        "outcome": Outcome.SUCCESS,
        "time": 1_763_835_421_123_456_789,
        "server": SERVER,
        "client": ALICE,
        "chain": (SERVER, ALICE),
        "object_type": "Doc",
        "object_name": "plan",
        "desired": 1,
        "granted": 1,
    }
    return AuditRecord(**{**fields, **changes})


def note(event: AuditEvent, detail: dict[str, str]) -> AuditRecord:
    return make_record(event=event, detail=detail, object_name=event.name)


DISK_FULL = LedgerUnavailableError("the disk is full", advice="free some space")


@pytest.fixture
def genesis():
    return GENESIS


@pytest.fixture
def record():
    return make_record


@pytest.fixture
def store():
    return BendableStore()


@pytest.fixture
def index():
    made = SqlTrailIndex(None)
    yield made
    made.close()


@pytest.fixture
def fill(store):
    """Give what chains records into the store, as the writer does."""

    def chain(records):
        bodies = [write_record(one) for one in records]
        store.append(lambda last: seal(last, bodies, GENESIS.to_bytes()))

    return chain


@pytest.fixture
def disk_full():
    return DISK_FULL


@pytest.fixture
def open_ledger(store):
    ledgers = []

    def opened(**settings):
        settings = {"genesis": GENESIS, "note": note, **settings}
        ledgers.append(Ledger(store, **settings))
        return ledgers[-1]

    yield opened
    store.gate.set()
    store.failure = None
    for ledger in ledgers:
        ledger.close()
