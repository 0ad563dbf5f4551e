"""`stead serve`: run a server behind its gates."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from stead.cli.output import DryRunFlag, errors_are_lines
from stead.cli.web import WebGate
from stead.errors import InvalidRequestError
from stead.gates.pipe.server import PipeGate
from stead.server.protected_server import ProtectedServer
from stead.server.serving import Gate


def serve(
    target: Annotated[
        str | None,
        typer.Argument(help="module:name of a ProtectedServer, or of what makes one."),
    ] = None,
    *,
    store: Annotated[
        str | None,
        typer.Option("--store", envvar="STEAD_STORE", help="Without a target."),
    ] = None,
    name: Annotated[str, typer.Option(help="Without a target.")] = "stead",
    pipe: Annotated[Path | None, typer.Option(help="Path of the local socket.")] = None,
    web: Annotated[
        str | None, typer.Option(help="module:name of an ASGI application.")
    ] = None,
    host: Annotated[str, typer.Option(help="Where it listens.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 for any free one.", min=0)] = 0,
    dry_run: DryRunFlag = False,
) -> None:
    """Serve until SIGTERM or SIGINT; what runs is let end."""
    with errors_are_lines(), _server(target, name, store) as server:
        gates: list[Gate] = []
        if pipe is not None:
            gates.append(_pipe(server, pipe))
        if web is not None:
            gates.append(WebGate(_load(web), host=host, port=port))
        if not gates:
            raise InvalidRequestError("no gate is named", advice="give --pipe or --web")
        head = f"{server.name}: enforcement {server.enforcement.value}"
        for reason in server.support.reasons:
            head += f"\n  not enforced by the kernel: {reason}"
        typer.echo(head, err=True)
        if dry_run:
            return
        asyncio.run(server.serve(*gates, ready=lambda: typer.echo("ready", err=True)))


def _pipe(server: ProtectedServer, path: Path) -> PipeGate:
    return PipeGate(
        path.absolute(), name=server.name, turned_away=server.reception.turned_away
    )


def _server(target: str | None, name: str, store: str | None) -> ProtectedServer:
    if target is None:
        if store is None:
            raise InvalidRequestError("no store is named", advice="give --store")
        return ProtectedServer(name, store=store)
    found = _load(target)
    made = found if isinstance(found, ProtectedServer) else _made(target, found)
    if not isinstance(made, ProtectedServer):
        raise InvalidRequestError(f"`{target}` is no ProtectedServer")
    return made


def _made(target: str, make: Callable[..., object]) -> object:
    """Call what may make a server, if it can be called without anything."""
    try:
        inspect.signature(make).bind()
    except (TypeError, ValueError):
        raise InvalidRequestError(
            f"`{target}` is no ProtectedServer, and nothing that makes one",
            advice="name a server, or a function that takes nothing and returns one",
        ) from None
    return make()


def _load(target: str) -> Callable[..., object]:
    """Import what `module:name` names; the working folder counts, as for uvicorn."""
    module, _, name = target.partition(":")
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        found: Callable[..., object] = getattr(
            importlib.import_module(module), name or "server"
        )
    except (ImportError, AttributeError) as error:
        raise InvalidRequestError(
            f"`{target}` cannot be loaded: {error}", advice="give module:name"
        ) from error
    return found
