"""The pipe's conversation as a table: bytes in, messages out, and no socket.

One `PipeProtocol` stands at each end. Both follow the same states:

    OPENING --Hello--> GREETED --Welcome--> TALKING --Goodbye--> LEAVING --> CLOSED
                        |   `--Refusal 0--> CLOSED
                        `Challenge--> CHALLENGED --Response--> GREETED

A client whose Hello names a package is authenticated first, by such an exchange.
In TALKING the client sends requests and the server answers each, in any order. LEAVING
is after the client's Goodbye: open requests are still answered. The server's Goodbye
ends everything. The peer's mistake is a `RemoteProtocolError` and leaves BROKEN, where
nothing but a Goodbye may follow; ours is an `InvalidMessageError` and changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Final, TypeAlias

from stead.errors import InvalidMessageError, RemoteProtocolError
from stead.gates.pipe.frames import FrameReader, write_frame
from stead.gates.pipe.limits import PipeLimits
from stead.gates.pipe.messages import (
    CLIENT_MESSAGES,
    SERVER_MESSAGES,
    VERSION,
    Challenge,
    Goodbye,
    Hello,
    Message,
    Refusal,
    Request,
    Response,
    Result,
    Welcome,
    level_of,
    quality_of,
    read_message,
    write_message,
)


class Role(Enum):
    """Which end of the pipe."""

    CLIENT = "client"
    SERVER = "server"


class State(Enum):
    """How far the conversation is."""

    OPENING = "opening"
    GREETED = "greeted"
    CHALLENGED = "challenged"
    TALKING = "talking"
    LEAVING = "leaving"
    BROKEN = "broken"
    CLOSED = "closed"


Step: TypeAlias = tuple[State, Role, type[Message]]

TRANSITIONS: Final[Mapping[Step, State]] = {
    (State.OPENING, Role.CLIENT, Hello): State.GREETED,
    (State.OPENING, Role.CLIENT, Goodbye): State.CLOSED,
    (State.OPENING, Role.SERVER, Goodbye): State.CLOSED,
    (State.GREETED, Role.SERVER, Challenge): State.CHALLENGED,
    (State.CHALLENGED, Role.CLIENT, Response): State.GREETED,
    (State.CHALLENGED, Role.CLIENT, Goodbye): State.CLOSED,
    (State.CHALLENGED, Role.SERVER, Goodbye): State.CLOSED,
    (State.GREETED, Role.SERVER, Welcome): State.TALKING,
    (State.GREETED, Role.SERVER, Refusal): State.CLOSED,
    (State.GREETED, Role.SERVER, Goodbye): State.CLOSED,
    (State.TALKING, Role.CLIENT, Request): State.TALKING,
    (State.TALKING, Role.CLIENT, Goodbye): State.LEAVING,
    (State.TALKING, Role.SERVER, Result): State.TALKING,
    (State.TALKING, Role.SERVER, Refusal): State.TALKING,
    (State.TALKING, Role.SERVER, Goodbye): State.CLOSED,
    (State.LEAVING, Role.SERVER, Result): State.LEAVING,
    (State.LEAVING, Role.SERVER, Refusal): State.LEAVING,
    (State.LEAVING, Role.SERVER, Goodbye): State.CLOSED,
    (State.BROKEN, Role.CLIENT, Goodbye): State.CLOSED,
    (State.BROKEN, Role.SERVER, Goodbye): State.CLOSED,
}

_EXCHANGING: Final = frozenset({State.GREETED, State.CHALLENGED})


class PipeProtocol:
    """One end of one conversation.

    Attributes:
        role: which end this is.
        state: how far the conversation is.
    """

    def __init__(self, role: Role, limits: PipeLimits | None = None) -> None:
        self.role = role
        self.state = State.OPENING
        self._peer = Role.SERVER if role is Role.CLIENT else Role.CLIENT
        self._limits = limits or PipeLimits()
        self._frames = FrameReader()
        self._hello: Hello | None = None
        self._open: dict[int, int] = {}
        self._rounds = 0
        self._mistake: str = ""

    @property
    def open_requests(self) -> int:
        """How many requests are not answered yet."""
        return len(self._open)

    @property
    def is_full(self) -> bool:
        """Whether the server end takes no more requests until it has answered one."""
        return self.role is Role.SERVER and (
            len(self._open) >= self._limits.in_flight
            or sum(self._open.values()) >= self._limits.frame
        )

    @property
    def is_mid_frame(self) -> bool:
        """Whether bytes came that are not a message yet."""
        return len(self._frames) > 0

    def receive_data(self, data: bytes) -> list[Message]:
        """Take bytes as they came and return the messages they complete.

        Call again with `b""` until it returns nothing: a mistake that follows whole
        messages is raised only then, so nothing before it is lost; and a full server
        end keeps the rest until a request is answered.

        Raises:
            RemoteProtocolError: the peer broke the protocol.
        """
        if self.state is State.BROKEN:
            raise RemoteProtocolError(self._mistake)
        self._frames.feed(data)
        messages: list[Message] = []
        try:
            while (message := self._next_message()) is not None:
                messages.append(message)
        except RemoteProtocolError as error:
            self.break_off(str(error))
            if not messages:
                raise
        return messages

    # `receive_data` in steps, for whoever reads large bodies elsewhere: `feed`,
    # `announced`, `take_body`, `read`, `receive`. A mistake that one of them raises is
    # followed by `break_off`.

    def feed(self, data: bytes) -> None:
        """Keep bytes as they came; nothing is kept once all is over."""
        if self.state is not State.CLOSED:
            self._frames.feed(data)

    def announced(self) -> int | None:
        """Return the size of the next message, once its length has come.

        Raises:
            RemoteProtocolError: it is longer than the peer may send now.
        """
        return self._frames.announced(self._frame_limit)

    def take_body(self) -> bytes | None:
        """Take the next body, if it is whole and may be taken.

        Raises:
            RemoteProtocolError: it is longer than the peer may send now.
        """
        if self.state is State.CLOSED:
            self._frames.clear()
            return None
        return None if self.is_full else self._frames.take(self._frame_limit)

    def read(self, body: bytes) -> Message:
        """Return the peer's message that a body holds; safe on any thread.

        Raises:
            RemoteProtocolError: it holds none, or one that costs too much.
        """
        is_server = self.role is Role.SERVER
        decoder = CLIENT_MESSAGES if is_server else SERVER_MESSAGES
        return read_message(body, decoder, self._limits)

    def receive(self, message: Message, size: int) -> None:
        """Go where a message of the peer leads whose body had `size` bytes.

        Raises:
            RemoteProtocolError: it may not come now.
        """
        fault = self._fault_of(self._peer, message)
        if fault:
            raise RemoteProtocolError(fault)
        self._follow(self._peer, message, size)

    def break_off(self, mistake: str) -> None:
        """Take nothing more of a peer that made a mistake."""
        if self.state is not State.CLOSED:
            self.state = State.BROKEN
        self._mistake = mistake
        self._frames.clear()

    def send(self, message: Message) -> bytes:
        """Return the bytes of a message of ours, and go where it leads.

        Raises:
            InvalidMessageError: it may not be sent now, or is no valid message.
        """
        self._require_in_order(message)
        frame = write_frame(write_message(message, self._limits), self._frame_limit)
        self._follow(self.role, message, len(frame))
        return frame

    def send_written(self, message: Message) -> None:
        """Go where a message of ours leads whose frame was written before.

        Raises:
            InvalidMessageError: it may not be sent now.
        """
        self._require_in_order(message)
        self._follow(self.role, message, 0)

    def _require_in_order(self, message: Message) -> None:
        fault = self._fault_of(self.role, message)
        if fault:
            raise InvalidMessageError(fault)

    @property
    def _frame_limit(self) -> int:
        if self.state is State.OPENING:
            return self._limits.opening
        if self.state not in _EXCHANGING:
            return self._limits.frame
        is_long = self._hello is not None and self._hello.package is not None
        return self._limits.exchange if is_long else self._limits.opening

    def _next_message(self) -> Message | None:
        """Take one message from the frames, if there is one that may be taken."""
        body = self.take_body()
        if body is None:
            return None
        message = self.read(body)
        self.receive(message, len(body))
        return message

    def _fault_of(self, sender: Role, message: Message) -> str:
        """Say why this message may not come now; nothing if it may."""
        if (self.state, sender, type(message)) not in TRANSITIONS:
            kind = type(message).__name__.lower()
            return f"no {kind} of the {sender.value} may come while {self.state.value}"
        if isinstance(message, (Hello, Welcome)) and message.version != VERSION:
            return f"version {message.version} is not spoken here, only {VERSION}"
        if isinstance(message, (Welcome, Challenge)):
            return self._fault_of_answer(message)
        if isinstance(message, Request) and message.id in self._open:
            return f"request {message.id} is open already"
        if isinstance(message, (Result, Refusal)) and not self._is_awaited(message):
            return f"nothing asked is answered by {message.id}"
        return ""

    def _fault_of_welcome(self, welcome: Welcome) -> str:
        # The client sets the level; a server may take less and never more.
        if self._hello is None or level_of(welcome) > level_of(self._hello):
            return "the level was raised"
        if quality_of(welcome).exceeds(quality_of(self._hello)):
            return "the server takes more than the client gave"
        return ""

    def _fault_of_answer(self, message: Welcome | Challenge) -> str:
        if isinstance(message, Welcome):
            return self._fault_of_welcome(message)
        if self._hello is None or self._hello.package is None:
            return "nobody asked to be authenticated"
        if self._rounds >= self._limits.rounds:
            return "the exchange has too many rounds"
        return ""

    def _is_awaited(self, answer: Result | Refusal) -> bool:
        if self.state is State.GREETED:
            return answer.id == 0
        return answer.id in self._open

    def _follow(self, sender: Role, message: Message, size: int) -> None:
        """Go where a message leads that was found in order."""
        self.state = TRANSITIONS[self.state, sender, type(message)]
        if isinstance(message, Hello):
            self._hello = message
        elif isinstance(message, Challenge):
            self._rounds += 1
        elif isinstance(message, Request):
            self._open[message.id] = size
        elif isinstance(message, (Result, Refusal)):
            self._open.pop(message.id, None)
