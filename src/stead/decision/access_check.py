"""The access check ([MS-DTYP] 2.5.3.2): may this token do this to that object?

The steps, in the order in which they are taken; the first refusal ends the check:

1. the question itself: mapped rights, a token that may be judged, owner and group;
2. nothing asked, or a SACL entry of a kind that nobody here can judge: refused;
3. mandatory integrity (2.5.3.3, in `stead.decision.mandatory`);
4. privileges: ACCESS_SYSTEM_SECURITY comes from SeSecurityPrivilege alone;
   WRITE_OWNER may come from SeTakeOwnershipPrivilege or SeRelabelPrivilege;
5. the owner's READ_CONTROL and WRITE_DAC, unless an OWNER RIGHTS entry speaks;
6. the DACL: each right belongs to the first entry that names it; an entry of a kind
   that nobody here can judge denies all that is undecided when it is reached.

`access_check` returns a decision that can be explained. `is_granted` answers the same
question with a bool, by the million. Neither reads a clock, keeps a cache or records
anything; primary and impersonation tokens are judged alike.

>>> from stead.model.access_mask import FILE_MAPPING, FileRights
>>> from stead.model.security_descriptor import SecurityDescriptor
>>> from stead.model.sid import Sid
>>> alice = AccessToken(Sid.from_string("S-1-5-21-1-2-3-1001"))
>>> plan = SecurityDescriptor.from_sddl("O:SYG:SYD:(A;;FR;;;S-1-5-21-1-2-3-1001)")
>>> bool(access_check(alice, plan, FileRights.READ_DATA, FILE_MAPPING))
True
>>> bool(access_check(alice, plan, FileRights.WRITE_DATA, FILE_MAPPING))
False
"""

from __future__ import annotations

from typing import Final

from stead.decision.mandatory import rights_past_label
from stead.errors import (
    BadImpersonationLevelError,
    GenericNotMappedError,
    InvalidSecurityDescriptorError,
)
from stead.model.access_mask import (
    GENERIC_RIGHTS,
    AccessMask,
    GenericMapping,
    format_mask,
)
from stead.model.ace import (
    AccessAllowedAce,
    AccessDeniedAce,
    Ace,
    AceFlags,
    require_mask,
)
from stead.model.acl import Acl, NoAcl
from stead.model.decision import AccessDecision, AccessQuestion
from stead.model.privilege import Privilege
from stead.model.security_descriptor import SACL_KINDS, SecurityDescriptor
from stead.model.sid import Sid
from stead.model.token import AccessToken, ImpersonationLevel
from stead.model.well_known import (
    HIGH_LEVEL,
    MEDIUM_LEVEL,
    OWNER_RIGHTS,
    SYSTEM_LEVEL,
)

# Plain ints: arithmetic on IntFlag members is slow, and this is the hot room.
ACCESS_SYSTEM_SECURITY: Final = int(AccessMask.ACCESS_SYSTEM_SECURITY)
MAXIMUM_ALLOWED: Final = int(AccessMask.MAXIMUM_ALLOWED)
WRITE_OWNER: Final = int(AccessMask.WRITE_OWNER)
OWNERS_RIGHTS: Final = int(AccessMask.READ_CONTROL | AccessMask.WRITE_DAC)
NEVER_BY_ENTRY: Final = ACCESS_SYSTEM_SECURITY | MAXIMUM_ALLOWED
"""Bits that an entry may hold and that mean nothing there (2.4.3)."""

_INHERIT_ONLY: Final = int(AceFlags.INHERIT_ONLY)
_OWNER: Final = frozenset((OWNER_RIGHTS,))
_IDENTIFICATION: Final = ImpersonationLevel.IDENTIFICATION
_NOT_PLAIN: Final = GENERIC_RIGHTS | NEVER_BY_ENTRY | WRITE_OWNER
_AT_LEAST_MEDIUM: Final = frozenset((MEDIUM_LEVEL, HIGH_LEVEL, SYSTEM_LEVEL))
_REFUSED: Final[tuple[int, tuple[Privilege, ...]]] = (0, ())


def access_check(
    token: AccessToken,
    descriptor: SecurityDescriptor,
    desired: int,
    mapping: GenericMapping,
) -> AccessDecision:
    """Judge whether a token may have rights to what a descriptor guards.

    Args:
        token: who asks.
        descriptor: the object's descriptor, with an owner and a group.
        desired: the rights asked for, without generic bits; with MAXIMUM_ALLOWED, all
            that can be had, and at least the other bits.
        mapping: what generic rights mean on this kind of object.

    Returns:
        the decision; false when refused.

    Raises:
        InvalidAccessMaskError: `desired` is not 32 bits.
        GenericNotMappedError: `desired` holds generic bits.
        BadImpersonationLevelError: the token's level is anonymous.
        InvalidSecurityDescriptorError: the descriptor lacks an owner or a group.
    """
    desired = _require_question(token, descriptor, desired)
    granted, used = _judge(token, descriptor, desired, mapping)
    question = AccessQuestion(descriptor, token, desired, mapping)
    return AccessDecision(question, bool(granted), granted, used)


def is_granted(
    token: AccessToken,
    descriptor: SecurityDescriptor,
    desired: int,
    mapping: GenericMapping,
) -> bool:
    """Answer `access_check`'s question with a bool, as fast as Python can.

    The common question (plain rights, no label, not the owner) is walked here; every
    other one takes the long way. Args and Raises are those of `access_check`.
    """
    desired, dacl, holds = require_mask(desired), descriptor.dacl, token.deny_sids
    if (
        not desired
        or desired & _NOT_PLAIN
        or token.level < _IDENTIFICATION
        or descriptor.group is None
        or descriptor.owner is None
        or descriptor.owner in holds
        or OWNER_RIGHTS in holds
        or token.integrity not in _AT_LEAST_MEDIUM
        or isinstance(descriptor.sacl, Acl)
        or isinstance(dacl, NoAcl)
    ):
        desired = _require_question(token, descriptor, desired)
        return bool(_judge(token, descriptor, desired, mapping)[0])
    return _walk(dacl.aces, token, desired, mapping)


# --- step 1: the question ---------------------------------------------------------


def _require_question(
    token: AccessToken, descriptor: SecurityDescriptor, desired: int
) -> int:
    """Refuse a question that has no answer, in the order in which Windows does."""
    desired = require_mask(desired)
    if desired & GENERIC_RIGHTS:
        raise GenericNotMappedError(
            f"generic rights in `{format_mask(desired)}` were not mapped"
        )
    if token.level < _IDENTIFICATION:
        raise BadImpersonationLevelError(
            token.level, _IDENTIFICATION, act="an access check"
        )
    if descriptor.owner is None or descriptor.group is None:
        raise InvalidSecurityDescriptorError(
            "a descriptor to be judged names an owner and a group"
        )
    return desired


# --- steps 2 to 6 -----------------------------------------------------------------


def _judge(
    token: AccessToken,
    descriptor: SecurityDescriptor,
    desired: int,
    mapping: GenericMapping,
) -> tuple[int, tuple[Privilege, ...]]:
    """Take steps 2 to 6; return the rights granted, 0 if refused, and privileges."""
    if not desired or find_unknown(descriptor.sacl) is not None:
        return _REFUSED
    required = desired & ~MAXIMUM_ALLOWED
    past_label = rights_past_label(token, descriptor, mapping)
    used = privileges_for(token, required, past_label)
    by_privilege = 0
    for right in used:
        by_privilege |= right
    if required & ~past_label & ~by_privilege:
        return _REFUSED
    if required & ACCESS_SYSTEM_SECURITY & ~by_privilege:
        return _REFUSED
    wanted = past_label & ~NEVER_BY_ENTRY if desired & MAXIMUM_ALLOWED else required
    granted = by_privilege | owners_rights(token, descriptor) & wanted
    if isinstance(descriptor.dacl, Acl):
        granted |= _rights_by_dacl(
            descriptor.dacl,
            matching_sids(token, descriptor),
            undecided=wanted & ~granted,
            mapping=mapping,
        )
    else:
        granted |= (required | mapping.all) & wanted
    if required & ~granted:
        return _REFUSED
    return granted, tuple(used.values())


def find_unknown(sacl: Acl | NoAcl) -> tuple[int, Ace] | None:
    """Find a SACL's first entry of a kind that the judge does not know.

    What it was to protect, and from whom, cannot be told, so nobody is let in.
    """
    if isinstance(sacl, Acl):
        for position, ace in enumerate(sacl):
            if type(ace) not in SACL_KINDS:
                return position, ace
    return None


def privileges_for(
    token: AccessToken, required: int, past_label: int
) -> dict[int, Privilege]:
    """Return which enabled privilege grants which of the rights asked for.

    A privilege grants nothing that nobody asked for by name, MAXIMUM_ALLOWED or not.
    SeRelabelPrivilege alone reaches past the object's label (2.5.3.3).
    """
    found = {}
    if required & past_label & ACCESS_SYSTEM_SECURITY and token.has_privilege(
        Privilege.SECURITY
    ):
        found[ACCESS_SYSTEM_SECURITY] = Privilege.SECURITY
    if required & WRITE_OWNER:
        if past_label & WRITE_OWNER and token.has_privilege(Privilege.TAKE_OWNERSHIP):
            found[WRITE_OWNER] = Privilege.TAKE_OWNERSHIP
        elif token.has_privilege(Privilege.RELABEL):
            found[WRITE_OWNER] = Privilege.RELABEL
    return found


def owners_rights(token: AccessToken, descriptor: SecurityDescriptor) -> int:
    """Return what the owner holds without any entry: READ_CONTROL and WRITE_DAC.

    Nothing if the token holds the owner's SID disabled or for deny entries only, or
    if an OWNER RIGHTS entry says what the owner has instead.
    """
    if descriptor.owner not in token.enabled_sids:
        return 0
    if isinstance(descriptor.dacl, Acl):
        for ace in descriptor.dacl:
            if ace.trustee == OWNER_RIGHTS and not ace.is_inherit_only:
                return 0
    return OWNERS_RIGHTS


def matching_sids(
    token: AccessToken, descriptor: SecurityDescriptor
) -> tuple[frozenset[Sid], frozenset[Sid]]:
    """Return the trustees of allow entries, and of deny entries, that mean the token.

    OWNER RIGHTS stands for the object's owner and for nobody else: the SID means
    nothing in a token.
    """
    enabled, denied, owner = token.enabled_sids, token.deny_sids, descriptor.owner
    if owner not in denied and OWNER_RIGHTS not in denied:
        return enabled, denied
    return (
        enabled | _OWNER if owner in enabled else enabled - _OWNER,
        denied | _OWNER if owner in denied else denied - _OWNER,
    )


def _rights_by_dacl(
    dacl: Acl,
    matching: tuple[frozenset[Sid], frozenset[Sid]],
    *,
    undecided: int,
    mapping: GenericMapping,
) -> int:
    """Return which of the undecided rights the DACL grants, first entry first."""
    enabled, denied = matching
    granted = 0
    for ace in dacl:
        kind = type(ace)
        if kind is AccessAllowedAce:
            if ace.trustee in enabled and not ace.is_inherit_only:
                mask = mapping.map(ace.mask)
                granted |= mask & undecided
                undecided &= ~mask
        elif kind is AccessDeniedAce:
            if ace.trustee in denied and not ace.is_inherit_only:
                undecided &= ~mapping.map(ace.mask)
        else:
            break
    return granted


def _walk(
    aces: tuple[Ace, ...],
    token: AccessToken,
    remaining: int,
    mapping: GenericMapping,
) -> bool:
    """Walk a list for rights that nothing else can grant; the hot loop."""
    enabled, denied = token.enabled_sids, token.deny_sids
    for ace in aces:
        kind = type(ace)
        if kind is AccessAllowedAce:
            if ace.trustee in enabled and not int(ace.flags) & _INHERIT_ONLY:
                remaining &= ~mapping.map(ace.mask)
                if not remaining:
                    return True
        elif kind is AccessDeniedAce:
            if (
                ace.trustee in denied
                and remaining & mapping.map(ace.mask)
                and not int(ace.flags) & _INHERIT_ONLY
            ):
                return False
        else:
            return False
    return False
