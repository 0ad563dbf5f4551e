"""One client at the pipe, from its first byte to the last.

1. The channel is agreed on, where it has to be, and the Hello is read, within its time.
2. `admit` is asked, for one client of an origin at a time; a refusal is number 0 and
   ends the connection. A client that asks for it is authenticated in between.
3. Requests are started as they come, and answered as they finish, in any order; each
   first claims its bytes of its origin's share, until its answer is read.
4. When the client leaves, dies or blunders, or the gate stops, nothing new is started;
   what was started finishes. It is never cut off because of the client: what was
   written down as allowed is done, and an answer nobody waits for is thrown away.
5. The conversation is closed, then the socket.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    ExitStack,
    contextmanager,
    nullcontext,
)
from functools import partial
from typing import Final, Generic, TypeVar

from stead.errors import RemoteProtocolError
from stead.gates.pipe.answers import log_failure, refusal_of
from stead.gates.pipe.channel import Channel
from stead.gates.pipe.greeting import Greeting
from stead.gates.pipe.limits import PipeLimits
from stead.gates.pipe.messages import (
    VERSION,
    Challenge,
    Goodbye,
    Hello,
    Message,
    Request,
    Response,
    Welcome,
    level_name,
    quality_of,
)
from stead.gates.pipe.peer import Peer
from stead.gates.pipe.protocol import PipeProtocol, Role, State
from stead.gates.pipe.requests import Requests
from stead.gates.pipe.shares import Claim, Share
from stead.gates.ports import Admit, Conversation

logger = logging.getLogger(__name__)

PeerT = TypeVar("PeerT", bound=Peer)
EvidenceT = TypeVar("EvidenceT")
MessageT = TypeVar("MessageT", Hello, Response)

_ANSWERABLE: Final = frozenset({State.GREETED, State.TALKING, State.LEAVING})
_UNGREETED: Final = frozenset({State.OPENING, State.CHALLENGED})
_SILENT: Final = frozenset({State.LEAVING, State.CLOSED})


class Connection(Generic[PeerT, EvidenceT]):
    """Serves one client. The channel and the evidence are its own to close.

    Attributes:
        evidence: who the client is, as it was seen when it came.
        turned_away: why the gate ended it, of its own accord; nothing if it did not.
    """

    def __init__(
        self,
        channel: Channel,
        greeting: Greeting[PeerT, EvidenceT],
        *,
        name: str,
        limits: PipeLimits,
        share: Share,
    ) -> None:
        self.evidence = greeting.peer
        self.turned_away = ""
        self._greeting = greeting
        self._channel = channel
        self._name = name
        self._limits = limits
        self._share = share
        self._protocol = PipeProtocol(Role.SERVER, limits)
        self._writing = asyncio.Lock()
        self._requests = Requests(greeting.peer, limits, share)
        self._opening: asyncio.Timeout | None = None
        self._admitting: asyncio.Task[Conversation | None] | None = None
        self._waits = False
        self._fault: Exception | None = None
        self._last_word = b""
        self._claim: Claim | None = None
        self._frame_began: float | None = None
        self._farewell = ""
        self._is_stopping = False

    @property
    def last_active(self) -> float:
        """When a byte came from the client or went to it, by the loop's clock."""
        return self._channel.last_active

    @property
    def is_greeted(self) -> bool:
        """Whether the client has said Hello, and answered what it was asked."""
        return self._protocol.state not in _UNGREETED

    @property
    def is_admitted(self) -> bool:
        """Whether the client has been let in."""
        return self.is_greeted and self._protocol.state is not State.GREETED

    @property
    def is_idle(self) -> bool:
        """Whether nothing is done for the client; answers it leaves unread are not."""
        is_admitting = self._protocol.state is State.GREETED and not self._waits
        return not is_admitting and self._requests.are_unread

    async def serve(self, admit: Admit[EvidenceT]) -> None:
        """Serve the client until it leaves or the gate stops."""
        conversation = None
        try:
            conversation = await self._open(admit)
            if conversation is not None:
                await self._converse(conversation)
        except RemoteProtocolError as error:
            logger.debug("%s broke the protocol: %s", self.evidence.describe(), error)
            self.turned_away = "broke the protocol"
            self._protocol.break_off(str(error))
            await self._dismiss(error.public)
        except (TimeoutError, ConnectionError) as error:
            logger.debug("%s took too long or is gone", self.evidence.describe())
            self.turned_away = self.turned_away or self._greeting.fault_of(error)
            await self._dismiss("the client took too long")
        finally:
            await self._finish(conversation)

    def stop(self, reason: str) -> None:
        """Take no more requests; `serve` ends once those that run have ended."""
        self._is_stopping = True
        self._farewell = reason
        if self._claim is not None:
            self._claim.give_up()
        if self._opening is not None and not self._opening.expired():
            # It may wait for others' handshakes to be computed.
            self._opening.reschedule(asyncio.get_running_loop().time())
        if self._waits and self._admitting is not None:
            self._admitting.cancel()
        # The reader sees the end of the stream at once, the writer may go on.
        self._channel.shut(socket.SHUT_RD)

    def make_room(self) -> None:
        """End at once, for somebody else: what is being sent is broken off."""
        self.turned_away = "made room for others"
        self.stop("the server has no room for idle clients")
        if not self._writing.locked() and self._protocol.state is not State.CLOSED:
            goodbye = self._protocol.send(Goodbye(reason=self._farewell))
            self._channel.send_now(goodbye)
        self._channel.shut(socket.SHUT_RDWR)

    def cancel_requests(self) -> None:
        """Cancel what still runs."""
        if self._admitting is not None:
            self._admitting.cancel()
        self._requests.cancel()

    async def ask(self, challenge: bytes) -> bytes:
        """Send a challenge, and return how the client responds to it.

        Raises:
            RemoteProtocolError, TimeoutError, ConnectionError: it does not.
        """
        try:
            await self._send(Challenge(blob=challenge))
            async with asyncio.timeout(self._limits.hello_seconds):
                response = await self._read_first(Response)
            if response is None:
                raise ConnectionAbortedError("it left while it was authenticated")
            self._protocol.receive_data(b"")  # nothing may follow before it is answered
        except (RemoteProtocolError, TimeoutError, ConnectionError) as error:
            self._fault = error
            raise
        return response.blob

    def conclude(self, blob: bytes) -> None:
        """Say this with the welcome: the last word of an exchange."""
        self._last_word = blob

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Return a block in which the client does nothing but wait."""
        self._waits = True
        try:
            yield
        finally:
            self._waits = False

    async def _open(self, admit: Admit[EvidenceT]) -> Conversation | None:
        """Return the admitted client's conversation, or None if there is none."""
        try:
            hello = await self._hello()
        except TimeoutError:
            if not self._is_stopping:
                self.turned_away = "said no hello in time"
                raise
            hello = None
        if hello is None:
            if not self._is_stopping:
                self.turned_away = "left without a hello"
            return None
        self._protocol.receive_data(b"")  # nothing may follow before the Welcome
        conversation = await self._admit(hello, admit)
        if conversation is not None:
            await self._welcome(conversation)
        return conversation

    async def _hello(self) -> Hello | None:
        """Return what the client says first, in its time, or None if it left."""
        if self._is_stopping:
            return None
        try:
            async with asyncio.timeout(self._limits.hello_seconds) as self._opening:
                await self._greeting.prepare(self._share)
                return await self._read_first(Hello)
        finally:
            self._opening = None

    async def _read_first(self, kind: type[MessageT]) -> MessageT | None:
        """Return the message that has to come now, or None if the client left."""
        while data := await self._receive():
            for message in self._protocol.receive_data(data):
                return message if isinstance(message, kind) else None
        return None

    async def _admit(
        self, hello: Hello, admit: Admit[EvidenceT]
    ) -> Conversation | None:
        evidence = self._greeting.evidence(hello.package, self)
        # Who is asked something may take its time: its like do not wait for it.
        turn = self._share.admission if hello.package is None else nullcontext()
        ask = partial(admit, evidence, quality_of(hello), hello.correlation)
        self._admitting = asyncio.create_task(self._in_turn(turn, ask))
        try:
            return await self._admitting
        except Exception as error:  # the outermost loop of a client
            if self._fault is not None:
                raise self._fault from error
            log_failure(self.evidence.describe(), error, "admit")
            await self._send(refusal_of(0, error))
            return None

    async def _in_turn(
        self,
        turn: AbstractAsyncContextManager[None],
        admit: Callable[[], Awaitable[Conversation]],
    ) -> Conversation | None:
        async with AsyncExitStack() as held:
            with self.waiting():
                await held.enter_async_context(turn)
            return None if self._is_stopping else await admit()

    async def _welcome(self, conversation: Conversation) -> None:
        welcome = Welcome(
            version=VERSION,
            server=self._name,
            account=conversation.account,
            level=level_name(conversation.quality.level),
            tracking=conversation.quality.tracking.value,
            effective_only=conversation.quality.effective_only,
            blob=self._last_word,
        )
        await self._send(welcome)

    async def _converse(self, conversation: Conversation) -> None:
        """Start what the client asks until it leaves or must leave."""
        while self._protocol.state not in _SILENT and not self._is_stopping:
            if self._is_full:
                await self._requests.one_ends()
            elif (size := self._protocol.announced()) is None:
                if not await self._feed():
                    return
            elif not await self._take_in(conversation, size):
                return

    @property
    def _is_full(self) -> bool:
        """Whether the client has to wait for answers, or has some to read first."""
        unsent = self._requests.unsent_bytes
        return self._protocol.is_full or unsent >= self._limits.frame

    async def _feed(self) -> bool:
        """Hand on what the client sends next; whether there was anything."""
        data = await self._receive_in_time()
        self._protocol.feed(data)
        return bool(data)

    async def _take_in(self, conversation: Conversation, size: int) -> bool:
        """Read a message of `size` bytes and start what it asks; False at the end."""
        with ExitStack() as held:
            claim = held.enter_context(self._share.claim(size + self._limits.frame))
            self._claim = claim
            if not await claim.granted:  # the gate stops
                return False
            self._frame_began = None  # the wait was not the client's fault
            message = await self._next_message()
            if isinstance(message, Request):
                self._requests.start(conversation, message, claim, self._send)
                held.pop_all()
        return message is not None

    async def _next_message(self) -> Message | None:
        """Return the announced message, or None if the client or the gate is gone."""
        while (body := self._protocol.take_body()) is None:
            if not await self._feed():
                return None
        self._frame_began = None
        message = await self._read(body)
        if self._is_stopping:
            return None
        self._protocol.receive(message, len(body))
        return message

    async def _read(self, body: bytes) -> Message:
        if len(body) <= self._limits.large:
            return self._protocol.read(body)
        return await self._share.work(partial(self._protocol.read, body))

    async def _receive_in_time(self) -> bytes:
        """Read, unless a message or the client's silence lasts too long."""
        while True:
            try:
                async with asyncio.timeout_at(self._deadline()):
                    return await self._receive()
            except TimeoutError:
                if self._protocol.is_mid_frame or not self._requests.are_any:
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
        data = await self._channel.receive()
        # While bytes are there, sock_recv does not wait: let the others have a turn.
        await asyncio.sleep(0)
        return data

    async def _dismiss(self, reason: str) -> None:
        """Tell the client why it must go, and be rid of it at once."""
        await self._send(Goodbye(reason=reason))
        self._channel.shut(socket.SHUT_RDWR)

    async def _finish(self, conversation: Conversation | None) -> None:
        """Let requests end, say goodbye, and close everything in order."""
        try:
            await self._requests.all_end()
            await self._send(Goodbye(reason=self._farewell))
        finally:
            self._channel.close()
            try:
                if conversation is not None:
                    await conversation.close()
            finally:
                self.evidence.close()

    async def _send(self, message: Message, frame: bytes | None = None) -> None:
        """Send, unless there is nobody left to send to.

        Args:
            message: what it is.
            frame: its frame, if that is written already.

        Raises:
            InvalidMessageError: the message does not fit; nothing was sent.
        """
        async with self._writing:
            state = self._protocol.state
            is_last = isinstance(message, Goodbye) and state is not State.CLOSED
            if not is_last and state not in _ANSWERABLE:
                return
            if frame is None:
                frame = self._protocol.send(message)
            else:
                self._protocol.send_written(message)
            try:
                async with asyncio.timeout(self._limits.send_seconds):
                    await self._channel.send(frame)
            except OSError:  # TimeoutError is one: gone, or it does not read
                logger.debug("%s did not take it", self.evidence.describe())
