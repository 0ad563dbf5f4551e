"""The law of reasons: undoing all causes turns the answer, undoing fewer does not."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import pytest
from hypothesis import assume, given, settings
from tests import strategies_full
from tests.decision.cases import (
    ALICE,
    BOB,
    DENY_ONLY,
    INTERNS,
    MAPPING,
    MAXIMUM,
    READ,
    READ_CONTROL,
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
from tests.decision.test_central_policies import (
    FINANCE,
    OTHER,
    READERS,
    governed,
    policy,
    rule,
)
from tests.decision.test_containers import CAMERA, PACKAGE, contained
from tests.decision.test_mandatory_labels import FULL, filtered, trusting

from stead.codec.condition_binary import write_condition
from stead.codec.condition_text import read_condition_text
from stead.decision.access_check import access_check, decide
from stead.decision.causes import GRANTING, is_answered, next_cause
from stead.decision.explain import explain, sentence
from stead.decision.judgement import judge
from stead.decision.object_tree import build_tree
from stead.decision.one_right import (
    MOST_WORK,
    STRANGER,
    Budget,
    entries_about,
    price_of,
)
from stead.decision.undoing import UNDOING, causes_of, undone
from stead.errors import SteadError
from stead.model.access_mask import FILE_MAPPING
from stead.model.ace import (
    AccessAllowedAce,
    AccessAllowedCallbackAce,
    AccessAllowedCallbackObjectAce,
    AccessDeniedCallbackObjectAce,
    AccessDeniedObjectAce,
    OpaqueAce,
)
from stead.model.acl import NULL_DACL, Acl
from stead.model.decision import ObjectType, Reason, Rule, Whom
from stead.model.guid import Guid
from stead.model.privilege import Privilege
from stead.model.security_descriptor import SecurityDescriptor
from stead.model.token import MandatoryPolicy, TokenGroup
from stead.model.well_known import (
    HIGH_LEVEL,
    LOW_LEVEL,
    NULL_SID,
    OWNER_RIGHTS,
    PRINCIPAL_SELF,
)


@settings(max_examples=250, deadline=None)
@given(strategies_full.questions())
def test_undoing_all_causes_turns_the_answer_and_undoing_fewer_does_not(question):
    try:
        reasons = explain(decide(question))
    except (SteadError, ValueError):  # a question without an answer; a failing callback
        assume(False)
        raise
    whole = judge(question, build_tree(question.object_types)).granted[0]
    for reason in reasons:
        assert reason.granted == bool(whole & reason.right)
        if not reason.right or not reason.is_complete:
            continue
        causes = reason.causes
        assert {reason.granted} == {cause.granted for cause in causes}
        assert reason.granted == is_answered(question, reason.right)
        first = next_cause(question, reason.right)
        assert (reason.granted, reason.right) == (first.granted, first.right)
        assert reason.granted == (first.rule in GRANTING)
        turned = undone(question, causes)
        assert reason.granted != is_answered(turned, reason.right)
        for size in range(len(causes)):
            for fewer in combinations(causes, size):
                kept = undone(question, fewer)
                assert reason.granted == is_answered(kept, reason.right)


def why(who, what, right, **sides):
    """The rules of all causes, in the order in which they are met."""
    decision = access_check(who, what, right, MAPPING, **sides)
    (reason,) = explain(decision)
    turned = undone(decision.question, reason.causes)
    assert reason.granted != is_answered(turned, right)
    return [cause.rule for cause in reason.causes]


def test_two_entries_that_grant_are_two_causes():
    what = guarded(allow(ALICE, READ), allow(STAFF, READ))
    assert [Rule.GRANTED_BY_ACE] * 2 == why(token(STAFF), what, READ)


def test_an_entry_behind_a_deny_is_no_cause():
    what = guarded(allow(ALICE, READ), deny(STAFF, READ), allow(STAFF, READ))
    assert [Rule.GRANTED_BY_ACE] == why(token(STAFF), what, READ)


def test_a_denial_that_nothing_would_grant_has_two_causes():
    what = guarded(deny(STAFF, READ))
    assert [Rule.DENIED_BY_ACE, Rule.NOT_GRANTED] == why(token(STAFF), what, READ)


def test_a_privilege_and_an_entry_are_two_causes():
    who = token(privileges=[Privilege.TAKE_OWNERSHIP, Privilege.RELABEL])
    expected = [Rule.GRANTED_BY_PRIVILEGE] * 2 + [Rule.GRANTED_BY_ACE]
    assert expected == why(who, guarded(allow(ALICE, WRITE_OWNER)), WRITE_OWNER)


def test_ownership_and_an_entry_are_two_causes():
    what = guarded(allow(ALICE, READ_CONTROL), owner=ALICE)
    expected = [Rule.GRANTED_BY_OWNERSHIP, Rule.GRANTED_BY_ACE]
    assert expected == why(token(), what, READ_CONTROL)


def test_an_owner_rights_entry_is_the_cause_where_one_speaks():
    what = guarded(allow(OWNER_RIGHTS, READ_CONTROL), owner=ALICE)
    assert [Rule.GRANTED_BY_ACE] == why(token(), what, READ_CONTROL)
    about_reading = guarded(allow(OWNER_RIGHTS, READ), owner=ALICE)
    assert [Rule.NOT_GRANTED] == why(token(), about_reading, READ_CONTROL)


def test_a_label_and_a_missing_entry_are_two_causes():
    what = guarded(sacl=Acl((label(HIGH_LEVEL, 1),)))
    expected = [Rule.DENIED_BY_INTEGRITY, Rule.NOT_GRANTED]
    assert expected == why(token(), what, WRITE)


def test_trust_and_filters_are_causes():
    assert [Rule.DENIED_BY_TRUST] == why(token(), trusting(FULL), WRITE)
    assert [Rule.DENIED_BY_FILTER] == why(token(), filtered("(Exists Ring)"), WRITE)


def test_a_missing_privilege_is_a_cause():
    found = why(token(), guarded(), SYSTEM_SECURITY)
    assert [Rule.DENIED_WITHOUT_PRIVILEGE] == found


def test_a_null_dacl_is_a_cause():
    assert [Rule.GRANTED_BY_NULL_DACL] == why(token(), guarded(dacl=NULL_DACL), READ)


def test_entries_of_unknown_kinds_are_causes():
    what = guarded(PuzzleAce(BOB, READ), allow(ALICE, READ))
    assert [Rule.DENIED_BY_UNKNOWN_ACE] == why(token(), what, READ)


def test_for_whom_a_list_was_asked_is_said():
    who = token(restricting_sids=(INTERNS,))
    decision = access_check(who, guarded(allow(ALICE, READ)), READ, MAPPING)
    (reason,) = explain(decision)
    assert (Rule.NOT_GRANTED, Whom.RESTRICTING) == (reason.rule, reason.whom)
    said = sentence(reason, names=str, rights={"READ": READ})
    expected = "READ is granted by no entry of the DACL to the token's restricting SIDs"
    assert expected == said
    what = guarded(allow(ALICE, READ), deny(PACKAGE, READ))
    (reason,) = explain(access_check(contained(), what, READ, MAPPING))
    said = sentence(reason, names=lambda _sid: "notes", rights={"READ": READ})
    assert said.endswith("which names notes, for the token's package")


def test_a_token_without_any_sid_left_can_still_be_granted():
    who = token(user_is_deny_only=True)
    assert [Rule.NOT_GRANTED] == why(who, guarded(), READ)
    who = token(restricting_sids=(OWNER_RIGHTS,))
    what = guarded(allow(ALICE, READ))
    assert [Rule.NOT_GRANTED] == why(who, what, READ)
    assert (STRANGER,) == without_causes(who, what, READ).token.restricting_sids


def test_a_package_s_causes_are_its_own():
    what = guarded(allow(ALICE, READ))
    decision = access_check(contained(), what, READ, MAPPING)
    assert Whom.PACKAGE is explain(decision)[0].whom
    assert [Rule.NOT_GRANTED] == why(contained(), guarded(dacl=NULL_DACL), READ)
    who = contained(integrity=HIGH_LEVEL, privileges=[Privilege.SECURITY])
    what = guarded(allow(PACKAGE, READ))
    assert [Rule.NEVER_TO_PACKAGE] == why(who, what, SYSTEM_SECURITY)


def test_a_central_rule_is_a_cause_and_named():
    what = governed(allow(ALICE, WRITE))
    assert [Rule.DENIED_BY_POLICY] == why(token(), what, WRITE, policies=(READERS,))
    named = policy(rule(allow(ALICE, READ), name="readers only"))
    decision = access_check(token(), what, WRITE, MAPPING, policies=(named,))
    said = sentence(explain(decision)[0], names=str, rights={"WRITE": WRITE})
    expected = (
        f"WRITE is denied by a rule of the central access policy {FINANCE} (rule "
        "`readers only`)"
    )
    assert expected == said
    decision = access_check(token(), what, WRITE, MAPPING, policies=(READERS,))
    said = sentence(explain(decision)[0], names=str, rights={"WRITE": WRITE})
    assert said.endswith(f"of the central access policy {FINANCE}")


def test_an_unknown_policy_is_undone_by_knowing_it():
    what = governed(allow(ALICE, WRITE))
    unknown = policy(sid=OTHER)
    assert [Rule.DENIED_BY_POLICY] == why(token(), what, WRITE, policies=(unknown,))


def test_a_right_that_very_many_entries_grant_is_given_its_first_causes():
    entries = [AccessAllowedAce(STAFF, READ)] * 65
    decision = access_check(token(STAFF), guarded(*entries), READ, MAPPING)
    (reason,) = explain(decision)
    assert not reason.is_complete
    assert list(range(12)) == [cause.position for cause in reason.causes]
    decision = access_check(token(STAFF), guarded(*entries[:12]), READ, MAPPING)
    (reason,) = explain(decision)
    assert (True, 12) == (reason.is_complete, len(reason.causes))


def counted(entries, desired):
    """Explain a question; count how often an entry before all others is judged."""
    judged = []

    def callback(ace, _token):
        judged.append(ace)
        return False

    first = AccessAllowedCallbackAce(ALICE, 0x1F01FF, application_data=b"x")
    what = guarded(first, *entries)
    decision = access_check(
        token(STAFF), what, desired, FILE_MAPPING, callback=callback
    )
    del judged[:]
    return explain(decision), len(judged)


@pytest.mark.parametrize("desired", [1, MAXIMUM])
def test_the_causes_of_a_right_cost_a_bounded_number_of_judgements(desired):
    few, small = counted([AccessAllowedAce(ALICE, 0x1F01FF)] * 62, desired)
    more, large = counted([AccessAllowedAce(ALICE, 0x1F01FF)] * 65 * 4, desired)
    assert [12] * len(few) == [len(reason.causes) for reason in few]
    assert len(few) == len(more)
    # Judged and explained once for each cause, and judged once more.
    assert len(few) * (12 * 2 + 1) >= small
    assert small >= large


def test_many_causes_of_many_rights_cost_no_more_than_the_budget():
    full = [AccessAllowedAce(ALICE, 0x1F01FF)] * 1500
    reasons, judged = counted(full, MAXIMUM)
    units = 1 + 1501 * full[0].size // 512
    # Beyond the budget each right is judged, its first cause found, and no more.
    assert MOST_WORK // units + 2 * len(reasons) >= judged
    assert not any(reason.is_complete for reason in reasons)
    assert () == reasons[-1].also
    assert {1} == {reason.position for reason in reasons}


def test_causes_that_cannot_be_told_apart_within_the_budget_are_given_as_one():
    question = access_check(
        token(STAFF), guarded(allow(ALICE, READ), allow(STAFF, READ)), READ, MAPPING
    ).question
    found = [causes_of(question, READ, Budget(units)) for units in (1, 7, 8)]
    assert [1, 1, 2] == [len(causes) for causes in found]
    assert [False, False, True] == [causes[0].is_complete for causes in found]


def test_entries_about_whomever_the_list_is_asked_for_are_looked_at():
    who = contained(restricting_sids=(INTERNS,))
    what = guarded(allow(BOB, READ), allow(INTERNS, READ), allow(PACKAGE, READ))
    question = access_check(who, what, READ, MAPPING).question
    assert [1, 2] == entries_about(question, READ)[1]


@pytest.mark.parametrize("trustee", [STRANGER, PRINCIPAL_SELF])
def test_an_entry_about_the_stranger_is_looked_at(trustee):
    who = token(user_is_deny_only=True)
    expected = [Rule.NOT_GRANTED, Rule.DENIED_BY_ACE]
    found = why(who, guarded(deny(trustee, READ)), READ, self_sid=STRANGER)
    assert expected == found


def test_a_budget_that_was_overspent_is_spent():
    budget = Budget(2)
    assert not budget.spend(3)
    assert not budget.spend(1)
    assert 0 == budget.left


def test_an_object_without_a_list_costs_one_unit():
    what = guarded(dacl=NULL_DACL)
    assert 1 == price_of(access_check(token(), what, READ, MAPPING).question)


def test_a_single_cause_costs_no_telling_apart():
    question = access_check(
        token(), guarded(allow(ALICE, READ)), READ, MAPPING
    ).question
    found = [causes_of(question, READ, Budget(units)) for units in (3, 4)]
    assert [1, 1] == [len(causes) for causes in found]
    assert [False, True] == [causes[0].is_complete for causes in found]


def test_entries_about_others_and_other_rights_cost_nothing():
    others = [AccessAllowedAce(BOB, READ), AccessAllowedAce(ALICE, WRITE)] * 600
    what = guarded(*others, allow(ALICE, READ), allow(STAFF, READ))
    decision = access_check(token(STAFF), what, READ, MAPPING)
    about, kept = entries_about(decision.question, READ)
    assert [1200, 1201] == kept
    assert 1 == price_of(about)
    (reason,) = explain(decision)
    assert [1200, 1201] == [cause.position for cause in reason.causes]


@pytest.mark.parametrize("desired", [MAXIMUM, MAXIMUM | READ])
def test_under_maximum_allowed_each_right_has_its_causes(desired):
    what = guarded(allow(ALICE, READ), deny(ALICE, WRITE))
    decision = access_check(token(), what, desired, MAPPING)
    found = {reason.right: reason.rule for reason in explain(decision)}
    assert Rule.GRANTED_BY_ACE is found[READ]
    assert Rule.DENIED_BY_ACE is found[WRITE]


def test_below_the_level_nothing_is_a_matter_of_the_list():
    who = token(integrity=LOW_LEVEL)
    what = guarded(allow(ALICE, WRITE))
    assert [Rule.DENIED_BY_INTEGRITY] == why(who, what, WRITE)


def test_an_unknown_entry_of_the_sacl_is_a_cause():
    what = guarded(allow(ALICE, READ), sacl=Acl((OpaqueAce(type_number=0x20),)))
    question = access_check(token(), what, READ, MAPPING).question
    (cause,) = causes_of(question, READ)
    assert (Rule.DENIED_BY_UNKNOWN_ACE, 0) == (cause.rule, cause.position)
    assert is_answered(undone(question, [cause]), READ)
    second = Acl((label(LOW_LEVEL, 1), *what.sacl))
    for dacl in (Acl(), NULL_DACL):
        shut = guarded(dacl=dacl, sacl=second)
        cause = causes_of(replace(question, descriptor=shut), READ)[0]
        assert (Rule.DENIED_BY_UNKNOWN_ACE, 1) == (cause.rule, cause.position)


def test_the_rule_that_refuses_is_the_cause_among_those_that_grant():
    what = governed(allow(ALICE, WRITE))
    generous = rule(allow(ALICE, WRITE), name="all")
    strict = rule(allow(ALICE, READ), name="few")
    policies = (policy(generous, strict),)
    decision = access_check(token(), what, WRITE, MAPPING, policies=policies)
    assert "few" == explain(decision)[0].central_rule.name


@pytest.mark.parametrize("cause_rule", sorted(UNDOING, key=lambda r: r.name))
def test_a_cause_that_names_nothing_is_undone_without_harm(cause_rule):
    question = access_check(token(), guarded(dacl=NULL_DACL), READ, MAPPING).question
    after = undone(question, [Reason(READ, granted=False, rule=cause_rule)])
    assert question.desired == after.desired
    if cause_rule in ABOUT_SOMETHING:
        assert question == after


ABOUT_SOMETHING = {
    Rule.GRANTED_BY_ACE, Rule.DENIED_BY_ACE, Rule.DENIED_BY_UNKNOWN_ACE,
    Rule.CONDITION_NOT_TRUE, Rule.GRANTED_BY_PRIVILEGE, Rule.DENIED_WITHOUT_PRIVILEGE,
    Rule.DENIED_BY_TRUST, Rule.DENIED_BY_FILTER, Rule.DENIED_BY_POLICY,
}  # fmt: skip


@pytest.mark.parametrize(
    "cause_rule",
    [
        Rule.GRANTED_BY_ACE,
        Rule.CONDITION_NOT_TRUE,
        Rule.DENIED_BY_UNKNOWN_ACE,
        Rule.DENIED_BY_TRUST,
    ],
)
def test_an_entry_that_is_not_there_is_undone_without_harm(cause_rule):
    listed = guarded(allow(ALICE, READ), sacl=Acl((label(LOW_LEVEL, 1),)))
    for what, position in ((listed, None), (guarded(dacl=NULL_DACL), 0)):
        question = access_check(token(), what, READ, MAPPING).question
        cause = Reason(READ, False, cause_rule, unmet(), position)
        assert question == undone(question, [cause])


def test_a_place_without_an_entry_is_undone_without_harm():
    what = guarded(allow(ALICE, READ), sacl=Acl((label(LOW_LEVEL, 1),)))
    question = access_check(token(), what, READ, MAPPING).question
    for cause_rule in (Rule.GRANTED_BY_ACE, Rule.DENIED_BY_TRUST):
        cause = Reason(READ, granted=False, rule=cause_rule, position=0)
        assert question == undone(question, [cause])


def test_an_entry_is_added_for_somebody_who_is_there():
    who = token(restricting_sids=(INTERNS,))
    question = access_check(who, guarded(), READ, MAPPING).question
    causes = causes_of(question, READ)
    assert [Whom.TOKEN, Whom.RESTRICTING] == [cause.whom for cause in causes]
    after = undone(question, causes)
    assert who == after.token
    assert (allow(ALICE, READ), allow(INTERNS, READ)) == after.descriptor.dacl.aces


def test_what_is_undone_of_a_token_leaves_the_rest_of_it():
    who = token(privileges=[Privilege.RELABEL])
    richer = without_causes(who, guarded(), SYSTEM_SECURITY).token
    held = (Privilege.RELABEL, Privilege.SECURITY)
    assert token(privileges=held) == richer
    unbound = replace(who, mandatory_policy=MandatoryPolicy(0))
    above = guarded(allow(ALICE, WRITE), sacl=Acl((label(HIGH_LEVEL, 1),)))
    assert unbound == without_causes(who, above, WRITE).token
    inside = contained(capabilities=(CAMERA,), privileges=[Privilege.SECURITY])
    outside = without_causes(inside, guarded(), SYSTEM_SECURITY).token
    assert (None, ()) == (outside.package, outside.capabilities)


def test_a_token_that_is_given_a_sid_still_has_those_that_it_is_denied_by():
    who = token(TokenGroup(STAFF, DENY_ONLY), user_is_deny_only=True)
    expected = [Rule.DENIED_BY_ACE, Rule.NOT_GRANTED]
    assert expected == why(who, guarded(deny(STAFF, READ)), READ)


def test_a_trust_label_that_is_opened_for_one_right_stays_open_for_others():
    (entry,) = without_causes(token(), trusting(FULL), WRITE).descriptor.sacl
    (before,) = trusting(FULL).sacl
    assert before.mask
    assert before.mask | WRITE == entry.mask


def without_causes(who, what, right):
    question = access_check(who, what, right, MAPPING).question
    return undone(question, causes_of(question, right))


def test_a_rule_that_is_undone_leaves_its_policy_and_all_others():
    strict, generous = rule(allow(ALICE, READ)), rule(allow(ALICE, WRITE))
    policies = (policy(strict, generous), policy(strict, sid=OTHER))
    what = governed(allow(ALICE, WRITE), by=(FINANCE, OTHER))
    question = access_check(token(), what, WRITE, MAPPING, policies=policies).question
    causes = causes_of(question, WRITE)
    assert [FINANCE, OTHER] == [cause.policy for cause in causes]
    after = undone(question, causes[:1])
    assert (policy(generous), policies[1]) == after.policies


def test_unknown_entries_of_both_lists_are_undone_apart():
    sacl = Acl((OpaqueAce(type_number=0x20),))
    what = guarded(PuzzleAce(BOB, READ), allow(ALICE, READ), sacl=sacl)
    question = access_check(token(), what, READ, MAPPING).question
    causes = causes_of(question, READ)
    assert [Rule.DENIED_BY_UNKNOWN_ACE] * 2 == [cause.rule for cause in causes]
    assert sacl == undone(question, causes[1:]).descriptor.sacl


def test_an_unknown_entry_that_is_undone_says_nothing_to_anybody():
    what = guarded(PuzzleAce(BOB, READ))
    expected = [Rule.DENIED_BY_UNKNOWN_ACE, Rule.NOT_GRANTED]
    for bit in range(16):
        assert expected == why(token(NULL_SID), what, 1 << bit)


def test_an_entry_that_sddl_cannot_spell_is_named_by_its_number():
    entry = AccessDeniedCallbackObjectAce(ALICE, READ)
    decision = access_check(token(), guarded(entry), READ, MAPPING)
    said = sentence(explain(decision)[0], names=str, rights={"READ": READ})
    assert f"an entry of type 0x0c, which names {ALICE}" in said


def test_a_sentence_is_one_line_whatever_a_condition_holds():
    what = SecurityDescriptor.from_sddl(
        f'O:SYG:SYD:(XA;;0x1;;;{ALICE};(!(@User.a == "x\x1b[2J\ny\u202e")))'
        f"(A;;0x1;;;{ALICE})"
    )
    (reason,) = explain(access_check(token(), what, READ, MAPPING))
    said = [sentence(one, names=str, rights={"READ": 1}) for one in reason.causes]
    named = sentence(reason, names=lambda _sid: "ü\nb\x9b", rights={"READ": 1})
    assert all(one.isprintable() for one in (*said, named))
    assert named.endswith(r"which names ü\nb\x9b")


def test_a_condition_that_is_not_true_is_the_cause_where_its_entry_would_grant():
    entry = unmet()
    decision = access_check(token(), guarded(entry), READ, MAPPING)
    (reason,) = explain(decision)
    assert not reason.granted
    assert (Rule.CONDITION_NOT_TRUE, 0, ()) == (
        reason.rule,
        reason.position,
        reason.also,
    )
    said = sentence(reason, names=lambda _sid: "alice", rights={"READ": READ})
    expected = (
        "READ is not granted by entry 1 of the DACL, "
        f'(XA;;CC;;;{ALICE};(@USER.dept == "sales")), which names alice: its condition '
        "is not true"
    )
    assert expected == said


def unmet():
    condition = read_condition_text('(@User.dept == "sales")')
    data = write_condition(condition)
    return AccessAllowedCallbackAce(ALICE, READ, application_data=data)


def test_a_condition_behind_entries_about_others_has_its_own_place():
    what = guarded(allow(BOB, READ), unmet())
    (reason,) = explain(access_check(token(), what, READ, MAPPING))
    assert (Rule.CONDITION_NOT_TRUE, 1) == (reason.rule, reason.position)


def test_a_condition_behind_a_deny_is_a_cause_beside_it():
    what = guarded(deny(STAFF, READ), unmet())
    expected = [Rule.DENIED_BY_ACE, Rule.CONDITION_NOT_TRUE]
    assert expected == why(token(STAFF), what, READ)


# --- the first cause of several ------------------------------------------------------


def first(who, what, right, *, also=0, **sides):
    """Find the first cause of the answer about one of the rights that are asked for."""
    decision = access_check(who, what, right | also, MAPPING, **sides)
    return next_cause(decision.question, right)


def writer(*sids, **fields):
    """A container's token whose restricting SIDs are asked about writing only."""
    return contained(STAFF, restricting_sids=sids, is_write_restricted=True, **fields)


def test_what_an_owner_is_granted_by_an_entry_is_no_ownership():
    found = first(token(), guarded(allow(ALICE, READ), owner=ALICE), READ)
    assert Rule.GRANTED_BY_ACE is found.rule


def test_reading_beside_writing_is_asked_of_the_restricting_sids_too():
    who = token(restricting_sids=(INTERNS,), is_write_restricted=True)
    what = guarded(allow(ALICE, READ | WRITE), allow(INTERNS, WRITE))
    assert Whom.RESTRICTING is first(who, what, READ, also=WRITE).whom
    assert first(who, what, READ).granted
    question = access_check(who, what, READ | WRITE, MAPPING).question
    assert not is_answered(question, READ)


@pytest.mark.parametrize(
    ("owner", "privileges", "also"),
    [
        (STAFF, (), 0),
        (STAFF, (), WRITE_DAC),
        (BOB, (Privilege.TAKE_OWNERSHIP,), WRITE_OWNER),
    ],
)
def test_what_is_held_without_an_entry_does_not_ask_the_restricting_sids(
    owner, privileges, also
):
    who = writer(STAFF, integrity=HIGH_LEVEL, privileges=privileges)
    what = guarded(allow(ALICE, READ), owner=owner)
    assert Whom.PACKAGE is first(who, what, READ, also=also).whom


def test_writing_that_a_label_refuses_does_not_ask_the_restricting_sids():
    above = Acl((label(HIGH_LEVEL, 1),))
    what = guarded(allow(ALICE, READ), owner=BOB, sacl=above)
    assert Whom.PACKAGE is first(writer(STAFF), what, READ, also=WRITE).whom


def test_a_rule_that_grants_what_is_asked_beside_the_right_refuses_the_right():
    who = token(restricting_sids=(ALICE,), is_write_restricted=True)
    what = governed(allow(ALICE, READ | WRITE))
    found = first(who, what, WRITE, also=READ, policies=(READERS,))
    assert Rule.DENIED_BY_POLICY is found.rule


def test_what_is_granted_for_a_part_is_not_granted_for_the_whole():
    types = [ObjectType(bool(at), Guid(bytes((at,)) * 16)) for at in range(3)]
    of_part = AccessDeniedObjectAce(ALICE, READ, object_type=types[1].guid)
    found = first(
        token(), guarded(of_part, allow(ALICE, READ)), READ, object_types=tuple(types)
    )
    assert (Rule.DENIED_BY_ACE, 0) == (found.rule, found.position)


def test_what_only_the_package_lacks_is_refused_to_the_package():
    who = contained(integrity=HIGH_LEVEL, privileges=[Privilege.TAKE_OWNERSHIP])
    assert Whom.PACKAGE is first(who, guarded(), WRITE_OWNER).whom
    owned = guarded(owner=ALICE)
    assert Whom.PACKAGE is first(contained(), owned, READ_CONTROL).whom
    assert Whom.TOKEN is first(contained(), owned, READ).whom


def test_an_entry_that_denies_says_for_whom_the_list_was_asked():
    who = token(restricting_sids=(INTERNS,))
    found = first(who, guarded(allow(ALICE, READ), deny(INTERNS, READ)), READ)
    assert (Rule.DENIED_BY_ACE, Whom.RESTRICTING) == (found.rule, found.whom)
    found = first(contained(), guarded(allow(ALICE, READ), deny(PACKAGE, READ)), READ)
    assert (Rule.DENIED_BY_ACE, Whom.PACKAGE) == (found.rule, found.whom)
    found = first(who, guarded(allow(ALICE, READ), PuzzleAce(BOB, READ)), READ)
    assert (Rule.DENIED_BY_UNKNOWN_ACE, Whom.RESTRICTING) == (found.rule, found.whom)


def test_a_condition_is_no_cause_where_its_entry_would_not_grant_the_right():
    assert Rule.NOT_GRANTED is first(token(), guarded(unmet()), WRITE).rule
    whole, part = (Guid(bytes((number,)) * 16) for number in (1, 2))
    entry = AccessAllowedCallbackObjectAce(
        ALICE, READ, application_data=unmet().application_data, object_type=part
    )
    types = (ObjectType(0, whole), ObjectType(1, part), ObjectType(1, Guid(bytes(16))))
    for asked in (types, ()):
        found = first(token(), guarded(entry), READ, object_types=asked)
        assert Rule.NOT_GRANTED is found.rule
    of_whole = replace(entry, object_type=whole)
    found = first(token(), guarded(of_whole), READ, object_types=types)
    assert Rule.CONDITION_NOT_TRUE is found.rule


def test_a_central_rule_that_grants_the_right_is_no_cause():
    generous, strict = rule(allow(ALICE, WRITE)), rule(allow(ALICE, READ))
    what, policies = governed(allow(ALICE, WRITE)), (policy(generous, strict),)
    assert strict is first(token(), what, WRITE, policies=policies).central_rule


def test_whom_a_stand_in_meant_is_said():
    what = guarded(allow(PRINCIPAL_SELF, READ))
    assert ALICE == first(token(), what, READ, self_sid=ALICE).matched


def test_a_filter_that_leaves_the_right_open_is_no_cause():
    shut, ajar = filtered("(Exists Ring)"), filtered("(Exists Ring)", READ | WRITE)
    both = guarded(allow(ALICE, WRITE), sacl=Acl((*ajar.sacl, *shut.sacl)))
    found = first(token(), both, WRITE)
    assert (Rule.DENIED_BY_FILTER, 1) == (found.rule, found.position)
    missing = guarded(sacl=shut.sacl)
    assert Rule.NOT_GRANTED is first(token(), missing, READ).rule
    found = first(token(), missing, SYSTEM_SECURITY)
    assert Rule.DENIED_WITHOUT_PRIVILEGE is found.rule
