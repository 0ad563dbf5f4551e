"""FastAPI: each endpoint has its own client, where a context variable mixes them up."""

import asyncio
import threading
from contextvars import ContextVar
from typing import Annotated, Any

import httpx
import pytest
from fastapi import BackgroundTasks, Depends, FastAPI, WebSocket
from fastapi.responses import StreamingResponse

from stead.errors import AccessDeniedError, OperationFailedError
from stead.gates.http import SteadMiddleware
from stead.server.fastapi import current_client

naive_client: ContextVar[str] = ContextVar("naive_client", default="nobody")
Current = Annotated[Any, Depends(current_client)]


class Client:
    def __init__(self, name):
        self.name = name
        self.is_closed = False

    def close(self):
        self.is_closed = True


class NaiveMiddleware:
    """What many write first: the client in a context variable."""

    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        if scope["type"] == "http":
            naive_client.set(dict(scope["headers"]).get(b"user", b"").decode())
        await self.app(scope, receive, send)


class Writer:
    """A worker that the first request starts, as caches and pools often are."""

    def __init__(self):
        self.jobs = None
        self.task = None

    async def write(self, client):
        if self.task is None:
            self.jobs = asyncio.Queue()
            self.task = asyncio.create_task(self._work())
        done = asyncio.get_running_loop().create_future()
        await self.jobs.put((client, done))
        return await done

    async def _work(self):
        while True:
            client, done = await self.jobs.get()
            done.set_result({"ours": client.name, "naive": naive_client.get()})


def client_for(scope):
    name = dict(scope["headers"]).get(b"user")
    return Client(name.decode()) if name else None


def make_app(**options):
    """Make an application, with the middleware among its own."""
    app = make_bare(**options)
    app.add_middleware(SteadMiddleware, client_for=client_for)
    app.add_middleware(NaiveMiddleware)
    return app


def make_wrapped(**options):
    """Make one that has the middleware around it, as any ASGI application may."""
    return SteadMiddleware(make_bare(**options), client_for=client_for)


def broken(client: Current):
    raise ZeroDivisionError


def make_bare(**options):
    app = FastAPI(**options)
    writer = Writer()
    together = threading.Barrier(4, timeout=60)
    later = []

    @app.get("/sync")
    def sync_endpoint(client: Current):
        together.wait()  # four requests are inside at once, each on its thread
        return {"ours": client.name, "thread": threading.get_ident()}

    @app.get("/async")
    async def async_endpoint(client: Current):
        await asyncio.sleep(0.001)
        return {"ours": client.name, "is_closed": client.is_closed}

    @app.get("/queued")
    async def queued(client: Current):
        return await writer.write(client)

    @app.get("/denied")
    def denied(client: Current):
        raise AccessDeniedError("entry 2 denies it", record=5)

    @app.get("/stream")
    def stream(client: Current):
        def parts():
            for _ in range(3):
                yield f"{client.name} {client.is_closed}\n"

        return StreamingResponse(parts())

    @app.get("/background")
    def background(client: Current, tasks: BackgroundTasks):
        tasks.add_task(lambda: later.append((client.name, client.is_closed)))
        return client.name

    @app.websocket("/talk")
    async def talk(socket: WebSocket, client: Current):
        await socket.accept()
        await socket.send_text(client.name)
        raise AccessDeniedError

    app.get("/broken")(broken)
    app.state.later = later
    return app


def ask(app, path, *names):
    """Send one request for each name, all at once."""

    async def scenario():
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as web:
            return await asyncio.gather(
                *(web.get(path, headers={"user": name}) for name in names)
            )

    return asyncio.run(scenario())


def ask_all(path, names):
    return [answer.json() for answer in ask(make_app(), path, *names)]


NAMES = ["alice", "bob", "carol", "dave"] * 8


def test_sync_endpoints_at_once_each_see_their_own_client():
    answers = ask_all("/sync", NAMES)
    assert NAMES == [answer["ours"] for answer in answers]
    assert len({answer["thread"] for answer in answers}) >= 4


def test_async_endpoints_at_once_each_see_their_own_open_client():
    answers = ask_all("/async", NAMES)
    assert [(name, False) for name in NAMES] == [
        (answer["ours"], answer["is_closed"]) for answer in answers
    ]


def test_a_worker_acts_as_each_client_where_a_context_variable_stays_the_first():
    answers = ask_all("/queued", NAMES)
    assert NAMES == [answer["ours"] for answer in answers]
    # The worker's task copied the first request's context: all is done as alice.
    assert ["alice"] * len(NAMES) == [answer["naive"] for answer in answers]


@pytest.mark.parametrize("is_debugged", [False, True])
@pytest.mark.parametrize("make", [make_app, make_wrapped])
def test_a_refusal_in_an_endpoint_is_answered_with_its_public_sentence(
    make, is_debugged
):
    """Where the framework is within, it has answered 500, and shown all, before."""
    (answer,) = ask(make(debug=is_debugged), "/denied", "alice")
    assert 403 == answer.status_code
    expected = {"title": "access is denied", "status": 403, "code": 5, "record": 5}
    assert expected == answer.json()


@pytest.mark.parametrize("make", [make_app, make_wrapped])
def test_a_request_without_a_client_is_asked_to_log_on(make):
    (answer,) = ask(make(), "/async", "")
    assert (401, "Bearer") == (answer.status_code, answer.headers["www-authenticate"])


@pytest.mark.parametrize("make", [make_app, make_wrapped])
def test_a_failure_of_the_application_is_answered_and_raised_as_ever(make):
    app, sent = make(), []

    async def send(event):
        sent.append(event)

    scope = {
        "type": "http", "method": "GET", "path": "/broken", "query_string": b"",
        "headers": [(b"user", b"alice")],
    }  # fmt: skip
    with pytest.raises(ZeroDivisionError):
        asyncio.run(app(scope, None, send))
    assert [500, b"Internal Server Error"] == [sent[0]["status"], sent[1]["body"]]


def test_a_streamed_answer_and_a_background_task_have_an_open_client():
    (answer,) = ask(make_app(), "/stream", "alice")
    assert "alice False\n" * 3 == answer.text
    app = make_app()
    ask(app, "/background", "bob")
    assert [("bob", False)] == app.state.later


def test_a_websocket_has_its_client_and_hears_the_public_sentence():
    scope = {
        "type": "websocket",
        "path": "/talk",
        "headers": [(b"user", b"alice")],
        "query_string": b"",
        "subprotocols": [],
    }
    sent = []

    async def receive():
        return {"type": "websocket.connect"}

    async def send(event):
        sent.append((event["type"], event.get("text"), event.get("reason")))

    asyncio.run(make_app()(scope, receive, send))
    assert [
        ("websocket.accept", None, None),
        ("websocket.send", "alice", None),
        ("websocket.close", None, "access is denied"),
    ] == sent


def test_without_the_middleware_the_dependency_lets_nobody_in():
    app = FastAPI()

    @app.get("/")
    def endpoint(client: Current):
        return client.name

    with pytest.raises(OperationFailedError, match="did not pass a stead middleware"):
        ask(app, "/", "alice")
