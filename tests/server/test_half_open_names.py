"""Sources of the host's users that answer some questions, and not others, to a server.

Whoever they do not tell of whole is not let in, by any way, and holds up nobody else.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor, wait

import pytest
from tests.name_sources import TableOfNames

from stead.adapters import host
from stead.adapters.patience import Patience
from stead.authority.issuers import Issuer
from stead.authority.lockout import LockoutPolicy
from stead.authority.packages import Authenticated
from stead.errors import (
    DirectoryUnavailableError,
    LogonFailureError,
    SteadError,
)
from stead.ledger.query import Query
from stead.model import well_known
from stead.model.audit_record import AuditEvent
from stead.privileged.name_service import NameService

UID = 70500
DORA = f"U dora {UID} {UID}"
GROUPS = ("M dora 70601", "M dora 70602")
QUICK = LockoutPolicy(threshold=3, first_delay=0.0)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return TableOfNames(tmp_path_factory.mktemp("nss"), "steadserved")


@pytest.fixture
def server(source, monkeypatch, open_server):
    names = NameService.open(source.switch())
    monkeypatch.setattr(host, "host_names", lambda: names)
    source.knows(DORA, *GROUPS, "U bob 70501 70501")
    made = open_server(issuers=[Issuer("PKI", names_accounts=True)], lockout=QUICK)
    for name, uid in (("dora", UID), ("bob", 70501)):
        made.accounts.add(name, uid=uid, gid=uid)
        made.accounts.set_password(name, "tiger")
    made.accounts.add("carl")
    made.accounts.set_password("carl", "tiger")
    yield made
    source.knows()


def asserted(server):
    return server.client_for("dora", authenticated_by="test").token


def by_password(server):
    with server.log_on("dora", "tiger") as session:
        return session.token


def shown(server):
    client = Authenticated(package="certificate", issuer="PKI", name="dora")
    with server.admit(client) as session:
        return session.token


WAYS = [asserted, by_password, shown]
TROUBLE = {
    "unavailable": "F initgroups dora -1",
    "who is down": "F getpwuid * -1",
    "gone meanwhile": "F getpwnam dora 0",
    "no number": "M dora 4294967295",
    "another's": "U dora 70500 70777",
}


@pytest.mark.parametrize("way", WAYS)
def test_whoever_is_told_of_whole_has_all_groups(server, way):
    held = {group.sid for group in way(server).groups}
    assert {well_known.unix_group(gid) for gid in (70500, 70601, 70602)} <= held


@pytest.mark.parametrize("trouble", TROUBLE)
@pytest.mark.parametrize("way", WAYS)
def test_whoever_is_not_told_of_whole_comes_in_by_no_way(server, source, way, trouble):
    """And it is no failure of hers: she is not locked when the directory is back."""
    first = (TROUBLE[trouble],) if trouble != "another's" else ()
    source.knows(*first, DORA, *GROUPS)
    if trouble == "another's":
        then = source.then(TROUBLE[trouble])
        source.knows(DORA, *GROUPS, f"T getpwuid {UID} {then}")
    expected = DirectoryUnavailableError if way is asserted else LogonFailureError
    with pytest.raises(expected):
        way(server)
    (record,) = [r for _, r in server.trail.find(Query(event=AuditEvent.LOGON_FAILED))]
    assert "source" in record.reasons[0]
    for _ in range(QUICK.threshold):
        source.knows(*first or ("F getpwuid * -1",), DORA, *GROUPS)
        with pytest.raises(expected):
            way(server)
    source.knows(DORA, *GROUPS)
    assert way(server).user == server.lookup("dora").sid


def test_a_wrong_password_counts_whether_or_not_the_directory_is_there(server, source):
    source.knows("F getpwuid * -1")
    for _ in range(QUICK.threshold):
        with pytest.raises(LogonFailureError):
            server.log_on("dora", "lion")
    source.knows(DORA, *GROUPS)
    with pytest.raises(LogonFailureError):
        by_password(server)
    server.accounts.unlock("dora")
    assert by_password(server).user == server.lookup("dora").sid


@pytest.mark.parametrize("others", ["bob", "carl"])
def test_a_user_of_whom_nothing_is_said_keeps_nobody_else_from_logging_on(
    server, source, others
):
    """Not even where the host is asked by another thread, as in a client's block."""
    client = server.client_for("carl", authenticated_by="test")

    def log_on(name):
        with client.impersonate(), server.log_on(name, "tiger") as session:
            return session.name

    source.knows(DORA, "U bob 70501 70501", f"H getpwuid {UID}")
    with ThreadPoolExecutor(2) as pool:
        try:
            hangs = pool.submit(log_on, "dora")
            assert not wait([hangs], 0.3).done
            assert others == pool.submit(log_on, others).result(20)
            assert not hangs.done()
        finally:
            source.knows(DORA)
        assert "dora" == hangs.result(60)


@pytest.fixture
def two():
    """Two threads, as many as one address has while its clients show who they are."""
    with ThreadPoolExecutor(2) as pool:
        yield pool


@pytest.mark.parametrize("ask", [asserted, shown])
def test_a_user_of_whom_nothing_is_said_leaves_threads_to_others(
    server, source, two, monkeypatch, ask
):
    """The naive host is asked for as long as it takes, which may be for ever."""
    patience = Patience(3, silences=64)
    monkeypatch.setattr(host, "_patience", lambda: patience)
    source.knows(DORA, "U bob 70501 70501", f"H getpwuid {UID}")
    names = host.host_names()
    try:
        naive = [two.submit(names.user_by_uid, UID) for _ in range(2)]
        other = two.submit(names.user_by_uid, 70501)
        assert not wait([*naive, other], 0.5).done
    finally:
        source.knows(DORA, "U bob 70501 70501")
    assert 70501 == other.result(60).uid

    source.knows(DORA, "U bob 70501 70501", f"H getpwuid {UID}")
    try:
        for _ in range(3):
            hers = [two.submit(ask, server) for _ in range(2)]
            bob = two.submit(server.client_for, "bob", authenticated_by="test")
            assert "bob" == bob.result(60).name
            refusals = [each.exception(60) for each in hers]
            assert all(isinstance(each, SteadError) for each in refusals)
    finally:
        source.knows(DORA)
    found = [r for _, r in server.trail.find(Query(event=AuditEvent.LOGON_FAILED))]
    assert all("does not answer in time" in record.reasons[0] for record in found)
    eventually(lambda: not patience._open)
    assert ask(server).user == server.lookup("dora").sid


def eventually(holds):
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)
