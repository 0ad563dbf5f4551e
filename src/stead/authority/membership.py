"""Which groups somebody is in, directly and through other groups, and by which path."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from stead.authority.ports import AccountStore, Group
from stead.errors import TooManyGroupsError
from stead.model.sid import Sid

MAXIMUM_GROUPS: Final = 1015
"""As on Windows, a token holds at most this many; more is an error, not a cut."""


@dataclass(frozen=True, slots=True)
class Membership:
    """One group that somebody is in.

    Attributes:
        group: the group.
        path: SIDs from the member to the group, both included; the shortest path.
    """

    group: Group
    path: tuple[Sid, ...]


def memberships(store: AccountStore, starts: tuple[Sid, ...]) -> tuple[Membership, ...]:
    """Return every group that any of `starts` is in, nearest first.

    Args:
        store: where memberships are kept.
        starts: the SIDs somebody has to begin with: the account, bare Unix SIDs, ...

    Raises:
        TooManyGroupsError: there are more than a token may hold.
    """
    found: dict[Sid, Membership] = {}
    edge: dict[Sid, tuple[Sid, ...]] = {start: (start,) for start in starts}
    while edge:  # all that are one step further, at once
        beyond: dict[Sid, tuple[Sid, ...]] = {}
        for member, group in store.memberships_of(tuple(edge)):
            if group.sid in found or group.sid in starts:
                continue
            if len(found) == MAXIMUM_GROUPS:
                raise TooManyGroupsError(
                    f"`{starts[0]}` is in more than {MAXIMUM_GROUPS} groups"
                )
            path = beyond[group.sid] = (*edge[member], group.sid)
            found[group.sid] = Membership(group, path)
        edge = beyond
    return tuple(found.values())
