"""What an object inherits of its parent's entries ([MS-DTYP] 2.5.3.4.4, 2.5.3.4.7).

An entry says by its flags which children it is for: OBJECT_INHERIT for those that hold
nothing, CONTAINER_INHERIT for containers. A container also keeps, for its own children,
what is not NO_PROPAGATE; what it only keeps is INHERIT_ONLY there. An object entry that
names a kind of child counts on children of that kind alone, and passes through others.

Where an entry counts, its generic rights become the object's own and the creator SIDs
become the creator. If it is to be passed on as well, it is split in two: one that
counts, and the original for the children.

An entry of a kind that nobody here can judge is inherited by its flags alone, as bytes:
whatever it refuses on the parent it refuses on the child.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from stead.model.access_mask import GENERIC_RIGHTS, GenericMapping
from stead.model.ace import (
    INHERITANCE,
    AccessAllowedAce,
    AccessAllowedCallbackAce,
    AccessAllowedCallbackObjectAce,
    AccessAllowedObjectAce,
    AccessDeniedAce,
    AccessDeniedCallbackAce,
    AccessDeniedCallbackObjectAce,
    AccessDeniedObjectAce,
    Ace,
    AceFlags,
    MandatoryLabelAce,
    ObjectAce,
    OpaqueAce,
    ResourceAttributeAce,
    ScopedPolicyIdAce,
    SystemAlarmAce,
    SystemAlarmCallbackAce,
    SystemAlarmCallbackObjectAce,
    SystemAlarmObjectAce,
    SystemAuditAce,
    SystemAuditCallbackAce,
    SystemAuditCallbackObjectAce,
    SystemAuditObjectAce,
)
from stead.model.acl import Acl, NoAcl, lowest_revision
from stead.model.claim import ClaimFlags
from stead.model.guid import Guid
from stead.model.sid import Sid
from stead.model.well_known import CREATOR_GROUP, CREATOR_OWNER

CREATOR_OWNER_SERVER: Final = Sid.from_string("S-1-3-2")
CREATOR_GROUP_SERVER: Final = Sid.from_string("S-1-3-3")

CROSSING_KINDS: Final = (ResourceAttributeAce, ScopedPolicyIdAce)
"""Kinds that a protected SACL inherits all the same (Win32: SACL for a New Object)."""

_WITHOUT_RIGHTS: Final = (MandatoryLabelAce, OpaqueAce, *CROSSING_KINDS)
_PLAIN: Final[dict[type[Ace], type[Ace]]] = {
    AccessAllowedObjectAce: AccessAllowedAce,
    AccessDeniedObjectAce: AccessDeniedAce,
    AccessAllowedCallbackObjectAce: AccessAllowedCallbackAce,
    AccessDeniedCallbackObjectAce: AccessDeniedCallbackAce,
    SystemAuditObjectAce: SystemAuditAce,
    SystemAlarmObjectAce: SystemAlarmAce,
    SystemAuditCallbackObjectAce: SystemAuditCallbackAce,
    SystemAlarmCallbackObjectAce: SystemAlarmCallbackAce,
}
_PASSED_ON: Final = AceFlags.OBJECT_INHERIT | AceFlags.CONTAINER_INHERIT
_NOT_KEPT: Final = INHERITANCE | AceFlags.INHERITED
# CLAIM_SECURITY_ATTRIBUTE_RELATIVE_V1 (2.4.10.1): offset of the name, type, reserved.
_CLAIM_FLAGS: Final = slice(8, 12)


@dataclass(frozen=True, slots=True)
class Child:
    """What an entry asks about the object that is to have it.

    Attributes:
        mapping: what generic rights mean on it.
        is_container: whether it may hold other objects.
        object_types: its kinds: its class, and classes attached to it.
        owner: whom CREATOR OWNER stands for; None for nobody.
        group: whom CREATOR GROUP stands for.
        server_owner: whom CREATOR OWNER SERVER stands for.
        server_group: whom CREATOR GROUP SERVER stands for.
    """

    mapping: GenericMapping
    is_container: bool = False
    object_types: frozenset[Guid] = frozenset()
    owner: Sid | None = None
    group: Sid | None = None
    server_owner: Sid | None = None
    server_group: Sid | None = None

    def named(self, trustee: Sid) -> Sid:
        """Return whom a trustee means on this object; itself if nobody is known."""
        found: Sid | None = None
        if trustee == CREATOR_OWNER:
            found = self.owner
        elif trustee == CREATOR_GROUP:
            found = self.group
        elif trustee == CREATOR_OWNER_SERVER:
            found = self.server_owner
        elif trustee == CREATOR_GROUP_SERVER:
            found = self.server_group
        return trustee if found is None else found


def inherit_acl(
    parent: Acl | NoAcl, child: Child, *, is_marked: bool = True
) -> tuple[Ace, ...]:
    """Return the entries that a child inherits of its parent's list, in its order.

    Args:
        parent: the parent's DACL or SACL.
        child: the object that inherits.
        is_marked: whether the entries carry INHERITED, as automatic inheritance needs.
    """
    if not isinstance(parent, Acl):
        return ()
    mark = AceFlags.INHERITED if is_marked else AceFlags.NONE
    return tuple(
        made
        for ace in parent
        if ace.flags & _PASSED_ON
        for made in _inherited(ace, child, mark)
    )


def has_entries_for_kind(parent: Acl | NoAcl, child: Child) -> bool:
    """Tell whether a list has entries that name a kind of child and are for this."""
    return isinstance(parent, Acl) and any(
        isinstance(ace, ObjectAce)
        and ace.inherited_object_type is not None
        and _counts(ace, child)
        for ace in parent
    )


def settle_aces(aces: Iterable[Ace], child: Child) -> Iterator[Ace]:
    """Yield an object's own entries as they are kept: split where that is needed."""
    for ace in aces:
        here = ace if ace.is_inherit_only else concrete(ace, child)
        if here is ace or not ace.flags & _PASSED_ON:
            yield here
            continue
        yield effective_only(here, here.flags & ~INHERITANCE)
        if child.is_container:
            yield replace(ace, flags=ace.flags | AceFlags.INHERIT_ONLY)


def map_aces(aces: Iterable[Ace], mapping: GenericMapping) -> Iterator[Ace]:
    """Yield entries with the generic rights of those that count here mapped."""
    nobody = Child(mapping)
    for ace in aces:
        yield ace if ace.is_inherit_only else concrete(ace, nobody)


def concrete(ace: Ace, child: Child) -> Ace:
    """Return an entry as it counts on an object; itself where nothing changes."""
    if isinstance(ace, _WITHOUT_RIGHTS):
        return ace
    trustee = child.named(ace.trustee)
    mask = map_rights(ace.mask, child.mapping)
    if trustee == ace.trustee and mask == ace.mask:
        return ace
    return replace(ace, trustee=trustee, mask=mask)


def map_rights(mask: int, mapping: GenericMapping) -> int:
    """Return a mask with its generic rights mapped, within what GENERIC_ALL means.

    Bits that are named in the mask stay, whether the object's kind has them or not: an
    audit entry may name ACCESS_SYSTEM_SECURITY, which no mapping holds.
    """
    if not mask & GENERIC_RIGHTS:
        return mask
    meant = mapping.map(mask & GENERIC_RIGHTS) & mapping.all
    return mask & ~GENERIC_RIGHTS | meant


def rebuild(acl: Acl | NoAcl, aces: Iterable[Ace]) -> Acl:
    """Return a list of these entries, of no lower revision than the one it replaces."""
    made = tuple(aces)
    if not isinstance(acl, Acl):
        return Acl(made)
    if made == acl.aces:
        return acl
    return Acl(made, max(acl.revision, lowest_revision(made)))


def is_inherited(ace: Ace) -> bool:
    """Tell whether an entry came from a parent."""
    return bool(ace.flags & AceFlags.INHERITED)


def effective_only(ace: Ace, flags: AceFlags) -> Ace:
    """Return an entry that nobody inherits: the kind of child no longer matters."""
    if not isinstance(ace, ObjectAce) or ace.inherited_object_type is None:
        return replace(ace, flags=flags)
    plain = _PLAIN.get(type(ace))
    if plain is None or ace.object_type is not None:
        return replace(ace, flags=flags, inherited_object_type=None)
    return plain(ace.trustee, ace.mask, flags, ace.application_data)


def as_explicit(ace: Ace) -> Ace:
    """Return an entry as the object's own, whoever it came from."""
    if not is_inherited(ace):
        return ace
    return replace(ace, flags=ace.flags & ~AceFlags.INHERITED)


def _inherited(ace: Ace, child: Child, mark: AceFlags) -> tuple[Ace, ...]:
    """Return what one inheritable entry becomes on a child (the table of 2.5.3.4.4)."""
    if not _may_be_inherited(ace):
        return ()
    kept = ace.flags & ~_NOT_KEPT | mark
    passed_on = _passed_on(ace.flags, child)
    if not _counts(ace, child):
        only = AceFlags.INHERIT_ONLY | passed_on
        return (replace(ace, flags=kept | only),) if passed_on else ()
    here = concrete(ace, child)
    if not passed_on:
        return (effective_only(here, kept),)
    if here is ace:
        return (replace(ace, flags=kept | passed_on),)
    return (
        effective_only(here, kept),
        replace(ace, flags=kept | passed_on | AceFlags.INHERIT_ONLY),
    )


def _passed_on(flags: AceFlags, child: Child) -> AceFlags:
    """Return the flags by which the child's own children inherit in their turn."""
    if not child.is_container or flags & AceFlags.NO_PROPAGATE_INHERIT:
        return AceFlags.NONE
    return flags & _PASSED_ON


def _counts(ace: Ace, child: Child) -> bool:
    """Tell whether an inheritable entry is for this child, by its form and kind."""
    wanted = (
        AceFlags.CONTAINER_INHERIT if child.is_container else AceFlags.OBJECT_INHERIT
    )
    if not ace.flags & wanted:
        return False
    kind = ace.inherited_object_type if isinstance(ace, ObjectAce) else None
    return kind is None or kind in child.object_types


def _may_be_inherited(ace: Ace) -> bool:
    """Tell whether a resource attribute's own flags let it be inherited.

    One whose flags cannot be read is inherited: a child that lacks an attribute of its
    parent's may escape a central policy that asks for it.
    """
    if not isinstance(ace, ResourceAttributeAce):
        return True
    flags = int.from_bytes(ace.application_data[_CLAIM_FLAGS], "little")
    return not flags & ClaimFlags.NON_INHERITABLE
