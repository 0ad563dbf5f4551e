"""Central access policies narrow what a list grants, and report what is staged."""

from __future__ import annotations

from tests.decision.cases import (
    ALICE,
    DENY_ONLY,
    INHERIT_ONLY,
    INTERNS,
    MAPPING,
    MAXIMUM,
    READ,
    READ_CONTROL,
    RUN,
    WRITE,
    WRITE_OWNER,
    allow,
    deny,
    guarded,
    token,
)

from stead.codec.claim_binary import write_claim
from stead.codec.condition_text import read_condition_text
from stead.decision.access_check import access_check
from stead.decision.central_policy import RECOVERY_RULE
from stead.model.ace import (
    AceFlags,
    ResourceAttributeAce,
    ScopedPolicyIdAce,
    SystemAuditAce,
)
from stead.model.acl import NULL_DACL, Acl
from stead.model.claim import Claim, ClaimType
from stead.model.decision import ObjectType, StagedDifference
from stead.model.guid import Guid
from stead.model.policy import CentralAccessPolicy, CentralAccessRule
from stead.model.privilege import Privilege
from stead.model.sid import Sid
from stead.model.token import TokenGroup
from stead.model.well_known import ADMINISTRATORS, EVERYONE, LOCAL_SYSTEM

FINANCE = Sid.from_string("S-1-17-1-2-3")
OTHER = Sid.from_string("S-1-17-1-2-4")


def rule(*entries, **fields):
    return CentralAccessRule(Acl(entries), **fields)


def policy(*rules, sid=FINANCE):
    return CentralAccessPolicy(sid, rules)


def governed(*entries, by=(FINANCE,), more=(), owner=None, flags=0):
    sacl = Acl((*(ScopedPolicyIdAce(sid, 0, flags) for sid in by), *more))
    fields = {} if owner is None else {"owner": owner}
    return guarded(*entries, sacl=sacl, **fields)


def ask(what, desired, *policies, who=None, **fields):
    who = token() if who is None else who
    return access_check(who, what, desired, MAPPING, policies=policies, **fields)


FREELY = governed(allow(ALICE, READ | WRITE | RUN))
READERS = policy(rule(allow(ALICE, READ)))


def test_a_rule_takes_what_it_does_not_grant():
    assert ask(FREELY, READ, READERS)
    assert not ask(FREELY, WRITE, READERS)
    assert READ == ask(FREELY, MAXIMUM, READERS).granted


def test_a_rule_gives_nothing():
    generous = policy(rule(allow(ALICE, READ | WRITE)))
    assert not ask(governed(allow(ALICE, READ)), WRITE, generous)


def test_every_rule_must_grant():
    both = policy(rule(allow(ALICE, READ | WRITE)), rule(allow(ALICE, WRITE | RUN)))
    assert WRITE == ask(FREELY, MAXIMUM, both).granted


def test_every_policy_that_the_object_names_must_grant():
    what = governed(allow(ALICE, READ | WRITE), by=(FINANCE, OTHER, FINANCE))
    writers = policy(rule(allow(ALICE, WRITE)), sid=OTHER)
    assert not ask(what, MAXIMUM, READERS, writers)


def test_a_deny_entry_of_a_rule_is_honored():
    strict = policy(rule(deny(INTERNS, READ), allow(ALICE, READ)))
    assert ask(FREELY, READ, strict)
    assert not ask(FREELY, READ, strict, who=token(INTERNS))


def test_a_policy_of_another_object_does_not_matter():
    assert ask(guarded(allow(ALICE, WRITE)), WRITE, READERS)


def test_an_inherit_only_policy_entry_is_for_children():
    what = governed(allow(ALICE, WRITE), flags=INHERIT_ONLY)
    assert ask(what, WRITE, READERS)


def test_without_any_policy_configured_the_entries_mean_nothing():
    assert ask(FREELY, WRITE)


def test_a_policy_that_nobody_knows_leaves_administrators_and_the_owner():
    unknown = policy(sid=OTHER)
    assert not ask(FREELY, READ, unknown)
    assert ask(governed(allow(ALICE, READ), owner=ALICE), READ, unknown)
    admin = token(ADMINISTRATORS)
    assert ask(FREELY, READ, unknown, who=admin)
    for_system = governed(allow(LOCAL_SYSTEM, READ), owner=ALICE)
    assert ask(for_system, READ, unknown, who=token(user=LOCAL_SYSTEM))
    assert "recovery" == RECOVERY_RULE.name


def test_an_entry_of_another_kind_names_no_policy():
    audit = SystemAuditAce(EVERYONE, READ, AceFlags.SUCCESSFUL_ACCESS)
    readers = policy(rule(allow(ALICE, READ)), sid=EVERYONE)
    assert ask(governed(allow(ALICE, READ), more=(audit,)), READ, READERS)
    what = governed(allow(ALICE, WRITE), by=(), more=(audit,))
    assert ask(what, WRITE, readers, who=token(restricting_sids=(ALICE,)))


def test_an_object_without_a_sacl_names_no_policy():
    who = token(restricting_sids=(ALICE,))
    assert ask(guarded(allow(ALICE, WRITE)), WRITE, READERS, who=who)


def test_a_policy_without_rules_takes_nothing():
    assert ask(FREELY, WRITE, policy())


def test_a_rule_with_a_null_dacl_takes_nothing():
    assert ask(FREELY, WRITE, policy(CentralAccessRule(NULL_DACL)))


def test_a_rule_is_about_the_objects_that_its_condition_is_true_for():
    secret = read_condition_text("(@Resource.Level == 3)")
    strict = policy(rule(allow(ALICE, READ), applies_to=secret))
    assert ask(FREELY, WRITE, strict)
    level = Claim("Level", ClaimType.INT64, (3,))
    attribute = ResourceAttributeAce(EVERYONE, 0, 0, write_claim(level))
    what = governed(allow(ALICE, WRITE), more=(attribute,))
    assert not ask(what, WRITE, strict)


def test_whom_a_rule_is_about_is_asked_of_enabled_groups():
    staff = read_condition_text(f"(Member_of {{SID({INTERNS})}})")
    strict = policy(rule(applies_to=staff))
    assert not ask(FREELY, READ, strict, who=token(INTERNS))
    assert ask(FREELY, READ, strict, who=token(TokenGroup(INTERNS, DENY_ONLY)))


def test_a_rule_is_judged_by_the_whole_check():
    empty = policy(rule())
    who = token(privileges=[Privilege.TAKE_OWNERSHIP])
    assert ask(governed(), WRITE_OWNER, empty, who=who)
    assert ask(governed(owner=ALICE), READ_CONTROL, empty)
    restricted = token(restricting_sids=(INTERNS,))
    what = governed(allow(ALICE, READ), allow(INTERNS, READ))
    assert not ask(what, READ, READERS, who=restricted)
    both = policy(rule(allow(ALICE, READ), allow(INTERNS, READ)))
    assert ask(what, READ, both, who=restricted)


def test_a_rule_narrows_every_node_of_a_tree():
    types = (ObjectType(0, Guid(bytes(16))), ObjectType(1, Guid(b"\1" * 16)))
    found = ask(FREELY, MAXIMUM, READERS, object_types=types)
    assert [READ, READ] == [result.granted for result in found.object_results]


def test_a_staged_list_that_would_answer_differently_is_reported_and_changes_nothing():
    coming = rule(allow(ALICE, READ), staged_dacl=Acl((allow(ALICE, READ | WRITE),)))
    found = ask(FREELY, MAXIMUM, policy(coming))
    assert READ == found.granted
    difference = StagedDifference(FINANCE, coming, READ, READ | WRITE)
    assert (difference,) == found.staged


def test_a_staged_list_that_answers_alike_is_not_reported():
    same = rule(allow(ALICE, READ), staged_dacl=Acl((allow(ALICE, READ),)))
    assert () == ask(FREELY, READ, policy(same)).staged


def test_every_staged_list_that_would_answer_differently_is_reported():
    none = rule(allow(ALICE, READ), staged_dacl=Acl())
    more = rule(allow(ALICE, READ), staged_dacl=Acl((allow(ALICE, READ | WRITE),)))
    found = ask(FREELY, MAXIMUM, policy(none, more))
    assert (none, more) == tuple(difference.rule for difference in found.staged)


def test_a_rule_without_a_staged_list_reports_nothing():
    found = ask(FREELY, MAXIMUM, READERS)
    assert (READ, ()) == (found.granted, found.staged)


def test_a_rule_whose_condition_nobody_can_evaluate_applies():
    secret = read_condition_text("(@Resource.Level == 3)")
    strict = policy(rule(allow(ALICE, READ), applies_to=secret))
    broken = ResourceAttributeAce(EVERYONE, 0, application_data=b"junk")
    what = governed(allow(ALICE, WRITE), more=(broken,))
    assert not ask(what, WRITE, strict)


def test_policies_of_one_name_bind_together():
    writers = policy(rule(allow(ALICE, WRITE)))
    assert not ask(FREELY, MAXIMUM, READERS, writers)
