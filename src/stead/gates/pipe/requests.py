"""What is being done for one client of the pipe, and what it has yet to read.

Requests are started as they come, and answered as they finish, in any order. What was
started finishes: it is never cut off because of the client.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import Context
from functools import partial
from typing import TypeAlias

from stead.gates.pipe.answers import (
    answer_frame,
    log_failure,
    refusal_of,
    result_frame,
)
from stead.gates.pipe.limits import PipeLimits
from stead.gates.pipe.messages import Refusal, Request, Result, is_small
from stead.gates.pipe.peer import Peer
from stead.gates.pipe.shares import Claim, Share
from stead.gates.ports import Conversation

Send: TypeAlias = Callable[[Result | Refusal, bytes], Awaitable[None]]
"""Sends an answer, of which this is the frame, unless nobody is left to send to."""


class Requests:
    """The requests of one client that have begun."""

    def __init__(self, peer: Peer, limits: PipeLimits, share: Share) -> None:
        """Begin with none.

        Args:
            peer: whose they are, for the log.
            limits: what an answer may be.
            share: where what is large is read and written.
        """
        self._peer = peer
        self._limits = limits
        self._share = share
        self._running: set[asyncio.Task[None]] = set()
        self._unsent: set[Claim] = set()

    @property
    def are_any(self) -> bool:
        """Whether one has not ended, or its answer is not sent."""
        return bool(self._running)

    @property
    def are_unread(self) -> bool:
        """Whether nothing is done but to wait until the client reads its answers."""
        return len(self._running) == len(self._unsent)

    @property
    def unsent_bytes(self) -> int:
        """How much the client has to read."""
        return sum(claim.size for claim in self._unsent)

    async def one_ends(self) -> None:
        """Wait until one of them has ended, and its answer is sent."""
        await asyncio.wait(self._running, return_when="FIRST_COMPLETED")

    async def all_end(self) -> None:
        """Wait until all of them have ended."""
        while self._running:
            await asyncio.wait(self._running)

    def cancel(self) -> None:
        """Cancel what still runs."""
        for task in self._running:
            task.cancel()

    def start(
        self, conversation: Conversation, request: Request, claim: Claim, send: Send
    ) -> None:
        """Do what is asked; its claim is given back at its end."""
        # An empty context: what one request sets, no other finds.
        task = asyncio.create_task(
            self._answer(conversation, request, claim, send), context=Context()
        )
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        # Not in the task itself: one that is cancelled before it began does nothing.
        task.add_done_callback(lambda _: claim.release())

    async def _answer(
        self, conversation: Conversation, request: Request, claim: Claim, send: Send
    ) -> None:
        answer, frame = await self._outcome(conversation, request)
        # However long the client takes to read: only what it reads is kept.
        del request
        claim.shrink(len(frame))
        self._unsent.add(claim)
        try:
            await send(answer, frame)
        finally:
            self._unsent.discard(claim)

    async def _outcome(
        self, conversation: Conversation, request: Request
    ) -> tuple[Result | Refusal, bytes]:
        """Do what is asked; return the answer, without its value, and its frame."""
        try:
            value = await conversation.call(request.operation, request.arguments)
            return Result(id=request.id), await self._write(request.id, value)
        except Exception as error:  # noqa: BLE001 - the outermost loop of a request
            log_failure(self._peer.describe(), error, request.operation)
            refusal = refusal_of(request.id, error)
            return refusal, answer_frame(refusal, self._limits)

    async def _write(self, number: int, value: object) -> bytes:
        """Return the frame of an answer, written on the loop only if that is cheap."""
        write = partial(result_frame, number, value, self._limits)
        if is_small(value, self._limits.large):
            return write()
        return await self._share.work(write)
