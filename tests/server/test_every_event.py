"""Every event there is comes of its real act: what nobody produces is no event."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
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
from stead.ledger.export_ocsf import ocsf_event
from stead.ledger.export_windows import windows_xml
from stead.ledger.exporting import WINDOWS_EVENTS, Origin
from stead.ledger.ledger import Ledger
from stead.ledger.query import Query
from stead.ledger.windows_templates import template_data
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
    """Give all records, by event, of a server in which all of that was done."""
    folder = tmp_path_factory.mktemp("every")
    folder.chmod(0o700)
    place, found = folder / "notes.db", {}
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
        for one in server.trail.export(Query(), "windows-xml"):
            found.setdefault(one.record.event, []).append(one)
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


# --- what exports say of real records ------------------------------------------------

ORIGIN = Origin("files.example", "S-1-5-21-1-2-3", "0.1.0")
WITHOUT_DATA = {AuditEvent.TRAIL_STARTED, AuditEvent.TRAIL_STOPPED}
ABOUT_SOMEBODY = [4704, 4705, 4717, 4718, *range(4720, 4727), *range(4731, 4736), 4738,
                  4740, 4767, 4781]  # fmt: skip


def data_of(seen, event, place=0):
    return dict(template_data(seen[event][place], ORIGIN))


@pytest.mark.root
@pytest.mark.leaks_identity
def test_every_event_of_windows_has_the_data_of_its_template(seen):
    ours = {event for event in seen if event < WINDOWS_EVENTS} - WITHOUT_DATA
    assert set() == {event for event in ours if not data_of(seen, event)}


@pytest.mark.root
@pytest.mark.leaks_identity
def test_records_of_windows_events_name_whom_they_are_about_by_sid(seen):
    for event in ABOUT_SOMEBODY:
        if event in seen:
            sid = data_of(seen, event)["TargetSid"]
            assert sid.startswith("S-1-5-"), event
            account = ocsf_event(seen[event][0], ORIGIN)
            about = account.get("group") or account["user"]
            assert sid == about["uid"]
    added = data_of(seen, AuditEvent.GROUP_MEMBER_ADDED)
    assert added["MemberSid"].startswith("S-1-5-21-")
    set_for = data_of(seen, AuditEvent.ACCOUNT_AUDIT_CHANGED)
    account = seen[AuditEvent.ACCOUNT_AUDIT_CHANGED][0].record.detail
    assert "alice" == account["account"]
    assert account["sid"] == set_for["TargetUserSid"] != set_for["SubjectUserSid"]


@pytest.mark.root
@pytest.mark.leaks_identity
def test_what_is_done_by_a_handle_has_its_number(seen):
    opened = seen[AuditEvent.HANDLE_REQUESTED][0]
    number = f"{opened.number:#x}"
    used = next(
        one
        for one in seen[AuditEvent.OBJECT_ACCESS]
        if one.record.detail.get("opened by") == str(opened.number)
    )
    closed = seen[AuditEvent.HANDLE_CLOSED][0]
    for one in (opened, used, closed):
        assert number == dict(template_data(one, ORIGIN))["HandleId"]


@pytest.mark.root
@pytest.mark.leaks_identity
def test_records_of_windows_events_name_the_process(seen):
    for event in (
        AuditEvent.HANDLE_REQUESTED,
        AuditEvent.PRIVILEGED_SERVICE,
        AuditEvent.PRIVILEGED_OBJECT,
        AuditEvent.PRIVILEGES_ADJUSTED,
    ):
        data = data_of(seen, event)
        assert (f"{os.getpid():#x}", sys.executable) == (
            data["ProcessId"],
            data["ProcessName"],
        )
        system = windows_xml(seen[event][0], ORIGIN)
        assert f'<Execution ProcessID="{os.getpid()}"' in system
    adjusted = data_of(seen, AuditEvent.PRIVILEGES_ADJUSTED)
    assert "SeChangeNotifyPrivilege" == adjusted["EnabledPrivilegeList"]


@pytest.mark.root
@pytest.mark.leaks_identity
def test_a_failed_logon_has_its_status_as_windows_numbers_it(seen):
    data = data_of(seen, AuditEvent.LOGON_FAILED)
    assert ("0xC000006D", "0xC000006A", "bob") == (
        data["Status"],
        data["SubStatus"],
        data["TargetUserName"],
    )


@pytest.mark.root
@pytest.mark.leaks_identity
def test_a_changed_audit_policy_says_what_of_what(seen):
    guid = "{0cce9223-69ae-11d9-bed3-505054503030}"
    which = ("%%8274", "%%12807", guid)
    names = ("CategoryId", "SubcategoryId", "SubcategoryGuid", "AuditPolicyChanges")
    for event, place, changes in (
        (AuditEvent.AUDIT_POLICY_CHANGED, 0, "%%8448"),
        (AuditEvent.AUDIT_POLICY_CHANGED, 1, "%%8449"),
        (AuditEvent.ACCOUNT_AUDIT_CHANGED, 0, "%%8455"),
    ):
        data = data_of(seen, event, place)
        assert (*which, changes) == tuple(data[name] for name in names)
    whole_kind = data_of(seen, AuditEvent.GLOBAL_SACL_CHANGED)
    assert ("Global SACL", "Doc") == (
        whole_kind["ObjectType"],
        whole_kind["ObjectName"],
    )


@pytest.mark.root
@pytest.mark.leaks_identity
def test_names_that_change_and_rights_to_log_on_are_told(seen):
    renamed = data_of(seen, AuditEvent.ACCOUNT_RENAMED)
    assert ("carol", "caroline") == (
        renamed["OldTargetUserName"],
        renamed["NewTargetUserName"],
    )
    given = data_of(seen, AuditEvent.LOGON_RIGHT_GRANTED)
    taken = data_of(seen, AuditEvent.LOGON_RIGHT_REMOVED)
    right = LogonRight.BATCH.value
    assert (right, right) == (given["AccessGranted"], taken["AccessRemoved"])
    left = data_of(seen, AuditEvent.LOGOFF_ASKED)
    assert ("bob", str(seen[AuditEvent.LOGOFF_ASKED][0].record.client.logon_id)) == (
        left["TargetUserName"],
        left["TargetLogonId"],
    )


@pytest.mark.root
@pytest.mark.leaks_identity
def test_whose_password_was_handed_in_is_the_user_of_ocsf_and_not_who_did(seen):
    event = ocsf_event(seen[AuditEvent.EXPLICIT_CREDENTIALS][0], ORIGIN)
    assert ("bob", "alice") == (event["user"]["name"], event["actor"]["user"]["name"])


@pytest.mark.root
@pytest.mark.leaks_identity
def test_only_what_is_about_the_trail_itself_is_no_class_of_ocsf(seen):
    bare = {
        e for e, found in seen.items() if not ocsf_event(found[0], ORIGIN)["class_uid"]
    }
    assert {AuditEvent.IDENTITY_LEAKED, AuditEvent.RECORDS_LOST} == bare
