"""How names are compared, and what a column can hold."""

from __future__ import annotations

from stead.authority import names
from stead.errors import InvalidNameError, InvalidRequestError
from stead.model import arguments
from stead.model.posix_identity import MAXIMUM_ID


def name_key(name: str) -> str:
    """Return what is equal for names that look equal or differ only in case.

    Raises:
        InvalidNameError: the name is not text that every database can hold.
    """
    require_text(name)
    return names.name_key(name)


def require_text(name: str) -> None:
    """Refuse text with NUL or lone surrogates: no database can hold it.

    Raises:
        InvalidNameError: it is such a text.
        InvalidRequestError: it is no text.
    """
    if not is_text(name):
        raise InvalidNameError(f"`{name!a}` is not a name")


def is_text(name: str) -> bool:
    """Tell whether a database can hold this text; if not, it holds none such.

    Raises:
        InvalidRequestError: it is no text.
    """
    arguments.require_text("name", name)
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in name


def is_id(number: int) -> bool:
    """Tell whether this could be a uid or gid at all."""
    return 0 <= number <= MAXIMUM_ID


def require_id(number: int | None) -> None:
    """Refuse a number that could be no uid or gid; None is nothing to refuse."""
    arguments.require_kind("uid or gid", number, (int, type(None)), "it is a number")
    if number is not None and not is_id(number):
        raise InvalidRequestError(f"`{number}` is not a uid or gid")
