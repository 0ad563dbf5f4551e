"""Values that data alone can say, as bytes and back; no bytes can do more than that.

What a client's process answers is read by the server, and that process may be hostile.
So there is no pickle here: these bytes name no class and run no code. A value comes
back with exactly the type it had, or is refused; a subclass, an enumeration or a
dataclass is refused, because the reader could only guess what it meant.

Each value is a tag of one byte, a count of four bytes, big-endian, and then: that many
bytes, for what holds nothing else; that many values, or pairs of them, for containers.

    >>> read_plain(write_plain({"size": 3, "parts": (1.5, None)}))
    {'size': 3, 'parts': (1.5, None)}

How much reading can cost is bounded by how long the bytes are: no count is believed
before the bytes are there, `MOST_VALUES` bounds what small values cost in memory, and
keys that were made to collide are refused before they are looked up. A number of more
than `LONGEST_KEY` bytes is no key, nor in one.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Hashable, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from itertools import groupby
from operator import itemgetter
from types import MappingProxyType
from typing import Any, Final

from stead.errors import NotPlainDataError
from stead.server.workers.plain_scalars import MISFITS, SCALARS

MOST_VALUES: Final = 1 << 20
"""How many values one message may hold: an empty set is 5 bytes here, 216 in memory."""

DEEPEST: Final = 64
"""How deep containers may lie in one another."""

LONGEST_KEY: Final = 1024
"""How many bytes a number may have that is a key, or in one."""

_HEAD: Final = struct.Struct("!BI")
# What looking up keys of equal hashes may take, in pairs of bytes compared: each takes
# less than a nanosecond, whatever the keys are.
_MOST_COMPARED: Final = 1 << 28
_WHAT_IS_PLAIN: Final = (
    "numbers, text, bytes, dates and times, paths, UUIDs, and lists, tuples, sets and "
    "dicts of these cross between processes; turn other values into these"
)


def write_plain(value: object) -> bytes:
    """Return the bytes of a value.

    Raises:
        NotPlainDataError: it is not of one of the plain types, or holds what is not;
            it holds itself, or lies deeper, or is more, than is allowed.
    """
    writer = _Writer()
    writer.put(value, DEEPEST)
    return b"".join(writer.parts)


def read_plain(data: bytes) -> Any:
    """Return the value that `write_plain` made these bytes of.

    Raises:
        NotPlainDataError: the bytes are none that it makes; nothing else is raised,
            whatever they are.
    """
    reader = _Reader(data)
    value = reader.take(DEEPEST)
    if reader.at != len(data):
        raise _no_value("something follows it")
    return value


_BY_TYPE: Final[Mapping[type, tuple[int, Callable[[Any], bytes]]]] = MappingProxyType(
    {scalar.type: (ord(scalar.tag), scalar.write) for scalar in SCALARS}
)
_BY_TAG: Final[Mapping[int, Callable[[bytes], Any]]] = MappingProxyType(
    {ord(scalar.tag): scalar.read for scalar in SCALARS}
)
_DICT: Final = ord("m")
_SETS: Final[Mapping[type, int]] = MappingProxyType(
    {set: ord("s"), frozenset: ord("z")}
)
_ROWS: Final[Mapping[type, int]] = MappingProxyType({list: ord("l"), tuple: ord("t")})
_SET_OF: Final = MappingProxyType({tag: kind for kind, tag in _SETS.items()})
_ROW_OF: Final = MappingProxyType({tag: kind for kind, tag in _ROWS.items()})


# Of numbers, by their tags: how many bytes more one weighs that is compared with one of
# another type. Both are converted first: the longest `int` becomes a `Decimal` in the
# square of its length, and any `float` becomes one of up to 767 digits.
_WEIGHTS: Final[Mapping[int, int]] = MappingProxyType(
    {
        ord(scalar.tag): 0 if scalar.type is int else 64
        for scalar in SCALARS
        if scalar.type in {int, float, complex, Decimal, Fraction}
    }
)


class _Lookups:
    """Counts what looking up the keys of one message costs, and refuses too much.

    Python's hashes of numbers, and of tuples and frozensets of them, are no secret:
    anybody can make a million keys of one hash. Looking these up compares each with
    each, member by member: at most the square of their bytes, as they are weighed here.

    Attributes:
        weight: of all values in keys up to now.
    """

    __slots__ = ("_compared", "weight")

    def __init__(self) -> None:
        self._compared = 0
        self.weight = 0

    def weigh(self, tag: int, size: int) -> None:
        """Count a value that is a key or in one; raises `ValueError` if it is none."""
        more = _WEIGHTS.get(tag)
        if more is not None and size > LONGEST_KEY:
            raise ValueError(f"a number of more than {LONGEST_KEY} bytes in a key")
        self.weight += _HEAD.size + size + (more or 0)

    def allow(self, keys: Sequence[Hashable], weights: Sequence[int]) -> None:
        """Allow the keys of one container, of such weights, to be looked up."""
        try:
            hashes = list(map(hash, keys))
        except TypeError as error:
            raise _no_value("a key in it cannot be looked up") from error
        # Sorted, because no order of numbers makes that slow.
        by_hash = groupby(sorted(zip(hashes, weights, strict=True)), itemgetter(0))
        for _, crowd in by_hash:
            found = [weight for _, weight in crowd]
            if len(found) > 1:
                self._compared += sum(found) ** 2
        if self._compared > _MOST_COMPARED:
            raise _no_value("too many keys in it have one hash")


class _Writer:
    """Writes values one after the other; there is one part for each.

    Attributes:
        parts: what is written.
    """

    __slots__ = ("_lookups", "parts")

    def __init__(self) -> None:
        self._lookups = _Lookups()
        self.parts: list[bytes] = []

    def put(self, value: Any, depth: int, *, in_key: bool = False) -> None:
        """Write a value that may be `depth` containers deep."""
        kind = type(value)
        scalar = _BY_TYPE.get(kind)
        if scalar is not None:
            tag, write = scalar
            try:
                body = write(value)
                if in_key:
                    self._lookups.weigh(tag, len(body))
                self._add(_HEAD.pack(tag, len(body)) + body)
            except MISFITS as error:
                raise _refusal(kind, error) from error
        elif depth == 0:
            raise _refusal(kind, f"it lies more than {DEEPEST} deep, or in itself")
        else:
            if in_key:
                self._lookups.weigh(0, 0)
            self._put_container(kind, value, depth - 1, in_key=in_key)

    def _put_container(
        self, kind: type, value: Any, depth: int, *, in_key: bool
    ) -> None:
        if kind in _ROWS:
            self._add(_HEAD.pack(_ROWS[kind], len(value)))
            for member in value:
                self.put(member, depth, in_key=in_key)
        elif kind in _SETS:
            self._add(_HEAD.pack(_SETS[kind], len(value)))
            self._put_keys(value, depth)
        elif kind is dict:
            self._add(_HEAD.pack(_DICT, len(value)))
            self._put_keys(value, depth)
            for member in value.values():
                self.put(member, depth, in_key=in_key)
        else:
            raise _refusal(kind, "it is not of a plain type")

    def _put_keys(self, keys: Any, depth: int) -> None:
        weights = []
        for key in keys:
            before = self._lookups.weight
            self.put(key, depth, in_key=True)
            weights.append(self._lookups.weight - before)
        self._lookups.allow(list(keys), weights)

    def _add(self, part: bytes) -> None:
        if len(self.parts) == MOST_VALUES:
            raise NotPlainDataError(
                f"more than {MOST_VALUES} values do not cross between processes",
                advice="return large data as bytes, or write it to a file",
            )
        self.parts.append(part)


class _Reader:
    """Reads values one after the other from bytes that anybody may have made.

    Attributes:
        at: the offset of what is read next.
    """

    __slots__ = ("_data", "_left", "_lookups", "at")

    def __init__(self, data: bytes) -> None:
        self._lookups = _Lookups()
        self._data = data
        self._left = MOST_VALUES
        self.at = 0

    def take(self, depth: int, *, in_key: bool = False) -> Any:
        """Read a value that may be `depth` containers deep."""
        tag, count = self._head()
        read = _BY_TAG.get(tag)
        if read is None:
            if depth == 0:
                raise _no_value(f"it is more than {DEEPEST} deep")
            if in_key:
                self._lookups.weigh(tag, 0)
            return self._container(tag, count, depth - 1, in_key=in_key)
        end = self.at + count
        if end > len(self._data):
            raise _no_value("it ends too early")
        body = self._data[self.at : end]
        self.at = end
        try:
            if in_key:
                self._lookups.weigh(tag, count)
            return read(body)
        except MISFITS as error:
            raise _no_value(f"`{chr(tag)}` is none") from error

    def _head(self) -> tuple[int, int]:
        self._left -= 1
        if self._left < 0:
            raise _no_value(f"it holds more than {MOST_VALUES} values")
        try:
            tag, count = _HEAD.unpack_from(self._data, self.at)
        except struct.error as error:
            raise _no_value("it ends too early") from error
        self.at += _HEAD.size
        return tag, count

    def _container(self, tag: int, count: int, depth: int, *, in_key: bool) -> Any:
        if count > self._left:
            raise _no_value(f"it holds more than {MOST_VALUES} values")
        if tag == _DICT:
            keys = self._keys(count, depth)
            values = self._row(count, depth, in_key=in_key)
            found: Any = dict(zip(keys, values, strict=True))
        elif tag in _SET_OF:
            found = _SET_OF[tag](self._keys(count, depth))
        elif tag in _ROW_OF:
            return _ROW_OF[tag](self._row(count, depth, in_key=in_key))
        else:
            raise _no_value(f"the tag {tag} means nothing")
        if len(found) != count:
            raise _no_value("a key stands in it twice")
        return found

    def _row(self, count: int, depth: int, *, in_key: bool) -> list[Any]:
        return [self.take(depth, in_key=in_key) for _ in range(count)]

    def _keys(self, count: int, depth: int) -> list[Any]:
        keys, weights = [], []
        for _ in range(count):
            before = self._lookups.weight
            keys.append(self.take(depth, in_key=True))
            weights.append(self._lookups.weight - before)
        self._lookups.allow(keys, weights)
        return keys


def _refusal(kind: type, why: object) -> NotPlainDataError:
    name = f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins.")
    return NotPlainDataError(
        f"a value of type `{name}` does not cross between processes: {why}",
        advice=_WHAT_IS_PLAIN,
    )


def _no_value(why: str) -> NotPlainDataError:
    return NotPlainDataError(f"the bytes are no plain value: {why}")
