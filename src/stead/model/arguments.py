"""What a public function is handed, looked at before anything is done with it.

A type checker finds an argument of another kind. Who runs none hears of it here, and
not as an `AttributeError` of a room that the caller has never heard of, or not at all.

>>> require_kind("name", "alice", str)
>>> require_kind("name", 5, str, "a name is text")
Traceback (most recent call last):
    ...
stead.errors.values.InvalidRequestError: `name` is a `int`
what to do: a name is text
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias, TypeVar

from stead.errors import InvalidRequestError

_T = TypeVar("_T")
Kinds: TypeAlias = type | tuple[type, ...]


def require_kind(what: str, given: object, kinds: Kinds, advice: str = "") -> None:
    """Refuse an argument of another kind.

    Args:
        what: what the caller calls it.
        given: what is given.
        kinds: what it may be.
        advice: what would be one.

    Raises:
        InvalidRequestError: it is nothing of the kind.
    """
    if not isinstance(given, kinds):
        raise wrong_kind(what, given, advice)


def wrong_kind(what: str, given: object, advice: str) -> InvalidRequestError:
    """Return that an argument is of another kind, where it was looked at already."""
    return InvalidRequestError(f"`{what}` is a `{type(given).__name__}`", advice=advice)


def require_text(what: str, given: object) -> None:
    """Refuse what is no text; raises `InvalidRequestError`."""
    require_kind(what, given, str, f"`{what}` is text")


def require_callable(what: str, given: object, advice: str = "") -> None:
    """Refuse what cannot be called; raises `InvalidRequestError`."""
    if not callable(given):
        raise wrong_kind(what, given, advice)


def require_seconds(what: str, given: float | None) -> None:
    """Refuse what is no time to wait; None is no bound.

    Raises:
        InvalidRequestError: it is no number, or not above 0.
    """
    require_kind(what, given, (int, float, type(None)), "say how many seconds")
    if given is not None and not given > 0:
        raise InvalidRequestError(f"`{what}` is a positive number of seconds")


def several(what: str, given: Iterable[_T], kinds: Kinds, advice: str = "") -> list[_T]:
    """Return several of a kind as a list; one text is not several.

    Raises:
        InvalidRequestError: it cannot be gone through, or one is of another kind.
    """
    if isinstance(given, str | bytes) or not isinstance(given, Iterable):
        raise InvalidRequestError(
            f"`{what}` is a `{type(given).__name__}`, and not several", advice=advice
        )
    made = list(given)
    for each in made:
        require_kind(what, each, kinds, advice)
    return made
