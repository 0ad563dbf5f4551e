"""Values in Network Data Representation, read once and with bounds ([MS-RPCE] 2.2.6).

Only what a PAC's buffers use: little-endian type serialization version 1, unique
pointers, conformant arrays, unicode strings and SIDs. What a pointer points at is
deferred: it follows the structure that holds the pointer, and the caller reads it in
that order. A unique pointer cannot be shared ([C706] 14.3.12.2), so of its referent
id only this counts: zero or not.

Every count is checked against the bytes that are left before anything is read or made,
so work and memory are linear in the input. Nothing recurses.

>>> NdrReader(bytes.fromhex("0700000005000000")).u32()
7
"""

from __future__ import annotations

import struct
from codecs import utf_16_le_decode
from typing import Any, Final, NamedTuple

from stead.errors import InvalidPacError
from stead.model.sid import MAXIMUM_SUB_AUTHORITIES, Sid

_COMMON_HEADER: Final = struct.Struct("<BBHI")
_PRIVATE_HEADER: Final = struct.Struct("<II")
_HEADERS_SIZE: Final = _COMMON_HEADER.size + _PRIVATE_HEADER.size
_VERSION: Final = 1
_LITTLE_ENDIAN: Final = 0x10
_ALIGNMENT: Final = 8
_STRUCTURE_ALIGNMENT: Final = 4
_SUB_AUTHORITY_SIZE: Final = 4
_WIDE: Final = 2
_LONG: Final = struct.Struct("<I")
_PAIR: Final = struct.Struct("<II")
_UNICODE: Final = struct.Struct("<HHI")
UNICODE_HEADER_SIZE: Final = _UNICODE.size
"""Bytes of the fixed part of an RPC_UNICODE_STRING: two lengths and a pointer."""
_VARYING: Final = struct.Struct("<III")


class ArrayHeader(NamedTuple):
    """The fixed part of an array: how many elements, and whether they follow."""

    length: int
    is_present: bool


class NdrReader:
    """Reads NDR from left to right, once; raises `InvalidPacError` alone.

    Attributes:
        position: the offset of what is read next; alignment counts from offset 0.
    """

    __slots__ = ("_binary", "position")

    def __init__(self, binary: bytes) -> None:
        self._binary = binary
        self.position = 0

    @classmethod
    def from_serialized(cls, binary: bytes) -> NdrReader:
        """Open a serialized type: check both headers, and stand behind them.

        Raises:
            InvalidPacError: a header is not that of version 1, or its length lies.
        """
        if len(binary) < _HEADERS_SIZE:
            raise InvalidPacError("no ndr header fits the buffer")
        version, order, size, _ = _COMMON_HEADER.unpack_from(binary)
        if (version, order, size) != (_VERSION, _LITTLE_ENDIAN, _COMMON_HEADER.size):
            raise InvalidPacError("the ndr header is not little-endian version 1")
        length, _ = _PRIVATE_HEADER.unpack_from(binary, _COMMON_HEADER.size)
        left = len(binary) - _HEADERS_SIZE - length
        if not 0 <= left < _ALIGNMENT:
            raise InvalidPacError(
                f"ndr data of {length} bytes does not fill {len(binary)} bytes"
            )
        return cls(binary[_HEADERS_SIZE : _HEADERS_SIZE + length])

    @classmethod
    def of_pointer(cls, binary: bytes) -> NdrReader:
        """Open a serialized pointer, and stand before what it points at.

        Raises:
            InvalidPacError: as `from_serialized`, or it points at nothing.
        """
        reader = cls.from_serialized(binary)
        if not reader.pointer():
            raise InvalidPacError("a buffer points at nothing")
        return reader

    @property
    def remaining(self) -> int:
        """How many bytes are left."""
        return len(self._binary) - self.position

    def finish(self) -> None:
        """Require that nothing is left but padding."""
        if self.remaining >= _ALIGNMENT:
            raise InvalidPacError(f"ndr data has {self.remaining} bytes too many")

    # --- plain numbers --------------------------------------------------------------

    def u8(self) -> int:
        """Read an octet."""
        return self.take(1)[0]

    def u16(self) -> int:
        """Read an unsigned 16-bit number; enumerations are such numbers."""
        self._align(2)
        return int.from_bytes(self.take(2), "little")

    def u32(self) -> int:
        """Read an unsigned 32-bit number."""
        number: int = self.fixed(_LONG)[0]
        return number

    def fixed(self, layout: struct.Struct) -> tuple[Any, ...]:
        """Read what has one layout whatever it says: no part of it needs padding.

        Args:
            layout: little-endian, beginning with 32 bits or with a string's lengths;
                none of its numbers has more than 32.
        """
        start = self.position + -self.position % _STRUCTURE_ALIGNMENT
        end = start + layout.size
        if end > len(self._binary):
            raise self._too_short(end - self.position)
        self.position = end
        return layout.unpack_from(self._binary, start)

    def hypers(self, count: int, *, signed: bool) -> tuple[int, ...]:
        """Read 64-bit numbers that stand in a row."""
        if not count:
            return ()  # no element, so nothing is aligned
        self._align(8)
        kind = "q" if signed else "Q"
        return struct.unpack(f"<{count}{kind}", self.take(8 * count))

    def take(self, size: int) -> bytes:
        """Read bytes as they stand."""
        start = self.position
        end = start + size
        if end > len(self._binary):
            raise self._too_short(size)
        self.position = end
        return self._binary[start:end]

    # --- pointers, arrays and strings -----------------------------------------------

    def pointer(self) -> bool:
        """Read a unique pointer, and tell whether it points at anything."""
        return self.u32() != 0

    def array_header(self) -> ArrayHeader:
        """Read the fixed part of an array: its length, and the pointer to it."""
        length, pointer = self.fixed(_PAIR)
        return ArrayHeader(length, pointer != 0)

    def array(self, header: ArrayHeader, *, size: int) -> range:
        """Read the count that begins a deferred conformant array.

        Args:
            header: what the structure says about the array.
            size: the least number of bytes of one element.

        Returns:
            The numbers of the elements that follow: none where there is no array.

        Raises:
            InvalidPacError: pointer, counts and bytes contradict one another.
        """
        length = header.length
        if not header.is_present:
            if length:
                raise InvalidPacError(f"{length} elements are announced, none follow")
            return range(0)
        (conformance,) = self.fixed(_LONG)
        if conformance != length:
            raise InvalidPacError(
                f"an array of {conformance} elements is announced with {length}"
            )
        if length * size > self.remaining:
            raise InvalidPacError(f"{length} elements do not fit what is left")
        return range(length)

    def elements(
        self, header: ArrayHeader, layout: struct.Struct
    ) -> list[tuple[Any, ...]]:
        """Read a deferred conformant array of elements that have one layout.

        Args:
            header: what the structure says about the array.
            layout: as of `fixed`; a multiple of 32 bits.
        """
        count = len(self.array(header, size=layout.size))
        return list(layout.iter_unpack(self.take(layout.size * count)))

    def octets(self, header: ArrayHeader) -> bytes:
        """Read a deferred conformant array of bytes."""
        return self.take(len(self.array(header, size=1)))

    def unicode_text(self, header: bytes) -> str:
        """Read the deferred characters of an RPC_UNICODE_STRING ([MS-DTYP] 2.3.10).

        Args:
            header: its fixed part: `UNICODE_HEADER_SIZE` bytes.
        """
        length, maximum, pointer = _UNICODE.unpack(header)
        if length % _WIDE or length > maximum or (length and not pointer):
            raise InvalidPacError("the lengths of a unicode string contradict it")
        if not pointer:
            return ""
        if self.fixed(_VARYING) != (maximum // _WIDE, 0, length // _WIDE):
            raise InvalidPacError("the counts of a unicode string contradict it")
        return decode_text(self.take(length)) if length else ""

    def terminated_text(self) -> str:
        """Read a deferred string that ends with its one NUL."""
        maximum, offset, actual = self.fixed(_VARYING)
        if offset or actual > maximum:
            raise InvalidPacError("the counts of a string contradict one another")
        binary = self.take(_WIDE * actual)
        if binary[-_WIDE:] != bytes(_WIDE):
            raise InvalidPacError("a string has no end")
        return decode_text(binary[:-_WIDE])

    def sid(self) -> Sid:
        """Read a deferred RPC_SID ([MS-DTYP] 2.4.2.3)."""
        (count,) = self.fixed(_LONG)
        if count > MAXIMUM_SUB_AUTHORITIES:
            raise InvalidPacError(f"a sid cannot have {count} sub-authorities")
        # The SID's own count must agree: its value refuses any other number of bytes.
        return Sid(self.take(8 + _SUB_AUTHORITY_SIZE * count))

    def _align(self, size: int) -> None:
        self.take(-self.position % size)

    def _too_short(self, size: int) -> InvalidPacError:
        return InvalidPacError(
            f"{size} bytes do not fit the {self.remaining} that are left"
        )


def decode_text(binary: bytes) -> str:
    """Decode little-endian UTF-16 without NULs.

    A NUL would let one reader see a shorter name than another one.

    Raises:
        InvalidPacError: half a character, or a NUL.
    """
    try:
        text, _ = utf_16_le_decode(binary, "strict", True)  # noqa: FBT003 - positional
    except UnicodeDecodeError as error:
        raise InvalidPacError("a string is not utf-16") from error
    if "\0" in text:
        raise InvalidPacError("a string goes on after its end")
    return text
