"""What an item's value may be: text, bytes, or what JSON holds; copied and bounded."""

from __future__ import annotations

from math import isfinite
from typing import Any, Final

from stead.errors import InvalidRequestError

# Every value that passes here fits a frame (`limits.DdeLimits.frame`), however JSON
# has to spell it.
ITEM_BYTES: Final = 1 << 16
_DEPTH: Final = 32  # JSON goes deeper than any reader's stack
_PARTS: Final = 1 << 12  # empty lists cost little to send and much to hold
_PART_BYTES: Final = 24  # what a number, a name's quotes and commas may take, each
_LEAST, _MOST = -(1 << 63), (1 << 64) - 1  # what readers of JSON take for an integer


def plain_copy(value: object) -> Any:
    """Return a copy of a value, made of Python's own plain types alone.

    Raises:
        InvalidRequestError: it is none that an item can have.
    """
    if isinstance(value, (bytes, bytearray, memoryview)):
        size = value.nbytes if isinstance(value, memoryview) else len(value)
        if size > ITEM_BYTES:
            raise InvalidRequestError(f"the value is larger than {ITEM_BYTES} bytes")
        return bytes(value)
    return _Copy().of(value, _DEPTH)


class _Copy:
    """Copies one value, and counts what it takes."""

    __slots__ = ("_bytes", "_parts")

    def __init__(self) -> None:
        self._bytes = ITEM_BYTES
        self._parts = _PARTS

    def of(self, value: object, depth: int) -> Any:
        """Return a copy; `depth` is how many levels there may still be."""
        self._count(depth)
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, int):
            if not _LEAST <= value <= _MOST:
                raise InvalidRequestError("the value holds a number that is too large")
            return int(value)
        if isinstance(value, float):
            if not isfinite(value):
                raise InvalidRequestError("the value holds a number that is not finite")
            return float(value)
        if isinstance(value, (list, tuple)):
            return [self.of(part, depth - 1) for part in value]
        if isinstance(value, dict):
            return {
                self._name(name): self.of(part, depth - 1)
                for name, part in value.items()
            }
        raise InvalidRequestError(
            "the value holds what json does not know",
            advice="give text, bytes, numbers, lists or dicts of them",
        )

    def _count(self, depth: int) -> None:
        self._parts -= 1
        self._spend(_PART_BYTES)
        if depth == 0:
            raise InvalidRequestError("the value is nested too deep")
        if self._parts < 0:
            raise InvalidRequestError("the value holds too many values")

    def _name(self, name: object) -> str:
        if not isinstance(name, str):
            raise InvalidRequestError("the value holds a key that is not text")
        self._spend(_PART_BYTES)
        return self._text(name)

    def _text(self, text: str) -> str:
        try:
            self._spend(len(text.encode()))
        except UnicodeEncodeError as error:
            raise InvalidRequestError("the value holds what is no text") from error
        return str(text)

    def _spend(self, size: int) -> None:
        self._bytes -= size
        if self._bytes < 0:
            raise InvalidRequestError(f"the value is larger than {ITEM_BYTES} bytes")
