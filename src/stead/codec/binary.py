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
far more often than it changes. Entries that are no more than a mask and a SID, as
nearly all are, are looked through when the list is read, and made when somebody looks
at them.
"""

from __future__ import annotations

import struct
from typing import Final

from stead.codec.ace_binary import read_list, read_sid_at, write_aces
from stead.codec.keeping import Kept
from stead.errors import (
    InvalidAclError,
    InvalidSecurityDescriptorError,
)
from stead.model.acl import (
    ACL_REVISION,
    ACL_REVISION_DS,
    MAXIMUM_ACL_SIZE,
    Acl,
    NoAcl,
)
from stead.model.security_descriptor import (
    ControlFlags,
    SecurityDescriptor,
    checked_descriptor,
)
from stead.model.sid import MAXIMUM_SUB_AUTHORITIES, Sid

_REVISION: Final = 1
# Plain ints: arithmetic on IntFlag members is slow.
_DACL_PRESENT: Final = int(ControlFlags.DACL_PRESENT)
_SACL_PRESENT: Final = int(ControlFlags.SACL_PRESENT)
_SELF_RELATIVE: Final = int(ControlFlags.SELF_RELATIVE)
_ALIGNMENT: Final = 4
_DESCRIPTOR: Final = struct.Struct("<BBHIIII")
_ACL: Final = struct.Struct("<BBHHH")
_SID_HEADER_SIZE: Final = 8
_MAXIMUM_SID_SIZE: Final = _SID_HEADER_SIZE + 4 * MAXIMUM_SUB_AUTHORITIES
MAXIMUM_DESCRIPTOR_SIZE: Final = (
    _DESCRIPTOR.size + 2 * MAXIMUM_ACL_SIZE + 2 * _MAXIMUM_SID_SIZE
)
"""Bytes: two full lists and two longest SIDs; more cannot all belong to it."""

_KEPT_DESCRIPTOR_SIZE: Final = 1024
_KEPT_DESCRIPTORS: Final = 1024
_known_descriptors: Final[Kept[bytes, SecurityDescriptor]] = Kept(_KEPT_DESCRIPTORS)


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
        _known_descriptors.offer(binary, read)
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
    binary = bytes(binary)  # which nobody changes before its entries are looked at
    if len(binary) < _ACL.size:
        raise InvalidAclError(f"an acl has at least {_ACL.size} bytes")
    revision, sbz1, size, count, sbz2 = _ACL.unpack_from(binary)
    if not ACL_REVISION <= revision <= ACL_REVISION_DS:
        raise InvalidAclError(f"acl revision `{revision}` is unknown")
    if sbz1 or sbz2:
        raise InvalidAclError("the acl's reserved bytes are not zero")
    if size != len(binary) or size % _ALIGNMENT:
        raise InvalidAclError(f"the acl claims {size} bytes of {len(binary)}")
    return read_list(binary, count, revision)


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
    body = write_aces(acl.aces)
    size = _ACL.size + len(body)
    return _ACL.pack(acl.revision, 0, size, len(acl.aces), 0) + body
