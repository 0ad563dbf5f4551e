"""The client's way to a server on another machine: TLS, and who the client is.

    tls = TlsServer(ca="corp-ca.pem", shown=TlsIdentity("alice.pem"))
    with PipeClient.connect("tls://notes.example:7443", tls=tls) as server:
        ...

The server's name is checked before the client says anything; who has no certificate of
the name, by an authority that the client names, learns nothing.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol
from urllib.parse import urlsplit

from stead.authority.packages import ChannelBinding
from stead.errors import (
    InvalidNameError,
    InvalidRequestError,
    LogonFailureError,
    ServerUnavailableError,
    SteadError,
    WrongServerError,
)
from stead.gates.pipe.tls import ALPN, TlsIdentity, client_context
from stead.gates.pipe.tls_channel import TlsChannel, reason_of
from stead.model.arguments import require_kind

_SCHEME: Final = "tls://"


class ClientExchange(Protocol):
    """A client that shows who it is, by one package."""

    def step(self, challenge: bytes, /) -> bytes:
        """Return the response to a challenge; the first one is empty. It may wait.

        Raises:
            SteadError: the client cannot, or the server is not whom it means.
        """
        ...

    def finish(self, last: bytes, /) -> None:
        """Take the server's last word.

        Raises:
            WrongServerError: the server has not proved what the package has it prove.
        """

    def close(self) -> None:
        """Forget it; again does nothing."""


class ClientPackage(Protocol):
    """One way for a client to show who it is, such as SCRAM by its password."""

    @property
    def name(self) -> str:
        """What the server calls it."""
        ...

    def begin(self, binding: ChannelBinding, host: str, /) -> ClientExchange:
        """Begin with a server.

        Args:
            binding: what the channel can be told by; the exchange is to be tied to it.
            host: the server's name, which its certificate proved.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsServer:
    """How a client knows its server, and what it shows of itself.

    Attributes:
        ca: a file in PEM: who certifies the server; None for whom the system trusts.
        shown: the client's own certificate, if it has one.
        name: the name that the server's certificate must have, if that is not the host
            it is reached at.
        package: by what the client is authenticated, if not by its certificate.
    """

    ca: str | os.PathLike[str] | None = None
    shown: TlsIdentity | None = None
    name: str | None = None
    package: ClientPackage | None = None

    def __post_init__(self) -> None:
        """Refuse two answers to one question; raises `InvalidRequestError`."""
        if self.shown is not None and self.package is not None:
            raise InvalidRequestError(
                "a client is known by its certificate or by a package, not by both"
            )


@dataclass(frozen=True, slots=True)
class TlsAddress:
    """Where a server is: `tls://host:port`.

    Attributes:
        host: its name, or an address.
        port: its port.
    """

    host: str
    port: int


def tls_address(path: str | os.PathLike[str]) -> TlsAddress | None:
    """Return the address that a pipe's path is, or None if it is one of this machine.

    Raises:
        InvalidNameError: it begins like an address and is none.
    """
    require_kind(
        "path", path, (str, os.PathLike), "the server's socket, or `tls://...`"
    )
    name = os.fspath(path)
    if not name.startswith(_SCHEME):
        return None
    try:
        parts = urlsplit(name)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    more = name.removeprefix(_SCHEME)
    if not host or not port or {*more} & {*"/?#@\0"}:
        raise InvalidNameError(
            f"`{name[:80]}` is no address", advice="give `tls://host:port`"
        )
    return TlsAddress(host, port)


def require_fitting(
    address: TlsAddress | None, tls: TlsServer | None, *, has_local: bool
) -> None:
    """Refuse what is about the other kind of pipe, rather than ignore it.

    Raises:
        InvalidRequestError: it is.
    """
    if address is None and tls is not None:
        raise InvalidRequestError(
            "`tls` is about servers on other machines", advice="give `tls://host:port`"
        )
    if address is not None and has_local:
        raise InvalidRequestError(
            "uids and tickets for a broker are about local pipes",
            advice="give `tls=TlsServer(...)`",
        )


def reach(
    address: TlsAddress, tls: TlsServer, timeout: float | None
) -> tuple[ssl.SSLSocket, ClientExchange | None]:
    """Connect, verify the server, and begin to show who the client is.

    Raises:
        ServerUnavailableError: no server answers there, or it speaks otherwise.
        WrongServerError: it is not whom the client means; nothing was said.
        LogonFailureError: it does not take the client's certificate.
        TimeoutError: it does not answer in time.
        InvalidRequestError, UnsafeConfigurationError: files cannot be used.
    """
    context = client_context(tls.ca, tls.shown)
    plain = _connected(address, timeout)
    try:
        try:
            made = context.wrap_socket(plain, server_hostname=tls.name or address.host)
        except (ssl.SSLError, ConnectionError) as error:
            raise failure_of(error) from error
    except BaseException:
        plain.close()
        raise
    try:
        return made, _begun(made, tls, address)
    except BaseException:
        made.close()
        raise


async def reach_from_loop(
    address: TlsAddress, tls: TlsServer
) -> tuple[TlsChannel, ClientExchange | None]:
    """Do the same from asyncio; raises as `reach` does."""
    context = client_context(tls.ca, tls.shown)
    plain = await _connected_from_loop(address)
    try:
        name = tls.name or address.host
        channel = TlsChannel(plain, context, server_hostname=name)
        try:
            await channel.handshake(_at_once)
        except (ssl.SSLError, ConnectionError) as error:
            raise failure_of(error) from error
        return channel, _begun(channel.tls, tls, address)
    except BaseException:
        plain.close()
        raise


async def _at_once(task: Callable[[], None]) -> None:
    task()


def _connected(address: TlsAddress, timeout: float | None) -> socket.socket:
    try:
        made = socket.create_connection((address.host, address.port), timeout)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except TimeoutError:
        raise
    except (OSError, UnicodeError) as error:
        raise _unreachable(address, error) from error
    return made


async def _connected_from_loop(address: TlsAddress) -> socket.socket:
    loop = asyncio.get_running_loop()
    failure: Exception | None = None
    try:
        found = await loop.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM
        )
    except (OSError, UnicodeError) as error:
        raise _unreachable(address, error) from error
    for family, kind, protocol, _, place in found:
        made = socket.socket(family, kind, protocol)
        try:
            made.settimeout(0.0)
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await loop.sock_connect(made, place)
        except OSError as error:
            made.close()
            failure = error
        except BaseException:
            made.close()
            raise
        else:
            return made
    raise _unreachable(address, failure) from failure


def _unreachable(
    address: TlsAddress, error: Exception | None
) -> ServerUnavailableError:
    return ServerUnavailableError(
        f"no server answers at `{address.host}:{address.port}`: {error}",
        advice="start the server, or check the address",
    )


def _begun(
    made: ssl.SSLSocket | ssl.SSLObject, tls: TlsServer, address: TlsAddress
) -> ClientExchange | None:
    if made.selected_alpn_protocol() != ALPN:
        raise ServerUnavailableError(
            f"the server at `{address.host}:{address.port}` speaks something else"
        )
    if tls.package is None:
        return None
    certificate = made.getpeercert(binary_form=True)
    if certificate is None:
        raise WrongServerError("the server has shown no certificate")
    from stead.adapters.end_point import server_end_point  # noqa: PLC0415 - an extra's

    binding = server_end_point(certificate, is_between_ours=True)
    return tls.package.begin(binding, tls.name or address.host)


def failure_of(error: Exception) -> SteadError:
    """Return what a failure of TLS means to a client."""
    cause = error.__cause__ if isinstance(error, ConnectionError) else error
    if isinstance(cause, ssl.SSLCertVerificationError):
        return WrongServerError(
            f"the server is not whom the client means: {reason_of(cause)}",
            advice="check the name, and the authorities that are given as `ca`",
        )
    if not isinstance(cause, ssl.SSLError):
        return ServerUnavailableError("the server closed the connection")
    reason = reason_of(cause)
    if "alert" in reason and ("certificate" in reason or "unknown ca" in reason):
        return LogonFailureError(
            advice=f"the server does not take the client's certificate: {reason}"
        )
    return ServerUnavailableError(f"the server ended the connection: {reason}")
