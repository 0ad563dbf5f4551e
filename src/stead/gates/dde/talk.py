"""One conversation at the server, from its Connect to its end.

1. The host is asked, for one conversation of a uid at a time; a refusal ends it.
2. Transactions are started as they come, and answered as they finish, in any order.
3. When the client leaves or is gone, its advises stop at once. What was started
   finishes: what was written down as allowed is done. Then the host hears of the end,
   and only then the client, which may begin so many conversations and no more.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from contextvars import Context
from typing import Final, Protocol

from stead.errors import (
    DdeBusyError,
    LogonSessionEndedError,
    NoConversationError,
)
from stead.gates.dde.conversation import (
    AdviseState,
    Conversation,
    ConversationState,
)
from stead.gates.dde.delivery import Delivery
from stead.gates.dde.limits import DdeLimits
from stead.gates.dde.messages import (
    Ack,
    Advise,
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
    Terminated,
    Unadvise,
    data_of,
    qos_fields,
)
from stead.gates.dde.ports import AdviseKind, DdeHost, DdeSide
from stead.gates.dde.refusals import log_failure, value_from_host
from stead.gates.pipe.peer import PeerEvidence
from stead.gates.ports import public_refusal

logger = logging.getLogger(__name__)

_HEARING: Final = frozenset({ConversationState.TALKING, ConversationState.CLIENT_LEFT})


class Caller(Protocol):
    """What a conversation asks of its connection."""

    evidence: PeerEvidence
    correlation: str | None
    admission: asyncio.Lock

    @property
    def is_clear(self) -> bool:
        """Whether the socket takes all that is sent now."""
        ...

    def send(self, message: Spoken) -> None:
        """Send a message, unless nobody is left to hear it."""

    def wait_turn(self, delivery: Delivery) -> None:
        """Call the delivery's `take_turn` once the socket is clear."""


class Talk:
    """Serves one conversation.

    Attributes:
        number: its number.
    """

    def __init__(
        self, number: int, view: Conversation, caller: Caller, limits: DdeLimits
    ) -> None:
        self.number = number
        self._view = view
        self._caller = caller
        self._limits = limits
        self._side: DdeSide | None = None
        self._running: set[asyncio.Task[None]] = set()
        self._deliveries: dict[str, Delivery] = {}
        self._end: asyncio.Task[None] | None = None

    @property
    def is_open(self) -> bool:
        """Whether something is being done for the client, or may be asked for."""
        return self._side is not None or bool(self._running)

    @property
    def is_clear(self) -> bool:
        """Whether the socket takes all that is sent now."""
        return self._caller.is_clear

    def connect(self, message: Connect, host: DdeHost) -> None:
        """Ask the host for the conversation."""
        self.start(self._connect(message, host))

    def transact(self, message: Asking) -> None:
        """Start a transaction, unless the server has left before it heard of it."""
        if self._view.state is not ConversationState.SERVER_LEFT:
            self.start(self._transact(message))

    def acknowledge(self, message: Ack) -> None:
        """Take the client's acknowledgement of advised data."""
        delivery = self._deliveries.get(message.item)
        if delivery is not None:
            delivery.acknowledge(message.status)

    def end(self) -> asyncio.Task[None]:
        """End the conversation: at the client's wish, or because it is gone."""
        for delivery in self._deliveries.values():
            delivery.stop()
        if self._end is None:
            self._end = asyncio.create_task(self._finish(), context=Context())
        return self._end

    def cancel(self) -> None:
        """Cancel what still runs."""
        for task in self._running:
            task.cancel()

    # --- what deliveries ask of it ----------------------------------------------------

    def advise_state(self, item: str) -> AdviseState:
        """Return how far an advise is."""
        return self._view.advise_state(item)

    def wait_turn(self, delivery: Delivery) -> None:
        """Call the delivery's `take_turn` once the socket is clear."""
        self._caller.wait_turn(delivery)

    def say(self, message: Spoken) -> None:
        """Send a message, unless the conversation is over."""
        if self._view.state is not ConversationState.NONE:
            self._caller.send(message)

    def start(self, work: Coroutine[object, object, None]) -> asyncio.Task[None]:
        """Do some work before the conversation is closed."""
        # An empty context: what one transaction sets, no other finds.
        task: asyncio.Task[None] = asyncio.create_task(_quiet(work), context=Context())
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    def fail(self, error: Exception) -> None:
        """Leave the conversation if its logon session has ended."""
        if (
            isinstance(error, LogonSessionEndedError)
            and self._view.state is ConversationState.TALKING
        ):
            self.say(Terminated(conversation=self.number, reason=error.public))
            self.end()

    # --- inside -----------------------------------------------------------------------

    async def _connect(self, message: Connect, host: DdeHost) -> None:
        caller = self._caller
        try:
            async with caller.admission:
                if self._end is not None:
                    return
                self._side = await host.connect(
                    caller.evidence,
                    self._view.qos,
                    service=message.service,
                    topic=message.topic,
                    correlation=caller.correlation,
                )
            if self._view.state is ConversationState.CONNECTING:
                fields = qos_fields(self._side.qos)
                self.say(Connected(conversation=self.number, **fields))
        except Exception as error:  # noqa: BLE001 - the outermost loop of a client
            log_failure(logger, error, "connect")
            self._refuse(error)

    def _refuse(self, error: Exception) -> None:
        if self._view.state is ConversationState.CONNECTING:
            public = public_refusal(error)
            self.say(
                Refused(
                    conversation=self.number,
                    status=public.status,
                    message=public.message,
                    record=public.record,
                )
            )

    async def _transact(self, message: Asking) -> None:
        kind = type(message).__name__.lower()
        try:
            await self._do(message)
        except DdeBusyError:
            busy = Busy(conversation=self.number, transaction=message.transaction)
            self._answer(busy)
        except Exception as error:  # noqa: BLE001 - the outermost loop of a client
            log_failure(logger, error, kind)
            public = public_refusal(error)
            nack = Nack(
                conversation=self.number,
                transaction=message.transaction,
                status=public.status,
                message=public.message,
                record=public.record,
            )
            self._answer(nack)
            self.fail(error)

    async def _do(self, message: Asking) -> None:
        """Do what is asked, and answer it."""
        side = self._side
        if side is None:
            raise NoConversationError("nobody is behind the conversation")
        if isinstance(message, Request):
            value = value_from_host(await side.request(message.item))
            number, transaction = self.number, message.transaction
            self._answer(
                Data(conversation=number, transaction=transaction, value=value)
            )
        elif isinstance(message, Advise):
            await self._advise(side, message)
        else:
            await self._act(side, message)
            self._done(message)

    async def _act(self, side: DdeSide, message: Poke | Execute | Unadvise) -> None:
        if isinstance(message, Poke):
            await side.poke(message.item, data_of(message.value))
        elif isinstance(message, Execute):
            await side.execute(message.command)
        else:
            # INVARIANT: by the table, an item that may be unadvised has a delivery.
            await self._deliveries[message.item].end()
            del self._deliveries[message.item]

    async def _advise(self, side: DdeSide, message: Advise) -> None:
        delivery = Delivery(message.item, side, self, self._limits)
        self._deliveries[message.item] = delivery
        try:
            await side.advise(message.item, AdviseKind(message.kind), delivery.news)
        except BaseException:
            del self._deliveries[message.item]
            raise
        self._done(message)
        delivery.begin()

    def _done(self, message: Asking) -> None:
        self._answer(Done(conversation=self.number, transaction=message.transaction))

    def _answer(self, answer: Answer) -> None:
        if self._view.state in _HEARING:
            self.say(answer)

    async def _finish(self) -> None:
        """Let what runs end, then close, then tell the client."""
        while self._running:
            await asyncio.wait(self._running)
        self._deliveries.clear()
        try:
            if self._side is not None:
                await self._side.close()
        except Exception as error:  # noqa: BLE001 - the outermost loop of a client
            log_failure(logger, error, "close")
        self._side = None
        if self._view.state is ConversationState.CLIENT_LEFT:
            self.say(Terminated(conversation=self.number))
        elif self._view.state is ConversationState.ABANDONED:
            public = public_refusal(NoConversationError("the client has left"))
            self.say(
                Refused(
                    conversation=self.number,
                    status=public.status,
                    message=public.message,
                )
            )


async def _quiet(work: Coroutine[object, object, None]) -> None:
    """Do some work; to be cancelled is no failure of it."""
    try:
        await work
    except asyncio.CancelledError:
        logger.debug("work for a client is cancelled")
