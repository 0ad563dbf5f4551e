"""The client's end of DDE for asyncio: what is asked of one client may overlap.

async with await AsyncDdeClient.connect("/run/notes/dde") as client:
    async with await client.conversation("prices", "stocks") as stocks:
        print(await stocks.request("acme"))
        async with await stocks.advise("acme", "globex") as news:
            async for item, value in news:
                print(item, value)
"""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import suppress
from typing import Any, Final, Self, cast

from stead.errors import RequestTimeoutError, ServerUnavailableError, SteadError
from stead.gates.dde.awaited import Awaited, Inbox, value_in
from stead.gates.dde.exchange import Exchange
from stead.gates.dde.messages import (
    Asking,
    Connected,
    Data,
    Execute,
    Message,
    Poke,
    QosWas,
    Request,
    Welcome,
    data_of,
    qos_of,
    value_of,
)
from stead.gates.dde.ports import AdviseKind, DdeData
from stead.gates.pipe.calling import ServerUid, attempt, refuse_wrong_server
from stead.gates.pipe.introduction import introduced
from stead.model.quality_of_service import QualityOfService

_RETRY_SECONDS: Final = 0.01
_TIMED_OUT: Final = "the server did not answer in time"


class AsyncWire(asyncio.Protocol):
    """A socket on a loop and what is said over it.

    Attributes:
        exchange: what is asked and awaited.
    """

    def __init__(self) -> None:
        self.exchange: Final = Exchange()
        self._transport: asyncio.Transport | None = None
        self._gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to talk."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Hand out what has come."""
        self.exchange.feed(data)
        self.send()
        if self.exchange.end is not None and self._transport is not None:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's
        """End all that waits."""
        self.exchange.fail(ServerUnavailableError("the server closed the connection"))
        self._gone.set_result(None)

    def send(self) -> None:
        """Send what is to be sent."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(bytes(self.exchange.outgoing))
        self.exchange.outgoing.clear()

    async def wait(self, awaited: Awaited, timeout: float | None) -> Message:  # noqa: ASYNC109 - told as an error of ours
        """Wait for an answer and return it, or raise what it says."""
        try:
            await self.settle(awaited, timeout)
        except BaseException:
            self.exchange.abandon(awaited)
            self.send()
            raise
        return awaited.result()

    async def settle(self, awaited: Awaited, timeout: float | None) -> None:  # noqa: ASYNC109 - as above
        """Wait for an answer, whatever it says."""
        self.send()
        done = asyncio.Event()
        awaited.on_done = done.set
        if not awaited.is_done:
            try:
                async with asyncio.timeout(timeout):
                    await done.wait()
            except TimeoutError as error:
                raise RequestTimeoutError(_TIMED_OUT) from error

    async def close(self) -> None:
        """Say goodbye and close; more than once is no mistake."""
        self.exchange.goodbye()
        self.send()
        if self._transport is not None:
            self._transport.close()
            # A goodbye is a courtesy: nobody waits for it to be read.
            if self._transport.get_write_buffer_size():
                self._transport.abort()
            await asyncio.shield(self._gone)


class AsyncDdeClient:
    """A client for one event loop.

    Attributes:
        timeout: seconds for each call; None waits for ever. A call that is given up
            leaves the connection whole.
    """

    def __init__(self, wire: AsyncWire, timeout: float | None) -> None:
        """Take over a connected and verified socket; `connect` makes one."""
        self.timeout = timeout
        self._wire = wire
        self._welcome: Welcome | None = None

    @classmethod
    async def connect(
        cls,
        path: str | os.PathLike[str],
        *,
        qos: QualityOfService | None = None,
        server_uid: ServerUid = None,
        timeout: float | None = 30.0,  # noqa: ASYNC109 - kept for every later call
        correlation: str | None = None,
    ) -> Self:
        """Connect, verify the server, and set the quality of service.

        Arguments and errors are those of `DdeClient.connect`.
        """
        connected = introduced((qos or QualityOfService()).level)
        try:
            async with asyncio.timeout(timeout):
                wire = await _connect(connected, path, server_uid)
        except TimeoutError as error:
            connected.close()
            raise RequestTimeoutError(_TIMED_OUT) from error
        except BaseException:
            connected.close()
            raise
        client = cls(wire, timeout)
        try:
            await client._greet(correlation)
            if qos is not None:
                await client.set_quality_of_service(qos)
        except BaseException:
            await wire.close()
            raise
        return client

    @property
    def server(self) -> str:
        """The server's name, as it gives it."""
        return "" if self._welcome is None else self._welcome.server

    async def set_quality_of_service(self, qos: QualityOfService) -> QualityOfService:
        """Set what later conversations have; return what was set before.

        A conversation keeps the quality of service that it was begun with.
        """
        awaited = self._wire.exchange.set_qos(qos)
        return qos_of(cast("QosWas", await self._wire.wait(awaited, self.timeout)))

    async def conversation(self, service: str, topic: str) -> AsyncClientConversation:
        """Begin a conversation; errors are those of `DdeClient.conversation`."""
        number, awaited = self._wire.exchange.connect(service, topic)
        try:
            answer = await self._wire.wait(awaited, self.timeout)
        except asyncio.CancelledError:
            self._wire.exchange.terminate(number)  # it may have begun just now
            self._wire.send()
            raise
        granted = qos_of(cast("Connected", answer))
        return AsyncClientConversation(self._wire, number, granted, self.timeout)

    async def close(self) -> None:
        """Say goodbye and close; more than once is no mistake."""
        await self._wire.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    async def _greet(self, correlation: str | None) -> None:
        awaited = self._wire.exchange.hello(correlation)
        self._welcome = cast("Welcome", await self._wire.wait(awaited, self.timeout))


class AsyncClientConversation:
    """One conversation of an `AsyncDdeClient`; see `ClientConversation`.

    Attributes:
        number: its number on its connection.
        quality_of_service: what the server has granted.
        timeout: seconds for each call; None waits for ever.
    """

    def __init__(
        self,
        wire: AsyncWire,
        number: int,
        qos: QualityOfService,
        timeout: float | None,
    ) -> None:
        """Describe it; `AsyncDdeClient.conversation` begins one."""
        self.number: Final = number
        self.quality_of_service: Final = qos
        self.timeout = timeout
        self._wire = wire

    async def request(self, item: str) -> Any:
        """Return an item's value: text, bytes, or what JSON holds."""
        return (await self.request_data(item)).value

    async def request_data(self, item: str) -> DdeData:
        """Return an item's value with its format."""
        answer = await self._transact(Request, item=item)
        return data_of(cast("Data", answer).value)

    async def poke(
        self, item: str, value: object, data_format: str | None = None
    ) -> None:
        """Give an item a value, in the format that fits it or the one given."""
        given = value_of(DdeData.of(value, data_format))
        await self._transact(Poke, item=item, value=given)

    async def execute(self, command: str) -> None:
        """Have a command run."""
        await self._transact(Execute, command=command)

    async def advise(
        self,
        *items: str,
        kind: AdviseKind = AdviseKind.HOT,
        acknowledged: bool = False,
        timeout: float | None = None,  # noqa: ASYNC109 - for each value, later
    ) -> AsyncAdvised:
        """Ask to be told of items' new values; see `ClientConversation.advise`."""
        inbox = Inbox(self.number, items)
        exchange = self._wire.exchange
        try:
            for item in tuple(inbox.items):
                awaited = exchange.advise(inbox, item, kind, acknowledged=acknowledged)
                await self._wire.wait(awaited, self.timeout)
        except BaseException:
            exchange.unadvise_all(inbox)
            self._wire.send()
            raise
        return AsyncAdvised(self._wire, inbox, timeout, closing=self.timeout)

    async def close(self) -> None:
        """Terminate the conversation; more than once is no mistake.

        Returns once the server has ended it as well, or has not in time.
        """
        # Ended, or left to the server to end: there is nothing more to be done.
        with suppress(SteadError):
            awaited = self._wire.exchange.terminate(self.number)
            await self._wire.settle(awaited, self.timeout)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    async def _transact(self, kind: type[Asking], **fields: Any) -> Message:
        awaited = self._wire.exchange.ask(kind, self.number, **fields)
        return await self._wire.wait(awaited, self.timeout)


class AsyncAdvised:
    """New values, as they come: an async iterator of `(item, value)`; see `Advised`.

    Attributes:
        timeout: seconds to wait for each value; None waits for ever.
    """

    def __init__(
        self,
        wire: AsyncWire,
        inbox: Inbox,
        timeout: float | None,
        *,
        closing: float | None,
    ) -> None:
        """Describe it; `AsyncClientConversation.advise` begins one."""
        self.timeout = timeout
        self._wire = wire
        self._inbox = inbox
        self._closing = closing
        self._news = asyncio.Event()
        inbox.on_news = self._news.set

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> tuple[str, Any]:
        try:
            async with asyncio.timeout(self.timeout):
                while not self._inbox.has_news:
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError as error:
            raise RequestTimeoutError(_TIMED_OUT) from error
        message = self._inbox.take()
        if message is None:
            raise StopAsyncIteration
        self._wire.exchange.acknowledge(self._inbox, message)
        self._wire.send()
        return message.item, value_in(message)

    async def close(self) -> None:
        """Be told no more; more than once is no mistake."""
        # If nobody is left who could tell, there is nothing more to be done.
        with suppress(SteadError):
            for awaited in self._wire.exchange.unadvise_all(self._inbox):
                await self._wire.settle(awaited, self._closing)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()


async def _connect(
    connected: socket.socket, path: str | os.PathLike[str], server_uid: ServerUid
) -> AsyncWire:
    """Connect a socket and verify the server."""
    connected.settimeout(0.0)
    # The loop's own sock_connect takes "the queue is full" for success.
    while not attempt(connected, path):  # noqa: ASYNC110 - nothing tells
        await asyncio.sleep(_RETRY_SECONDS)
    refuse_wrong_server(connected, server_uid)
    loop = asyncio.get_running_loop()
    _, wire = await loop.create_unix_connection(AsyncWire, sock=connected)
    return wire
