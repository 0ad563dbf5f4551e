"""Numbers of sessions and their tokens: some are kept ready, so that no logon waits."""

from __future__ import annotations

import os
from collections import deque
from typing import Final

from stead.authority.ports import AccountStore
from stead.model.luid import Luid

_MORE: Final = 64


class Numbers:
    """Gives out a store's numbers to one process, many for one question.

    What the process has not given out when it ends, nobody ever gets. Nothing here
    takes a lock: an interrupt loses numbers at most.

    Args:
        store: where they are allocated.
    """

    __slots__ = ("_process", "_ready", "_store")

    def __init__(self, store: AccountStore) -> None:
        self._store = store
        self._process = os.getpid()
        self._ready: deque[Luid] = deque()

    def take(self) -> Luid:
        """Return a number that nobody ever had before, and nobody ever will.

        Raises:
            StoreUnavailableError: the store cannot be asked for more, or belongs to the
                process from which this one was forked.
        """
        if os.getpid() != self._process:
            # What is ready here is the parent's to give out. The store says so.
            return self._store.allocate_luid()
        while True:
            try:
                return self._ready.popleft()
            except IndexError:
                self._ready.extend(self._store.allocate_luids(_MORE))
