"""Finding what an object inherited before anybody marked it.

[MS-DTYP] 2.5.3.5, Win32 ConvertToAutoInheritPrivateObjectSecurity. Lists that were made
without automatic inheritance do not say which of their entries came from the parent.
They are compared with what the object would inherit now, by meaning and not entry by
entry: one that counts and is passed on equals two, one of each; reading and writing
equals reading, and writing.

A list is converted where all that would be inherited is found in it, and where moving
that behind the object's own entries moves nothing that allows past anything that
denies. Otherwise it stays as it is, and is protected. Either way everybody is granted
what he was granted before.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from typing import Final, TypeAlias

from stead.decision.ace_inheritance import (
    CROSSING_KINDS,
    Child,
    as_explicit,
    effective_only,
    inherit_acl,
    map_aces,
    rebuild,
)
from stead.model.access_mask import GenericMapping
from stead.model.ace import (
    INHERITANCE,
    Ace,
    AceFlags,
    MandatoryLabelAce,
    ObjectAce,
    OpaqueAce,
    ProcessTrustLabelAce,
    ResourceAttributeAce,
)
from stead.model.ace_kinds import ALLOW_KINDS, DENY_KINDS
from stead.model.acl import Acl, NoAcl
from stead.model.guid import Guid
from stead.model.security_descriptor import ControlFlags, SecurityDescriptor
from stead.model.token import AccessToken

_Key: TypeAlias = tuple[object, ...]
_Masks: TypeAlias = dict[_Key, int]

_C: Final = ControlFlags
_MENTIONED: Final = 1 << 32  # above every mask: an entry without rights is one as well
_HERE: Final = AceFlags.NONE
_PASSED_ON: Final = (AceFlags.OBJECT_INHERIT, AceFlags.CONTAINER_INHERIT)
_NO_PROPAGATE: Final = AceFlags.NO_PROPAGATE_INHERIT
# The first label counts, and of attributes the first of each name.
_FIRST_COUNTS: Final = (MandatoryLabelAce, ProcessTrustLabelAce, ResourceAttributeAce)


def convert_to_auto_inherit(
    parent: SecurityDescriptor | None,
    current: SecurityDescriptor,
    *,
    mapping: GenericMapping,
    is_container: bool = False,
    object_types: Iterable[Guid] = (),
    server: AccessToken | None = None,
) -> SecurityDescriptor:
    """Return an equal descriptor whose inherited entries say that they are.

    Args:
        parent: the descriptor of the container that the object is in; None for none.
        current: the object's descriptor.
        mapping: what generic rights mean on the object.
        is_container: whether it may hold other objects.
        object_types: its kinds, for entries that name the kind that inherits them.
        server: the token of the server, for CREATOR OWNER SERVER.

    Returns:
        a descriptor with AUTO_INHERITED set for both lists, and PROTECTED for one that
        was, that could not be converted or in which nothing was inherited. `propagate`
        leaves it as it is, but for attributes and central policies that cross any
        protection.

    Raises:
        InvalidAclError: a list gets too long.
    """
    child = Child(
        mapping,
        is_container=is_container,
        object_types=frozenset(object_types),
        owner=current.owner,
        group=current.group,
        server_owner=None if server is None else server.default_owner,
        server_group=None if server is None else server.default_group,
    )
    above = SecurityDescriptor(dacl=NoAcl.ABSENT) if parent is None else parent
    dacl, dacl_control = _dacl(above, current, child)
    sacl, sacl_control = _sacl(above, current, child)
    control = current.control | dacl_control | sacl_control
    return replace(current, dacl=dacl, sacl=sacl, control=control)


def _dacl(
    parent: SecurityDescriptor, current: SecurityDescriptor, child: Child
) -> tuple[Acl | NoAcl, ControlFlags]:
    """Return the converted DACL and its control bits."""
    inherited = inherit_acl(parent.dacl, child)
    old = current.dacl
    if isinstance(old, Acl):
        own = None
        if inherited and not current.control & _C.DACL_PROTECTED:
            own = _own(old.aces, inherited, child.mapping)
        if own is not None:
            # One that claims to be inherited and is not due would be taken for the
            # parent's when that changes, and vanish.
            kept = map(as_explicit, own)
            return rebuild(old, (*kept, *inherited)), _C.DACL_AUTO_INHERITED
        old = rebuild(old, map(as_explicit, old))
    return old, _C.DACL_AUTO_INHERITED | _C.DACL_PROTECTED


def _sacl(
    parent: SecurityDescriptor, current: SecurityDescriptor, child: Child
) -> tuple[Acl | NoAcl, ControlFlags]:
    """Return the converted SACL and its control bits.

    Entries that cross a protected list are converted apart from the others, which
    alone decide whether it is protected.
    """
    inherited = inherit_acl(parent.sacl, child)
    old = tuple(current.sacl) if isinstance(current.sacl, Acl) else ()
    was_protected = bool(current.control & _C.SACL_PROTECTED)
    left: set[int] = set()
    control = _C.SACL_AUTO_INHERITED
    found: set[bool] = set()
    for crosses in (False, True):
        mine = [ace for ace in old if isinstance(ace, CROSSING_KINDS) is crosses]
        due = [ace for ace in inherited if isinstance(ace, CROSSING_KINDS) is crosses]
        own = None
        if due and (crosses or not was_protected):
            own = _own(mine, due, child.mapping)
        if own is not None:
            found.add(crosses)
        elif not crosses and (mine or due):
            control |= _C.SACL_PROTECTED
        left |= {id(ace) for ace in (mine if own is None else own)}
    kept = tuple(as_explicit(ace) for ace in old if id(ace) in left)
    due_now = tuple(a for a in inherited if isinstance(a, CROSSING_KINDS) in found)
    if isinstance(current.sacl, NoAcl):
        return current.sacl, control
    return rebuild(current.sacl, kept + due_now), control


def _own(
    old: Sequence[Ace], inherited: Sequence[Ace], mapping: GenericMapping
) -> list[Ace] | None:
    """Return the entries of a list that were not inherited; None if it cannot be."""
    due = _masks(inherited, mapping)
    own: list[Ace] = []
    came: list[Ace] = []
    for ace in old:
        said = list(_atoms(ace, mapping))
        is_due = all(not mask & ~due.get(key, 0) for key, mask in said)
        (came if said and is_due else own).append(ace)
    if _masks(came, mapping) != due:
        return None
    if _meaning(old, mapping) != _meaning((*own, *inherited), mapping):
        return None
    return own


def _meaning(
    aces: Sequence[Ace], mapping: GenericMapping
) -> list[tuple[object, _Masks]]:
    """Return what a list says, in an order that only differs where it matters.

    Entries that allow are of one run until one denies, and so on. Labels, trust labels
    and attributes each keep the order they have among their like, since the first
    counts, wherever they stand among other system entries.
    """
    apart = ([a for a in aces if isinstance(a, kind)] for kind in _FIRST_COUNTS)
    others = [ace for ace in aces if not isinstance(ace, _FIRST_COUNTS)]
    runs: list[tuple[object, _Masks]] = []
    for ace in chain(*apart, others):
        kind = _order(ace)
        if not runs or runs[-1][0] != kind:
            runs.append((kind, {}))
        _add(runs[-1][1], ace, mapping)
    return runs


def _order(ace: Ace) -> object:
    """Return what entries have in common whose order among themselves is nothing."""
    if type(ace) in DENY_KINDS:
        return "deny"
    if type(ace) in ALLOW_KINDS:
        return "allow"
    if isinstance(ace, OpaqueAce):
        return "unknown"
    if isinstance(ace, _FIRST_COUNTS):
        return (ace.trustee, ace.mask, ace.application_data)
    return "system"


def _masks(aces: Iterable[Ace], mapping: GenericMapping) -> _Masks:
    made: _Masks = {}
    for ace in aces:
        _add(made, ace, mapping)
    return made


def _add(masks: _Masks, ace: Ace, mapping: GenericMapping) -> None:
    for key, mask in _atoms(ace, mapping):
        masks[key] = masks.get(key, 0) | mask


def _atoms(ace: Ace, mapping: GenericMapping) -> Iterator[tuple[_Key, int]]:
    """Yield what an entry says here, and to each form of child, one by one.

    One that names a creator and counts here says so of nobody: what is inherited
    names the owner.
    """
    rest = ace.flags & ~(INHERITANCE | AceFlags.INHERITED)
    if not ace.is_inherit_only:
        (mapped,) = map_aces((ace,), mapping)
        here = effective_only(mapped, rest)
        yield _key(here, _HERE), here.mask | _MENTIONED
    for form in _PASSED_ON:
        if ace.flags & form:
            key = _key(replace(ace, flags=rest), form | ace.flags & _NO_PROPAGATE)
            yield key, ace.mask | _MENTIONED


def _key(ace: Ace, whom: AceFlags) -> _Key:
    """Return all of an entry but its rights."""
    kinds = (
        (ace.object_type, ace.inherited_object_type)
        if isinstance(ace, ObjectAce)
        else ()
    )
    body = ace.body if isinstance(ace, OpaqueAce) else b""
    about = (ace.trustee, ace.application_data, body)
    return (ace.number, *about, *kinds, ace.flags, whom)
