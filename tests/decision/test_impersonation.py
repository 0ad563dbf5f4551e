"""Whether a server may act as a client: Windows' three ways, and rules."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stead.decision.impersonation import (
    Approach,
    Way,
    granted_level,
    judge_impersonation,
    way_to_impersonate,
)
from stead.decision.token_ops import adjust_privileges
from stead.model.impersonation_policy import (
    AS_WINDOWS,
    Act,
    ImpersonationPolicy,
    ImpersonationRule,
)
from stead.model.luid import NO_LUID, Luid
from stead.model.privilege import Privilege, TokenPrivilege
from stead.model.sid import Sid
from stead.model.token import (
    AccessToken,
    GroupAttributes,
    ImpersonationLevel,
    TokenGroup,
    TokenType,
)

NOTES = Sid.from_string("S-1-5-80-1-2-3-4-5")
ALICE = Sid.from_string("S-1-5-21-1-2-3-1001")
STAFF = Sid.from_string("S-1-5-21-1-2-3-2001")
ADMINS = Sid.from_string("S-1-5-32-544")
HERE, ELSEWHERE = Luid(7), Luid(8)
DENY_ONLY = GroupAttributes.USE_FOR_DENY_ONLY


def server(*privileges, logon_id=HERE):
    return AccessToken(
        NOTES,
        type=TokenType.PRIMARY,
        logon_id=logon_id,
        privileges=tuple(map(TokenPrivilege, privileges)),
    )


MAY = server(Privilege.IMPERSONATE)
MAY_NOT = server(Privilege.TCB)
DISABLED = adjust_privileges(MAY, {Privilege.IMPERSONATE: False})


@pytest.mark.parametrize(
    ("who", "user", "origin", "way"),
    [
        (MAY, ALICE, NO_LUID, Way.PRIVILEGE),
        (MAY_NOT, ALICE, NO_LUID, None),
        (DISABLED, ALICE, NO_LUID, None),
        (MAY_NOT, ALICE, HERE, Way.CREDENTIALS),
        (MAY_NOT, ALICE, ELSEWHERE, None),
        (MAY_NOT, NOTES, NO_LUID, Way.SAME_USER),
        (server(logon_id=NO_LUID), ALICE, NO_LUID, None),
    ],
)
def test_there_are_three_ways(who, user, origin, way):
    assert way is way_to_impersonate(who, user=user, origin=origin)


@given(st.sampled_from(ImpersonationLevel))
def test_without_a_way_a_client_is_identified_and_no_more(stated):
    assert stated is granted_level(stated, MAY, user=ALICE)
    lowered = granted_level(stated, MAY_NOT, user=ALICE)
    assert min(stated, ImpersonationLevel.IDENTIFICATION) is lowered
    assert stated is granted_level(stated, MAY_NOT, user=ALICE, origin=HERE)


# --- rules ------------------------------------------------------------------------


def token(*groups):
    return AccessToken(ALICE, tuple(groups))


def approach(**parts):
    known = {
        "server": "notes",
        "token": token(TokenGroup(STAFF)),
        "act": Act.OPEN,
        "gate": "http",
        "authenticated_by": "oauth",
    }
    return Approach(**known | parts)


def rule(allows=True, name="a rule", **parts):
    return ImpersonationRule(name, allows, **parts)


def test_without_rules_it_is_as_on_windows():
    verdict = judge_impersonation(AS_WINDOWS, approach())
    assert (True, None) == (bool(verdict), verdict.rule)


def test_what_no_rule_is_about_is_refused():
    policy = ImpersonationPolicy((rule(gates=["pipe"]),))
    verdict = judge_impersonation(policy, approach())
    assert (False, None) == (bool(verdict), verdict.rule)


def test_the_first_rule_that_is_about_it_answers():
    rules = (
        rule(gates=["pipe"], name="other"),
        rule(allows=False, name="first"),
        rule(name="second"),
    )
    policy = ImpersonationPolicy(rules, otherwise_allows=True)
    verdict = judge_impersonation(policy, approach())
    assert (False, "first") == (bool(verdict), verdict.rule.name)


@pytest.mark.parametrize(
    ("parts", "others"),
    [
        ({"servers": ["notes"]}, {"server": "wiki"}),
        ({"clients": [STAFF]}, {"token": token()}),
        ({"clients": [ALICE]}, {"token": AccessToken(NOTES)}),
        ({"acts": [Act.OPEN, Act.RUN]}, {"act": Act.START}),
        ({"gates": ["http"]}, {"gate": "pipe"}),
        ({"authenticated_by": ["oauth"]}, {"authenticated_by": "kernel"}),
    ],
)
def test_each_part_of_a_rule_narrows_it(parts, others):
    policy = ImpersonationPolicy((rule(**parts),))
    assert judge_impersonation(policy, approach())
    assert not judge_impersonation(policy, approach(**others))


@pytest.mark.parametrize("part", ["gate", "authenticated_by"])
def test_how_somebody_came_may_be_unknown_which_is_never_allowed_for_it(part):
    words = {"gate": "gates", "authenticated_by": "authenticated_by"}
    unknown = approach(**{part: ""})
    allowing = ImpersonationPolicy((rule(**{words[part]: ["pipe"]}),))
    forbidding = ImpersonationPolicy(
        (rule(allows=False, **{words[part]: ["pipe"]}),), otherwise_allows=True
    )
    assert not judge_impersonation(allowing, unknown)
    assert not judge_impersonation(forbidding, unknown)


def test_a_group_held_for_deny_entries_alone_forbids_and_allows_nothing():
    held = approach(token=token(TokenGroup(ADMINS, DENY_ONLY)))
    allowing = ImpersonationPolicy((rule(clients=[ADMINS]),))
    forbidding = ImpersonationPolicy(
        (rule(allows=False, clients=[ADMINS]),), otherwise_allows=True
    )
    assert not judge_impersonation(allowing, held)
    assert not judge_impersonation(forbidding, held)
