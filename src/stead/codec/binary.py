"""Self-relative security descriptors as bytes ([MS-DTYP] 2.4.2.2, 2.4.4 to 2.4.6).

Bytes come from strangers. Every size, count and offset is checked against what is
really there before it is used, and what contradicts itself is refused. An entry of an
unknown kind is kept with all of its bytes. Work and memory are linear in the input.

Accepted though nothing of ours writes it: parts in any order, gaps between parts, one
SID that is owner and group at once, and an ACL with room to spare after its last ACE;
Windows produces all four, and none of those bytes is ever judged.

>>> header_alone = bytes.fromhex("01000480" + 16 * "00")
>>> read_security_descriptor(header_alone).dacl
NULL_ACL

What was read lately is kept by its bytes, within bounds: an object's descriptor is read
far more often than it changes.
"""

from __future__ import annotations

import struct
from typing import Final

from stead.errors import (
    InvalidAclError,
    InvalidSecurityDescriptorError,
    InvalidSidError,
)
from stead.model.ace import (
    ACE_CLASSES,
    Ace,
    AceFlags,
    ObjectAce,
    OpaqueAce,
    checked_ace,
)
from stead.model.acl import (
    ACL_REVISION,
    ACL_REVISION_DS,
    MAXIMUM_ACL_SIZE,
    Acl,
    NoAcl,
    checked_acl,
)
from stead.model.guid import GUID_SIZE, Guid
from stead.model.security_descriptor import (
    ControlFlags,
    SecurityDescriptor,
    checked_descriptor,
)
from stead.model.sid import MAXIMUM_SUB_AUTHORITIES, Sid, checked_sid

_REVISION: Final = 1
# Plain ints: arithmetic on IntFlag members is slow.
_DACL_PRESENT: Final = int(ControlFlags.DACL_PRESENT)
_SACL_PRESENT: Final = int(ControlFlags.SACL_PRESENT)
_SELF_RELATIVE: Final = int(ControlFlags.SELF_RELATIVE)
_ALIGNMENT: Final = 4
_DESCRIPTOR: Final = struct.Struct("<BBHIIII")
_ACL: Final = struct.Struct("<BBHHH")
_ACE_HEADER: Final = struct.Struct("<BBH")
_ACE: Final = struct.Struct("<BBHI")
_OBJECT_ACE: Final = struct.Struct("<BBHII")
_SIMPLE: Final = struct.Struct("<BBHIBB")  # with the revision and count of its SID
_MASK: Final = struct.Struct("<I")
_SID_HEADER_SIZE: Final = 8
_SID_AT: Final = _ACE.size
_SIZES: Final = {
    parts: _SID_AT + _SID_HEADER_SIZE + 4 * parts
    for parts in range(1, MAXIMUM_SUB_AUTHORITIES + 1)
}
_SMALLEST_SIMPLE: Final = _SID_AT + _SID_HEADER_SIZE + 4
_MAXIMUM_SID_SIZE: Final = _SID_HEADER_SIZE + 4 * MAXIMUM_SUB_AUTHORITIES
MAXIMUM_DESCRIPTOR_SIZE: Final = (
    _DESCRIPTOR.size + 2 * MAXIMUM_ACL_SIZE + 2 * _MAXIMUM_SID_SIZE
)
"""Bytes: two full lists and two longest SIDs; more cannot all belong to it."""

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

# What was read lately, by its bytes. Both are emptied when they are full: nobody who
# sends descriptors can make them grow, and what is in use comes back.
_KEPT_ACE_SIZE: Final = 128
_KEPT_ACES: Final = 16_384
_KEPT_DESCRIPTOR_SIZE: Final = 1024
_KEPT_DESCRIPTORS: Final = 1024
_known_aces: Final[dict[bytes, Ace]] = {}
_known_descriptors: Final[dict[bytes, SecurityDescriptor]] = {}


# --- reading ----------------------------------------------------------------------


def read_security_descriptor(binary: bytes) -> SecurityDescriptor:
    """Read a self-relative descriptor ([MS-DTYP] 2.4.6).

    Raises:
        InvalidSecurityDescriptorError: the header lies, or parts overlap.
        InvalidAclError: a list or an entry lies, or is of a kind not supported.
        InvalidSidError: the owner or group is no SID.
    """
    binary = bytes(binary)
    known = _known_descriptors.get(binary)
    if known is not None:
        return known
    read = _read_descriptor(binary)
    if len(binary) <= _KEPT_DESCRIPTOR_SIZE:
        if len(_known_descriptors) >= _KEPT_DESCRIPTORS:
            _known_descriptors.clear()
        _known_descriptors[binary] = read
    return read


def _read_descriptor(binary: bytes) -> SecurityDescriptor:
    header = _read_header(binary)
    _, byte, control, owner_at, group_at, sacl_at, dacl_at = header
    owner, owner_end = _sid_part(binary, owner_at)
    group, group_end = _sid_part(binary, group_at)
    sacl, sacl_end = _acl_part(binary, sacl_at, control & _SACL_PRESENT)
    dacl, dacl_end = _acl_part(binary, dacl_at, control & _DACL_PRESENT)
    spans = [(sacl_at, sacl_end), (dacl_at, dacl_end), (owner_at, owner_end)]
    if owner_at != group_at:  # owner and group may be one and the same SID
        spans.append((group_at, group_end))
    _require_apart(spans)
    return checked_descriptor(dacl, (owner, group), sacl, control, byte)


def _read_header(binary: bytes) -> tuple[int, ...]:
    if not _DESCRIPTOR.size <= len(binary) <= MAXIMUM_DESCRIPTOR_SIZE:
        raise InvalidSecurityDescriptorError(
            f"a descriptor has {_DESCRIPTOR.size} to {MAXIMUM_DESCRIPTOR_SIZE} bytes, "
            f"not {len(binary)}"
        )
    header: tuple[int, ...] = _DESCRIPTOR.unpack_from(binary)
    revision, _, control, *offsets = header
    if revision != _REVISION:
        raise InvalidSecurityDescriptorError(
            f"descriptor revision `{revision}` is unknown"
        )
    if not control & _SELF_RELATIVE:
        raise InvalidSecurityDescriptorError("the descriptor is not self-relative")
    for offset in offsets:
        if offset % _ALIGNMENT or 0 < offset < _DESCRIPTOR.size:
            raise InvalidSecurityDescriptorError(
                f"no part can begin at offset `{offset}`"
            )
    return header


def _sid_part(binary: bytes, at: int) -> tuple[Sid | None, int]:
    """Return the SID at an offset of a descriptor, and where it ends."""
    if not at:
        return None, 0
    sid = read_sid_at(binary, at)
    return sid, at + len(sid)


def _acl_part(binary: bytes, at: int, present: int) -> tuple[Acl | NoAcl, int]:
    """Return the list at an offset of a descriptor, and where it ends."""
    if not at:
        return (NoAcl.NULL if present else NoAcl.ABSENT), 0
    if not present:
        # Read as absent it would protect nothing, and somebody wrote a list.
        raise InvalidSecurityDescriptorError(
            f"a list begins at offset `{at}` and the control bits say there is none"
        )
    if at + _ACL.size > len(binary):
        raise InvalidSecurityDescriptorError(
            f"no list fits between offset `{at}` and the end"
        )
    _, _, size, _, _ = _ACL.unpack_from(binary, at)
    return read_acl(binary[at : at + size]), at + size


def _require_apart(spans: list[tuple[int, int]]) -> None:
    """Refuse parts that share bytes; absent ones are (0, 0) and share none."""
    spans.sort()
    end = 0
    for start, after in spans:
        if start < end:
            raise InvalidSecurityDescriptorError(
                f"the part at offset `{start}` begins inside another one"
            )
        end = after


def read_acl(binary: bytes) -> Acl:
    """Read a list ([MS-DTYP] 2.4.5) that fills `binary` exactly.

    Raises:
        InvalidAclError: it lies, or holds an entry of a kind not supported.
    """
    if len(binary) < _ACL.size:
        raise InvalidAclError(f"an acl has at least {_ACL.size} bytes")
    revision, sbz1, size, count, sbz2 = _ACL.unpack_from(binary)
    if not ACL_REVISION <= revision <= ACL_REVISION_DS:
        raise InvalidAclError(f"acl revision `{revision}` is unknown")
    if sbz1 or sbz2:
        raise InvalidAclError("the acl's reserved bytes are not zero")
    if size != len(binary) or size % _ALIGNMENT:
        raise InvalidAclError(f"the acl claims {size} bytes of {len(binary)}")
    return checked_acl(_read_aces(binary, count), revision)


def _read_aces(binary: bytes, count: int) -> tuple[Ace, ...]:
    aces: list[Ace] = []
    at, end = _ACL.size, len(binary)
    for index in range(count):
        if at + 4 > end:
            raise InvalidAclError(f"the acl claims {count} aces and holds {index}")
        size = binary[at + 2] | binary[at + 3] << 8
        one = binary[at : at + size]
        ace = _known_aces.get(one)
        if ace is None:
            ace = _read_simple_ace(one) or _read_ace_at(index, one)
            _keep_ace(one, ace)
        aces.append(ace)
        at += size
    return tuple(aces)


def _read_simple_ace(binary: bytes) -> Ace | None:
    """Read an entry that is a header, a mask and a SID; None if it is anything else.

    That is what nearly all are, and reading them is most of what reading costs.
    """
    size = len(binary)
    if size < _SMALLEST_SIMPLE:
        return None
    number, flags, claimed, mask, revision, parts = _SIMPLE.unpack_from(binary)
    kind = _KINDS.get(number)
    if (
        not size == claimed == _SIZES.get(parts)
        or revision != _REVISION
        or kind is None
    ):
        return None
    return checked_ace(kind, checked_sid(binary[_SID_AT:]), mask, flags)


def _read_ace_at(index: int, binary: bytes) -> Ace:
    try:
        return read_ace(binary)
    except InvalidAclError as error:
        raise InvalidAclError(f"ace {index}: {error}") from error


def _keep_ace(binary: bytes, ace: Ace) -> None:
    if len(binary) <= _KEPT_ACE_SIZE:
        if len(_known_aces) >= _KEPT_ACES:
            _known_aces.clear()
        _known_aces[binary] = ace


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
    count = binary[offset + 1] if 0 <= offset < len(binary) - 1 else 0
    part = binary[offset : offset + _SID_HEADER_SIZE + 4 * count]
    if (
        0 < count <= MAXIMUM_SUB_AUTHORITIES
        and len(part) == _SID_HEADER_SIZE + 4 * count
        and part[0] == _REVISION
    ):
        return checked_sid(part)
    return Sid(part)  # which says what is wrong


# --- writing ----------------------------------------------------------------------


def write_security_descriptor(sd: SecurityDescriptor) -> bytes:
    """Write the self-relative form as Windows lays it out: SACL, DACL, owner, group."""
    kept = sd.kept_binary
    if kept is None:
        kept = _write_descriptor(sd)
        object.__setattr__(sd, "kept_binary", kept)
    return kept


def _write_descriptor(sd: SecurityDescriptor) -> bytes:
    body, offsets = bytearray(), []
    for part in (
        _part_bytes(sd.sacl),
        _part_bytes(sd.dacl),
        sd.owner or b"",
        sd.group or b"",
    ):
        offsets.append(_DESCRIPTOR.size + len(body) if part else 0)
        body += part
    sacl_at, dacl_at, owner_at, group_at = offsets
    header = _DESCRIPTOR.pack(
        _REVISION,
        sd.resource_manager_control,
        sd.control,
        owner_at,
        group_at,
        sacl_at,
        dacl_at,
    )
    return header + bytes(body)


def _part_bytes(acl: Acl | NoAcl) -> bytes:
    return write_acl(acl) if isinstance(acl, Acl) else b""


def write_acl(acl: Acl) -> bytes:
    """Write a list ([MS-DTYP] 2.4.5)."""
    body = b"".join(
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
            for ace in acl.aces
        ]
    )
    size = _ACL.size + len(body)
    return _ACL.pack(acl.revision, 0, size, len(acl.aces), 0) + body


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
