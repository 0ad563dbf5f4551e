"""Access masks, generic mappings and the rights of the objects we name.

[MS-DTYP] 2.4.3: bits 0-15 belong to the object's kind, 16-20 are standard rights,
24 is ACCESS_SYSTEM_SECURITY, 25 MAXIMUM_ALLOWED, 28-31 are generic rights that every
kind of object maps to its own.

>>> class Doc(Rights):
...     READ = 1
...     WRITE = 2
>>> hex(Doc.generic_mapping().map(AccessMask.GENERIC_READ))
'0x20001'
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import KEEP, IntFlag
from typing import Final

from stead.errors import InvalidAccessMaskError

OBJECT_RIGHTS: Final = 0x0000_FFFF
STANDARD_RIGHTS_REQUIRED: Final = 0x000F_0000
STANDARD_RIGHTS_ALL: Final = 0x001F_0000
GENERIC_RIGHTS: Final = 0xF000_0000
VALID_MASK: Final = 0xFFFF_FFFF


class AccessMask(IntFlag, boundary=KEEP):
    """The bits that mean the same on every object ([MS-DTYP] 2.4.3)."""

    DELETE = 0x0001_0000
    READ_CONTROL = 0x0002_0000
    WRITE_DAC = 0x0004_0000
    WRITE_OWNER = 0x0008_0000
    SYNCHRONIZE = 0x0010_0000
    ACCESS_SYSTEM_SECURITY = 0x0100_0000
    MAXIMUM_ALLOWED = 0x0200_0000
    GENERIC_ALL = 0x1000_0000
    GENERIC_EXECUTE = 0x2000_0000
    GENERIC_WRITE = 0x4000_0000
    GENERIC_READ = 0x8000_0000


@dataclass(frozen=True, slots=True)
class GenericMapping:
    """What the four generic rights mean on one kind of object.

    Attributes:
        read: the rights that GENERIC_READ stands for; likewise the others.
        write: see `read`.
        execute: see `read`.
        all: see `read`; also what an object without a DACL grants at most.
    """

    read: int
    write: int
    execute: int
    all: int

    def __post_init__(self) -> None:
        for mask in (self.read, self.write, self.execute, self.all):
            if mask & GENERIC_RIGHTS or not 0 <= mask <= VALID_MASK:
                raise InvalidAccessMaskError(f"`{mask:#x}` is no mapping's mask")

    def map(self, mask: int) -> int:
        """Return `mask` with each generic bit replaced by what it stands for."""
        if not mask & GENERIC_RIGHTS:
            return mask
        mapped = mask & ~GENERIC_RIGHTS
        if mask & AccessMask.GENERIC_READ:
            mapped |= self.read
        if mask & AccessMask.GENERIC_WRITE:
            mapped |= self.write
        if mask & AccessMask.GENERIC_EXECUTE:
            mapped |= self.execute
        if mask & AccessMask.GENERIC_ALL:
            mapped |= self.all
        return mapped


class Rights(IntFlag, boundary=KEEP):
    """The base of an object kind's own rights: bits 0 to 15, named by their users.

    A member called READ, WRITE or EXECUTE is what the generic right of that name maps
    to; a kind that wants another mapping overrides `generic_mapping`.
    """

    def __init_subclass__(cls) -> None:
        """Refuse what is no right of the object's own when the class is made.

        Raises:
            InvalidAccessMaskError: a member uses a bit that is not the object's, or
                the name of a right that every object has: nobody who reads the name
                could tell which is meant.
        """
        super().__init_subclass__()
        for name, member in cls.__members__.items():
            if name in AccessMask.__members__:
                raise InvalidAccessMaskError(
                    f"right `{cls.__name__}.{name}` has the name of a right that every "
                    "object has",
                    advice=f"use `AccessMask.{name}`, or call yours otherwise",
                )
            if not 0 < int(member) <= OBJECT_RIGHTS:
                raise InvalidAccessMaskError(
                    f"right `{cls.__name__}.{member.name}` is {int(member):#x}; an "
                    "object's own rights are bits 0 to 15"
                )

    @classmethod
    def generic_mapping(cls) -> GenericMapping:
        """Return what the generic rights mean on this kind of object."""
        return mapping_of({name: int(bits) for name, bits in cls.__members__.items()})


def mapping_of(rights: Mapping[str, int]) -> GenericMapping:
    """Return what the generic rights mean where nobody says otherwise.

    Args:
        rights: names of an object's own rights and their bits.

    Returns:
        READ, WRITE and EXECUTE where rights of these names exist, READ_CONTROL with
        each; all of them, and every standard right but SYNCHRONIZE, for GENERIC_ALL.
    """
    control = int(AccessMask.READ_CONTROL)
    every = 0
    for bits in rights.values():
        every |= bits
    return GenericMapping(
        read=control | rights.get("READ", 0),
        write=control | rights.get("WRITE", 0),
        execute=control | rights.get("EXECUTE", 0),
        all=STANDARD_RIGHTS_REQUIRED | every,
    )


class FileRights(IntFlag, boundary=KEEP):
    """The rights of files and directories ([MS-SMB2] 2.2.13.1)."""

    READ_DATA = 0x0001
    WRITE_DATA = 0x0002
    APPEND_DATA = 0x0004
    READ_EA = 0x0008
    WRITE_EA = 0x0010
    EXECUTE = 0x0020
    DELETE_CHILD = 0x0040
    READ_ATTRIBUTES = 0x0080
    WRITE_ATTRIBUTES = 0x0100
    ALL_ACCESS = 0x001F_01FF
    GENERIC_READ = 0x0012_0089
    GENERIC_WRITE = 0x0012_0116
    GENERIC_EXECUTE = 0x0012_00A0


FILE_MAPPING: Final = GenericMapping(
    read=int(FileRights.GENERIC_READ),
    write=int(FileRights.GENERIC_WRITE),
    execute=int(FileRights.GENERIC_EXECUTE),
    all=int(FileRights.ALL_ACCESS),
)


class TokenRights(IntFlag, boundary=KEEP):
    """The rights of an access token as an object (winnt.h, TOKEN_*)."""

    ASSIGN_PRIMARY = 0x0001
    DUPLICATE = 0x0002
    IMPERSONATE = 0x0004
    QUERY = 0x0008
    QUERY_SOURCE = 0x0010
    ADJUST_PRIVILEGES = 0x0020
    ADJUST_GROUPS = 0x0040
    ADJUST_DEFAULT = 0x0080
    ADJUST_SESSIONID = 0x0100
    ALL_ACCESS = 0x000F_01FF


def format_mask(mask: int) -> str:
    """Print a mask as Windows logs do: `0x001F01FF`."""
    return f"0x{mask:08X}"


def name_rights(mask: int, names: dict[str, int]) -> str:
    """Spell a mask with an object's own names and the standard ones.

    Args:
        mask: the rights.
        names: right's name to its bits, for bits 0 to 15.

    Returns:
        `READ | WRITE_DAC`, bits without a name in hexadecimal, `nothing` for 0.
    """
    left, words = mask, []
    standard = {m.name: int(m) for m in AccessMask if m.name}
    for name, bits in {**names, **standard}.items():
        if bits and left & bits == bits:
            words.append(name)
            left &= ~bits
    if left:
        words.append(f"{left:#x}")
    return " | ".join(words) or "nothing"


def require_mask(mask: int) -> int:
    """Return `mask` as a plain int; raise `InvalidAccessMaskError` past 32 bits."""
    if not isinstance(mask, int) or not 0 <= mask <= VALID_MASK:
        raise InvalidAccessMaskError(f"`{mask}` is not an access mask of 32 bits")
    return int(mask)
