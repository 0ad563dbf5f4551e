"""The pipe's protocol over TLS: clients on other machines.

    shown = TlsIdentity("server.pem", "server.key")
    gate = TlsGate("0.0.0.0", 7443, shown, clients=TlsClients(Certificates([corp])))
    await server.serve(gate)

The kernel vouches for nobody here. A client is known by the certificate that it shows
in the handshake, or by an exchange in its first messages (`Hello.package`), which is
tied to the channel.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from socket import SHUT_RDWR, socket
from typing import Final, Protocol

from stead.adapters.certificates.chains import verified_chain
from stead.authority.packages import Authenticated, ChannelBinding
from stead.errors import RemoteProtocolError
from stead.gates.pipe.connection import Connection
from stead.gates.pipe.door import Door, Received
from stead.gates.pipe.greeting import Dialogue
from stead.gates.pipe.limits import PipeLimits
from stead.gates.pipe.network_peer import (
    Listening,
    NetworkEvidence,
    NetworkLookout,
    NetworkPeer,
)
from stead.gates.pipe.shares import Share
from stead.gates.pipe.tls import ALPN, ServerEnds, TlsIdentity
from stead.gates.pipe.tls_channel import TlsChannel, reason_of
from stead.gates.pipe.turned_away import log_turned_away
from stead.gates.ports import Admit, TurnedAway
from stead.model.arguments import require_kind, several

NETWORK_LIMITS: Final = PipeLimits(pending=64, hello_seconds=10.0)
"""What a client on another machine may cost; a handshake takes some round trips."""


class CertificateDesk(Protocol):
    """Knows whose certificates are believed; such as `adapters.certificates`."""

    @property
    def anchors(self) -> bytes:
        """Who certifies clients, in PEM: by them, and them alone, they are verified."""
        ...

    def identify(self, chain: Sequence[bytes], /) -> Authenticated:
        """Return whose certificate it is that was verified by a chain, in DER.

        Raises:
            SteadError: it is not believed; it says why.
        """
        ...


@dataclass(frozen=True, slots=True)
class TlsClients:
    """What clients may show who they are by.

    Attributes:
        certificates: whose certificates they may have; None for nobody's.
        is_demanded: whether a client without one is refused in the handshake.
        unbound_packages: packages that cannot be tied to a channel, and may be used all
            the same. Whoever gets hold of what a client shows by them can show it
            elsewhere.
    """

    certificates: CertificateDesk | None = None
    is_demanded: bool = False
    unbound_packages: Collection[str] = ()

    def __post_init__(self) -> None:
        """Refuse one text, parts of which would be packages (`InvalidRequestError`)."""
        advice = 'write `unbound_packages=["oauthbearer"]`'
        several("unbound_packages", self.unbound_packages, str, advice)


class TlsGate:
    """Accepts clients over TLS and serves each as its own connection."""

    def __init__(
        self,
        host: str,
        port: int,
        shown: TlsIdentity,
        *,
        clients: TlsClients = TlsClients(),
        name: str = "stead",
        limits: PipeLimits = NETWORK_LIMITS,
        turned_away: TurnedAway = log_turned_away,
    ) -> None:
        """Describe the gate; nothing is opened before `start`.

        Args:
            host: the address to listen at; empty for all.
            port: the port; 0 for any that is free.
            shown: the server's own certificate.
            clients: what clients may show; no certificates if nothing is said.
            name: the server's name, told to clients.
            limits: what a client may cost; "uid" is an address there.
            turned_away: told now and then how many clients were turned away.

        Raises:
            InvalidNameError: it is no address.
        """
        require_kind("shown", shown, TlsIdentity, 'write `TlsIdentity("server.pem")`')
        require_kind("clients", clients, TlsClients, "write `TlsClients(certificates)`")
        self._listening = Listening(host, port)
        self._shown = shown
        self._clients = clients
        self._name = name
        self._limits = limits
        self._door: Door[NetworkPeer] = Door(
            self._listening, NetworkLookout(), limits, turned_away
        )

    @property
    def port(self) -> int:
        """The port; known once the gate is open."""
        return self._listening.port

    @property
    def clients(self) -> int:
        """How many connections are open."""
        return len(self._door.visits)

    async def start(self, admit: Admit[NetworkEvidence]) -> None:
        """Listen and accept clients.

        Raises:
            ServerClosedError: the gate is open already.
            InvalidNameError, PipeBusyError: it cannot listen there.
            UnsafeConfigurationError, InvalidRequestError: the certificates are unsafe,
                or cannot be used.
        """
        desk = self._clients.certificates
        anchors = b"" if desk is None else desk.anchors
        demands = self._clients.is_demanded
        ends = ServerEnds(self._shown, anchors, demands=demands)

        def receive(client: socket, peer: NetworkPeer, share: Share) -> Received:
            end = ends.current()
            channel = TlsChannel(client, end.context)
            greeting = _Greeting(peer, channel, end.binding, self._clients)
            connection = Connection(
                channel, greeting, name=self._name, limits=self._limits, share=share
            )
            return connection, connection.serve(admit)

        # Nobody hears a goodbye before a handshake.
        self._door.open(receive, b"")

    async def stop(self, *, grace: float = 5.0) -> None:
        """Listen no more, let running requests finish, and say goodbye.

        Args:
            grace: seconds after which requests that still run are cancelled; those
                that outlive even that for as long again are left behind, and logged.
        """
        await self._door.close(grace)


class _Greeting:
    """One client, from its handshake to what it shows."""

    def __init__(
        self,
        peer: NetworkPeer,
        channel: TlsChannel,
        binding: ChannelBinding,
        clients: TlsClients,
    ) -> None:
        self.peer = peer
        self._channel = channel
        self._binding = binding
        self._clients = clients

    async def prepare(self, share: Share) -> None:
        """Do the handshake, whose computing is done by the origin's share."""
        try:
            await self._channel.handshake(share.work)
        except ssl.SSLError as error:
            raise ConnectionAbortedError(f"handshake: {reason_of(error)}") from error
        if self._channel.tls.selected_alpn_protocol() != ALPN:
            self._channel.shut(SHUT_RDWR)  # no word of ours means anything there
            raise ConnectionAbortedError("handshake: it means another protocol")

    def evidence(self, package: str | None, dialogue: Dialogue) -> NetworkEvidence:
        """Return what the client shows."""
        show = self._show()
        if package is None:
            return NetworkEvidence(self.peer, dialogue, show)
        if show is not None:
            # Two answers to one question; a proxy's certificate is no client's.
            raise RemoteProtocolError("it shows a certificate, and asks for more")
        is_unbound = package in self._clients.unbound_packages
        binding = None if is_unbound else self._binding
        return NetworkEvidence(self.peer, dialogue, package=package, binding=binding)

    def _show(self) -> Callable[[], Authenticated] | None:
        desk = self._clients.certificates
        # Without one nobody is asked for a certificate.
        chain = () if desk is None else verified_chain(self._channel.tls)
        return partial(desk.identify, chain) if desk and chain else None

    def fault_of(self, error: Exception) -> str:
        """Return why TLS failed, if it did."""
        return str(error) if isinstance(error, ConnectionAbortedError) else ""
