"""Small builders, so that a test's lines say only what it is about."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Final

from tests.strategies import GROUPS, PEOPLE, SMALL_MAPPING

from stead.decision.access_check import access_check, decide
from stead.decision.fast import is_granted, pure_is_granted
from stead.model.access_mask import AccessMask
from stead.model.ace import (
    AccessAllowedAce,
    AccessDeniedAce,
    Ace,
    AceFlags,
    MandatoryLabelAce,
)
from stead.model.acl import ABSENT_SACL, Acl, NoAcl
from stead.model.decision import AccessDecision, AccessQuestion
from stead.model.privilege import Privilege, TokenPrivilege
from stead.model.security_descriptor import SecurityDescriptor
from stead.model.sid import Sid
from stead.model.token import AccessToken, GroupAttributes, TokenGroup
from stead.model.well_known import LOCAL_SYSTEM

ALICE, BOB, CAROL, _ = PEOPLE
INTERNS, STAFF, EDITORS, _ = GROUPS
READ, WRITE, RUN = 1, 2, 4
READ_CONTROL = int(AccessMask.READ_CONTROL)
WRITE_DAC = int(AccessMask.WRITE_DAC)
WRITE_OWNER = int(AccessMask.WRITE_OWNER)
DELETE = int(AccessMask.DELETE)
SYSTEM_SECURITY = int(AccessMask.ACCESS_SYSTEM_SECURITY)
MAXIMUM = int(AccessMask.MAXIMUM_ALLOWED)
MAPPING: Final = SMALL_MAPPING
DISABLED: Final = GroupAttributes.NONE
DENY_ONLY: Final = GroupAttributes.USE_FOR_DENY_ONLY
INHERIT_ONLY: Final = AceFlags.INHERIT_ONLY | AceFlags.CONTAINER_INHERIT


class PuzzleAce(AccessAllowedAce):
    """An entry of a kind that the judge cannot know."""

    __slots__ = ()


def token(
    *groups: Sid | TokenGroup,
    user: Sid = ALICE,
    privileges: Iterable[Privilege] = (),
    **fields: Any,
) -> AccessToken:
    return AccessToken(
        user,
        tuple(g if isinstance(g, TokenGroup) else TokenGroup(g) for g in groups),
        tuple(TokenPrivilege(privilege) for privilege in privileges),
        **fields,
    )


def allow(trustee: Sid, mask: int, flags: AceFlags = AceFlags.NONE) -> Ace:
    return AccessAllowedAce(trustee, mask, flags)


def deny(trustee: Sid, mask: int, flags: AceFlags = AceFlags.NONE) -> Ace:
    return AccessDeniedAce(trustee, mask, flags)


def label(level: Sid, policy: int, flags: AceFlags = AceFlags.NONE) -> Ace:
    return MandatoryLabelAce(level, policy, flags)


def guarded(
    *aces: Ace,
    dacl: Acl | NoAcl | None = None,
    owner: Sid | None = LOCAL_SYSTEM,
    group: Sid | None = LOCAL_SYSTEM,
    sacl: Acl | NoAcl = ABSENT_SACL,
) -> SecurityDescriptor:
    return SecurityDescriptor(
        dacl=Acl(aces) if dacl is None else dacl, owner=owner, group=group, sacl=sacl
    )


def check(who: AccessToken, what: SecurityDescriptor, desired: int) -> AccessDecision:
    """Ask both doors, the twin's reference and the whole judge; they must agree."""
    decision = access_check(who, what, desired, MAPPING)
    assert decision == decide(AccessQuestion(what, who, desired, MAPPING))
    for door in (is_granted, pure_is_granted):
        assert decision.allowed == door(who, replace(what), desired, MAPPING)
    assert decision.allowed == bool(decision) == bool(decision.granted)
    return decision
