"""Where clients from the network show who they are, on threads of their own.

To look at what a client shows is to wait: for a directory, and for the trail. Whoever
fails on purpose, again and again, keeps threads busy with that; those that serve
clients are not among them. For the moment at which a failure is answered no thread
waits, but its origin's turn does: nobody guesses faster by leaving early.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import ExitStack
from contextvars import Context
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, Self, TypeVar

from stead.authority.packages import Authenticated
from stead.errors import EvidenceRefusedError, SteadError
from stead.gates.pipe.network_peer import NetworkEvidence
from stead.model.quality_of_service import QualityOfService
from stead.monitor.thread_pool import ThreadPool
from stead.server.admission import Arrival
from stead.server.authentication import Authentication
from stead.server.client_context import ClientContext
from stead.server.dispatch import Turns
from stead.server.logon_session import LogonSession

_T = TypeVar("_T")

_THREADS: Final = 32
_EACH: Final = 2  # of one origin at a time: sixteen of them are needed to fill the room


@dataclass(frozen=True, slots=True, eq=False)
class WaitingRoom:
    """The threads, and whose turn it is.

    Attributes:
        authentication: knows packages and issuers.
        threads: where is waited.
        turns: how many of one origin may be looked at, or fail, at a time.
    """

    authentication: Authentication
    threads: Executor
    turns: Turns

    @classmethod
    def open(cls, authentication: Authentication, name: str, undo: ExitStack) -> Self:
        """Open it; its threads start with the first client.

        Args:
            authentication: knows packages and issuers.
            name: the server's.
            undo: closes it.
        """
        threads = ThreadPool(_THREADS, thread_name_prefix=f"{name}-arrival")
        undo.callback(threads.shutdown, wait=False, cancel_futures=True)
        return cls(authentication, threads, Turns(_EACH))

    async def by_exchange(
        self, evidence: NetworkEvidence, quality: QualityOfService, arrival: Arrival
    ) -> LogonSession:
        """Have a client show who it is by a package, asking it as often as that takes.

        Raises:
            LogonFailureError: it is not admitted; the trail has the cause.
            RemoteProtocolError, TimeoutError, ConnectionError: it does not answer.
        """
        late: list[float] = []
        begin = partial(
            self.authentication.begin,
            evidence.package,
            evidence.binding,
            quality,
            replace(arrival, wait=late.append),
        )
        with await self._in_turn(evidence, late, begin) as exchange:
            reply = b""
            while (session := exchange.session) is None:
                blob = await evidence.dialogue.ask(reply)
                step = partial(exchange.step, blob)
                reply = await self._in_turn(evidence, late, step)
            evidence.dialogue.conclude(reply)
            return session

    async def by_certificate(
        self, evidence: NetworkEvidence, quality: QualityOfService, arrival: Arrival
    ) -> ClientContext:
        """Have a client be looked at that has shown a certificate, or nothing.

        Raises:
            LogonFailureError: it is not admitted; the trail has the cause.
        """
        late: list[float] = []
        timed = replace(arrival, wait=late.append)
        show = partial(self.shown, evidence.show, quality, timed)
        return await self._in_turn(evidence, late, show)

    def shown(
        self,
        show: Callable[[], Authenticated] | None,
        quality: QualityOfService,
        arrival: Arrival,
    ) -> ClientContext:
        """Admit a client by what it has shown, on this thread, which waits.

        Raises:
            LogonFailureError: it is not admitted; the trail has the cause.
        """
        admit = self.authentication.admit_shown
        return admit(show or _nothing, quality, arrival).client

    async def _in_turn(
        self, evidence: NetworkEvidence, late: list[float], task: Callable[[], _T]
    ) -> _T:
        """Do something that waits, on a thread and as nobody.

        Args:
            evidence: for whom.
            late: the seconds by which a failure of it is to be answered late.
            task: that.
        """
        try:
            return await self._looked_at(evidence, late, task)
        except SteadError:
            with evidence.dialogue.waiting():
                await asyncio.sleep(sum(late))
            raise

    async def _looked_at(
        self, evidence: NetworkEvidence, late: list[float], task: Callable[[], _T]
    ) -> _T:
        loop, turn = asyncio.get_running_loop(), self.turns.of(evidence.peer.origin)
        with evidence.dialogue.waiting():
            await turn.acquire()
        try:
            return await loop.run_in_executor(self.threads, Context().run, task)
        finally:
            loop.call_later(sum(late), turn.release)


def _nothing() -> Authenticated:
    raise EvidenceRefusedError(
        "the client shows neither a certificate nor anything else",
        advice="give the client a certificate, or have it name a package",
    )
