"""Entries as bytes ([MS-DTYP] 2.4.4), and the SIDs in them (2.4.2.2).

Bytes come from strangers: what contradicts itself is refused, and an entry of an
unknown kind is kept with all of its bytes. What was read lately is kept by its bytes,
within bounds: a store's descriptors share most of their entries.

>>> read_ace(bytes.fromhex("0000140001000000010100000000000100000000")).mask
1
"""

from __future__ import annotations

import struct
from functools import partial
from typing import Final

from stead.codec.keeping import Kept
from stead.errors import (
    InvalidAclError,
    InvalidSidError,
)
from stead.model.ace import Ace, AceFlags, ObjectAce, OpaqueAce, checked_ace
from stead.model.ace_kinds import ACE_CLASSES
from stead.model.acl import Acl, checked_acl, unlooked_at_acl
from stead.model.guid import GUID_SIZE, Guid
from stead.model.sid import MAXIMUM_SUB_AUTHORITIES, Sid, checked_sid

_REVISION: Final = 1
_ALIGNMENT: Final = 4
_ACL_HEADER_SIZE: Final = 8
_ACE_HEADER: Final = struct.Struct("<BBH")
_ACE: Final = struct.Struct("<BBHI")
_OBJECT_ACE: Final = struct.Struct("<BBHII")
_SIMPLE: Final = struct.Struct("<BxH4x2s")  # with the revision and count of its SID
_MASK: Final = struct.Struct("<I")
_SID_HEADER_SIZE: Final = 8
_SID_AT: Final = _ACE.size
_SID_SIZES: Final = {
    bytes((_REVISION, count)): _SID_HEADER_SIZE + 4 * count
    for count in range(1, MAXIMUM_SUB_AUTHORITIES + 1)
}
"""Bytes of a SID, by the two that it begins with."""
_SIMPLE_SIZES: Final = {
    beginning: _SID_AT + size for beginning, size in _SID_SIZES.items()
}
_OBJECT_TYPE_PRESENT: Final = 0x1
_INHERITED_OBJECT_TYPE_PRESENT: Final = 0x2
_KINDS: Final[dict[int, type[Ace]]] = {
    int(number): kind
    for number, kind in ACE_CLASSES.items()
    if not issubclass(kind, ObjectAce)
}
_OBJECT_KINDS: Final[dict[int, type[ObjectAce]]] = {
    int(number): kind
    for number, kind in ACE_CLASSES.items()
    if issubclass(kind, ObjectAce)
}
_NUMBERS: Final = {kind: number for number, kind in _KINDS.items()}

_KEPT_ACE_SIZE: Final = 128
_KEPT_ACES: Final = 16_384
_known_aces: Final[Kept[bytes, Ace]] = Kept(_KEPT_ACES)


def read_list(binary: bytes, count: int, revision: int) -> Acl:
    """Read the entries of a list whose header says how many there are.

    Args:
        binary: the whole list, its header too.
        count: how many.
        revision: the header's, 2 to 4.

    Raises:
        InvalidAclError: an entry lies; it says which.
    """
    kinds = _kinds_of_simple(binary, count)
    if kinds is not None:
        return unlooked_at_acl(
            partial(_read_simple_aces, binary, count), kinds, revision
        )
    ones = enumerate(_split(binary, count))
    return checked_acl(tuple([_read_ace_at(*one) for one in ones]), revision)


def _kinds_of_simple(binary: bytes, count: int) -> frozenset[type[Ace]] | None:
    """Return the classes of a list's entries if each is a header, a mask and a SID.

    That is what nearly all are. None if one is anything else, or lies: then each is
    looked at by itself.
    """
    at, numbers = _ACL_HEADER_SIZE, set()
    try:
        for _ in range(count):
            number, size, beginning = _SIMPLE.unpack_from(binary, at)
            if size != _SIMPLE_SIZES.get(beginning):
                return None
            numbers.add(number)
            at += size
    except struct.error:  # it ends inside an entry
        return None
    if at > len(binary) or not numbers <= _KINDS.keys():
        return None
    return frozenset([_KINDS[number] for number in numbers])


def _read_simple_aces(binary: bytes, count: int) -> tuple[Ace, ...]:
    """Read the entries of a list that `_kinds_of_simple` has looked through."""
    ones = _split(binary, count)
    return tuple([_known_aces.get(one) or _read_simple_ace(one) for one in ones])


def _split(binary: bytes, count: int) -> list[bytes]:
    """Return a list's entries, each as long as it says, or as there is."""
    ones: list[bytes] = []
    at, end = _ACL_HEADER_SIZE, len(binary)
    for index in range(count):
        if at + 4 > end:
            raise InvalidAclError(f"the acl claims {count} aces and holds {index}")
        size = binary[at + 2] | binary[at + 3] << 8
        ones.append(binary[at : at + size])
        at += size
    return ones


def _read_simple_ace(binary: bytes) -> Ace:
    """Read an entry of which `_kinds_of_simple` knows what it is."""
    number, flags, _, mask = _ACE.unpack_from(binary)
    ace = checked_ace(_KINDS[number], checked_sid(binary[_SID_AT:]), mask, flags)
    _keep_ace(binary, ace)
    return ace


def _read_ace_at(index: int, binary: bytes) -> Ace:
    known = _known_aces.get(binary)
    if known is not None:
        return known
    try:
        ace = read_ace(binary)
    except InvalidAclError as error:
        raise InvalidAclError(f"ace {index}: {error}") from error
    _keep_ace(binary, ace)
    return ace


def _keep_ace(binary: bytes, ace: Ace) -> None:
    if len(binary) <= _KEPT_ACE_SIZE:
        _known_aces.offer(binary, ace)


def read_ace(binary: bytes) -> Ace:
    """Read an entry ([MS-DTYP] 2.4.4) that fills `binary` exactly.

    Raises:
        InvalidAclError: it lies.
    """
    if len(binary) < _ACE_HEADER.size:
        raise InvalidAclError(f"an ace has at least {_ACE_HEADER.size} bytes")
    number, flags, size = _ACE_HEADER.unpack_from(binary)
    if size != len(binary) or size % _ALIGNMENT:
        raise InvalidAclError(f"the ace claims {size} bytes of {len(binary)}")
    kind = _KINDS.get(number)
    if kind is None:
        return _read_rare_ace(binary, number, flags)
    if size < _ACE.size:
        raise InvalidAclError(f"an ace of this kind has at least {_ACE.size} bytes")
    (mask,) = _MASK.unpack_from(binary, 4)
    trustee = _trustee_at(binary, _ACE.size)
    data = binary[_ACE.size + len(trustee) :]
    return checked_ace(kind, trustee, mask, flags, data)


def _read_rare_ace(binary: bytes, number: int, flags: int) -> Ace:
    """Read an object entry (2.4.4.3), or keep one of an unknown kind as it is."""
    kind = _OBJECT_KINDS.get(number)
    if kind is None:
        return OpaqueAce(
            flags=AceFlags(flags), type_number=number, body=binary[_ACE_HEADER.size :]
        )
    if len(binary) < _OBJECT_ACE.size:
        raise InvalidAclError(f"an object ace has at least {_OBJECT_ACE.size} bytes")
    _, _, _, mask, present = _OBJECT_ACE.unpack_from(binary)
    if present & ~(_OBJECT_TYPE_PRESENT | _INHERITED_OBJECT_TYPE_PRESENT):
        raise InvalidAclError(f"object flags `{present:#x}` are unknown")
    at, guids = _OBJECT_ACE.size, []
    for bit in (_OBJECT_TYPE_PRESENT, _INHERITED_OBJECT_TYPE_PRESENT):
        guids.append(_guid_at(binary, at) if present & bit else None)
        at += GUID_SIZE if present & bit else 0
    trustee = _trustee_at(binary, at)
    return kind(
        trustee,
        mask,
        AceFlags(flags),
        binary[at + len(trustee) :],
        object_type=guids[0],
        inherited_object_type=guids[1],
    )


def _guid_at(binary: bytes, at: int) -> Guid:
    if at + GUID_SIZE > len(binary):
        raise InvalidAclError("the object ace ends inside a guid")
    return Guid(binary[at : at + GUID_SIZE])


def _trustee_at(binary: bytes, at: int) -> Sid:
    try:
        return read_sid_at(binary, at)
    except InvalidSidError as error:
        raise InvalidAclError(str(error)) from error


def read_sid_at(binary: bytes, offset: int) -> Sid:
    """Read the SID that begins at `offset`, whatever follows it.

    Raises:
        InvalidSidError: no whole SID stands there.
    """
    size = _SID_SIZES.get(binary[offset : offset + 2])
    if size is None:
        return Sid(binary[offset : offset + _SID_HEADER_SIZE])  # it says what is wrong
    part = binary[offset : offset + size]
    return checked_sid(part) if len(part) == size else Sid(part)


# --- writing ----------------------------------------------------------------------


def write_aces(aces: tuple[Ace, ...]) -> bytes:
    """Write entries one after another."""
    return b"".join(
        [
            _ACE.pack(
                _NUMBERS[type(ace)],
                ace.flags,
                _ACE.size + len(ace.trustee) + len(ace.application_data),
                ace.mask,
            )
            + ace.trustee
            + ace.application_data
            if type(ace) in _NUMBERS
            else write_ace(ace)
            for ace in aces
        ]
    )


def write_ace(ace: Ace) -> bytes:
    """Write an entry ([MS-DTYP] 2.4.4)."""
    if isinstance(ace, OpaqueAce):
        return _ACE_HEADER.pack(ace.number, int(ace.flags), ace.size) + ace.body
    if isinstance(ace, ObjectAce):
        return _write_object_ace(ace)
    trustee, data = ace.trustee, ace.application_data
    size = _ACE.size + len(trustee) + len(data)
    return _ACE.pack(ace.type, ace.flags, size, ace.mask) + trustee + data


def _write_object_ace(ace: ObjectAce) -> bytes:
    present, guids = 0, b""
    if ace.object_type is not None:
        present |= _OBJECT_TYPE_PRESENT
        guids += ace.object_type
    if ace.inherited_object_type is not None:
        present |= _INHERITED_OBJECT_TYPE_PRESENT
        guids += ace.inherited_object_type
    header = _OBJECT_ACE.pack(
        ace.type, int(ace.flags), ace.size, int(ace.mask), present
    )
    return header + guids + ace.trustee + ace.application_data
