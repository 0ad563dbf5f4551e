"""Servers in memory and on disk, their clients, and what they recorded."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from tests.receivers import (  # noqa: F401 - fixtures are found by name
    authority,
    certificate,
    certificates,
    rsyslog,
    stranger,
    trusting,
)

from stead.ledger.query import Query
from stead.model.access_mask import Rights
from stead.model.audit_record import AuditEvent, AuditRecord
from stead.model.explicit_access import allow
from stead.monitor import context
from stead.server.enforcement import Enforcement
from stead.server.protected_server import ProtectedServer


class Doc(Rights):
    READ = 0x1
    WRITE = 0x2


def pytest_runtest_setup(item):
    if item.get_closest_marker("root") and os.geteuid() != 0:
        pytest.skip("needs root, because the kernel judges real uids")


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
def open_server(world):
    # It needs the folder: servers end before it does.
    opened = []

    def make(name="notes", **settings):
        settings = {"enforcement": Enforcement.TOKEN, **settings}
        opened.append(ProtectedServer(name, **settings))
        return opened[-1]

    yield make
    _forget()
    for server in opened:
        server.close()


def with_accounts(server):
    server.accounts.add("alice", uid=70001)
    server.accounts.add("bob", uid=70002)
    server.accounts.add("root of the store")
    server.accounts.add_group("readers")
    server.accounts.add_member("Administrators", "root of the store")
    return server


@pytest.fixture
def server(open_server):
    return with_accounts(open_server())


@pytest.fixture
def world():
    """Give a folder that every uid can pass; pytest's own lies under a 0700 one."""
    folder = Path(tempfile.mkdtemp(prefix="stead-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def kernel_server(open_server, world):
    """A server on disk whose blocks the kernel judges on `server.executor()`."""
    (world / "store").mkdir(mode=0o700)
    return with_accounts(
        open_server(
            store=world / "store" / "notes.db",
            enforcement=Enforcement.KERNEL,
            kernel_threads=2,
        )
    )


@pytest.fixture
def client_of():
    """Give what returns a client of a server."""

    def make(server, name, **settings):
        return server.client_for(name, authenticated_by="test", **settings)

    return make


@pytest.fixture
def alice(server, client_of):
    return client_of(server, "alice")


@pytest.fixture
def bob(server, client_of):
    return client_of(server, "bob")


@pytest.fixture
def inquirer(server, bob, administrator):
    """Bob, who may read the account database: he may ask about others."""
    accounts = server.find_object("stead:accounts")
    entries = [*accounts.descriptor.dacl, allow("bob", 0x1)]
    server.set_entries(administrator, accounts, entries)
    return bob


@pytest.fixture
def administrator(server, client_of):
    return client_of(server, "root of the store")


@pytest.fixture
def guard(server):
    return server._house.guard


@pytest.fixture
def rights():
    return Doc


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
def record_of(server):
    """Give what returns the record of a number."""
    return lambda number: next(server.trail.find(Query(after=number - 1)))[1]
