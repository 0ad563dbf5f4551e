"""A store in memory, and clocks that tests move by hand."""

from __future__ import annotations

import pytest

from stead.adapters.store import Store
from stead.authority.identity import identify_account, identify_peer
from stead.authority.names import NameTable
from stead.authority.sessions import Sessions
from stead.model.logon_record import LogonType
from stead.model.posix_identity import PosixIdentity
from stead.model.token import ImpersonationLevel


class HandClock:
    """Nanoseconds that pass when a test says so."""

    def __init__(self):
        self.now = 1_000

    def __call__(self):
        return self.now

    def pass_seconds(self, seconds):
        self.now += int(seconds * 1_000_000_000)


@pytest.fixture
def whole_store():
    with Store.open(":memory:") as opened:
        yield opened


@pytest.fixture
def store(whole_store):
    return whole_store.accounts


@pytest.fixture
def names(store, clock):
    return NameTable(store, monotonic=clock)


@pytest.fixture
def clock():
    return HandClock()


@pytest.fixture
def sessions(store, clock):
    return Sessions(store, clock=lambda: 42, monotonic=clock)


@pytest.fixture
def identify(store):
    """Give what identifies an account on a host that knows no uid."""

    def make(name, host=lambda _uid: None, logon_type=LogonType.NETWORK):
        return identify_account(store, name, host=host, logon_type=logon_type)

    return make


@pytest.fixture
def identify_uid(store):
    """Give what identifies a local peer."""

    def make(uid, gid=None, groups=()):
        peer = PosixIdentity(uid, uid if gid is None else gid, groups)
        return identify_peer(store, peer)

    return make


@pytest.fixture
def open_session(sessions):
    """Give what opens a session for an identity."""

    def make(identity, level=ImpersonationLevel.IMPERSONATION):
        return sessions.open(
            identity, level=level, package="asserted", authenticated_by="test"
        )

    return make
