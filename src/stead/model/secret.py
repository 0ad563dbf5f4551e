"""Secrets in memory: shown to nobody, copied by nothing, wiped after use.

A `str` cannot be wiped and tells itself to every log that prints it. A `Secret` can be
wiped, and its repr, pickling, copying and comparing are refused. It cannot undo copies
that the caller made before.

    >>> password = Secret("correct horse")
    >>> password
    Secret(...)
    >>> with password.revealed() as letters:
    ...     len(letters)
    13
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn, Protocol, Self, TypeVar

from stead.errors import InvalidRequestError, SecretUsedError
from stead.model.arguments import require_kind


class _Room(Protocol):
    def __setitem__(self, at: slice, content: bytearray, /) -> None: ...


_A = TypeVar("_A", bound=_Room)


class Secret:
    """A password or key, held as bytes that can be wiped.

    Args:
        content: bytes, or text that is kept as UTF-8.
    """

    __slots__ = ("_content", "_is_wiped")

    def __init__(self, content: str | bytes | bytearray) -> None:
        # A number would be so many zero bytes, and a password that everybody guesses.
        require_kind("secret", content, (str, bytes, bytearray), "text or bytes")
        try:
            made = content.encode() if isinstance(content, str) else content
        except UnicodeEncodeError:
            # From nothing: the error would quote the secret.
            raise InvalidRequestError("the secret is no valid text") from None
        self._content = bytearray(made)
        self._is_wiped = False

    @classmethod
    def of(cls, secret: Secret | str | bytes) -> Secret:
        """Return a secret as it is, or made of what was given."""
        return secret if isinstance(secret, Secret) else cls(secret)

    @property
    def is_wiped(self) -> bool:
        """Whether it was wiped."""
        return self._is_wiped

    @contextmanager
    def revealed(self) -> Iterator[bytes]:
        """Yield the content, for whoever compares or sends it.

        Raises:
            SecretUsedError: it was wiped.
        """
        self.require_unused()
        yield bytes(self._content)

    def require_unused(self) -> None:
        """Return if it was not wiped; raises `SecretUsedError`."""
        if self._is_wiped:
            raise _used()

    def copy_into(self, place: Callable[[int], _A]) -> _A:
        """Copy the content to where somebody keeps it, and through nothing else.

        Args:
            place: returns room for so many bytes, of at least one.

        Returns:
            that room.

        Raises:
            SecretUsedError: it was wiped.
        """
        self.require_unused()
        size = len(self._content)
        room = place(size)
        room[:size] = self._content
        return room

    def wipe(self) -> None:
        """Overwrite the content; again does nothing."""
        self._content[:] = bytes(len(self._content))
        self._content.clear()
        self._is_wiped = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.wipe()

    def __repr__(self) -> str:
        return "Secret(...)"

    __str__ = __repr__

    def __format__(self, format_spec: str, /) -> str:
        return repr(self)

    def __reduce_ex__(self, protocol: object, /) -> NoReturn:
        raise InvalidRequestError("a secret is neither pickled nor copied")

    __hash__ = object.__hash__

    def __eq__(self, other: object) -> bool:
        return self is other


def _used() -> SecretUsedError:
    return SecretUsedError("the secret was used and wiped", advice="ask for it")
