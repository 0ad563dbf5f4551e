"""WSGI: the client of each request, and its end when the answer is closed."""

from __future__ import annotations

import json
from wsgiref.validate import validator

import pytest

from stead.errors import (
    AccessDeniedError,
    LogonFailureError,
    OperationFailedError,
)
from stead.gates.http import CLIENT_KEY
from stead.gates.wsgi import WsgiMiddleware, client_of
from stead.server.enforcement import Enforcement
from stead.server.protected_server import ProtectedServer


class Client:
    name = "alice"

    def __init__(self):
        self.closed = 0

    def close(self):
        self.closed += 1


class Answer:
    """What a web server makes of an answer."""

    def __init__(self, app, **environ):
        self.heads = []
        self.is_sent = False
        self.parts = app(environ, self.start)

    def start(self, status, headers, exc_info=None):
        if exc_info is not None and self.is_sent:
            raise exc_info[1]
        self.heads.append((status, dict(headers)))

    def read(self):
        parts = []
        for part in self.parts:
            self.is_sent = self.is_sent or bool(part)
            parts.append(part)
        self.parts.close()
        return b"".join(parts)


@pytest.fixture
def client():
    return Client()


@pytest.fixture
def behind(client):
    return lambda app, **named: WsgiMiddleware(
        app, **{"client_for": lambda _: client, **named}
    )


def hello(environ, start_response):
    start_response("200 OK", [])
    return [client_of(environ).name.encode()]


def test_the_client_is_in_the_requests_own_environ_until_it_is_closed(behind, client):
    answer = Answer(behind(hello))
    assert 0 == client.closed
    assert b"alice" == answer.read()
    assert 1 == client.closed
    answer.parts.close()
    assert 1 == client.closed


def test_the_servers_own_environ_does_not_keep_the_client(behind):
    environ = {}
    behind(hello)(environ, lambda *_: None).close()
    assert CLIENT_KEY not in environ


def test_a_disconnect_closes_the_applications_answer_and_then_the_client(
    behind, client
):
    order = []

    def app(environ, start_response):
        start_response("200 OK", [])
        try:
            yield b"some"
            yield b"more"
        finally:
            order.append(client.closed)

    answer = Answer(behind(app))
    assert b"some" == next(answer.parts)
    answer.parts.close()
    assert [0] == order
    assert 1 == client.closed


def test_nobody_is_answered_401(behind):
    answer = Answer(behind(hello, client_for=lambda _: None))
    said = json.loads(answer.read())
    status, headers = answer.heads[-1]
    assert "401 Unauthorized" == status
    assert "Bearer" == headers["WWW-Authenticate"]
    assert LogonFailureError.status == said["code"]


def test_a_refusal_of_client_for_is_answered(behind):
    def client_for(environ):
        raise LogonFailureError

    answer = Answer(behind(hello, client_for=client_for))
    answer.read()
    assert "401 Unauthorized" == answer.heads[0][0]


def test_a_refusal_is_answered_and_the_client_closed(behind, client):
    def app(environ, start_response):
        raise AccessDeniedError(object_name="the plan")

    answer = Answer(behind(app))
    said = answer.read()
    assert "403 Forbidden" == answer.heads[0][0]
    assert b"plan" not in said
    assert 1 == client.closed


def test_what_the_client_does_not_hear_is_in_the_log(behind, caplog):
    def app(environ, start_response):
        raise OperationFailedError("it is not so", advice="do otherwise")

    answer = Answer(behind(app))
    assert b"otherwise" not in answer.read()
    assert "it is not so; what to do: do otherwise" in caplog.text


def test_a_refusal_before_anything_is_sent_takes_the_heads_place(behind):
    def app(environ, start_response):
        start_response("200 OK", [])
        raise AccessDeniedError
        yield b""

    answer = Answer(behind(app))
    answer.read()
    assert ["200 OK", "403 Forbidden"] == [status for status, _ in answer.heads]


def test_a_refusal_amid_the_answer_breaks_it(behind, client):
    def app(environ, start_response):
        start_response("200 OK", [])
        yield b"half"
        raise AccessDeniedError

    answer = Answer(behind(app))
    with pytest.raises(AccessDeniedError):
        answer.read()
    answer.parts.close()
    assert 1 == client.closed


def test_an_error_of_the_application_passes_and_the_client_is_closed(behind, client):
    def app(environ, start_response):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        behind(app)({}, lambda *_: None)
    assert 1 == client.closed


def test_an_answer_whose_closing_fails_closes_the_client(behind, client):
    class Body(list):
        def close(self):
            raise OSError("gone")

    def app(environ, start_response):
        start_response("200 OK", [])
        return Body([b"a"])

    answer = behind(app)({}, lambda *_: None)
    with pytest.raises(OSError, match="gone"):
        answer.close()
    assert 1 == client.closed


def test_without_the_middleware_there_is_no_client():
    with pytest.raises(OperationFailedError):
        client_of({})


def test_it_keeps_to_the_protocol(behind):
    environ = {
        "REQUEST_METHOD": "GET", "SCRIPT_NAME": "", "PATH_INFO": "/",
        "SERVER_NAME": "localhost", "SERVER_PORT": "80", "QUERY_STRING": "",
        "SERVER_PROTOCOL": "HTTP/1.1", "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http", "wsgi.multithread": True,
        "wsgi.multiprocess": False, "wsgi.run_once": False,
    }  # fmt: skip
    import io

    environ |= {"wsgi.input": io.BytesIO(), "wsgi.errors": io.StringIO()}

    def app(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"hello"]

    body = validator(behind(validator(app)))(environ, lambda *_: lambda _: None)
    assert [b"hello"] == list(body)
    body.close()


@pytest.mark.leaks_identity
def test_a_block_that_a_request_leaves_open_is_found(identity_leaks):
    server = ProtectedServer("web", enforcement=Enforcement.TOKEN)
    server.accounts.add("alice")
    alice = server.client_for("alice", authenticated_by="test")
    held = []

    def app(environ, start_response):
        start_response("200 OK", [])
        held.append(client_of(environ).impersonate().__enter__())
        return []

    Answer(WsgiMiddleware(app, client_for=lambda _: alice)).read()
    [leak] = identity_leaks()
    assert __file__ in leak.where
    assert "a request's answer was closed" in str(leak)
    held[0].leave()
    server.close()
