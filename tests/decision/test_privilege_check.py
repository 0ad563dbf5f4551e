"""Privileges count when they are held enabled, and only then."""

from __future__ import annotations

import pytest
from tests.decision.cases import token

from stead.decision.privilege_check import privilege_check
from stead.errors import BadImpersonationLevelError
from stead.model.privilege import Privilege, PrivilegeAttributes, TokenPrivilege
from stead.model.token import ImpersonationLevel, TokenType

BACKUP, DEBUG, TCB = Privilege.BACKUP, Privilege.DEBUG, Privilege.TCB


def test_all_that_is_asked_for_must_be_held():
    who = token(privileges=[BACKUP, DEBUG])
    held = privilege_check(who, (DEBUG, BACKUP))
    assert (True, (DEBUG, BACKUP), ()) == (bool(held), held.used, held.missing)
    refused = privilege_check(who, (DEBUG, TCB))
    assert (False, (DEBUG,), (TCB,)) == (bool(refused), refused.used, refused.missing)


def test_one_is_enough_when_any_will_do():
    who = token(privileges=[BACKUP])
    assert privilege_check(who, [TCB, BACKUP], any_of=True)
    assert not privilege_check(who, [TCB, DEBUG], any_of=True)


@pytest.mark.parametrize("any_of", [False, True])
def test_a_question_about_no_privilege_is_refused(any_of):
    assert not privilege_check(token(privileges=[TCB]), (), any_of=any_of)


@pytest.mark.parametrize(
    "attributes",
    [
        PrivilegeAttributes.NONE,
        PrivilegeAttributes.ENABLED_BY_DEFAULT,
        PrivilegeAttributes.REMOVED | PrivilegeAttributes.ENABLED,
    ],
)
def test_a_privilege_that_is_disabled_or_removed_is_not_held(attributes):
    who = token()
    who = type(who)(who.user, privileges=(TokenPrivilege(TCB, attributes),))
    assert not privilege_check(who, (TCB,))


def test_a_generator_may_ask():
    assert privilege_check(token(privileges=[TCB]), (p for p in (TCB,)))


def test_an_anonymous_token_is_not_asked():
    who = token(privileges=[TCB], level=ImpersonationLevel.ANONYMOUS)
    with pytest.raises(BadImpersonationLevelError) as caught:
        privilege_check(who, (TCB,))
    levels = (ImpersonationLevel.ANONYMOUS, ImpersonationLevel.IDENTIFICATION)
    assert levels == (caught.value.level, caught.value.needed)


def test_a_primary_token_and_level_identification_are_asked_alike():
    assert privilege_check(token(privileges=[TCB], type=TokenType.PRIMARY), (TCB,))
    who = token(privileges=[TCB], level=ImpersonationLevel.IDENTIFICATION)
    assert privilege_check(who, (TCB,))
