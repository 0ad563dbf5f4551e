"""What the library is shown of a client, of which it keeps and logs nothing.

What it keeps for as long as a connection lives, and names in its log, is a mark that
says who the client is, and nothing by which one could be it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

import spnego

_IS_SHOWING: Final[ContextVar[bool]] = ContextVar("stead_smb_shown", default=False)
_LOGS: Final = ("spnego._gss", "spnego._ntlm")
"""Where the library writes what it shows, when debugging: a ticket is good for whoever
reads it, for some minutes, and a proof can be guessed at."""


class Tickets(spnego.KerberosCCache):
    """A cache with tickets, whose name is as secret as these are."""

    def __repr__(self) -> str:
        return f"Tickets({self.principal!r})"


class Mark:
    """By what the library finds a session, in place of what was shown."""

    def __init__(self, account: str) -> None:
        self._account: Final = account

    def __repr__(self) -> str:
        return f"Mark({self._account!r})"


@contextmanager
def unlogged() -> Iterator[None]:
    """Have the library not log what it shows meanwhile."""
    for name in _LOGS:
        logger = logging.getLogger(name)
        if _is_quiet not in logger.filters:
            logger.addFilter(_is_quiet)
    before = _IS_SHOWING.set(True)
    try:
        yield
    finally:
        _IS_SHOWING.reset(before)


def _is_quiet(_record: logging.LogRecord) -> bool:
    return not _IS_SHOWING.get()


def forget(session: Any, mark: Mark) -> None:
    """Have the library's session hold a mark, and none of what was shown."""
    session.username, session.password = mark, None
