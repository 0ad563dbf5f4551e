"""A WSGI application behind which every answer must be made as its own user.

It is imported by tests, and run by gunicorn as `wsgi_app:app`.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

from stead import Enforcement, ProtectedServer, carry
from stead.errors import AccessDeniedError, SteadError
from stead.gates.wsgi import WsgiMiddleware, client_of
from stead.monitor.effective import effective_token

USERS = ("alice", "bob")


class Site:
    """The application and the server behind it, made when the first request comes."""

    def __init__(self) -> None:
        self.server: ProtectedServer | None = None
        self.pool: ThreadPoolExecutor | None = None
        self.closed: list[str] = []
        self.lock = threading.Lock()
        self.wsgi = WsgiMiddleware(self.answer, client_for=self.client_for)

    def __call__(self, environ, start_response):
        with self.lock:
            if self.server is None:
                self.open()
        return self.wsgi(environ, start_response)

    def open(self) -> None:
        self.server = ProtectedServer("web", enforcement=Enforcement.TOKEN)
        for name in USERS:
            self.server.accounts.add(name)
        self.pool = ThreadPoolExecutor(2)

    def close(self) -> None:
        if self.server is not None:
            self.pool.shutdown()
            self.server.close()

    def client_for(self, environ):
        name = environ.get("HTTP_USER")
        if name is None:
            return None
        return self.server.client_for(name, authenticated_by="test")

    def answer(self, environ, start_response):
        client = client_of(environ)
        if environ["PATH_INFO"] == "/denied":
            raise AccessDeniedError(object_name="plan")
        if environ["PATH_INFO"] == "/late":
            return self.late(start_response)
        start_response("200 OK", [("Content-Type", "text/plain")])
        if environ["PATH_INFO"] == "/stream":
            return self.stream(client)
        return [" ".join(self.names(client)).encode()]

    def names(self, client):
        """Return who acts: here, carried away, and by a foreign thread that was not."""
        with client.impersonate():
            yield self.name()
            yield self.pool.submit(carry(self.name)).result()
        yield self.pool.submit(client.carry(self.name)).result()
        yield self.pool.submit(self.name).result()

    def name(self) -> str:
        token = effective_token()
        return "web" if token == self.server.token else self.server.name_of(token.user)

    def stream(self, client):
        try:
            for _ in range(20):
                with client.impersonate():
                    part = f"{self.name()} ".encode()
                yield part * 2_000
        finally:
            self.closed.append(client.name)

    def late(self, start_response):
        """Refuse when the head was said already, but nothing is sent yet."""
        start_response("200 OK", [("Content-Type", "text/plain")])
        raise_late = True
        if raise_late:
            raise SteadError("later than the head")
        yield b""


app = Site()
