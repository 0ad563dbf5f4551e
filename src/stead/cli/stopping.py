"""One signal stops a command that serves; the next one does not break that off.

A stop takes some seconds, in which what clients asked for is done, and the end is
recorded. Whoever sends two signals, as supervisors and hasty people do, had neither.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
_SIGNALLED: Final = 128  # what shells add to a signal's number


@contextmanager
def stopping_once() -> Iterator[Callable[[], None]]:
    """Return a block that signals end, in order, until they are said to be heard.

    Yields:
        What says that somebody else hears them: what comes after that one has let go of
        them finds a stop that is under way, and does nothing until the block ends.
    """
    is_heard = threading.Event()

    def handle(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - Python's
        if not is_heard.is_set():
            raise SystemExit(_SIGNALLED + number)

    if threading.current_thread() is not threading.main_thread():
        yield is_heard.set
        return
    before = {number: signal.signal(number, handle) for number in _SIGNALS}
    try:
        yield is_heard.set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
