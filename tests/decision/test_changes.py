"""The smallest changes that would grant: each grants, and nothing smaller does."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations, permutations

import pytest
from hypothesis import assume, given, settings
from tests import strategies_full
from tests.decision.cases import (
    ALICE,
    BOB,
    DELETE,
    EDITORS,
    INHERIT_ONLY,
    INTERNS,
    MAPPING,
    MAXIMUM,
    READ,
    STAFF,
    SYSTEM_SECURITY,
    WRITE,
    WRITE_DAC,
    WRITE_OWNER,
    PuzzleAce,
    allow,
    deny,
    guarded,
    label,
    token,
)
from tests.decision.test_central_policies import OTHER, READERS, governed, policy
from tests.decision.test_containers import PACKAGE, contained
from tests.decision.test_mandatory_labels import FULL, filtered, trusting

from stead.codec.condition_binary import write_condition
from stead.codec.condition_text import read_condition_text
from stead.decision import changes as changes_module
from stead.decision.access_check import access_check, decide
from stead.decision.central_policy import RECOVERY_RULE
from stead.decision.change_candidates import candidate_changes
from stead.decision.changes import smallest_changes
from stead.decision.changing import Change, ChangeKind, change_sentence, changed
from stead.errors import SteadError
from stead.model.ace import (
    AccessAllowedCallbackAce,
    AccessAllowedCallbackObjectAce,
    AceFlags,
    OpaqueAce,
)
from stead.model.acl import NULL_DACL, Acl
from stead.model.decision import Intent
from stead.model.privilege import Privilege, PrivilegeAttributes, TokenPrivilege
from stead.model.token import GroupAttributes, TokenGroup
from stead.model.well_known import (
    CREATOR_GROUP,
    CREATOR_OWNER,
    HIGH_LEVEL,
    LOW_LEVEL,
    OWNER_RIGHTS,
    PRINCIPAL_SELF,
)

RIGHTS = {"READ": READ, "WRITE": WRITE}


def found(who, what, desired, **sides):
    """The kinds of changes in each smallest set; all of them are judged again."""
    decision = access_check(who, what, desired, MAPPING, **sides)
    result = smallest_changes(decision)
    assert result.is_complete
    for chosen in result.sets:
        assert decide(changed(decision.question, chosen))
    return [[change.kind for change in chosen] for chosen in result.sets]


@settings(max_examples=120, deadline=None)
@given(strategies_full.questions())
def test_each_set_grants_and_none_smaller_does(question):
    try:
        decision = decide(question)
        result = smallest_changes(decision, most=2)
    except (SteadError, ValueError):
        assume(False)
        raise
    sizes = {len(chosen) for chosen in result.sets}
    assert len(sizes) <= 1
    for chosen in result.sets:
        assert decide(changed(question, chosen))
    # By search, apart from how the function searches: every smaller set refuses.
    # Of a grant nothing is searched, so a callback may fail that was never called.
    found = () if decision else candidate_changes(question)
    candidates = list(dict.fromkeys(found))
    for size in range(min(sizes, default=2)):
        for chosen in combinations(candidates, size):
            assert not decide(changed(question, chosen))


# --- what is tried --------------------------------------------------------------------

JOIN, ENABLE, LEAVE = (
    ChangeKind.JOIN_GROUP,
    ChangeKind.ENABLE_GROUP,
    ChangeKind.LEAVE_GROUP,
)
ADD, REMOVE, HOLD = (
    ChangeKind.ADD_ENTRY,
    ChangeKind.REMOVE_ENTRY,
    ChangeKind.HOLD_PRIVILEGE,
)


def tried(who, what, desired, **sides):
    """Every change that is tried, in its order."""
    question = access_check(who, what, desired, MAPPING, **sides).question
    return list(candidate_changes(question))


MINE = Change(ADD, ALICE, READ)


@pytest.mark.parametrize(
    "nobody", [OWNER_RIGHTS, PRINCIPAL_SELF, CREATOR_OWNER, CREATOR_GROUP]
)
def test_nobody_joins_what_only_stands_for_somebody(nobody):
    assert [MINE] == tried(token(), guarded(allow(nobody, READ)), READ)


def test_an_entry_that_could_not_help_is_no_reason_to_join_a_group():
    assert [MINE] == tried(token(), guarded(allow(STAFF, WRITE)), READ)
    found_here = tried(token(STAFF), guarded(allow(STAFF, READ)), READ | WRITE)
    assert [Change(ADD, ALICE, READ | WRITE)] == found_here
    held = TokenGroup(STAFF, GroupAttributes.USE_FOR_DENY_ONLY)
    assert [MINE] == tried(token(held), guarded(allow(STAFF, READ)), READ)
    assert [] == tried(token(user_is_deny_only=True), guarded(allow(ALICE, READ)), READ)


def test_only_groups_are_joined_enabled_and_left():
    what = guarded(deny(ALICE, READ), deny(INTERNS, READ), allow(STAFF, READ))
    expected = [
        Change(REMOVE, position=0),
        Change(REMOVE, position=1),
        Change(LEAVE, INTERNS),
        Change(JOIN, STAFF),
        MINE,
    ]
    assert expected == tried(token(INTERNS), what, READ)
    off = TokenGroup(STAFF, GroupAttributes.NONE)
    expected = [Change(REMOVE, position=0), Change(ENABLE, STAFF), MINE]
    assert expected == tried(token(off), what, READ)


def test_only_privileges_that_help_and_are_not_held_are_given():
    assert [Change(HOLD, privilege=Privilege.SECURITY)] == tried(
        token(), guarded(), SYSTEM_SECURITY
    )
    who = token(privileges=[Privilege.TAKE_OWNERSHIP])
    assert [
        Change(HOLD, privilege=Privilege.SECURITY),
        Change(HOLD, privilege=Privilege.RELABEL),
        Change(ADD, ALICE, READ | WRITE_OWNER),
    ] == tried(who, guarded(), SYSTEM_SECURITY | WRITE_OWNER | READ)


def test_an_entry_names_the_user_or_the_first_sid_that_grants():
    who = token(STAFF, INTERNS, user_is_deny_only=True)
    expected = [Change(ADD, min(STAFF, INTERNS), READ)]
    assert expected == tried(who, guarded(), READ)


def test_a_denial_of_a_restricting_sid_or_of_the_package_is_removed():
    what = guarded(deny(INTERNS, READ), allow(INTERNS, READ), allow(ALICE, READ))
    assert [[REMOVE]] == found(token(restricting_sids=(INTERNS,)), what, READ)
    what = guarded(deny(PACKAGE, READ), allow(PACKAGE, READ), allow(ALICE, READ))
    assert [[REMOVE]] == found(contained(), what, READ)


def test_a_trust_label_that_leaves_the_right_open_stays():
    what = replace(trusting(FULL, READ), dacl=Acl())
    assert [MINE] == tried(token(), what, READ)


# --- what helps -----------------------------------------------------------------------


def test_what_is_granted_needs_no_change():
    assert [[]] == found(token(), guarded(allow(ALICE, READ)), READ)


def test_joining_a_group_or_an_entry_of_one_s_own():
    expected = [[ChangeKind.JOIN_GROUP], [ChangeKind.ADD_ENTRY]]
    assert expected == found(token(), guarded(allow(STAFF, READ)), READ)


def test_a_group_that_is_held_disabled_is_enabled():
    who = token(TokenGroup(STAFF, GroupAttributes.NONE))
    expected = [[ChangeKind.ENABLE_GROUP], [ChangeKind.ADD_ENTRY]]
    assert expected == found(who, guarded(allow(STAFF, READ)), READ)


def test_a_deny_only_group_cannot_be_enabled():
    who = token(TokenGroup(STAFF, GroupAttributes.USE_FOR_DENY_ONLY))
    assert [[ChangeKind.ADD_ENTRY]] == found(who, guarded(allow(STAFF, READ)), READ)


def test_a_denial_goes_with_its_entry_or_the_group():
    what = guarded(deny(INTERNS, READ), allow(ALICE, READ))
    expected = [[ChangeKind.REMOVE_ENTRY], [ChangeKind.LEAVE_GROUP]]
    assert expected == found(token(INTERNS), what, READ)


def test_two_obstacles_take_two_changes():
    what = guarded(deny(ALICE, READ), allow(STAFF, READ))
    expected = [
        [ChangeKind.REMOVE_ENTRY, ChangeKind.JOIN_GROUP],
        [ChangeKind.REMOVE_ENTRY, ChangeKind.ADD_ENTRY],
    ]
    assert expected == found(token(), what, READ)


def test_an_entry_that_is_added_keeps_the_canonical_order():
    inherited = deny(STAFF, READ, AceFlags.INHERITED)
    what = guarded(deny(BOB, READ), allow(BOB, READ), inherited)
    question = access_check(token(STAFF), what, READ, MAPPING).question
    after = changed(question, (Change(ChangeKind.ADD_ENTRY, ALICE, READ),))
    expected = (deny(BOB, READ), allow(ALICE, READ), allow(BOB, READ), inherited)
    assert expected == after.descriptor.dacl.aces
    denials = (deny(BOB, READ), deny(BOB, WRITE, INHERIT_ONLY))
    question = access_check(token(), guarded(*denials), READ, MAPPING).question
    after = changed(question, (Change(ChangeKind.ADD_ENTRY, ALICE, READ),))
    assert (*denials, allow(ALICE, READ)) == after.descriptor.dacl.aces


def test_entries_are_named_by_where_they_stood_before_any_change():
    entries = (deny(ALICE, READ), allow(BOB, READ), deny(STAFF, READ))
    question = access_check(token(STAFF), guarded(*entries), READ, MAPPING).question
    chosen = (
        Change(ChangeKind.ADD_ENTRY, ALICE, READ),
        Change(ChangeKind.REMOVE_ENTRY, position=0),
        Change(ChangeKind.REMOVE_ENTRY, position=2),
    )
    for order in permutations(chosen):
        after = changed(question, order)
        assert (allow(ALICE, READ), allow(BOB, READ)) == after.descriptor.dacl.aces
    question = access_check(token(), guarded(allow(BOB, READ)), READ, MAPPING).question
    after = changed(question, (chosen[0], Change(ChangeKind.REMOVE_ENTRY, position=0)))
    assert (allow(ALICE, READ),) == after.descriptor.dacl.aces


def test_a_change_of_a_token_leaves_the_rest_of_it_alone():
    off = TokenGroup(STAFF, GroupAttributes.MANDATORY)
    interns = TokenGroup(INTERNS, GroupAttributes.NONE)
    who = token(interns, off, privileges=[Privilege.BACKUP])
    question = access_check(who, guarded(), READ, MAPPING).question
    on = GroupAttributes.MANDATORY | GroupAttributes.ENABLED

    def after(kind, **what):
        token_after = changed(question, (Change(kind, **what),)).token
        held = [(entry.sid, entry.attributes) for entry in token_after.groups]
        return held, [entry.privilege for entry in token_after.privileges]

    interns, staff = [(entry.sid, entry.attributes) for entry in who.groups]
    joined = (EDITORS, TokenGroup(EDITORS).attributes)
    kept = [Privilege.BACKUP]
    assert ([interns, staff, joined], kept) == after(ChangeKind.JOIN_GROUP, sid=EDITORS)
    assert ([interns, (STAFF, on)], kept) == after(ChangeKind.ENABLE_GROUP, sid=STAFF)
    assert ([staff], kept) == after(ChangeKind.LEAVE_GROUP, sid=INTERNS)
    both = [Privilege.BACKUP, Privilege.DEBUG]
    for kind in (ChangeKind.HOLD_PRIVILEGE, ChangeKind.ENABLE_PRIVILEGE):
        assert ([interns, staff], both) == after(kind, privilege=Privilege.DEBUG)
        assert ([interns, staff], kept) == after(kind, privilege=Privilege.BACKUP)


def test_integrity_is_raised_to_the_label():
    what = guarded(allow(ALICE, WRITE), sacl=Acl((label(HIGH_LEVEL, 1),)))
    assert [[ChangeKind.RAISE_INTEGRITY]] == found(token(), what, WRITE)
    who, what = token(integrity=LOW_LEVEL), guarded(allow(ALICE, WRITE))
    assert [[ChangeKind.RAISE_INTEGRITY]] == found(who, what, WRITE)


def test_a_label_that_names_no_level_cannot_be_reached():
    what = guarded(allow(ALICE, WRITE), sacl=Acl((label(STAFF, 1),)))
    assert [] == found(token(), what, WRITE)


def test_privileges_are_given_or_enabled():
    assert [[ChangeKind.HOLD_PRIVILEGE]] == found(token(), guarded(), SYSTEM_SECURITY)
    off = TokenPrivilege(Privilege.SECURITY, PrivilegeAttributes.NONE)
    who = replace(token(), privileges=(off,))
    assert [[ChangeKind.ENABLE_PRIVILEGE]] == found(who, guarded(), SYSTEM_SECURITY)
    gone = TokenPrivilege(Privilege.SECURITY, PrivilegeAttributes.REMOVED)
    who = replace(token(), privileges=(gone,))
    assert [[ChangeKind.HOLD_PRIVILEGE]] == found(who, guarded(), SYSTEM_SECURITY)
    kinds = found(token(), guarded(), WRITE_OWNER)
    assert [[ChangeKind.HOLD_PRIVILEGE]] * 2 + [[ChangeKind.ADD_ENTRY]] == kinds
    kinds = found(token(), guarded(), READ, intent=Intent.BACKUP)
    assert [ChangeKind.HOLD_PRIVILEGE] in kinds


def test_an_owner_may_rewrite_the_descriptor():
    assert [ChangeKind.BECOME_OWNER] in found(token(), guarded(), WRITE_DAC)


def test_entries_of_the_sacl_that_refuse_are_removed():
    kind = ChangeKind.REMOVE_SYSTEM_ENTRY
    assert [[kind]] == found(token(), trusting(FULL), WRITE)
    assert [[kind]] == found(token(), filtered("(Exists Ring)"), WRITE)
    what = guarded(allow(ALICE, READ), sacl=Acl((OpaqueAce(type_number=0x20),)))
    assert [[kind]] == found(token(), what, READ)


def test_an_entry_of_an_unknown_kind_is_removed():
    what = guarded(PuzzleAce(BOB, READ), allow(ALICE, READ))
    expected = [[ChangeKind.REMOVE_ENTRY], [ChangeKind.ADD_ENTRY]]
    assert expected == found(token(), what, READ)


def test_a_condition_is_made_true():
    data = write_condition(read_condition_text('(@User.dept == "sales")'))
    plain = AccessAllowedCallbackAce(ALICE, READ, application_data=data)
    typed = AccessAllowedCallbackObjectAce(ALICE, READ, application_data=data)
    for entry in (plain, typed):
        kinds = found(token(), guarded(entry), READ)
        assert [[ChangeKind.MEET_CONDITION], [ChangeKind.ADD_ENTRY]] == kinds


def test_a_central_rule_is_removed():
    what = governed(allow(ALICE, WRITE))
    kind = ChangeKind.REMOVE_RULE
    assert [[kind]] == found(token(), what, WRITE, policies=(READERS,))
    assert [[kind]] == found(token(), what, WRITE, policies=(policy(sid=OTHER),))


def test_everybody_who_must_be_granted_gets_an_entry():
    who, what = token(restricting_sids=(INTERNS,)), guarded(allow(ALICE, READ))
    assert [[ChangeKind.ADD_ENTRY]] == found(who, what, READ)
    assert [[ChangeKind.ADD_ENTRY] * 2] == found(who, guarded(), READ)
    decision = access_check(contained(), what, READ, MAPPING)
    ((change,),) = smallest_changes(decision).sets
    assert PACKAGE == change.sid


def test_a_token_that_no_entry_could_name_is_helped_by_none():
    assert [] == found(token(user_is_deny_only=True), guarded(), READ)


def test_a_null_dacl_takes_no_entry():
    assert [] == found(contained(), guarded(dacl=NULL_DACL), READ)


def test_the_maximum_is_granted_by_any_right():
    expected = [[ChangeKind.ADD_ENTRY], [ChangeKind.BECOME_OWNER]]
    assert expected == found(token(), guarded(), MAXIMUM)


def test_nothing_asked_cannot_be_granted():
    assert [] == found(token(), guarded(allow(ALICE, DELETE)), 0)


@pytest.mark.parametrize(("obstacles", "sets"), [(4, 1), (5, 0)])
def test_a_set_has_up_to_four_changes(obstacles, sets):
    what = guarded(*[deny(ALICE, READ)] * obstacles, allow(ALICE, READ))
    assert [[REMOVE] * obstacles] * sets == found(token(), what, READ)


def test_what_can_just_be_tried_is_complete(monkeypatch):
    what = guarded(deny(ALICE, READ), deny(ALICE, READ))
    decision = access_check(token(), what, READ, MAPPING)
    candidates, tries = 3, 3 + 3 + 1
    assert candidates == len(list(candidate_changes(decision.question)))
    monkeypatch.setattr(changes_module, "MOST_CANDIDATES", candidates)
    monkeypatch.setattr(changes_module, "MOST_JUDGED", tries)
    result = smallest_changes(decision)
    assert (True, 3) == (result.is_complete, len(result.sets[0]))
    monkeypatch.setattr(changes_module, "MOST_JUDGED", tries - 1)
    assert not smallest_changes(decision).is_complete


def test_what_would_take_too_long_is_said_to_be_incomplete(monkeypatch):
    decision = access_check(token(), guarded(deny(ALICE, READ)), READ, MAPPING)
    monkeypatch.setattr(changes_module, "MOST_JUDGED", 1)
    result = smallest_changes(decision)
    assert (False, ()) == (result.is_complete, result.sets)


def test_of_very_many_changes_the_first_are_tried(monkeypatch):
    entries = [allow(STAFF, READ), allow(INTERNS, READ)]
    decision = access_check(token(), guarded(*entries), READ, MAPPING)
    monkeypatch.setattr(changes_module, "MOST_CANDIDATES", 1)
    result = smallest_changes(decision)
    assert not result.is_complete
    assert ((Change(ChangeKind.JOIN_GROUP, STAFF),),) == result.sets


@pytest.mark.parametrize("kind", list(ChangeKind))
def test_every_change_can_be_said(kind):
    (strict,) = READERS.rules
    change = Change(kind, STAFF, READ, 1, Privilege.BACKUP, strict)
    said = change_sentence(change, names=lambda _sid: "staff", rights=RIGHTS)
    assert "{" not in said
    assert said[0].islower()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (Change(JOIN, STAFF), "let the account join staff"),
        (Change(ADD, STAFF, READ), "add an entry that allows staff READ"),
        (Change(REMOVE, position=2), "remove entry 3 of the DACL"),
        (
            Change(HOLD, privilege=Privilege.BACKUP),
            "give the account SeBackupPrivilege",
        ),
        (
            Change(ChangeKind.REMOVE_RULE, STAFF, rule=RECOVERY_RULE),
            "take rule `recovery` out of central access policy staff",
        ),
        (Change(REMOVE), "remove entry  of the DACL"),
        (Change(JOIN), "let the account join "),
        (Change(HOLD), "give the account "),
        (
            Change(ChangeKind.REMOVE_RULE),
            "take rule `` out of central access policy ",
        ),
    ],
)
def test_a_change_is_said_in_plain_words(change, expected):
    assert expected == change_sentence(
        change, names=lambda _sid: "staff", rights=RIGHTS
    )


def test_there_is_nothing_to_remove_where_there_is_no_list():
    question = access_check(token(), guarded(dacl=NULL_DACL), 0, MAPPING).question
    for kind in (REMOVE, ChangeKind.REMOVE_SYSTEM_ENTRY):
        assert question == changed(question, (Change(kind, position=0),))


def test_a_change_that_names_nothing_changes_nothing():
    question = access_check(token(), guarded(), READ, MAPPING).question
    for kind in ChangeKind:
        if kind is not ChangeKind.BECOME_OWNER:
            assert question == changed(question, (Change(kind),))
