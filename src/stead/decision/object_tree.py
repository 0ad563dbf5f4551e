"""Trees of object types (Win32 OBJECT_TYPE_LIST, [MS-ADTS] 5.1.3.3.3).

Node 0 is the object itself; its children are property sets and the like, theirs are
properties. A question without object types is a tree of one nameless node.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from stead.errors import InvalidObjectTypesError
from stead.model.ace import Ace, ObjectAce
from stead.model.decision import ObjectType
from stead.model.guid import Guid

MAXIMUM_LEVEL: Final = 4
"""ACCESS_MAX_LEVEL."""


@dataclass(frozen=True, slots=True)
class ObjectTree:
    """A tree in the order of a walk.

    Attributes:
        parents: each node's parent; -1 for the root.
        ends: where each node's descendants end.
        nodes: the node of each type that is named.
        is_named: whether the question names any type at all.
    """

    parents: tuple[int, ...]
    ends: tuple[int, ...]
    nodes: dict[Guid, int]
    is_named: bool = True

    def locate(self, ace: Ace, *, deny: bool) -> int | None:
        """Return the node that an entry is about; None if it is about none here.

        An entry that names a type, where nobody asked about types, grants nothing and
        denies everything.
        """
        if not isinstance(ace, ObjectAce) or ace.object_type is None:
            return 0
        if not self.is_named:
            return 0 if deny else None
        return self.nodes.get(ace.object_type)

    def children(self, node: int) -> list[int]:
        """Return a node's children."""
        found, at = [], node + 1
        while at < self.ends[node]:
            found.append(at)
            at = self.ends[at]
        return found


WHOLE_OBJECT: Final = ObjectTree((-1,), (1,), {}, is_named=False)


def build_tree(types: Sequence[ObjectType]) -> ObjectTree:
    """Build the tree that a list of object types stands for.

    Raises:
        InvalidObjectTypesError: the list is no tree, or names a type twice.
    """
    if not types:
        return WHOLE_OBJECT
    parents, ends, path = [], [0] * len(types), list[int]()
    for node, kind in enumerate(types):
        _require_level(kind, node, deepest=len(path))
        for closed in path[kind.level :]:
            ends[closed] = node
        del path[kind.level :]
        parents.append(path[-1] if path else -1)
        path.append(node)
    for open_node in path:
        ends[open_node] = len(types)
    nodes = {kind.guid: node for node, kind in enumerate(types)}
    if len(nodes) != len(types):
        raise InvalidObjectTypesError("an object type stands in the list twice")
    return ObjectTree(tuple(parents), tuple(ends), nodes)


def _require_level(kind: ObjectType, node: int, *, deepest: int) -> None:
    """Refuse a level that no node has at this place of a walk."""
    if not 0 <= kind.level <= MAXIMUM_LEVEL:
        raise InvalidObjectTypesError(f"object types have levels 0 to {MAXIMUM_LEVEL}")
    if (kind.level == 0) != (node == 0):
        raise InvalidObjectTypesError("one object type has level 0: the first")
    if kind.level > deepest:
        raise InvalidObjectTypesError(
            f"the object type at place {node} skips a level of the tree"
        )
