"""The LZ77+Huffman decompression of claims ([MS-XCA] 2.2).

The size is announced beside the compressed bytes. It is held against a fixed limit
first, and what comes out must have exactly that size: a few bytes that would unfold
into very many are refused before they do. Each symbol uses up input and makes output,
so work is bounded by both.

Output comes in blocks of 64 KiB, each with its own code: 512 symbols, the first 256 of
them literal bytes, the others matches (copies of what came out before).
"""

from __future__ import annotations

from typing import Final

from stead.errors import InvalidPacError

MAXIMUM_SIZE: Final = 1 << 20
"""Bytes: many times what claims in a ticket of the usual 64 KiB unfold into."""

_TABLE_SIZE: Final = 256
_LONGEST_CODE: Final = 15
_CODES: Final = 1 << _LONGEST_CODE
_BLOCK_SIZE: Final = 65_536
_FIRST_MATCH: Final = 256
_END: Final = 256
_LEAST_MATCH: Final = 3
_LONG_MATCH: Final = 15  # in the symbol: a byte follows
_LONGER_MATCH: Final = 255  # in that byte: a word follows
_WORD: Final = 2
_REGISTER: Final = 0xFFFF_FFFF


def decompress(binary: bytes, size: int) -> bytes:
    """Decompress bytes of a known size.

    Args:
        binary: the compressed bytes, all of them.
        size: how many bytes they stand for.

    Raises:
        InvalidPacError: the size is too large, or the bytes are not what a compressor
            makes of that many.
    """
    if not 0 < size <= MAXIMUM_SIZE:
        raise InvalidPacError(f"compressed claims cannot stand for {size} bytes")
    stream = _BitStream(binary)
    output = bytearray()
    table: list[tuple[int, int]] = []
    while len(output) < size:
        table = _decoding_table(stream.open_block())
        _read_block(stream, table, output, size=size)
    _require_end(stream, table)
    return bytes(output)


def _require_end(stream: _BitStream, table: list[tuple[int, int]]) -> None:
    """Require the mark for the end; without it only zeros may be left.

    [MS-XCA] 2.1.4.3 only recommends the mark.
    """
    if stream.is_blank:
        return
    if stream.symbol(table) != _END or stream.remaining:
        raise InvalidPacError("compressed claims go on after their end")


def _decoding_table(lengths: bytes) -> list[tuple[int, int]]:
    """Return the symbol and its length for each value of the next 15 bits."""
    by_length: list[list[int]] = [[] for _ in range(_LONGEST_CODE + 1)]
    for place, pair in enumerate(lengths):
        by_length[pair & 0xF].append(2 * place)
        by_length[pair >> 4].append(2 * place + 1)
    table: list[tuple[int, int]] = []
    for length in range(1, _LONGEST_CODE + 1):
        for symbol in by_length[length]:
            table.extend([(symbol, length)] * (_CODES >> length))
            if len(table) > _CODES:
                raise InvalidPacError("a code of compressed claims has too many words")
    if len(table) < _CODES:
        raise InvalidPacError("a code of compressed claims has too few words")
    return table


def _read_block(
    stream: _BitStream, table: list[tuple[int, int]], output: bytearray, *, size: int
) -> None:
    end = min(size, len(output) + _BLOCK_SIZE)
    while len(output) < end:
        symbol = stream.symbol(table)
        if symbol < _FIRST_MATCH:
            output.append(symbol)
            continue
        power, low = divmod(symbol - _FIRST_MATCH, 16)
        length = _match_length(stream, low)
        distance = (1 << power) + stream.bits(power)
        if length > size - len(output):
            raise InvalidPacError(f"compressed claims exceed their {size} bytes")
        _copy(output, distance, length)


def _match_length(stream: _BitStream, low: int) -> int:
    """Return a match's length, whose longer forms stand between the words."""
    length = low
    if low == _LONG_MATCH:
        length = _LONG_MATCH + stream.number(1)
        if length == _LONG_MATCH + _LONGER_MATCH:
            length = stream.number(_WORD) or stream.number(2 * _WORD)
            if length < _LONG_MATCH:
                raise InvalidPacError("a match in compressed claims has a wrong length")
    return length + _LEAST_MATCH


def _copy(output: bytearray, distance: int, length: int) -> None:
    """Append bytes that came out before; they may overlap what is appended."""
    if distance > len(output):
        raise InvalidPacError("a match in compressed claims begins before them")
    pattern = bytes(output[-distance:][:length])
    output += (pattern * (length // len(pattern) + 1))[:length]


class _BitStream:
    """Bits from 16-bit words, with whole bytes between them ([MS-XCA] 2.2.4)."""

    __slots__ = ("_binary", "_extra", "_position", "_register")

    def __init__(self, binary: bytes) -> None:
        self._binary = binary
        self._position = 0
        self._register = 0
        self._extra = 0

    @property
    def is_blank(self) -> bool:
        """Whether every byte is read, and only zero bits are unused."""
        return not self.remaining and not self._register

    @property
    def remaining(self) -> int:
        """How many bytes nobody has read yet."""
        return len(self._binary) - self._position

    def open_block(self) -> bytes:
        """Return the table that begins a block, and read the words behind it."""
        table = self._take(_TABLE_SIZE)
        self._register = self.number(_WORD) << 16 | self.number(_WORD)
        self._extra = 16
        return table

    def symbol(self, table: list[tuple[int, int]]) -> int:
        """Use the bits of one symbol."""
        symbol, length = table[self._register >> (32 - _LONGEST_CODE)]
        self._drop(length)
        return symbol

    def bits(self, count: int) -> int:
        """Use up to 15 bits as a number."""
        number = self._register >> (32 - count)
        self._drop(count)
        return number

    def number(self, size: int) -> int:
        """Read a little-endian number that stands between the words."""
        return int.from_bytes(self._take(size), "little")

    def _drop(self, count: int) -> None:
        """Use bits, and read a word when fewer than 16 would be left."""
        self._register = self._register << count & _REGISTER
        self._extra -= count
        if self._extra < 0:
            self._register |= self.number(_WORD) << -self._extra
            self._extra += 16

    def _take(self, size: int) -> bytes:
        start, end = self._position, self._position + size
        if end > len(self._binary):
            raise InvalidPacError("compressed claims end too early")
        self._position = end
        return self._binary[start:end]
