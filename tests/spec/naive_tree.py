"""Trees of object types, one bit at a time ([MS-DTYP] 2.5.3.2, [MS-ADTS] 5.1.3.3).

For one bit, each node is undecided, granted or denied. What an entry says of a node
never changes what an earlier one decided there.
"""

from __future__ import annotations

from itertools import pairwise

from stead.model.decision import ObjectType
from stead.model.guid import Guid

LOWEST_LEVEL, DEEPEST_LEVEL = 0, 4
UNDECIDED, GRANTED, DENIED = "undecided", "granted", "denied"


def is_tree(types: tuple[ObjectType, ...]) -> bool:
    """Whether the list is the walk of one tree, and names no type twice."""
    levels = [node.level for node in types]
    if not levels:
        return True
    if levels[0] != LOWEST_LEVEL or levels.count(LOWEST_LEVEL) != 1:
        return False
    if any(not LOWEST_LEVEL <= level <= DEEPEST_LEVEL for level in levels):
        return False
    guids = [node.guid for node in types]
    if any(guids.count(guid) > 1 for guid in guids):
        return False
    return all(level <= before + 1 for before, level in pairwise(levels))


class OneBit:
    """What became of one bit on each node; without a list there is one node."""

    def __init__(self, types: tuple[ObjectType, ...]) -> None:
        self.types = types
        self.state = [UNDECIDED for _ in types] or [UNDECIDED]

    def is_granted(self, node: int) -> bool:
        return self.state[node] == GRANTED

    def grant_everywhere(self) -> None:
        for node in range(len(self.state)):
            self._settle(node, GRANTED)

    def deny_everywhere(self) -> None:
        for node in range(len(self.state)):
            self._settle(node, DENIED)

    def grant_type(self, guid: Guid) -> None:
        """Grant a node and what is below it; then whom all children have it."""
        node = self._node_of(guid)
        if node is None:
            return
        for each in (node, *self._below(node)):
            self._settle(each, GRANTED)
        for ancestor in self._above(node):
            if all(self.is_granted(child) for child in self._children(ancestor)):
                self._settle(ancestor, GRANTED)

    def deny_type(self, guid: Guid) -> None:
        """Deny a node, what is below it, and whatever it is a part of."""
        if not self.types:
            self.deny_everywhere()
            return
        node = self._node_of(guid)
        if node is None:
            return
        for each in (node, *self._below(node), *self._above(node)):
            self._settle(each, DENIED)

    def _settle(self, node: int, what: str) -> None:
        if self.state[node] == UNDECIDED:
            self.state[node] = what

    def _node_of(self, guid: Guid) -> int | None:
        found = [n for n, each in enumerate(self.types) if each.guid == guid]
        return found[0] if found else None

    def _parent(self, node: int) -> int | None:
        wanted = self.types[node].level - 1
        before = [n for n in range(node) if self.types[n].level == wanted]
        return before[-1] if before else None

    def _above(self, node: int) -> list[int]:
        """The ancestors, nearest first."""
        found = []
        parent = self._parent(node)
        while parent is not None:
            found.append(parent)
            parent = self._parent(parent)
        return found

    def _below(self, node: int) -> list[int]:
        every = range(len(self.types))
        return [each for each in every if node in self._above(each)]

    def _children(self, node: int) -> list[int]:
        every = range(len(self.types))
        return [each for each in every if self._parent(each) == node]
