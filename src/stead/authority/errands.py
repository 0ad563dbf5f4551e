"""Several questions to a store that are asked together.

Where whoever asks may be a client, or interrupted, each question is carried to a thread
that is always the server (`stead.server.service_thread`). That takes as long as many
questions do: those that follow each other are carried together.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

_T = TypeVar("_T")


class Errand(Protocol):
    """Has a store asked, and nobody else: others may keep everybody waiting."""

    def __call__(self, ask: Callable[[], _T], /) -> _T:
        """Return what `ask` does, or raise what it raises."""
        ...


def at_once(ask: Callable[[], _T]) -> _T:
    """Ask here, where nothing has to be carried."""
    return ask()
