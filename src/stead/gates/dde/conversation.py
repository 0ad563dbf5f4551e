"""What may be said in a conversation, as tables: (state, what is said) -> state.

Three tables run side by side: one for the conversation, one for each transaction in it
that is not answered, one for each item that is advised. Both ends follow all three, by
what they have said and heard. What the two say at the same time crosses on the way, so
each end may find the other's words in an order of its own; the tables hold for every
such order:

- A conversation ends when both ends have said so. Until then, what the other said
  before it heard of the end still comes, and is let pass.
- An advise ends by the client's Unadvise and the server's Done, also when it was the
  server that ended it.

Nobody ever has to remember what is over. docs/dde.md shows the tables drawn.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Final

from stead.gates.dde.messages import (
    Ack,
    Advise,
    AdviseData,
    AdviseEnded,
    Answer,
    Asking,
    Busy,
    Connect,
    Connected,
    Data,
    Done,
    Execute,
    Nack,
    Poke,
    Refused,
    Request,
    Spoken,
    Terminate,
    Terminated,
    Told,
    Unadvise,
    qos_of,
)
from stead.gates.pipe.protocol import Role
from stead.model.quality_of_service import QualityOfService


class Event(Enum):
    """What is said, as the tables tell it apart. Each is one end's alone to say."""

    CONNECT = "connect"
    TERMINATE = "terminate"
    REQUEST = "request"
    POKE = "poke"
    EXECUTE = "execute"
    ADVISE = "advise"
    ADVISE_ACKNOWLEDGED = "acknowledged advise"
    UNADVISE = "unadvise"
    ACK = "ack"
    CONNECTED = "connected"
    REFUSED = "refused"
    TERMINATED = "terminated"
    DATA = "data"
    DONE = "done"
    NACK = "nack"
    BUSY = "busy"
    ADVISE_DATA = "advise data"
    ADVISE_ENDED = "advise ended"


class ConversationState(Enum):
    """How far a conversation is."""

    NONE = "none"
    CONNECTING = "connecting"
    ABANDONED = "abandoned"
    REFUSED = "refused"
    TALKING = "talking"
    CLIENT_LEFT = "client left"
    SERVER_LEFT = "server left"


class TransactionState(Enum):
    """What a transaction waits for."""

    NONE = "none"
    REQUESTED = "requested"
    ASKED = "asked"
    UNADVISING = "unadvising"


class AdviseState(Enum):
    """How far an advise is: READY waits for an ack of each value, FREE does not."""

    NONE = "none"
    ASKED = "asked"
    ASKED_ACKNOWLEDGED = "asked acknowledged"
    FREE = "free"
    READY = "ready"
    OWED = "owed"
    ENDED = "ended"
    LEAVING = "leaving"


_EVENTS: Final[Mapping[type[Spoken], tuple[Role, Event]]] = {
    Connect: (Role.CLIENT, Event.CONNECT),
    Terminate: (Role.CLIENT, Event.TERMINATE),
    Request: (Role.CLIENT, Event.REQUEST),
    Poke: (Role.CLIENT, Event.POKE),
    Execute: (Role.CLIENT, Event.EXECUTE),
    Advise: (Role.CLIENT, Event.ADVISE),
    Unadvise: (Role.CLIENT, Event.UNADVISE),
    Ack: (Role.CLIENT, Event.ACK),
    Connected: (Role.SERVER, Event.CONNECTED),
    Refused: (Role.SERVER, Event.REFUSED),
    Terminated: (Role.SERVER, Event.TERMINATED),
    Data: (Role.SERVER, Event.DATA),
    Done: (Role.SERVER, Event.DONE),
    Nack: (Role.SERVER, Event.NACK),
    Busy: (Role.SERVER, Event.BUSY),
    AdviseData: (Role.SERVER, Event.ADVISE_DATA),
    AdviseEnded: (Role.SERVER, Event.ADVISE_ENDED),
}

# What goes to and fro while a conversation stands. The other two tables judge it.
CLIENT_TALK: Final = (
    Event.REQUEST,
    Event.POKE,
    Event.EXECUTE,
    Event.ADVISE,
    Event.ADVISE_ACKNOWLEDGED,
    Event.UNADVISE,
    Event.ACK,
)
SERVER_TALK: Final = (
    Event.DATA,
    Event.DONE,
    Event.NACK,
    Event.BUSY,
    Event.ADVISE_DATA,
    Event.ADVISE_ENDED,
)

_C = ConversationState
CONVERSATIONS: Final[Mapping[tuple[ConversationState, Event], ConversationState]] = {
    (_C.NONE, Event.CONNECT): _C.CONNECTING,
    (_C.CONNECTING, Event.CONNECTED): _C.TALKING,
    (_C.CONNECTING, Event.REFUSED): _C.REFUSED,
    (_C.CONNECTING, Event.TERMINATE): _C.ABANDONED,
    (_C.REFUSED, Event.TERMINATE): _C.NONE,
    (_C.ABANDONED, Event.CONNECTED): _C.CLIENT_LEFT,
    (_C.ABANDONED, Event.REFUSED): _C.NONE,
    **{(_C.TALKING, event): _C.TALKING for event in (*CLIENT_TALK, *SERVER_TALK)},
    (_C.TALKING, Event.TERMINATE): _C.CLIENT_LEFT,
    (_C.TALKING, Event.TERMINATED): _C.SERVER_LEFT,
    **{(_C.CLIENT_LEFT, event): _C.CLIENT_LEFT for event in SERVER_TALK},
    (_C.CLIENT_LEFT, Event.TERMINATED): _C.NONE,
    **{(_C.SERVER_LEFT, event): _C.SERVER_LEFT for event in CLIENT_TALK},
    (_C.SERVER_LEFT, Event.TERMINATE): _C.NONE,
}

_T = TransactionState
TRANSACTIONS: Final[Mapping[tuple[TransactionState, Event], TransactionState]] = {
    (_T.NONE, Event.REQUEST): _T.REQUESTED,
    (_T.NONE, Event.POKE): _T.ASKED,
    (_T.NONE, Event.EXECUTE): _T.ASKED,
    (_T.NONE, Event.ADVISE): _T.ASKED,
    (_T.NONE, Event.ADVISE_ACKNOWLEDGED): _T.ASKED,
    (_T.NONE, Event.UNADVISE): _T.UNADVISING,
    (_T.REQUESTED, Event.DATA): _T.NONE,
    (_T.REQUESTED, Event.NACK): _T.NONE,
    (_T.REQUESTED, Event.BUSY): _T.NONE,
    (_T.ASKED, Event.DONE): _T.NONE,
    (_T.ASKED, Event.NACK): _T.NONE,
    (_T.ASKED, Event.BUSY): _T.NONE,
    (_T.UNADVISING, Event.DONE): _T.NONE,
}

_A = AdviseState
ADVISES: Final[Mapping[tuple[AdviseState, Event], AdviseState]] = {
    (_A.NONE, Event.ADVISE): _A.ASKED,
    (_A.NONE, Event.ADVISE_ACKNOWLEDGED): _A.ASKED_ACKNOWLEDGED,
    (_A.ASKED, Event.DONE): _A.FREE,
    (_A.ASKED, Event.NACK): _A.NONE,
    (_A.ASKED, Event.BUSY): _A.NONE,
    (_A.ASKED_ACKNOWLEDGED, Event.DONE): _A.READY,
    (_A.ASKED_ACKNOWLEDGED, Event.NACK): _A.NONE,
    (_A.ASKED_ACKNOWLEDGED, Event.BUSY): _A.NONE,
    (_A.FREE, Event.ADVISE_DATA): _A.FREE,
    (_A.FREE, Event.UNADVISE): _A.LEAVING,
    (_A.FREE, Event.ADVISE_ENDED): _A.ENDED,
    (_A.READY, Event.ADVISE_DATA): _A.OWED,
    (_A.READY, Event.UNADVISE): _A.LEAVING,
    (_A.READY, Event.ADVISE_ENDED): _A.ENDED,
    (_A.OWED, Event.ACK): _A.READY,
    (_A.OWED, Event.UNADVISE): _A.LEAVING,
    (_A.OWED, Event.ADVISE_ENDED): _A.ENDED,
    (_A.ENDED, Event.ACK): _A.ENDED,
    (_A.ENDED, Event.UNADVISE): _A.LEAVING,
    (_A.LEAVING, Event.ADVISE_DATA): _A.LEAVING,
    (_A.LEAVING, Event.ADVISE_ENDED): _A.LEAVING,
    (_A.LEAVING, Event.DONE): _A.NONE,
}


def event_of(message: Spoken) -> tuple[Role, Event]:
    """Return who says a message, and the event that it is to the tables."""
    if isinstance(message, Advise) and message.acknowledged:
        return Role.CLIENT, Event.ADVISE_ACKNOWLEDGED
    return _EVENTS[type(message)]


class _Transaction:
    """One transaction that is not answered; an advise's names its item."""

    __slots__ = ("item", "state")

    def __init__(self, state: TransactionState, item: str | None) -> None:
        self.state = state
        self.item = item


class _Advise:
    """One advised item.

    Attributes:
        state: how far it is.
        is_hot: whether values are told.
        serial: the number of the last value.
        is_owed: whether that is not acknowledged yet.
    """

    __slots__ = ("is_hot", "is_owed", "serial", "state")

    def __init__(self, *, is_hot: bool) -> None:
        self.state = AdviseState.NONE
        self.is_hot = is_hot
        self.serial = 0
        self.is_owed = False


class Conversation:
    """One end's view of one conversation.

    Attributes:
        state: how far it is.
        qos: what the client set for it.
    """

    def __init__(self, qos: QualityOfService, most_advises: int) -> None:
        self.state = ConversationState.NONE
        self.qos = qos
        self._most_advises = most_advises
        self._transactions: dict[int, _Transaction] = {}
        self._advises: dict[str, _Advise] = {}

    @property
    def open_transactions(self) -> int:
        """How many transactions are not answered."""
        return len(self._transactions)

    def advise_state(self, item: str) -> AdviseState:
        """Return how far the advise of an item is."""
        advise = self._advises.get(item)
        return AdviseState.NONE if advise is None else advise.state

    def transaction_state(self, number: int) -> TransactionState:
        """Return what a transaction waits for."""
        transaction = self._transactions.get(number)
        return TransactionState.NONE if transaction is None else transaction.state

    def fault_of(self, speaker: Role, message: Spoken) -> str:
        """Say why a message may not be said now; nothing if it may."""
        role, event = event_of(message)
        if role is not speaker:
            return f"`{event.value}` is not the {speaker.value}'s to say"
        if (self.state, event) not in CONVERSATIONS:
            return f"no `{event.value}` while a conversation is {self.state.value}"
        return self._fault_of_details(message, event)

    def _fault_of_details(self, message: Spoken, event: Event) -> str:
        if isinstance(message, Connected):
            return self._fault_of_grant(qos_of(message))
        if isinstance(message, Asking):
            return self._fault_of_asking(message, event)
        if isinstance(message, Answer):
            return self._fault_of_answer(message, event)
        if isinstance(message, Told):
            return self._fault_of_told(message, event)
        return ""

    def follow(self, message: Spoken) -> None:
        """Go where a message leads that may be said now."""
        _, event = event_of(message)
        self.state = CONVERSATIONS[self.state, event]
        if isinstance(message, Asking):
            self._open(message, event)
        elif isinstance(message, Answer):
            self._answer(message, event)
        elif isinstance(message, Told):
            self._tell(message, event)

    # --- what may be said -------------------------------------------------------------

    def _fault_of_grant(self, granted: QualityOfService) -> str:
        # The client sets these; a server may take less and never more.
        is_more = granted.exceeds(self.qos)
        return "the quality of service was raised" if is_more else ""

    def _fault_of_asking(self, message: Asking, event: Event) -> str:
        state = self.transaction_state(message.transaction)
        if (state, event) not in TRANSACTIONS:
            return f"transaction {message.transaction} is open already"
        if not isinstance(message, (Advise, Unadvise)):
            return ""
        if isinstance(message, Advise) and message.item not in self._advises:
            is_full = len(self._advises) >= self._most_advises
            return "too many advises in one conversation" if is_full else ""
        return self._fault_of_advise(message.item, event)

    def _fault_of_answer(self, message: Answer, event: Event) -> str:
        state = self.transaction_state(message.transaction)
        if (state, event) not in TRANSACTIONS:
            return f"transaction {message.transaction} is not answered by that"
        return ""

    def _fault_of_told(self, message: Told, event: Event) -> str:
        fault = self._fault_of_advise(message.item, event)
        if fault or isinstance(message, AdviseEnded):
            return fault
        advise = self._advises[message.item]
        if isinstance(message, Ack):
            is_right = advise.is_owed and message.serial == advise.serial
            return "" if is_right else "what is acknowledged is not owed"
        if message.serial <= advise.serial:
            return "advised data is told twice"
        if (message.value is not None) != advise.is_hot:
            return "advised data with a value where there is none, or without"
        return ""

    def _fault_of_advise(self, item: str, event: Event) -> str:
        state = self.advise_state(item)
        if (state, event) not in ADVISES:
            return f"no `{event.value}` while an advise is {state.value}"
        return ""

    # --- where it leads ---------------------------------------------------------------

    def _open(self, message: Asking, event: Event) -> None:
        item = message.item if isinstance(message, (Advise, Unadvise)) else None
        state = TRANSACTIONS[TransactionState.NONE, event]
        self._transactions[message.transaction] = _Transaction(state, item)
        if isinstance(message, Advise):
            self._advises[message.item] = _Advise(is_hot=message.kind == "hot")
        if item is not None:
            self._move(item, event)

    def _answer(self, message: Answer, event: Event) -> None:
        # INVARIANT: every answer leads a transaction to its end.
        transaction = self._transactions.pop(message.transaction)
        if transaction.item is not None:
            self._move(transaction.item, event)

    def _tell(self, message: Told, event: Event) -> None:
        advise = self._advises[message.item]
        if isinstance(message, AdviseData):
            advise.serial = message.serial
            advise.is_owed = advise.state is AdviseState.READY
        elif isinstance(message, Ack):
            advise.is_owed = False
        self._move(message.item, event)

    def _move(self, item: str, event: Event) -> None:
        advise = self._advises[item]
        advise.state = ADVISES[advise.state, event]
        if advise.state is AdviseState.NONE:
            del self._advises[item]
