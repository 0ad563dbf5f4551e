"""Closing a server that its program forgot, when the program ends by itself.

Ends (leaving, logging off, stopping) are queued and nobody waits for them. Without this
a program that just returns would lose the last of them, and say nothing.
"""

from __future__ import annotations

import atexit
from collections.abc import Callable
from contextvars import Context
from functools import partial
from typing import Protocol
from weakref import ref

from stead.monitor import context


class Closable(Protocol):
    """A server, as far as this module is concerned."""

    def close(self) -> None:
        """Stop; again does nothing."""
        ...


def close_at_exit(server: Closable) -> Callable[[], None]:
    """Close a server when the process ends, if it is still there; return what forbears.

    Whatever identity the program left in force on its last thread has no part in it.
    """
    closing = partial(_close, ref(server))
    atexit.register(closing)
    return partial(atexit.unregister, closing)


def _close(server: ref[Closable]) -> None:
    found = server()
    if found is not None:
        context.end_work()
        Context().run(found.close)
