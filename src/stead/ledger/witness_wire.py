"""What a server and a witness say to each other, as frames of bytes.

A frame is its length in four bytes, big-endian, then one byte that says what it is,
then what it says. Numbers have eight bytes, texts two bytes of length before them;
hashes stand one after another, to the end of the frame. Nothing here reads a socket:
`Frames` takes bytes as they come and gives whole frames, and is the same for either
side.

Every question has one answer, in the order they are asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from stead.errors import RemoteProtocolError
from stead.ledger.checkpoint import LONGEST_NOTE
from stead.ledger.tree import HASH_SIZE, LARGEST, split_hashes

MOST_LEAVES: Final = 16_384
"""How many leaves one frame may hand over."""

LARGEST_FRAME: Final = MOST_LEAVES * HASH_SIZE + 1024
"""Bytes of a frame without its length: 513 KiB."""

_LENGTH: Final = 4
_NUMBER: Final = 8
_LONGEST_ORIGIN: Final = 200
_LONGEST_REASON: Final = 500


class Kind(IntEnum):
    """What a frame is: questions below 64, answers above."""

    ASK = 1
    EXTEND = 2
    PROVE_INCLUSION = 3
    PROVE_CONSISTENCY = 4
    STANDING = 65
    PROOF = 66
    REFUSAL = 67


class Why(IntEnum):
    """Why a witness refuses."""

    OTHER_HISTORY = 1
    GAP = 2
    OTHER_ORIGIN = 3
    NOT_POSSIBLE = 4
    NOT_NOW = 5


@dataclass(frozen=True, slots=True)
class Ask:
    """How far are you with this trail?"""

    origin: str


@dataclass(frozen=True, slots=True)
class Extend:
    """Here are leaves, from number `start` on; sign where that leads."""

    origin: str
    start: int
    leaves: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class ProveInclusion:
    """Prove that you have leaf `index` in the tree of `size`."""

    origin: str
    index: int
    size: int


@dataclass(frozen=True, slots=True)
class ProveConsistency:
    """Prove that your tree of `new` leaves begins with that of `old`."""

    origin: str
    old: int
    new: int


@dataclass(frozen=True, slots=True)
class Standing:
    """So far am I, and this is what I signed last; no note if that is nothing yet."""

    size: int
    note: str


@dataclass(frozen=True, slots=True)
class Proof:
    """A proof's hashes."""

    hashes: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Refusal:
    """Not so; with the size that the witness has."""

    why: Why
    size: int
    reason: str


Question = Ask | Extend | ProveInclusion | ProveConsistency
Answer = Standing | Proof | Refusal
Message = Question | Answer


class Frames:
    """Gathers bytes to frames; what is longer than any frame is refused at once."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Take bytes and yield the frames that are whole now, without their length.

        Raises:
            RemoteProtocolError: the other side announces what is no frame. Nothing
                that follows can be read.
        """
        self._buffer += data
        while len(self._buffer) >= _LENGTH:
            size = int.from_bytes(self._buffer[:_LENGTH], "big")
            if not 0 < size <= LARGEST_FRAME:
                raise RemoteProtocolError(f"a frame of {size} bytes is none")
            if len(self._buffer) < _LENGTH + size:
                return
            frame = bytes(self._buffer[_LENGTH : _LENGTH + size])
            del self._buffer[: _LENGTH + size]
            yield frame

    @property
    def is_amid(self) -> bool:
        """Whether a frame has begun and is not whole yet."""
        return bool(self._buffer)


def write_frame(message: Message) -> bytes:
    """Return a message with its length."""
    kind, parts = _WRITERS[type(message)](message)
    frame = bytes([kind]) + b"".join(parts)
    return len(frame).to_bytes(_LENGTH, "big") + frame


def read_question(frame: bytes) -> Question:
    """Read what a server may ask; raises `RemoteProtocolError`."""
    found = _read(frame)
    if not isinstance(found, Question):
        raise RemoteProtocolError("the frame is no question")
    return found


def read_answer(frame: bytes) -> Answer:
    """Read what a witness may answer; raises `RemoteProtocolError`."""
    found = _read(frame)
    if not isinstance(found, Answer):
        raise RemoteProtocolError("the frame is no answer")
    return found


# --- reading --------------------------------------------------------------------------


class _Cursor:
    """What is left of a frame."""

    def __init__(self, frame: bytes) -> None:
        self._frame = frame
        self._at = 0

    def take(self, count: int) -> bytes:
        taken = self._frame[self._at : self._at + count]
        if len(taken) != count:
            raise RemoteProtocolError("the frame ends too early")
        self._at += count
        return taken

    def number(self) -> int:
        number = int.from_bytes(self.take(_NUMBER), "big")
        if number > LARGEST:
            raise RemoteProtocolError(f"`{number}` is no number of a leaf")
        return number

    def text(self, longest: int) -> str:
        size = int.from_bytes(self.take(2), "big")
        if size > longest:
            raise RemoteProtocolError("a text is too long")
        try:
            return self.take(size).decode()
        except UnicodeDecodeError as error:
            raise RemoteProtocolError("a text is no UTF-8") from error

    def hashes(self) -> tuple[bytes, ...]:
        rest = self._frame[self._at :]
        if len(rest) % HASH_SIZE or len(rest) > MOST_LEAVES * HASH_SIZE:
            raise RemoteProtocolError("the frame does not end with whole hashes")
        self._at = len(self._frame)
        return split_hashes(rest)

    def finish(self) -> None:
        if self._at != len(self._frame):
            raise RemoteProtocolError("the frame goes on after its end")


def _read(frame: bytes) -> Message:
    cursor = _Cursor(frame)
    try:
        read = _READERS[Kind(cursor.take(1)[0])]
    except ValueError as error:
        raise RemoteProtocolError("the frame is of no known kind") from error
    message = read(cursor)
    cursor.finish()
    return message


def _read_refusal(cursor: _Cursor) -> Refusal:
    try:
        why = Why(cursor.number())
    except ValueError as error:
        raise RemoteProtocolError("the refusal has no known cause") from error
    return Refusal(why, cursor.number(), cursor.text(4 * _LONGEST_REASON))


_READERS: Final[dict[Kind, Callable[[_Cursor], Message]]] = {
    Kind.ASK: lambda c: Ask(c.text(_LONGEST_ORIGIN)),
    Kind.EXTEND: lambda c: Extend(c.text(_LONGEST_ORIGIN), c.number(), c.hashes()),
    Kind.PROVE_INCLUSION: lambda c: ProveInclusion(
        c.text(_LONGEST_ORIGIN), c.number(), c.number()
    ),
    Kind.PROVE_CONSISTENCY: lambda c: ProveConsistency(
        c.text(_LONGEST_ORIGIN), c.number(), c.number()
    ),
    Kind.STANDING: lambda c: Standing(c.number(), c.text(LONGEST_NOTE)),
    Kind.PROOF: lambda c: Proof(c.hashes()),
    Kind.REFUSAL: _read_refusal,
}


# --- writing --------------------------------------------------------------------------


def _number(number: int) -> bytes:
    return number.to_bytes(_NUMBER, "big")


def _text(text: str) -> bytes:
    binary = text.encode()
    return len(binary).to_bytes(2, "big") + binary


_WRITERS: Final[dict[type, Callable[..., tuple[Kind, tuple[bytes, ...]]]]] = {
    Ask: lambda m: (Kind.ASK, (_text(m.origin),)),
    Extend: lambda m: (
        Kind.EXTEND,
        (_text(m.origin), _number(m.start), *m.leaves),
    ),
    ProveInclusion: lambda m: (
        Kind.PROVE_INCLUSION,
        (_text(m.origin), _number(m.index), _number(m.size)),
    ),
    ProveConsistency: lambda m: (
        Kind.PROVE_CONSISTENCY,
        (_text(m.origin), _number(m.old), _number(m.new)),
    ),
    Standing: lambda m: (Kind.STANDING, (_number(m.size), _text(m.note))),
    Proof: lambda m: (Kind.PROOF, m.hashes),
    Refusal: lambda m: (
        Kind.REFUSAL,
        (_number(m.why), _number(m.size), _text(m.reason[:_LONGEST_REASON])),
    ),
}
