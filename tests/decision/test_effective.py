"""Effective rights, who can and what can: the same answers as the judge gives alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from tests import strategies_full as full
from tests.strategies import SMALL_MAPPING, descriptors, tokens

from stead.decision.access_check import access_check
from stead.decision.effective import Access, effective_rights, what_can, who_can
from stead.decision.fast import EVERY_NAMED_RIGHT
from stead.decision.privilege_rights import ACCESS_SYSTEM_SECURITY, bits_of
from stead.decision.restricting import restrict_token
from stead.errors import (
    BadImpersonationLevelError,
    GenericNotMappedError,
    InvalidAccessMaskError,
    SteadError,
)
from stead.model.access_mask import FILE_MAPPING, AccessMask
from stead.model.policy import CentralAccessPolicy, CentralAccessRule
from stead.model.privilege import Privilege, TokenPrivilege
from stead.model.security_descriptor import SecurityDescriptor
from stead.model.sid import Sid
from stead.model.token import (
    AccessToken,
    GroupAttributes,
    ImpersonationLevel,
    TokenGroup,
)

ALICE, BOB, STAFF = (Sid.from_string(f"S-1-5-21-1-2-3-{n}") for n in (1001, 1002, 1101))
POLICY = Sid.from_string("S-1-17-7")
MAXIMUM = AccessMask.MAXIMUM_ALLOWED
READ, WRITE, APPEND = 1, 2, 4


def sd(entries, *, owner="SY", sacl=""):
    return SecurityDescriptor.from_sddl(f"O:{owner}G:SYD:{entries}{sacl}")


def one_by_one(token, descriptor, mapping, **sides):
    """Ask the judge about each right alone."""
    return sum(
        access_check(token, descriptor, right, mapping, **sides).granted
        for right in bits_of(EVERY_NAMED_RIGHT)
    )


@given(tokens(), descriptors())
def test_a_right_is_effective_exactly_if_it_is_granted_alone(token, descriptor):
    expected = one_by_one(token, descriptor, SMALL_MAPPING)

    assert expected == effective_rights(token, descriptor, SMALL_MAPPING)


@given(full.questions())
def test_so_it_is_for_every_kind_of_token_entry_and_policy(question):
    sides = {"policies": question.policies, "self_sid": question.self_sid}
    parts = (question.token, question.descriptor, question.mapping)
    try:
        expected = one_by_one(*parts, **sides)
    except SteadError as error:
        with pytest.raises(type(error)):
            effective_rights(*parts, **sides)
    else:
        assert expected == effective_rights(*parts, **sides)


def test_groups_entries_ownership_and_privileges_all_count():
    token = AccessToken(
        ALICE,
        groups=(TokenGroup(STAFF),),
        privileges=(TokenPrivilege(Privilege.SECURITY),),
    )
    plan = sd(f"(D;;DC;;;{ALICE})(A;;CCDCLC;;;{STAFF})", owner=str(ALICE))

    granted = effective_rights(token, plan, FILE_MAPPING)

    owners = AccessMask.READ_CONTROL | AccessMask.WRITE_DAC
    assert READ | APPEND | owners | ACCESS_SYSTEM_SECURITY == granted


def test_a_deny_only_group_denies_and_grants_nothing():
    deny_only = TokenGroup(STAFF, GroupAttributes.USE_FOR_DENY_ONLY)
    token = AccessToken(ALICE, groups=(deny_only,))
    plan = sd(f"(D;;CC;;;{STAFF})(A;;DC;;;{STAFF})(A;;CCLC;;;{ALICE})")

    assert APPEND == effective_rights(token, plan, FILE_MAPPING)


def test_a_write_restricted_token_has_each_right_that_it_has_alone():
    plan = sd(f"(A;;CCDCRC;;;{ALICE})")
    token = restrict_token(
        AccessToken(ALICE), restricting_sids=[STAFF], write_restricted=True
    )

    granted = effective_rights(token, plan, FILE_MAPPING)

    assert READ | AccessMask.READ_CONTROL == granted
    assert one_by_one(token, plan, FILE_MAPPING) == granted


def test_who_principal_self_stands_for_is_told():
    plan, token = sd("(A;;DC;;;PS)"), AccessToken(ALICE)

    assert 0 == effective_rights(token, plan, FILE_MAPPING)
    assert WRITE == effective_rights(token, plan, FILE_MAPPING, self_sid=ALICE)
    assert [Access("alice", WRITE)] == list(
        who_can(
            [("alice", token), ("bob", AccessToken(BOB))],
            plan,
            WRITE,
            FILE_MAPPING,
            self_sid=ALICE,
        )
    )


def test_central_policies_narrow_what_is_effective():
    plan = sd(f"(A;;CCDC;;;{ALICE})", sacl=f"S:(SP;;;;;{POLICY})")
    rule = CentralAccessRule(SecurityDescriptor.from_sddl("D:(A;;CC;;;WD)").dacl)
    everyone = TokenGroup(Sid.from_string("S-1-1-0"))
    token = AccessToken(ALICE, groups=(everyone,))
    policies = [CentralAccessPolicy(POLICY, (rule,))]

    granted = effective_rights(token, plan, FILE_MAPPING, policies=policies)

    assert READ == granted
    one = [("plan", plan)]
    assert [Access("plan", READ)] == list(
        what_can(token, one, READ, FILE_MAPPING, policies=policies)
    )
    assert [] == list(what_can(token, one, WRITE, FILE_MAPPING, policies=policies))
    who = [("alice", token)]
    assert [] == list(who_can(who, plan, WRITE, FILE_MAPPING, policies=policies))
    assert [Access("alice", READ)] == list(
        who_can(who, plan, READ, FILE_MAPPING, policies=policies)
    )


def test_who_can_names_those_that_may_do_all_of_it_with_all_their_rights():
    plan = sd(f"(A;;CCDC;;;{STAFF})(A;;CC;;;{BOB})")
    alice = AccessToken(ALICE, groups=(TokenGroup(STAFF),))

    subjects = [(1, alice), (2, AccessToken(BOB))]

    assert [Access(1, READ | WRITE), Access(2, READ)] == list(
        who_can(subjects, plan, READ, FILE_MAPPING)
    )
    assert [Access(1, READ | WRITE)] == list(
        who_can(subjects, plan, READ | WRITE, FILE_MAPPING)
    )
    assert [] == list(who_can(subjects, plan, 0, FILE_MAPPING))


def test_whoever_may_do_anything_is_found_with_maximum_allowed():
    plan = sd(f"(A;;CC;;;{BOB})")
    subjects = [("alice", AccessToken(ALICE)), ("bob", AccessToken(BOB))]

    found = who_can(subjects, plan, MAXIMUM, FILE_MAPPING)

    assert [Access("bob", READ)] == list(found)


def test_what_can_takes_its_objects_one_at_a_time():
    taken = []

    def objects():
        for name, entries in (
            ("a", f"(A;;CC;;;{ALICE})"),
            ("b", ""),
            ("c", "(A;;CC;;;WD)"),
        ):
            taken.append(name)
            yield name, sd(entries)

    found = what_can(AccessToken(ALICE), objects(), READ, FILE_MAPPING)

    assert Access("a", READ) == next(found)
    assert ["a"] == taken
    assert [] == list(found)


@pytest.mark.parametrize(
    ("desired", "error"),
    [
        (AccessMask.GENERIC_READ, GenericNotMappedError),
        (1 << 32, InvalidAccessMaskError),
    ],
)
def test_a_question_that_has_no_answer_is_refused(desired, error):
    token, plan = AccessToken(ALICE), sd("")

    with pytest.raises(error):
        list(who_can([("alice", token)], plan, desired, FILE_MAPPING))
    with pytest.raises(error):
        list(what_can(token, [("plan", plan)], desired, FILE_MAPPING))


def test_nothing_is_said_of_an_anonymous_token():
    token = AccessToken(ALICE, level=ImpersonationLevel.ANONYMOUS)

    with pytest.raises(BadImpersonationLevelError):
        effective_rights(token, sd(""), FILE_MAPPING)
