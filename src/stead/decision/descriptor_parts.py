"""The parts of a descriptor, and what giving or changing each of them takes.

[MS-DTYP] 2.4.7 (SECURITY_INFORMATION) names the parts. A SACL is several: audit
entries, the label, attributes, the central policy, the trust label and the access
filter are set apart from one another, each by its own right.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import KEEP, IntFlag
from typing import Final

from stead.decision.ace_inheritance import as_explicit
from stead.decision.mandatory import dominates
from stead.errors import (
    InvalidAclError,
    InvalidOwnerError,
    PrivilegeNotHeldError,
    SteadError,
)
from stead.model.access_mask import AccessMask
from stead.model.ace import (
    AccessFilterAce,
    Ace,
    MandatoryLabelAce,
    ProcessTrustLabelAce,
    ResourceAttributeAce,
    ScopedPolicyIdAce,
)
from stead.model.acl import Acl, NoAcl
from stead.model.privilege import Privilege
from stead.model.sid import Sid
from stead.model.token import AccessToken, GroupAttributes
from stead.model.well_known import is_integrity_level


class SecurityInformation(IntFlag, boundary=KEEP):
    """Parts of a descriptor, and whether its lists inherit ([MS-DTYP] 2.4.7)."""

    NONE = 0
    OWNER = 0x0000_0001
    GROUP = 0x0000_0002
    DACL = 0x0000_0004
    SACL = 0x0000_0008
    LABEL = 0x0000_0010
    ATTRIBUTE = 0x0000_0020
    SCOPE = 0x0000_0040
    PROCESS_TRUST_LABEL = 0x0000_0080
    ACCESS_FILTER = 0x0000_0100
    BACKUP = 0x0001_0000
    UNPROTECTED_SACL = 0x1000_0000
    UNPROTECTED_DACL = 0x2000_0000
    PROTECTED_SACL = 0x4000_0000
    PROTECTED_DACL = 0x8000_0000


_I = SecurityInformation
SACL_PARTS: Final = (
    _I.SACL
    | _I.LABEL
    | _I.ATTRIBUTE
    | _I.SCOPE
    | _I.PROCESS_TRUST_LABEL
    | _I.ACCESS_FILTER
)
_EVERY_PART: Final = _I.OWNER | _I.GROUP | _I.DACL | SACL_PARTS
_PART_OF: Final[dict[type[Ace], SecurityInformation]] = {
    MandatoryLabelAce: _I.LABEL,
    ResourceAttributeAce: _I.ATTRIBUTE,
    ScopedPolicyIdAce: _I.SCOPE,
    ProcessTrustLabelAce: _I.PROCESS_TRUST_LABEL,
    AccessFilterAce: _I.ACCESS_FILTER,
}

_WRITE_DAC: Final = int(AccessMask.WRITE_DAC)
_WRITE_OWNER: Final = int(AccessMask.WRITE_OWNER)
_SYSTEM_SECURITY: Final = int(AccessMask.ACCESS_SYSTEM_SECURITY)
_RIGHTS: Final[dict[SecurityInformation, int]] = {
    _I.OWNER: _WRITE_OWNER,
    _I.GROUP: _WRITE_OWNER,
    _I.DACL: _WRITE_DAC,
    _I.SACL: _SYSTEM_SECURITY,
    _I.LABEL: _WRITE_OWNER,
    _I.ATTRIBUTE: _WRITE_DAC,
    _I.SCOPE: _SYSTEM_SECURITY,
    # Undocumented; a list's owner alone must not lift what is to bind him as well.
    _I.PROCESS_TRUST_LABEL: _WRITE_DAC | _SYSTEM_SECURITY,
    _I.ACCESS_FILTER: _WRITE_DAC | _SYSTEM_SECURITY,
    _I.BACKUP: _WRITE_DAC | _WRITE_OWNER | _SYSTEM_SECURITY,
    _I.UNPROTECTED_SACL: _SYSTEM_SECURITY,
    _I.UNPROTECTED_DACL: _WRITE_DAC,
    _I.PROTECTED_SACL: _SYSTEM_SECURITY,
    _I.PROTECTED_DACL: _WRITE_DAC,
}
_KNOWN: Final = sum(_RIGHTS)


def part_of(ace: Ace) -> SecurityInformation:
    """Return which part of the SACL an entry is; what has no part of its own: SACL."""
    return _PART_OF.get(type(ace), _I.SACL)


def expand_parts(parts: int) -> SecurityInformation:
    """Return the parts asked about, with BACKUP spelled out as all of them.

    Raises:
        SteadError: a bit names no part, or a list is to be protected and not.
    """
    asked = SecurityInformation(parts)
    if parts & ~_KNOWN:
        raise SteadError(f"`{parts:#x}` names parts that no descriptor has")
    for both in (
        _I.PROTECTED_DACL | _I.UNPROTECTED_DACL,
        _I.PROTECTED_SACL | _I.UNPROTECTED_SACL,
    ):
        if asked & both == both:
            raise SteadError("a list is protected or it is not")
    return asked | _EVERY_PART if asked & _I.BACKUP else asked


def rights_to_change(parts: int) -> int:
    """Return the rights to an object that changing these parts takes.

    Win32 SECURITY_INFORMATION. Beside the rights, an owner has to be one that the token
    may assign (`require_owner`), and what the SACL gains has to be its to give
    (`require_sacl`).

    Raises:
        SteadError: a bit names no part.
    """
    asked = expand_parts(parts)
    needed = 0
    for part, rights in _RIGHTS.items():
        if asked & part:
            needed |= rights
    return needed


def rights_to_set(
    *,
    owner: bool = False,
    group: bool = False,
    dacl: bool = False,
    sacl: bool = False,
    label: bool = False,
) -> int:
    """Return the rights to an object that changing parts of its descriptor takes.

    Win32 SetSecurityInfo: WRITE_OWNER for the owner, the group and the label, WRITE_DAC
    for the DACL, ACCESS_SYSTEM_SECURITY for audit entries.
    """
    parts = _I.NONE
    for part, is_asked in (
        (_I.OWNER, owner),
        (_I.GROUP, group),
        (_I.DACL, dacl),
        (_I.SACL, sacl),
        (_I.LABEL, label),
    ):
        if is_asked:
            parts |= part
    return rights_to_change(parts)


def require_owner(token: AccessToken, owner: Sid) -> None:
    """Demand that a token may assign an owner (Win32 CreatePrivateObjectSecurityEx).

    It may assign its user, and each group that it holds enabled with the OWNER
    attribute and not for deny only; with SeRestorePrivilege any SID.

    Raises:
        InvalidOwnerError: it may not assign this one.
    """
    if owner == token.user or token.has_privilege(Privilege.RESTORE):
        return
    if owner not in token.enabled_sids or not any(
        group.sid == owner and group.attributes & GroupAttributes.OWNER
        for group in token.groups
    ):
        raise InvalidOwnerError(f"`{owner}` may not be assigned as the owner")


def require_sacl(token: AccessToken, sacl: Acl | NoAcl) -> None:
    """Demand the privileges that giving an object this SACL takes.

    Resource attributes take none (Win32: SACL for a New Object).

    Raises:
        PrivilegeNotHeldError: SeRelabelPrivilege for a label that the token's integrity
            does not reach, SeSecurityPrivilege for everything else.
        InvalidAclError: a label's SID is no integrity level.
    """
    if not isinstance(sacl, Acl):
        return
    for ace in sacl:
        part = part_of(ace)
        if part == _I.ATTRIBUTE:
            continue
        needed = Privilege.SECURITY
        if part == _I.LABEL:
            if not is_integrity_level(ace.trustee):
                raise InvalidAclError(f"`{ace.trustee}` is not an integrity level")
            if dominates(token.integrity, ace.trustee):
                continue
            needed = Privilege.RELABEL
        if not token.has_privilege(needed):
            raise PrivilegeNotHeldError((needed,))


def require_inherited(
    token: AccessToken, due: Sequence[Ace], *, own: Sequence[Ace], kept: Sequence[Ace]
) -> None:
    """Demand the privileges that keeping a parent's entries from an object takes.

    Giving an object an empty SACL, none or a protected one must not be the way around
    the privileges that removing audit entries, filters and labels from it would take.

    Args:
        token: whoever makes the object.
        due: all that the object would inherit if no SACL was named.
        own: the object's own entries.
        kept: what it does inherit, behind its own entries.

    Raises:
        PrivilegeNotHeldError: SeSecurityPrivilege for an entry that is missing, and
            SeRelabelPrivilege for a label that the token's integrity does not reach,
            if it is missing or no longer the first.
    """
    present = {as_explicit(ace) for ace in (*own, *kept)}
    missing = [ace for ace in due if as_explicit(ace) not in present]
    is_labeled = any(part_of(ace) == _I.LABEL for ace in own)
    needed = [Privilege.SECURITY] if missing else []
    if any(
        part_of(ace) == _I.LABEL and not dominates(token.integrity, ace.trustee)
        for ace in (due if is_labeled else missing)
    ):
        needed.append(Privilege.RELABEL)
    lacking = tuple(each for each in needed if not token.has_privilege(each))
    if lacking:
        raise PrivilegeNotHeldError(lacking)
