"""Keeping a tree of objects in step with its root (Win32: Automatic Propagation).

When inheritable entries of a container change, everything below it is to inherit anew.
An object's own entries stay where they are, before the inherited ones; what it
inherited is worked out again from its parent's new list, so that nearer ancestors'
entries come first and each ancestor's keep their order.

A protected list takes nothing from above, and whatever is below it inherits from it as
it is: that half of the branch stays untouched. Resource attributes and central policies
alone cross a protected SACL.

An object that had no DACL, open to everybody, has one as soon as it inherits an entry,
and an empty one, closed to everybody, when it no longer inherits any. To keep an object
open below such a container its DACL has to be protected.

Entries that an object inherited before anybody marked them as such are its own here.
`stead.decision.conversion` finds and marks them, before the parent is changed.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from stead.decision.ace_inheritance import (
    CROSSING_KINDS,
    Child,
    inherit_acl,
    is_inherited,
    rebuild,
)
from stead.errors import SteadError
from stead.model.access_mask import GenericMapping
from stead.model.ace import Ace
from stead.model.acl import Acl, NoAcl
from stead.model.guid import Guid
from stead.model.security_descriptor import ControlFlags, SecurityDescriptor
from stead.model.token import AccessToken

_HandedDown: TypeAlias = tuple[tuple[Ace, ...], tuple[Ace, ...]]
_C: Final = ControlFlags


@dataclass(frozen=True, slots=True)
class TreeNode:
    """One object of a tree.

    Attributes:
        key: which object it is; no two of a tree have the same.
        parent: the key of the container that it is in.
        descriptor: its descriptor.
        is_container: whether it may hold other objects.
        object_types: its kinds, for entries that name the kind that inherits them.
    """

    key: Hashable
    parent: Hashable
    descriptor: SecurityDescriptor
    is_container: bool = False
    object_types: frozenset[Guid] = frozenset()


@dataclass(frozen=True, slots=True)
class _Branch:
    """An object whose children are to inherit, and what still flows down to them."""

    key: Hashable
    descriptor: SecurityDescriptor
    dacl_flows: bool = True
    sacl_flows: bool = True


def propagate(
    root: TreeNode,
    descendants: Iterable[TreeNode],
    *,
    mapping: GenericMapping,
    server: AccessToken | None = None,
) -> dict[Hashable, SecurityDescriptor]:
    """Return the new descriptors of all objects that change, by their keys.

    Args:
        root: the container that was changed, with its new descriptor.
        descendants: everything below it, in any order.
        mapping: what generic rights mean on these objects.
        server: the token of the server, for CREATOR OWNER SERVER.

    Raises:
        SteadError: two objects have one key, or one is not below the root.
        InvalidAclError: a list gets too long.
    """
    below = _children(root, descendants)
    changed: dict[Hashable, SecurityDescriptor] = {}
    waiting = [_Branch(root.key, root.descriptor)]
    while waiting:
        branch = waiting.pop()
        handed: dict[Child, _HandedDown] = {}
        for node in below.pop(branch.key, ()):
            control = node.descriptor.control
            dacl_flows = branch.dacl_flows and not control & _C.DACL_PROTECTED
            sacl_flows = branch.sacl_flows and not control & _C.SACL_PROTECTED
            into = _Branch(node.key, node.descriptor, dacl_flows, sacl_flows)
            child = _child(node, mapping, server)
            # Objects of one owner in one container inherit the very same entries.
            if child not in handed:
                handed[child] = _handed_down(branch.descriptor, child)
            made = _renewed(into, handed[child])
            if made is not node.descriptor:
                changed[node.key] = made
                into = replace(into, descriptor=made)
            waiting.append(into)
    if below:
        raise SteadError("an object of the tree is not below its root")
    return changed


def _children(
    root: TreeNode, descendants: Iterable[TreeNode]
) -> dict[Hashable, list[TreeNode]]:
    """Return the objects of a tree by the keys of their parents."""
    keys = {root.key}
    below: dict[Hashable, list[TreeNode]] = {}
    for node in descendants:
        if node.key in keys:
            raise SteadError("two objects of the tree have one key")
        keys.add(node.key)
        below.setdefault(node.parent, []).append(node)
    return below


def _child(
    node: TreeNode, mapping: GenericMapping, server: AccessToken | None
) -> Child:
    return Child(
        mapping,
        is_container=node.is_container,
        object_types=node.object_types,
        owner=node.descriptor.owner,
        group=node.descriptor.group,
        server_owner=None if server is None else server.default_owner,
        server_group=None if server is None else server.default_group,
    )


def _handed_down(parent: SecurityDescriptor, child: Child) -> _HandedDown:
    return inherit_acl(parent.dacl, child), inherit_acl(parent.sacl, child)


def _renewed(into: _Branch, handed_down: _HandedDown) -> SecurityDescriptor:
    """Return an object's descriptor with what it inherits now; itself if the same."""
    current = into.descriptor
    discretionary, system = handed_down
    dacl, control = current.dacl, current.control
    if into.dacl_flows:
        dacl = _inheriting(dacl, discretionary)
        if dacl is not current.dacl:
            control |= _C.DACL_AUTO_INHERITED
    if into.sacl_flows:
        sacl = _inheriting(current.sacl, system)
        if sacl is not current.sacl:
            control |= _C.SACL_AUTO_INHERITED
    else:
        sacl = _crossed(current.sacl, system)
    if dacl is current.dacl and sacl is current.sacl:
        return current
    return replace(current, dacl=dacl, sacl=sacl, control=control)


def _inheriting(current: Acl | NoAcl, inherited: tuple[Ace, ...]) -> Acl | NoAcl:
    """Return a list with other inherited entries.

    A list stays a list when nothing is left in it; only what never was one stays none.
    """
    if isinstance(current, NoAcl):
        return rebuild(current, inherited) if inherited else current
    own = (ace for ace in current if not is_inherited(ace))
    return rebuild(current, (*own, *inherited))


def _crossed(current: Acl | NoAcl, inherited: tuple[Ace, ...]) -> Acl | NoAcl:
    """Return a protected list with other inherited entries of the kinds that cross."""
    crossing = tuple(ace for ace in inherited if isinstance(ace, CROSSING_KINDS))
    if isinstance(current, NoAcl):
        return rebuild(current, crossing) if crossing else current
    own = (
        ace
        for ace in current
        if not (is_inherited(ace) and isinstance(ace, CROSSING_KINDS))
    )
    return rebuild(current, (*own, *crossing))
