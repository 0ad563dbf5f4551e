"""Real frameworks on real sockets, two users interleaved: each answer is its user's."""

import asyncio
import gc
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from importlib import util
from pathlib import Path
from typing import Annotated, Any

import anyio
import cheroot.wsgi
import httpx
import pytest
import uvicorn
import waitress.server
from fastapi import BackgroundTasks, Depends, FastAPI, Request
from fastapi.responses import StreamingResponse
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from stead.errors import StrangerIdentityError
from stead.gates.http import SteadMiddleware, client_of
from stead.monitor.effective import effective_token
from stead.server.enforcement import Enforcement
from stead.server.fastapi import current_client
from stead.server.protected_server import ProtectedServer

pytestmark = pytest.mark.slow
PROGRAMS = Path(__file__).with_name("programs")
USERS = ("alice", "bob")
REQUESTS = 40
Current = Annotated[Any, Depends(current_client)]


def load_site():
    spec = util.spec_from_file_location("wsgi_app", PROGRAMS / "wsgi_app.py")
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.app


def ask(url, path, user):
    headers = {} if user is None else {"user": user}
    return httpx.get(url + path, headers=headers, timeout=30)


def interleaved(url, path):
    """Ask as two users at once, often; return pairs of who asked and the answer."""
    askers = [USERS[number % 2] for number in range(REQUESTS)]
    with httpx.Client(timeout=30) as link, ThreadPoolExecutor(8) as pool:
        answers = pool.map(
            lambda user: link.get(url + path, headers={"user": user}), askers
        )
        return [
            (user, answer.raise_for_status())
            for user, answer in zip(askers, answers, strict=True)
        ]


def until(is_so):
    deadline = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def until_nobody_lives(server):
    """Wait until no user is anybody here; a framework drops a stream in a cycle."""

    def names():
        gc.collect()
        live = server._house.guard.liveness.records()
        return [record.name for record in live if record.name in USERS]

    until(lambda: not names())


@contextmanager
def on_a_thread(serve, stop, url):
    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield url
    finally:
        stop()
        thread.join(30)
    assert not thread.is_alive()


# --- WSGI ---------------------------------------------------------------------------


@contextmanager
def by_waitress(site):
    made = waitress.server.create_server(site, host="127.0.0.1", port=0, threads=4)
    url = f"http://127.0.0.1:{made.effective_port}"

    def serve():
        with suppress(OSError):  # its own sockets are closed under it
            made.run()

    with on_a_thread(serve, made.close, url):
        yield url


@contextmanager
def by_cheroot(site):
    made = cheroot.wsgi.Server(("127.0.0.1", 0), site, numthreads=4)
    made.prepare()
    url = f"http://127.0.0.1:{made.bind_addr[1]}"
    with on_a_thread(made.serve, made.stop, url):
        yield url


@contextmanager
def by_gunicorn(site):
    """Serve the same program from threads of two processes of gunicorn's."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        os.set_inheritable(listening.fileno(), True)
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        options = ["--worker-class", "gthread", "--threads", "4", "--workers", "2"]
        options += ["--bind", f"fd://{listening.fileno()}", "--log-level", "warning"]
        served = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", *options, "wsgi_app:app"],
            cwd=PROGRAMS,
            pass_fds=[listening.fileno()],
        )
        try:
            yield url
        finally:
            served.send_signal(signal.SIGTERM)
            served.wait(30)


@pytest.fixture
def site():
    made = load_site()
    yield made
    made.close()


WSGI = {"waitress": by_waitress, "cheroot": by_cheroot, "gunicorn": by_gunicorn}


@pytest.mark.parametrize("serve", WSGI.values(), ids=WSGI)
def test_behind_wsgi_servers_each_answer_is_made_as_its_own_user(site, serve):
    with serve(site) as url:
        answers = interleaved(url, "/who")
        streams = interleaved(url, "/stream")
        refused = [ask(url, path, "alice") for path in ("/denied", "/late")]
        nobody = ask(url, "/who", None).status_code
    # Here, carried by what is ambient, by the client; a bare pool's thread is not she.
    assert {(user, f"{user} {user} {user} web") for user in USERS} == {
        (user, answer.text) for user, answer in answers
    }
    assert all({user} == set(answer.text.split()) for user, answer in streams)
    assert [403, 400] == [answer.status_code for answer in refused]
    assert 401 == nobody


@pytest.mark.parametrize("serve", [by_waitress, by_cheroot], ids=["one", "two"])
def test_a_client_that_goes_away_amid_a_stream_ends_its_own_request_alone(site, serve):
    with serve(site) as url:
        ask(url, "/who", "alice")
        port = int(url.rpartition(":")[2])
        for _ in range(5):
            with socket.create_connection(("127.0.0.1", port)) as link:
                link.sendall(b"GET /stream HTTP/1.0\r\nUser: bob\r\n\r\n")
                assert link.recv(100)
                link.setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0"
                )
        answers = interleaved(url, "/who")
        until(lambda: len(site.closed) == 5)
        until_nobody_lives(site.server)
    assert ["bob"] * 5 == site.closed
    assert {(user, f"{user} {user} {user} web") for user in USERS} == {
        (user, answer.text) for user, answer in answers
    }


# --- ASGI ---------------------------------------------------------------------------


@contextmanager
def by_uvicorn(app):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        config = uvicorn.Config(app, log_level="warning", lifespan="off")
        made = uvicorn.Server(config)
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"

        def serve():
            asyncio.run(made.serve(sockets=[listening]))

        def stop():
            made.should_exit = True

        with on_a_thread(serve, stop, url):
            while not made.started:
                time.sleep(0.01)
            yield url


@pytest.fixture
def web():
    with ProtectedServer("web", enforcement=Enforcement.TOKEN) as server:
        for user in USERS:
            server.accounts.add(user)
        yield server


@pytest.fixture
def names(web):
    """Give what returns who acts here: a user's name, `web`, or `stranger`."""

    def name():
        try:
            token = effective_token()
            return "web" if token == web.token else web.name_of(token.user)
        except StrangerIdentityError:
            return "stranger"

    return name


class Changing(BaseHTTPMiddleware):
    """A middleware of the kind that runs the application in another task."""

    async def dispatch(self, request, call_next):
        answer = await call_next(request)
        answer.headers["by"] = client_of(request).name
        return answer


def behind_stead(app, server):
    async def client_for(scope):
        name = dict(scope["headers"]).get(b"user")
        if name is None:
            return None
        return await asyncio.to_thread(
            server.client_for, name.decode(), authenticated_by="test"
        )

    return SteadMiddleware(app, client_for=client_for)


def make_fastapi(names, later):  # noqa: C901 - an application is many functions
    app = FastAPI()
    app.add_middleware(Changing)

    async def carried_name():
        before = names()
        await asyncio.sleep(0.001)
        return before if before == names() else "changed"

    def by_block(client: Current):
        with client.impersonate():
            return names()

    async def by_steps(client: Current):
        return await client.carry(carried_name)()

    @app.get("/sync")
    def sync_endpoint(client: Current, first: Annotated[str, Depends(by_block)]):
        with client.impersonate():
            return [first, names()]

    @app.get("/async")
    async def async_endpoint(
        client: Current, second: Annotated[str, Depends(by_steps)]
    ):
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(client.carry(carried_name)()) for _ in range(3)]
            naive = group.create_task(carried_name())
        threads = await asyncio.to_thread(client.carry(names))
        by_anyio = await anyio.to_thread.run_sync(client.carry(names))
        assert "web" == naive.result() == await asyncio.to_thread(names)
        return [second, threads, by_anyio, *(task.result() for task in tasks)]

    @app.get("/later")
    async def background(client: Current, tasks: BackgroundTasks):
        tasks.add_task(client.carry(lambda: later.append((client.name, names()))))

        async def in_steps():
            later.append((client.name, await carried_name()))

        tasks.add_task(client.carry(in_steps))
        return [client.name]

    @app.get("/stream")
    async def stream(request: Request, client: Current):
        one = client.carry(names, many=True)

        def parts():
            for _ in range(5):
                yield one() + " "

        async def async_parts():
            step = client.carry(carried_name, many=True)
            for _ in range(5):
                yield await step() + " "

        kind = parts() if "sync" in request.query_params else async_parts()
        return StreamingResponse(kind)

    return app


@pytest.mark.parametrize("path", ["/sync", "/async", "/later"])
def test_fastapis_endpoints_and_dependencies_are_each_their_own_user(web, names, path):
    later = []
    with by_uvicorn(behind_stead(make_fastapi(names, later), web)) as url:
        answers = interleaved(url, path)
    assert all({user} == set(answer.json()) for user, answer in answers)
    assert all(user == answer.headers["by"] for user, answer in answers)
    assert {user for user, _ in later} == ({*USERS} if path == "/later" else set())
    assert len(later) == (2 * REQUESTS if path == "/later" else 0)
    assert all(user == name for user, name in later)


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_fastapis_streams_are_each_their_own_users(web, names, kind):
    with by_uvicorn(behind_stead(make_fastapi(names, []), web)) as url:
        answers = interleaved(url, f"/stream?{kind}")
    assert all([user] * 5 == answer.text.split() for user, answer in answers)


def test_starlettes_endpoints_tasks_and_groups_are_each_their_own_user(web, names):
    later = []

    def sync_endpoint(request):
        client = client_of(request)
        with client.impersonate():
            return PlainTextResponse(names())

    async def grouped(request):
        client, found = client_of(request), []

        async def note():
            await anyio.sleep(0.001)
            found.append(names())

        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(client.carry(note))
            group.start_soon(anyio.to_thread.run_sync, client.carry(names))
        done = BackgroundTask(
            client.carry(lambda: later.append((client.name, names())))
        )
        return PlainTextResponse(" ".join(found), background=done)

    routes = [Route("/sync", sync_endpoint), Route("/grouped", grouped)]
    app = Starlette(routes=routes)
    app.add_middleware(Changing)
    with by_uvicorn(behind_stead(app, web)) as url:
        answers = interleaved(url, "/sync") + interleaved(url, "/grouped")
    assert all({user} == set(answer.text.split()) for user, answer in answers)
    assert REQUESTS == len(later)
    assert all(user == name for user, name in later)


def test_a_listener_that_goes_away_ends_its_stream_and_no_other(web, names):
    with by_uvicorn(behind_stead(make_fastapi(names, []), web)) as url:
        port = int(url.rpartition(":")[2])
        for kind in ("sync", "async") * 3:
            with socket.create_connection(("127.0.0.1", port)) as link:
                ask_for = f"GET /stream?{kind} HTTP/1.0\r\nuser: bob\r\n\r\n"
                link.sendall(ask_for.encode())
        answers = interleaved(url, "/async")
    assert all({user} == set(answer.json()) for user, answer in answers)
    until_nobody_lives(web)
