"""One client at the DDE gate, from its first byte to the last.

1. The Hello is read, within its time, and answered.
2. Conversations come and go; each is a `Talk`. What they send is written at once, and
   advised data only while the socket takes all that is written.
3. When the client says goodbye, is gone or blunders, or the gate stops, nothing new is
   started, and every advise stops at once; what was started finishes.
4. The conversations are closed, then the socket.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from functools import partial
from typing import Final, cast

from stead.errors import RemoteProtocolError
from stead.gates.dde.delivery import Delivery
from stead.gates.dde.limits import DdeLimits
from stead.gates.dde.messages import (
    VERSION,
    Ack,
    Asking,
    Connect,
    Goodbye,
    Hello,
    Message,
    Qos,
    QosWas,
    Terminate,
    Welcome,
    qos_fields,
    qos_of,
)
from stead.gates.dde.ports import DdeHost
from stead.gates.dde.protocol import DdeProtocol, LinkState
from stead.gates.dde.talk import Talk
from stead.gates.pipe.peer import PeerEvidence
from stead.gates.pipe.protocol import Role
from stead.gates.pipe.shares import Share
from stead.model.quality_of_service import QualityOfService

logger = logging.getLogger(__name__)

# Values asked for at a time: the first may fill the socket, and the others would have
# been asked for in vain.
_TURNS: Final = 64
# Messages heard at a time: a read may bring ten thousand small ones.
_MESSAGES: Final = 32


class Connection(asyncio.Protocol):
    """Serves one client. The socket and the evidence are its own to close.

    Attributes:
        evidence: who the client is.
        correlation: the client's own name for its visit.
        admission: held while a conversation of its uid begins.
        last_active: when a byte came from it, by the loop's clock.
        turned_away: why the gate ended it, of its own accord; nothing if it did not.
    """

    def __init__(
        self,
        evidence: PeerEvidence,
        host: DdeHost,
        *,
        name: str,
        limits: DdeLimits,
        share: Share,
    ) -> None:
        self.evidence = evidence
        self.correlation: str | None = None
        self.admission = share.admission
        # Kept: a uid's share is forgotten with the last who holds it.
        self._share = share
        self.turned_away = ""
        self._loop = asyncio.get_running_loop()
        self.last_active = self._loop.time()
        self._host = host
        self._name = name
        self._limits = limits
        self._protocol = DdeProtocol(Role.SERVER, limits)
        self._qos = QualityOfService()
        self._talks: dict[int, Talk] = {}
        self._ending: dict[asyncio.Task[None], Talk] = {}
        self._waiting: dict[Delivery, None] = {}
        self._turns = self._written = 0
        self._is_behind = self._is_full = False
        self._over: asyncio.Future[str] = self._loop.create_future()
        self._gone: asyncio.Future[None] = self._loop.create_future()
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None

    # --- what the gate asks of it -----------------------------------------------------

    @property
    def is_greeted(self) -> bool:
        """Whether the client has said Hello."""
        return self._protocol.state is not LinkState.OPENING

    @property
    def is_admitted(self) -> bool:
        """Whether it may talk: each conversation is let in by itself."""
        return self.is_greeted

    @property
    def is_idle(self) -> bool:
        """Whether it has no conversation, but for such as are refused or over."""
        is_open = any(talk.is_open for talk in self._talks.values())
        return not is_open and not self._ending

    async def serve(self, client: socket.socket) -> None:
        """Serve the client until it leaves or the gate stops."""
        try:
            await self._loop.connect_accepted_socket(lambda: self, client)
        except BaseException:
            client.close()
            self.evidence.close()
            raise
        farewell = await self._over
        try:
            for number in tuple(self._talks):
                self._end_talk(number)
            if self._ending:
                await asyncio.wait(self._ending)
            self._say_goodbye(farewell)
            await self._gone
        finally:
            self.evidence.close()

    def stop(self, reason: str) -> None:
        """Take nothing more; `serve` ends once what runs has ended."""
        self._finish(reason)

    def make_room(self) -> None:
        """End at once, for somebody else."""
        self.turned_away = "made room for others"
        self._dismiss("the server has no room for idle clients")

    def cancel_requests(self) -> None:
        """Cancel what still runs."""
        for talk in (*self._talks.values(), *self._ending.values()):
            talk.cancel()

    # --- what the socket tells --------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to listen to the client."""
        self._transport = cast("asyncio.Transport", transport)
        # Told as soon as the socket does not take all, and again when it has.
        self._transport.set_write_buffer_limits(high=0)
        self._timer = self._timed(
            self._limits.socket.hello_seconds,
            partial(self._lose_patience, "said no hello in time"),
        )
        self._pace()

    def data_received(self, data: bytes) -> None:
        """Do what the client's messages ask for."""
        self.last_active = self._loop.time()
        is_new_frame = not self._protocol.is_mid_frame
        self._take_in(data, is_new_frame=is_new_frame)

    def pause_writing(self) -> None:
        """Take note that the client does not read as fast as it is written to."""
        if self._unread is None:
            self._await_reading()

    def resume_writing(self) -> None:
        """Go on: the client has read all."""
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None
        self._is_full = False
        self._loop.call_soon(self._go_on)
        self._pace()
        self._take_turns()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's
        """End: nobody is left."""
        for timer in (self._timer, self._unread):
            if timer is not None:
                timer.cancel()
        if not self.is_greeted and not self.turned_away and not self._over.done():
            self.turned_away = "left without a hello"
        self._protocol.state = LinkState.CLOSED
        self._gone.set_result(None)
        self._finish("")

    # --- what conversations ask of it -------------------------------------------------

    @property
    def is_clear(self) -> bool:
        """Whether the socket takes all that is sent now."""
        return self._protocol.state is LinkState.TALKING and not self._unsent

    def send(self, message: Message) -> None:
        """Send a message, unless nobody is left to hear it."""
        if self._transport is None or self._protocol.state is not LinkState.TALKING:
            return
        self._write(message)
        self._pace()

    def wait_turn(self, delivery: Delivery) -> None:
        """Call the delivery's `take_turn` once the socket is clear."""
        self._waiting[delivery] = None
        self._take_turns()

    # --- inside -----------------------------------------------------------------------

    def _take_in(self, data: bytes, *, is_new_frame: bool) -> None:
        """Hear some messages; the others after everybody else has had a turn."""
        if self._over.done():
            return
        try:
            messages = self._protocol.receive_data(data, _MESSAGES)
            for message in messages:
                self._hear(message)
            # A mistake that follows them is raised when the next are asked for.
            is_broken = self._protocol.state is LinkState.BROKEN
            self._is_behind = is_broken or len(messages) == _MESSAGES
        except RemoteProtocolError as error:
            logger.debug("%s broke the protocol: %s", self.evidence.describe(), error)
            self.turned_away = "broke the protocol"
            self._dismiss(error.public)
            return
        if self._is_behind:
            self._loop.call_soon(self._go_on)
        self._watch(is_new_frame=is_new_frame or bool(messages))
        self._pace()

    def _go_on(self) -> None:
        if self._is_behind and not self._is_full:
            self._take_in(b"", is_new_frame=False)

    def _hear(self, message: Message) -> None:
        if isinstance(message, Hello):
            self._greet(message)
        elif isinstance(message, Goodbye):
            self._finish("")
        elif isinstance(message, Qos):
            was, self._qos = self._qos, qos_of(message)
            self.send(QosWas(**qos_fields(was)))
        elif isinstance(message, Connect):
            self._begin(message)
        elif isinstance(message, Terminate):
            self._end_talk(message.conversation)
        elif isinstance(message, Asking):
            self._talks[message.conversation].transact(message)
        elif isinstance(message, Ack):
            self._talks[message.conversation].acknowledge(message)

    def _greet(self, message: Hello) -> None:
        self.correlation = message.correlation
        bounds = self._protocol.bounds
        welcome = Welcome(
            version=VERSION,
            server=self._name,
            conversations=bounds.conversations,
            advises=bounds.advises,
            transactions=bounds.transactions,
        )
        # Not if it has gone on without waiting: then it has broken the protocol.
        if self._protocol.state is LinkState.GREETED:
            self._write(welcome)

    def _begin(self, message: Connect) -> None:
        number = message.conversation
        view = self._protocol.conversations[number]
        talk = Talk(number, view, self, self._limits)
        self._talks[number] = talk
        talk.connect(message, self._host)

    def _end_talk(self, number: int) -> None:
        """End a conversation; its number may be in use again before all has ended."""
        talk = self._talks.pop(number)
        end = talk.end()
        self._ending[end] = talk
        end.add_done_callback(self._forget)

    def _forget(self, end: asyncio.Task[None]) -> None:
        del self._ending[end]

    def _take_turns(self) -> None:
        while self._waiting and self._turns < _TURNS and self.is_clear:
            delivery = next(iter(self._waiting))
            del self._waiting[delivery]
            turn = delivery.take_turn()
            if turn is not None:
                self._turns += 1
                turn.add_done_callback(self._end_turn)

    def _end_turn(self, _: asyncio.Task[None]) -> None:
        self._turns -= 1
        self._take_turns()

    def _write(self, message: Message) -> None:
        frame = self._protocol.send(message)
        if self._transport is not None and not self._transport.is_closing():
            self._written += len(frame)
            self._transport.write(frame)

    @property
    def _unsent(self) -> int:
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    def _pace(self) -> None:
        """Read of the client what can be done, while it reads what is written."""
        if self._transport is None or self._transport.is_closing():
            return
        self._is_full = self._is_full or self._unsent > self._limits.unsent
        if self._is_behind or self._is_full or self._over.done():
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    def _watch(self, *, is_new_frame: bool) -> None:
        """Set the time for what is awaited of the client."""
        limits = self._limits.socket
        if self._over.done() or not self.is_greeted:
            return
        if self._protocol.is_mid_frame:
            if is_new_frame:
                self._timer = self._timed(limits.frame_seconds, self._lose_patience)
        elif limits.idle_seconds is None:
            self._stop_timer()
        else:
            self._timer = self._timed(limits.idle_seconds, self._require_activity)

    def _require_activity(self) -> None:
        """Give up a client that has no conversation and says nothing."""
        if self.is_idle:
            self._lose_patience()
        else:
            self._watch(is_new_frame=False)

    def _timed(self, seconds: float, act: Callable[[], None]) -> asyncio.TimerHandle:
        """Return the one timer that there is, set anew."""
        self._stop_timer()
        return self._loop.call_later(seconds, act)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _lose_patience(self, turned_away: str = "") -> None:
        logger.debug("%s took too long", self.evidence.describe())
        self.turned_away = turned_away
        self._dismiss("the client took too long")

    def _await_reading(self) -> None:
        seconds = self._limits.socket.send_seconds
        sent = self._written - self._unsent
        self._unread = self._loop.call_later(seconds, self._require_reading, sent)

    def _require_reading(self, sent: int) -> None:
        """Give the client up if it has read nothing since `sent` bytes were sent."""
        if self._written - self._unsent > sent:
            self._await_reading()
        elif self._transport is not None:
            logger.debug("%s does not read", self.evidence.describe())
            self._transport.abort()

    def _finish(self, farewell: str) -> None:
        """Take nothing more; `serve` does the rest."""
        self._stop_timer()
        if not self._over.done():
            self._over.set_result(farewell)
            self._pace()

    def _dismiss(self, reason: str) -> None:
        """Tell the client why it must go, and be rid of it at once."""
        is_clear = not self._unsent
        self._say_goodbye(reason)
        if self._transport is not None and not is_clear:
            self._transport.abort()
        self._finish(reason)

    def _say_goodbye(self, reason: str) -> None:
        if self._transport is None:
            return
        if self._protocol.state is not LinkState.CLOSED:
            self._write(Goodbye(reason=reason))
        self._transport.close()
