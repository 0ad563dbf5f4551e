"""A place in a text that is being read, and what can be read there.

Every error names the position at which it happened.
"""

from __future__ import annotations

import re

from stead.errors import InvalidSddlError


class Cursor:
    """Reads a text from left to right, once.

    Attributes:
        text: the whole text.
        position: the offset of what is read next.
    """

    __slots__ = ("position", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0

    @property
    def at_end(self) -> bool:
        """Whether nothing is left."""
        return self.position == len(self.text)

    def skip_spaces(self) -> None:
        """Step over spaces; Windows counts no other white space."""
        while self.text.startswith(" ", self.position):
            self.position += 1

    def take(self, literal: str) -> bool:
        """Step over `literal` if it stands here, and tell whether it did."""
        if not self.text.startswith(literal, self.position):
            return False
        self.position += len(literal)
        return True

    def expect(self, literal: str, reason: str) -> None:
        """Step over `literal`; raise `InvalidSddlError` if it does not stand here."""
        if not self.take(literal):
            raise self.error(reason)

    def match(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        """Step over what `pattern` matches here, and return the match."""
        found = pattern.match(self.text, self.position)
        if found is not None:
            self.position = found.end()
        return found

    def error(self, reason: str, *, at: int | None = None) -> InvalidSddlError:
        """Make the error that says where (here, unless `at` says) and why."""
        return InvalidSddlError(self.text, self.position if at is None else at, reason)
