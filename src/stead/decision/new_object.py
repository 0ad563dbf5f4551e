"""Descriptors of new objects ([MS-DTYP] 2.5.3.4, Win32 CreatePrivateObjectSecurityEx).

What the creator says comes first, then what the parent hands down, then what the
creator's token says. Differences to Windows, each to the safe side: where the token has
no default DACL, or a NULL one, Windows leaves the object open to everybody, Stead gives
it to its owner alone; a default owner is held to the same rule as one that is named.

Where the sources differ, what was seen on Windows decides: a creator's list is merged
with inherited entries, and its entries split, only if automatic inheritance was asked
for; without it, its generic rights are mapped and the rest stays as it was given.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from stead.decision.access_check import access_check
from stead.decision.ace_inheritance import (
    CROSSING_KINDS,
    Child,
    as_explicit,
    has_entries_for_kind,
    inherit_acl,
    is_inherited,
    map_aces,
    rebuild,
    settle_aces,
)
from stead.decision.auto_inherit_flags import (
    AutoInheritFlags,
    require_flags,
    token_label,
)
from stead.decision.descriptor_parts import (
    SecurityInformation,
    part_of,
    require_inherited,
    require_owner,
    require_sacl,
)
from stead.errors import (
    AccessDeniedError,
    InvalidAclError,
    InvalidOwnerError,
    InvalidSecurityDescriptorError,
)
from stead.model.access_mask import AccessMask, GenericMapping
from stead.model.ace import AccessAllowedAce, Ace, OpaqueAce
from stead.model.ace_kinds import ACE_CLASSES
from stead.model.acl import ABSENT_DACL, ABSENT_SACL, Acl, NoAcl
from stead.model.guid import Guid
from stead.model.security_descriptor import ControlFlags, SecurityDescriptor
from stead.model.sid import Sid
from stead.model.token import AccessToken
from stead.model.well_known import OWNER_RIGHTS

_F = AutoInheritFlags
_C = ControlFlags
_KNOWN_KINDS: Final = frozenset(ACE_CLASSES.values())
_NOTHING: Final = SecurityDescriptor(dacl=ABSENT_DACL)


def create_object_descriptor(
    parent: SecurityDescriptor | None,
    creator: SecurityDescriptor | None,
    token: AccessToken,
    *,
    mapping: GenericMapping,
    is_container: bool = False,
    object_types: Iterable[Guid] = (),
    flags: int = AutoInheritFlags.NONE,
    server: AccessToken | None = None,
) -> SecurityDescriptor:
    """Make the descriptor of a new object ([MS-DTYP] 2.5.3.4.1).

    1. The owner and the group: the creator's, the parent's if a flag says so, or the
       token's default; the token must be one that may assign the owner.
    2. The privileges that the creator's SACL takes, by what it holds and by what it
       keeps the object from inheriting.
    3. The DACL: the creator's, merged with what is inherited if automatic inheritance
       is asked for and the list is not protected; what is inherited; the token's
       default; full access for the owner alone.
    4. The SACL likewise, without a default. Resource attributes and central policies
       are inherited even by a protected one.
    5. The control bits: AUTO_INHERITED where it was asked for, PROTECTED as given.

    Args:
        parent: the descriptor of the container it is made in; None for none.
        creator: what its maker says; None for nothing.
        token: the maker's effective token.
        mapping: what generic rights mean on this kind of object.
        is_container: whether it may hold other objects.
        object_types: its kinds, for entries that name the kind that inherits them.
        flags: `AutoInheritFlags`.
        server: the token of the server that makes it, for CREATOR OWNER SERVER.

    Raises:
        InvalidOwnerError: there is no owner, or the token may not assign this one.
        InvalidSecurityDescriptorError: the group is to be the parent's, which has none.
        InvalidAclError: an entry is of a made-up kind, or a list gets too long.
        PrivilegeNotHeldError: the SACL takes a privilege (`require_sacl`,
            `require_inherited`).
        AccessDeniedError: OWNER RIGHTS entries of the parent withhold WRITE_DAC, and
            the creator names a DACL all the same.
        SteadError: a flag is unknown.
    """
    asked = require_flags(flags)
    parent = _NOTHING if parent is None else parent
    creator = _NOTHING if creator is None else creator
    owner = _owner(parent, creator, token, asked)
    child = Child(
        mapping,
        is_container=is_container,
        object_types=frozenset(object_types),
        owner=owner,
        group=_group(parent, creator, token, asked),
        server_owner=None if server is None else server.default_owner,
        server_group=None if server is None else server.default_group,
    )
    return _made(_Making(parent, creator, token, owner, child, asked))


def owner_only(owner: Sid, mapping: GenericMapping) -> Acl:
    """Return the list that gives everything to the owner and nothing to others."""
    return Acl((AccessAllowedAce(owner, mapping.all),))


def require_kinds(acl: Acl | NoAcl) -> None:
    """Refuse entries of kinds that a program made up: no codec could write them.

    Raises:
        InvalidAclError: an entry is of no kind that there is.
    """
    if isinstance(acl, Acl):
        for ace in acl:
            if type(ace) not in _KNOWN_KINDS and type(ace) is not OpaqueAce:
                raise InvalidAclError(f"there is no ace of kind `{type(ace).__name__}`")


@dataclass(frozen=True, slots=True)
class _Making:
    """All that the lists of one new object are made of."""

    parent: SecurityDescriptor
    creator: SecurityDescriptor
    token: AccessToken
    owner: Sid
    child: Child
    flags: AutoInheritFlags

    def gives_way(
        self, defaulted: ControlFlags, parent: Acl | NoAcl, inherited: tuple[Ace, ...]
    ) -> bool:
        """Tell whether a creator's list is a mere default that inheritance replaces.

        A list that is marked as defaulted gives way to any inherited entry, a default
        descriptor for the kind of object to entries that are for that kind.
        """
        if self.creator.control & defaulted:
            return bool(inherited)
        return bool(
            self.flags & _F.DEFAULT_DESCRIPTOR_FOR_OBJECT
        ) and has_entries_for_kind(parent, self.child)

    def own(
        self, acl: Acl, *, is_protected: bool, is_automatic: bool
    ) -> tuple[Ace, ...]:
        """Return the creator's own entries as they are kept (2.5.3.4.6, .7)."""
        require_kinds(acl)
        if is_protected:
            aces: list[Ace] = [as_explicit(ace) for ace in acl]
        else:
            aces = [ace for ace in acl if not is_inherited(ace)]
        if is_automatic:
            return tuple(settle_aces(aces, self.child))
        return tuple(map_aces(aces, self.child.mapping))


def _made(making: _Making) -> SecurityDescriptor:
    """Take the steps after the first: the lists, and the bits that go with them."""
    creator = making.creator
    dacl, dacl_control = _dacl(making)
    sacl, sacl_control = _sacl(making)
    return SecurityDescriptor(
        dacl=dacl,
        owner=making.owner,
        group=making.child.group,
        sacl=sacl,
        control=dacl_control | sacl_control | creator.control & _C.RM_CONTROL_VALID,
        resource_manager_control=creator.resource_manager_control,
    )


def _owner(
    parent: SecurityDescriptor,
    creator: SecurityDescriptor,
    token: AccessToken,
    flags: AutoInheritFlags,
) -> Sid:
    owner = creator.owner
    if owner is None:
        from_parent = flags & _F.DEFAULT_OWNER_FROM_PARENT
        owner = parent.owner if from_parent else token.default_owner
    if owner is None:
        raise InvalidOwnerError("the parent has no owner to take")
    if not flags & _F.AVOID_OWNER_CHECK:
        require_owner(token, owner)
    return owner


def _group(
    parent: SecurityDescriptor,
    creator: SecurityDescriptor,
    token: AccessToken,
    flags: AutoInheritFlags,
) -> Sid:
    group = creator.group
    if group is None:
        from_parent = flags & _F.DEFAULT_GROUP_FROM_PARENT
        group = parent.group if from_parent else token.default_group
    if group is None:
        raise InvalidSecurityDescriptorError("the parent has no primary group to take")
    return group


def _dacl(making: _Making) -> tuple[Acl | NoAcl, ControlFlags]:
    """Return the DACL of a new object and its control bits (2.5.3.4.2)."""
    creator, child = making.creator, making.child
    given = creator.dacl
    is_automatic = bool(making.flags & _F.DACL_AUTO_INHERIT)
    control = _C.DACL_AUTO_INHERITED if is_automatic else _C.NONE
    inherited = inherit_acl(making.parent.dacl, child, is_marked=is_automatic)
    if given is ABSENT_DACL:
        return Acl(inherited) if inherited else _default_dacl(making), control
    is_protected = bool(creator.control & _C.DACL_PROTECTED)
    if not is_protected and making.gives_way(
        _C.DACL_DEFAULTED, making.parent.dacl, inherited
    ):
        return Acl(inherited), control
    _require_free_owner(making, inherited)
    if is_protected:
        control |= _C.DACL_PROTECTED
    if is_protected or not is_automatic:
        inherited = ()
    if isinstance(given, NoAcl):
        return Acl(inherited) if inherited else given, control
    own = making.own(given, is_protected=is_protected, is_automatic=is_automatic)
    return rebuild(given, own + inherited), control


def _sacl(making: _Making) -> tuple[Acl | NoAcl, ControlFlags]:
    """Return the SACL of a new object and its control bits (2.5.3.4.2)."""
    creator = making.creator
    label = token_label(making.token, making.flags)
    given = creator.sacl if label is None else _without_labels(creator.sacl)
    if not making.flags & _F.AVOID_PRIVILEGE_CHECK:
        require_sacl(making.token, given)
    is_automatic = bool(making.flags & _F.SACL_AUTO_INHERIT)
    control = _C.SACL_AUTO_INHERITED if is_automatic else _C.NONE
    due = inherit_acl(making.parent.sacl, making.child, is_marked=is_automatic)
    inherited = due
    is_protected = given is not ABSENT_SACL and bool(
        creator.control & _C.SACL_PROTECTED
    )
    own: tuple[Ace, ...] = ()
    if given is not ABSENT_SACL and (
        is_protected or not making.gives_way(_C.SACL_DEFAULTED, making.parent.sacl, due)
    ):
        if is_protected or not is_automatic:
            inherited = tuple(a for a in due if isinstance(a, CROSSING_KINDS))
        if isinstance(given, Acl):
            own = making.own(
                given, is_protected=is_protected, is_automatic=is_automatic
            )
    if not making.flags & _F.AVOID_PRIVILEGE_CHECK:
        require_inherited(making.token, due, own=own, kept=inherited)
    if is_protected:
        control |= _C.SACL_PROTECTED
    labels = () if label is None else (label,)
    aces = (*labels, *own, *inherited)
    if not aces and isinstance(given, NoAcl):
        return given, control
    return rebuild(given, aces), control


def _without_labels(sacl: Acl | NoAcl) -> Acl | NoAcl:
    if not isinstance(sacl, Acl):
        return sacl
    label = SecurityInformation.LABEL
    return rebuild(sacl, (ace for ace in sacl if part_of(ace) != label))


def _require_free_owner(making: _Making, inherited: tuple[Ace, ...]) -> None:
    """Demand that the parent lets whoever makes an object say who may use it.

    An OWNER RIGHTS entry that children inherit is there to withhold WRITE_DAC from
    their owners; naming another DACL at once would be the way around it.
    """
    if making.flags & _F.AVOID_OWNER_RESTRICTION or not any(
        ace.trustee == OWNER_RIGHTS and not ace.is_inherit_only for ace in inherited
    ):
        return
    child = making.child
    handed_down = SecurityDescriptor(
        dacl=Acl(inherited), owner=child.owner, group=child.group
    )
    decision = access_check(
        making.token, handed_down, int(AccessMask.WRITE_DAC), child.mapping
    )
    if not decision:
        raise AccessDeniedError(decision=decision)


def _default_dacl(making: _Making) -> Acl:
    """Return the DACL of an object that neither its maker nor its parent gives one."""
    default = making.token.default_dacl
    if isinstance(default, Acl):
        is_automatic = bool(making.flags & _F.DACL_AUTO_INHERIT)
        own = making.own(default, is_protected=True, is_automatic=is_automatic)
        return rebuild(default, own)
    # A token's NULL default would open whatever it creates, unseen: only the object
    # itself may be given a NULL DACL.
    return owner_only(making.owner, making.child.mapping)
