"""The connections of one session to file servers, one to each."""

from __future__ import annotations

import threading
from collections.abc import Callable

from stead.adapters.outbound.lifeline import Lifeline
from stead.adapters.outbound.smb_connection import OwnConnection
from stead.adapters.outbound.smb_shown import Mark
from stead.errors import ServerUnavailableError
from stead.model.delegation_policy import NetworkTarget


class SmbPool:
    """The connections of one session to file servers."""

    def __init__(self, line: Lifeline) -> None:
        self._line = line
        self._open: dict[NetworkTarget, tuple[OwnConnection, Mark]] = {}
        # Lent no more: what is open by them lives until their ticket ends.
        self._left: list[OwnConnection] = []
        self._turns: dict[NetworkTarget, threading.Lock] = {}
        # What was said of each that could not be reached, and what to do about it.
        self._failed: dict[NetworkTarget, tuple[str, str]] = {}
        self._is_closed = False
        # Never held while a server is asked: whoever closes waits for none.
        self._lock = threading.Lock()
        line.at_end(self.close)

    def take(
        self, target: NetworkTarget, make: Callable[[], tuple[OwnConnection, Mark]]
    ) -> tuple[OwnConnection, Mark]:
        """Return a connection that is in order; a new one, if there is none.

        Two threads that ask for one server at once wait for one another. Who waits
        while it cannot be reached hears the same, and does not wait as long again.

        Raises:
            LogonSessionEndedError: the session has ended meanwhile.
            ServerUnavailableError: the server cannot be reached.
        """
        with self._lock:
            turn = self._turns.setdefault(target, threading.Lock())
            before = self._failed.get(target)
        with turn:
            with self._lock:
                found = self._open.get(target)
                failed = self._failed.get(target)
            if found is None and failed is not None and failed is not before:
                raise ServerUnavailableError(failed[0], advice=failed[1])
            if found is not None and not _is_in_order(found[0]):
                self.drop(target, found[0])
                found = None
            if found is None:
                try:
                    found = make()
                except ServerUnavailableError as error:
                    with self._lock:  # one of its own, however often it says this
                        self._failed[target] = (str(error), error.advice)
                    raise
                self._keep(target, found)
            return found

    def drop(self, target: NetworkTarget, old: OwnConnection) -> None:
        """Lend a connection no more; what is open by it lives as long as it does."""
        with self._lock:
            found = self._open.get(target)
            if found is not None and found[0] is old:
                del self._open[target]
            left = [*self._left, old] if old.is_up else self._left
            over = [each for each in left if self._is_closed or each.is_over]
            self._left = [each for each in left if each not in over]
        for each in over:
            each.disconnect()

    def _keep(self, target: NetworkTarget, made: tuple[OwnConnection, Mark]) -> None:
        with self._lock:
            if not self._is_closed:
                self._open[target] = made
                return
        made[0].disconnect()
        self._line.require_not_over()

    def close(self) -> None:
        """Close them all; what is being made is closed by whoever makes it."""
        with self._lock:
            self._is_closed = True
            found, self._open = self._open, {}
            left, self._left = self._left, []
        for connections in (*left, *(each for each, _ in found.values())):
            connections.disconnect()


def _is_in_order(connection: OwnConnection) -> bool:
    return connection.is_up and connection.lasts and not connection.is_silent
