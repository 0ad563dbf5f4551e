"""Effective access, who can and what can: answers, who may ask, what is recorded."""

from __future__ import annotations

import pytest

from stead.codec.sddl import ace_to_sddl
from stead.errors import (
    AccessDeniedError,
    AccountDisabledError,
    InvalidNameError,
    InvalidRequestError,
    UnknownAccountError,
)
from stead.model.access_mask import AccessMask, Rights
from stead.model.acl import NULL_DACL
from stead.model.audit_record import AuditEvent
from stead.model.explicit_access import allow, deny
from stead.model.privilege import Privilege
from stead.model.security_descriptor import SecurityDescriptor
from stead.model.well_known import ADMINISTRATORS


class Door(Rights):
    PASS = 0x1
    READ = 0x4


@pytest.fixture
def ask(server, client_of):
    """The questions of somebody who may list accounts and read any descriptor."""
    server.accounts.grant("Administrators", Privilege.BACKUP)
    client = client_of(server, "root of the store")
    yield server.questions_for(client)
    del client  # held until here: its session ends with it


@pytest.fixture
def questions(server):
    """Give the questions that somebody may ask."""
    return server.questions_for


@pytest.fixture
def doors(server, rights):
    """Objects of two kinds; bob owns those whose names say so, alice may read most."""
    server.accounts.add_group("staff")
    server.accounts.add_member("staff", "alice")
    server.accounts.add_member("staff", "bob")
    for name, kind, entries, owner in (
        ("a of bob", rights, [allow("staff", rights.READ | rights.WRITE)], "bob"),
        ("b of bob", rights, [deny("alice", rights.READ)], "bob"),
        ("c", rights, [allow("alice", rights.READ)], "Administrators"),
        ("door of bob", Door, [allow("alice", Door.PASS | Door.READ)], "bob"),
    ):
        server.protect(name, kind, entries, owner=owner)
    return server


# --- effective ----------------------------------------------------------------------


def test_effective_access_names_every_right_that_an_account_has(
    questions, inquirer, plan
):
    found = questions(inquirer).effective("alice", plan)

    assert ("alice", "plan", 1, "READ") == (
        found.account, found.object_name, found.granted, found.rights,
    )  # fmt: skip
    assert ("alice may, on plan: READ",) == found.lines()


def test_ownership_and_privileges_count_as_well(server, questions, bob, plan):
    server.accounts.grant("bob", Privilege.SECURITY)

    assert "READ_CONTROL | WRITE_DAC | ACCESS_SYSTEM_SECURITY" == (
        questions(bob).effective("bob", plan).rights
    )


def test_nothing_at_all_is_said_as_such(questions, inquirer, plan):
    assert ("uid 70077 may, on plan: nothing",) == (
        questions(inquirer).effective("uid 70077", plan).lines()
    )


def test_an_object_without_a_dacl_gives_the_rights_that_its_kind_has(
    server, questions, inquirer, plan, rights
):
    owner, group = plan.descriptor.owner, plan.descriptor.group
    plan.descriptor = SecurityDescriptor(NULL_DACL, owner, group)

    found = questions(inquirer).effective("alice", plan)

    every = rights.READ | rights.WRITE
    standard = 0x1F_0000
    assert every | standard == found.granted


def test_who_may_not_read_the_descriptor_may_not_ask_about_it(questions, alice, plan):
    for account in ("bob", "mallory"):
        with pytest.raises(AccessDeniedError):
            questions(alice).effective(account, plan)


def test_a_disabled_account_has_no_effective_access(server, questions, inquirer, plan):
    server.accounts.disable("alice")

    with pytest.raises(AccountDisabledError):
        questions(inquirer).effective("alice", plan)


def test_who_holds_backup_is_told_of_the_descriptor_in_force(
    open_server, client_of, rights, tmp_path
):
    tmp_path.chmod(0o700)
    one, other = (open_server(store=tmp_path / "store.db") for _ in range(2))
    one.accounts.add("alice")
    one.accounts.grant("alice", Privilege.BACKUP)
    kept = one.protect("kept", rights, [allow("alice", rights.READ)])
    alice = client_of(one, "alice")
    itself, theirs = other._house, other.find_object("kept")
    itself.objects.set_entries(itself.guard, itself.subject, theirs, [])
    one._house.objects._leases["kept"] = 0  # the second is over

    assert "nothing" == one.questions_for(alice).effective("alice", kept).rights


# --- who can ------------------------------------------------------------------------


def test_who_can_names_accounts_with_all_their_rights_and_whence(doors, ask, rights):
    found = ask.who_can(doors.find_object("a of bob"), rights.WRITE)

    assert [
        ("alice", "READ | WRITE", ("alice -> staff",)),
        ("bob", "READ | WRITE | READ_CONTROL | WRITE_DAC", ("bob -> staff",)),
    ] == [(h.account, h.rights, h.through) for h in found.found]
    assert doors.name_of(found.found[0].sid) == "alice"
    assert (
        "WRITE on a of bob: 2 accounts",
        "  alice: READ | WRITE",
        "    by alice -> staff",
        "  bob: READ | WRITE | READ_CONTROL | WRITE_DAC",
        "    by bob -> staff",
    ) == found.lines()


def test_each_way_to_a_right_is_told_once(server, ask, rights):
    server.accounts.grant("bob", Privilege.TAKE_OWNERSHIP)
    made = server.protect(
        "mixed",
        rights,
        [allow("Everyone", rights.READ), allow("bob", rights.WRITE)],
        owner="bob",
    )
    every = rights.READ | rights.WRITE | AccessMask.WRITE_DAC | AccessMask.WRITE_OWNER

    [bob] = ask.who_can(made, every).found

    assert (
        "bob -> Everyone", "an entry for bob", "ownership", "SeTakeOwnershipPrivilege",
    ) == bob.through  # fmt: skip


def test_ownership_by_a_group_is_told_with_the_group(server, ask, rights):
    made = server.protect("group's", rights, [], owner=ADMINISTRATORS)

    [admin] = ask.who_can(made, AccessMask.READ_CONTROL).found

    assert ("ownership: root of the store -> Administrators",) == admin.through


def test_no_list_at_all_is_a_way_as_well(server, ask, plan, rights):
    owner, group = plan.descriptor.owner, plan.descriptor.group
    plan.descriptor = SecurityDescriptor(NULL_DACL, owner, group)

    holders = ask.who_can(plan, rights.READ).found

    assert {("the object has a NULL DACL",)} == {holder.through for holder in holders}


def test_maximum_allowed_asks_who_may_do_anything(server, ask, rights):
    made = server.protect("one", rights, [allow("alice", rights.READ)])

    found = ask.who_can(made, AccessMask.MAXIMUM_ALLOWED)

    assert [("alice", ("an entry for alice",))] == [
        (holder.account, holder.through) for holder in found.found
    ]


def test_disabled_accounts_are_not_among_those_who_can(server, ask, plan, rights):
    assert ["alice"] == [h.account for h in ask.who_can(plan, rights.READ).found]

    server.accounts.disable("alice")

    found = ask.who_can(plan, rights.READ)
    assert ("READ on plan: no accounts",) == found.lines()


def test_an_account_that_cannot_log_on_is_named_as_not_judged(
    server, ask, plan, rights, monkeypatch
):
    explainer = type(ask.explainer)
    identify = explainer.identify_account

    def fails(self, name):
        if name == "alice":
            raise InvalidNameError("gid 6 is the system's")
        return identify(self, name)

    monkeypatch.setattr(explainer, "identify_account", fails)
    found = ask.who_can(plan, rights.READ)

    assert (("alice",), ()) == (found.unjudged, found.found)
    assert "  alice: cannot log on, not judged" == found.lines()[-1]


def test_whoever_may_read_one_descriptor_may_not_list_accounts_by_it(
    server, questions, bob, plan, rights
):
    with pytest.raises(AccessDeniedError) as refused:
        questions(bob).who_can(plan, rights.READ)

    assert "stead:accounts" == refused.value.object_name


def test_who_may_list_accounts_still_needs_the_descriptor(
    server, questions, administrator, plan, rights
):
    with pytest.raises(AccessDeniedError) as refused:
        questions(administrator).who_can(plan, rights.READ)

    assert "plan" == refused.value.object_name


# --- what can -----------------------------------------------------------------------


def test_what_can_names_objects_of_every_kind_that_has_the_right(doors, ask):
    found = ask.what_can("alice", ["READ"])

    assert [
        ("a of bob", "Doc", "READ | WRITE"),
        ("c", "Doc", "READ"),
        ("door of bob", "Door", "PASS | READ"),
    ] == [(o.name, o.type_name, o.rights) for o in found.found]
    assert ("alice", "READ", 0) == (found.account, found.asked, found.hidden)
    assert "alice has READ to 3 objects" == found.lines()[0]
    assert "  c (Doc): READ" == found.lines()[2]


def test_only_objects_that_have_all_of_the_rights_are_meant(doors, ask):
    assert ["a of bob"] == [
        one.name for one in ask.what_can("alice", ["READ", "WRITE"]).found
    ]
    assert ["door of bob"] == [
        one.name for one in ask.what_can("alice", ["PASS"]).found
    ]


def test_what_can_may_be_asked_about_some_objects_only(doors, ask):
    found = ask.what_can("alice", ["READ"], names=["c", "c", "b of bob"])

    assert (["c"], 0) == ([one.name for one in found.found], found.hidden)


def test_objects_whose_descriptors_may_not_be_read_are_counted_not_named(
    doors, questions, inquirer
):
    found = questions(inquirer).what_can("alice", ["READ"])

    assert ["a of bob", "door of bob"] == [one.name for one in found.found]
    assert 4 == found.hidden  # `c`, the accounts, the audit policy and the trail
    assert "  not looked at: 4 objects" == found.lines()[-1]


def test_a_name_of_nothing_and_a_closed_object_are_counted_alike(doors, questions, bob):
    closed, missing = (
        questions(bob).what_can("alice", ["READ"], names=[name]) for name in ("c", "?")
    )

    assert closed == missing
    assert ("alice has READ to no objects", "  not looked at: 1 object") == (
        closed.lines()
    )


def test_who_may_read_no_descriptor_does_not_learn_who_exists(questions, alice, plan):
    known, unknown = (
        questions(alice).what_can(name, ["READ"]) for name in ("bob", "mallory")
    )

    assert (0, 4) == (len(known.found), known.hidden)
    assert (0, 4) == (len(unknown.found), unknown.hidden)


def test_who_may_not_read_the_accounts_learns_of_nobody_else(doors, questions, bob):
    for name in ("alice", "mallory"):
        with pytest.raises(AccessDeniedError):
            questions(bob).what_can(name, ["READ"])
    assert questions(bob).what_can("bob", ["READ"]).found


def test_an_account_that_nobody_has_is_an_error_for_who_may_ask(
    doors, questions, inquirer
):
    with pytest.raises(UnknownAccountError):
        questions(inquirer).what_can("mallory", ["READ"])


def test_a_right_that_no_object_has_is_an_error(doors, ask):
    for rights in ([], ["FLY"], ["READ", "FLY"]):
        with pytest.raises(InvalidRequestError):
            ask.what_can("alice", rights)


# --- recorded -----------------------------------------------------------------------


def test_each_question_is_recorded_once_with_what_was_asked(
    server, ask, plan, rights, trail
):
    ask.explain("alice", plan, rights.READ)
    ask.effective("alice", plan)
    ask.who_can(plan, rights.READ)
    ask.what_can("alice", ["READ"])

    assert [
        ("explain", "alice", "plan", 1),
        ("effective", "alice", "plan", 0),
        ("who can", None, "plan", 1),
        ("what can", "alice", "", 0),
    ] == [
        (r.detail["question"], r.detail.get("about"), r.object_name, r.desired)
        for r in trail(AuditEvent.DECISION_EXPLAINED)
    ]


def test_a_refused_question_is_recorded_as_a_refusal(
    questions, alice, plan, rights, trail
):
    with pytest.raises(AccessDeniedError):
        questions(alice).who_can(plan, rights.READ)

    assert [] == trail(AuditEvent.DECISION_EXPLAINED)
    refused = trail(AuditEvent.OBJECT_ACCESS)
    assert ("alice", "plan") in [
        (r.client.name, r.object_name) for r in refused if r.client is not None
    ]


# --- over a gate --------------------------------------------------------------------


def test_clients_may_ask_for_effective_access(server, inquirer, plan):
    assert ["alice may, on plan: READ"] == server.call(
        inquirer, "stead.effective", account="alice", name="plan"
    )


def test_a_client_learns_of_no_object_that_it_may_not_read(server, alice, plan):
    for name in ("plan", "nothing"):
        with pytest.raises(AccessDeniedError):
            server.call(alice, "stead.effective", account="bob", name=name)


# --- causes -------------------------------------------------------------------------


def test_all_causes_of_an_answer_are_told(server, questions, inquirer, rights):
    server.accounts.add_group("interns")
    server.accounts.add_member("interns", "alice")
    made = server.protect(
        "causes",
        rights,
        [
            deny("interns", rights.WRITE),
            allow("alice", rights.READ),
            allow("Everyone", rights.READ),
        ],
        owner="bob",
    )

    told = questions(inquirer).explain("alice", made, rights.READ | rights.WRITE)

    first, second, third = map(ace_to_sddl, made.descriptor.dacl)
    granted = "READ is granted by entry"
    assert [
        "alice asks causes for READ | WRITE: refused",
        f"  {granted} 2 of the DACL, {second}, which names alice",
        f"    and without that, {granted} 3 of the DACL, {third}, which names Everyone",
        "    by membership: alice -> Everyone",
        f"  WRITE is denied by entry 1 of the DACL, {first}, which names interns",
        "    by membership: alice -> interns",
        "    and without that, WRITE is granted by no entry of the DACL",
    ] == list(told.lines())


def test_what_maximum_allowed_grants_is_told(questions, inquirer, plan):
    told = questions(inquirer).explain("alice", plan, AccessMask.MAXIMUM_ALLOWED)

    assert "alice asks plan for MAXIMUM_ALLOWED: granted READ" == told.lines()[0]
    assert ["READ", "WRITE", "DELETE", "READ_CONTROL", "WRITE_DAC", "WRITE_OWNER"] == [
        line.split()[0] for line in told.lines()[1:] if not line.startswith("    ")
    ]


def test_maximum_allowed_that_gives_nothing_is_refused(questions, inquirer, plan):
    told = questions(inquirer).explain("uid 70077", plan, AccessMask.MAXIMUM_ALLOWED)

    assert "uid 70077 asks plan for MAXIMUM_ALLOWED: refused" == told.lines()[0]
    assert "  access is denied because nothing could be granted" == told.lines()[1]
