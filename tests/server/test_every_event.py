"""Every event there is comes of its real act: what nobody produces is no event."""

from __future__ import annotations

import asyncio
import os
import subprocess
import threading
from contextlib import suppress
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from argon2 import PasswordHasher
from tests.server.conftest import Doc, with_accounts
from tests.server.dde_stage import Ear, Stage

import stead
from stead.authority.lockout import LockoutPolicy
from stead.errors import RevertOrderError, SteadError
from stead.ledger.ledger import Ledger
from stead.ledger.query import Query
from stead.model.access_mask import AccessMask
from stead.model.audit_policy import AccountAuditing, Auditing, Subcategory
from stead.model.audit_record import AuditEvent
from stead.model.explicit_access import allow, audit
from stead.model.posix_identity import PosixIdentity
from stead.model.privilege import LogonRight, Privilege
from stead.model.token import ImpersonationLevel
from stead.server.enforcement import Enforcement
from stead.server.protected_server import ProtectedServer
from stead.server.trail_parts import make_note

ELSEWHERE = {
    AuditEvent.BROKER_ASKED: "end_to_end/test_without_root.py",
    AuditEvent.TRAIL_FULL: "end_to_end/test_full_disk.py",
    AuditEvent.TRAIL_FAILED: "adapters/test_store_ledger.py",
    AuditEvent.TRAIL_CLEARED: "server/test_trail_archive.py",
    AuditEvent.TRAIL_ARCHIVED: "server/test_trail_archive.py",
    AuditEvent.WITNESS_REPORTED: "server/test_trail_watch.py",
    AuditEvent.SINK_DOWN: "server/test_sinks.py",
    AuditEvent.SINK_UP: "server/test_sinks.py",
    AuditEvent.SINK_BEGAN_ANEW: "server/test_sinks.py",
    AuditEvent.RECORDS_NOT_SENT: "server/test_sinks.py",
    AuditEvent.RECORD_UNREADABLE: "server/test_sinks.py",
}
"""What takes more than one process, or a disk that fails: the test that sees it."""

QUICK = LockoutPolicy(threshold=1, first_delay=0.0, longest_delay=0.0)
HANDLES = Subcategory.HANDLE_MANIPULATION


def accounts(server):
    desk = server.accounts
    desk.add("carol", uid=70003)
    desk.map("carol", uid=70004)
    desk.rename("carol", "caroline")
    desk.disable("caroline")
    desk.enable("caroline")
    for right in (Privilege.BACKUP, LogonRight.BATCH):
        desk.grant("caroline", right)
        desk.revoke("caroline", right)
    desk.add_group("staff")
    desk.map_group("staff", gid=70300)
    desk.add_member("staff", "caroline")
    desk.remove_member("staff", "caroline")
    desk.delete_group("staff")
    desk.delete("caroline")


def logons(server):
    desk = server.accounts
    desk.grant("bob", Privilege.SECURITY)
    desk.set_password("bob", "tiger")
    desk.change_password("bob", "tiger", "lion")
    client = server.client_for("alice", authenticated_by="test")
    server.log_on("bob", "lion", via=client).log_off()
    with suppress(SteadError):
        server.log_on("bob", "wrong")
    desk.unlock("bob")
    weak = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1).hash("lion")
    bob = desk.store.account_by_name("bob").sid
    desk.logon._passwords.credentials.set_password(bob, weak, changed_at=1)
    server.log_on("bob", "lion").close()


def objects(server):
    server.accounts.grant("root of the store", Privilege.SECURITY)
    admin = server.client_for("root of the store", authenticated_by="test")
    everything = [allow("root of the store", AccessMask.GENERIC_ALL)]
    made = server.protect("draft", Doc, everything)
    server.set_entries(admin, made, everything)
    server.set_audit(admin, made, [audit("Everyone", Doc.READ)])
    with server.open_object(admin, made, Doc.READ) as handle:
        handle.require(Doc.READ)
    server.require_privilege(admin, Privilege.SECURITY, operation="x")
    server.require_privilege(admin, Privilege.SECURITY, operation="x", on=made)
    server.report(admin, "sent")
    server.explain(admin, "alice", made, Doc.READ)
    server.delete_object(admin, made)
    desk = server.audit_policy_for(admin)
    desk.set_everybody(HANDLES, Auditing.FAILURE)
    desk.set_everybody(HANDLES, Auditing.SUCCESS | Auditing.FAILURE)
    own = AccountAuditing(excluded=Auditing.SUCCESS)
    desk.set_account("alice", HANDLES, own)
    desk.set_global_sacl(made.kind, [audit("Everyone", Doc.READ)])


def identities(server):
    alice = server.client_for("alice", authenticated_by="test")
    with alice.impersonate():
        with stead.enable_privileges(Privilege.CHANGE_NOTIFY):
            pass
        with suppress(SteadError):
            Path("/etc/hosts").open().close()
    low = server.client_for(
        "alice", authenticated_by="test", level=ImpersonationLevel.IDENTIFICATION
    )
    with suppress(SteadError):
        low.impersonate().__enter__()
    block = server.as_server()
    block.__enter__()
    stranger = threading.Thread(target=partial(_leave, block))
    stranger.start()
    stranger.join()
    block._frame.is_closed = False
    block.leave()
    server._house.guard.own.delegating(alice.subject, "HTTP/files", protocol="test")


def _leave(block):
    with pytest.raises(RevertOrderError):
        block.leave()


def operations(server):
    @server.operation("look")
    def look(client):
        return client.name

    alice = server.client_for("alice", authenticated_by="test")
    assert "alice" == server.call(alice, "look")
    server.reception.turned_away(3, "uid 5: too many")
    plan = server.protect("plan", Doc, [allow("alice", Doc.READ)])
    for seconds in (60, 0.05):
        ends = timedelta(seconds=seconds)
        lent = alice.limited(expires=ends, rights=Doc.READ, targets=[plan])
        with suppress(SteadError):
            server.check(lent, plan, Doc.READ)
            server.require(lent, plan, Doc.READ)
        if seconds > 1:
            lent.revoke()
        else:
            _until_expired(server, lent, plan)


def _until_expired(server, lent, plan):
    for _ in range(2000):
        try:
            server.check(lent, plan, Doc.READ)
        except SteadError:
            return
        threading.Event().wait(0.005)


def conversations(server):
    async def talk():
        side = await Stage(server).connect()
        await Ear.of(side, "Acme")
        await side.close()

    asyncio.run(talk())


def losses(server):
    house = server._house
    store = house.trail.store
    note = partial(make_note, house.guard.server)
    ledger = Ledger(store, genesis=house.trail.genesis, note=note, backlog=0)
    record = next(server.trail.find(Query(limit=1)))[1]
    ledger.queue(record)
    ledger.close()


def machine(server):
    alice = server.client_for_peer(PosixIdentity(70001, 70001, ()))
    alice.open("/etc/hosts").close()
    assert 4 == alice.run(divmod, 9, 2)[0]
    with alice.start(["true"], stdout=subprocess.DEVNULL) as process:
        process.wait(30)
    alice.close()


@pytest.fixture(scope="module")
def seen(tmp_path_factory, _law):
    """The events in the trail of a server in which all of that was done."""
    folder = tmp_path_factory.mktemp("every")
    folder.chmod(0o700)
    place, found = folder / "notes.db", set()
    options = {"store": place, "enforcement": Enforcement.TOKEN, "lockout": QUICK}
    with with_accounts(ProtectedServer("notes", **options)) as server:
        for scene in (accounts, objects, identities, operations, logons, conversations):
            scene(server)
        losses(server)
    options["enforcement"] = Enforcement.KERNEL if os.geteuid() == 0 else None
    with ProtectedServer("notes", **options) as server:
        if os.geteuid() == 0:
            machine(server)
    options["enforcement"] = Enforcement.TOKEN
    with ProtectedServer("notes", **options) as server:
        server.trail.verify()
        found.update(record.event for _, record in server.trail.find(Query()))
    _law.take()  # the verifier that was made weak by hand
    return found


@pytest.mark.root
@pytest.mark.leaks_identity
@pytest.mark.parametrize("event", sorted(AuditEvent), ids=lambda event: event.name)
def test_every_event_is_produced_by_its_act(seen, event):
    if event in ELSEWHERE:
        there = Path(__file__).parents[1] / ELSEWHERE[event]
        assert f"AuditEvent.{event.name}" in there.read_text("utf-8")
    else:
        assert event in seen
