"""Access control lists, and the two states that are not a list ([MS-DTYP] 2.4.5).

Three things that other systems confuse are three things here:

* ``Acl()``, an empty list: nobody gets anything but the owner's implicit rights;
* ``NULL_DACL``: the descriptor says "no protection": everybody gets everything;
* ``ABSENT_DACL``: the descriptor says nothing; the check treats it like NULL, but an
  object made with it takes its parent's or its creator's default instead.

None of them is ever spelled ``None``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Final

from stead.errors import InvalidAclError
from stead.model.ace import Ace

ACL_REVISION: Final = 2
ACL_REVISION_DS: Final = 4
MAXIMUM_ACL_SIZE: Final = 0xFFFC
"""Bytes: the size field has 16 bits, and Windows keeps sizes multiples of four."""


class NoAcl(Enum):
    """Why a descriptor holds no list."""

    ABSENT = "absent"
    NULL = "null"

    def __repr__(self) -> str:
        return f"{self.name}_ACL"


NULL_DACL: Final = NoAcl.NULL
"""No protection at all: everybody is granted everything. Say it only on purpose."""
ABSENT_DACL: Final = NoAcl.ABSENT
NULL_SACL: Final = NoAcl.NULL
ABSENT_SACL: Final = NoAcl.ABSENT


@dataclass(frozen=True, slots=True)
class Acl:
    """An ordered list of entries.

    Attributes:
        aces: in the order in which they are judged.
        revision: 2, or 4 where object entries need it.
    """

    aces: tuple[Ace, ...] = ()
    revision: int = ACL_REVISION

    def __post_init__(self) -> None:
        object.__setattr__(self, "aces", tuple(self.aces))
        for ace in self.aces:
            if not isinstance(ace, Ace):
                raise InvalidAclError("an acl holds aces; resolve names first")
        if self.revision not in (ACL_REVISION, ACL_REVISION_DS):
            raise InvalidAclError(f"acl revision `{self.revision}` is unknown")
        # 8 of header; of each entry 8 of header and mask, then the SID.
        size = 8 + sum(8 + len(ace.trustee) for ace in self.aces)
        if size > MAXIMUM_ACL_SIZE:
            raise InvalidAclError(f"an acl of {size} bytes does not fit 64 KiB")

    def __len__(self) -> int:
        return len(self.aces)

    def __iter__(self) -> Iterator[Ace]:
        return iter(self.aces)

    def __bool__(self) -> bool:
        # An empty list is still a list: truth by length would read as "no list".
        return True
