"""What the kernel calls a client: uid, gid and supplementary groups, as one value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from stead.errors import InvalidNameError, TooManyGroupsError

MAXIMUM_ID: Final = 0xFFFF_FFFE
"""The largest uid or gid; 0xFFFFFFFF means "leave unchanged" to the kernel."""
MOST_GROUPS: Final = 65_536
"""How many supplementary groups a process has at most (NGROUPS_MAX of limits.h)."""


@dataclass(frozen=True, slots=True)
class PosixIdentity:
    """A uid, its gid and its supplementary groups.

    Attributes:
        uid: 0 to 0xFFFFFFFE.
        gid: the primary group, same range.
        groups: supplementary groups, sorted and without repeats; 65,536 at most.

    Raises:
        InvalidNameError: a number is none.
        TooManyGroupsError: no process can be in so many.
    """

    uid: int
    gid: int
    groups: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for number in (self.uid, self.gid, *self.groups):
            if type(number) is not int or not 0 <= number <= MAXIMUM_ID:
                raise InvalidNameError(f"`{number}` is not a uid or gid")
        object.__setattr__(self, "groups", tuple(sorted(set(self.groups))))
        if len(self.groups) > MOST_GROUPS:
            raise TooManyGroupsError(
                f"uid {self.uid} is in {len(self.groups)} groups of the host, and the "
                f"kernel takes {MOST_GROUPS}",
                advice="have the host's sources give it fewer",
            )
