"""One walk over a DACL for one principal ([MS-DTYP] 2.5.3.2, the loop over entries).

Each right at each node of the tree belongs to the first entry that names it there. To
grant a right at a node is to grant it below; a node whose children all have a right has
it too. To deny one is to deny it below, and above: who may not read one property may
not read the object.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from stead.decision.callbacks import Callbacks
from stead.decision.object_tree import ObjectTree
from stead.decision.principals import Principal
from stead.model.access_mask import GenericMapping
from stead.model.ace import AccessAllowedAce, AccessAllowedObjectAce, Ace, ObjectAce
from stead.model.ace_kinds import ALLOW_KINDS, CALLBACK_KINDS, DACL_KINDS
from stead.model.acl import Acl

Note: TypeAlias = Callable[[int, Ace, bool, int], None]
"""Hears of each entry that settled rights of the root: where, it, granted, which."""


@dataclass(slots=True)
class Walk:
    """What has been settled so far.

    Attributes:
        tree: the nodes.
        granted: the rights granted at each node.
        undecided: the rights that no entry has named yet, at each node.
    """

    tree: ObjectTree
    granted: list[int] = field(init=False)
    undecided: list[int] = field(init=False)

    def start(self, wanted: int) -> Walk:
        """Begin with all wanted rights undecided everywhere."""
        self.granted = [0] * len(self.tree.parents)
        self.undecided = [wanted] * len(self.tree.parents)
        return self

    def grant(self, node: int, mask: int) -> None:
        """Grant rights at a node and below, and above where all siblings have them."""
        for below in range(node, self.tree.ends[node]):
            self._grant_one(below, mask)
        parent = self.tree.parents[node]
        while parent >= 0:
            shared = self.undecided[parent]
            for child in self.tree.children(parent):
                shared &= self.granted[child]
            if not shared:
                return
            self._grant_one(parent, shared)
            parent = self.tree.parents[parent]

    def deny(self, node: int, mask: int) -> None:
        """Deny rights at a node, below and above."""
        for below in range(node, self.tree.ends[node]):
            self.undecided[below] &= ~mask
        parent = self.tree.parents[node]
        while parent >= 0:
            self.undecided[parent] &= ~mask
            parent = self.tree.parents[parent]

    def _grant_one(self, node: int, mask: int) -> None:
        self.granted[node] |= mask & self.undecided[node]
        self.undecided[node] &= ~mask


def walk_dacl(
    dacl: Acl,
    principal: Principal,
    *,
    tree: ObjectTree,
    wanted: int,
    mapping: GenericMapping,
    callbacks: Callbacks,
    note: Note | None = None,
) -> list[int]:
    """Return which of the wanted rights a DACL grants a principal, at each node.

    Args:
        dacl: the list.
        principal: who.
        tree: the nodes.
        wanted: the rights that are looked for.
        mapping: what generic rights in entries mean.
        callbacks: judges conditional entries.
        note: hears which entry settled which rights of the root.
    """
    walk = Walk(tree).start(wanted)
    for position, ace in enumerate(dacl.aces):
        if not any(walk.undecided):
            break
        grants = effect_of(ace, principal, callbacks)
        if grants is None:
            continue
        before, mask = walk.undecided[0], mapping.map(ace.mask)
        if type(ace) not in DACL_KINDS:
            walk.deny(0, wanted)
        else:
            node = tree.locate(ace, deny=not grants)
            if node is None:
                continue
            (walk.grant if grants else walk.deny)(node, mask)
        settled = before & ~walk.undecided[0]
        if note is not None and settled:
            note(position, ace, grants, settled)
    return walk.granted


def effect_of(ace: Ace, principal: Principal, callbacks: Callbacks) -> bool | None:
    """Tell whether an entry grants, denies (False) or says nothing to a principal."""
    kind = type(ace)
    if kind not in DACL_KINDS:
        # Whom it names, and for what, nobody here can tell.
        return False
    if ace.is_inherit_only:
        return None
    if kind in ALLOW_KINDS:
        if principal.is_package and isinstance(ace, ObjectAce):
            return None
        if ace.trustee in principal.allow:
            return callbacks.counts(ace, principal, deny=False) or None
    elif ace.trustee in principal.deny:
        return False if callbacks.counts(ace, principal, deny=True) else None
    return None


def is_unmet(ace: Ace, principal: Principal, callbacks: Callbacks) -> bool:
    """Tell whether an entry would grant a principal something, were its condition true.

    The application's own callbacks are conditions here too.
    """
    kind = type(ace)
    return (
        kind in ALLOW_KINDS
        and kind in CALLBACK_KINDS
        and ace.trustee in principal.allow
        and not ace.is_inherit_only
        and not (principal.is_package and isinstance(ace, ObjectAce))
        and not callbacks.counts(ace, principal, deny=False)
    )


def unconditional(ace: Ace) -> Ace:
    """Return an allow entry that grants what a conditional one would."""
    if isinstance(ace, ObjectAce):
        return AccessAllowedObjectAce(
            ace.trustee,
            ace.mask,
            ace.flags,
            object_type=ace.object_type,
            inherited_object_type=ace.inherited_object_type,
        )
    return AccessAllowedAce(ace.trustee, ace.mask, ace.flags)
