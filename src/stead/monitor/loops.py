"""Which event loop and which task this is: what a thread runs besides its own code."""

from __future__ import annotations

import asyncio
import sys


def running_task() -> asyncio.Task[object] | None:
    """Return the asyncio task that runs on this thread, or None."""
    if asyncio._get_running_loop() is None:  # noqa: SLF001 - the cheap documented probe
        return None
    return asyncio.current_task()


def is_loop_thread() -> bool:
    """Tell whether an event loop runs on this thread right now, asyncio's or trio's."""
    return asyncio._get_running_loop() is not None or in_trio()  # noqa: SLF001 - as above


def in_trio() -> bool:
    """Tell whether this is code of trio's, whose tasks nobody here knows apart."""
    trio = sys.modules.get("trio.lowlevel")
    if trio is None:
        return False
    if hasattr(trio, "in_trio_run"):
        return bool(trio.in_trio_run())
    if getattr(trio.__spec__, "_initializing", False):
        return False  # another thread imports it: nothing of trio's runs yet
    try:  # before trio 0.23
        trio.current_trio_token()
    except RuntimeError:
        return False
    return True
