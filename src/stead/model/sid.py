"""Security identifiers, as values ([MS-DTYP] 2.4.2).

A `Sid` *is* its bytes: a subclass of ``bytes``, so that the judge, which asks millions
of times whether a SID is in a set, gets its hash and its equality in C. Equal SIDs
compare equal wherever they were made; interning only makes the comparison an identity
test most of the time.

>>> Sid.from_string("S-1-5-32-544").to_bytes().hex()
'01020000000000052000000020020000'
"""

from __future__ import annotations

import re
import struct
from typing import Final, Self

from stead.errors import InvalidSidError
from stead.model.arguments import require_text

MAXIMUM_SUB_AUTHORITIES: Final = 15
_REVISION: Final = 1
_HEADER_SIZE: Final = 8
_LARGEST_DECIMAL_AUTHORITY: Final = 0xFFFF_FFFF
_LARGEST_AUTHORITY: Final = 0xFFFF_FFFF_FFFF
_LARGEST_SUB_AUTHORITY: Final = 0xFFFF_FFFF
_COUNTS: Final = range(MAXIMUM_SUB_AUTHORITIES + 1)
_PARTS: Final = tuple(struct.Struct(f"<{count}I") for count in _COUNTS)
_SHOWN: Final = tuple("S-1-%s" + count * "-%d" for count in _COUNTS)

_TEXT: Final = re.compile(
    r"S-1-(0x[0-9a-f]{1,12}|\d{1,15})((?:-(?:0x[0-9a-f]{1,8}|\d{1,10})){1,15})",
    re.IGNORECASE | re.ASCII,
)

# A bounded table keyed by bytes: nobody who sends SIDs can grow it without end, and
# the interpreter's keyed hash of bytes keeps anybody from choosing colliding ones.
_INTERN_LIMIT: Final = 65_536
_interned: Final[dict[bytes, Sid]] = {}


class Sid(bytes):
    """A security identifier: revision, identifier authority, sub-authorities.

    Attributes:
        authority: the 48-bit identifier authority, an int.
        sub_authorities: one to fifteen 32-bit ints.
        rid: the last sub-authority (the relative identifier).
    """

    __slots__ = ()

    def __new__(cls, binary: bytes) -> Self:
        """Make a SID of its binary form.

        Args:
            binary: exactly one SID ([MS-DTYP] 2.4.2.2), 12 to 68 bytes.

        Raises:
            InvalidSidError: the bytes are not one whole SID.
        """
        if not isinstance(binary, bytes):
            raise InvalidSidError(
                "a sid is made of bytes; use `Sid.from_string` for text"
            )
        known = _interned.get(binary)
        if known is not None and cls is Sid:
            return known  # type: ignore[return-value]  # cls is Sid, so Self is Sid
        _require_sid(binary)
        made = super().__new__(cls, binary)
        if cls is Sid and len(_interned) < _INTERN_LIMIT:
            _interned[bytes(made)] = made
        return made

    @classmethod
    def from_bytes(cls, binary: bytes) -> Self:
        """Read the binary form ([MS-DTYP] 2.4.2.2); raises `InvalidSidError`."""
        return cls(binary)

    @classmethod
    def from_string(cls, text: str) -> Self:
        """Read the text form ([MS-DTYP] 2.4.2.1).

        Args:
            text: `S-1-` and an authority and one to fifteen sub-authorities, each
                decimal or `0x` hexadecimal.

        Raises:
            InvalidSidError: the text is no SID.
        """
        require_text("sid", text)
        match = _TEXT.fullmatch(text)
        if match is None:
            # Escaped: whoever sends text does not get to write lines of a log.
            shown = text[:80].encode("unicode_escape").decode("ascii")
            raise InvalidSidError(f"`{shown}` is not a sid")
        authority = _number(match[1])
        parts = tuple(_number(part) for part in match[2][1:].split("-"))
        return cls.from_parts(authority, parts)

    @classmethod
    def from_parts(cls, authority: int, sub_authorities: tuple[int, ...]) -> Self:
        """Build a SID of its numbers; raises `InvalidSidError` if one is too large."""
        if not 0 <= authority <= _LARGEST_AUTHORITY:
            raise InvalidSidError(f"authority `{authority}` does not fit 48 bits")
        if not 1 <= len(sub_authorities) <= MAXIMUM_SUB_AUTHORITIES:
            raise InvalidSidError("a sid has one to fifteen sub-authorities")
        for part in sub_authorities:
            if not 0 <= part <= _LARGEST_SUB_AUTHORITY:
                raise InvalidSidError(f"sub-authority `{part}` does not fit 32 bits")
        head = bytes((_REVISION, len(sub_authorities))) + authority.to_bytes(6, "big")
        return cls(head + struct.pack(f"<{len(sub_authorities)}I", *sub_authorities))

    @property
    def authority(self) -> int:
        """The 48-bit identifier authority."""
        return int.from_bytes(self[2:_HEADER_SIZE], "big")

    @property
    def sub_authorities(self) -> tuple[int, ...]:
        """The sub-authorities, first to last."""
        return _PARTS[self[1]].unpack_from(self, _HEADER_SIZE)

    @property
    def rid(self) -> int:
        """The relative identifier: the last sub-authority."""
        return self.sub_authorities[-1]

    def with_rid(self, rid: int) -> Sid:
        """Return this SID (a domain) with one more sub-authority.

        Raises:
            InvalidSidError: there are fifteen, or the new one does not fit 32 bits.
        """
        if not 0 <= rid <= _LARGEST_SUB_AUTHORITY:
            raise InvalidSidError(f"sub-authority `{rid}` does not fit 32 bits")
        if self[1] == MAXIMUM_SUB_AUTHORITIES:
            raise InvalidSidError("a sid has one to fifteen sub-authorities")
        head = bytes((_REVISION, self[1] + 1))
        return Sid(head + self[2:] + rid.to_bytes(4, "little"))

    def is_within(self, domain: Sid) -> bool:
        """Tell whether this SID is `domain` followed by exactly one RID."""
        return self.within == domain.scope

    @property
    def scope(self) -> bytes:
        """What SIDs that are within this one have as `within`."""
        return self[2:]  # but for the count

    @property
    def within(self) -> bytes:
        """All before the last part, but for the count: of whom it is within one."""
        return self[2:-4]

    def to_bytes(self) -> bytes:
        """Return the binary form as plain bytes."""
        return bytes(memoryview(self))

    def __str__(self) -> str:
        authority = self.authority
        shown = (
            authority if authority <= _LARGEST_DECIMAL_AUTHORITY else f"{authority:#x}"
        )
        return _SHOWN[self[1]] % (shown, *self.sub_authorities)

    def __repr__(self) -> str:
        return f"Sid({str(self)!r})"

    def __reduce__(self) -> tuple[type[Self], tuple[bytes]]:
        return type(self), (self.to_bytes(),)


def checked_sid(binary: bytes) -> Sid:
    """Make a SID of bytes that the caller has found to be one whole SID; for the codec.

    Reading descriptors is a hot path. One that is not known yet is not interned here:
    its entry is kept by whoever reads.
    """
    return _interned.get(binary) or bytes.__new__(Sid, binary)


def _number(text: str) -> int:
    return int(text, 16) if text[:2] in ("0x", "0X") else int(text)


def _require_sid(binary: bytes) -> None:
    if len(binary) < _HEADER_SIZE or binary[0] != _REVISION:
        raise InvalidSidError(f"`{binary[:8].hex()}` does not begin a sid")
    count = binary[1]
    if not 1 <= count <= MAXIMUM_SUB_AUTHORITIES:
        raise InvalidSidError(f"a sid cannot have {count} sub-authorities")
    if len(binary) != _HEADER_SIZE + 4 * count:
        raise InvalidSidError(
            f"a sid of {count} sub-authorities has {_HEADER_SIZE + 4 * count} bytes, "
            f"not {len(binary)}"
        )
