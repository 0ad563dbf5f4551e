"""Where something may wait, and doing it elsewhere while an event loop goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextvars import Context
from types import MappingProxyType
from typing import Final, TypeVar

from stead.errors import InvalidRequestError, LoopThreadError
from stead.monitor import context, loops

_T = TypeVar("_T")

_FROM_LOOPS: Final[Mapping[str, str]] = MappingProxyType({
    "http": "use `await client.aio.http()`",
    "smb": "call it from a thread: `await asyncio.to_thread(...)`",
    "postgres": "use `await client.aio.postgres(dsn)`",
    "gss": "use `await client.aio.gss(service)`",
})  # fmt: skip


async def aside(act: Callable[[], _T]) -> _T:
    """Have something done on a thread of the loop's own, where nobody is in force."""
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(None, Context().run, act)


def require_may_wait(verb: str) -> None:
    """Return where a verb may wait for another machine, as the server's own thread.

    Raises:
        LoopThreadError: an event loop runs on this thread.
        InvalidRequestError: this is a client's block: what is started here might be
            the client, or refused halfway.
    """
    if loops.is_loop_thread():
        raise LoopThreadError(
            f"`client.{verb}` waits, and an event loop runs on this thread",
            advice=_FROM_LOOPS[verb],
        )
    frame = context.client_frame()
    if frame is not None:
        raise InvalidRequestError(
            f"`client.{verb}` is used inside the impersonation block entered at "
            f"{frame.where}: there a thread is its client on this machine alone",
            advice="use it outside the block: it is the client by itself",
        )
