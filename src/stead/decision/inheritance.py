"""Descriptors of new objects, and the rights that changing one takes.

[MS-DTYP] 2.5.3.4 for an object that has no parent: what the creator does not say comes
from its token. Differences to Windows, each to the safe side: where the token has no
default DACL, Windows leaves the object open to everybody, Stead gives it to its owner
alone; and a token's default owner is held to the same rule as one that is named.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from stead.decision.mandatory import dominates
from stead.errors import InvalidAclError, InvalidOwnerError, PrivilegeNotHeldError
from stead.model.access_mask import AccessMask, GenericMapping
from stead.model.ace import AccessAllowedAce, Ace, MandatoryLabelAce
from stead.model.acl import ABSENT_DACL, ABSENT_SACL, Acl, NoAcl
from stead.model.privilege import Privilege
from stead.model.security_descriptor import (
    DACL_KINDS,
    SACL_KINDS,
    SecurityDescriptor,
)
from stead.model.sid import Sid
from stead.model.token import AccessToken, GroupAttributes
from stead.model.well_known import CREATOR_GROUP, CREATOR_OWNER, is_integrity_level


def new_object_descriptor(
    token: AccessToken,
    *,
    owner: Sid | None = None,
    group: Sid | None = None,
    dacl: Acl | NoAcl = ABSENT_DACL,
    sacl: Acl | NoAcl = ABSENT_SACL,
    mapping: GenericMapping,
) -> SecurityDescriptor:
    """Make the descriptor of a new object that has no parent.

    Args:
        token: the creator's token, the effective one.
        owner: the owner; the token's default owner if not given.
        group: the primary group; the token's default if not given.
        dacl: the object's list, or `NULL_DACL` on purpose; if absent, the token's
            default list, and if it has none, full access for the owner alone.
        sacl: audit entries and a label; an absent one stays absent.
        mapping: what generic rights mean on this kind of object.

    Returns:
        a descriptor with owner, group and DACL, without generic rights in its entries.

    Raises:
        InvalidOwnerError: the token may not assign this owner.
        InvalidAclError: a list holds entries that do not belong into it.
        PrivilegeNotHeldError: the SACL holds audit entries and the token lacks
            SeSecurityPrivilege, or a label above the token and SeRelabelPrivilege.
    """
    owner = token.default_owner if owner is None else owner
    group = token.default_group if group is None else group
    require_owner(token, owner)
    require_sacl(token, sacl)
    if dacl is ABSENT_DACL:
        # A token's NULL default would open whatever it creates, unseen: only the
        # object itself may be given a NULL DACL.
        default = token.default_dacl
        dacl = default if isinstance(default, Acl) else _owner_only(owner, mapping)
    return SecurityDescriptor(
        owner=owner,
        group=group,
        dacl=_settled(dacl, DACL_KINDS, (owner, group), mapping),
        sacl=_settled(sacl, SACL_KINDS, (owner, group), mapping),
    )


def require_owner(token: AccessToken, owner: Sid) -> None:
    """Demand that a token may assign an owner (Win32 SetPrivateObjectSecurityEx).

    It may assign its user, and each group that it holds enabled with the OWNER
    attribute; with SeRestorePrivilege any SID.

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

    Raises:
        PrivilegeNotHeldError: SeSecurityPrivilege for audit entries, SeRelabelPrivilege
            for a label that the token's integrity does not reach.
        InvalidAclError: a label's SID is no integrity level.
    """
    if not isinstance(sacl, Acl):
        return
    for ace in sacl:
        if not isinstance(ace, MandatoryLabelAce):
            needed = Privilege.SECURITY
        elif not is_integrity_level(ace.trustee):
            raise InvalidAclError(f"`{ace.trustee}` is not an integrity level")
        elif dominates(token.integrity, ace.trustee):
            continue
        else:
            needed = Privilege.RELABEL
        if not token.has_privilege(needed):
            raise PrivilegeNotHeldError((needed,))


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
    needed = 0
    if owner or group or label:
        needed |= int(AccessMask.WRITE_OWNER)
    if dacl:
        needed |= int(AccessMask.WRITE_DAC)
    if sacl:
        needed |= int(AccessMask.ACCESS_SYSTEM_SECURITY)
    return needed


def _owner_only(owner: Sid, mapping: GenericMapping) -> Acl:
    return Acl((AccessAllowedAce(owner, mapping.all),))


def _settled(
    acl: Acl | NoAcl,
    kinds: tuple[type[Ace], ...],
    creator: tuple[Sid, Sid],
    mapping: GenericMapping,
) -> Acl | NoAcl:
    """Return a list as it is kept: rights mapped, creators named (2.5.3.4.7)."""
    if not isinstance(acl, Acl):
        return acl
    _require_kinds(acl, kinds)
    owner, group = creator
    stands_for = {CREATOR_OWNER: owner, CREATOR_GROUP: group}
    return replace(
        acl,
        aces=tuple(
            ace
            if ace.is_inherit_only or isinstance(ace, MandatoryLabelAce)
            else replace(
                ace,
                trustee=stands_for.get(ace.trustee, ace.trustee),
                mask=mapping.map(ace.mask),
            )
            for ace in acl
        ),
    )


def _require_kinds(acl: Iterable[Ace], kinds: tuple[type[Ace], ...]) -> None:
    """Refuse entries of a kind that the list is not for, or that is not known."""
    for ace in acl:
        if type(ace) not in kinds:
            raise InvalidAclError(
                f"an entry of type `{type(ace).__name__}` does not belong here"
            )
