"""What was read lately, kept within bounds.

Most of what is read is read again and again, or never again. So a thing is kept when it
is read for the second time; what is read once is not held on to, and costs a number.

>>> kept = Kept(most=2)
>>> kept.offer("a", 1)
>>> kept.get("a")
>>> kept.offer("a", 1)
>>> kept.get("a")
1
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

_Key = TypeVar("_Key", bound=Hashable)
_Value = TypeVar("_Value")


class Kept(Generic[_Key, _Value]):
    """Values by what they were read from.

    Emptied when it is full: nobody who sends things can make it grow, and what is in
    use comes back.

    Args:
        most: how many are kept, and how many are remembered as read once.
    """

    __slots__ = ("_most", "_read_once", "_values", "get")

    def __init__(self, most: int) -> None:
        self._most = most
        self._values: dict[_Key, _Value] = {}
        self._read_once: set[int] = set()  # hashes: one that is shared does no harm
        self.get: Callable[[_Key], _Value | None] = self._values.get
        """Return what is kept of a key, or None."""

    def offer(self, key: _Key, value: _Value) -> None:
        """Keep a value that was read just now, if its key was offered before."""
        number = hash(key)
        if number in self._read_once:
            if len(self._values) >= self._most:
                self._values.clear()
            self._values[key] = value
        else:
            if len(self._read_once) >= self._most:
                self._read_once.clear()
            self._read_once.add(number)

    def clear(self) -> None:
        """Forget everything."""
        self._values.clear()
        self._read_once.clear()
