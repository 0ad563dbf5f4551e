"""Which SIDs of a token an entry's trustee may mean, in each pass over a DACL.

[MS-DTYP] 2.5.3.1.1 (SidInToken), and Win32's rules for deny-only groups, restricted
tokens and AppContainers. A list is walked once for what the token is, once more for its
restricting SIDs if it has any, and once for its package if it has one; what all of them
grant is granted.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from stead.model.decision import AccessQuestion
from stead.model.sid import Sid
from stead.model.token import AccessToken, TokenGroup
from stead.model.well_known import (
    ALL_APPLICATION_PACKAGES,
    ALL_RESTRICTED_APPLICATION_PACKAGES,
    NULL_SID,
    OWNER_RIGHTS,
    PRINCIPAL_SELF,
)

NO_ALL_PACKAGES: Final = "WIN://NOALLAPPPKG"
"""The local claim that makes an AppContainer a less privileged one."""
_STANDING_IN: Final = frozenset((OWNER_RIGHTS, PRINCIPAL_SELF))


@dataclass(frozen=True, slots=True)
class Principal:
    """Whom one pass is about.

    Attributes:
        allow: trustees of allow entries that mean it, stand-ins included.
        deny: trustees of deny entries that mean it; never fewer than `allow`.
        members: what Member_of asks in a condition of an allow entry.
        deny_members: what it asks in one of a deny entry.
        is_package: whether it is an AppContainer's; object entries grant it nothing.
    """

    allow: frozenset[Sid]
    deny: frozenset[Sid]
    members: frozenset[Sid]
    deny_members: frozenset[Sid]
    is_package: bool = False


def token_principal(question: AccessQuestion) -> Principal:
    """Return the principal of the first pass: the token's user and groups."""
    token = question.token
    return _principal(token.enabled_sids, token.deny_sids, question)


def restricting_principal(question: AccessQuestion) -> Principal:
    """Return the principal of the second pass: the restricting SIDs, by presence.

    The null SID among them stands for nobody (`stead.decision.restricting`).
    """
    restricting = frozenset(question.token.restricting_sids) - {NULL_SID}
    return _principal(restricting, restricting, question)


def package_principal(token: AccessToken, package: Sid) -> Principal:
    """Return the principal of an AppContainer's pass: package and capabilities.

    A less privileged container is not among ALL APPLICATION PACKAGES.
    """
    sids = {package, ALL_RESTRICTED_APPLICATION_PACKAGES}
    if not any(claim.name.upper() == NO_ALL_PACKAGES for claim in token.local_claims):
        sids.add(ALL_APPLICATION_PACKAGES)
    enabled, present = sids_of(token.capabilities)
    return Principal(
        allow=enabled | sids,
        deny=present | sids,
        members=_without_stand_ins(token.enabled_sids),
        deny_members=_without_stand_ins(token.deny_sids),
        is_package=True,
    )


def sids_of(groups: Iterable[TokenGroup]) -> tuple[frozenset[Sid], frozenset[Sid]]:
    """Return the SIDs that allow entries mean, and those that deny entries mean.

    A SID that is listed twice, enabled and deny-only, is deny-only.
    """
    groups = tuple(groups)
    deny_only = {group.sid for group in groups if group.is_deny_only}
    enabled = {group.sid for group in groups if group.is_enabled} - deny_only
    return frozenset(enabled), frozenset(enabled | deny_only)


def _principal(
    enabled: frozenset[Sid], present: frozenset[Sid], question: AccessQuestion
) -> Principal:
    enabled, present = _without_stand_ins(enabled), _without_stand_ins(present)
    return Principal(
        allow=_with_stand_ins(enabled, question),
        deny=_with_stand_ins(present, question),
        members=enabled,
        deny_members=present,
    )


def _without_stand_ins(held: frozenset[Sid]) -> frozenset[Sid]:
    """Leave out what means nothing in a token: who carries it there gains nothing."""
    return held if held.isdisjoint(_STANDING_IN) else held - _STANDING_IN


def _with_stand_ins(held: frozenset[Sid], question: AccessQuestion) -> frozenset[Sid]:
    """Add OWNER RIGHTS and PRINCIPAL_SELF where whom they stand for is held."""
    meant = set()
    if question.descriptor.owner in held:
        meant.add(OWNER_RIGHTS)
    if question.self_sid in held:
        meant.add(PRINCIPAL_SELF)
    return held | meant if meant else held
