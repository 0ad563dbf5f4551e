"""The client's end of the pipe for asyncio: calls of one client may overlap.

async with await AsyncPipeClient.connect("/run/notes/pipe") as server:
    mine, yours = await asyncio.gather(server.call("a"), server.call("b"))
"""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import ExitStack
from typing import Any, Final, Self

from stead.errors import (
    RequestTimeoutError,
    ServerClosedError,
    ServerUnavailableError,
    SteadError,
)
from stead.gates.pipe.admitted import Admitted
from stead.gates.pipe.calling import (
    ServerUid,
    attempt,
    hello,
    refuse_wrong_server,
    value_of,
    welcome_of,
)
from stead.gates.pipe.channel import Channel, LocalChannel
from stead.gates.pipe.introduction import ShownTicket, introduced, show
from stead.gates.pipe.limits import PipeLimits
from stead.gates.pipe.messages import (
    Challenge,
    Goodbye,
    Hello,
    Message,
    Refusal,
    Request,
    Response,
    Result,
    plain,
)
from stead.gates.pipe.protocol import PipeProtocol, Role, State
from stead.gates.pipe.reaching import (
    ClientExchange,
    TlsAddress,
    TlsServer,
    failure_of,
    reach_from_loop,
    require_fitting,
    tls_address,
)
from stead.model.quality_of_service import QualityOfService, Tracking
from stead.model.token import ImpersonationLevel

_RETRY_SECONDS: Final = 0.01


class AsyncPipeClient(Admitted):
    """A client for one event loop.

    Attributes:
        timeout: seconds for each call; None waits for ever. A call that is given up
            leaves the connection whole: its answer is thrown away when it comes.
    """

    def __init__(self, channel: Channel, timeout: float | None) -> None:
        """Take over a channel to a verified server; `connect` makes one."""
        self.timeout = timeout
        self._channel = channel
        limits = PipeLimits()
        self._protocol = PipeProtocol(Role.CLIENT, limits)
        self._writing = asyncio.Lock()
        # More than the server takes at a time would only wait in its socket.
        self._places = asyncio.Semaphore(limits.in_flight)
        self._waiting: dict[int, asyncio.Future[Message]] = {}
        self._last_id = 0
        super().__init__()
        self._reading: asyncio.Task[None] | None = None
        self._end: SteadError | None = None

    @classmethod
    async def connect(  # noqa: PLR0913 - keywords, each about another side of it
        cls,
        path: str | os.PathLike[str],
        *,
        level: ImpersonationLevel = ImpersonationLevel.IMPERSONATION,
        tracking: Tracking = Tracking.STATIC,
        effective_only: bool = False,
        server_uid: ServerUid = None,
        timeout: float | None = 30.0,  # noqa: ASYNC109 - kept for every later call
        correlation: str | None = None,
        ticket: ShownTicket | None = None,
        tls: TlsServer | None = None,
    ) -> Self:
        """Connect, verify the server, and say who comes at which level.

        Arguments and errors are those of `PipeClient.connect`.
        """
        quality = QualityOfService(level, tracking, effective_only)
        address = tls_address(path)
        require_fitting(address, tls, has_local=bool(ticket or server_uid is not None))
        if address is not None:
            return await cls._reach(address, tls, quality, timeout, correlation)
        connected = introduced(level, ticket)
        try:
            connected.settimeout(0.0)
            async with asyncio.timeout(timeout):
                # The loop's own sock_connect takes "the queue is full" for success.
                while not attempt(connected, path):  # noqa: ASYNC110 - nothing tells
                    await asyncio.sleep(_RETRY_SECONDS)
                refuse_wrong_server(connected, server_uid)
                if ticket is not None:
                    # What checks it waits, and asks the KDC.
                    await asyncio.to_thread(show, ticket, connected, timeout)
                    connected.settimeout(0.0)
                client = cls(LocalChannel(connected), timeout)
                await client._greet(hello(quality, correlation))
        except TimeoutError as error:
            connected.close()
            raise RequestTimeoutError("the server did not answer in time") from error
        except BaseException:
            connected.close()
            raise
        return client

    @classmethod
    async def _reach(
        cls,
        address: TlsAddress,
        tls: TlsServer | None,
        quality: QualityOfService,
        timeout: float | None,  # noqa: ASYNC109 - kept for every later call
        correlation: str | None,
    ) -> Self:
        told = tls or TlsServer()
        package = None if told.package is None else told.package.name
        try:
            async with asyncio.timeout(timeout):
                channel, exchange = await reach_from_loop(address, told)
                with ExitStack() as undo:
                    if exchange is not None:
                        undo.callback(exchange.close)
                    closing = undo.enter_context(ExitStack())
                    closing.callback(channel.close)
                    client = cls(channel, timeout)
                    await client._greet(hello(quality, correlation, package), exchange)
                    closing.pop_all()
        except TimeoutError as error:
            raise RequestTimeoutError("the server did not answer in time") from error
        return client

    async def call(self, operation: str, /, **arguments: Any) -> Any:
        """Ask for one operation and wait for its value.

        Arguments and errors are those of `PipeClient.call`.
        """
        request = {"operation": operation, "arguments": plain(arguments)}
        try:
            async with asyncio.timeout(self.timeout), self._places:
                return value_of(await self._ask(request))
        except TimeoutError as error:
            raise RequestTimeoutError("the server did not answer in time") from error

    async def close(self) -> None:
        """Say goodbye and close; more than once is no mistake."""
        if self._protocol.state is State.TALKING and not self._writing.locked():
            # A goodbye is a courtesy: the closed socket says the same.
            self._channel.send_now(self._protocol.send(Goodbye()))
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait([self._reading])
        self._fail(ServerClosedError("the connection is closed"))
        self._channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    async def _greet(self, message: Hello, shown: ClientExchange | None = None) -> None:
        answer = await self._first_answer(message)
        while shown is not None and isinstance(answer, Challenge):
            # It may have to ask somebody else for it.
            blob = await asyncio.to_thread(shown.step, answer.blob)
            answer = await self._first_answer(Response(blob=blob))
        welcome = welcome_of(answer)
        if shown is not None:
            await asyncio.to_thread(shown.finish, welcome.blob)
        self._welcome = welcome
        self._reading = asyncio.create_task(self._read())

    async def _first_answer(self, message: Message) -> Message:
        await self._send(self._protocol.send(message))
        received: list[Message] = []
        while not received:
            received = await self._receive()
        return received[0]

    async def _ask(self, request: dict[str, Any]) -> Message:
        if self._end is not None or self._protocol.state is not State.TALKING:
            raise ServerClosedError(str(self._end or "the connection is closed"))
        self._last_id += 1
        number = self._last_id
        answer: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        frame = self._protocol.send(Request(id=number, **request))
        self._waiting[number] = answer
        try:
            await self._send(frame)
            return await answer
        finally:
            self._waiting.pop(number, None)

    async def _send(self, frame: bytes) -> None:
        """Send a whole frame; once begun it is not given up half-way."""
        async with self._writing:
            try:
                await self._channel.send(frame)
            except ConnectionError:
                # The server has closed; it may have left a goodbye that says why.
                return
            except BaseException:
                # The reader sees the end of the stream and ends the other calls.
                self._channel.shut(socket.SHUT_RDWR)
                raise

    async def _receive(self) -> list[Message]:
        try:
            data = await self._channel.receive()
        except ConnectionError as error:
            raise failure_of(error) from error
        if not data:
            raise ServerUnavailableError("the server closed the connection")
        return self._protocol.receive_data(data)

    async def _read(self) -> None:
        """Hand answers to whoever waits, until the connection ends."""
        try:
            while self._end is None:
                for message in await self._receive():
                    self._hand_out(message)
                self._protocol.receive_data(b"")
        except SteadError as error:
            self._fail(error)

    def _hand_out(self, message: Message) -> None:
        if isinstance(message, (Result, Refusal)):
            answer = self._waiting.get(message.id)
            if answer is not None and not answer.done():
                answer.set_result(message)
        elif isinstance(message, Goodbye):
            why = f": {message.reason}" if message.reason else ""
            self._fail(ServerClosedError(f"the server said goodbye{why}"))

    def _fail(self, error: SteadError) -> None:
        """End every call that waits, and all that would come."""
        self._end = self._end or error
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(error)
