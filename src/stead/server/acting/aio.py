"""`client.aio`: acting for clients from an event loop, which never waits for any.

Durable records are waited for on the server's errand threads; what a client does is
waited for by nobody but the task that asked.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import IO, TYPE_CHECKING, Any, TypeVar, Unpack

from stead.errors import EnforcementUnavailableError, ServerClosedError
from stead.monitor.carrying import run_aside
from stead.monitor.ports import Subject
from stead.server.acting.acting import Acting
from stead.server.acting.async_process import AsyncClientProcess
from stead.server.acting.called import Called
from stead.server.acting.file_request import FileRequest
from stead.server.acting.loops import when_told
from stead.server.acting.process_plan import Argument, Options, Plan
from stead.server.acting.processes import Life
from stead.server.acting.starting import SECONDS_TO_START
from stead.server.second_hop import AsyncSecondHop, SecondHop
from stead.server.workers.answers import close_aside

if TYPE_CHECKING:
    import httpx

    from stead.adapters.outbound.gss import AsyncGssClient
    from stead.adapters.outbound.postgres import AsyncPostgresHop

_T = TypeVar("_T")


class ClientAio:
    """The verbs of a `ClientContext` that wait, for asyncio.

    Each raises what the verb of the same name raises.
    """

    __slots__ = ("_acting", "_keep", "_subject")

    def __init__(self, subject: Subject, acting: Acting, *, keep: object) -> None:
        """Take over what a client is made of.

        Args:
            subject: the client.
            acting: does it.
            keep: the client itself: its session lives as long as this does.
        """
        self._subject = subject
        self._acting = acting
        self._keep = keep

    async def open(
        self,
        path: str | os.PathLike[str],
        mode: str = "r",
        *,
        encoding: str = "utf-8",
        timeout: float | None = None,  # noqa: ASYNC109 - ends the worker, not the task
    ) -> IO[Any]:
        """Open a file as the client; cancelling ends the worker that opens it.

        The file itself is an ordinary one, whose reading and writing wait for the disk.
        """
        request = FileRequest.of(path, mode, encoding)
        ask = partial(
            self._acting.open_file,
            self._subject,
            request.path,
            request.flags,
            timeout,
        )
        opened = await self._errand(ask, _give_up)
        return request.file_of(await self._take(opened, close_aside))

    async def run(
        self,
        function: Callable[..., _T],
        /,
        *arguments: object,
        timeout: float | None = None,  # noqa: ASYNC109 - ends the worker, not the task
    ) -> _T:
        """Run a function as the client; cancelling kills the process it runs in."""
        ask = partial(self._acting.call, self._subject, function, arguments, timeout)
        called = await self._errand(ask, _give_up)
        return await self._take(called, _forget)

    async def start(
        self, argv: Sequence[Argument], **options: Unpack[Options]
    ) -> AsyncClientProcess:
        """Start a program as the client.

        Cancelling this ends what was to be started; cancelling a task that waits for
        the process does not, as with `asyncio.subprocess`.
        """
        plan, acting = Plan.of(argv, options), self._acting
        order = partial(acting.order, self._subject, plan)
        life, number = await self._errand(order, lambda pair: pair[0].give_up())
        begun = partial(acting.begun, self._subject, plan, life, number, seconds=0)
        try:
            await self._await_start(life)
            await self._errand(begun, _forget)
        except asyncio.CancelledError:
            life.give_up()
            raise
        try:
            return await AsyncClientProcess.of(life)
        except BaseException:
            life.give_up()  # nobody has it: it would run on by itself
            raise

    async def http(
        self,
        base_url: str = "",
        *,
        timeout: float = 30.0,  # noqa: ASYNC109 - of each step of each request
        follow_redirects: bool = False,
    ) -> httpx.AsyncClient:
        """Return an asynchronous client of `httpx`; see `ClientContext.http`."""
        return await self._hop.http(
            base_url, timeout, follow_redirects=follow_redirects
        )

    async def postgres(self, dsn: str) -> AsyncPostgresHop:
        """Return a database for asyncio; see `ClientContext.postgres`."""
        return await self._hop.postgres(dsn)

    async def gss(self, service: str, *, port: int | None = None) -> AsyncGssClient:
        """Return a context of GSS-API for asyncio; see `ClientContext.gss`."""
        return await self._hop.gss(service, port)

    @property
    def _hop(self) -> AsyncSecondHop:
        hop = SecondHop(self._acting.hops, self._subject, keep=self._keep)
        return AsyncSecondHop(hop)

    def aside(self, act: Callable[[], None]) -> Awaitable[None]:
        """Have something short done on an errand thread, whoever still waits for it.

        On one of the loop's own where the server has none: nothing acts for clients.
        """
        try:
            errands = self._acting.errands
        except EnforcementUnavailableError:
            return run_aside(act)
        return asyncio.wrap_future(errands.submit(act))

    async def _await_start(self, life: Life) -> None:
        """Wait until a process runs or does not; `Acting.begun` tells, and records."""
        with suppress(TimeoutError):
            async with asyncio.timeout(SECONDS_TO_START):
                started = life.child.started
                await when_told(started.add_done_callback)
                if started.exception() is not None:
                    await when_told(life.child.ended.add_done_callback)

    async def _take(self, called: Called[_T], undo: Callable[[_T], object]) -> _T:
        """Wait for a worker, and then for the record of what came of it."""
        try:
            await when_told(called.when_done)
        except asyncio.CancelledError:
            with suppress(ServerClosedError):  # which ended the worker too
                self._acting.errands.submit(called.give_up)
            raise
        return await self._errand(called.take, undo)

    async def _errand(self, act: Callable[[], _T], undo: Callable[[_T], object]) -> _T:
        """Have something short done on an errand thread.

        It is done whatever becomes of this task. If the task is cancelled meanwhile,
        `undo` is done with what came of it.
        """
        future = self._acting.errands.submit(act)
        try:
            await when_told(future.add_done_callback)
        except asyncio.CancelledError:
            future.add_done_callback(partial(_undone, undo))
            raise
        return future.result()


def _undone(undo: Callable[[_T], object], future: Future[_T]) -> None:
    if future.exception() is None:
        undo(future.result())


def _give_up(called: Called[object]) -> None:
    """Have a worker ended that nobody waits for any more."""
    called.give_up()


def _forget(value: object) -> None:
    """Do nothing about what nobody takes."""
