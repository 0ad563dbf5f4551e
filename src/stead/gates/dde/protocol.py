"""One end of a DDE connection: bytes in, messages out, and no socket.

    OPENING --Hello--> GREETED --Welcome--> TALKING
       `-----------------`--------------------`--Goodbye of either--> CLOSED

In TALKING there are any number of conversations, each by the tables of `conversation`.
The peer's mistake is a `RemoteProtocolError` and leaves BROKEN, where nothing but a
Goodbye may follow; ours is an `InvalidMessageError` and changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final, TypeAlias

from stead.errors import InvalidMessageError, RemoteProtocolError
from stead.gates.dde.conversation import Conversation, ConversationState
from stead.gates.dde.limits import DdeLimits
from stead.gates.dde.messages import (
    CLIENT_MESSAGES,
    SERVER_MESSAGES,
    VERSION,
    Asking,
    Connect,
    Goodbye,
    Hello,
    Message,
    Qos,
    QosWas,
    Spoken,
    Welcome,
    qos_of,
    read_message,
    write_message,
)
from stead.gates.pipe.frames import FrameReader, write_frame
from stead.gates.pipe.protocol import Role
from stead.model.quality_of_service import QualityOfService


class LinkState(Enum):
    """How far the connection is."""

    OPENING = "opening"
    GREETED = "greeted"
    TALKING = "talking"
    BROKEN = "broken"
    CLOSED = "closed"


Step: TypeAlias = tuple[LinkState, Role, type[Message]]

LINKS: Final[Mapping[Step, LinkState]] = {
    (LinkState.OPENING, Role.CLIENT, Hello): LinkState.GREETED,
    (LinkState.GREETED, Role.SERVER, Welcome): LinkState.TALKING,
    (LinkState.TALKING, Role.CLIENT, Qos): LinkState.TALKING,
    (LinkState.TALKING, Role.SERVER, QosWas): LinkState.TALKING,
    **{
        (state, role, Goodbye): LinkState.CLOSED
        for state in LinkState
        for role in Role
        if state is not LinkState.CLOSED
    },
}


@dataclass(frozen=True, slots=True)
class Bounds:
    """What both ends have agreed to bear; the server says so in its Welcome."""

    conversations: int
    advises: int
    transactions: int


class DdeProtocol:
    """One end of one connection.

    Attributes:
        role: which end this is.
        state: how far the connection is.
        qos: what conversations that the client begins now would have.
        conversations: those that are not over, by their numbers.
    """

    def __init__(self, role: Role, limits: DdeLimits | None = None) -> None:
        self.role = role
        self.state = LinkState.OPENING
        self.qos = QualityOfService()
        self.conversations: dict[int, Conversation] = {}
        self._limits = limits or DdeLimits()
        self._peer = Role.SERVER if role is Role.CLIENT else Role.CLIENT
        self._frames = FrameReader()
        self._bounds = Bounds(
            self._limits.conversations,
            self._limits.advises,
            self._limits.transactions,
        )
        self._qos_asked = 0
        self._mistake = ""

    @property
    def bounds(self) -> Bounds:
        """What both ends bear; a client knows it once it is welcome."""
        return self._bounds

    @property
    def open_transactions(self) -> int:
        """How many transactions of all conversations are not answered yet."""
        return sum(talk.open_transactions for talk in self.conversations.values())

    @property
    def is_mid_frame(self) -> bool:
        """Whether bytes came that are not a message yet."""
        return len(self._frames) > 0

    def receive_data(self, data: bytes, most: int | None = None) -> list[Message]:
        """Take bytes as they came and return the messages they complete.

        Call again with `b""` until it returns nothing: a mistake that follows whole
        messages is raised only then, so nothing before it is lost.

        Args:
            data: the bytes.
            most: how many messages to return at once; as many as there are if None.

        Raises:
            RemoteProtocolError: the peer broke the protocol.
        """
        if self.state is LinkState.BROKEN:
            raise RemoteProtocolError(self._mistake)
        self._frames.feed(data)
        messages: list[Message] = []
        try:
            while len(messages) != most:
                message = self._next_message()
                if message is None:
                    break
                messages.append(message)
        except RemoteProtocolError as error:
            self.break_off(str(error))
            if not messages:
                raise
        return messages

    def break_off(self, mistake: str) -> None:
        """Take nothing more of a peer that made a mistake."""
        if self.state is not LinkState.CLOSED:
            self.state = LinkState.BROKEN
        self._mistake = mistake
        self._frames.clear()

    def send(self, message: Message) -> bytes:
        """Return the bytes of a message of ours, and go where it leads.

        Raises:
            InvalidMessageError: it may not be sent now, or is no valid message.
        """
        fault = self._fault_of(self.role, message)
        if fault:
            raise InvalidMessageError(fault)
        frame = write_frame(write_message(message), self._frame_limit)
        self._follow(self.role, message)
        return frame

    def state_of(self, number: int) -> ConversationState:
        """Return how far a conversation is."""
        talk = self.conversations.get(number)
        return ConversationState.NONE if talk is None else talk.state

    @property
    def _frame_limit(self) -> int:
        is_talking = self.state in {LinkState.TALKING, LinkState.BROKEN}
        limits = self._limits.socket
        return limits.frame if is_talking else limits.opening

    def _next_message(self) -> Message | None:
        if self.state is LinkState.CLOSED:
            self._frames.clear()
            return None
        body = self._frames.take(self._frame_limit)
        if body is None:
            return None
        is_server = self.role is Role.SERVER
        decoder = CLIENT_MESSAGES if is_server else SERVER_MESSAGES
        message = read_message(body, decoder, self._limits.socket)
        fault = self._fault_of(self._peer, message)
        if fault:
            raise RemoteProtocolError(fault)
        self._follow(self._peer, message)
        return message

    def _fault_of(self, speaker: Role, message: Message) -> str:
        """Say why this message may not come now; nothing if it may."""
        if isinstance(message, Spoken):
            return self._fault_of_spoken(speaker, message)
        if (self.state, speaker, type(message)) not in LINKS:
            kind = type(message).__name__.lower()
            return f"no {kind} of the {speaker.value} may come while {self.state.value}"
        if isinstance(message, (Hello, Welcome)) and message.version != VERSION:
            return f"version {message.version} is not spoken here, only {VERSION}"
        if isinstance(message, QosWas) and not self._qos_asked:
            return "no quality of service was set"
        return ""

    def _fault_of_spoken(self, speaker: Role, message: Spoken) -> str:
        if self.state is not LinkState.TALKING:
            return f"nothing may be said while {self.state.value}"
        talk = self.conversations.get(message.conversation)
        if talk is None:
            if len(self.conversations) >= self._bounds.conversations:
                return "too many conversations"
            talk = self._new_conversation()
        if isinstance(message, Asking) and self.open_transactions >= (
            self._bounds.transactions
        ):
            return "too many transactions"
        return talk.fault_of(speaker, message)

    def _new_conversation(self) -> Conversation:
        return Conversation(self.qos, self._bounds.advises)

    def _follow(self, speaker: Role, message: Message) -> None:
        """Go where a message leads that was found in order."""
        if isinstance(message, Spoken):
            self._follow_spoken(message)
            return
        self.state = LINKS[self.state, speaker, type(message)]
        if isinstance(message, Welcome):
            self._bounds = Bounds(
                message.conversations, message.advises, message.transactions
            )
        elif isinstance(message, Qos):
            self.qos = qos_of(message)
            self._qos_asked += 1
        elif isinstance(message, QosWas):
            self._qos_asked -= 1

    def _follow_spoken(self, message: Spoken) -> None:
        number = message.conversation
        if isinstance(message, Connect):
            self.conversations[number] = self._new_conversation()
        talk = self.conversations[number]
        talk.follow(message)
        if talk.state is ConversationState.NONE:
            del self.conversations[number]
