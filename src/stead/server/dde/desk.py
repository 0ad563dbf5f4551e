"""The DDE desk: services, topics and items as securable objects.

    desk = DdeDesk(server)
    prices = desk.register("prices", entries=[allow("staff", DdeRights.CONNECT)])
    stocks = prices.topic("stocks", {"acme": "12"}, entries=[
        allow("staff", DdeRights.CONNECT | DdeRights.REQUEST | DdeRights.ADVISE),
    ])
    stocks.publish("acme", "13")
    await server.serve(DdeGate("/run/notes/dde", desk))

Each conversation is a logon session of its own, at the quality of service that its
client had set when it connected. What a client may not connect to and what is not there
are told alike; the trail has the true reason.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Final
from weakref import WeakKeyDictionary

from stead.errors import (
    AccessDeniedError,
    BadImpersonationLevelError,
    InvalidNameError,
    LogonSessionEndedError,
    NoConversationError,
    UnknownObjectError,
)
from stead.gates.pipe.peer import PeerEvidence
from stead.model import well_known
from stead.model.access_mask import AccessMask
from stead.model.arguments import require_kind
from stead.model.audit_record import AuditEvent
from stead.model.explicit_access import allow
from stead.model.posix_identity import PosixIdentity
from stead.model.quality_of_service import QualityOfService, Tracking
from stead.monitor.guard import Guard
from stead.monitor.impersonation import Block
from stead.monitor.ports import Subject
from stead.monitor.securable_object import SecurableObject
from stead.server.admission import Arrival, new_correlation
from stead.server.client_context import ClientContext
from stead.server.dde.advises import Bell, Rounds
from stead.server.dde.conversations import ConversationSide, Line
from stead.server.dde.objects import (
    DESK,
    DdeRights,
    entries_or_owners,
    key_or_none,
    object_name,
    require_service,
)
from stead.server.dde.ports import DdeConversation, Topic, about
from stead.server.dde.services import DdeService
from stead.server.dde.topics import DdeTopic
from stead.server.object_entries import Entries
from stead.server.protected_server import ProtectedServer

_EVERYTHING: Final = int(AccessMask.GENERIC_ALL)
# What becomes one answer with a name that is not there.
_REFUSALS: Final = (
    AccessDeniedError,
    BadImpersonationLevelError,
    LogonSessionEndedError,
)


def dde_impersonate_client(conversation: DdeConversation) -> Block:
    """Return a block in which this thread is a conversation's client.

    It is the client of that conversation, however many others are under way, at the
    level which that client had set before it connected. See `impersonate`.
    """
    return conversation.client.impersonate()


class DdeDesk:
    """What stands behind a server's DDE gates (`stead.gates.dde.ports.DdeHost`).

    Attributes:
        securable: the object `dde`: who may REGISTER services.
    """

    def __init__(self, server: ProtectedServer) -> None:
        """Open the desk; one for each server.

        Raises:
            InvalidRequestError: it is none.
        """
        require_kind("server", server, ProtectedServer, "the one that is served")
        self._server = server
        self._services: dict[str, DdeService] = {}
        self._lock = threading.Lock()
        self._lines: WeakKeyDictionary[asyncio.AbstractEventLoop, Line] = (
            WeakKeyDictionary()
        )
        self.securable: Final = server.protect(
            DESK,
            DdeRights,
            [
                allow(well_known.ADMINISTRATORS, _EVERYTHING),
                allow(server.token.user, _EVERYTHING),
            ],
            owner=well_known.ADMINISTRATORS,
        )

    @property
    def _guard(self) -> Guard:
        return self._server.reception.dispatcher.guard

    def register(
        self,
        name: str,
        *,
        entries: Entries | None = None,
        by: ClientContext | None = None,
    ) -> DdeService:
        """Register a service, for who may; recorded.

        Its first registration makes its object, and whoever made it may register it
        again. A service that a client registers is offered while the client's session
        lives.

        Args:
            name: 1 to 64 letters, as accounts' names; compared without case.
            entries: who may connect; None for the owner alone.
            by: the client that registers it; None for the server itself.

        Raises:
            AccessDeniedError: the right to REGISTER on the desk, or on the service's
                object if there is one already, is lacking.
            InvalidNameError: the name is none, or is taken.
        """
        key = require_service(name)
        guard = self._guard
        subject = (
            Subject(guard.process_token, guard.server) if by is None else by.subject
        )
        guard.require(subject, self.securable, DdeRights.REGISTER)
        with self._lock:
            taken = self._services.get(key)
            if taken is not None and taken.is_offered:
                raise InvalidNameError(f"a service is called `{name}` already")
            made = self._securable(object_name(key), subject, entries)
            service = DdeService(self._server, made, name=name, by=by)
            self._services[key] = service
        return service

    def _securable(
        self, name: str, subject: Subject, entries: Entries | None
    ) -> SecurableObject:
        """Return a service's object: a new one, or the one there is, if allowed."""
        owner = subject.token.user
        try:
            found = self._server.find_object(name)
        except UnknownObjectError:
            mine = allow(owner, DdeRights.REGISTER)
            made = [*entries_or_owners(entries, owner), mine]
            return self._server.protect(name, DdeRights, made, owner=owner)
        self._guard.require(subject, found, DdeRights.REGISTER)
        return self._server.protect(name, DdeRights)  # refused if of another kind

    # --- conversations ----------------------------------------------------------------

    async def connect(
        self,
        evidence: PeerEvidence,
        qos: QualityOfService,
        *,
        service: str,
        topic: str,
        correlation: str | None,
    ) -> ConversationSide:
        """Start a conversation (`stead.gates.dde.ports.DdeHost`).

        1. The peer is logged on, in a session of this conversation alone, at the level
           that it has set.
        2. It may CONNECT to the service, and to the topic.
        3. That the conversation starts is recorded durably.

        Raises:
            LogonFailureError: the peer is not admitted.
            NoConversationError: it may not, or there is no such service or topic.
        """
        reception = self._server.reception
        loop = asyncio.get_running_loop()
        arrival = Arrival(
            "dde", evidence.describe(), new_correlation(correlation), "peer", "kernel"
        )
        peer = PosixIdentity(evidence.uid, evidence.gid, evidence.groups)
        admit = partial(
            reception.admission.admit_peer,
            peer,
            quality=qos,
            arrival=arrival,
            ticket=evidence.ticket,
        )
        begin = partial(self._begin, admit, qos, service, topic)
        begun = loop.run_in_executor(reception.handlers, begin)
        try:
            conversation, found = await asyncio.shield(begun)
        except asyncio.CancelledError:
            begun.add_done_callback(self._abandon)
            raise
        return self._side(conversation, found, loop)

    def _begin(
        self,
        admit: Callable[[], ClientContext],
        qos: QualityOfService,
        service: str,
        topic: str,
    ) -> tuple[DdeConversation, Topic]:
        """Take the steps of `connect`, on a handler's thread."""
        client = admit()
        try:
            offered, found = self._judged(client, service, topic)
            # A local socket's peer stays who it was: there is nothing to follow.
            granted = replace(qos, level=client.level, tracking=Tracking.STATIC)
            conversation = DdeConversation(client, offered.name, found.name, granted)
            self._guard.recorder.record(
                AuditEvent.CONVERSATION_STARTED,
                client.subject,
                **about(conversation, found),
            )
        except BaseException:
            client.close()
            raise
        return conversation, found

    def _judged(
        self, client: ClientContext, service: str, topic: str
    ) -> tuple[DdeService, Topic]:
        """Return what the client may connect to; one refusal whatever the cause."""
        try:
            offered = self._found_service(client, service)
            self._server.require(client, offered.securable, DdeRights.CONNECT)
            found = offered.find(topic)
            if found is None:
                name = f"{offered.securable.name}/{topic[:80]}"
                self._server.refuse_unknown(client, name)
            if found.securable is not offered.securable:
                self._server.require(client, found.securable, DdeRights.CONNECT)
        except _REFUSALS as error:
            refusal = NoConversationError("no conversation was established")
            refusal.record = error.record
            raise refusal from error
        return offered, found

    def _found_service(self, client: ClientContext, service: str) -> DdeService:
        key = key_or_none(service, require_service)
        offered = None if key is None else self._services.get(key)
        if offered is None:
            self._server.refuse_unknown(client, object_name(service[:80]))
        try:
            offered.require_offered()
        except NoConversationError as error:
            self._guard.recorder.record(
                AuditEvent.OBJECT_ACCESS,
                client.subject,
                error=error,
                object_type=offered.securable.kind.name,
                object_name=offered.securable.name,
            )
            raise
        return offered

    def _side(
        self,
        conversation: DdeConversation,
        topic: Topic,
        loop: asyncio.AbstractEventLoop,
    ) -> ConversationSide:
        reception, client = self._server.reception, conversation.client
        if isinstance(topic, DdeTopic):
            topic.start()
        line = self._lines.get(loop)
        if line is None:
            handlers = reception.handlers
            line = Line(self._guard, handlers, Bell(loop), Rounds(handlers))
            self._lines[loop] = line
        sessions = reception.admission.sessions
        return ConversationSide(
            conversation,
            topic,
            line,
            turns=reception.turns.of(client.sid),
            on_end=partial(sessions.on_end, client.token.logon_id),
        )

    def _abandon(self, begun: asyncio.Future[tuple[DdeConversation, Topic]]) -> None:
        """End what began after whoever asked for it had left."""
        if begun.cancelled() or begun.exception() is not None:
            return
        conversation, topic = begun.result()
        client = conversation.client
        self._guard.recorder.queue(
            AuditEvent.CONVERSATION_ENDED,
            client.subject,
            None,
            **about(conversation, topic),
        )
        client.close()
