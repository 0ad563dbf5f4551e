"""Planted acts without their record are found by the watch that every test here has."""

from __future__ import annotations

import subprocess
import sys

import pytest

from stead.adapters.store.schema import METADATA
from stead.errors import LedgerUnavailableError
from stead.model.audit_record import AuditEvent
from stead.model.explicit_access import allow
from stead.model.privilege import Privilege
from stead.monitor import context, passing
from stead.monitor.block_acts import BlockActs
from stead.monitor.context import Frame
from stead.monitor.covering import covering
from stead.monitor.frames import FrameKind
from stead.monitor.impersonation import Block
from stead.monitor.passing import Pass
from stead.testing.law_of_tables import UNWATCHED, WATCHED

bypasses_the_law = pytest.mark.bypasses_the_law


def test_every_table_is_watched_or_it_is_said_why_not():
    """A new table: say in `stead.testing.law` which events announce a write to it."""
    tables = set(METADATA.tables)
    assert tables == set(WATCHED) | set(UNWATCHED)
    assert not set(WATCHED) & set(UNWATCHED)


@bypasses_the_law
def test_a_naive_server_that_changes_first_and_records_after_is_found(server, law):
    desk = server.accounts
    desk.add("carol")
    assert [] == law.take()
    desk.store.add_account("mallory", None, None)
    desk._desk.record(AuditEvent.ACCOUNT_CREATED, "mallory", None)
    (breach,) = law.take()
    assert breach.startswith("INSERT of `principal`")
    assert breach.endswith("and no durable ACCOUNT_CREATED, GROUP_CREATED announced it")


@bypasses_the_law
def test_a_record_of_another_thing_announces_nothing(server, law, plan, rights):
    desk = server.accounts
    with desk._desk.changing(AuditEvent.ACCOUNT_CREATED, "carol"):
        desk.store.add_account("mallory", None, None)
    assert 1 == len(law.take())
    with desk._desk.changing(AuditEvent.ACCOUNT_DISABLED, "bob"):
        desk.store.add_right(desk.store.account_by_name("bob").sid, "SeDebugPrivilege")
    assert 1 == len(law.take())


@bypasses_the_law
def test_one_record_announces_one_act(server, law):
    desk = server.accounts
    sid = desk.store.account_by_name("bob").sid
    with desk._desk.changing(AuditEvent.RIGHT_ASSIGNED, "bob"):
        desk.store.add_right(sid, Privilege.BACKUP.value)
        assert [] == law.take()
        desk.store.add_right(sid, Privilege.RESTORE.value)
    assert 1 == len(law.take())


@bypasses_the_law
def test_a_change_of_the_policy_and_of_an_object_by_hand_is_found(
    server, law, plan, rights
):
    house = server._house
    kept = house.objects._store.object_by_name("plan")
    house.objects._store.set_object_descriptor(
        "plan", kept.descriptor, version=kept.version
    )
    house.audit_desk.store.set_losable([AuditEvent.HANDLE_CLOSED])
    found = law.take()
    assert ["UPDATE of `object`", "DELETE of `audit_losable`"] == [
        " ".join(breach.split()[:3]) for breach in found[:2]
    ]


@pytest.fixture(autouse=True)
def _in_no_hurry(monkeypatch):
    """Let a pass be good for a minute: how fast this machine is says nothing."""
    monkeypatch.setattr(passing, "UNTOLD", 60_000_000_000)


def work_in_operation(server, client):
    """Enter blocks at one line in what is on record as an operation of the client's."""
    guard, asked = server._house.guard, AuditEvent.OPERATION_REQUESTED
    guard.recorder.record(asked, client.subject, operation="work")
    with covering(client.subject, guard.sink):
        for _ in range(4):
            with client.impersonate():
                pass
    ended = AuditEvent.OPERATION_ENDED
    guard.recorder.record(ended, client.subject, operation="work")


def test_blocks_that_are_told_together_keep_the_law(server, law, alice):
    work_in_operation(server, alice)
    assert [] == law.take()


@bypasses_the_law
def test_naive_blocks_that_are_counted_and_never_told_are_found(
    server, law, alice, monkeypatch
):
    monkeypatch.setattr(Pass, "tell", lambda _: None)
    work_in_operation(server, alice)
    assert ["3 blocks of an operation are told by no record"] == law.take()


@bypasses_the_law
def test_naive_blocks_on_a_pass_that_no_record_began_are_found(
    server, law, alice, monkeypatch
):
    monkeypatch.setattr(BlockActs, "_cover_entering", lambda *_: True)
    work_in_operation(server, alice)
    breaches = law.take()
    assert 4 == len(breaches)
    assert "a thread becomes the client on a pass, and no record began it" in breaches


@bypasses_the_law
def test_a_naive_block_that_becomes_the_client_unrecorded_is_found(
    server, law, alice, monkeypatch
):
    with alice.impersonate():
        assert [] == law.take()
    monkeypatch.setattr(BlockActs, "announce", lambda *_, **__: None)
    for block in (alice.impersonate, server.as_server):
        with block():
            pass
    assert ["a thread becomes the client", "a thread becomes the server"] == [
        breach.partition(",")[0] for breach in law.take()
    ]


@bypasses_the_law
@pytest.mark.root
def test_naive_orders_to_workers_and_launchers_are_found(kernel_server, law, client_of):
    alice = client_of(kernel_server, "alice")
    means = kernel_server._house.acting._means
    assert 4 == alice.run(divmod, 9, 2)[0]
    assert [] == law.take()
    means.workers.run(alice.token, divmod, (9, 2), seconds=30).result(30)
    means.workers.open(alice.token, "/etc/hosts", 0, seconds=30).exception(30)
    said = [breach.partition(",")[0] for breach in law.take()]
    assert {"a function is ordered", "a file is ordered"} <= set(said)
    # A worker that nobody recorded was started for it, too.
    assert "a process is ordered" in said


@bypasses_the_law
def test_a_failed_logon_that_is_counted_and_never_recorded_is_found(server, law):
    logon = server.accounts.logon
    logon.lockout.reserve("alice")
    assert ["a failed logon was counted and never recorded"] == law.take()


def test_what_the_guard_refuses_to_do_unrecorded_breaks_nothing(
    server, law, alice, plan, rights
):
    server._house.guard.sink.close()
    with pytest.raises(LedgerUnavailableError):
        server.accounts.add("carol")
    with pytest.raises(LedgerUnavailableError):
        alice.impersonate().__enter__()
    with pytest.raises(LedgerUnavailableError):
        server.protect("draft", rights, [allow("alice", rights.READ)])
    assert [] == law.take()


def test_blocks_are_watched_whoever_enters_them(server, law, alice):
    block = Block(alice.impersonate()._kind, alice.subject, server._house.guard)
    with block:
        assert [] == law.take()


PROGRAM = """
from stead import Enforcement, ProtectedServer

with ProtectedServer("other", enforcement=Enforcement.TOKEN) as server:
    server.accounts.add("alice")
    {act}
"""


@bypasses_the_law
@pytest.mark.parametrize(
    ("act", "breaches"),
    [
        ('server.accounts.add("bob")', 0),
        ('server._house.admission.store.add_account("bob", None, None)', 1),
    ],
)
def test_programs_that_tests_start_are_watched_as_well(programs_told, act, breaches):
    program = PROGRAM.format(act=act)
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)
    told = programs_told.take()
    assert breaches == len(told)
    assert all("INSERT of `principal`" in breach for breach in told)


CONNECTS = """
import socket
from stead import Enforcement, ProtectedServer

with ProtectedServer("other", enforcement=Enforcement.TOKEN) as server:
    server.accounts.add("alice")
    alice = server.client_for("alice", authenticated_by="a cookie")
    with socket.create_server(("127.0.0.1", 0)) as elsewhere:
        with socket.create_connection(elsewhere.getsockname()) as made:
            server._house.acting.hops.reach_of(alice.token).line.keep(made)
"""


@bypasses_the_law
def test_programs_that_reach_other_machines_unrecorded_are_found(programs_told):
    subprocess.run([sys.executable, "-c", CONNECTS], check=True, timeout=120)
    (told,) = programs_told.take()
    assert "and no durable DELEGATED announced it" in told


@bypasses_the_law
@pytest.mark.parametrize("other", ["bob", "another request"])
def test_a_record_of_somebody_elses_announces_nothing(server, alice, bob, law, other):
    law.take()
    whose = bob if other == "bob" else alice.with_correlation("0" * 32 + "-1")
    entered, guard = AuditEvent.IMPERSONATION_ENTERED, server._house.guard
    guard.recorder.record(entered, whose.subject)
    frame = Frame(
        kind=FrameKind.CLIENT, subject=alice.subject, guard=guard, outer=None,
        place=context.here(), task=None, grip=None, at="here", code=None, last=0,
    )  # fmt: skip
    context.enter_frame(frame)
    context.leave_frame(frame)
    (breach,) = law.take()
    assert breach.endswith("and no durable IMPERSONATION_ENTERED announced it")
