"""Claims as bytes, as resource attribute entries hold them ([MS-DTYP] 2.4.10.1).

A header, the offsets of the values, the name, then the values one after another without
alignment, then zeros up to a multiple of four. Bytes come from strangers: every offset
is checked, and the values together may not be longer than what holds them, because
thousands of offsets of one long value would otherwise multiply it.

>>> write_claim(Claim("x", ClaimType.BOOLEAN, (True,))).hex()
'1400000006000000000000000100000018000000780000000100000000000000'
"""

from __future__ import annotations

import struct
from typing import Final

from stead.errors import InvalidClaimError, InvalidSidError
from stead.model.ace import MAXIMUM_ACE_SIZE
from stead.model.claim import Claim, ClaimFlags, ClaimType, ClaimValue
from stead.model.sid import Sid

_HEADER: Final = struct.Struct("<IHHII")
_OFFSET_SIZE: Final = 4
_ALIGNMENT: Final = 4
_END: Final = b"\0\0"
_LENGTH: Final = struct.Struct("<I")
_INT64: Final = struct.Struct("<q")
_UINT64: Final = struct.Struct("<Q")


# --- reading ----------------------------------------------------------------------


def read_claim(binary: bytes) -> Claim:
    """Read a claim, with or without its padding.

    Raises:
        InvalidClaimError: the bytes contradict themselves.
    """
    if not _HEADER.size <= len(binary) <= MAXIMUM_ACE_SIZE:
        raise InvalidClaimError(f"a claim cannot have {len(binary)} bytes")
    name_at, number, _, flags, count = _HEADER.unpack_from(binary)
    try:
        kind = ClaimType(number)
    except ValueError as error:
        raise InvalidClaimError(f"claim type `{number}` is unknown") from error
    if count > (len(binary) - _HEADER.size) // _OFFSET_SIZE:
        raise InvalidClaimError(f"the claim has no room for {count} values")
    offsets = struct.unpack_from(f"<{count}I", binary, _HEADER.size)
    values = _Values(binary, first=_HEADER.size + _OFFSET_SIZE * count)
    name = values.string(name_at)
    return Claim(
        name,
        kind,
        tuple(values.read(offset, kind) for offset in offsets),
        ClaimFlags(flags),
    )


class _Values:
    """Reads the values of one claim, each byte at most once.

    Attributes:
        left: how many bytes what is still to be read may have.
    """

    __slots__ = ("_binary", "_first", "left")

    def __init__(self, binary: bytes, *, first: int) -> None:
        self._binary = binary
        self._first = first
        self.left = len(binary) - first

    def read(self, at: int, kind: ClaimType) -> ClaimValue:
        """Read the value at an offset."""
        if kind is ClaimType.STRING:
            return self.string(at)
        if kind is ClaimType.INT64:
            return int(_INT64.unpack(self._take(at, _INT64.size))[0])
        if kind is ClaimType.UINT64:
            return self._unsigned(at)
        if kind is ClaimType.BOOLEAN:
            value = self._unsigned(at)
            if value > 1:
                raise InvalidClaimError(f"`{value}` is neither true nor false")
            return bool(value)
        return self._octets(at, kind)

    def string(self, at: int) -> str:
        """Read the string at an offset, which a null character ends."""
        self._require_inside(at)
        end = self._binary.find(_END, at)
        while end >= 0 and (end - at) % len(_END):
            end = self._binary.find(_END, end + 1)
        if end < 0:
            raise InvalidClaimError(f"the string at offset `{at}` has no end")
        content = self._take(at, end + len(_END) - at)
        try:
            return content[: -len(_END)].decode("utf-16-le")
        except UnicodeDecodeError as error:
            raise InvalidClaimError(
                f"the string at offset `{at}` is not utf-16"
            ) from error

    def _unsigned(self, at: int) -> int:
        return int(_UINT64.unpack(self._take(at, _UINT64.size))[0])

    def _octets(self, at: int, kind: ClaimType) -> bytes:
        (size,) = _LENGTH.unpack(self._take(at, _LENGTH.size))
        content = self._take(at + _LENGTH.size, size)
        if kind is ClaimType.OCTET_STRING:
            return content
        try:
            return Sid(content)
        except InvalidSidError as error:
            raise InvalidClaimError(str(error)) from error

    def _take(self, at: int, size: int) -> bytes:
        self._require_inside(at)
        if size > len(self._binary) - at:
            raise InvalidClaimError(f"the value at offset `{at}` is cut off")
        self.left -= size
        if self.left < 0:
            raise InvalidClaimError("the values share bytes")
        return self._binary[at : at + size]

    def _require_inside(self, at: int) -> None:
        if not self._first <= at <= len(self._binary):
            raise InvalidClaimError(f"no value can begin at offset `{at}`")


# --- writing ----------------------------------------------------------------------


def write_claim(claim: Claim) -> bytes:
    """Write a claim as Windows lays it out, padded.

    Raises:
        InvalidClaimError: a name or string holds what ends it, or it is too long.
    """
    name = _string_bytes(claim.name)
    name_at = _HEADER.size + _OFFSET_SIZE * len(claim.values)
    offsets, body = bytearray(), bytearray(name)
    for value in claim.values:
        offsets += _LENGTH.pack(name_at + len(body))
        body += _value_bytes(value, claim.type)
    header = _HEADER.pack(name_at, claim.type, 0, claim.flags, len(claim.values))
    binary = header + bytes(offsets) + bytes(body)
    if len(binary) > MAXIMUM_ACE_SIZE:
        raise InvalidClaimError("the claim does not fit an ace")
    return binary + bytes(-len(binary) % _ALIGNMENT)


def _value_bytes(value: ClaimValue, kind: ClaimType) -> bytes:
    if isinstance(value, str):
        return _string_bytes(value)
    if isinstance(value, bytes):
        return _LENGTH.pack(len(value)) + value
    return (_INT64 if kind is ClaimType.INT64 else _UINT64).pack(value)


def _string_bytes(text: str) -> bytes:
    if "\0" in text:
        raise InvalidClaimError("a string of a claim has no null characters")
    try:
        return text.encode("utf-16-le") + _END
    except UnicodeEncodeError as error:
        raise InvalidClaimError(f"`{ascii(text)[1:-1]}` is not unicode") from error
