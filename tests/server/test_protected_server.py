from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stead.errors import (
    InvalidNameError,
    InvalidRequestError,
    LedgerUnavailableError,
    NoProcessTokenError,
    ServerClosedError,
)
from stead.ledger.query import Query
from stead.model.audit_record import AuditEvent
from stead.model.privilege import Privilege
from stead.model.sid import Sid
from stead.model.token import AccessToken, ImpersonationLevel
from stead.monitor.effective import process_token
from stead.monitor.impersonation import impersonate
from stead.server.enforcement import Enforcement


def test_a_server_shows_its_name_and_who_judges(server):
    assert "ProtectedServer('notes', token)" == repr(server)
    assert Enforcement.TOKEN is server.enforcement
    assert "Everyone" == server.name_of(server.token.groups[0].sid)
    assert server.support.guard == 65530


def test_a_server_whose_name_is_none_does_not_open(open_server):
    for name in ("", "uid 0", "a/b"):
        with pytest.raises(InvalidNameError):
            open_server(name)
    with pytest.raises(NoProcessTokenError):
        process_token()


class Twin:
    name = "twin"

    def begin(self, binding):
        raise InvalidRequestError("nobody begins with it")


def test_a_start_that_fails_leaves_nothing_open(open_server, tmp_path):
    tmp_path.chmod(0o700)
    with pytest.raises(InvalidRequestError, match="two packages have one name"):
        open_server(store=tmp_path / "notes.db", packages=[Twin(), Twin()])
    with pytest.raises(NoProcessTokenError):
        process_token()
    server = open_server(store=tmp_path / "notes.db")
    events = [record.event for _, record in server.trail.find(Query())]
    # The start that failed had been recorded, and so is its end.
    assert 2 == events.count(AuditEvent.TRAIL_STARTED)
    assert 1 == events.count(AuditEvent.TRAIL_STOPPED)


def test_the_start_says_what_is_enforced_and_what_the_server_holds(trail):
    [record] = trail(AuditEvent.TRAIL_STARTED)
    assert "token" == record.detail["enforcement"]
    assert "SeTcbPrivilege" in record.detail["privileges"]


def test_a_closed_server_does_nothing_more(server, alice, plan, rights):
    server.close()
    server.close()
    for act in (
        lambda: server.require(alice, plan, rights.READ),
        lambda: server.client_for("alice", authenticated_by="test"),
        lambda: server.accounts,
        lambda: server.trail,
        server.executor,
        server.as_server,
    ):
        with pytest.raises(ServerClosedError):
            act()
    with pytest.raises(LedgerUnavailableError), alice.impersonate():
        pytest.fail("the block ran")


def test_a_privilege_must_be_named(server, alice):
    with pytest.raises(InvalidRequestError, match="no privilege"):
        server.require_privilege(alice, operation="walk")


# --- a process that is forked from it ---------------------------------------------


@pytest.fixture
def forking():
    """Give what runs a server that forks; it returns what that says, line by line."""

    def run(way):
        program = Path(__file__).with_name("forking_server.py")
        done = subprocess.run(
            [sys.executable, program, way],
            capture_output=True,
            text=True,
            check=False,
            timeout=200,
        )
        assert (0, "") == (done.returncode, done.stderr)
        *said, told = done.stdout.splitlines()
        return said, json.loads(told)

    return run


UNHARMED = {
    "function": 70001,
    "program": 0,
    "launchers": True,
    "process": "still here",
    "killed": -9,
}


@pytest.mark.root
def test_a_fork_that_closes_a_shared_socket_ends_the_clients_processes(forking):
    # What the next three would do, if closing did not ask whose the server is.
    assert {"fork": 0, "process": -9} == forking("naive")[1]


@pytest.mark.root
@pytest.mark.parametrize(
    ("way", "code"), [("close", 0), ("exit", 7), ("multiprocessing", 0)]
)
def test_whatever_way_a_fork_ends_the_servers_processes_go_on(forking, way, code):
    assert {"fork": code, **UNHARMED} == forking(way)[1]


@pytest.mark.root
@pytest.mark.bypasses_the_law  # the fork orders by hand, in vain
def test_a_fork_is_refused_what_only_the_server_itself_can_do(forking):
    said, told = forking("asks")
    assert ["ServerClosedError"] * 7 + ["LedgerUnavailableError"] * 2 == said
    assert {"fork": 0, **UNHARMED} == told


# --- what every server offers -----------------------------------------------------


def test_a_client_learns_who_it_is(server, client_of):
    server.accounts.grant("alice", Privilege.BACKUP)
    told = server.call(client_of(server, "alice"), "stead.whoami")
    assert ("alice", "impersonation", "notes", "token") == (
        told["name"],
        told["level"],
        told["server"],
        told["enforcement"],
    )
    assert "SeBackupPrivilege" in told["privileges"]
    assert "Users" in [group["name"] for group in told["groups"]]


def test_nobody_learns_that_it_is_nobody(server, client_of):
    nobody = client_of(server, "alice", level=ImpersonationLevel.ANONYMOUS)
    assert "ANONYMOUS LOGON" == server.call(nobody, "stead.whoami")["name"]


def test_a_client_may_ask_whether_it_may(server, alice, plan):
    def ask(name, *rights):
        return server.call(alice, "stead.check", name=name, rights=list(rights))

    assert ask("plan", "READ")
    assert not ask("plan", "WRITE")
    assert not ask("plan", "READ", "READ_CONTROL")
    assert not ask("no such thing", "READ")
    assert not ask("plan", "FLY")  # which rights there are is not hers to know
    assert not ask("plan")


def test_an_owner_is_told_which_rights_there_are(server, bob, plan):
    with pytest.raises(InvalidRequestError, match="`FLY` is no right of `Doc`"):
        server.call(bob, "stead.check", name="plan", rights=["FLY"])
    with pytest.raises(InvalidRequestError):
        server.call(bob, "stead.explain", account="alice", name="plan", rights=["FLY"])


def test_an_owner_who_may_read_the_accounts_may_ask_why(server, inquirer, plan):
    lines = server.call(
        inquirer, "stead.explain", account="alice", name="plan", rights=["READ"]
    )
    assert "alice asks plan for READ: granted" == lines[0]


# --- what it costs ----------------------------------------------------------------


def cost_of(block_of, rounds=300):
    began = time.perf_counter()
    for _ in range(rounds):
        with block_of():
            pass
    return (time.perf_counter() - began) / rounds * 1e6


def test_entering_and_leaving_a_block_prints_what_it_costs(open_server, capsys):
    token = AccessToken(Sid.from_string("S-1-5-21-1-2-3-1001"))
    bare = cost_of(lambda: impersonate(token))
    server = open_server("bench")
    server.accounts.add("alice")
    alice = server.client_for("alice", authenticated_by="test")
    recorded = cost_of(alice.impersonate)
    with capsys.disabled():
        print(f"\nenter and leave: {bare:.0f} us bare, {recorded:.0f} us recorded")
    assert 300 == sum(
        record.event is AuditEvent.IMPERSONATION_ENTERED
        for _, record in server.trail.find(Query())
    )
