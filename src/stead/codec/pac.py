"""The PAC of a Kerberos ticket, from bytes to values ([MS-PAC] 2.3, 2.4).

**Nothing here verifies a signature.** That a PAC reads well says nothing about who
wrote it: the Kerberos library verifies its signatures with the keys that it alone has,
and whoever calls `read_pac` on anything else lets strangers choose their groups.

Bytes come from strangers all the same. Buffers lie inside, apart from one another and
aligned; each known kind stands at most once; every count and length is held against
what is really there. What contradicts itself is refused, with `InvalidPacError` alone.
Work and memory are linear in the input (and in the bounded size of compressed claims).
What was read lately is kept by its bytes, within bounds: a client shows one ticket over
and over, for as long as it lasts.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, Final

from stead.codec.claims_set import read_claims
from stead.codec.delegation_info import read_delegation_info
from stead.codec.keeping import Kept
from stead.codec.ndr import decode_text
from stead.codec.validation_info import read_device_info, read_logon_info
from stead.errors import InvalidGuidError, InvalidPacError, InvalidSidError
from stead.model.claim import Claim
from stead.model.guid import Guid
from stead.model.pac import (
    ClientInfo,
    Pac,
    PacAttributes,
    PacBuffer,
    PacBufferType,
    PacSignature,
    UpnInfo,
)
from stead.model.sid import Sid

_HEADER: Final = struct.Struct("<II")
_ENTRY: Final = struct.Struct("<IIQ")
_ALIGNMENT: Final = 8
_VERSION: Final = 0
_CLIENT: Final = struct.Struct("<QH")
_UPN: Final = struct.Struct("<HHHHI")
_UPN_EXTENSION: Final = struct.Struct("<HHHH")
_UPN_IS_CONSTRUCTED: Final = 0x1
_UPN_IS_EXTENDED: Final = 0x2
_KEPT_ATTRIBUTES: Final = int(
    PacAttributes.WAS_REQUESTED | PacAttributes.WAS_GIVEN_IMPLICITLY
)
_SIGNATURE: Final = struct.Struct("<i")
_RODC_SIZES: Final = frozenset({0, 2})
_CHECKSUM_ENDS: Final = {-138: 20, 15: 16, 16: 16}  # the type's size included
_SIGNATURES: Final[dict[int, PacBufferType]] = {
    kind: kind
    for kind in (
        PacBufferType.SERVER_CHECKSUM,
        PacBufferType.KDC_CHECKSUM,
        PacBufferType.TICKET_CHECKSUM,
        PacBufferType.EXTENDED_KDC_CHECKSUM,
    )
}
_KNOWN: Final = frozenset(PacBufferType)
_KEPT_SIZE: Final = 4096
_LEAST_VALUE: Final = 8  # what a claim's value takes, whatever it is
_KEPT_PACS: Final = 1024
_known_pacs: Final[Kept[bytes, Pac]] = Kept(_KEPT_PACS)
_known_parts: Final[Kept[tuple[int, bytes], Any]] = Kept(2 * _KEPT_PACS)


def read_pac(binary: bytes) -> Pac:
    """Read a PAC **whose signatures somebody else verifies** ([MS-PAC] 2.3).

    Args:
        binary: the whole PACTYPE: the content of the ticket's AD-WIN2K-PAC element.

    Raises:
        InvalidPacError: it lies about itself, contradicts itself, or has no logon
            information.
    """
    known = _known_pacs.get(binary)
    if known is not None:
        return known
    try:
        read = _pac_of(_buffers(binary))
    except (InvalidSidError, InvalidGuidError) as error:
        raise InvalidPacError(str(error)) from error
    if _is_small(binary, (*read.user_claims, *read.device_claims)):
        _known_pacs.offer(binary, read)
    return read


def _is_small(binary: bytes, claims: tuple[Claim, ...]) -> bool:
    """Tell whether what was read may be kept: claims unfold to a megabyte."""
    size = len(binary)
    if size <= _KEPT_SIZE:
        for claim in claims:
            size += len(claim.name) + _LEAST_VALUE * len(claim.values)
            size += sum([len(v) for v in claim.values if isinstance(v, str | bytes)])
    return size <= _KEPT_SIZE


# --- the table of buffers -----------------------------------------------------------


def _buffers(binary: bytes) -> list[tuple[int, bytes]]:
    """Return type and content of each buffer, in the order of the table."""
    entries, first = _entries(binary)
    reached, end = first, len(binary)
    for start, size in sorted([(start, size) for _, size, start in entries]):
        if start % _ALIGNMENT or not first <= start <= end:
            raise InvalidPacError(f"no buffer can begin at `{start}`")
        if not size:
            continue
        if start < reached:
            raise InvalidPacError(f"the buffer at `{start}` begins inside another one")
        reached = start + size
        if reached > end:
            raise InvalidPacError(f"the buffer at `{start}` does not fit")
    known = [kind for kind, _, _ in entries if kind in _KNOWN]
    if len(known) != len(set(known)):
        raise InvalidPacError("a buffer of a known type stands twice")
    return [(kind, binary[start : start + size]) for kind, size, start in entries]


def _entries(binary: bytes) -> tuple[list[tuple[int, int, int]], int]:
    """Return the table, type, size and start of each buffer, and where it ends."""
    if len(binary) < _HEADER.size:
        raise InvalidPacError("no pac header fits the bytes")
    count, version = _HEADER.unpack_from(binary)
    if version != _VERSION:
        raise InvalidPacError(f"pac version `{version}` is unknown")
    first = _HEADER.size + _ENTRY.size * count
    if first > len(binary):
        raise InvalidPacError(f"{count} buffers are announced and do not fit")
    return list(_ENTRY.iter_unpack(binary[_HEADER.size : first])), first


# --- the buffers together -----------------------------------------------------------


def _pac_of(buffers: list[tuple[int, bytes]]) -> Pac:
    parts: dict[str, Any] = {}
    signatures, others = [], []
    for buffer in buffers:
        kind = buffer[0]
        if kind in _READERS:
            name, read = _READERS[kind]
            parts[name] = _read_part(buffer, read)
        elif kind in _SIGNATURES:
            signatures.append(_signature(*buffer))
        else:
            others.append(PacBuffer(*buffer))
    if "logon" not in parts:
        raise InvalidPacError("a pac without logon information names nobody")
    pac = Pac(**parts, signatures=tuple(signatures), other_buffers=tuple(others))
    if pac.names is not None and pac.names.sid not in {None, pac.user_sid}:
        raise InvalidPacError("the logon and the names are those of two accounts")
    return pac


def _read_part(buffer: tuple[int, bytes], read: Callable[[bytes], Any]) -> Any:
    """Read a buffer. All but the signatures are the same in a logon's tickets."""
    known = _known_parts.get(buffer)
    if known is None:
        _, binary = buffer
        known = read(binary)
        if _is_small(binary, known if read is read_claims else ()):
            _known_parts.offer(buffer, known)
    return known


# --- the buffers that are not NDR ---------------------------------------------------


def _client_info(binary: bytes) -> ClientInfo:
    time, length = _unpack(_CLIENT, binary)
    if not 0 <= len(binary) - _CLIENT.size - length < _ALIGNMENT:
        raise InvalidPacError("the client's name does not fill its buffer")
    return ClientInfo(decode_text(binary[_CLIENT.size :][:length]), time)


def _upn_info(binary: bytes) -> UpnInfo:
    upn_size, upn_at, dns_size, dns_at, flags = _unpack(_UPN, binary)
    is_constructed = bool(flags & _UPN_IS_CONSTRUCTED)
    first = _UPN.size
    sam_name = sid = None
    if flags & _UPN_IS_EXTENDED:
        extension = binary[first:]
        sam_size, sam_at, sid_size, sid_at = _unpack(_UPN_EXTENSION, extension)
        first += _UPN_EXTENSION.size
        sam_name = decode_text(_part(binary, sam_at, sam_size, first=first))
        sid = Sid(_part(binary, sid_at, sid_size, first=first))
    return UpnInfo(
        upn=decode_text(_part(binary, upn_at, upn_size, first=first)),
        dns_domain=decode_text(_part(binary, dns_at, dns_size, first=first)),
        is_constructed=is_constructed,
        sam_name=sam_name,
        sid=sid,
    )


def _part(binary: bytes, start: int, size: int, *, first: int) -> bytes:
    """Return what a length and an offset name, behind the fixed part."""
    if size and not first <= start <= len(binary) - size:
        raise InvalidPacError(f"a name at `{start}` does not fit its buffer")
    return binary[start : start + size]


def _attributes_info(binary: bytes) -> PacAttributes:
    count = int.from_bytes(binary[:4], "little")
    words = -(-count // 32)
    if len(binary) != 4 + 4 * words:
        raise InvalidPacError(f"{count} attribute bits do not fill their buffer")
    bits = int.from_bytes(binary[4:], "little") & ((1 << count) - 1)
    # Others than these, an enumeration would keep for good, as many as somebody sends.
    return PacAttributes(bits & _KEPT_ATTRIBUTES)


def _signature(kind: int, binary: bytes) -> PacSignature:
    (checksum_type,) = _unpack(_SIGNATURE, binary)
    end = _CHECKSUM_ENDS.get(checksum_type)
    # A checksum of a type that the specification does not list has no known size.
    checksum, tail = binary[_SIGNATURE.size : end], b"" if end is None else binary[end:]
    if (end or 0) > len(binary) or len(tail) not in _RODC_SIZES:
        raise InvalidPacError(f"a checksum cannot have {len(checksum)} bytes")
    rodc = int.from_bytes(tail, "little") if tail else None
    return PacSignature(_SIGNATURES[kind], checksum_type, checksum, rodc)


def _unpack(layout: struct.Struct, binary: bytes) -> tuple[int, ...]:
    if len(binary) < layout.size:
        raise InvalidPacError(f"{layout.size} bytes do not fit a buffer's header")
    return layout.unpack_from(binary)


_READERS: Final[dict[int, tuple[str, Callable[[bytes], Any]]]] = {
    PacBufferType.LOGON_INFO: ("logon", read_logon_info),
    PacBufferType.CLIENT_INFO: ("client", _client_info),
    PacBufferType.DELEGATION_INFO: ("delegation", read_delegation_info),
    PacBufferType.UPN_DNS_INFO: ("names", _upn_info),
    PacBufferType.CLIENT_CLAIMS: ("user_claims", read_claims),
    PacBufferType.DEVICE_INFO: ("device", read_device_info),
    PacBufferType.DEVICE_CLAIMS: ("device_claims", read_claims),
    PacBufferType.ATTRIBUTES_INFO: ("attributes", _attributes_info),
    PacBufferType.REQUESTOR_SID: ("requestor_sid", Sid),
    PacBufferType.REQUESTOR_GUID: ("requestor_guid", Guid),
}
