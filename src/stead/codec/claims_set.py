"""The claims that a PAC carries about a user or a device ([MS-ADTS] 2.2.18).

A CLAIMS_SET_METADATA holds a CLAIMS_SET as bytes, compressed or not; that one holds
arrays of claims, one for each source. Claims of a source other than the directory and
certificates are read and left out, as Windows leaves them out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from stead.codec.ndr import ArrayHeader, NdrReader
from stead.codec.xpress_huffman import decompress
from stead.errors import InvalidClaimError, InvalidPacError
from stead.model.claim import Claim, ClaimType, ClaimValue

_UNCOMPRESSED: Final = 0
_XPRESS_HUFFMAN: Final = 4
_SOURCES: Final = frozenset({1, 2})  # CLAIMS_SOURCE_TYPE: directory, certificate
_SOURCE_SIZE: Final = 12
_ENTRY_SIZE: Final = 16
_HYPER_SIZE: Final = 8
_POINTER_SIZE: Final = 4


class _Source(NamedTuple):
    """The fixed part of a CLAIMS_ARRAY ([MS-ADTS] 2.2.18.6)."""

    number: int
    entries: ArrayHeader


class _Entry(NamedTuple):
    """The fixed part of a CLAIM_ENTRY ([MS-ADTS] 2.2.18.5) that has a name."""

    type: ClaimType
    values: ArrayHeader


def read_claims(binary: bytes) -> tuple[Claim, ...]:
    """Read a serialized CLAIMS_SET_METADATA ([MS-ADTS] 2.2.18.8).

    Args:
        binary: the whole PAC buffer; empty where nothing is claimed.

    Returns:
        The claims in their order; names may repeat.

    Raises:
        InvalidPacError: it contradicts itself, unfolds into too much, or holds a claim
            of a type that no claim of a ticket has.
    """
    if not binary:
        return ()
    reader = NdrReader.from_serialized(binary)
    encoded = _read_metadata(reader) if reader.pointer() else b""
    reader.finish()
    if not encoded:
        return ()
    inner = NdrReader.from_serialized(encoded)
    claims = read_claims_set(inner) if inner.pointer() else ()
    inner.finish()
    return claims


def _read_metadata(reader: NdrReader) -> bytes:
    """Return the encoded claims set, decompressed."""
    header = reader.array_header()
    compression, full_size = reader.u16(), reader.u32()
    reserved = _reserved(reader)
    encoded = reader.octets(header)
    reader.octets(reserved)
    if compression == _XPRESS_HUFFMAN and encoded:
        return decompress(encoded, full_size)
    if compression not in {_UNCOMPRESSED, _XPRESS_HUFFMAN}:
        raise InvalidPacError(f"claims compression `{compression}` is not supported")
    if len(encoded) != full_size:
        raise InvalidPacError(f"claims have {len(encoded)} bytes, not {full_size}")
    return encoded


def read_claims_set(reader: NdrReader) -> tuple[Claim, ...]:
    """Read a CLAIMS_SET ([MS-ADTS] 2.2.18.7) and what its pointers point at.

    Raises:
        InvalidPacError: it contradicts itself, or a claim is none.
    """
    header = reader.array_header()
    reserved = _reserved(reader)
    sources = [_source(reader) for _ in reader.array(header, size=_SOURCE_SIZE)]
    claims: list[Claim] = []
    for source in sources:
        found = _claims(reader, source)
        if source.number in _SOURCES:
            claims += found
    reader.octets(reserved)
    return tuple(claims)


def _reserved(reader: NdrReader) -> ArrayHeader:
    """Read the reserved fields, which nobody uses, and whose bytes may follow."""
    reader.u16()
    return reader.array_header()


def _source(reader: NdrReader) -> _Source:
    return _Source(reader.u16(), reader.array_header())


def _claims(reader: NdrReader, source: _Source) -> list[Claim]:
    entries = [_entry(reader) for _ in reader.array(source.entries, size=_ENTRY_SIZE)]
    return [_claim(reader, entry) for entry in entries]


def _entry(reader: NdrReader) -> _Entry:
    has_name, kind = reader.pointer(), reader.u16()
    if reader.u16() != kind:  # the union's own discriminant
        raise InvalidPacError("a claim is of two types at once")
    if kind not in _VALUE_READERS:
        raise InvalidPacError(f"claim type `{kind}` is unknown")
    if not has_name:
        raise InvalidPacError("a claim has no name")
    return _Entry(ClaimType(kind), reader.array_header())


def _claim(reader: NdrReader, entry: _Entry) -> Claim:
    name = reader.terminated_text()
    values = _VALUE_READERS[entry.type](reader, entry)
    try:
        return Claim(name, entry.type, values)
    except InvalidClaimError as error:
        raise InvalidPacError(str(error)) from error


def _integers(reader: NdrReader, entry: _Entry) -> tuple[int, ...]:
    count = len(reader.array(entry.values, size=_HYPER_SIZE))
    return reader.hypers(count, signed=entry.type is ClaimType.INT64)


def _booleans(reader: NdrReader, entry: _Entry) -> tuple[bool, ...]:
    numbers = _integers(reader, entry)
    if not set(numbers) <= {0, 1}:
        raise InvalidPacError("a boolean claim is neither 0 nor 1")
    return tuple(map(bool, numbers))


def _strings(reader: NdrReader, entry: _Entry) -> tuple[str, ...]:
    pointers = [
        reader.pointer() for _ in reader.array(entry.values, size=_POINTER_SIZE)
    ]
    if not all(pointers):
        raise InvalidPacError("a string claim has a value that is not there")
    return tuple(reader.terminated_text() for _ in pointers)


_VALUE_READERS: Final[
    dict[ClaimType, Callable[[NdrReader, _Entry], tuple[ClaimValue, ...]]]
] = {
    ClaimType.INT64: _integers,
    ClaimType.UINT64: _integers,
    ClaimType.STRING: _strings,
    ClaimType.BOOLEAN: _booleans,
}
