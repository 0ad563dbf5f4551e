"""What the broker is to one server: a table of requests, and a table of its clients.

Each server's connection has a monitor, a root process of its own that the broker forked
for it: what one server does to its monitor, it does to itself. Read `RULES` first: it
says what may be asked, in which phase, with what, and who answers. Whatever else comes
ends the connection, and with it all that was started by it.

The monitor believes what the kernel tells it of clients whom it accepted itself, and
what a verifier says that it started. It never reads what a server says of
a process: the order goes on, with a warrant, to a launcher, and is read by a child that
is about to become the client.
"""

from __future__ import annotations

import logging
import os
import resource
import select
import socket
import time
from contextlib import suppress
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from stead.errors import (
    ImpersonationRefusedError,
    InvalidRequestError,
    QuotaExceededError,
    RemoteProtocolError,
    SteadError,
)
from stead.model.posix_identity import PosixIdentity
from stead.privileged import broker_opening, sealing
from stead.privileged.broker_clients import Client, ClientTable
from stead.privileged.broker_entrances import Entrances
from stead.privileged.broker_passwords import Attempts
from stead.privileged.broker_poll import Poll, Turn
from stead.privileged.broker_processes import Processes
from stead.privileged.broker_rules import Phase, Rule
from stead.privileged.broker_tickets import TicketClients, seconds_of, told_of
from stead.privileged.broker_verifiers import Verifiers, identity_of
from stead.privileged.broker_wire import (
    LARGEST_ORDER,
    LONGEST_DOCUMENT,
    VERSION,
    WORKER_MODULE,
    WORKERS,
    Request,
    next_request,
    require_channel,
    say,
)
from stead.privileged.orders import Order
from stead.privileged.parcels import MAXIMUM_EXTRA, Parcel
from stead.privileged.stated_level import unwillingness
from stead.privileged.system_uids import refuse_system_uid

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from stead.privileged.broker_inheritance import Inheritance

_log: Final = logging.getLogger("stead.broker")

_PULSE: Final = 2.0  # seconds at most between two beats


class Monitor:
    """One server's monitor."""

    def __init__(self, given: Inheritance) -> None:
        """Begin, without having heard anything."""
        self._given = given
        self._limits = given.config.limits
        self._phase = Phase.NEW
        self._poll = Poll()
        self._clients = ClientTable(self._limits)
        self._processes = Processes(given, self._poll, self._clients, self._end)
        self._null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        self._is_over = False
        self._verifiers = Verifiers(self._poll)
        self._tickets = TicketClients(given, self._verifiers, self._come_by_ticket)
        self._entrances = Entrances(
            given, self._poll, self._clients, self._tickets, self._come_by
        )
        self._attempts = Attempts(given, self._verifiers, self._come_by_password)

    def run(self) -> None:
        """Serve until the server or the broker is gone, or the server blunders."""
        self._given.control.setblocking(False)  # noqa: FBT003  # the library's signature
        control = self._given.control.fileno()
        self._poll.on(control, select.POLLIN, Turn.SERVER, self._hear)
        self._poll.on(self._given.broker, 0, Turn.ENDINGS, self._end)
        try:
            while not self._is_over:
                self._given.beat()
                self._entrances.look()
                self._poll.wait(self._pause())
                self._end_what_is_due()
        except (RemoteProtocolError, InvalidRequestError) as error:
            _log.error("service `%s` is cut off: %s", self._given.service.name, error)
        finally:
            self._close()

    # --- requests -------------------------------------------------------------------

    def _hear(self) -> None:
        """Take one request; raises `RemoteProtocolError` for what is none."""
        try:
            request = next_request(self._given.control)
        except BlockingIOError:
            return
        if request is None:
            self._end()
            return
        try:
            rule = RULES.get(request.name)
            if rule is None:
                raise RemoteProtocolError("nothing like that can be asked")
            rule.require(request, self._phase, self._given.service.may)
            rule.handle(self, request)
        finally:
            request.close()

    def greet(self, request: Request) -> None:
        """Answer the hello, and start the launchers that the service needs."""
        if request.fields["version"] != VERSION:
            raise RemoteProtocolError("the server speaks another version")
        self._phase = Phase.GREETED
        service = self._given.service
        if not service.may.isdisjoint({"start", "open"}):
            self._processes.launch("programs", (broker_opening.__name__,))
        if "worker" in service.may:
            modules = (WORKER_MODULE, *self._given.config.worker_modules)
            self._processes.launch("workers", modules)
        hello = {
            "version": VERSION,
            "service": service.name,
            "gates": service.all_gates,
            "may": sorted(service.may),
            "mapped_groups": sorted(service.mapped_groups),
        }
        _raise_own_limit()  # after them: clients' processes have the machine's
        say(self._given.control, hello)

    def listen(self, request: Request) -> None:
        """Have a gate's clients come to the channel that is given."""
        self._require_channel(request.descriptors[0])
        self._entrances.open(request.fields["gate"], request.descriptors[0])

    def start(self, request: Request) -> None:
        """Start a program as a client."""
        channel, document, *inherited = request.descriptors
        sealing.require_sealed(document, LARGEST_ORDER)
        self._processes.order(
            "programs",
            self._named(request, channel),
            Parcel(channel, document, tuple(inherited), request.fields["session"]),
            groups=self._mapped(request),
        )

    def work(self, request: Request) -> None:
        """Start a worker as a client."""
        body = WORKERS.get(request.fields["kind"])
        if body is None:
            raise RemoteProtocolError("there is no such worker")
        channel, document, *inherited = request.descriptors
        sealing.require_sealed(document, LARGEST_ORDER)
        self._processes.order(
            "workers",
            self._named(request, channel),
            Parcel(channel, document, tuple(inherited)),
            body,
            groups=self._mapped(request),
        )

    def open(self, request: Request) -> None:
        """Have a process of a client's open a file beneath a configured folder."""
        channel, document, answer = request.descriptors
        sealing.require_sealed(document, LONGEST_DOCUMENT)
        client = self._named(request, channel)
        roots = broker_opening.roots_document(self._given.service.open_roots)
        stdio = (self._null,) * 3
        with sealing.sealed(_OPENER) as order, sealing.sealed(roots) as folders:
            inherited = (*stdio, answer, document, folders.fileno())
            self._processes.order(
                "programs",
                client,
                Parcel(channel, order.fileno(), inherited),
                broker_opening.BODY,
                groups=self._mapped(request),
                seconds=self._limits.open_seconds,
            )

    def log_on(self, request: Request) -> None:
        """Have a password looked at; the answer comes by the channel, in its time."""
        channel, document, secret = request.descriptors
        self._require_channel(channel)
        for each in (document, secret):
            sealing.require_sealed(each, LONGEST_DOCUMENT)
        self._attempts.begin(channel, document, secret)

    def renew(self, request: Request) -> None:
        """Let a client that came by a password stay for another lease."""
        client = self._clients.find(request.fields["client"])
        if client is not None:
            if client.socket is not None:
                raise RemoteProtocolError("a connected client has no lease")
            client.lease_ends = time.monotonic() + self._limits.lease_seconds

    def log_off(self, request: Request) -> None:
        """Let nothing more be done as a client."""
        client = self._clients.find(request.fields["client"])
        if client is not None:
            self._leave(client)

    def _named(self, request: Request, channel: int) -> Client | None:
        """Return the client of a request that has a channel to answer on."""
        self._require_channel(channel)
        return self._clients.find(request.fields["client"])

    def _mapped(self, request: Request) -> tuple[int, ...]:
        """Return the groups that a server says its client has beside its own.

        Raises:
            RemoteProtocolError: the service may not say so.
        """
        groups = request.fields.get("groups", [])
        mappable = self._given.service.mapped_groups
        if any(type(gid) is not int or gid not in mappable for gid in groups):
            raise RemoteProtocolError("the service may add no such group")
        return tuple(groups)

    def _require_channel(self, descriptor: int) -> None:
        require_channel(descriptor, self._given.service.uid)

    # --- clients --------------------------------------------------------------------

    def _come_by(self, identity: PosixIdentity, connection: socket.socket) -> Client:
        """Take in whom the kernel vouches for, on a socket that was accepted here.

        Raises:
            ImpersonationRefusedError: nothing may be done as them.
            QuotaExceededError: there are too many.
        """
        self._require_person(identity)
        if why := unwillingness(connection):
            raise ImpersonationRefusedError(why)
        return self._connected(identity, connection, None)

    def _come_by_ticket(
        self, connection: socket.socket, word: dict[str, Any]
    ) -> dict[str, Any]:
        """Take in whom a verifier of tickets vouches for; return what is said of it.

        It is gone with its connection, or when its ticket has expired. Who may not be
        acted as is no client at all, unless that is the client's own wish; raises as
        `_come_by`.
        """
        identity, told = identity_of(word), told_of(word)
        self._require_person(identity)
        ends = time.monotonic() + seconds_of(word)
        if why := unwillingness(connection):
            return {"client": None, "why": why, **told}
        client = self._connected(identity, connection, ends)
        _log.info(
            "`%s` has come by a ticket, as uid %s", told["principal"], identity.uid
        )
        return {"client": client.index, **told}

    def _connected(
        self, identity: PosixIdentity, connection: socket.socket, ends: float | None
    ) -> Client:
        if not self._clients.has_room(identity.uid):
            raise QuotaExceededError(f"uid {identity.uid} has too many connections")
        client = self._clients.add(identity, connection=connection, lease_ends=ends)
        self._poll.on(connection.fileno(), 0, Turn.ENDINGS, lambda: self._leave(client))
        return client

    def _come_by_password(self, identity: PosixIdentity) -> Client:
        """Take in whom a verifier vouches for; raises as `_come_by`."""
        self._require_person(identity)
        if not self._clients.has_room(identity.uid):
            raise QuotaExceededError(f"uid {identity.uid} is here too often")
        ends = time.monotonic() + self._limits.lease_seconds
        return self._clients.add(identity, lease_ends=ends)

    def _require_person(self, identity: PosixIdentity) -> None:
        config = self._given.config
        allowed = config.allowed_system_uids
        refuse_system_uid(identity, guard=config.guard_uid, allowed=allowed)
        if identity.uid in config.services and identity.uid not in allowed:
            raise ImpersonationRefusedError(
                f"uid {identity.uid} is a service's, and is nobody's client"
            )

    def _leave(self, client: Client) -> None:
        """Let nothing more be done as a client, and end all that is."""
        self._clients.remove(client)
        if client.socket is not None:
            self._poll.off(client.socket.fileno())
            client.socket.close()
        for held in client.holds:
            self._processes.let_go(held)

    # --- time -----------------------------------------------------------------------

    def _moments(self) -> Iterator[float]:
        for client in self._clients:
            if client.lease_ends is not None:
                yield client.lease_ends
        yield from self._processes.moments()
        yield from self._attempts.moments()
        yield from self._tickets.moments()
        yield from self._verifiers.moments()

    def _pause(self) -> float:
        """Return how long nothing is due; no longer than the pulse allows."""
        now = time.monotonic()
        return min((_PULSE, *(moment - now for moment in self._moments())))

    def _end_what_is_due(self) -> None:
        now = time.monotonic()
        for client in self._clients:
            if client.lease_ends is not None and client.lease_ends <= now:
                self._leave(client)
        self._processes.end_what_is_due(now)
        self._attempts.answer_what_is_due(now)
        self._tickets.give_up_what_is_due(now)
        self._verifiers.make_ready(now)

    # --- the end --------------------------------------------------------------------

    def _end(self) -> None:
        self._is_over = True

    def _close(self) -> None:
        """End everything, and wait for it, but not for ever.

        1. Hear the server no more, and cut its clients off: it may be anybody's by now.
        2. Tell the launchers to end; each ends every tree before itself.
        """
        self._given.control.close()
        self._attempts.close()
        self._tickets.close()
        self._verifiers.close()
        self._entrances.close()
        for client in self._clients:
            if client.socket is not None:
                with suppress(OSError):  # it is gone already
                    client.socket.shutdown(socket.SHUT_RDWR)
            self._leave(client)
        self._processes.close()


def _raise_own_limit() -> None:
    """Let this process have as many descriptors as it may."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


_INDEX: Final[Mapping[str, type]] = MappingProxyType({"client": int})
_GROUPS: Final[Mapping[str, type]] = MappingProxyType({"groups": list})
_NOTHING: Final[Mapping[str, type]] = MappingProxyType({})

_OPENER: Final = Order(
    PosixIdentity(1, 1), body=broker_opening.BODY, no_new_privileges=True
).to_server_part()

RULES: Final[Mapping[str, Rule]] = MappingProxyType(
    {
        "hello": Rule(Phase.NEW, {"version": int}, 0, 0, "", Monitor.greet),
        "listen": Rule(Phase.GREETED, {"gate": int}, 1, 1, "", Monitor.listen),
        "start": Rule(
            Phase.GREETED, {**_INDEX, "session": bool}, 5, 5 + MAXIMUM_EXTRA, "start",
            Monitor.start, _GROUPS,
        ),
        "worker": Rule(
            Phase.GREETED, {**_INDEX, "kind": str}, 6, 6, "worker", Monitor.work,
            _GROUPS,
        ),
        "open": Rule(Phase.GREETED, _INDEX, 3, 3, "open", Monitor.open, _GROUPS),
        "log_on": Rule(Phase.GREETED, _NOTHING, 3, 3, "log_on", Monitor.log_on),
        "renew": Rule(Phase.GREETED, _INDEX, 0, 0, "", Monitor.renew),
        "log_off": Rule(Phase.GREETED, _INDEX, 0, 0, "", Monitor.log_off),
    }
)  # fmt: skip
"""Everything that can be asked: when, with what, and who does it."""


def serve(given: Inheritance) -> None:
    """Be the monitor of one connection, to its end."""
    name = given.service.name
    _log.info("service `%s` has connected", name)
    try:
        Monitor(given).run()
    except SteadError as error:
        _log.error("the monitor of `%s` fails: %s", name, error)
    _log.info("service `%s` is gone", name)
