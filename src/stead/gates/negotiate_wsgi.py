"""HTTP Negotiate for WSGI (RFC 4559, PEP 3333); see `stead.gates.negotiate`.

app = NegotiateWsgiMiddleware(
app, begin=partial(server.begin_logon, "negotiate", gate="http"),
binding=server_end_point(certificate),          # None without TLS
)
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Final

from stead.authority.packages import ChannelBinding
from stead.gates.negotiate import (
    CHALLENGE,
    SESSION_KEY,
    Begin,
    Handshake,
    require_binding,
    shown_by,
)
from stead.gates.ports import ClientLike
from stead.gates.sites import Headers, origins_of, require_own_site
from stead.gates.wsgi import Environ, ExcInfo, StartResponse, WsgiApp, WsgiMiddleware

_HANDSHAKE: Final = "stead.handshake"
_READ: Final = (
    "authorization", "host", "origin", "sec-fetch-site", "sec-fetch-mode",
)  # fmt: skip


class NegotiateWsgiMiddleware:
    """Authenticates each request by its ticket; the rest is `WsgiMiddleware`'s."""

    def __init__(
        self,
        app: WsgiApp,
        *,
        begin: Begin,
        binding: ChannelBinding | None = None,
        unbound_tls: bool = False,
        origins: Collection[str] = (),
    ) -> None:
        """Wrap an application; the arguments are `NegotiateMiddleware`'s."""
        self._app = app
        self._begin = begin
        self._binding = binding
        self._unbound_tls = unbound_tls
        self._origins = origins_of(origins)
        self._inner = WsgiMiddleware(
            self._with_session, client_for=self._client_for, challenge=CHALLENGE
        )

    def __call__(
        self, environ: Environ, start_response: StartResponse
    ) -> Iterable[bytes]:
        """Serve one request."""
        peer = environ.get("REMOTE_ADDR", "")
        handshake = Handshake(lambda: self._begin(peer=peer, binding=self._binding))

        def start(
            status: str,
            headers: list[tuple[str, str]],
            exc_info: ExcInfo | None = None,
            /,
        ) -> Callable[[bytes], object]:
            if not status.startswith("401"):
                headers = [*headers, *((k.title(), v) for k, v in handshake.answered())]
            if exc_info is None:
                return start_response(status, headers)
            return start_response(status, headers, exc_info)

        return self._inner({**environ, _HANDSHAKE: handshake}, start)

    def _client_for(self, environ: Environ) -> ClientLike:
        headers = _headers(environ)
        require_own_site(environ.get("REQUEST_METHOD", ""), headers, self._origins)
        require_binding(
            environ.get("wsgi.url_scheme", "http"),
            self._binding,
            unbound_tls=self._unbound_tls,
        )
        handshake: Handshake = environ[_HANDSHAKE]
        return handshake.take(shown_by(headers))

    def _with_session(
        self, environ: Environ, start_response: StartResponse
    ) -> Iterable[bytes]:
        handshake: Handshake = environ[_HANDSHAKE]
        given = {**environ, SESSION_KEY: handshake.session}
        del given[_HANDSHAKE]
        return self._app(given, start_response)


def _headers(environ: Environ) -> Headers:
    """Return the headers that the gate reads; servers join what stands twice."""
    found: dict[str, tuple[str, ...]] = {}
    for name in _READ:
        value = environ.get("HTTP_" + name.upper().replace("-", "_"))
        if value is not None:
            found[name] = (value,)
    return found
