"""One thread, always the server, that does what others may not wait for."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Final

_log: Final = logging.getLogger("stead.server")
_LONGEST_WAIT: Final = 3600.0  # what the clock says later is looked at later


class Housekeeper:
    """Does what it is told, in order, and looks at the clock in between.

    It is started by the constructor: a thread that is created later, by one that
    happens to impersonate, would be the client.
    """

    def __init__(self, name: str, look: Callable[[], float | None]) -> None:
        """Start the thread.

        Args:
            name: the thread's.
            look: does what is due, and returns in how many seconds something will be;
                None if nothing will. It is called after whatever is done.
        """
        self._look = look
        self._acts: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def do(self, act: Callable[[], object]) -> None:
        """Have `act` done soon; never waits, and may be called from anywhere."""
        self._acts.put(act)

    def look(self) -> None:
        """Have the clock looked at soon."""
        self._acts.put(_nothing)

    def close(self) -> None:
        """End the thread when it has done what it was told."""
        self._acts.put(None)
        self._thread.join()

    def _work(self) -> None:
        while True:
            try:
                act = self._acts.get(timeout=self._seconds())
            except Empty:
                continue
            if act is None:
                return
            try:
                act()
            except BaseException:  # noqa: BLE001 - what others wait for must go on
                _log.exception("housekeeping failed")

    def _seconds(self) -> float | None:
        """Return for how long to wait; whatever is wrong there, the thread lives."""
        try:
            seconds = self._look()
        except Exception:  # noqa: BLE001 - what others wait for must go on
            _log.exception("what is due cannot be looked at")
            return _LONGEST_WAIT
        return None if seconds is None else max(0.0, min(_LONGEST_WAIT, seconds))


def _nothing() -> None:
    """Make the thread look at the clock."""
