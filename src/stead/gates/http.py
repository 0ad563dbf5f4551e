"""HTTP: the client of each request, passed on explicitly, in pure ASGI 3.

Somebody else authenticated the client (the web application, a proxy it trusts);
`client_for` says who it is. The client rides in the request's own scope and nowhere
else. A context variable would not do: frameworks run parts of a request in other tasks
and threads, which get copies of it, or another request's.

    app = SteadMiddleware(app, client_for=lambda scope: server.client_for(name(scope)))

    async def app(scope, receive, send):
        client = client_of(scope)
"""

from __future__ import annotations

import inspect
import json
import logging
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, Final, TypeAlias, cast

from stead.errors import LogonFailureError, OperationFailedError, SteadError
from stead.gates.ports import (
    ClientLike,
    PublicRefusal,
    public_refusal,
    tell_operator,
)
from stead.model.arguments import require_callable, require_kind
from stead.monitor import context
from stead.monitor.leaks import tell_end
from stead.monitor.tracing import arriving

Scope: TypeAlias = MutableMapping[str, Any]
Event: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Event]]
Send: TypeAlias = Callable[[Event], Awaitable[None]]
AsgiApp: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

_log: Final = logging.getLogger(__name__)

CLIENT_KEY: Final = "stead.client"
_TRACEPARENT: Final = b"traceparent"

_START: Final = "http.response.start"
_BODY: Final = "http.response.body"
# An accepted websocket can still be closed with a reason; a closed one cannot.
_FINAL: Final = frozenset(
    {
        _START,
        "websocket.close",
        "websocket.http.response.start",
    }
)
_POLICY_VIOLATION: Final = 1008  # RFC 6455 7.4.1
_SERVER_ERROR: Final = 1011
_INTERNAL_ERROR: Final = 500

# By the Win32 code of what the client may hear (`public_refusal`); the rest is 400.
_HTTP_STATUS: Final[Mapping[int, int]] = {
    1: 404,  # ERROR_INVALID_FUNCTION: no such operation
    5: 403,  # ERROR_ACCESS_DENIED
    50: 501,  # ERROR_NOT_SUPPORTED
    1115: 503,  # ERROR_SHUTDOWN_IN_PROGRESS
    1306: 409,  # ERROR_REVISION_MISMATCH
    1307: 403,  # ERROR_INVALID_OWNER
    1312: 401,  # ERROR_NO_SUCH_LOGON_SESSION
    1314: 403,  # ERROR_PRIVILEGE_NOT_HELD
    1316: 409,  # ERROR_USER_EXISTS
    1326: 401,  # ERROR_LOGON_FAILURE
    1346: 403,  # ERROR_BAD_IMPERSONATION_LEVEL
    1359: _INTERNAL_ERROR,  # ERROR_INTERNAL_ERROR
    1722: 503,  # RPC_S_SERVER_UNAVAILABLE
}


ClientFor: TypeAlias = Callable[
    [Scope], ClientLike | Awaitable[ClientLike | None] | None
]


class SteadMiddleware:
    """Gives each request its client, and takes it back when the request ends."""

    def __init__(
        self, app: AsgiApp, *, client_for: ClientFor, challenge: str = "Bearer"
    ) -> None:
        """Wrap an application.

        Args:
            app: the application, or the next middleware.
            client_for: who sent this request; None if nobody said. What it raises is
                answered like a refusal of the application's own.
            challenge: how to authenticate, as the WWW-Authenticate of a 401.
        """
        require_callable("client_for", client_for, "a function of the request")
        self._app = app
        self._client_for = client_for
        self._challenge = challenge

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; other scopes pass through."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        answer = _Answer(send)
        try:
            await self._serve(scope, receive, answer)
        except SteadError as error:
            # Half an answer cannot be taken back: the server breaks the connection.
            if not answer.may_refuse:
                raise
            tell_operator(error, _log)
            await self._refuse(scope, send, public_refusal(error))
        except Exception:
            await answer.pass_on()
            raise
        else:
            await answer.pass_on()

    async def _serve(self, scope: Scope, receive: Receive, answer: _Answer) -> None:
        with arriving(traceparent_of(scope)):
            client = self._client_for(scope)
            if inspect.isawaitable(client):
                client = await client
        begun = context.raw_frame()
        try:
            # A copy: the client is not found in a scope that outlives the request.
            await self._app({**scope, CLIENT_KEY: client}, receive, answer)
        finally:
            tell_end(begun, "was in force when a request ended")
            if client is not None:
                closing = client.close()
                if inspect.isawaitable(closing):
                    await closing

    async def _refuse(self, scope: Scope, send: Send, refusal: PublicRefusal) -> None:
        status = http_status(refusal)
        if scope["type"] == "websocket":
            is_ours = status >= _INTERNAL_ERROR
            code = _SERVER_ERROR if is_ours else _POLICY_VIOLATION
            await send(
                {"type": "websocket.close", "code": code, "reason": refusal.message}
            )
            return
        body = problem(status, refusal)
        headers = [
            (b"content-type", b"application/problem+json"),
            (b"content-length", str(len(body)).encode()),
            (b"cache-control", b"no-store"),
        ]
        if status == 401:  # noqa: PLR2004 - RFC 9110 15.5.2 asks for a challenge
            headers.append((b"www-authenticate", self._challenge.encode()))
        await send(
            {"type": "http.response.start", "status": status, "headers": headers}
        )
        await send({"type": "http.response.body", "body": body})


class _Answer:
    """Passes an answer on and remembers whether a refusal may still follow.

    A framework within answers an error with 500, and raises it again for the web
    server's log (Starlette and FastAPI, around which this stands). So such an answer
    is held until the application ends: if that was a refusal, it is the answer
    (docs/adr/0136).
    """

    def __init__(self, send: Send) -> None:
        self.may_refuse = True
        self._send = send
        self._held: list[Event] = []

    async def __call__(self, event: Event) -> None:
        kind = event["type"]
        if self._held or _is_failure(event):
            self._held.append(event)
            # What is long is on its way; and nothing follows what is whole.
            if kind == _BODY and event.get("more_body", False):
                await self.pass_on()
            return
        if kind in _FINAL:
            self.may_refuse = False
        await self._send(event)

    async def pass_on(self) -> None:
        """Send what is held; again does nothing."""
        held, self._held = self._held, []
        if held:
            self.may_refuse = False
        for event in held:
            await self._send(event)


def _is_failure(event: Event) -> bool:
    return event["type"] == _START and event.get("status") == _INTERNAL_ERROR


def traceparent_of(scope: Scope) -> str | None:
    """Return a request's `traceparent`; of several, none: nobody knows which counts."""
    found = [v for k, v in scope.get("headers", ()) if bytes(k).lower() == _TRACEPARENT]
    return bytes(found[0]).decode("latin-1") if len(found) == 1 else None


def http_status(refusal: PublicRefusal) -> int:
    """Return the HTTP status of a refusal."""
    return _HTTP_STATUS.get(refusal.status, 400)


def problem(status: int, refusal: PublicRefusal) -> bytes:
    """Return a refusal as problem details (RFC 9457)."""
    said: dict[str, Any] = {
        "title": refusal.message,
        "status": status,
        "code": refusal.status,
    }
    if refusal.record is not None:
        said["record"] = refusal.record
    return json.dumps(said).encode()


def _scope_of(request: Any) -> Mapping[str, Any]:
    scope = getattr(request, "scope", None)
    require_kind("request", scope, Mapping, "give the request, or its ASGI scope")
    return cast("Mapping[str, Any]", scope)


def client_of(request: Mapping[str, Any] | Any) -> ClientLike:
    """Return the client of a request.

    Args:
        request: its ASGI scope, or an object that has one as `scope`.

    Raises:
        LogonFailureError: nobody said who sent it.
        OperationFailedError: no `SteadMiddleware` stands before the application.
        InvalidRequestError: it is no request.
    """
    scope = request if isinstance(request, Mapping) else _scope_of(request)
    if CLIENT_KEY not in scope:
        raise OperationFailedError(
            "the request did not pass a stead middleware",
            advice="wrap the application in SteadMiddleware",
        )
    client = scope[CLIENT_KEY]
    if client is None:
        raise LogonFailureError(advice="client_for returned no client")
    return cast("ClientLike", client)
