"""`stead whoami` and `stead doctor`: questions about oneself and this machine."""

from __future__ import annotations

import dataclasses
import os
from enum import Enum
from typing import Annotated, Any

import typer

from stead.authority.tokens import SERVER_HOLDS
from stead.cli.opening import opened
from stead.cli.output import (
    JsonFlag,
    errors_are_lines,
    show,
)
from stead.decision.fast import has_twin
from stead.errors import DirectoryUnavailableError, InvalidRequestError
from stead.gates.pipe.client import PipeClient
from stead.model.posix_identity import MAXIMUM_ID
from stead.model.system_ids import SYSTEM_RANGES
from stead.model.token import ImpersonationLevel
from stead.privileged.broker_config import DEFAULT_SOCKET
from stead.privileged.broker_link import ask_broker
from stead.privileged.name_service import SourceState, examine_sources
from stead.privileged.probe import probe
from stead.privileged.system_uids import DEFAULT_GUARD_UID
from stead.server.built_in_operations import describe_client
from stead.server.enforcement import choose


class Level(Enum):
    """How far a client lets the server go."""

    ANONYMOUS = "anonymous"
    IDENTIFICATION = "identification"
    IMPERSONATION = "impersonation"
    DELEGATION = "delegation"


def whoami(
    store: Annotated[str | None, typer.Option("--store", envvar="STEAD_STORE")] = None,
    *,
    pipe: Annotated[str | None, typer.Option(help="A running server's pipe.")] = None,
    level: Annotated[
        Level, typer.Option(help="How far that server may go with you.")
    ] = Level.IDENTIFICATION,
    server_uid: Annotated[
        int | None, typer.Option(help="The uid that server must have.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Show who you are to a server: account, groups, privileges, level."""
    with errors_are_lines():
        if pipe is not None:
            wanted = ImpersonationLevel[level.name]
            with PipeClient.connect(pipe, level=wanted, server_uid=server_uid) as link:
                found = link.call("stead.whoami")
        elif store is not None:
            with opened(store) as (server, client):
                found = describe_client(server, client)
        else:
            raise InvalidRequestError(
                "say who should tell", advice="name a server's --pipe or a --store"
            )
    show(found, as_json=as_json, lines=lambda: _whoami_lines(found))


def _whoami_lines(found: dict[str, Any]) -> list[str]:
    about = (
        f"level {found['level']}, integrity {found['integrity']}, "
        f"logon {found['logon_id']}, server {found['server']}"
    )
    return [
        f"{found['name']}  {found['sid']}",
        about,
        *(f"group      {g['name']}  {g['sid']}" for g in found["groups"]),
        *(f"privilege  {name}" for name in found["privileges"]),
    ]


def doctor(
    store: Annotated[str | None, typer.Option("--store", envvar="STEAD_STORE")] = None,
    *,
    guard_uid: Annotated[
        int, typer.Option(help="The reserved uid.", min=1, max=MAXIMUM_ID)
    ] = DEFAULT_GUARD_UID,
    broker: Annotated[
        str, typer.Option(help="The socket of the machine's broker.")
    ] = DEFAULT_SOCKET,
    as_json: JsonFlag = False,
) -> None:
    """Say what this machine enforces, why not more, and a server's defaults."""
    support = probe(guard_uid)
    enforcement = choose(None, support)
    data: dict[str, Any] = {
        "enforcement": enforcement.value,
        "support": dataclasses.asdict(support),
        "running_as_uid": os.geteuid(),
        "broker": ask_broker(broker),
        "judged_in_c": has_twin(),
        "host_names": [dataclasses.asdict(each) for each in _sources_of_names()],
        "server_privileges": [p.value for p in SERVER_HOLDS],
        "system_uids": [
            {"first": first, "last": last, "whose": whose}
            for first, last, whose in SYSTEM_RANGES
        ],
    }
    if store is not None:
        with errors_are_lines(), opened(store) as (server, client):
            members = server.accounts_for(client).members("Administrators")
            data["administrators"] = [server.name_of(sid) for sid in members]
            data["trail"] = dataclasses.asdict(server.trail_for(client).standing())
    show(data, as_json=as_json, lines=lambda: _doctor_lines(data))


def _sources_of_names() -> tuple[SourceState, ...]:
    try:
        return examine_sources()
    except DirectoryUnavailableError as error:
        return (SourceState("nsswitch.conf", is_installed=True, problem=str(error)),)


def _source_line(source: dict[str, Any]) -> str:
    state = "answers" if source["is_installed"] else "is not installed, and not asked"
    return f"names of the host: `{source['name']}` {source['problem'] or state}"


def _doctor_lines(data: dict[str, Any]) -> list[str]:
    support = data["support"]
    running = f"running as uid {data['running_as_uid']}"
    lines = [f"enforcement: {data['enforcement']} ({running})"]
    if data["enforcement"] == "kernel":
        lines.append("  Linux judges files as the client, on hardened threads")
    else:
        lines.append("  nothing judges files as the client: blocks may not open any")
    lines += [f"  not enforced by the kernel: {why}" for why in support["reasons"]]
    lines += _broker_lines(data["broker"])
    lines += [f"  note: {warning}" for warning in support["warnings"]]
    lines += [_source_line(source) for source in data["host_names"]]
    lines += [
        f"guard uid: {support['guard']}",
        f"landlock, for limited clients: version {support['landlock'] or 'none'}",
        f"peers held by pidfd: {'yes' if support['has_peer_pidfd'] else 'no'}",
        f"plain questions judged in c: {'yes' if data['judged_in_c'] else 'no'}",
        "a server's own privileges: " + ", ".join(data["server_privileges"]),
        "uids never impersonated unless named: "
        + ", ".join(_range(r["first"], r["last"]) for r in data["system_uids"]),
        "first administrator: whoever creates the store",
    ]
    if "administrators" in data:
        lines.append("administrators now: " + ", ".join(data["administrators"]))
        lines.append(_trail_line(data["trail"]))
    return lines


def _trail_line(trail: dict[str, Any]) -> str:
    line = f"trail: {trail['records']} records, {trail['segments']} sealed segments"
    if trail["removed"]:
        line += f", the first {trail['removed']} removed on purpose"
    if not trail["witnessed"]:
        return line + "; no witness has signed any"
    return line + f"; a witness has signed {trail['witnessed']}"


def _broker_lines(broker: dict[str, Any]) -> list[str]:
    if "service" not in broker:
        return [f"broker: {broker['why']}"]
    may = ", ".join(broker["may"]) or "nothing"
    path, service = broker["path"], broker["service"]
    return [
        f"broker: answers at {path}; this uid is service `{service}` and may {may}",
        '  a server with `broker=` has "open", "run" and "start" judged by the kernel',
        "  as the client; blocks of impersonate() are judged by tokens only there",
        *(f"  it accepts clients at {gate}" for gate in broker["gates"]),
    ]


def _range(first: int, last: int) -> str:
    return str(first) if first == last else f"{first}-{last}"
