"""One DDE conversation: a client's own logon session, and one topic it talks about."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from typing import Any, Final, TypeVar

from stead.errors import (
    AccessDeniedError,
    DdeNotProcessedError,
    NoConversationError,
    SteadError,
)
from stead.gates.dde.ports import AdviseKind, DdeData
from stead.model.audit_record import AuditEvent
from stead.model.quality_of_service import QualityOfService
from stead.monitor.guard import Guard
from stead.monitor.recorder import Parts
from stead.server.dde.advises import Advise, Bell, Rounds
from stead.server.dde.ports import DdeConversation, Topic, about

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Line:
    """What conversations of one loop share.

    Attributes:
        guard: records how they end.
        handlers: where transactions run.
        bell: carries news to the loop.
        rounds: judges deliveries.
    """

    guard: Guard
    handlers: Executor
    bell: Bell
    rounds: Rounds


class ConversationSide:
    """The server's end of one conversation (`stead.gates.dde.ports.DdeSide`).

    Transactions run on handlers' threads, an account's share of them at once.
    """

    def __init__(
        self,
        conversation: DdeConversation,
        topic: Topic,
        line: Line,
        *,
        turns: asyncio.Semaphore,
        on_end: Callable[[Callable[[], None]], Callable[[], None]],
    ) -> None:
        """Begin; on the loop's thread, after all was judged and recorded.

        Args:
            conversation: who talks about what.
            topic: what is talked about.
            line: what it shares.
            turns: how many handlers its account may keep busy.
            on_end: has something called when the client's session ends; returns what
                undoes that.
        """
        self._conversation: Final = conversation
        self._topic = topic
        self._line = line
        self._turns = turns
        self._numbers = count(1)
        self._advises: dict[str, tuple[Advise, AdviseKind]] = {}
        self._is_closed = False
        self._forget = on_end(partial(line.bell.soon, self._ring_all))

    @property
    def qos(self) -> QualityOfService:
        """The quality of service granted, for as long as the conversation lasts."""
        return self._conversation.quality_of_service

    async def request(self, item: str) -> DdeData:
        """Return an item's value; raises as `Topic.read` does."""
        return await self._transact(self._topic.read, item)

    async def poke(self, item: str, data: DdeData) -> None:
        """Give an item a value; raises as `Topic.read` does."""
        await self._transact(self._topic.poke, item, data)

    async def execute(self, command: str) -> None:
        """Run a command; raises as `Topic.read` does."""
        await self._transact(self._topic.execute, command)

    async def advise(
        self, item: str, kind: AdviseKind, news: Callable[[], None]
    ) -> None:
        """Begin to tell of an item; raises as `Topic.read` does.

        Args:
            item: its name.
            kind: hot gives the values, warm only says that there are new ones.
            news: called on the loop's thread when there is something to tell, or the
                advise has to end: then `latest` is asked for, when it can be sent.
        """
        ring = partial(self._line.bell.ring, news)
        judge = partial(self._topic.advise, ring=ring, is_hot=kind is AdviseKind.HOT)
        advise = await self._transact(judge, item)
        if self._is_closed or item in self._advises:
            self._queue_end(advise)
            if self._is_closed:
                raise NoConversationError("the conversation has ended")
            raise DdeNotProcessedError(f"`{item}` is advised already")
        self._advises[item] = advise, kind
        advise.begin()

    async def latest(self, item: str) -> DdeData | None:
        """Return what is to be told of an advised item, judged now; None if warm.

        Raises:
            AccessDeniedError, LogonSessionEndedError: the client may no more; recorded.
            DdeNotProcessedError: the topic has failed, or there is no such advise.
        """
        advise, kind = self._advised(item)
        try:
            data = await self._line.rounds.take(advise)
        except SteadError as error:
            await self._end_refused(item, advise, error)
            raise
        return data if kind is AdviseKind.HOT else None

    async def unadvise(self, item: str) -> None:
        """Tell of an item no more; raises `DdeNotProcessedError` if it is not told."""
        advise, _ = self._advised(item)
        del self._advises[item]
        self._end(advise)

    async def close(self) -> None:
        """End the conversation and its session; waits for nothing."""
        self._is_closed = True
        self._forget()
        while self._advises:
            _, (advise, _) = self._advises.popitem()
            self._end(advise)
        client = self._conversation.client
        self._line.guard.recorder.queue(
            AuditEvent.CONVERSATION_ENDED,
            client.subject,
            None,
            **about(self._conversation, self._topic),
        )
        client.close()

    # --- inside -----------------------------------------------------------------------

    async def _transact(self, act: Callable[..., _T], *told: Any) -> _T:
        """Run one transaction on a handler's thread, its records tied together."""
        client = self._conversation.client.for_request(next(self._numbers))
        mine = replace(self._conversation, client=client)
        loop = asyncio.get_running_loop()
        async with self._turns:
            return await loop.run_in_executor(self._line.handlers, act, mine, *told)

    def _advised(self, item: str) -> tuple[Advise, AdviseKind]:
        if item not in self._advises:
            raise DdeNotProcessedError(f"`{item}` is not advised")
        return self._advises[item]

    def _ring_all(self) -> None:
        for advise, _ in self._advises.values():
            advise.ring()

    async def _end_refused(self, item: str, advise: Advise, error: SteadError) -> None:
        """End an advise, and record durably why: the client hears the number."""
        self._advises.pop(item, None)
        if advise.end():
            loop, guard = asyncio.get_running_loop(), self._line.guard
            told = partial(_record_refused, guard, advise, error)
            async with self._turns:
                await loop.run_in_executor(self._line.handlers, told)

    def _end(self, advise: Advise) -> None:
        if advise.end():
            self._queue_end(advise)

    def _queue_end(self, advise: Advise) -> None:
        self._line.guard.recorder.queue(
            AuditEvent.ADVISE_ENDED, advise.subject, None, **_about_advise(advise)
        )


def _about_advise(advise: Advise) -> Parts:
    return {
        "object_type": advise.topic.kind.name,
        "object_name": f"{advise.topic.name}/{advise.key}",
        "desired": advise.rights,
    }


def _record_refused(guard: Guard, advise: Advise, error: SteadError) -> None:
    parts = _about_advise(advise)
    decision = error.decision if isinstance(error, AccessDeniedError) else None
    if decision is not None:
        parts["reasons"] = guard.reasons(decision, advise.topic)
    parts["error"] = error
    guard.recorder.record(AuditEvent.ADVISE_ENDED, advise.subject, **parts)
