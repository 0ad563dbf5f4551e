"""What the broker is to one server: a table of requests, and a table of its clients.

Each server's connection has a monitor, a root process of its own that the broker forked
for it: what one server does to its monitor, it does to itself. Read `RULES` first: it
says what may be asked, in which phase, with what, and who answers. Whatever else comes
ends the connection, and with it all that was started by it.

The monitor believes what the kernel tells it of clients whom it accepted itself, and
what a verifier of passwords says that it started. It never reads what a server says of
a process: the order goes on, with a warrant, to a launcher, and is read by a child that
is about to become the client.
"""

from __future__ import annotations

import enum
import logging
import os
import resource
import select
import socket
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from stead.errors import (
    ImpersonationRefusedError,
    InvalidRequestError,
    QuotaExceededError,
    RemoteProtocolError,
    SteadError,
)
from stead.model.posix_identity import PosixIdentity
from stead.privileged import broker_opening, orders
from stead.privileged.broker_clients import Client, ClientTable, Hold
from stead.privileged.broker_entrances import Entrances
from stead.privileged.broker_passwords import Attempts
from stead.privileged.broker_poll import Poll, Turn
from stead.privileged.broker_wire import (
    LONGEST_DOCUMENT,
    VERSION,
    WORKER_MODULE,
    WORKERS,
    Request,
    next_request,
    require_channel,
    say,
)
from stead.privileged.launcher_process import control_pair, execute
from stead.privileged.orders import MAXIMUM_EXTRA, Order, Parcel, Terms, Warrant
from stead.privileged.system_uids import refuse_system_uid

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from stead.privileged.broker_config import BrokerConfig, Service

_log: Final = logging.getLogger("stead.broker")

_SECONDS_TO_END: Final = 20.0


class Phase(enum.Flag):
    """How far a connection has come."""

    NEW = enum.auto()
    """Nothing was said."""
    GREETED = enum.auto()
    """The hello was answered."""


@dataclass(frozen=True, slots=True)
class Rule:
    """When and how something may be asked.

    Attributes:
        phase: in which phase.
        fields: what a request says, and no more.
        fewest: the least number of descriptors that come with it.
        most: the greatest.
        act: what the service must be allowed to do; empty for nothing.
        handle: does it.
    """

    phase: Phase
    fields: Mapping[str, type]
    fewest: int
    most: int
    act: str
    handle: Callable[[Monitor, Request], None]

    def require(self, request: Request, phase: Phase, may: frozenset[str]) -> None:
        """Refuse a request that is not as it must be.

        Raises:
            RemoteProtocolError: it is not.
        """
        if not phase & self.phase:
            raise RemoteProtocolError(f"`{request.name}` is out of phase")
        if self.act and self.act not in may:
            raise RemoteProtocolError(f"the service may not `{request.name}`")
        if not self.fewest <= len(request.descriptors) <= self.most:
            raise RemoteProtocolError(f"`{request.name}` brings other descriptors")
        kinds = {name: type(value) for name, value in request.fields.items()}
        if kinds != self.fields:
            raise RemoteProtocolError(f"`{request.name}` says something else")


@dataclass(frozen=True, slots=True)
class Inheritance:
    """What the broker hands its monitor.

    Attributes:
        control: the server's connection.
        service: whose it is.
        config: what the broker was told.
        gates: the listening sockets of the service's gates, in the order of its gates.
        passwords: a pipe with one byte for each password that may be tried now.
        broker: a pipe that ends with the broker.
    """

    control: socket.socket
    service: Service
    config: BrokerConfig
    gates: tuple[socket.socket, ...]
    passwords: int
    broker: int


class Monitor:
    """One server's monitor."""

    def __init__(self, given: Inheritance) -> None:
        """Begin, without having heard anything."""
        self._given = given
        self._limits = given.config.limits
        self._phase = Phase.NEW
        self._poll = Poll()
        self._clients = ClientTable(self._limits)
        self._launchers: dict[str, _Launcher] = {}
        self._null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        self._is_over = False
        self._entrances = Entrances(given, self._poll, self._clients, self._come_by)
        self._attempts = Attempts(given, self._poll, self._come_by_password)

    def run(self) -> None:
        """Serve until the server or the broker is gone, or the server blunders."""
        self._given.control.setblocking(False)  # noqa: FBT003  # the library's signature
        control = self._given.control.fileno()
        self._poll.on(control, select.POLLIN, Turn.SERVER, self._hear)
        self._poll.on(self._given.broker, 0, Turn.ENDINGS, self._end)
        try:
            while not self._is_over:
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
            self._launch("programs", (broker_opening.__name__,))
        if "worker" in service.may:
            self._launch("workers", (WORKER_MODULE, *self._given.config.worker_modules))
        hello = {
            "version": VERSION,
            "service": service.name,
            "gates": service.gates,
            "may": sorted(service.may),
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
        orders.require_sealed(document)
        self._order(
            self._launchers["programs"],
            self._named(request, channel),
            Parcel(channel, document, tuple(inherited), request.fields["session"]),
        )

    def work(self, request: Request) -> None:
        """Start a worker as a client."""
        body = WORKERS.get(request.fields["kind"])
        if body is None:
            raise RemoteProtocolError("there is no such worker")
        channel, document, *inherited = request.descriptors
        orders.require_sealed(document)
        self._order(
            self._launchers["workers"],
            self._named(request, channel),
            Parcel(channel, document, tuple(inherited)),
            body,
        )

    def open(self, request: Request) -> None:
        """Have a process of a client's open a file beneath a configured folder."""
        channel, document, answer = request.descriptors
        orders.require_sealed(document, LONGEST_DOCUMENT)
        client = self._named(request, channel)
        roots = broker_opening.roots_document(self._given.service.open_roots)
        stdio = (self._null,) * 3
        with orders.sealed(_OPENER) as order, orders.sealed(roots) as folders:
            inherited = (*stdio, answer, document, folders.fileno())
            self._order(
                self._launchers["programs"],
                client,
                Parcel(channel, order.fileno(), inherited),
                broker_opening.BODY,
                seconds=self._limits.open_seconds,
            )

    def log_on(self, request: Request) -> None:
        """Have a password looked at; the answer comes by the channel, in its time."""
        channel, document, secret = request.descriptors
        self._require_channel(channel)
        for each in (document, secret):
            orders.require_sealed(each, LONGEST_DOCUMENT)
        self._attempts.begin(channel, document, secret)

    def renew(self, request: Request) -> None:
        """Let a client that came by a password stay for another lease."""
        client = self._clients.find(request.fields["client"])
        if client is not None:
            if client.lease_ends is None:
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
        if not self._clients.has_room(identity.uid):
            raise QuotaExceededError(f"uid {identity.uid} has too many connections")
        client = self._clients.add(identity, connection=connection)
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
            _let_go(held)

    # --- processes ------------------------------------------------------------------

    def _launch(self, name: str, preload: tuple[str, ...]) -> None:
        config = self._given.config
        terms = Terms(
            os.getpid(), config.guard_uid, config.allowed_system_uids, preload
        )
        launcher = _Launcher.execute(terms)
        self._launchers[name] = launcher

        def hear() -> None:
            if not launcher.is_well():
                _log.error("the launcher of %s is gone, and so is its server", name)
                self._end()

        self._poll.on(launcher.control.fileno(), select.POLLIN, Turn.ENDINGS, hear)

    def _order(
        self,
        launcher: _Launcher,
        client: Client | None,
        parcel: Parcel,
        body: str = "",
        *,
        seconds: float | None = None,
    ) -> None:
        """Send an order on, as the client that the table knows; or refuse it."""
        if client is None:
            _refuse(parcel.channel, "client", "the client is gone")
            return
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ends = None if seconds is None else time.monotonic() + seconds
        held = Hold(ours, client, ends)
        warrant = Warrant(client.identity, body).to_bytes()
        with theirs, orders.sealed(warrant) as document:
            try:
                self._clients.hold(client, held)
            except QuotaExceededError as error:
                ours.close()
                _refuse(parcel.channel, "quota", str(error))
                return
            try:
                orders.send(
                    launcher.control,
                    Parcel(
                        parcel.channel,
                        parcel.document,
                        parcel.inherited,
                        parcel.needs_session,
                        document.fileno(),
                        theirs.fileno(),
                    ),
                )
            except OSError as error:
                self._clients.release(held)
                ours.close()
                _refuse(parcel.channel, "broker", str(error.strerror))
                return
        _log.info(
            "service `%s` starts %s as uid %s, its client %s",
            self._given.service.name, body or "a program", client.identity.uid,
            client.index,
        )  # fmt: skip
        self._poll.on(ours.fileno(), 0, Turn.ENDINGS, lambda: self._ended(held))

    def _ended(self, held: Hold) -> None:
        """Hear that a keeper is done: its place is free again."""
        self._poll.off(held.socket.fileno())
        held.socket.close()
        self._clients.release(held)

    # --- time -----------------------------------------------------------------------

    def _moments(self) -> Iterator[float]:
        for client in self._clients:
            if client.lease_ends is not None:
                yield client.lease_ends
            for held in client.holds:
                if held.ends is not None:
                    yield held.ends
        yield from self._attempts.moments()

    def _pause(self) -> float | None:
        soonest = min(self._moments(), default=None)
        return None if soonest is None else soonest - time.monotonic()

    def _end_what_is_due(self) -> None:
        now = time.monotonic()
        for client in self._clients:
            if client.lease_ends is not None and client.lease_ends <= now:
                self._leave(client)
            for held in client.holds:
                if held.ends is not None and held.ends <= now:
                    held.ends = None
                    _let_go(held)
        self._attempts.answer_what_is_due(now)

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
        self._entrances.close()
        for client in self._clients:
            if client.socket is not None:
                with suppress(OSError):  # it is gone already
                    client.socket.shutdown(socket.SHUT_RDWR)
            self._leave(client)
        for launcher in self._launchers.values():
            launcher.control.close()
        deadline = time.monotonic() + _SECONDS_TO_END
        for launcher in self._launchers.values():
            launcher.wait(deadline - time.monotonic())


@dataclass(frozen=True, slots=True)
class _Launcher:
    """A launcher, whose server is this monitor."""

    control: socket.socket
    process: subprocess.Popen[bytes]

    @classmethod
    def execute(cls, terms: Terms) -> _Launcher:
        """Start it; orders may be sent at once."""
        ours, theirs = control_pair(terms)
        with theirs:
            return cls(ours, execute(theirs.fileno()))

    def is_well(self) -> bool:
        """Hear what it says; say whether it takes orders."""
        try:
            said = self.control.recv(LONGEST_DOCUMENT)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return b'"ready"' in said

    def wait(self, seconds: float) -> None:
        """Wait for its end; then kill it."""
        try:
            self.process.wait(max(0.0, seconds))
        except subprocess.TimeoutExpired:
            self.process.kill()


def _raise_own_limit() -> None:
    """Let this process have as many descriptors as it may."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _let_go(held: Hold) -> None:
    """Have a keeper end its tree; its own end comes when it has."""
    with suppress(OSError):  # it is done already
        held.socket.shutdown(socket.SHUT_WR)


def _refuse(channel: int, stage: str, why: str) -> None:
    """Say on a process's channel that there will be none."""
    refusal = {"refused": stage, "errno": 0, "text": why}
    with socket.socket(fileno=os.dup(channel)) as answer, suppress(OSError):
        say(answer, refusal)


_INDEX: Final[Mapping[str, type]] = MappingProxyType({"client": int})
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
            Monitor.start,
        ),
        "worker": Rule(
            Phase.GREETED, {**_INDEX, "kind": str}, 6, 6, "worker", Monitor.work
        ),
        "open": Rule(Phase.GREETED, _INDEX, 3, 3, "open", Monitor.open),
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
