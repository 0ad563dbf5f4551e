"""`stead serve`: run a server behind its gates."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import shlex
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Final

import typer

from stead.cli.audit_verify import verifier_of
from stead.cli.output import DryRunFlag, errors_are_lines
from stead.cli.stopping import stopping_once
from stead.cli.web import WebGate
from stead.errors import InvalidRequestError
from stead.gates.dde.server import DdeGate
from stead.gates.pipe.server import PipeGate
from stead.gates.ports import Entrance
from stead.server.dde import DdeDesk
from stead.server.protected_server import ProtectedServer
from stead.server.serving import Gate
from stead.server.settings import ServerOptions
from stead.server.sinks import export_origin, make_sinks
from stead.server.tls_settings import read_tls

_HIGHEST_PORT: Final = 65_535

Target = Annotated[
    str | None,
    typer.Argument(help="module:name of a ProtectedServer, or of what makes one."),
]
StoreOption = Annotated[
    str | None,
    typer.Option("--store", envvar="STEAD_STORE", help="Without a target."),
]
NameOption = Annotated[str, typer.Option(help="Without a target.")]
PipeOption = Annotated[Path | None, typer.Option(help="Path of the local socket.")]
DdeOption = Annotated[
    Path | None, typer.Option(help="Path of the local socket for DDE.")
]
TlsOption = Annotated[
    Path | None,
    typer.Option(
        help="A file of settings of a TLS gate, for clients on other machines."
    ),
]
RulesOption = Annotated[
    Path | None,
    typer.Option(help="Who may be acted as: a file of rules. Without a target."),
]
DeskOption = Annotated[
    str | None,
    typer.Option(
        help="module:name of the DdeDesk behind --dde, or of what makes one of the "
        "server."
    ),
]
WebOption = Annotated[
    str | None, typer.Option(help="module:name of an ASGI application.")
]
HostOption = Annotated[str, typer.Option(help="Where it listens.")]
PortOption = Annotated[
    int, typer.Option(help="0 for any free one.", min=0, max=_HIGHEST_PORT)
]
BrokerOption = Annotated[
    Path | None,
    typer.Option(help="Socket of the broker, for a server without a target."),
]
ReserveOption = Annotated[
    int | None,
    typer.Option(
        help="Bytes kept on the store's disk for administrators. Without a target.",
        min=0,
    ),
]
WitnessOption = Annotated[
    str | None,
    typer.Option(
        help="The trail's witness: the path of its socket, or a command. Without a "
        "target."
    ),
]
WitnessKeyOption = Annotated[
    str | None,
    typer.Option(help="The witness's public key, or a file that holds it."),
]
SinkOption = Annotated[
    list[str] | None,
    typer.Option(
        help="Where the trail is sent, for a server without a target: "
        "syslog+tls://..., otlp+https://..., linux-audit. More than once for more."
    ),
]


def serve(  # noqa: PLR0913 - each parameter is an option of the command line
    target: Target = None,
    *,
    store: StoreOption = None,
    name: NameOption = "stead",
    pipe: PipeOption = None,
    dde: DdeOption = None,
    tls: TlsOption = None,
    rules: RulesOption = None,
    desk: DeskOption = None,
    web: WebOption = None,
    host: HostOption = "127.0.0.1",
    port: PortOption = 0,
    broker: BrokerOption = None,
    trail_reserve: ReserveOption = None,
    witness: WitnessOption = None,
    witness_key: WitnessKeyOption = None,
    sink: SinkOption = None,
    dry_run: DryRunFlag = False,
) -> None:
    """Serve until SIGTERM or SIGINT; what runs is let end."""
    with errors_are_lines(), stopping_once() as heard, ExitStack() as undo:
        sinks = _sinks(target, sink or [], dry_run=dry_run)
        options = _options(rules, broker, trail_reserve, witness, witness_key, sinks)
        told = None if tls is None else read_tls(tls)
        if told is not None and target is None:
            options["issuers"] = told.issuers
        server = undo.enter_context(_server(target, name, store, options))
        gates: list[Gate] = []
        if pipe is not None:
            gates.append(_pipe(server, pipe))
        if dde is not None:
            gates.append(_dde(server, dde, desk))
        if told is not None:
            told.require_usable()
            told.require_believed(server.reception.admission.elsewhere.issuers)
            gates.append(told.gate(server.name, server.reception.turned_away))
        if web is not None:
            gates.append(WebGate(_load(web), host=host, port=port))
        if not gates:
            raise InvalidRequestError(
                "no gate is named", advice="give --pipe, --tls, --dde or --web"
            )
        typer.echo(_head(server), err=True)
        if dry_run:
            return
        with server.watch_leaks():

            def ready() -> None:
                heard()
                typer.echo("ready", err=True)

            asyncio.run(server.serve(*gates, ready=ready))


def _sinks(target: str | None, named: list[str], *, dry_run: bool) -> list[str]:
    """Return where the trail is sent; in a dry run, look at the names alone."""
    if target is not None and named:
        raise InvalidRequestError(
            "a target says by itself where its trail is sent",
            advice="open the ProtectedServer with `sinks=`",
        )
    if dry_run:
        make_sinks(named, export_origin(""))
    return [] if dry_run else named


def _head(server: ProtectedServer) -> str:
    """Say who judges what clients do to the machine, and why not more."""
    head = f"{server.name}: enforcement {server.enforcement.value}"
    if server.broker:
        head += f" by the broker at {server.broker}; blocks by tokens only"
    for reason in server.support.reasons:
        head += f"\n  not enforced by the kernel: {reason}"
    return head


def _pipe(server: ProtectedServer, path: Path) -> PipeGate:
    return PipeGate(
        path.absolute(),
        name=server.name,
        turned_away=server.reception.turned_away,
        entrance=_entrance(server, path),
    )


def _entrance(server: ProtectedServer, path: Path) -> Entrance | None:
    """Return the broker's entrance to a gate, where there is a broker."""
    return server.entrance(path.absolute()) if server.broker else None


def _dde(server: ProtectedServer, path: Path, desk: str | None) -> DdeGate:
    if desk is None:
        raise InvalidRequestError("no desk is named", advice="give --desk")
    found = _load(desk, "desk")
    made = found if isinstance(found, DdeDesk) else _made(desk, found, server)
    if not isinstance(made, DdeDesk):
        raise InvalidRequestError(f"`{desk}` is no DdeDesk")
    return DdeGate(
        path.absolute(),
        made,
        name=server.name,
        turned_away=server.reception.turned_away,
        entrance=_entrance(server, path),
    )


def _server(
    target: str | None, name: str, store: str | None, options: ServerOptions
) -> ProtectedServer:
    if target is None:
        if store is None:
            raise InvalidRequestError("no store is named", advice="give --store")
        return ProtectedServer(name, store, **options)
    if options:
        given = ", ".join(f"{option}=" for option in options)
        raise InvalidRequestError(
            f"`{target}` brings its own settings",
            advice=f"open the ProtectedServer there with `{given}`",
        )
    found = _load(target)
    made = found if isinstance(found, ProtectedServer) else _made(target, found)
    if not isinstance(made, ProtectedServer):
        raise InvalidRequestError(f"`{target}` is no ProtectedServer")
    return made


def _options(
    rules: Path | None,
    broker: Path | None,
    trail_reserve: int | None,
    witness: str | None,
    witness_key: str | None,
    sinks: list[str] | None,
) -> ServerOptions:
    """Return what was given of a server without a target."""
    options: ServerOptions = {}
    if rules is not None:
        options["impersonation"] = rules
    if broker is not None:
        options["broker"] = broker
    if trail_reserve is not None:
        options["trail_reserve"] = trail_reserve
    if witness is not None:
        words = shlex.split(witness)
        options["witness"] = words[0] if len(words) == 1 else words
    if witness_key is not None:
        options["witness_key"] = str(verifier_of(witness_key).key)
    if sinks:
        options["sinks"] = sinks
    return options


def _made(target: str, make: Callable[..., object], *given: object) -> object:
    """Call what may make something, if it can be called with what is given."""
    what = "DdeDesk" if given else "ProtectedServer"
    takes = "the server" if given else "nothing"
    try:
        inspect.signature(make).bind(*given)
    except (TypeError, ValueError):
        raise InvalidRequestError(
            f"`{target}` is no {what}, and nothing that makes one",
            advice=f"name one, or a function that takes {takes} and returns one",
        ) from None
    return make(*given)


def _load(target: str, otherwise: str = "server") -> Callable[..., object]:
    """Import what `module:name` names; the working folder counts, as for uvicorn."""
    module, _, name = target.partition(":")
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        found: Callable[..., object] = getattr(
            importlib.import_module(module), name or otherwise
        )
    except (ImportError, AttributeError) as error:
        raise InvalidRequestError(
            f"`{target}` cannot be loaded: {error}",
            advice="give module:name, of a module that is here or on PYTHONPATH",
        ) from error
    return found
