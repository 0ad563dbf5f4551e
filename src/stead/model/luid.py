"""Locally unique identifiers ([MS-DTYP] 2.3.7): 64-bit numbers of one store."""

from __future__ import annotations

from typing import Final, Self

from stead.errors import SteadError


class Luid(int):
    """A 64-bit locally unique identifier; prints as Windows prints it (`0x3e7`)."""

    __slots__ = ()

    def __new__(cls, value: int) -> Self:
        """Check the range: 0 to 2**64 - 1; raises `SteadError` outside it."""
        if not 0 <= value < 1 << 64:
            raise SteadError(f"`{value}` does not fit a luid of 64 bits")
        return super().__new__(cls, value)

    @property
    def high(self) -> int:
        """The upper 32 bits."""
        return self >> 32

    @property
    def low(self) -> int:
        """The lower 32 bits."""
        return self & 0xFFFF_FFFF

    def __str__(self) -> str:
        return f"{int(self):#x}"

    def __repr__(self) -> str:
        return f"Luid({int(self):#x})"


NO_LUID: Final = Luid(0)
"""The number of nothing: no session, no token."""
