"""An ASGI application as a gate, served by uvicorn in the server's own loop."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final

import uvicorn

_GRACE_SECONDS: Final = 5


class _Uvicorn(uvicorn.Server):
    def capture_signals(self) -> AbstractContextManager[None]:  # type: ignore[override]  # it is a generator there
        # Signals are the server's: it closes all its gates in order.
        return nullcontext()


class WebGate:
    """Serves an ASGI application on a loopback port.

    Attributes:
        port: the port it listens on, once started.
    """

    def __init__(self, app: Any, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self._app = app
        self._host = host
        self.port = port
        self._server: _Uvicorn | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self, admit: Callable[..., Awaitable[Any]], /) -> None:  # noqa: ARG002 - its clients come through the application
        """Listen, and serve in a task of this loop."""
        listening = socket.create_server((self._host, self.port))
        self.port = listening.getsockname()[1]
        config = uvicorn.Config(
            self._app,
            log_level="warning",
            lifespan="off",
            timeout_graceful_shutdown=_GRACE_SECONDS,
        )
        self._server = _Uvicorn(config)
        self._task = asyncio.create_task(self._server.serve(sockets=[listening]))
        while not self._server.started and not self._task.done():  # noqa: ASYNC110 - uvicorn has no event
            await asyncio.sleep(0.01)
        if self._task.done():
            await self._task

    async def stop(self) -> None:
        """Take no more requests, let what runs end, close.

        What has not ended in some seconds is cancelled.
        """
        if self._server is not None and self._task is not None:
            self._server.should_exit = True
            await self._task
