"""Advises: who is told of an item's new values, judged again for each one.

1. A value is published, on any thread: every advise on its item rings, and nothing
   waits for anybody.
2. On the loop, the gate of each is told that there is news.
3. When the gate can send, it asks for the latest value. The advise is judged on a
   handler's thread, together with all others that wait: the descriptor in force, and a
   session that lives. Judging may read the store, which the loop must not wait for.
4. Back on the loop it is judged once more, by what is known by now, and sent at once.

So a client that reads slowly is owed one value, the latest, and what it lost the right
to is never sent, however long that was on its way. Deliveries leave no records: the
record of the advise's begin allows them.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from contextvars import Context
from dataclasses import dataclass
from typing import Final

from stead.decision.access_check import access_check
from stead.decision.fast import is_granted
from stead.errors import (
    AccessDeniedError,
    OperationFailedError,
    ServerClosedError,
    ServerUnavailableError,
    SteadError,
)
from stead.gates.dde.ports import DdeData
from stead.model.security_descriptor import SecurityDescriptor
from stead.monitor.guard import Guard
from stead.monitor.ports import Subject
from stead.monitor.securable_object import SecurableObject

_log: Final = logging.getLogger("stead.server")
# One round holds a handler's thread for some ten milliseconds at most.
_BATCH: Final = 512
# So many deliveries are sent before the loop may do something else.
_AT_ONCE: Final = 4
# How often a delivery is judged again because the descriptor changed meanwhile.
MOST_JUDGEMENTS: Final = 8


class Advises:
    """The advises of one topic, by item. Threads share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # Dicts keep the order in which they began.
        self._told: dict[str, dict[Advise, None]] = {}

    def add(self, advise: Advise) -> None:
        """Tell an advise of new values from now on."""
        with self._lock:
            self._told.setdefault(advise.key, {})[advise] = None

    def remove(self, advise: Advise) -> bool:
        """Tell it no more; return whether it was told."""
        with self._lock:
            told = self._told.get(advise.key, {})
            was_told = advise in told
            told.pop(advise, None)
            if not told:
                self._told.pop(advise.key, None)
        return was_told

    def of(self, key: str) -> tuple[Advise, ...]:
        """Return those that are told of an item."""
        with self._lock:
            return tuple(self._told.get(key, ()))

    def all(self) -> tuple[Advise, ...]:
        """Return those that are told of anything."""
        with self._lock:
            return tuple(advise for told in self._told.values() for advise in told)


@dataclass(frozen=True, slots=True, eq=False)
class Advise:
    """One client's wish to be told of one item.

    Attributes:
        guard: knows which sessions live.
        subject: the client.
        topic: the object that guards the item's topic.
        key: the item, as names are compared.
        rights: what is asked for at each delivery.
        guarding: returns the object whose descriptor is in force for the item.
        latest: returns the item's latest value; raises if its topic has failed.
        told: the advises of its topic, of which it is one from its begin to its end.
        ring: says that there is news; from any thread, waits for nothing.
    """

    guard: Guard
    subject: Subject
    topic: SecurableObject
    key: str
    rights: int
    guarding: Callable[[str], SecurableObject]
    latest: Callable[[str], DdeData]
    told: Advises
    ring: Callable[[], None]

    def begin(self) -> None:
        """Tell of new values from now on."""
        self.told.add(self)

    def end(self) -> bool:
        """Tell no more; return whether it had begun and not ended."""
        return self.told.remove(self)

    def take(self) -> DdeData:
        """Judge, and return the latest value.

        Raises:
            AccessDeniedError: the right is lost; holds the decision.
            LogonSessionEndedError: the session has ended.
            DdeNotProcessedError: the topic's source has failed.
        """
        for _ in range(MOST_JUDGEMENTS):
            securable, descriptor = self._judge()
            data = self.latest(self.key)
            # A value that came after the right was lost must not pass by what was
            # judged before: the same descriptor is in force on both sides of it.
            self.guard.liveness.require_live(self.subject.token)
            is_same = self.guarding(self.key) is securable
            if is_same and securable.in_force() is descriptor:
                return data
        raise AccessDeniedError(object_name=self.topic.name)

    def _judge(self) -> tuple[SecurableObject, SecurityDescriptor]:
        """Return what guards the item, and by which descriptor it was granted."""
        token = self.subject.token
        self.guard.liveness.require_live(token)
        securable = self.guarding(self.key)
        descriptor, mapping = securable.in_force(), securable.kind.mapping
        if not is_granted(token, descriptor, self.rights, mapping):
            raise AccessDeniedError(
                decision=access_check(token, descriptor, self.rights, mapping),
                object_name=securable.name,
            )
        return securable, descriptor


class Bell:
    """Carries rings from any thread to one loop; many of one advise count as one."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._lock = threading.Lock()
        # A dict keeps the order in which they rang.
        self._rung: dict[Callable[[], None], None] = {}

    def ring(self, news: Callable[[], None]) -> None:
        """Have `news` called on the loop's thread, soon; dropped if the loop ends."""
        with self._lock:
            is_first = not self._rung
            self._rung[news] = None
        if is_first:
            self.soon(self._answer)

    def soon(self, act: Callable[[], None]) -> None:
        """Have `act` called on the loop's thread; takes no lock, waits for nothing."""
        # The loop may be closed by now, and its conversations with it.
        with suppress(RuntimeError):
            # An empty context: what the publisher is, the loop is not.
            self._loop.call_soon_threadsafe(act, context=Context())

    def _answer(self) -> None:
        with self._lock:
            rung, self._rung = self._rung, {}
        for news in rung:
            news()


class Rounds:
    """Judges the deliveries of one loop on a handler's thread, all that wait."""

    def __init__(self, handlers: Executor) -> None:
        self._handlers = handlers
        self._waiting: list[tuple[Advise, asyncio.Future[DdeData]]] = []
        self._round: asyncio.Task[None] | None = None

    async def take(self, advise: Advise) -> DdeData:
        """Return what `Advise.take` returns, judged there and once more here."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[DdeData] = loop.create_future()
        self._waiting.append((advise, future))
        if self._round is None:
            self._round = loop.create_task(self._run(), context=Context())
        await future
        return advise.take()

    async def _run(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:_BATCH], self._waiting[_BATCH:]
                await self._judge(batch)
        finally:
            self._round = None
            for _, future in self._waiting:
                future.cancel()

    async def _judge(
        self, batch: Sequence[tuple[Advise, asyncio.Future[DdeData]]]
    ) -> None:
        try:
            answers = await self._answers([advise for advise, _ in batch])
            for number, ((_, future), answer) in enumerate(
                zip(batch, answers, strict=True), start=1
            ):
                _settle(future, answer)
                if number % _AT_ONCE == 0:
                    await asyncio.sleep(0)
        except asyncio.CancelledError:
            for _, future in batch:
                future.cancel()
            raise

    async def _answers(self, advises: Sequence[Advise]) -> list[DdeData | SteadError]:
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._handlers, _taken, advises)
        except ServerUnavailableError as error:  # there is no thread for it now
            return [error for _ in advises]
        except RuntimeError:  # handlers take nothing more
            return [ServerClosedError("the server is closed") for _ in advises]


def _settle(future: asyncio.Future[DdeData], answer: DdeData | SteadError) -> None:
    if future.done():  # whoever waited has left
        return
    if isinstance(answer, SteadError):
        future.set_exception(answer)
    else:
        future.set_result(answer)


def _taken(advises: Sequence[Advise]) -> list[DdeData | SteadError]:
    return [_answer(advise) for advise in advises]


def _answer(advise: Advise) -> DdeData | SteadError:
    """Return a value or the refusal; one failure must not be the others'."""
    try:
        return advise.take()
    except SteadError as error:
        return error
    except Exception as error:  # noqa: BLE001 - the outermost loop of deliveries
        _log.exception("a delivery of `%s` failed", advise.key)
        failure = OperationFailedError(f"a delivery of `{advise.key}` failed")
        failure.__cause__ = error
        return failure
