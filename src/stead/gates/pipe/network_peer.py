"""Who is at the other end of a TLS connection, and where such clients are accepted."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Final

from stead.authority.packages import Authenticated, ChannelBinding
from stead.errors import (
    InvalidNameError,
    PipeBusyError,
    RemoteProtocolError,
)
from stead.gates.pipe.greeting import Dialogue
from stead.gates.ports import Ticket

_IPV6_SITE: Final = 64  # whoever has one address of IPv6 has these bits of them
_BACKLOG: Final = 128
_MOST_PORTS: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class NetworkPeer:
    """From where somebody connected.

    Attributes:
        address: the address, without a zone.
        port: the port, for people to read.
    """

    address: str
    port: int

    @property
    def origin(self) -> Hashable:
        """Whose connections are counted together: an address's, or a site's of IPv6."""
        address = ipaddress.ip_address(self.address)
        if isinstance(address, ipaddress.IPv4Address):
            return address
        return ipaddress.IPv6Network((address, _IPV6_SITE), strict=False)

    def describe(self) -> str:
        """Return it in words, for logs and the trail."""
        is_v6 = ":" in self.address
        return (
            f"[{self.address}]:{self.port}" if is_v6 else f"{self.address}:{self.port}"
        )

    def close(self) -> None:
        """Do nothing: nothing is held of it."""


@dataclass(frozen=True, slots=True)
class NetworkEvidence:
    """What the gate saw for itself about a client from the network.

    One of two things says who it is: what it showed in the handshake, which was
    verified (`show`), or an exchange that it asks for (`package`).

    Attributes:
        peer: from where it came.
        dialogue: asks it.
        show: returns whose certificate it has; raises if it is not believed. None if
            it showed none.
        package: by what it asks to be authenticated; empty if it does not.
        binding: what an exchange is tied to the channel by; None for a package that
            cannot be, and may be used all the same.
        gate: the gate that saw it.
    """

    peer: NetworkPeer
    dialogue: Dialogue = field(repr=False)
    show: Callable[[], Authenticated] | None = None
    package: str = ""
    binding: ChannelBinding | None = None
    gate: str = "tls"


class NetworkLookout:
    """Sees from which address a client comes."""

    @property
    def reserved(self) -> frozenset[Hashable]:
        """Nobody: an address proves nothing. Administrators come by the local pipe."""
        return frozenset()

    def origin(self, client: socket.socket) -> tuple[Hashable, str]:
        """Return whose places a client takes, and its address."""
        peer = self.peer(client, None)
        return peer.origin, peer.describe()

    def peer(self, client: socket.socket, ticket: Ticket | None) -> NetworkPeer:  # noqa: ARG002 - a broker accepts local clients only
        """Return from where a client comes."""
        name = client.getpeername()
        if client.family not in {socket.AF_INET, socket.AF_INET6}:
            raise RemoteProtocolError("the client has no address of the network")
        address = ipaddress.ip_address(name[0].partition("%")[0])
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
            address = address.ipv4_mapped  # a socket of both kinds writes it so
        return NetworkPeer(str(address), name[1])


class Listening:
    """Accepts clients at an address of the network.

    Attributes:
        host: the address, or a name of it; empty for all.
        port: the port; the one that was given by the system, once it is open.
    """

    def __init__(self, host: str, port: int) -> None:
        """Describe it; nothing is opened."""
        if not 0 <= port < _MOST_PORTS or "\0" in host:
            raise InvalidNameError(f"`{host[:80]}:{port}` is no address")
        self.host = host
        self.port = port
        self._listener: socket.socket | None = None

    def open(self) -> None:
        """Listen.

        Raises:
            PipeBusyError: another program listens there.
            InvalidNameError: it is no address of this machine.
        """
        try:
            self._listener = self._bound()
        except (OSError, UnicodeError) as error:
            name = f"{self.host}:{self.port}"
            advice = "choose an address of this machine, and a port that is free"
            if isinstance(error, OSError) and error.errno not in _NO_ADDRESS:
                raise PipeBusyError(
                    f"`{name}` cannot be taken: {error.strerror}", advice=advice
                ) from error
            raise InvalidNameError(f"`{name}` is no address", advice=advice) from error
        self._listener.settimeout(0.0)
        self.port = self._listener.getsockname()[1]

    def _bound(self) -> socket.socket:
        if not self.host and socket.has_dualstack_ipv6():
            return socket.create_server(
                ("", self.port),
                family=socket.AF_INET6,
                dualstack_ipv6=True,
                backlog=_BACKLOG,
            )
        found = socket.getaddrinfo(
            self.host or None, self.port, type=socket.SOCK_STREAM
        )
        family, *_, place = found[0]
        return socket.create_server(place[:2], family=family, backlog=_BACKLOG)

    def fileno(self) -> int:
        """Return the listening socket's descriptor."""
        return -1 if self._listener is None else self._listener.fileno()

    def accept(self) -> tuple[socket.socket, None]:
        """Accept a client."""
        if self._listener is None:
            raise BlockingIOError
        client, _ = self._listener.accept()
        try:
            # Answers are whole frames: none gains from waiting for another.
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except BaseException:
            client.close()
            raise
        return client, None

    def close(self) -> None:
        """Listen no more; again does nothing."""
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.close()


_NO_ADDRESS: Final = frozenset(
    {
        socket.EAI_NONAME,
        socket.EAI_FAMILY,
        socket.EAI_AGAIN,
        99,  # EADDRNOTAVAIL
    }
)
