"""A small writer of PACs and of compressed claims, so that tests can bend each part."""

from __future__ import annotations

import math
import struct
import sys
from collections.abc import Callable, Iterable, Sequence

from stead.model.sid import Sid

DOMAIN = Sid.from_string("S-1-5-21-11-22-33")
ELSEWHERE = Sid.from_string("S-1-5-21-44-55-66")
ASSERTED = Sid.from_string("S-1-18-1")
NEVER = 0x7FFF_FFFF_FFFF_FFFF
EXTRA_SIDS = 0x20
RESOURCE_GROUPS = 0x200
HEADERS = bytes.fromhex("01100800cccccccc")


def count_calls(function: Callable[[], object]) -> int:
    """Run a function and count the calls made, of C functions too."""
    seen: list[None] = []
    sys.setprofile(lambda *_: seen.append(None))
    try:
        function()
    finally:
        sys.setprofile(None)
    return len(seen)


class NdrWriter:
    """Writes NDR; what pointers point at is written when `flush` is called."""

    def __init__(self) -> None:
        self.binary = bytearray()
        self._deferred: list[Callable[[], None]] = []
        self._referent = 0x2_0000

    def align(self, size: int) -> None:
        self.binary += bytes(-len(self.binary) % size)

    def number(self, value: int, size: int) -> None:
        self.align(size)
        self.binary += (value % (1 << 8 * size)).to_bytes(size, "little")

    def u16(self, *values: int) -> None:
        for value in values:
            self.number(value, 2)

    def u32(self, *values: int) -> None:
        for value in values:
            self.number(value, 4)

    def filetime(self, value: int) -> None:
        self.u32(value & 0xFFFF_FFFF, value >> 32)

    def pointer(self, write: Callable[[], None] | None) -> None:
        """Write a pointer, and later what it points at (None: at nothing)."""
        if write is None:
            self.u32(0)
            return
        self.u32(self._referent)
        self._referent += 4
        self._deferred.append(write)

    def flush(self) -> None:
        """Write what was deferred, and what that defers, depth first."""
        waiting, self._deferred = self._deferred, []
        for write in waiting:
            write()
            self.flush()

    def unicode(self, text: str | None) -> None:
        binary = (text or "").encode("utf-16-le")
        self.u16(len(binary), len(binary))
        self.pointer(None if text is None else lambda: self.varying(binary))

    def varying(self, binary: bytes) -> None:
        self.u32(len(binary) // 2, 0, len(binary) // 2)
        self.binary += binary

    def string(self, text: str) -> Callable[[], None]:
        return lambda: self.varying((text + "\0").encode("utf-16-le"))

    def sid(self, sid: Sid | None) -> None:
        self.pointer(None if sid is None else lambda: self._sid(sid))

    def _sid(self, sid: Sid) -> None:
        self.u32(sid[1])
        self.binary += sid

    def array(self, items: Sequence[object] | None, write: Callable[..., None]) -> None:
        """Write a count and a pointer to an array of what `write` writes."""
        self.u32(len(items or ()))
        self.pointer(None if items is None else lambda: self._elements(items, write))

    def _elements(self, items: Sequence[object], write: Callable[..., None]) -> None:
        self.u32(len(items))
        for item in items:
            write(item)

    def rid(self, item: tuple[int, int]) -> None:
        self.u32(*item)

    def sid_and_attributes(self, item: tuple[Sid | None, int]) -> None:
        self.sid(item[0])
        self.u32(item[1])

    def serialized(self) -> bytes:
        self.flush()
        self.align(8)
        return serialize(bytes(self.binary))


def serialize(body: bytes) -> bytes:
    return HEADERS + struct.pack("<II", len(body), 0) + body


# --- NDR buffers --------------------------------------------------------------------


def logon_info(
    *,
    rid: int = 1104,
    primary_rid: int = 513,
    rids: Sequence[tuple[int, int]] | None = ((513, 7), (1200, 7)),
    domain: Sid | None = DOMAIN,
    extra: Sequence[tuple[Sid | None, int]] | None = None,
    resource_domain: Sid | None = None,
    resource_rids: Sequence[tuple[int, int]] | None = None,
    flags: int | None = None,
    names: Sequence[str | None] = ("alice", "Alice", "", "", None, None),
) -> bytes:
    if flags is None:
        flags = (EXTRA_SIDS if extra else 0) | (RESOURCE_GROUPS if resource_rids else 0)
    writer = NdrWriter()
    writer.u32(0x2_0000)
    for time in (5, NEVER, NEVER, 1, 2, 3):
        writer.filetime(time)
    for name in names:
        writer.unicode(name)
    writer.u16(1, 2)
    writer.u32(rid, primary_rid)
    writer.array(rids, writer.rid)
    writer.u32(flags)
    writer.binary += bytes(16)
    writer.unicode("DC")
    writer.unicode("EXAMPLE")
    writer.sid(domain)
    writer.u32(0, 0, 0x210, 0, 0, 0, 0, 0, 0, 0)
    writer.array(extra, writer.sid_and_attributes)
    writer.sid(resource_domain)
    writer.array(resource_rids, writer.rid)
    return writer.serialized()


def device_info(
    *,
    rid: int = 1300,
    primary_rid: int = 515,
    domain: Sid | None = DOMAIN,
    rids: Sequence[tuple[int, int]] | None = ((515, 7),),
    extra: Sequence[tuple[Sid | None, int]] | None = None,
    elsewhere: Sequence[tuple[Sid | None, Sequence[tuple[int, int]]]] | None = None,
) -> bytes:
    writer = NdrWriter()

    def domain_groups(item: tuple[Sid | None, Sequence[tuple[int, int]]]) -> None:
        writer.sid(item[0])
        writer.array(item[1], writer.rid)

    writer.u32(0x2_0000, rid, primary_rid)
    writer.sid(domain)
    writer.array(rids, writer.rid)
    writer.array(extra, writer.sid_and_attributes)
    writer.array(elsewhere, domain_groups)
    return writer.serialized()


def delegation_info(target: str, services: Sequence[str] | None) -> bytes:
    writer = NdrWriter()
    writer.u32(0x2_0000)
    writer.unicode(target)
    writer.array(services, writer.unicode)
    return writer.serialized()


# --- claims -------------------------------------------------------------------------

INT64, UINT64, STRING, BOOLEAN = 1, 2, 3, 6
ClaimRow = tuple[str | None, int, Sequence[object] | None]


def claims_set(
    *sources: tuple[int, Sequence[ClaimRow]], reserved: bytes = b""
) -> bytes:
    """Write a serialized CLAIMS_SET of sources with their claims."""
    writer = NdrWriter()
    writer.u32(0x2_0000)
    writer.array(sources, lambda source: _write_source(writer, source))
    writer.u16(0)
    writer.array(reserved or None, lambda octet: writer.number(octet, 1))
    return writer.serialized()


def _write_source(writer: NdrWriter, source: tuple[int, Sequence[ClaimRow]]) -> None:
    writer.u16(source[0])
    writer.array(source[1], lambda row: _write_claim(writer, row))


def _write_claim(writer: NdrWriter, row: ClaimRow) -> None:
    name, kind, values = row
    writer.pointer(None if name is None else writer.string(name))
    writer.u16(kind, kind)

    def value(item: object) -> None:
        if isinstance(item, str):
            writer.pointer(writer.string(item))
        elif item is None:
            writer.pointer(None)
        else:
            writer.number(item, 8)

    writer.array(values, value)


def metadata(
    encoded: bytes | None,
    *,
    compression: int = 0,
    full_size: int | None = None,
    reserved: bytes = b"",
) -> bytes:
    """Write a serialized CLAIMS_SET_METADATA around an encoded claims set."""
    writer = NdrWriter()
    writer.u32(0x2_0000)
    writer.array(encoded, lambda octet: writer.number(octet, 1))
    writer.u16(compression)
    writer.u32(len(encoded or b"") if full_size is None else full_size)
    writer.u16(0)
    writer.array(reserved or None, lambda octet: writer.number(octet, 1))
    return writer.serialized()


def compressed_metadata(encoded: bytes) -> bytes:
    return metadata(compress(encoded), compression=4, full_size=len(encoded))


# --- buffers that are not NDR, and the whole -----------------------------------------


def client_info(name: str, time: int = 9) -> bytes:
    binary = name.encode("utf-16-le")
    return struct.pack("<QH", time, len(binary)) + binary


def upn_info(
    upn: str, dns: str, *, flags: int = 0, sam: str = "", sid: bytes = b""
) -> bytes:
    parts = [upn.encode("utf-16-le"), dns.encode("utf-16-le")]
    if flags & 2:
        parts += [sam.encode("utf-16-le"), sid]
    at, head, tail = 12 + 8 * (len(parts) // 4), [], b""
    for part in parts:
        head.append(struct.pack("<HH", len(part), at + len(tail)))
        tail += part
    return b"".join(head[:2]) + struct.pack("<I", flags) + b"".join(head[2:]) + tail


def signature(kind: int, size: int) -> bytes:
    return struct.pack("<i", kind) + bytes(range(size))


def pac(*buffers: tuple[int, bytes], version: int = 0) -> bytes:
    """Lay buffers out behind their table, each at a multiple of eight."""
    at, table, body = 8 + 16 * len(buffers), b"", b""
    for kind, data in buffers:
        table += struct.pack("<IIQ", kind, len(data), at + len(body))
        body += data + bytes(-len(data) % 8)
    return struct.pack("<II", len(buffers), version) + table + body


# --- LZ77+Huffman -------------------------------------------------------------------

Step = int | tuple[int, int]
"""A literal byte, or a match: distance and length."""
END = 256


def steps(data: bytes) -> list[Step]:
    """Split data into literals, and matches of runs of one byte."""
    found: list[Step] = []
    at = 0
    while at < len(data):
        run = 1
        while at + run < len(data) and data[at + run] == data[at]:
            run += 1
        found.append(data[at])
        if run > 3:
            found.append((1, run - 1))
        else:
            found += data[at + 1 : at + run]
        at += run
    return found


def compress(data: bytes, *, mark_end: bool = True) -> bytes:
    """Compress data of at most one block."""
    return compress_steps([*steps(data), *([END] if mark_end else [])])


def compress_steps(block: Iterable[Step]) -> bytes:
    """Encode one block: a table of lengths, then symbols with their extra bits."""
    block = list(block)
    symbols = [step if isinstance(step, int) else _symbol(*step) for step in block]
    lengths = _lengths(sorted({*symbols, 0, 1}))
    codes = _codes(lengths)
    writer = BitWriter(lengths)
    for step, symbol in zip(block, symbols, strict=True):
        writer.bits(codes[symbol], lengths[symbol])
        if not isinstance(step, int):
            distance, length = step
            writer.length(length - 3)
            power = distance.bit_length() - 1
            writer.bits(distance - (1 << power), power)
    return writer.close()


def _symbol(distance: int, length: int) -> int:
    return 256 + min(length - 3, 15) + 16 * (distance.bit_length() - 1)


def _lengths(used: list[int]) -> dict[int, int]:
    """Give every used symbol a length, so that the code has no gap."""
    base = int(math.log2(len(used)))
    longer = 2 * (len(used) - (1 << base))
    return {symbol: base + (place < longer) for place, symbol in enumerate(used)}


def _codes(lengths: dict[int, int]) -> dict[int, int]:
    code, last, codes = 0, 0, {}
    for symbol in sorted(lengths, key=lambda each: (lengths[each], each)):
        code <<= lengths[symbol] - last
        last = lengths[symbol]
        codes[symbol] = code
        code += 1
    return codes


def table_of(lengths: dict[int, int]) -> bytes:
    return bytes(
        lengths.get(2 * place, 0) | lengths.get(2 * place + 1, 0) << 4
        for place in range(256)
    )


class BitWriter:
    """Writes bits into words, two of which stand before the bytes in between."""

    def __init__(self, lengths: dict[int, int]) -> None:
        self.binary = bytearray(table_of(lengths) + bytes(4))
        self._free, self._word, self._places = 16, 0, [256, 258]

    def bits(self, value: int, count: int) -> None:
        if self._free >= count:
            self._free -= count
            self._word = self._word << count | value
            return
        over = count - self._free
        self._put(self._word << self._free | value >> over)
        self._places.append(len(self.binary))
        self.binary += bytes(2)
        self._free, self._word = 16 - over, value & ((1 << over) - 1)

    def length(self, rest: int) -> None:
        if rest >= 15:
            if rest - 15 < 255:
                self.binary += bytes((rest - 15,))
            elif rest < 65_536:
                self.binary += b"\xff" + rest.to_bytes(2, "little")
            else:
                self.binary += b"\xff\0\0" + rest.to_bytes(4, "little")

    def close(self) -> bytes:
        self._put(self._word << self._free)
        return bytes(self.binary)

    def _put(self, word: int) -> None:
        place = self._places.pop(0)
        self.binary[place : place + 2] = (word & 0xFFFF).to_bytes(2, "little")
