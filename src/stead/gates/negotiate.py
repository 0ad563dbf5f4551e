"""HTTP Negotiate: each request shows a Kerberos ticket (RFC 4559), in pure ASGI 3.

    app = NegotiateMiddleware(
        app, begin=partial(server.begin_logon, "negotiate", gate="http"),
        binding=server_end_point(certificate),          # None without TLS
    )

    async def app(scope, receive, send):
        client = client_of(scope)

Nothing is remembered from one request to the next, neither by a cookie nor by the
connection, over which a proxy sends several people's requests (docs/adr/0088). So a
ticket takes one message and one answer; what would take more, as NTLM does, is refused.

1. A request from another site's page is refused, or that page would act as its reader.
2. A request that shows nothing is asked to (401).
3. What it shows is looked at on a thread of the gate's own: that waits. A failure is
   answered late, and its thread is another's by then.
4. The answer tells the client that the server, too, is who it should be.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Callable, Collection, Mapping
from contextvars import copy_context
from functools import partial
from typing import Any, Final, Protocol, cast

from stead.authority.packages import ChannelBinding
from stead.errors import (
    EnforcementUnavailableError,
    LogonFailureError,
    OperationFailedError,
    SteadError,
)
from stead.gates.arrivals import Arrivals
from stead.gates.http import (
    AsgiApp,
    Event,
    Receive,
    Scope,
    Send,
    SteadMiddleware,
)
from stead.gates.ports import ClientLike
from stead.gates.sites import Headers, origins_of, require_own_site

SESSION_KEY: Final = "stead.session"
CHALLENGE: Final = "Negotiate"
_HANDSHAKE: Final = "stead.handshake"
_HEADS: Final = frozenset(
    {"http.response.start", "websocket.accept", "websocket.http.response.start"}
)
_SECURE: Final = frozenset({"https", "wss"})
_UNAUTHORIZED: Final = 401


class SessionLike(Protocol):
    """What the gate asks of a logon session."""

    @property
    def client(self) -> ClientLike:
        """Whom it makes."""
        ...

    def close(self) -> None:
        """Let go of it."""


class ExchangeLike(Protocol):
    """What the gate asks of a client's being authenticated."""

    @property
    def session(self) -> SessionLike | None:
        """The client's session, once it has shown who it is."""
        ...

    def step(self, blob: bytes) -> bytes:
        """Take a blob; return what to send back."""
        ...

    def close(self) -> None:
        """Forget it."""


class Begin(Protocol):
    """Begins with a client: `partial(server.begin_logon, "negotiate", gate="http")`."""

    def __call__(
        self,
        *,
        peer: str,
        binding: ChannelBinding | None,
        wait: Callable[[float], None] | None = ...,
    ) -> ExchangeLike:
        """Return its exchange; `wait` is told how late a failure is to be answered."""
        ...


class Handshake:
    """What one request shows, and what came of it.

    Attributes:
        session: the client's, once it has shown who it is.
        late: the seconds by which its failure is to be answered late, where that is
            not waited for on its thread.
    """

    def __init__(
        self, begin: Callable[[], ExchangeLike], late: Collection[float] = ()
    ) -> None:
        self.session: SessionLike | None = None
        self.late = late
        self._begin = begin
        self._reply = b""

    def take(self, blob: bytes) -> ClientLike:
        """Look at what the client shows; it waits.

        Raises:
            LogonFailureError: it is not admitted, whatever the cause; the trail has it.
        """
        exchange = self._begin()
        try:
            reply = exchange.step(blob)
            session = exchange.session
            if session is None:
                # It would take another message. No message follows, and the trail
                # says that it failed.
                exchange.step(b"")
                if exchange.session is not None:
                    exchange.session.close()
                raise LogonFailureError
        finally:
            exchange.close()
        self.session, self._reply = session, reply
        return session.client

    def answered(self) -> list[tuple[str, str]]:
        """Return what an answer says of it, as headers; nothing if it failed."""
        if self.session is None:
            return []
        proof = base64.b64encode(self._reply).decode()
        shown = [("www-authenticate", f"{CHALLENGE} {proof}")] if proof else []
        # Or the client takes its connection for authenticated, and shows nothing.
        return [*shown, ("persistent-auth", "false")]


def shown_by(headers: Headers) -> bytes:
    """Return what a request shows.

    What cannot be decoded is empty: it is refused like all that is no ticket.

    Raises:
        LogonFailureError: it shows nothing for Negotiate.
    """
    found = headers.get("authorization", ())
    scheme, _, text = found[0].partition(" ") if found else ("", "", "")
    if scheme.lower() != CHALLENGE.lower():
        raise LogonFailureError(advice="the request shows nothing for Negotiate")
    if len(found) > 1:
        return b""
    try:
        return base64.b64decode(text.strip(" "), validate=True)
    except (binascii.Error, ValueError):
        return b""


def require_binding(
    scheme: str,
    binding: ChannelBinding | None,
    *,
    unbound_tls: bool,
) -> None:
    """Refuse TLS that nothing is bound to, unless that is meant.

    Raises:
        EnforcementUnavailableError: the gate was not told its certificate.
    """
    if scheme in _SECURE and binding is None and not unbound_tls:
        raise EnforcementUnavailableError(
            "clients come over TLS, and what they show is bound to no certificate",
            advice="binding=server_end_point(certificate); or unbound_tls=True, where "
            "clients cannot bind",
        )


def session_of(request: Mapping[str, Any] | Any) -> SessionLike:
    """Return the logon session of a request, for its credentials.

    Args:
        request: its ASGI scope or WSGI environ, or an object that has one as `scope`.

    Raises:
        OperationFailedError: no Negotiate middleware stands before the application.
    """
    scope = request if isinstance(request, Mapping) else request.scope
    if SESSION_KEY not in scope:
        raise OperationFailedError(
            "the request did not pass a negotiate middleware",
            advice="wrap the application in NegotiateMiddleware",
        )
    return cast("SessionLike", scope[SESSION_KEY])


class NegotiateMiddleware:
    """Authenticates each request by its ticket; the rest is `SteadMiddleware`'s."""

    def __init__(
        self,
        app: AsgiApp,
        *,
        begin: Begin,
        binding: ChannelBinding | None = None,
        unbound_tls: bool = False,
        origins: Collection[str] = (),
    ) -> None:
        """Wrap an application.

        Args:
            app: the application, or the next middleware.
            begin: begins with a client.
            binding: what the TLS of this server is told by, wherever it ends; clients
                must bind to it. None without TLS.
            unbound_tls: whether clients may come over TLS though nothing is bound.
            origins: other sites whose pages may send requests, such as
                `https://portal.example`.
        """
        self._app = app
        self._begin = begin
        self._binding = binding
        self._unbound_tls = unbound_tls
        self._origins = origins_of(origins)
        self._inner = SteadMiddleware(
            self._with_session, client_for=self._client_for, challenge=CHALLENGE
        )
        self._arrivals = Arrivals("negotiate")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; other scopes pass through."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        late: list[float] = []
        begin = partial(
            self._begin, peer=_peer(scope), binding=self._binding, wait=late.append
        )
        handshake = Handshake(begin, late)

        async def answer(event: Event) -> None:
            if event["type"] in _HEADS and event.get("status") != _UNAUTHORIZED:
                said = [(k.encode(), v.encode()) for k, v in handshake.answered()]
                event = {**event, "headers": [*event.get("headers", ()), *said]}
            await send(event)

        await self._inner({**scope, _HANDSHAKE: handshake}, receive, answer)

    async def _client_for(self, scope: Scope) -> ClientLike:
        headers = _headers(scope)
        require_own_site(scope.get("method", ""), headers, self._origins)
        require_binding(
            scope.get("scheme", "http"), self._binding, unbound_tls=self._unbound_tls
        )
        blob = shown_by(headers)
        handshake: Handshake = scope[_HANDSHAKE]
        take = partial(handshake.take, blob)
        look = partial(copy_context().run, take)
        taking = asyncio.wrap_future(self._arrivals.submit(_peer(scope), look))
        try:
            return await asyncio.shield(taking)
        except asyncio.CancelledError:
            # The client went away; a session that opens all the same is let go of.
            taking.add_done_callback(partial(_forget, handshake))
            raise
        except SteadError:
            # No thread waits for that: failures, however many, delay nobody else.
            await asyncio.sleep(sum(handshake.late))
            raise

    async def _with_session(self, scope: Scope, receive: Receive, send: Send) -> None:
        handshake: Handshake = scope[_HANDSHAKE]
        given = {**scope, SESSION_KEY: handshake.session}
        del given[_HANDSHAKE]
        await self._app(given, receive, send)


def _forget(handshake: Handshake, taken: asyncio.Future[ClientLike]) -> None:
    """Let go of what nobody waits for any more, its failure included."""
    if not taken.cancelled():
        taken.exception()
    if handshake.session is not None:
        handshake.session.close()


def _headers(scope: Scope) -> Headers:
    found: dict[str, tuple[str, ...]] = {}
    for name, value in scope.get("headers", ()):
        key = bytes(name).decode("latin-1").lower()
        found[key] = (*found.get(key, ()), bytes(value).decode("latin-1"))
    return found


def _peer(scope: Scope) -> str:
    client = scope.get("client")
    if not client:
        return ""
    host = f"[{client[0]}]" if ":" in client[0] else client[0]
    return f"{host}:{client[1]}"
