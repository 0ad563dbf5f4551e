"""Which groups somebody is in, directly and through other groups, and by which path."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from stead.authority.ports import Assignments, Group
from stead.errors import TooManyGroupsError
from stead.model.sid import Sid

MAXIMUM_GROUPS: Final = 1015
"""As on Windows, a token holds at most this many; more is an error, not a cut."""


Asker = Callable[[Sequence[Sid]], Mapping[Sid, Assignments]]
"""Says what a store assigns to SIDs, as `AccountStore.assignments_of`."""


@dataclass(frozen=True, slots=True)
class Membership:
    """One group that somebody is in.

    Attributes:
        group: the group.
        path: SIDs from the member to the group, both included; the shortest path.
    """

    group: Group
    path: tuple[Sid, ...]


class Assigned:
    """What a store assigns to somebody's SIDs; it is asked about each of them once.

    Args:
        ask: answers for SIDs, for all that it is asked about.

    Attributes:
        by_sid: what it said.
    """

    __slots__ = ("_ask", "by_sid")

    def __init__(self, ask: Asker) -> None:
        self._ask = ask
        self.by_sid: dict[Sid, Assignments] = {}

    def groups_of(self, members: Collection[Sid]) -> list[tuple[Sid, Group]]:
        """Return each member with a group that it is directly in."""
        told = self.by_sid
        unknown = [member for member in members if member not in told]
        if unknown:
            told.update(self._ask(unknown))
        return [(member, group) for member in members for group in told[member].groups]

    def rights(self) -> frozenset[str]:
        """Return the rights of everything that was asked about."""
        return frozenset().union(*[each.rights for each in self.by_sid.values()])


def memberships(assigned: Assigned, starts: tuple[Sid, ...]) -> tuple[Membership, ...]:
    """Return every group that any of `starts` is in, nearest first.

    Args:
        assigned: knows memberships; afterwards, what all these groups hold.
        starts: the SIDs somebody has to begin with: the account, bare Unix SIDs, ...

    Raises:
        TooManyGroupsError: there are more than a token may hold.
    """
    found: dict[Sid, Membership] = {}
    seen = set(starts)
    edge: dict[Sid, tuple[Sid, ...]] = {start: (start,) for start in starts}
    while edge:  # all that are one step further, at once
        beyond: dict[Sid, tuple[Sid, ...]] = {}
        for member, group in assigned.groups_of(edge):
            if group.sid in seen:
                continue
            seen.add(group.sid)
            if len(found) == MAXIMUM_GROUPS:
                raise TooManyGroupsError(
                    f"`{starts[0]}` is in more than {MAXIMUM_GROUPS} groups"
                )
            path = beyond[group.sid] = (*edge[member], group.sid)
            found[group.sid] = Membership(group, path)
        edge = beyond
    return tuple(found.values())
