"""One advise at the server: when its client is sent the next value.

1. The host says that there is news. Nothing is asked of it yet.
2. The delivery waits for its turn: the last value is acknowledged if it has to be, the
   client was not busy just now, and the socket takes more.
3. The latest value is asked for, judged by the host, and sent in the same step. If the
   socket has filled meanwhile it is thrown away, and the delivery waits again.

So of one item never more than one value is on its way to a client.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Final, Protocol

from stead.errors import AdviseTimeoutError, OperationFailedError, SteadError
from stead.gates.dde.conversation import AdviseState
from stead.gates.dde.limits import DdeLimits
from stead.gates.dde.messages import (
    AckName,
    AdviseData,
    AdviseEnded,
    Spoken,
)
from stead.gates.dde.ports import DdeData, DdeSide
from stead.gates.dde.refusals import log_failure, value_from_host
from stead.gates.ports import public_refusal

logger = logging.getLogger(__name__)

_READY: Final = frozenset({AdviseState.READY, AdviseState.FREE})
_BEGUN: Final = _READY | {AdviseState.OWED}


class Outlet(Protocol):
    """What a delivery asks of its conversation."""

    number: int

    @property
    def is_clear(self) -> bool:
        """Whether the socket takes all that is sent now."""
        ...

    def advise_state(self, item: str) -> AdviseState:
        """Return how far an advise is."""
        ...

    def say(self, message: Spoken) -> None:
        """Send a message, unless nobody is left to hear it."""

    def wait_turn(self, delivery: Delivery) -> None:
        """Call the delivery's `take_turn` once the socket is clear."""

    def start(self, work: Coroutine[object, object, None]) -> asyncio.Task[None]:
        """Do some work before the conversation is closed."""
        ...

    def fail(self, error: Exception) -> None:
        """Take note of a refusal: some end the conversation."""


class Delivery:
    """Tells one client of one item.

    Attributes:
        item: its name.
    """

    def __init__(
        self, item: str, side: DdeSide, outlet: Outlet, limits: DdeLimits
    ) -> None:
        self.item = item
        self._side = side
        self._outlet = outlet
        self._limits = limits
        self._serial = 0
        self._has_news = False
        self._is_over = False
        self._is_over_at_host = False
        self._turn: asyncio.Task[None] | None = None
        self._dropping: asyncio.Task[None] | None = None
        self._pause: asyncio.TimerHandle | None = None
        self._patience: asyncio.TimerHandle | None = None
        self._busy_for = limits.busy_seconds

    def news(self) -> None:
        """Take note that there is something to tell; from the loop's thread."""
        self._has_news = True
        self._ask_turn()

    def begin(self) -> None:
        """Start to tell: the client knows that its advise is granted."""
        self._ask_turn()

    def acknowledge(self, status: AckName) -> None:
        """Take the client's acknowledgement of the last value."""
        if self._is_over:
            return
        self._stop_timers()
        if status != "busy":
            self._busy_for = self._limits.busy_seconds
            self._ask_turn()
            return
        self._has_news = True
        loop = asyncio.get_running_loop()
        self._pause = loop.call_later(self._busy_for, self._resume)
        self._busy_for = min(2 * self._busy_for, self._limits.busy_longest)

    def take_turn(self) -> asyncio.Task[None] | None:
        """Start to ask for the latest value and send it, if there still is need."""
        if not self._may_tell:
            return None
        self._has_news = False
        self._turn = self._outlet.start(self._tell_latest())
        self._turn.add_done_callback(self._end_turn)
        return self._turn

    def stop(self) -> None:
        """Tell nothing more; the host hears of it by `end`, or with all the rest."""
        self._is_over = True
        self._stop_timers()

    async def end(self) -> None:
        """Tell nothing more, and let the host know."""
        self.stop()
        await asyncio.wait([self._drop()])

    # --- inside -----------------------------------------------------------------------

    @property
    def _may_tell(self) -> bool:
        return (
            self._has_news
            and not self._is_over
            and self._turn is None
            and self._pause is None
            and self._outlet.advise_state(self.item) in _READY
        )

    def _ask_turn(self) -> None:
        if self._may_tell:
            self._outlet.wait_turn(self)

    def _end_turn(self, _: asyncio.Task[None]) -> None:
        self._turn = None
        self._ask_turn()

    def _resume(self) -> None:
        self._pause = None
        self._ask_turn()

    def _stop_timers(self) -> None:
        for timer in (self._pause, self._patience):
            if timer is not None:
                timer.cancel()
        self._pause = self._patience = None

    async def _tell_latest(self) -> None:
        try:
            data = await self._side.latest(self.item)
        except Exception as error:  # noqa: BLE001 - the outermost loop of an advise
            self._is_over_at_host = True
            self._refuse(error)
            return
        try:
            self._tell(data)
        except OperationFailedError as error:
            self._refuse(error)
            self._drop()

    def _tell(self, data: DdeData | None) -> None:
        # INVARIANT: nothing is awaited between the host's answer and the sending.
        if self._is_over:
            return
        state = self._outlet.advise_state(self.item)
        if not self._outlet.is_clear or state not in _READY:
            self._has_news = True
            return
        message = AdviseData(
            conversation=self._outlet.number,
            item=self.item,
            serial=self._serial + 1,
            value=None if data is None else value_from_host(data),
        )
        self._outlet.say(message)
        self._serial += 1
        if state is AdviseState.READY:
            loop = asyncio.get_running_loop()
            seconds = self._limits.ack_seconds
            self._patience = loop.call_later(seconds, self._lose_patience)

    def _lose_patience(self) -> None:
        self._refuse(AdviseTimeoutError("advised data is not acknowledged"))
        self._drop()

    def _refuse(self, error: Exception) -> None:
        """End the advise, and let the client know as much as it may."""
        log_failure(logger, error, "advise")
        was_over = self._is_over
        self.stop()
        if not was_over and self._outlet.advise_state(self.item) in _BEGUN:
            public = public_refusal(error)
            self._outlet.say(
                AdviseEnded(
                    conversation=self._outlet.number,
                    item=self.item,
                    status=public.status,
                    message=public.message,
                    record=public.record,
                )
            )
        self._outlet.fail(error)

    def _drop(self) -> asyncio.Task[None]:
        if self._dropping is None:
            self._dropping = self._outlet.start(self._unadvise())
        return self._dropping

    async def _unadvise(self) -> None:
        """Let the host know, once what it was asked last is answered."""
        if self._turn is not None:
            await asyncio.wait([self._turn])
        if self._is_over_at_host:
            return
        try:
            await self._side.unadvise(self.item)
        except SteadError as error:
            logger.debug("an advise of `%s` had ended: %s", self.item, error)
        except Exception:
            logger.exception("an advise of `%s` does not end", self.item)
