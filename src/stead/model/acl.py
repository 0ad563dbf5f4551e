"""Access control lists, and the two states that are not a list ([MS-DTYP] 2.4.5).

Three things that other systems confuse are three things here:

* ``Acl()``, an empty list: nobody gets anything but the owner's implicit rights;
* ``NULL_DACL``: the descriptor says "no protection": everybody gets everything;
* ``ABSENT_DACL``: the descriptor says nothing; the check treats it like NULL, but an
  object made with it takes its parent's or its creator's default instead.

None of them is ever spelled ``None``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Final

from stead.errors import InvalidAclError
from stead.model.ace import Ace, ObjectAce

ACL_REVISION: Final = 2
ACL_REVISION_DS: Final = 4
_COMPOUND_REVISION: Final = 3
_COMPOUND: Final = 0x04
_HEADER_SIZE: Final = 8
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
        revision: 2 to 4; the lowest that its entries allow, if not given: 4 where
            there are object entries, 3 for compound ones.
        kinds: the classes of its entries.
    """

    aces: tuple[Ace, ...] = ()
    revision: int = 0
    kinds: frozenset[type[Ace]] = field(init=False, repr=False, compare=False)
    make_aces: Callable[[], tuple[Ace, ...]] = field(
        init=False, repr=False, compare=False
    )
    """Makes the entries of a list that was read and not looked at yet."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "aces", tuple(self.aces))
        size = _HEADER_SIZE
        for ace in self.aces:
            if not isinstance(ace, Ace):
                raise InvalidAclError("an acl holds aces; resolve names first")
            size += ace.size
        if not self.revision:
            object.__setattr__(self, "revision", lowest_revision(self.aces))
        elif not ACL_REVISION <= self.revision <= ACL_REVISION_DS:
            raise InvalidAclError(f"acl revision `{self.revision}` is unknown")
        if size > MAXIMUM_ACL_SIZE:
            raise InvalidAclError(f"an acl of {size} bytes does not fit 64 KiB")
        object.__setattr__(self, "kinds", frozenset(map(type, self.aces)))

    if not TYPE_CHECKING:  # pragma: no branch - it would take any name for one

        def __getattr__(self, name: str) -> tuple[Ace, ...]:
            # Only an attribute that is not set leads here.
            if name != "aces":
                raise AttributeError(name, name=name, obj=self)
            aces = self.make_aces()
            _set_aces(self, aces)
            return aces

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.aces, self.revision)

    def __len__(self) -> int:
        return len(self.aces)

    def __iter__(self) -> Iterator[Ace]:
        return iter(self.aces)

    def __bool__(self) -> bool:
        # An empty list is still a list: truth by length would read as "no list".
        return True


def lowest_revision(aces: Iterable[Ace]) -> int:
    """Return the lowest revision whose readers know entries of these kinds."""
    revision = ACL_REVISION
    for ace in aces:
        if isinstance(ace, ObjectAce):
            return ACL_REVISION_DS
        if ace.number == _COMPOUND:
            revision = _COMPOUND_REVISION
    return revision


_set_aces, _set_revision, _set_kinds, _set_make_aces = (
    vars(Acl)[name].__set__ for name in ("aces", "revision", "kinds", "make_aces")
)


def checked_acl(aces: tuple[Ace, ...], revision: int) -> Acl:
    """Make a list of parts that the caller has checked already; for the codec.

    Args:
        aces: entries that together fit `MAXIMUM_ACL_SIZE`.
        revision: 2 to 4.
    """
    made = object.__new__(Acl)
    _set_aces(made, aces)
    _set_revision(made, revision)
    _set_kinds(made, frozenset(map(type, aces)))
    return made


def unlooked_at_acl(
    make_aces: Callable[[], tuple[Ace, ...]],
    kinds: frozenset[type[Ace]],
    revision: int,
) -> Acl:
    """Make a list whose entries are made when somebody looks; for the codec.

    Args:
        make_aces: makes them of what the caller has checked already: it cannot fail,
            and makes equal entries each time.
        kinds: their classes.
        revision: 2 to 4.
    """
    made = object.__new__(Acl)
    _set_make_aces(made, make_aces)
    _set_revision(made, revision)
    _set_kinds(made, kinds)
    return made
