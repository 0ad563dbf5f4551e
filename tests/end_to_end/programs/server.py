"""The server under test: a plan, files, a privileged operation, and a web application.

``python server.py FOLDER TOLD`` with TOLD as JSON. It prints one line of JSON once it
serves, and stops when its standard input closes or a signal comes.
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from queue import SimpleQueue
from subprocess import PIPE
from typing import Annotated, Any

from fastapi import Depends, FastAPI
from fastapi.responses import PlainTextResponse

from stead.cli.web import WebGate
from stead.gates.http import SteadMiddleware
from stead.gates.pipe.server import PipeGate
from stead.model.access_mask import AccessMask, Rights
from stead.model.explicit_access import allow, audit, deny
from stead.model.privilege import LogonRight, Privilege
from stead.model.secret import Secret
from stead.model.token import ImpersonationLevel
from stead.privileged.system_uids import DEFAULT_GUARD_UID
from stead.server.client_context import ClientContext
from stead.server.fastapi import current_client
from stead.server.protected_server import ProtectedServer

SECONDS = 60


class Doc(Rights):
    READ = 1
    WRITE = 2


class Observer(threading.Thread):
    """A thread of the server's own that is root all the time, or says it is not."""

    def __init__(self, folder: Path, number: int) -> None:
        super().__init__(daemon=True)
        self.own = folder / "store" / f"observer-{number}"
        self.own.touch(mode=0o600)
        self.looks = 0
        self.violations: list[str] = []
        self.ended = threading.Event()

    def run(self) -> None:
        while not self.ended.wait(0.001):
            self.look()

    def look(self) -> None:
        ids = (os.getresuid(), os.getresgid())
        if ids != ((0, 0, 0), (0, 0, 0)):
            self.violations.append(f"ids {ids}")
        try:
            self.own.write_text("root")
        except OSError as error:
            self.violations.append(str(error))
        self.looks += 1


def main() -> None:
    folder, told = Path(sys.argv[1]), json.loads(sys.argv[2])
    store = folder / "store" / "notes.db"
    reserve = told.get("trail_reserve", 0)
    guard = told.get("guard", DEFAULT_GUARD_UID)
    with ProtectedServer(
        "notes", store=store, trail_reserve=reserve, guard_uid=guard
    ) as server:
        accounts(server, told)
        offer_files(server)
        offer_blocks(server)
        offer_keeping(server)
        offer_acting(server)
        offer_objects(server)
        offer_trouble(server)
        observers = [Observer(folder, number) for number in range(2)]
        offer_observers(server, observers)
        for observer in observers:
            observer.start()
        web = WebGate(web_application(server, told.get("sessions", {})))
        pipe = PipeGate(folder / "pipe" / "notes", name=server.name)
        asyncio.run(serve(server, pipe, web))
        for observer in observers:
            observer.ended.set()
            observer.join()


async def serve(server: ProtectedServer, pipe: PipeGate, web: WebGate) -> None:
    def ready() -> None:
        print(json.dumps({"port": web.port, "pid": os.getpid()}), flush=True)

    def starter_is_gone() -> None:
        loop.remove_reader(0)
        os.kill(os.getpid(), signal.SIGTERM)

    loop = asyncio.get_running_loop()
    loop.add_reader(0, starter_is_gone)
    await server.serve(pipe, web, ready=ready)


def accounts(server: ProtectedServer, told: dict[str, Any]) -> None:
    desk = server.accounts
    known = {account.name for account in desk.list()}
    if known:
        return  # a restart over the same store
    for group in ("staff", "interns"):
        desk.add_group(group)
    for name, uid in told["accounts"].items():
        desk.add(name, uid=uid)
    for name in told.get("staff", ()):
        desk.add_member("staff", name)
    for name in told.get("archivists", ()):
        desk.grant(name, Privilege.BACKUP)
    for name, password in told.get("passwords", {}).items():
        desk.set_password(name, Secret(password))
    for name in told.get("disabled", ()):
        desk.disable(name)
    for name in told.get("denied", ()):
        desk.grant(name, LogonRight.DENY_NETWORK)


def offer_files(server: ProtectedServer) -> None:
    @server.operation("read")
    def read(client: ClientContext, path: str) -> str:
        with client.open(path) as file:
            return str(file.read())

    @server.operation("write")
    def write(client: ClientContext, path: str, text: str, mode: str = "w") -> None:
        with client.open(path, mode) as file:
            file.write(text)


def offer_blocks(server: ProtectedServer) -> None:
    @server.operation("read_block")
    def read_block(client: ClientContext, path: str) -> str:
        def block() -> str:
            with client.impersonate():
                return Path(path).read_text(encoding="utf-8")

        return server.executor().submit(block).result()

    @server.operation("write_block")
    def write_block(client: ClientContext, path: str) -> list[int]:
        """Write a file in a block; return the ids the kernel knew the thread by."""

        def block() -> list[int]:
            with client.impersonate():
                Path(path).write_text("made in a block", encoding="utf-8")
                return [*os.getresuid(), *os.getresgid()]

        return server.executor().submit(block).result()


def offer_keeping(server: ProtectedServer) -> None:
    """Offer to keep files open, which is what other clients are after."""
    held: list[Any] = []
    released = threading.Event()

    @server.operation("hold")
    def hold(client: ClientContext, path: str) -> int:
        """Open a file and keep it open for the client."""
        file = client.open(path)
        held.append(file)
        return int(file.fileno())

    @server.operation("stay")
    def stay(client: ClientContext, path: str) -> dict[str, Any]:
        """Stay in a block with a file open until somebody says `release`."""
        inside: SimpleQueue[dict[str, Any]] = SimpleQueue()

        def block() -> None:
            with client.impersonate(), Path(path).open(encoding="utf-8") as file:
                thread = threading.get_native_id()
                inside.put({"fd": file.fileno(), "thread": thread})
                released.wait(60)

        future = server.executor().submit(block)
        future.add_done_callback(
            lambda done: inside.put({"over": repr(done.exception())})
        )
        return inside.get()

    @server.operation("release")
    def release(client: ClientContext) -> None:
        released.set()


def offer_acting(server: ProtectedServer) -> None:
    @server.operation("who_runs")
    def who_runs(client: ClientContext) -> list[list[int]]:
        """Return the ids of a function that runs in the client's own process."""
        return [
            list(client.run(os.getresuid)),
            list(client.run(os.getresgid)),
            list(client.run(os.getgroups)),
        ]

    @server.operation("who_starts")
    def who_starts(client: ClientContext, words: str = "") -> str:
        """Return what `id` says in a process of the client's."""
        with client.start(["/usr/bin/id", *words.split()], stdout=PIPE) as child:
            said = child.communicate(timeout=SECONDS)[0].decode()
        return said if child.returncode == 0 else f"ended: {child.returncode}"

    @server.operation("starts")
    def starts(client: ClientContext, script: str) -> dict[str, Any]:
        """Run a shell script as the client."""
        with client.start(["/bin/sh", "-c", script], stdout=PIPE, stderr=PIPE) as child:
            out, err = child.communicate(timeout=SECONDS)
            return {"out": out.decode(), "err": err.decode(), "code": child.returncode}

    @server.operation("sleeps")
    def sleeps(client: ClientContext, seconds: int) -> None:
        client.run(time.sleep, seconds)

    @server.operation("reads_slowly")
    def reads_slowly(client: ClientContext, path: str) -> str:
        """Read in the client's process, however long that takes."""
        return str(client.run(subprocess.getoutput, f"cat {path}"))

    @server.operation("logs_on")
    def logs_on(client: ClientContext, account: str, password: Secret) -> str:
        """Log an account on with its password and start `id` in its session."""
        with (
            server.log_on(account, password, via=client) as session,
            session.start(["/usr/bin/id", "-u"], stdout=PIPE) as child,
        ):
            return child.communicate(timeout=SECONDS)[0].decode().strip()


def offer_objects(server: ProtectedServer) -> None:
    plan = server.protect(
        "plan",
        Doc,
        [
            deny("interns", Doc.WRITE),
            allow("staff", Doc.READ | Doc.WRITE),
            allow("Administrators", AccessMask.READ_CONTROL),
            audit("Everyone", Doc.WRITE),
        ],
        owner="Administrators",
    )
    server.protect("sealed", Doc, [], owner="Administrators")
    text = ["ship it"]

    @server.operation("read_plan")
    def read_plan(client: ClientContext) -> str:
        with server.open_object(client, plan, Doc.READ) as handle:
            handle.require(Doc.READ)
            return text[0]

    @server.operation("write_plan")
    def write_plan(client: ClientContext, line: str) -> None:
        with server.open_object(client, plan, Doc.WRITE) as handle:
            handle.require(Doc.WRITE)
            text[0] = line

    @server.operation("look")
    def look(client: ClientContext, name: str) -> None:
        server.require(client, server.find_object(name), Doc.READ)

    @server.operation("archive", privileges=[Privilege.BACKUP])
    def archive(client: ClientContext) -> str:
        return "archived"

    @server.operation("acted", level=ImpersonationLevel.IMPERSONATION)
    def acted(client: ClientContext) -> str:
        return "acted"

    @server.operation("echo")
    def echo(client: ClientContext, text: str) -> str:
        return text


def offer_trouble(server: ProtectedServer) -> None:
    @server.operation("wait")
    def wait(client: ClientContext, fifo: str) -> str:
        """Answer once somebody writes to the FIFO; the server reads it as itself."""
        with server.as_server():
            return Path(fifo).read_text(encoding="utf-8")

    @server.operation("read_as_server")
    def read_as_server(client: ClientContext, path: str) -> str:
        """What a server does that acts for nobody: the control of an attack."""
        with server.as_server():
            return Path(path).read_text(encoding="utf-8")

    @server.operation("fail")
    def fail(client: ClientContext) -> None:
        raise ZeroDivisionError("the server's secret")


def offer_observers(server: ProtectedServer, observers: list[Observer]) -> None:
    @server.operation("observers")
    def report(client: ClientContext) -> list[Any]:
        return [[observer.looks, observer.violations] for observer in observers]


def web_application(server: ProtectedServer, sessions: dict[str, str]) -> Any:
    app = FastAPI(openapi_url=None)

    async def client_for(scope: Any) -> ClientContext | None:
        given = dict(scope["headers"]).get(b"authorization", b"").decode()
        name = sessions.get(given.removeprefix("Bearer "))
        if name is None:
            return None
        return await asyncio.to_thread(
            server.client_for, name, authenticated_by="web session", gate="http"
        )

    @app.get("/file", response_class=PlainTextResponse)
    def file(
        path: str, client: Annotated[ClientContext, Depends(current_client)]
    ) -> str:
        def read() -> str:
            with client.impersonate():
                return Path(path).read_text(encoding="utf-8")

        return server.executor().submit(read).result()

    app.add_middleware(SteadMiddleware, client_for=client_for)
    return app


if __name__ == "__main__":
    main()
