"""The demo's server: a plan that a descriptor guards, files, logons, live prices.

Run as a process of its own: ``python -m stead.cli.demo_server FOLDER``. It reads what
it must know of its clients from standard input, and ends when that closes.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any, Final

from fastapi import Body, Depends, FastAPI
from fastapi.responses import PlainTextResponse

from stead.cli.demo_live import live_prices
from stead.cli.web import WebGate
from stead.errors import AccessDeniedError
from stead.gates.dde.server import DdeGate
from stead.gates.http import Scope, SteadMiddleware
from stead.gates.pipe.server import PipeGate
from stead.model.access_mask import AccessMask, Rights
from stead.model.explicit_access import allow, audit, deny
from stead.model.privilege import Privilege
from stead.model.secret import Secret
from stead.server.client_context import ClientContext
from stead.server.enforcement import Enforcement
from stead.server.fastapi import current_client
from stead.server.protected_server import ProtectedServer
from stead.server.serving import Gate

_SECONDS: Final = 20.0


class Doc(Rights):
    """What can be done with the plan."""

    READ = 1
    WRITE = 2


def main() -> None:
    """Serve the demo until standard input closes or a signal comes."""
    folder = Path(sys.argv[1])
    told: dict[str, Any] = json.loads(sys.stdin.readline())
    with ProtectedServer("notes", store=folder / "store" / "notes.db") as server:
        _accounts(server, told)
        _operations(server)
        web = WebGate(web_application(server, told["web_sessions"]))
        pipe = PipeGate(
            folder / "pipe" / "notes",
            name=server.name,
            turned_away=server.reception.turned_away,
        )
        dde = DdeGate(
            folder / "pipe" / "dde",
            live_prices(server),
            name=server.name,
            turned_away=server.reception.turned_away,
        )
        asyncio.run(_serve(server, web, pipe, dde))


async def _serve(server: ProtectedServer, web: WebGate, *others: Gate) -> None:
    serving = asyncio.create_task(
        server.serve(*others, web, ready=lambda: _ready(server, web))
    )
    # The starter's end of our input closes when the starter is gone.
    gone = asyncio.create_task(asyncio.to_thread(sys.stdin.read))
    await asyncio.wait({serving, gone}, return_when=asyncio.FIRST_COMPLETED)
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)


def _ready(server: ProtectedServer, web: WebGate) -> None:
    reasons = list(server.support.reasons)
    sys.stdout.write(
        json.dumps(
            {
                "port": web.port,
                "enforcement": server.enforcement.value,
                "reasons": reasons,
                "pid": os.getpid(),
                "sid": str(server.token.user),
            }
        )
        + "\n"
    )
    sys.stdout.flush()


def _accounts(server: ProtectedServer, told: dict[str, Any]) -> None:
    desk = server.accounts
    for name, uid in told["accounts"].items():
        desk.add(name, uid=uid)
    for group in ("staff", "interns", "summer"):
        desk.add_group(group)
    desk.add_member("interns", "summer")
    for name in told["staff"]:
        desk.add_member("staff", name)
    for name in told["summer"]:
        desk.add_member("summer", name)
    for name in told["archivists"]:
        desk.grant(name, Privilege.BACKUP)
    for name, password in told["passwords"].items():
        desk.set_password(name, Secret(password))


def _operations(server: ProtectedServer) -> None:
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
    text = ["plan: ship it"]

    @server.operation("read_file")
    def read_file(client: ClientContext, path: str) -> str:
        with client.open(path) as file:
            return str(file.read())

    @server.operation("read_file_raw")
    def read_file_raw(client: ClientContext, path: str) -> list[str]:
        """Show what happens to code that opens files by itself inside a block."""
        try:
            with client.impersonate():
                return [Path(path).read_text(encoding="utf-8")]
        except AccessDeniedError as error:
            return [str(error), error.advice]

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

    @server.operation("run_id")
    def run_id(client: ClientContext, account: str, password: Secret) -> str:
        """Log an account on, and start a program in its session."""
        with server.log_on(account, password, via=client) as session:
            if server.enforcement is not Enforcement.KERNEL:
                return f"logged on in session {session.token.logon_id}; starts nothing"
            with session.start(["id"], stdout=subprocess.PIPE) as process:
                said, _ = process.communicate(timeout=_SECONDS)
                return (said or b"").decode().strip()

    @server.operation("archive", privileges=[Privilege.BACKUP])
    def archive(client: ClientContext) -> str:  # noqa: ARG001 - it is asked for by name
        return "archived"


def web_application(server: ProtectedServer, sessions: dict[str, str]) -> Any:
    """Return a web application that knows its users by its own sessions."""
    app = FastAPI(openapi_url=None)

    async def client_for(scope: Scope) -> ClientContext | None:
        name = _web_user(scope, sessions)
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

    @app.put("/plan", response_class=PlainTextResponse)
    def plan(
        line: Annotated[str, Body(embed=True)],
        client: Annotated[ClientContext, Depends(current_client)],
    ) -> str:
        server.call(client, "write_plan", line=line)
        return "written"

    app.add_middleware(SteadMiddleware, client_for=client_for)
    return app


def _web_user(scope: Scope, sessions: dict[str, str]) -> str | None:
    """Return whose web session a request carries, as the application knows it."""
    for name, value in scope["headers"]:
        if name == b"authorization":
            given = value.decode("latin-1").removeprefix("Bearer ")
            for session, user in sessions.items():
                if secrets.compare_digest(session.encode(), given.encode()):
                    return user
    return None


if __name__ == "__main__":
    main()
