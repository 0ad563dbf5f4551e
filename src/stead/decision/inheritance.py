"""Descriptors of a server's own objects, and a door to all that inheritance does.

An object that has no parent takes what its creator does not say from its creator's
token ([MS-DTYP] 2.5.3.4). Objects of a tree are made, changed and kept in step by
`stead.decision.new_object`, `set_object` and `propagation`.
"""

from __future__ import annotations

from typing import Final

from stead.decision.ace_inheritance import Child, concrete, rebuild
from stead.decision.descriptor_parts import (
    require_owner,
    require_sacl,
    rights_to_set,
)
from stead.decision.new_object import owner_only
from stead.errors import InvalidAclError
from stead.model.access_mask import GenericMapping
from stead.model.ace import Place
from stead.model.ace_kinds import ACE_CLASSES
from stead.model.acl import ABSENT_DACL, ABSENT_SACL, Acl, NoAcl
from stead.model.security_descriptor import SecurityDescriptor
from stead.model.sid import Sid
from stead.model.token import AccessToken

_KNOWN_KINDS: Final = frozenset(ACE_CLASSES.values())

__all__ = ["new_object_descriptor", "require_owner", "require_sacl", "rights_to_set"]


def new_object_descriptor(
    token: AccessToken,
    *,
    owner: Sid | None = None,
    group: Sid | None = None,
    dacl: Acl | NoAcl = ABSENT_DACL,
    sacl: Acl | NoAcl = ABSENT_SACL,
    mapping: GenericMapping,
) -> SecurityDescriptor:
    """Make the descriptor of a server's own object, which has no parent.

    Stricter than `create_object_descriptor`: lists hold only entries of known kinds,
    and creator SIDs in entries that count are always replaced.

    Args:
        token: the creator's token, the effective one.
        owner: the owner; the token's default owner if not given.
        group: the primary group; the token's default if not given.
        dacl: the object's list, or `NULL_DACL` on purpose; if absent, the token's
            default list, and if it has none, full access for the owner alone.
        sacl: audit entries, a label and the like; an absent one stays absent.
        mapping: what generic rights mean on this kind of object.

    Returns:
        a descriptor with owner, group and DACL, without generic rights in its entries.

    Raises:
        InvalidOwnerError: the token may not assign this owner.
        InvalidAclError: a list holds entries that do not belong into it.
        PrivilegeNotHeldError: the SACL takes a privilege (`require_sacl`).
    """
    owner = token.default_owner if owner is None else owner
    group = token.default_group if group is None else group
    require_owner(token, owner)
    require_sacl(token, sacl)
    if dacl is ABSENT_DACL:
        default = token.default_dacl
        dacl = default if isinstance(default, Acl) else owner_only(owner, mapping)
    child = Child(mapping, owner=owner, group=group)
    return SecurityDescriptor(
        owner=owner,
        group=group,
        dacl=_settled(dacl, Place.DACL, child),
        sacl=_settled(sacl, Place.SACL, child),
    )


def _settled(acl: Acl | NoAcl, place: Place, child: Child) -> Acl | NoAcl:
    """Return a list as it is kept: rights mapped, creators named (2.5.3.4.7)."""
    if not isinstance(acl, Acl):
        return acl
    for ace in acl:
        if type(ace) not in _KNOWN_KINDS or ace.place is not place:
            raise InvalidAclError(
                f"an entry of type `{type(ace).__name__}` does not belong here"
            )
    return rebuild(
        acl, (ace if ace.is_inherit_only else concrete(ace, child) for ace in acl)
    )
