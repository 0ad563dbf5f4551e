"""A server that looks for leaked identities while it serves: logged and recorded.

Beside what `stead.monitor.leaks` watches, the kernel is asked whom it takes each thread
for. One that is somebody else than the server, without a block that says so, and that
stays so over several looks, has an identity that nobody will take back.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import Context
from dataclasses import dataclass
from typing import Final

from stead.errors import RevertOrderError
from stead.model.audit_record import AuditEvent
from stead.monitor.guard import Guard
from stead.monitor.leaks import Leak, LeakWatch
from stead.privileged.thread_ids import ThreadIds, thread_ids

_log: Final = logging.getLogger("stead.server")

SECONDS_BETWEEN_LOOKS: Final = 5.0
_LOOKS: Final = 3
_SECONDS_TO_LOOK_AGAIN: Final = 0.05


@dataclass(frozen=True, slots=True, eq=False)
class KernelLook:
    """Compares what the kernel says of threads with the blocks that are open.

    Attributes:
        watch: knows which blocks are open, and is told.
        own: the server's ids, as the kernel says them of a thread that never changes.
    """

    watch: LeakWatch
    own: ThreadIds

    def __call__(self, wait: Callable[[float], object]) -> None:
        """Look several times; a thread that is in the middle of a switch moves on."""
        strays = self._strays()
        for _ in range(_LOOKS - 1):
            if not strays:
                return
            wait(_SECONDS_TO_LOOK_AGAIN)
            again = self._strays()
            strays = {key: ids for key, ids in strays.items() if again.get(key) == ids}
        for (name, _), ids in strays.items():
            self.watch.say(
                Leak(
                    f"thread `{name}`, no block says by whom,",
                    f"is in force in the kernel: uids {ids.uids}, gids {ids.gids}",
                )
            )

    def _strays(self) -> dict[tuple[str, int], ThreadIds]:
        """Return who is not the server though no block says so, with its progress."""
        found = thread_ids()
        accounted = {
            frame.thread.native_id for frame in self.watch.frames() if frame.is_kernel
        }
        names = {thread.native_id: thread.name for thread in threading.enumerate()}
        return {
            (names.get(number, str(number)), self.watch.turns(number)): ids
            for number, ids in found.items()
            if ids != self.own and number not in accounted
        }


@contextmanager
def watch_leaks(
    guard: Guard, *, seconds: float = SECONDS_BETWEEN_LOOKS
) -> Iterator[LeakWatch]:
    """Watch this process while a server serves.

    Each leak is logged and recorded once for each place (AuditEvent.IDENTITY_LEAKED).

    Args:
        guard: whose trail says what no other server's does.
        seconds: between two looks at threads, tasks and the kernel.
    """
    end = threading.Event()
    with LeakWatch(lambda leak: _tell(leak, guard)) as watch:
        own = thread_ids().get(threading.get_native_id())
        look = None if own is None else KernelLook(watch, own)
        looking = threading.Thread(
            target=lambda: Context().run(_look, watch, look, end, seconds),
            name="stead-leaks",
            daemon=True,
        )
        looking.start()
        try:
            yield watch
        finally:
            end.set()
            looking.join()


def _look(
    watch: LeakWatch, look: KernelLook | None, end: threading.Event, seconds: float
) -> None:
    while not end.wait(seconds):
        watch.sweep()
        if look is not None:
            look(end.wait)


def _tell(leak: Leak, server: Guard) -> None:
    """Log a leak, and queue its record; the watch bounds how many there are."""
    _log.critical("leaked: %s", leak)
    if leak.is_recorded:
        return
    guard = server if leak.guard is None else leak.guard
    guard.recorder.queue(
        AuditEvent.IDENTITY_LEAKED,
        leak.subject,
        None,
        error=RevertOrderError(str(leak)),
        detail={"where": leak.where},
    )
