"""The middleware: an explicit client for each request, closed at its end."""

import asyncio
import json

import pytest

from stead.errors import (
    AccessDeniedError,
    DirectoryUnavailableError,
    EnforcementUnavailableError,
    LedgerUnavailableError,
    LogonFailureError,
    LoopThreadError,
    OperationFailedError,
    ServerClosedError,
    ServerUnavailableError,
    SteadError,
    UnknownAccountError,
    UnknownObjectError,
    UnknownOperationError,
)
from stead.gates.http import CLIENT_KEY, SteadMiddleware, client_of


class Client:
    def __init__(self, name="alice"):
        self.name = name
        self.closed = 0

    def close(self):
        self.closed += 1


class AsyncClient(Client):
    async def close(self):
        await asyncio.sleep(0)
        self.closed += 1


async def hello(scope, receive, send):
    name = client_of(scope).name.encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": name})


def ask(app, *, kind="http", client_for=lambda _scope: None, **options):
    """Send one request and return the events of the answer."""
    sent = []

    async def send(event):
        sent.append(event)

    async def receive():
        return {"type": f"{kind}.disconnect"}

    middleware = SteadMiddleware(app, client_for=client_for, **options)
    asyncio.run(middleware({"type": kind, "headers": []}, receive, send))
    return sent


@pytest.mark.parametrize("make", [Client, AsyncClient])
def test_the_application_finds_the_client_and_it_is_closed_once_at_the_end(make):
    client = make()
    sent = ask(hello, client_for=lambda _scope: client)
    assert (200, b"alice") == (sent[0]["status"], sent[1]["body"])
    assert 1 == client.closed


def test_the_client_may_be_awaited_for():
    async def client_for(scope):
        await asyncio.sleep(0)
        return Client("bob")

    assert b"bob" == ask(hello, client_for=client_for)[1]["body"]


def test_the_servers_own_scope_never_holds_the_client():
    scope = {"type": "http"}
    found = []

    async def app(inner, receive, send):
        found.append(CLIENT_KEY in inner)

    middleware = SteadMiddleware(app, client_for=lambda _scope: Client())
    asyncio.run(middleware(scope, None, None))
    assert [True] == found
    assert {"type": "http"} == scope


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (AccessDeniedError("entry 2 denies it"), 403),
        (UnknownObjectError("no such object"), 403),
        (LogonFailureError(), 401),
        (UnknownAccountError("nobody is called mallory"), 401),
        (SteadError("bad argument"), 400),
        (UnknownOperationError("no `x`"), 404),
        (LedgerUnavailableError("disk full"), 503),
        (
            DirectoryUnavailableError("no KDC answers, on the way to another machine"),
            503,
        ),
        (OperationFailedError("secret"), 500),
    ],
)
@pytest.mark.parametrize("where", ["app", "client_for"])
def test_a_refusal_becomes_a_problem_with_the_public_sentence_only(
    error, status, where
):
    async def app(scope, receive, send):
        raise error

    def client_for(scope):
        raise error

    sent = ask(app) if where == "app" else ask(hello, client_for=client_for)
    headers = dict(sent[0]["headers"])
    body = json.loads(sent[1]["body"])
    assert status == sent[0]["status"] == body["status"]
    assert b"application/problem+json" == headers[b"content-type"]
    assert (status == 401) == (b"www-authenticate" in headers)
    assert {"title", "status", "code"} == set(body)
    assert error.public == body["title"]


def test_a_refusal_names_its_record_and_the_challenge_is_the_applications():
    async def app(scope, receive, send):
        error = LogonFailureError()
        error.record = 41
        raise error

    sent = ask(app, challenge='Basic realm="notes"')
    assert b'Basic realm="notes"' == dict(sent[0]["headers"])[b"www-authenticate"]
    assert 41 == json.loads(sent[1]["body"])["record"]


def test_after_the_answer_has_begun_a_refusal_breaks_the_connection():
    client = Client()

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise AccessDeniedError

    with pytest.raises(AccessDeniedError):
        ask(app, client_for=lambda _scope: client)
    assert 1 == client.closed


START = {"type": "http.response.start", "status": 500, "headers": []}
LAST = {"type": "http.response.body", "body": b"sorry"}
PART = {**LAST, "more_body": True}


@pytest.mark.parametrize("events", [[START, LAST], [START, PART, PART, LAST], [START]])
def test_an_application_s_own_500_is_sent_as_it_is(events):
    async def app(scope, receive, send):
        for event in events:
            await send(event)

    assert events == ask(app)


def test_a_long_500_is_not_kept_until_its_end():
    sent_by_then = []

    async def app(scope, receive, send):
        await send(START)
        await send(PART)
        sent_by_then.extend(sent)
        raise AccessDeniedError

    sent = []

    async def send(event):
        sent.append(event)

    middleware = SteadMiddleware(app, client_for=lambda _scope: None)
    with pytest.raises(AccessDeniedError):
        asyncio.run(middleware({"type": "http", "headers": []}, None, send))
    assert [START, PART] == sent_by_then == sent


@pytest.mark.parametrize(
    ("error", "code"), [(AccessDeniedError(), 1008), (OperationFailedError("x"), 1011)]
)
def test_a_websocket_is_closed_with_the_public_sentence(error, code):
    client = Client()

    async def app(scope, receive, send):
        await send({"type": "websocket.accept"})
        assert client is client_of(scope)
        raise error

    sent = ask(app, kind="websocket", client_for=lambda _scope: client)
    close = {"type": "websocket.close", "code": code, "reason": error.public}
    assert [{"type": "websocket.accept"}, close] == sent
    assert 1 == client.closed


@pytest.mark.parametrize("error", [ZeroDivisionError, ConnectionResetError, SystemExit])
def test_any_other_failure_closes_the_client_and_goes_on(error):
    client = Client()

    async def app(scope, receive, send):
        raise error

    with pytest.raises(error):
        ask(app, client_for=lambda _scope: client)
    assert 1 == client.closed


@pytest.mark.parametrize("make", [Client, AsyncClient])
def test_a_cancelled_request_closes_its_client(make):
    client = make()

    async def app(scope, receive, send):
        await asyncio.Event().wait()

    async def scenario():
        middleware = SteadMiddleware(app, client_for=lambda _scope: client)
        task = asyncio.create_task(middleware({"type": "http"}, None, None))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        return task.cancelled()

    assert asyncio.run(scenario())
    assert 1 == client.closed


def test_the_client_lives_until_a_streamed_body_has_been_sent():
    client = Client()
    seen = []

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for part in (b"a", b"b"):
            seen.append(client.closed)
            await send({"type": "http.response.body", "body": part, "more_body": True})

    ask(app, client_for=lambda _scope: client)
    assert [0, 0] == seen
    assert 1 == client.closed


def test_lifespan_passes_through_without_a_client():
    async def app(scope, receive, send):
        assert CLIENT_KEY not in scope
        await send({"type": "lifespan.startup.complete"})

    def client_for(scope):
        raise AssertionError

    sent = ask(app, kind="lifespan", client_for=client_for)
    assert [{"type": "lifespan.startup.complete"}] == sent


def test_without_a_client_or_a_middleware_nobody_is_let_in():
    with pytest.raises(LogonFailureError):
        client_of({CLIENT_KEY: None})
    with pytest.raises(OperationFailedError) as caught:
        client_of({})
    assert "SteadMiddleware" in caught.value.advice
    assert 401 == ask(hello)[0]["status"]


def test_a_websocket_that_is_closed_already_is_not_closed_again():
    async def app(scope, receive, send):
        await send({"type": "websocket.close", "code": 1000})
        raise AccessDeniedError

    with pytest.raises(AccessDeniedError):
        ask(app, kind="websocket")


# --- what the operator is told --------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "level"),
    [
        (OperationFailedError("no middleware", advice="wrap it"), "ERROR"),
        (LoopThreadError("it waits", advice="use `aio`"), "ERROR"),
        (EnforcementUnavailableError("bound to nothing", advice="binding="), "ERROR"),
        (ServerUnavailableError("no answer", advice="see the network"), "WARNING"),
        (SteadError("bad argument", advice="write another"), "INFO"),
    ],
)
def test_what_neither_the_client_nor_a_record_says_is_in_the_log(caplog, error, level):
    async def app(scope, receive, send):
        raise error

    with caplog.at_level("DEBUG", "stead.gates"):
        ask(app)
    [told] = caplog.records
    assert level == told.levelname
    written = caplog.text
    assert str(error) in written
    assert error.advice in written
    assert (level == "ERROR") == ("raise error" in written)  # and where


def test_what_is_a_client_s_own_or_recorded_is_not_in_the_log(caplog):
    recorded = ServerUnavailableError("no answer")
    recorded.record = 7
    ordinary = (LogonFailureError(), AccessDeniedError("no"), ServerClosedError("end"))
    for error in (*ordinary, UnknownOperationError("no `x`"), recorded):

        async def app(scope, receive, send, error=error):
            raise error

        with caplog.at_level("DEBUG", "stead.gates"):
            ask(app)
    assert [] == caplog.records


def test_a_client_writes_no_line_of_the_log(caplog):
    async def app(scope, receive, send):
        raise SteadError("`x\nroot logged on\x1b[2J`")

    with caplog.at_level("DEBUG", "stead.gates"):
        ask(app)
    [told] = caplog.records
    assert told.getMessage().isprintable()
