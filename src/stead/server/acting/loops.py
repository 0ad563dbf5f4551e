"""Waiting in an event loop for what happens on other threads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress


async def when_told(ask: Callable[[Callable[[object], None]], object]) -> None:
    """Wait until another thread tells; cancelling cancels nothing but the waiting.

    Args:
        ask: is handed what is to be called, once and on whatever thread, with anything.
    """
    loop = asyncio.get_running_loop()
    told: asyncio.Future[None] = loop.create_future()

    def settle() -> None:
        if not told.done():
            told.set_result(None)

    def tell(_: object) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(settle)

    ask(tell)
    await told
