"""WSGI: the client of each request, passed on explicitly (PEP 3333).

Somebody else authenticated the client; `client_for` says who it is. The client rides in
the request's own `environ` and lives until the server closes the answer, which it does
when all is sent, and when the other end has gone.

    app = WsgiMiddleware(app, client_for=lambda environ: client_of_cookie(environ))

    def app(environ, start_response):
        client = client_of(environ)

An answer that is made step by step enters the client's block in each step, or reads all
first: between two steps the thread is the web server's again.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from http import HTTPStatus
from types import TracebackType
from typing import Any, Final, Protocol, TypeAlias, cast

from stead.errors import LogonFailureError, OperationFailedError, SteadError
from stead.gates.http import CLIENT_KEY, http_status, problem
from stead.gates.ports import ClientLike, public_refusal, tell_operator
from stead.model.arguments import require_callable
from stead.monitor import context
from stead.monitor.leaks import tell_end
from stead.monitor.tracing import arriving

_log: Final = logging.getLogger(__name__)

Environ: TypeAlias = dict[str, Any]
ExcInfo: TypeAlias = tuple[type[BaseException], BaseException, TracebackType | None]
ClientFor: TypeAlias = Callable[[Environ], ClientLike | None]


class StartResponse(Protocol):
    """A web server's `start_response`."""

    def __call__(
        self,
        status: str,
        headers: list[tuple[str, str]],
        exc_info: ExcInfo | None = None,
        /,
    ) -> Callable[[bytes], object]:
        """Take the answer's head; with `exc_info`, instead of one not yet sent."""
        ...


WsgiApp: TypeAlias = Callable[[Environ, StartResponse], Iterable[bytes]]

_UNAUTHORIZED: Final = 401


class WsgiMiddleware:
    """Gives each request its client, and takes it back when its answer is closed."""

    def __init__(
        self, app: WsgiApp, *, client_for: ClientFor, challenge: str = "Bearer"
    ) -> None:
        """Wrap an application.

        Args:
            app: the application, or the next middleware.
            client_for: who sent this request; None if nobody said. What it raises is
                answered like a refusal of the application's own.
            challenge: how to authenticate, as the WWW-Authenticate of a 401.
        """
        self._app = app
        require_callable("client_for", client_for, "a function of the request")
        self._client_for = client_for
        self._challenge = challenge

    def __call__(
        self, environ: Environ, start_response: StartResponse
    ) -> Iterable[bytes]:
        """Serve one request."""
        answer = _Answer(start_response, self._challenge)
        try:
            with arriving(environ.get("HTTP_TRACEPARENT")):
                answer.client = self._client_for(environ)
            # A copy: the client is not found in what outlives the request.
            given = {**environ, CLIENT_KEY: answer.client}
            answer.take(self._app(given, answer.start_response))
        except SteadError as error:
            answer.take([answer.refuse(error)])
        except BaseException:
            answer.close()
            raise
        return answer


class _Answer:
    """An answer's parts; closing it ends its client, once.

    Attributes:
        client: who asked; None if nobody said.
    """

    def __init__(self, start_response: StartResponse, challenge: str) -> None:
        self.client: ClientLike | None = None
        self._start_response = start_response
        self._challenge = challenge
        self._has_started = False
        self._begun = context.raw_frame()
        self._body: Iterable[bytes] = ()
        self._parts: Iterator[bytes] = iter(())

    def start_response(
        self,
        status: str,
        headers: list[tuple[str, str]],
        exc_info: ExcInfo | None = None,
        /,
    ) -> Callable[[bytes], object]:
        """Pass the head on, and remember that there is one."""
        if exc_info is None:
            write = self._start_response(status, headers)
        else:
            write = self._start_response(status, headers, exc_info)
        self._has_started = True
        return write

    def take(self, body: Iterable[bytes]) -> None:
        """Take what the application returned."""
        self._close_body()
        self._body, self._parts = body, iter(body)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            return next(self._parts)
        except SteadError as error:
            refusal = self.refuse(error)
            self._parts = iter(())
            return refusal

    def refuse(self, error: SteadError) -> bytes:
        """Answer with what the client may hear; return the body.

        Half an answer cannot be taken back: the web server raises the error again then,
        and breaks the connection.
        """
        tell_operator(error, _log)
        refusal = public_refusal(error)
        status = http_status(refusal)
        body = problem(status, refusal)
        headers = [
            ("Content-Type", "application/problem+json"),
            ("Content-Length", str(len(body))),
            ("Cache-Control", "no-store"),
        ]
        if status == _UNAUTHORIZED:  # RFC 9110 15.5.2 asks for a challenge
            headers.append(("WWW-Authenticate", self._challenge))
        line = f"{status} {HTTPStatus(status).phrase}"
        exc_info = cast("ExcInfo", sys.exc_info()) if self._has_started else None
        self.start_response(line, headers, exc_info)
        return body

    def close(self) -> None:
        """End the answer, and then its client; again does nothing."""
        client, self.client = self.client, None
        try:
            self._close_body()
        finally:
            tell_end(self._begun, "was in force when a request's answer was closed")
            if client is not None:
                client.close()

    def _close_body(self) -> None:
        body, self._body = self._body, ()
        close = getattr(body, "close", None)
        if close is not None:
            close()


def client_of(environ: Mapping[str, Any]) -> ClientLike:
    """Return the client of a request.

    Raises:
        LogonFailureError: nobody said who sent it.
        OperationFailedError: no `WsgiMiddleware` stands before the application.
    """
    if CLIENT_KEY not in environ:
        raise OperationFailedError(
            "the request did not pass a stead middleware",
            advice="wrap the application in WsgiMiddleware",
        )
    client = environ[CLIENT_KEY]
    if client is None:
        raise LogonFailureError(advice="client_for returned no client")
    return cast("ClientLike", client)
