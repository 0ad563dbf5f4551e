"""What both clients do alike: what is asked, what is awaited, what is advised.

An `Exchange` touches no socket. Bytes that came go in by `feed`, bytes to be sent come
out of `outgoing`; whoever awaits an answer is woken when it is there. Both clients
answer the server's ends by themselves, as the tables of `conversation` ask.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Final

from stead.errors import (
    InvalidRequestError,
    NoConversationError,
    QuotaExceededError,
    RemoteProtocolError,
    ServerClosedError,
    SteadError,
)
from stead.gates.dde.awaited import Awaited, Inbox, refusal_of
from stead.gates.dde.conversation import AdviseState, ConversationState
from stead.gates.dde.messages import (
    VERSION,
    Ack,
    Advise,
    AdviseData,
    AdviseEnded,
    Answer,
    Asking,
    Connect,
    Connected,
    Done,
    Goodbye,
    Hello,
    Message,
    Qos,
    QosWas,
    Refused,
    Terminate,
    Terminated,
    Unadvise,
    Welcome,
    qos_fields,
    write_message,
)
from stead.gates.dde.ports import AdviseKind
from stead.gates.dde.protocol import DdeProtocol, LinkState
from stead.gates.pipe.protocol import Role
from stead.model.quality_of_service import QualityOfService

_SILENT: Final = frozenset({LinkState.BROKEN, LinkState.CLOSED})
_STANDING: Final = frozenset({ConversationState.CONNECTING, ConversationState.TALKING})
_TOLD: Final = frozenset({AdviseState.FREE, AdviseState.READY, AdviseState.OWED})
_GRANTED: Final = _TOLD | {AdviseState.ENDED}


class Exchange:
    """A client's side of one connection.

    Attributes:
        outgoing: bytes that are to be sent; whoever sends removes them.
        end: why the connection is over, or None.
    """

    def __init__(self) -> None:
        self.outgoing = bytearray()
        self.end: SteadError | None = None
        self._protocol = DdeProtocol(Role.CLIENT)
        self._hello: Awaited | None = None
        self._qos: deque[Awaited] = deque()
        self._connecting: dict[int, Awaited] = {}
        self._leaving: dict[int, Awaited] = {}
        self._asked: dict[tuple[int, int], tuple[Asking, Awaited]] = {}
        self._backlog: dict[tuple[int, int], Asking] = {}
        self._inboxes: dict[tuple[int, str], Inbox] = {}
        self._last_number = 0

    # --- what is asked ----------------------------------------------------------------

    def hello(self, correlation: str | None) -> Awaited:
        """Say who comes."""
        self._hello = Awaited()
        self._send(Hello(version=VERSION, correlation=correlation))
        return self._hello

    def set_qos(self, qos: QualityOfService) -> Awaited:
        """Set the quality of service of later conversations."""
        self._require_open()
        awaited = Awaited()
        self._send(Qos(**qos_fields(qos)))
        self._qos.append(awaited)
        return awaited

    def connect(self, service: str, topic: str) -> tuple[int, Awaited]:
        """Begin a conversation; return its number too.

        Raises:
            QuotaExceededError: the connection has as many as it may have.
        """
        self._require_open()
        if len(self._protocol.conversations) >= self._protocol.bounds.conversations:
            raise QuotaExceededError("the connection has too many conversations")
        number = self._next_number()
        awaited = Awaited()
        self._send(Connect(conversation=number, service=service, topic=topic))
        self._connecting[number] = awaited
        return number, awaited

    def terminate(self, number: int) -> Awaited:
        """Leave a conversation, whatever it waits for."""
        awaited = Awaited()
        self._forget_conversation(number, NoConversationError("the client has left it"))
        state = self._protocol.state_of(number)
        if self.end is None and state in _STANDING:
            self._leaving[number] = awaited
            self._send(Terminate(conversation=number))
        else:
            awaited.fail(self.end or NoConversationError("the conversation has ended"))
        return awaited

    def ask(self, asking: type[Asking], conversation: int, /, **fields: Any) -> Awaited:
        """Start a transaction; it waits here while the server has enough of them.

        Raises:
            InvalidMessageError: it cannot be written; nothing was sent.
            NoConversationError: the conversation has ended.
        """
        self._require_open()
        if self._protocol.state_of(conversation) is not ConversationState.TALKING:
            raise NoConversationError("the conversation has ended")
        awaited = self._enqueue(asking, conversation, **fields)
        self._send_backlog()
        return awaited

    def advise(
        self, inbox: Inbox, item: str, kind: AdviseKind, *, acknowledged: bool
    ) -> Awaited:
        """Start to have an inbox told of an item.

        Raises:
            InvalidRequestError: the conversation has it advised already.
            QuotaExceededError: the conversation has as many as it may have.
        """
        key = inbox.conversation, item
        known = self._inboxes.get(key)
        if known is not None and item in known.items:
            raise InvalidRequestError(f"item `{item}` is advised already")
        count = sum(number == inbox.conversation for number, _ in self._inboxes)
        if known is None and count >= self._protocol.bounds.advises:
            raise QuotaExceededError("the conversation has too many advises")
        awaited = self.ask(
            Advise,
            inbox.conversation,
            item=item,
            kind=kind.value,
            acknowledged=acknowledged,
        )
        self._inboxes[key] = inbox
        return awaited

    def unadvise(self, inbox: Inbox, item: str) -> Awaited | None:
        """Have an inbox told no more of an item; None if it is not any more."""
        is_told = self._told(inbox.conversation, item) is inbox
        inbox.end(item)
        if not is_told:  # the item may be advised to another inbox
            return None
        awaited = self._enqueue_unadvise(inbox.conversation, item)
        self._send_backlog()
        return awaited

    def unadvise_all(self, inbox: Inbox) -> list[Awaited]:
        """Have an inbox told no more; return what is to be waited for."""
        ended = [self.unadvise(inbox, item) for item in tuple(inbox.items)]
        return [awaited for awaited in ended if awaited is not None]

    def acknowledge(self, inbox: Inbox, message: AdviseData) -> None:
        """Let the server know that a value was taken, if it waits for that."""
        number, item = message.conversation, message.item
        is_told = item in inbox.items and self._told(number, item) is inbox
        if is_told and self._advise_state(number, item) is AdviseState.OWED:
            self._send(Ack(conversation=number, item=item, serial=message.serial))

    def abandon(self, awaited: Awaited) -> None:
        """Wait no more: what may still come is thrown away, or undone."""
        for key, (_, asked) in tuple(self._asked.items()):
            if asked is awaited and key in self._backlog:
                self._drop(key)
        for number, connecting in tuple(self._connecting.items()):
            if connecting is awaited:
                self.terminate(number)
        awaited.fail(InvalidRequestError("nobody waits any more"))

    def goodbye(self) -> None:
        """Leave; everything ends."""
        if self.end is None:
            self._send(Goodbye())
        self.fail(ServerClosedError("the connection is closed"))

    # --- what comes -------------------------------------------------------------------

    def feed(self, data: bytes) -> None:
        """Take bytes as they came.

        A server that breaks the protocol ends everything with `RemoteProtocolError`.
        """
        try:
            while messages := self._protocol.receive_data(data):
                data = b""
                for message in messages:
                    self._take(message)
        except RemoteProtocolError as error:
            self.fail(error)
        self._send_backlog()

    def fail(self, error: SteadError) -> None:
        """End everything that waits, and all that would come."""
        self.end = self.end or error
        self._backlog.clear()
        waiting = [
            *([self._hello] if self._hello else []),
            *self._qos,
            *self._connecting.values(),
            *self._leaving.values(),
            *(awaited for _, awaited in self._asked.values()),
        ]
        for awaited in waiting:
            awaited.fail(self.end)
        for inbox in self._inboxes.values():
            inbox.end_all(self.end)

    def _take(self, message: Message) -> None:
        if isinstance(message, Answer):
            self._take_answer(message)
        elif isinstance(message, AdviseData):
            self._take_told(message)
        elif isinstance(message, AdviseEnded):
            self._end_advise(message)
        elif isinstance(message, (Connected, Refused)):
            self._take_connected(message)
        elif isinstance(message, Terminated):
            self._take_terminated(message)
        elif isinstance(message, QosWas):
            self._qos.popleft().settle(message)
        elif isinstance(message, Welcome) and self._hello is not None:
            self._hello.settle(message)
        elif isinstance(message, Goodbye):
            why = f": {message.reason}" if message.reason else ""
            self.fail(ServerClosedError(f"the server said goodbye{why}"))

    def _take_answer(self, message: Answer) -> None:
        key = message.conversation, message.transaction
        if key not in self._asked:
            return  # its conversation was left meanwhile
        asked, awaited = self._asked.pop(key)
        if isinstance(asked, Advise) and isinstance(message, Done):
            self._take_grant(asked, is_awaited=not awaited.is_done)
        elif isinstance(asked, (Advise, Unadvise)) and not self._is_waiting(
            Advise, key[0], asked.item
        ):
            self._inboxes.pop((key[0], asked.item), None)
        awaited.settle(message)

    def _take_grant(self, asked: Advise, *, is_awaited: bool) -> None:
        number, item = asked.conversation, asked.item
        inbox = self._told(number, item)
        if inbox is not None and item in inbox.items:
            if is_awaited:
                return
            inbox.end(item)
        self._enqueue_unadvise(number, item)

    def _take_told(self, message: AdviseData) -> None:
        inbox = self._told(message.conversation, message.item)
        if inbox is not None and message.item in inbox.items:
            inbox.put(message)

    def _end_advise(self, message: AdviseEnded) -> None:
        inbox = self._told(message.conversation, message.item)
        if inbox is not None:
            inbox.end(message.item, refusal_of(message))
        self._enqueue_unadvise(message.conversation, message.item)

    def _take_connected(self, message: Connected | Refused) -> None:
        number = message.conversation
        connecting = self._connecting.pop(number, None)
        if connecting is not None:  # or it was left meanwhile
            connecting.settle(message)
        state = self._protocol.state_of(number)
        if state is ConversationState.REFUSED:
            self._send(Terminate(conversation=number))
        elif state is ConversationState.NONE:
            self._leaving.pop(number).settle(message)

    def _take_terminated(self, message: Terminated) -> None:
        number = message.conversation
        why = f": {message.reason}" if message.reason else ""
        error = NoConversationError(f"the server has left the conversation{why}")
        self._forget_conversation(number, error)
        if self._protocol.state_of(number) is ConversationState.SERVER_LEFT:
            self._send(Terminate(conversation=number))
        awaited = self._leaving.pop(number, None)
        if awaited is not None:
            awaited.settle(message)

    # --- inside -----------------------------------------------------------------------

    def _next_number(self) -> int:
        self._last_number += 1
        return self._last_number

    def _enqueue(
        self, asking: type[Asking], conversation: int, /, **fields: Any
    ) -> Awaited:
        """Let a transaction wait for its turn, and until all that came is taken."""
        number = self._next_number()
        message = asking(conversation=conversation, transaction=number, **fields)
        write_message(message)  # found out now, not when its turn comes
        awaited = Awaited()
        self._asked[conversation, number] = message, awaited
        self._backlog[conversation, number] = message
        return awaited

    def _enqueue_unadvise(self, number: int, item: str) -> Awaited | None:
        """Ask for an advise's end, unless that is done already."""
        is_talking = self._protocol.state_of(number) is ConversationState.TALKING
        is_standing = is_talking and self._advise_state(number, item) in _GRANTED
        if not is_standing or self._is_waiting(Unadvise, number, item):
            return None
        return self._enqueue(Unadvise, number, item=item)

    def _require_open(self) -> None:
        if self.end is not None:
            raise ServerClosedError(str(self.end)) from self.end

    def _send(self, message: Message) -> None:
        if self.end is None and self._protocol.state not in _SILENT:
            self.outgoing += self._protocol.send(message)

    def _send_backlog(self) -> None:
        bound = self._protocol.bounds.transactions
        for key, message in tuple(self._backlog.items()):
            if self._protocol.open_transactions >= bound:
                return
            if isinstance(message, Advise) and self._is_ending(message):
                continue
            del self._backlog[key]
            self._send(message)

    def _is_ending(self, message: Advise) -> bool:
        """Whether an earlier advise of that item is not over yet."""
        place = message.conversation, message.item
        return self._advise_state(*place) is not AdviseState.NONE

    def _advise_state(self, number: int, item: str) -> AdviseState:
        talk = self._protocol.conversations.get(number)
        return AdviseState.NONE if talk is None else talk.advise_state(item)

    def _is_waiting(self, kind: type[Advise | Unadvise], *place: int | str) -> bool:
        return any(
            isinstance(message, kind) and (message.conversation, message.item) == place
            for message in self._backlog.values()
        )

    def _told(self, number: int, item: str) -> Inbox | None:
        """Return the inbox of the advise that the server knows of.

        While an advise ends, the next one of that item may wait for its turn: what
        still comes of the first is not its.
        """
        inbox = self._inboxes.get((number, item))
        is_next = inbox is not None and self._is_waiting(Advise, number, item)
        return None if is_next else inbox

    def _drop(self, key: tuple[int, int]) -> None:
        """Forget a transaction that was not sent."""
        asked = self._backlog[key]
        if isinstance(asked, Unadvise):
            return  # whether anybody waits or not, the advise has to end
        del self._backlog[key], self._asked[key]
        # The inbox is kept while an earlier advise lasts, which counts for one.
        if isinstance(asked, Advise):
            self._inboxes[key[0], asked.item].end(asked.item)
            if not self._is_ending(asked):
                del self._inboxes[key[0], asked.item]

    def _forget_conversation(self, number: int, error: SteadError) -> None:
        connecting = self._connecting.pop(number, None)
        if connecting is not None:
            connecting.fail(error)
        for key in tuple(self._asked):
            if key[0] == number:
                self._backlog.pop(key, None)
                self._asked.pop(key)[1].fail(error)
        for place in tuple(self._inboxes):
            if place[0] == number:
                self._inboxes.pop(place).end_all(error)
