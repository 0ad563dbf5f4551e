"""Running gates until somebody says stop, and then stopping gracefully."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, ExitStack, suppress
from typing import Any, Final, Protocol

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


class Gate(Protocol):
    """A door that clients come through."""

    async def start(self, admit: Callable[..., Awaitable[Any]], /) -> None:
        """Open; hand evidence of who comes to `admit`."""

    async def stop(self) -> None:
        """Take nobody more, let what runs end, close."""


async def serve(
    gates: Sequence[Gate],
    admit: Callable[..., Awaitable[Any]],
    *,
    ready: Callable[[], None] | None = None,
) -> None:
    """Open the gates and keep them open until SIGTERM, SIGINT or cancellation.

    Args:
        gates: opened in this order, closed in the other.
        admit: who decides who comes in.
        ready: called once every gate is open.
    """
    stop = asyncio.Event()
    async with AsyncExitStack() as stack:
        listening = stack.enter_context(ExitStack())
        for gate in gates:
            await gate.start(admit)
            stack.push_async_callback(gate.stop)
        # Until the gates have stopped: a second signal does not break that off.
        listening.callback(_listen(stop))
        if ready is not None:
            ready()
        await stop.wait()


def _listen(stop: asyncio.Event) -> Callable[[], None]:
    """Set `stop` on a signal, where this thread may; return what undoes that.

    Whatever the program does on a signal itself, it does again afterwards.
    """
    loop = asyncio.get_running_loop()
    if threading.current_thread() is not threading.main_thread():
        return lambda: None
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    for number in _SIGNALS:
        loop.add_signal_handler(number, stop.set)

    def undo() -> None:
        for number, handler in before.items():
            with suppress(ValueError, RuntimeError):  # the loop may be closed by now
                loop.remove_signal_handler(number)
            if handler is not None:  # one that was not set by Python cannot be again
                signal.signal(number, handler)

    return undo
