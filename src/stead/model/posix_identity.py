"""What the kernel calls a client: uid, gid and supplementary groups, as one value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from stead.errors import InvalidNameError

MAXIMUM_ID: Final = 0xFFFF_FFFE
"""The largest uid or gid; 0xFFFFFFFF means "leave unchanged" to the kernel."""


@dataclass(frozen=True, slots=True)
class PosixIdentity:
    """A uid, its gid and its supplementary groups.

    Attributes:
        uid: 0 to 0xFFFFFFFE.
        gid: the primary group, same range.
        groups: supplementary groups, sorted and without repeats.
    """

    uid: int
    gid: int
    groups: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for number in (self.uid, self.gid, *self.groups):
            if type(number) is not int or not 0 <= number <= MAXIMUM_ID:
                raise InvalidNameError(f"`{number}` is not a uid or gid")
        object.__setattr__(self, "groups", tuple(sorted(set(self.groups))))
