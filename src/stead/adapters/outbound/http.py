"""HTTP as a client: `httpx`, each request with the client's own ticket or token.

    with session.http() as http:
        page = http.get("https://files.example/q3")

Connections are kept in a pool of the session's, which dies with it. What `httpx` would
take from the server's surroundings is off: netrc, the proxies of its environment. A
redirect to another server is an error: the caller asks for it by name, or not at all.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import (
    AsyncIterator,
    Callable,
    Coroutine,
    Generator,
    Iterator,
)
from contextlib import contextmanager
from contextvars import Context
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, cast

import httpcore  # noqa: F401 - httpx does it later, and then within a handler
import httpx

from stead.adapters.outbound.aside import aside, require_may_wait
from stead.adapters.outbound.http_ends import End
from stead.adapters.outbound.http_proof import Binding, Shown, mechanism, show
from stead.adapters.outbound.lifeline import Lifeline
from stead.adapters.outbound.passage import Passage, Use, not_taken, recorded
from stead.errors import InvalidRequestError
from stead.model.arguments import require_kind
from stead.model.delegation_policy import PORTS, NetworkTarget

_TIMES: Final = (int, float, type(None), tuple, httpx.Timeout)
_ASKED: Final = "stead.asked"
_CONNECTING: Final = "connection.connect_tcp.started"
_CONNECTED: Final = frozenset({
    "connection.connect_tcp.complete", "connection.start_tls.complete",
})  # fmt: skip
_LIMITS: Final = httpx.Limits(max_connections=20, max_keepalive_connections=10)


def target_of(url: httpx.URL) -> NetworkTarget:
    """Return the service that a URL is at; raises `InvalidRequestError`."""
    port = url.port or PORTS.get(url.scheme, 0)
    # As it is connected to: what it is called in other alphabets is for people.
    return NetworkTarget(url.scheme, url.raw_host.decode(), port)


class _Asked(httpx.Auth):
    """Marks what the caller asked for; where a redirect leads is not marked."""

    def auth_flow(
        self, request: httpx.Request
    ) -> Generator[httpx.Request, httpx.Response, None]:
        request.headers.pop("Authorization", None)
        request.extensions = request.extensions | {_ASKED: target_of(request.url)}
        yield request


@dataclass(slots=True, eq=False)
class _Hop:
    """What one client object goes by.

    Attributes:
        passage: whose way out.
        binding: finds channel bindings.
        uses: that of each service which was asked.
    """

    passage: Passage
    binding: Binding
    uses: dict[NetworkTarget, Use] = field(default_factory=dict)

    @property
    def line(self) -> Lifeline:
        return self.passage.line

    def prepare(self, request: httpx.Request) -> tuple[Shown, Use]:
        """Judge a request, record it, and return what goes with it; this may wait."""
        self.line.require_live()
        target = target_of(request.url)
        asked = request.extensions.get(_ASKED)
        with recorded(self.passage, target):
            if asked != target:
                raise not_taken(
                    target,
                    "nobody asked for it: "
                    + (
                        f"`{asked}` redirects there"
                        if asked
                        else "the request goes with something else than the client's "
                        "credentials (`auth=`)"
                    ),
                    "ask for it by name, if the client is meant to go there",
                )
        if (use := self.uses.get(target)) is None:
            use = Use(self.passage, target, mechanism(self.passage, target))
            self.uses[target] = use
        try:
            with recorded(self.passage, target):
                return show(self.passage, target, self.binding), use
        except BaseException:
            use.connected()  # the record was of what came to nothing
            raise

    def believe(self, shown: Shown, response: httpx.Response) -> None:
        """Raise, and record it, if a response does not show whose it is."""
        self.line.require_not_over()
        challenges = response.headers.get_list("www-authenticate")
        with recorded(self.passage, target_of(response.request.url)):
            shown.prove(response.status_code, challenges)

    @contextmanager
    def working(self) -> Iterator[None]:
        """Say that the session has ended where that is what broke a connection."""
        try:
            yield
        except (httpx.TransportError, OSError) as error:
            self.line.require_not_over(error)
            raise
        self.line.require_not_over()

    def note(self, use: Use, name: str, info: dict[str, Any]) -> None:
        """Have a new connection recorded before, and cut when the session ends.

        It is a trace of httpcore's; it may wait.
        """
        if name == _CONNECTING:
            use.connecting()
        elif name in _CONNECTED:
            self.line.keep(info["return_value"].get_extra_info("socket"))


class _Body(httpx.SyncByteStream):
    """A response's body; one that was cut is no end of it."""

    def __init__(self, response: httpx.Response, hop: _Hop, opened: set[_Body]) -> None:
        self._inner = cast("httpx.SyncByteStream", response.stream)
        self._end = End(response)
        self._hop = hop
        self._opened = opened
        opened.add(self)

    def __iter__(self) -> Iterator[bytes]:
        with self._hop.working():
            yield from self._inner

    def close(self) -> None:
        if self in self._opened:
            self._opened.discard(self)
            self._end.require_last()
        self._inner.close()


class _AsyncBody(httpx.AsyncByteStream):
    """The same, for an event loop."""

    def __init__(self, response: httpx.Response, hop: _Hop) -> None:
        self._inner = cast("httpx.AsyncByteStream", response.stream)
        self._end = End(response)
        self._hop = hop
        self._is_closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with self._hop.working():
            async for part in self._inner:
                yield part

    async def aclose(self) -> None:
        if not self._is_closed:
            self._is_closed = True
            self._end.require_last()
        await self._inner.aclose()


class _Transport(httpx.BaseTransport):
    """The session's pool, as one client object uses it; closing that closes no pool.

    It closes what its own responses have left open. Their connections would be held for
    nobody, and be some less of the session's few.
    """

    def __init__(self, hop: _Hop, pool: httpx.HTTPTransport) -> None:
        self._hop = hop
        self._pool = pool
        self._opened: set[_Body] = set()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        require_may_wait("http")
        shown, use = self._hop.prepare(request)
        sent = _sent(request, shown, partial(self._hop.note, use))
        with self._hop.working():
            # A handler is nobody; this says who it is by what it shows.
            response = Context().run(self._pool.handle_request, sent)
        use.connected()
        response.request = request
        try:
            self._hop.believe(shown, response)
        except BaseException:
            response.close()
            raise
        response.stream = _Body(response, self._hop, self._opened)
        return response

    def close(self) -> None:
        for body in tuple(self._opened):
            body.close()


class _AsyncTransport(httpx.AsyncBaseTransport):
    """The same for an event loop, with a pool of that loop's own."""

    def __init__(self, hop: _Hop, pool: httpx.AsyncHTTPTransport) -> None:
        self._hop = hop
        self._pool = pool

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        shown, use = await aside(partial(self._hop.prepare, request))
        sent = _sent(request, shown, partial(self._note, use))
        with self._hop.working():
            response = await _as_nobody(self._pool.handle_async_request(sent))
        use.connected()
        response.request = request
        try:
            await aside(partial(self._hop.believe, shown, response))
        except BaseException:
            await response.aclose()
            raise
        response.stream = _AsyncBody(response, self._hop)
        return response

    async def _note(self, use: Use, name: str, info: dict[str, Any]) -> None:
        note = partial(self._hop.note, use, name, info)
        if name == _CONNECTING:  # the record is waited for, and not by the loop
            await aside(note)
        else:
            note()

    async def aclose(self) -> None:
        await self._pool.aclose()


def _sent(
    request: httpx.Request, shown: Shown, trace: Callable[..., Any]
) -> httpx.Request:
    """Return what goes out in a request's place, which shows nothing itself.

    Another client may be sending that one at the same time. And responses and errors
    keep it: whoever logs those would log what was shown, too.
    """
    made = httpx.Request(
        request.method,
        request.url,
        headers=request.headers,
        stream=request.stream,
        extensions=request.extensions | {"trace": trace},
    )
    made.headers["Authorization"] = shown.authorization
    return made


async def _as_nobody(
    asking: Coroutine[Any, Any, httpx.Response],
) -> httpx.Response:
    """Await a response, for whoever asks, where nobody is in force.

    Who is cancelled just when it has come has it closed: its connection would be held
    by nobody, and be one less for the others.
    """
    task = asyncio.get_running_loop().create_task(asking, context=Context())
    try:
        return await task
    except asyncio.CancelledError:
        if task.done() and not task.cancelled() and task.exception() is None:
            await task.result().aclose()
        raise


# --- what the server hands out --------------------------------------------------------


def new_pool(verify: ssl.SSLContext) -> httpx.HTTPTransport:
    """Return a pool for one session; it must be closed with it."""
    return httpx.HTTPTransport(verify=verify, trust_env=False, limits=_LIMITS)


def _require_fit(base_url: object, timeout: object) -> None:
    """Refuse what httpx would fail with later, or in words of its own.

    Raises:
        InvalidRequestError: it is no URL, or no time.
    """
    require_kind(
        "base_url", base_url, (str, httpx.URL), "text: `https://files.example`"
    )
    require_kind("timeout", timeout, _TIMES, "say how many seconds")
    try:
        httpx.URL(cast("str | httpx.URL", base_url))
    except httpx.InvalidURL as error:
        raise InvalidRequestError(f"`base_url` is no URL: {error}") from error


def http_client(
    passage: Passage,
    pool: httpx.HTTPTransport,
    binding: Binding,
    *,
    base_url: str = "",
    timeout: float = 30.0,
    follow_redirects: bool = False,
) -> httpx.Client:
    """Return an `httpx` client whose every request is the client's; see `SecondHop`."""
    _require_fit(base_url, timeout)
    return httpx.Client(
        auth=_Asked(),
        base_url=base_url,
        follow_redirects=follow_redirects,
        timeout=timeout,
        transport=_Transport(_Hop(passage, binding), pool),
        trust_env=False,
    )


def async_http_client(
    passage: Passage,
    verify: ssl.SSLContext,
    binding: Binding,
    *,
    base_url: str = "",
    timeout: float = 30.0,
    follow_redirects: bool = False,
) -> httpx.AsyncClient:
    """Return the same for asyncio."""
    _require_fit(base_url, timeout)
    pool = httpx.AsyncHTTPTransport(verify=verify, trust_env=False, limits=_LIMITS)
    return httpx.AsyncClient(
        auth=_Asked(),
        base_url=base_url,
        follow_redirects=follow_redirects,
        timeout=timeout,
        transport=_AsyncTransport(_Hop(passage, binding), pool),
        trust_env=False,
    )
