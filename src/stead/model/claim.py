"""Claims: typed attributes of users, devices and resources ([MS-DTYP] 2.4.10).

A claim has a name, one of six types and values of that type. Names are compared without
regard to case; string values too, unless the claim says otherwise.

>>> Claim("Department", ClaimType.STRING, ("sales",)).values
('sales',)
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import KEEP, IntEnum, IntFlag
from typing import Final, TypeAlias

from stead.errors import InvalidClaimError
from stead.model.sid import Sid

ClaimValue: TypeAlias = "int | str | bool | bytes | Sid"

_INT64: Final = range(-(1 << 63), 1 << 63)
_UINT64: Final = range(1 << 64)
_LARGEST_FLAGS: Final = 0xFFFF_FFFF


class ClaimType(IntEnum):
    """What a claim's values are ([MS-DTYP] 2.4.10.1, ValueType)."""

    INT64 = 0x01
    UINT64 = 0x02
    STRING = 0x03
    SID = 0x05
    BOOLEAN = 0x06
    OCTET_STRING = 0x10


class ClaimFlags(IntFlag, boundary=KEEP):
    """How a claim is compared and inherited ([MS-DTYP] 2.4.10.1, Flags)."""

    NONE = 0
    NON_INHERITABLE = 0x0001
    VALUE_CASE_SENSITIVE = 0x0002
    USE_FOR_DENY_ONLY = 0x0004
    DISABLED_BY_DEFAULT = 0x0008
    DISABLED = 0x0010
    MANDATORY = 0x0020
    MANUAL = 0x0001_0000
    POLICY_DERIVED = 0x0002_0000


@dataclass(frozen=True, slots=True)
class Claim:
    """A named attribute (Win32: CLAIM_SECURITY_ATTRIBUTE_V1).

    Attributes:
        name: one or more characters.
        type: what the values are.
        values: of the type's kind: int, int, str, `Sid`, bool, bytes; may be none.
        flags: how it is compared and inherited.
    """

    name: str
    type: ClaimType
    values: tuple[ClaimValue, ...] = ()
    flags: ClaimFlags = ClaimFlags.NONE

    def __post_init__(self) -> None:
        given: object = self.values
        if isinstance(given, str | bytes):
            raise InvalidClaimError("a claim's values are a tuple, be it of one value")
        object.__setattr__(self, "values", tuple(self.values))
        if not isinstance(self.name, str) or not self.name:
            raise InvalidClaimError("a claim has a name")
        if not 0 <= self.flags <= _LARGEST_FLAGS:
            raise InvalidClaimError(f"claim flags `{self.flags:#x}` do not fit 32 bits")
        object.__setattr__(self, "type", ClaimType(self.type))
        object.__setattr__(self, "flags", ClaimFlags(self.flags))
        for value in self.values:
            if not is_of_type(value, self.type):
                raise InvalidClaimError(
                    f"a value of claim `{ascii(self.name)[1:-1]}` is not of type "
                    f"`{self.type.name}`"
                )

    @property
    def is_case_sensitive(self) -> bool:
        """Whether its strings are compared with regard to case."""
        return bool(self.flags & ClaimFlags.VALUE_CASE_SENSITIVE)

    @property
    def is_disabled(self) -> bool:
        """Whether conditions take it for absent."""
        return bool(self.flags & ClaimFlags.DISABLED)

    @property
    def is_deny_only(self) -> bool:
        """Whether only conditions of deny entries see it."""
        return bool(self.flags & ClaimFlags.USE_FOR_DENY_ONLY)


def is_of_type(value: ClaimValue, kind: ClaimType) -> bool:
    """Tell whether a Python value can be a value of a claim's type.

    Of its very type: what a subclass says of equality is nobody's to rely on.
    """
    if type(value) is not _PYTHON_TYPES[kind]:
        return False
    if kind is ClaimType.INT64:
        return value in _INT64
    return kind is not ClaimType.UINT64 or value in _UINT64


_PYTHON_TYPES: Final = {
    ClaimType.INT64: int,
    ClaimType.UINT64: int,
    ClaimType.STRING: str,
    ClaimType.SID: Sid,
    ClaimType.BOOLEAN: bool,
    ClaimType.OCTET_STRING: bytes,
}
