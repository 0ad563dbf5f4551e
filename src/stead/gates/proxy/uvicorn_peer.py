"""Has uvicorn say who connected: the uid of a local socket's peer, or its certificate.

    uvicorn.run(app, uds="/run/web.sock", http=PeerProtocol)
    uvicorn.run(app, ssl_ca_certs="corp-ca.pem", ssl_cert_reqs=ssl.CERT_OPTIONAL,
                ssl_certfile="server.pem", http=PeerProtocol)

By itself uvicorn tells an application neither, and the extension that ASGI has for
certificates is served by none that is known. Websockets are handed to another protocol
of uvicorn's, and tell nothing.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Any

from stead.adapters.extras import require_extra

require_extra("http", "uvicorn")

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from stead.adapters.certificates.chains import verified_chain
from stead.adapters.tls_terms import resume_nothing
from stead.errors import RemoteProtocolError
from stead.gates.proxy.seen import EXTENSION, Scope
from stead.privileged.peers import peer_credentials

App = Callable[[Scope, Any, Any], Awaitable[None]]


class PeerProtocol(H11Protocol):
    """Uvicorn's own protocol for HTTP/1.1, which adds to each scope who connected."""

    def __init__(self, config: uvicorn.Config, *rest: Any, **named: Any) -> None:
        """Begin with a connection, before its handshake."""
        super().__init__(config, *rest, **named)
        if config.ssl is not None:
            resume_nothing(config.ssl)

    def connection_made(  # type: ignore[override]  # uvicorn narrows it too
        self, transport: asyncio.Transport
    ) -> None:
        """Ask the kernel and OpenSSL, once for the connection."""
        super().connection_made(transport)
        self.app = _Telling(self.app, _peer_of(transport))


class _Telling:
    """Adds to each scope who connected."""

    def __init__(self, app: Any, peer: dict[str, Any]) -> None:
        self._app: App = app
        self._peer = peer

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        extensions = {**(scope.get("extensions") or {}), EXTENSION: self._peer}
        await self._app({**scope, "extensions": extensions}, receive, send)


def _peer_of(transport: asyncio.Transport) -> dict[str, Any]:
    uid = None
    connected = transport.get_extra_info("socket")
    if connected is not None and connected.family == socket.AF_UNIX:
        try:
            uid = peer_credentials(connected)[1]
        except (OSError, RemoteProtocolError):
            uid = None
    tls = transport.get_extra_info("ssl_object")
    return {"uid": uid, "chain": () if tls is None else verified_chain(tls)}
