"""Where gates bring who came: admitted, or counted among those turned away."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import partial

from stead.gates.pipe.network_peer import NetworkEvidence
from stead.gates.pipe.peer import PeerEvidence
from stead.model.audit_record import AuditEvent
from stead.model.posix_identity import PosixIdentity
from stead.model.quality_of_service import QualityOfService, Tracking
from stead.monitor.recorder import Recorder
from stead.server.admission import Admission, Arrival, new_correlation
from stead.server.client_context import ClientContext
from stead.server.dispatch import Dispatcher, ServerConversation, Turns
from stead.server.visitor import Visitor
from stead.server.waiting_room import WaitingRoom


@dataclass(frozen=True, slots=True, eq=False)
class Reception:
    """What stands behind a server's gates (`stead.gates.ports`).

    Attributes:
        admission: the door.
        dispatcher: runs what admitted clients ask for.
        handlers: where that happens.
        turns: how many of them one account may keep busy.
        recorder: writes down who was turned away.
        room: where clients from the network show who they are.
    """

    admission: Admission
    dispatcher: Dispatcher
    handlers: Executor
    turns: Turns
    recorder: Recorder
    room: WaitingRoom

    async def admit(
        self,
        evidence: PeerEvidence | NetworkEvidence,
        quality: QualityOfService,
        correlation: str | None,
    ) -> ServerConversation:
        """Admit a gate's client (`stead.gates.ports.Admit`).

        Raises:
            LogonFailureError: it is not admitted.
        """
        if isinstance(evidence, NetworkEvidence):
            return await self._admit_remote(evidence, quality, correlation)
        arrival = Arrival(
            "pipe",
            evidence.describe(),
            new_correlation(correlation),
            "kerberos" if evidence.principal else "peer",
            "kerberos" if evidence.principal else "kernel",
        )
        peer = PosixIdentity(evidence.uid, evidence.gid, evidence.groups)
        door = partial(
            self.admission.admit_peer,
            peer,
            quality=quality,
            arrival=arrival,
            ticket=evidence.ticket,
        )
        loop = asyncio.get_running_loop()
        client = await loop.run_in_executor(self.handlers, door)
        return self._conversation(client, quality, door)

    async def _admit_remote(
        self,
        evidence: NetworkEvidence,
        quality: QualityOfService,
        correlation: str | None,
    ) -> ServerConversation:
        """Admit a client from the network: by its certificate, or by an exchange."""
        package = evidence.package or "certificate"
        arrival = Arrival(
            evidence.gate,
            evidence.peer.describe(),
            new_correlation(correlation),
            package,
            package,
        )
        if evidence.package:
            session = await self.room.by_exchange(evidence, quality, arrival)
            # What it showed is gone: it cannot be admitted again as it is by then.
            static = replace(quality, tracking=Tracking.STATIC)
            return self._conversation(session.client, static, lambda: session.client)
        client = await self.room.by_certificate(evidence, quality, arrival)
        again = partial(self.room.shown, evidence.show, quality, arrival)
        return self._conversation(client, quality, again)

    def _conversation(
        self,
        client: ClientContext,
        quality: QualityOfService,
        door: Callable[[], ClientContext],
    ) -> ServerConversation:
        turns = self.turns.of(client.sid)
        visitor = Visitor(client, quality, door, self.admission.sessions)
        return ServerConversation(visitor, self.dispatcher, self.handlers, turns)

    def turned_away(self, count: int, last: str) -> None:
        """Record in aggregate whom a gate did not let in (`stead.gates.ports`).

        Hand it to a gate, `PipeGate(path, turned_away=server.reception.turned_away)`:
        a flood before logon then costs the trail one record a period, and no wait.

        Args:
            count: how many since the last time.
            last: the last one's peer and why.
        """
        self.recorder.queue(
            AuditEvent.CLIENTS_TURNED_AWAY,
            None,
            None,
            detail={"count": str(count), "last": last},
        )
