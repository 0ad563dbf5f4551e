"""A server in memory that enforces tokens only, its clients, and what it recorded."""

from __future__ import annotations

from dataclasses import replace

import pytest

from stead.errors import LedgerUnavailableError
from stead.ledger.ledger import Ledger
from stead.ledger.query import Query
from stead.model.access_mask import Rights
from stead.model.audit_record import AuditEvent, AuditRecord, Outcome, Principal
from stead.model.explicit_access import allow
from stead.model.sid import Sid
from stead.monitor import context, tripwire
from stead.server.enforcement import Enforcement
from stead.server.protected_server import ProtectedServer


class Doc(Rights):
    READ = 0x1
    WRITE = 0x2


class FullDisk:
    """A store of entries whose disk is full; it still tells what it has: nothing."""

    def append(self, build):
        build(None)
        raise LedgerUnavailableError("the disk is full", advice="free some space")

    def entries(self, after=0, limit=None):
        return iter(())

    def last(self):
        return None


@pytest.fixture(autouse=True, scope="session")
def _traced():
    """Let coverage see the audit hook, which Python does not trace by itself."""
    tripwire._on_event.__cantrace__ = True


def _forget():
    context._current.set(None)
    context._here.clients.clear()


@pytest.fixture(autouse=True)
def _as_nobody():
    """Begin and end each test outside any block, whatever it leaves behind."""
    _forget()
    yield
    _forget()


@pytest.fixture
def open_server():
    opened = []

    def make(name="notes", **settings):
        settings = {"enforcement": Enforcement.TOKEN, **settings}
        opened.append(ProtectedServer(name, **settings))
        return opened[-1]

    yield make
    _forget()
    for server in opened:
        server.close()


@pytest.fixture
def server(open_server):
    server = open_server()
    server.accounts.add("alice", uid=70001)
    server.accounts.add("bob", uid=70002)
    return server


@pytest.fixture
def client_for(server):
    def make(name, **settings):
        return server.client_for(name, authenticated_by="test", **settings)

    return make


@pytest.fixture
def alice(client_for):
    return client_for("alice")


@pytest.fixture
def bob(client_for):
    return client_for("bob")


@pytest.fixture
def guard(server):
    return server._house.guard


@pytest.fixture
def plan(server):
    return server.protect("plan", Doc, [allow("alice", Doc.READ)], owner="bob")


@pytest.fixture
def trail(server):
    """Give what returns the records of an event, in order."""

    def find(event: AuditEvent) -> list[AuditRecord]:
        return [record for _, record in server.trail.find(Query(event=event))]

    return find


@pytest.fixture
def chain_of():
    """Give what returns the names of a record's chain."""
    return lambda record: [link.name for link in record.chain]


@pytest.fixture
def speechless(guard):
    """The server's guard over a ledger that can write nothing."""
    server = Principal(Sid.from_string("S-1-5-80-1-2-3-4-5"), "notes")

    def note(event, detail):
        return AuditRecord(
            event=event,
            outcome=Outcome.FAILURE,
            time=1,
            server=server,
            detail=detail,
        )

    ledger = Ledger(FullDisk(), genesis=b"\1" * 28, note=note)
    yield replace(guard, sink=ledger)
    with pytest.raises(LedgerUnavailableError):
        ledger.record(note(AuditEvent.RECORDS_LOST, {}))
    ledger._writer.stop()


@pytest.fixture
def rights():
    return Doc
