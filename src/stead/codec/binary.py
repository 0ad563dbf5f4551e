"""Self-relative security descriptors as bytes ([MS-DTYP] 2.4.2.2, 2.4.4 to 2.4.6).

Bytes come from strangers. Every size, count and offset is checked against what is
really there before it is used; what contradicts itself is refused, and so is any kind
of ACE that Stead does not judge. Work and memory are linear in the input.

Accepted though nothing of ours writes it: parts in any order, gaps between parts, one
SID that is owner and group at once, and an ACL with room to spare after its last ACE;
Windows produces all four, and none of those bytes is ever judged.

>>> header_alone = bytes.fromhex("01000480" + 16 * "00")
>>> read_security_descriptor(header_alone).dacl
NULL_ACL
"""

from __future__ import annotations

import struct
from itertools import pairwise
from typing import Final

from stead.codec.ace_types import name_number
from stead.errors import (
    InvalidAclError,
    InvalidSecurityDescriptorError,
    InvalidSidError,
)
from stead.model.ace import ACE_CLASSES, Ace, AceFlags, AceType
from stead.model.acl import ACL_REVISION, ACL_REVISION_DS, MAXIMUM_ACL_SIZE, Acl, NoAcl
from stead.model.security_descriptor import ControlFlags, SecurityDescriptor
from stead.model.sid import MAXIMUM_SUB_AUTHORITIES, Sid

_REVISION: Final = 1
_ALIGNMENT: Final = 4
_DESCRIPTOR: Final = struct.Struct("<BBHIIII")
_ACL: Final = struct.Struct("<BBHHH")
_ACE: Final = struct.Struct("<BBHI")
_SID_HEADER_SIZE: Final = 8
_MAXIMUM_SID_SIZE: Final = _SID_HEADER_SIZE + 4 * MAXIMUM_SUB_AUTHORITIES
MAXIMUM_DESCRIPTOR_SIZE: Final = (
    _DESCRIPTOR.size + 2 * MAXIMUM_ACL_SIZE + 2 * _MAXIMUM_SID_SIZE
)
"""Bytes: two full lists and two longest SIDs; more cannot all belong to it."""


# --- reading ----------------------------------------------------------------------


def read_security_descriptor(binary: bytes) -> SecurityDescriptor:
    """Read a self-relative descriptor ([MS-DTYP] 2.4.6).

    Raises:
        InvalidSecurityDescriptorError: the header lies, or parts overlap.
        InvalidAclError: a list or an entry lies, or is of a kind not supported.
        InvalidSidError: the owner or group is no SID.
    """
    header = _read_header(binary)
    _, byte, control, owner_at, group_at, sacl_at, dacl_at = header
    owner, owner_end = _sid_part(binary, owner_at)
    group, group_end = _sid_part(binary, group_at)
    sacl, sacl_end = _acl_part(binary, sacl_at, control & ControlFlags.SACL_PRESENT)
    dacl, dacl_end = _acl_part(binary, dacl_at, control & ControlFlags.DACL_PRESENT)
    # A set: owner and group may be one and the same SID.
    sids = {(owner_at, owner_end), (group_at, group_end)}
    _require_apart([*sids, (sacl_at, sacl_end), (dacl_at, dacl_end)])
    return SecurityDescriptor(
        owner=owner,
        group=group,
        sacl=sacl,
        dacl=dacl,
        control=ControlFlags(control),
        resource_manager_control=byte,
    )


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
    if not control & ControlFlags.SELF_RELATIVE:
        raise InvalidSecurityDescriptorError("the descriptor is not self-relative")
    for offset in offsets:
        _require_offset(offset)
    return header


def _require_offset(offset: int) -> None:
    if offset % _ALIGNMENT or 0 < offset < _DESCRIPTOR.size:
        raise InvalidSecurityDescriptorError(f"no part can begin at offset `{offset}`")


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
    for (_, end), (start, _) in pairwise(sorted(spans)):
        if start < end:
            raise InvalidSecurityDescriptorError(
                f"the part at offset `{start}` begins inside another one"
            )


def read_acl(binary: bytes) -> Acl:
    """Read a list ([MS-DTYP] 2.4.5) that fills `binary` exactly.

    Raises:
        InvalidAclError: it lies, or holds an entry of a kind not supported.
    """
    if len(binary) < _ACL.size:
        raise InvalidAclError(f"an acl has at least {_ACL.size} bytes")
    revision, sbz1, size, count, sbz2 = _ACL.unpack_from(binary)
    if revision not in (ACL_REVISION, ACL_REVISION_DS):
        raise InvalidAclError(f"acl revision `{revision}` is unknown")
    if sbz1 or sbz2:
        raise InvalidAclError("the acl's reserved bytes are not zero")
    if size != len(binary) or size % _ALIGNMENT:
        raise InvalidAclError(f"the acl claims {size} bytes of {len(binary)}")
    return Acl(_read_aces(binary, count), revision)


def _read_aces(binary: bytes, count: int) -> tuple[Ace, ...]:
    aces: list[Ace] = []
    at = _ACL.size
    for index in range(count):
        if at + _ACE.size > len(binary):
            raise InvalidAclError(f"the acl claims {count} aces and holds {index}")
        _, _, size, _ = _ACE.unpack_from(binary, at)
        try:
            aces.append(read_ace(binary[at : at + size]))
        except InvalidAclError as error:
            raise InvalidAclError(f"ace {index}: {error}") from error
        at += size
    return tuple(aces)


def read_ace(binary: bytes) -> Ace:
    """Read an entry ([MS-DTYP] 2.4.4) that fills `binary` exactly.

    Raises:
        InvalidAclError: it lies, or is of a kind not supported.
    """
    if len(binary) < _ACE.size:
        raise InvalidAclError(f"an ace has at least {_ACE.size} bytes")
    number, flags, size, mask = _ACE.unpack_from(binary)
    if size != len(binary) or size % _ALIGNMENT:
        raise InvalidAclError(f"the ace claims {size} bytes of {len(binary)}")
    try:
        kind = AceType(number)
    except ValueError as error:
        raise InvalidAclError(name_number(number)) from error
    try:
        trustee = Sid(bytes(binary[_ACE.size :]))
    except InvalidSidError as error:
        raise InvalidAclError(str(error)) from error
    return ACE_CLASSES[kind](trustee, mask, AceFlags(flags))


def read_sid_at(binary: bytes, offset: int) -> Sid:
    """Read the SID that begins at `offset`, whatever follows it.

    Raises:
        InvalidSidError: no whole SID stands there.
    """
    count = binary[offset + 1] if 0 <= offset < len(binary) - 1 else 0
    return Sid(bytes(binary[offset : offset + _SID_HEADER_SIZE + 4 * count]))


# --- writing ----------------------------------------------------------------------


def write_security_descriptor(sd: SecurityDescriptor) -> bytes:
    """Write the self-relative form as Windows lays it out: SACL, DACL, owner, group."""
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
    body = b"".join(write_ace(ace) for ace in acl)
    size = _ACL.size + len(body)
    return _ACL.pack(acl.revision, 0, size, len(acl), 0) + body


def write_ace(ace: Ace) -> bytes:
    """Write an entry ([MS-DTYP] 2.4.4)."""
    size = _ACE.size + len(ace.trustee)
    return _ACE.pack(ace.type, ace.flags, size, ace.mask) + ace.trustee
