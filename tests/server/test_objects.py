from __future__ import annotations

from dataclasses import replace

import pytest

from stead.authority.session import LEASE
from stead.codec.condition_binary import write_condition
from stead.codec.condition_text import read_condition_text
from stead.errors import (
    AccessDeniedError,
    InvalidNameError,
    InvalidRequestError,
    LedgerUnavailableError,
    LogonSessionEndedError,
    NoThreadTokenError,
    PrivilegeNotHeldError,
    StaleVersionError,
    UnknownAccountError,
    UnknownObjectError,
)
from stead.model import well_known
from stead.model.access_mask import AccessMask, GenericMapping, Rights
from stead.model.ace import (
    AccessAllowedCallbackAce,
    AccessDeniedAce,
    AccessDeniedCallbackObjectAce,
    MandatoryLabelAce,
    SystemAuditAce,
)
from stead.model.acl import ABSENT_SACL
from stead.model.audit_record import AuditEvent
from stead.model.explicit_access import allow, audit, deny
from stead.model.privilege import Privilege
from stead.model.security_descriptor import SecurityDescriptor
from stead.monitor.frames import FrameKind
from stead.monitor.impersonation import Block
from stead.monitor.securable_object import ObjectKind
from stead.server.objects import ObjectDirectory
from stead.server.own_objects import ACCOUNTS, AUDIT_POLICY, TRAIL

NO_WRITE_UP = 1
LOW = MandatoryLabelAce(well_known.LOW_LEVEL, NO_WRITE_UP)
HIGH = MandatoryLabelAce(well_known.HIGH_LEVEL, NO_WRITE_UP)


class Other(Rights):
    LOOK = 0x1


@pytest.fixture
def place(tmp_path):
    tmp_path.chmod(0o700)
    return tmp_path / "notes.db"


# --- made -------------------------------------------------------------------------


def test_a_new_object_outside_a_block_is_the_servers(server, rights):
    made = server.protect("draft", rights)
    assert server.token.user == made.descriptor.owner
    assert {server.token.user, well_known.LOCAL_SYSTEM} == {
        ace.trustee for ace in made.descriptor.dacl
    }


def test_a_new_object_inside_a_clients_block_is_the_clients(server, alice, rights):
    with alice.impersonate():
        made = server.protect("draft", rights)
    assert alice.sid == made.descriptor.owner
    assert alice.token.default_group == made.descriptor.group
    assert server.check(alice, made, rights.WRITE)


def test_a_new_object_in_as_server_is_the_servers(server, alice, rights):
    with alice.impersonate(), server.as_server():
        made = server.protect("draft", rights)
    assert server.token.user == made.descriptor.owner


def test_a_handler_that_has_not_said_who_makes_nothing(server, guard, rights):
    with (
        Block(FrameKind.HANDLER, None, guard),
        pytest.raises(NoThreadTokenError),
    ):
        server.protect("draft", rights)
    with pytest.raises(UnknownObjectError):
        server.find_object("draft")


def test_a_new_object_is_recorded_with_its_descriptor(server, alice, rights, trail):
    with alice.impersonate():
        made = server.protect("draft", rights)
    record = trail(AuditEvent.OBJECT_CREATED)[-1]
    assert ("draft", "alice") == (record.object_name, record.client.name)
    assert made.descriptor.to_sddl() == record.detail["descriptor"]


def test_an_object_that_cannot_be_recorded_is_not_made(server, rights):
    server._house.guard.sink.close()
    with pytest.raises(LedgerUnavailableError):
        server.protect("draft", rights)
    with pytest.raises(UnknownObjectError):
        server.find_object("draft")


def test_an_object_keeps_the_descriptor_it_has(server, bob, plan, rights):
    server.set_entries(bob, plan, [deny("alice", rights.READ)])
    again = server.protect("plan", rights, [allow("Everyone", rights.WRITE)])
    assert again is plan
    assert [AccessDeniedAce] == [type(ace) for ace in plan.descriptor.dacl]


def test_an_object_keeps_its_kind(server, plan):
    with pytest.raises(InvalidRequestError, match="kept as a Doc"):
        server.protect("plan", Other)


def test_generic_rights_are_kept_as_the_kinds_own(server, rights):
    everything = AccessMask.GENERIC_ALL
    made = server.protect(
        "draft", rights, [allow("alice", everything), audit("alice", everything)]
    )
    assert not {ace.mask & 0xF0000000 for ace in made.descriptor.dacl} - {0}
    assert not {ace.mask & 0xF0000000 for ace in made.descriptor.sacl} - {0}


def test_an_entry_for_nobody_makes_no_object(server, rights):
    for settings in ({"entries": [allow("mallory", 1)]}, {"owner": "mallory"}):
        with pytest.raises(UnknownAccountError):
            server.protect("draft", rights, **settings)
    with pytest.raises(UnknownObjectError):
        server.find_object("draft")


@pytest.mark.parametrize("name", ["", "x" * 257, "a\nb", "a\0b"], ids=ascii)
def test_a_name_is_printable_and_not_endless(server, rights, name):
    with pytest.raises(InvalidNameError):
        server.protect(name, rights)


# --- found ------------------------------------------------------------------------


def test_objects_of_an_earlier_run_are_found_with_their_kind(
    open_server, place, rights
):
    with open_server(store=place) as first:
        first.accounts.add("alice")
        first.protect("plan", rights, [allow("alice", rights.READ)])
    second = open_server(store=place)
    found = second.find_object("plan")
    assert ("Doc", {"READ": 1, "WRITE": 2}) == (found.kind.name, found.kind.rights)
    assert ObjectKind.of(rights) == found.kind
    alice = second.client_for("alice", authenticated_by="test")
    assert second.check(alice, found, rights.READ)
    names = [made.name for made in second._house.objects.all()]
    assert ["plan", ACCOUNTS, AUDIT_POLICY, TRAIL] == names


def test_what_another_process_revokes_is_revoked_here_within_the_lease(
    open_server, place, rights
):
    ours = open_server(store=place)
    ours.accounts.add("alice")
    plan = ours.protect("plan", rights, [allow("alice", rights.READ)], owner="alice")
    directory = ours._house.objects
    clock = [0]
    directory._monotonic = lambda: clock[0]
    ours.protect("plan", rights)  # read at 0 by the hand clock
    alice = ours.client_for("alice", authenticated_by="test")

    theirs = open_server(store=place)
    owner = theirs.client_for("alice", authenticated_by="test")
    theirs.set_entries(owner, theirs.find_object("plan"), [deny("alice", 3)])

    clock[0] = LEASE - 1
    assert ours.check(alice, plan, rights.READ)
    clock[0] = LEASE
    assert not ours.check(alice, plan, rights.READ)
    assert 2 == plan.version


def test_an_object_that_is_gone_is_judged_no_more(server, plan, alice, rights):
    class Emptied:
        def object_by_name(self, name):
            return None

    names = server._house.guard.names
    clock = [0]
    directory = ObjectDirectory(
        server._house.objects._store, names, monotonic=lambda: clock[0]
    )
    held = directory.find("plan")
    directory._store = Emptied()
    clock[0] = LEASE
    with pytest.raises(UnknownObjectError):
        server.require(alice, held, rights.READ)


# --- changed ----------------------------------------------------------------------


def test_changing_entries_takes_write_dac(server, alice, bob, plan, rights):
    with pytest.raises(AccessDeniedError):
        server.set_entries(alice, plan, [allow("alice", rights.WRITE)])
    assert not server.check(alice, plan, rights.WRITE)
    server.set_entries(bob, plan, [allow("alice", rights.WRITE)])
    assert server.check(alice, plan, rights.WRITE)


def test_a_change_is_recorded_with_the_old_and_the_new(
    server, bob, plan, rights, trail
):
    before = plan.descriptor.to_sddl()
    server.set_entries(bob, plan, [allow("alice", rights.WRITE)])
    [record] = trail(AuditEvent.PERMISSIONS_CHANGED)
    assert (before, plan.descriptor.to_sddl()) == (
        record.detail["old"],
        record.detail["new"],
    )
    assert before != plan.descriptor.to_sddl()


def test_a_change_that_cannot_be_recorded_is_not_made(server, bob, plan, rights):
    before = plan.descriptor
    server._house.guard.sink.close()
    with pytest.raises(LedgerUnavailableError):
        server.set_entries(bob, plan, [allow("alice", rights.WRITE)])
    assert before is plan.descriptor


def test_a_client_whose_session_ended_changes_nothing(server, bob, plan, rights):
    bob.close()
    with pytest.raises(LogonSessionEndedError):
        server.set_entries(bob, plan, [allow("alice", rights.WRITE)])


def test_a_descriptor_that_another_process_changed_meanwhile_is_stale(
    open_server, place, rights
):
    ours = open_server(store=place)
    ours.accounts.add("alice")
    plan = ours.protect("plan", rights, owner="alice")
    theirs = open_server(store=place)
    owner = theirs.client_for("alice", authenticated_by="test")
    theirs.set_entries(owner, theirs.find_object("plan"), [allow("alice", 1)])
    plan._renew = None  # as if this happened within the lease
    alice = ours.client_for("alice", authenticated_by="test")
    with pytest.raises(StaleVersionError):
        ours.set_entries(alice, plan, [allow("alice", 2)])
    assert [1] == [ace.mask for ace in theirs.find_object("plan").descriptor.dacl]


class Interposed:
    """A sink that lets something happen just before a change is recorded."""

    def __init__(self, sink, happen):
        self.sink = sink
        self.happen = happen

    def record(self, record, *, is_reserved=False):
        if record.event is AuditEvent.PERMISSIONS_CHANGED:
            self.happen()
        return self.sink.record(record)

    def queue(self, record):
        self.sink.queue(record)


def test_a_change_that_was_judged_by_an_older_descriptor_is_stale(
    server, guard, bob, plan, rights
):
    # While bob's change waits for its record, another thread takes his right away.
    def take_away():
        server.set_entries(bob, plan, [deny("bob", AccessMask.WRITE_DAC)])

    slow = replace(guard, sink=Interposed(guard.sink, take_away))
    entries = [allow("Everyone", rights.WRITE)]
    with pytest.raises(StaleVersionError):
        server._house.objects.set_entries(slow, bob.subject, plan, entries)
    assert [int(AccessMask.WRITE_DAC)] == [ace.mask for ace in plan.descriptor.dacl]


# --- audit entries and labels -----------------------------------------------------


def test_audit_entries_take_the_privilege_to_see_them(
    server, client_of, bob, plan, rights
):
    entries = [allow("alice", rights.READ), audit("alice", rights.READ)]
    with pytest.raises(AccessDeniedError):
        server.set_entries(bob, plan, entries)
    assert plan.descriptor.sacl is ABSENT_SACL
    server.accounts.grant("bob", Privilege.SECURITY)
    server.set_entries(client_of(server, "bob"), plan, entries)
    assert [SystemAuditAce] == [type(ace) for ace in plan.descriptor.sacl]


def test_without_audit_entries_those_that_are_there_stay(
    server, client_of, plan, rights
):
    server.accounts.grant("bob", Privilege.SECURITY)
    bob = client_of(server, "bob")
    server.set_entries(bob, plan, [audit("alice", rights.READ)])
    kept = plan.descriptor.sacl
    server.set_entries(bob, plan, [allow("alice", rights.READ)])
    assert kept == plan.descriptor.sacl


def test_a_label_takes_write_owner_and_stays_when_audit_entries_change(
    server, client_of, plan, rights
):
    for privilege in (Privilege.SECURITY, Privilege.TAKE_OWNERSHIP):
        server.accounts.grant("bob", privilege)
    bob = client_of(server, "bob")
    server.set_entries(bob, plan, [LOW])
    server.set_entries(bob, plan, [audit("alice", rights.READ)])
    assert [MandatoryLabelAce, SystemAuditAce] == [
        type(ace) for ace in plan.descriptor.sacl
    ]
    assert NO_WRITE_UP == plan.descriptor.sacl.aces[0].mask


def test_a_label_is_not_set_with_write_dac_alone(server, bob, plan):
    with pytest.raises(AccessDeniedError):
        server.set_entries(bob, plan, [LOW])
    assert plan.descriptor.sacl is ABSENT_SACL


def test_a_label_above_ones_own_takes_the_privilege_for_it(server, client_of, plan):
    server.accounts.grant("bob", Privilege.TAKE_OWNERSHIP)
    bob = client_of(server, "bob")
    with pytest.raises(PrivilegeNotHeldError):
        server.set_entries(bob, plan, [HIGH])
    assert plan.descriptor.sacl is ABSENT_SACL
    server.accounts.grant("bob", Privilege.RELABEL)
    server.set_entries(client_of(server, "bob"), plan, [HIGH])
    assert [well_known.HIGH_LEVEL] == [ace.trustee for ace in plan.descriptor.sacl]


# --- the server's own -------------------------------------------------------------


def test_the_servers_own_objects_are_administrators(server, administrator, alice):
    for name in (ACCOUNTS, TRAIL):
        securable = server.find_object(name)
        assert well_known.ADMINISTRATORS == securable.descriptor.owner
        assert server.check(administrator, securable, AccessMask.GENERIC_ALL)
        assert not server.check(alice, securable, 1)


def test_a_kind_whose_names_do_not_say_its_mapping_keeps_it(open_server, place):
    class Queue(Rights):
        PUT = 0x1
        TAKE = 0x2

        @classmethod
        def generic_mapping(cls):
            return GenericMapping(cls.TAKE, cls.PUT, 0, cls.PUT | cls.TAKE)

    with open_server(store=place) as first:
        first.accounts.add("alice")
        first.protect("jobs", Queue, [allow("alice", AccessMask.GENERIC_ALL)])
    found = open_server(store=place).find_object("jobs")
    assert ObjectKind.of(Queue).mapping == found.kind.mapping


# --- conditions and attributes ------------------------------------------------------


def test_conditional_entries_and_attributes_guard_objects_like_others(
    server, client_of, plan, rights
):
    server.accounts.grant("bob", Privilege.SECURITY)
    secret = 'S:(RA;;;;;WD;("Level",TI,0x0,3))'
    attribute = SecurityDescriptor.from_sddl(secret).sacl.aces[0]
    condition = write_condition(read_condition_text("(@Resource.Level == 3)"))
    alice = client_of(server, "alice").sid
    mine = AccessAllowedCallbackAce(alice, rights.READ, application_data=condition)
    server.set_entries(client_of(server, "bob"), plan, [mine, attribute])
    assert server.check(client_of(server, "alice"), plan, rights.READ)
    again = replace(attribute, application_data=other_level())
    server.set_entries(client_of(server, "bob"), plan, [mine, again])
    assert not server.check(client_of(server, "alice"), plan, rights.READ)


def other_level():
    text = 'S:(RA;;;;;WD;("Level",TI,0x0,4))'
    return SecurityDescriptor.from_sddl(text).sacl.aces[0].application_data


def test_a_change_to_an_entry_that_sddl_cannot_spell_is_recorded_as_bytes(
    server, bob, plan, rights, trail
):
    alarm = AccessDeniedCallbackObjectAce(bob.sid, rights.READ)
    server.set_entries(bob, plan, [alarm])
    record = trail(AuditEvent.PERMISSIONS_CHANGED)[-1]
    assert plan.descriptor.to_bytes().hex() == record.detail["new"]
