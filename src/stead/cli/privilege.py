"""`stead privilege`: who holds which privilege or account right."""

from __future__ import annotations

from typing import Annotated

import typer

from stead.cli.changing import Change, Member, changes
from stead.cli.opening import opened
from stead.cli.output import JsonFlag, errors_are_lines, show
from stead.model.privilege import LogonRight, Privilege
from stead.server.holdings import right_named

privilege = typer.Typer(help="Privileges and account rights.", no_args_is_help=True)

Right = Annotated[str, typer.Argument(help="Such as SeBackupPrivilege.")]


@privilege.command("list")
def list_privileges(
    store: Annotated[str | None, typer.Option("--store", envvar="STEAD_STORE")] = None,
    *,
    every: Annotated[
        bool, typer.Option("--all", help="Every name there is, held or not.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """List who holds which privilege or right, or every name there is."""
    if every or store is None:
        names = [p.value for p in Privilege] + [r.value for r in LogonRight]
        show(names, as_json=as_json, lines=lambda: names)
        return
    with errors_are_lines(), opened(store) as (server, client):
        held = [
            {"holder": server.name_of(sid), "sid": str(sid), "right": right}
            for sid, right in server.accounts_for(client).rights()
        ]
    show(
        held,
        as_json=as_json,
        lines=lambda: [f"{row['holder']}  {row['right']}" for row in held],
    )


@privilege.command("grant")
@changes
def grant(holder: Member, right: Right) -> Change:
    """Give a privilege or right, from the holder's next session on."""
    done = f"{holder} holds {right}"
    return Change(done, lambda desk: desk.grant(holder, right_named(right)))


@privilege.command("revoke")
@changes
def revoke(holder: Member, right: Right) -> Change:
    """Take a privilege or right; sessions that hold it end within a second."""
    done = f"{holder} does not hold {right}"
    return Change(done, lambda desk: desk.revoke(holder, right_named(right)))
