"""One client at the pipe, from its first byte to the last.

1. The Hello is read, within its time.
2. `admit` is asked; a refusal is number 0 and ends the connection.
3. Requests are started as they come, and answered as they finish, in any order.
4. When the client leaves, dies or blunders, or the gate stops, nothing new is started;
   what was started finishes. It is never cut off because of the client: what was
   written down as allowed is done, and an answer nobody waits for is thrown away.
5. The conversation is closed, then the socket.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from contextvars import Context
from typing import Final

from stead.errors import InvalidMessageError, RemoteProtocolError, SteadError
from stead.gates.pipe.limits import PipeLimits
from stead.gates.pipe.messages import (
    VERSION,
    Goodbye,
    Hello,
    Message,
    Refusal,
    Request,
    Welcome,
    level_name,
    level_of,
    result,
)
from stead.gates.pipe.peer import PeerEvidence
from stead.gates.pipe.protocol import PipeProtocol, Role, State
from stead.gates.ports import Admit, Conversation, public_refusal

logger = logging.getLogger(__name__)

_READ_SIZE: Final = 1 << 16
_ANSWERABLE: Final = frozenset({State.GREETED, State.TALKING, State.LEAVING})
_SILENT: Final = frozenset({State.LEAVING, State.CLOSED})


class Connection:
    """Serves one client. The socket and the evidence are its own to close."""

    def __init__(
        self,
        client: socket.socket,
        evidence: PeerEvidence,
        *,
        name: str,
        limits: PipeLimits,
    ) -> None:
        self.evidence = evidence
        self._socket = client
        self._name = name
        self._limits = limits
        self._protocol = PipeProtocol(Role.SERVER, limits)
        self._writing = asyncio.Lock()
        self._running: set[asyncio.Task[None]] = set()
        self._admitting: asyncio.Future[Conversation] | None = None
        self._frame_began: float | None = None
        self._farewell = ""
        self._is_stopping = False

    async def serve(self, admit: Admit[PeerEvidence]) -> None:
        """Serve the client until it leaves or the gate stops."""
        conversation = None
        try:
            conversation = await self._open(admit)
            if conversation is not None:
                await self._converse(conversation)
        except RemoteProtocolError as error:
            logger.debug("%s broke the protocol: %s", self.evidence.describe(), error)
            await self._dismiss(error.public)
        except (TimeoutError, ConnectionError):
            logger.debug("%s took too long or is gone", self.evidence.describe())
            await self._dismiss("the client took too long")
        finally:
            await self._finish(conversation)

    def stop(self, reason: str) -> None:
        """Take no more requests; `serve` ends once those that run have ended."""
        self._is_stopping = True
        self._farewell = reason
        # The reader sees the end of the stream at once, the writer may go on.
        self._shut(socket.SHUT_RD)

    def cancel_requests(self) -> None:
        """Cancel what still runs."""
        if self._admitting is not None:
            self._admitting.cancel()
        for task in self._running:
            task.cancel()

    async def _open(self, admit: Admit[PeerEvidence]) -> Conversation | None:
        """Return the admitted client's conversation, or None if there is none."""
        async with asyncio.timeout(self._limits.hello_seconds):
            hello = await self._read_hello()
        if hello is None:
            return None
        self._protocol.receive_data(b"")  # nothing may follow before the Welcome
        conversation = await self._admit(hello, admit)
        if conversation is not None:
            await self._welcome(conversation)
        return conversation

    async def _read_hello(self) -> Hello | None:
        """Return the Hello, or None if the client left without one."""
        while data := await self._receive():
            for message in self._protocol.receive_data(data):
                return message if isinstance(message, Hello) else None
        return None

    async def _admit(
        self, hello: Hello, admit: Admit[PeerEvidence]
    ) -> Conversation | None:
        try:
            self._admitting = asyncio.ensure_future(
                admit(self.evidence, level_of(hello), hello.correlation)
            )
            return await self._admitting
        except Exception as error:  # noqa: BLE001 - the outermost loop of a client
            self._log_failure(error, "admit")
            await self._send(_refusal(0, error))
            return None

    async def _welcome(self, conversation: Conversation) -> None:
        welcome = Welcome(
            version=VERSION,
            server=self._name,
            account=conversation.account,
            level=level_name(conversation.level),
        )
        await self._send(welcome)

    async def _converse(self, conversation: Conversation) -> None:
        """Start what the client asks until it leaves or must leave."""
        while self._protocol.state not in _SILENT and not self._is_stopping:
            # First what a full protocol held back, then what the socket has.
            messages = self._protocol.receive_data(b"")
            if not messages and self._protocol.is_full:
                await asyncio.wait(self._running, return_when="FIRST_COMPLETED")
                continue
            if not messages:
                data = await self._receive_in_time()
                if not data:
                    return
                messages = self._protocol.receive_data(data)
            if messages:
                self._frame_began = None
            for message in messages:
                self._start(conversation, message)

    async def _receive_in_time(self) -> bytes:
        """Read, unless a message or the client's silence lasts too long."""
        while True:
            try:
                async with asyncio.timeout_at(self._deadline()):
                    return await self._receive()
            except TimeoutError:
                if self._protocol.is_mid_frame or not self._running:
                    raise

    def _deadline(self) -> float | None:
        now = asyncio.get_running_loop().time()
        if self._protocol.is_mid_frame:
            if self._frame_began is None:
                self._frame_began = now
            return self._frame_began + self._limits.frame_seconds
        idle = self._limits.idle_seconds
        return None if idle is None else now + idle

    async def _receive(self) -> bytes:
        loop = asyncio.get_running_loop()
        data = await loop.sock_recv(self._socket, _READ_SIZE)
        # While bytes are there, sock_recv does not wait: let the others have a turn.
        await asyncio.sleep(0)
        return data

    def _start(self, conversation: Conversation, message: Message) -> None:
        if not isinstance(message, Request):
            return
        # An empty context: what one request sets, no other finds.
        task = asyncio.create_task(
            self._answer(conversation, message), context=Context()
        )
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _answer(self, conversation: Conversation, request: Request) -> None:
        try:
            value = await conversation.call(request.operation, request.arguments)
            await self._send(result(request.id, value))
        except Exception as error:  # noqa: BLE001 - the outermost loop of a request
            self._log_failure(error, request.operation)
            await self._send(_refusal(request.id, error))

    async def _dismiss(self, reason: str) -> None:
        """Tell the client why it must go, and be rid of it at once."""
        await self._send(Goodbye(reason=reason))
        self._shut(socket.SHUT_RDWR)

    async def _finish(self, conversation: Conversation | None) -> None:
        """Let requests end, say goodbye, and close everything in order."""
        try:
            while self._running:
                await asyncio.wait(self._running)
            await self._send(Goodbye(reason=self._farewell))
        finally:
            self._socket.close()
            try:
                if conversation is not None:
                    await conversation.close()
            finally:
                self.evidence.close()

    async def _send(self, message: Message) -> None:
        """Send, unless there is nobody left to send to.

        Raises:
            InvalidMessageError: the message does not fit; nothing was sent.
        """
        async with self._writing:
            state = self._protocol.state
            is_last = isinstance(message, Goodbye) and state is not State.CLOSED
            if not is_last and state not in _ANSWERABLE:
                return
            frame = self._protocol.send(message)
            try:
                async with asyncio.timeout(self._limits.send_seconds):
                    await self._send_all(frame)
            except OSError:  # TimeoutError is one: gone, or it does not read
                logger.debug("%s did not take it", self.evidence.describe())

    async def _send_all(self, frame: bytes) -> None:
        """Send a whole frame; after half a one nothing else may follow."""
        try:
            await asyncio.get_running_loop().sock_sendall(self._socket, frame)
        except BaseException:
            self._shut(socket.SHUT_RDWR)
            raise

    def _shut(self, how: int) -> None:
        try:
            self._socket.shutdown(how)
        except OSError:
            logger.debug("%s is gone already", self.evidence.describe())

    def _log_failure(self, error: Exception, act: str) -> None:
        """Log a refusal in a word, a fault of the server's own code in full."""
        if isinstance(error, SteadError) and not isinstance(error, InvalidMessageError):
            logger.debug("`%s` of %s refused", act, self.evidence.describe())
        else:
            logger.error(
                "`%s` of %s failed", act, self.evidence.describe(), exc_info=error
            )


def _refusal(number: int, error: Exception) -> Refusal:
    public = public_refusal(error)
    return Refusal(
        id=number, status=public.status, message=public.message, record=public.record
    )
