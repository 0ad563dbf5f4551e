"""Globally unique identifiers ([MS-DTYP] 2.3.4): the types that object entries name.

>>> Guid.from_string("BF967ABA-0DE6-11D0-A285-00AA003049E2").to_bytes().hex()
'ba7a96bfe60dd011a28500aa003049e2'
"""

from __future__ import annotations

import re
import struct
from typing import Final, Self

from stead.errors import InvalidGuidError

GUID_SIZE: Final = 16
_FIELDS: Final = struct.Struct("<IHH")
_TEXT: Final = re.compile(
    r"([0-9a-f]{8})-([0-9a-f]{4})-([0-9a-f]{4})-([0-9a-f]{4})-([0-9a-f]{12})",
    re.IGNORECASE | re.ASCII,
)


class Guid(bytes):
    """A GUID, which is its 16 bytes: three little-endian fields, then eight bytes."""

    __slots__ = ()

    def __new__(cls, binary: bytes) -> Self:
        """Make a GUID of its binary form ([MS-DTYP] 2.3.4.2).

        Raises:
            InvalidGuidError: the bytes are not 16.
        """
        if not isinstance(binary, bytes) or len(binary) != GUID_SIZE:
            raise InvalidGuidError(f"a guid has {GUID_SIZE} bytes")
        return super().__new__(cls, binary)

    @classmethod
    def from_string(cls, text: str) -> Self:
        """Read the text form without braces ([MS-DTYP] 2.3.4.3).

        Raises:
            InvalidGuidError: the text is no GUID.
        """
        match = _TEXT.fullmatch(text)
        if match is None:
            shown = text[:80].encode("unicode_escape").decode("ascii")
            raise InvalidGuidError(f"`{shown}` is not a guid")
        first, second, third = (int(match[n], 16) for n in (1, 2, 3))
        return cls(
            _FIELDS.pack(first, second, third) + bytes.fromhex(match[4] + match[5])
        )

    def to_bytes(self) -> bytes:
        """Return the binary form as plain bytes."""
        return bytes(memoryview(self))

    def __str__(self) -> str:
        first, second, third = _FIELDS.unpack_from(self)
        tail = self[_FIELDS.size :].hex()
        return f"{first:08x}-{second:04x}-{third:04x}-{tail[:4]}-{tail[4:]}"

    def __repr__(self) -> str:
        return f"Guid({str(self)!r})"

    def __reduce__(self) -> tuple[type[Self], tuple[bytes]]:
        return type(self), (self.to_bytes(),)
