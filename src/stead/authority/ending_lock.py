"""A lock under which endings become due, and which calls them when it is held no more.

A finalizer may end a session on any thread, in the middle of another call: endings are
called under no lock, each once, and what one raises keeps no other from its turn.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, TypeVar

from stead.authority.session import Ending

_log: Final = logging.getLogger("stead.authority")
_T = TypeVar("_T")


class EndingLock:
    """One such lock.

    Attributes:
        due: what is to be called; whoever adds to it holds the lock.
        depth: how many calls are inside, one within the other, on the thread that
            holds it.
    """

    __slots__ = ("_lock", "depth", "due")

    def __init__(self) -> None:
        self.due: list[Ending] = []
        self.depth = 0
        # Re-entrant: a finalizer may end a session while this thread opens one.
        self._lock = threading.RLock()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the lock, and call what became due when it is held no more."""
        due: list[Ending] = []
        try:
            with self._lock:
                depth = self.depth
                try:
                    self.depth = depth + 1
                    yield
                finally:
                    self.depth = depth
                    # A finalizer inside another call leaves it to that one.
                    if not depth:
                        due, self.due = self.due, due
        finally:
            _call_each(due)

    def run(self, act: Callable[[], _T]) -> _T:
        """Do the same without a generator, which keeps the lock if interrupted.

        Blocks hold and release sessions on a program's main thread, where it arrives.
        """
        due: list[Ending] = []
        try:
            with self._lock:
                depth = self.depth
                try:
                    self.depth = depth + 1
                    return act()
                finally:
                    self.depth = depth
                    if not depth:
                        due, self.due = self.due, due
        finally:
            _call_each(due)


def _call_each(due: list[Ending]) -> None:
    left = iter(due)
    try:
        for ending in left:
            _call(ending)
    finally:
        # An interrupt, too, keeps no ending but the one that it falls into.
        for ending in left:
            _call(ending)


def _call(ending: Ending) -> None:
    try:
        ending()
    except Exception:  # noqa: BLE001 - one ending must not keep the others from theirs
        _log.exception("an ending of a logon session failed")
