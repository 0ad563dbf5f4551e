"""`stead group`: the groups of a store, at the account desk."""

from __future__ import annotations

from typing import Any

import typer

from stead.authority.ports import Group
from stead.cli.changing import Change, Gid, Member, Name, New, changes
from stead.cli.opening import opened
from stead.cli.output import JsonFlag, StoreOption, errors_are_lines, show

group = typer.Typer(help="Groups of a store and their members.", no_args_is_help=True)


@group.command("add")
@changes
def add(name: Name, *, gid: Gid = None) -> Change:
    """Add a group; with a gid its members are in it for the kernel too."""
    return Change(f"group {name} added", lambda desk: desk.add_group(name, gid=gid))


@group.command("list")
def list_groups(store: StoreOption, *, as_json: JsonFlag = False) -> None:
    """List groups with their direct members."""
    with errors_are_lines(), opened(store) as (server, client):
        desk = server.accounts_for(client)
        found = [
            (g, [server.name_of(m) for m in desk.members(g.name)])
            for g in desk.groups()
        ]
    show(
        [_row(g, members) for g, members in found],
        as_json=as_json,
        lines=lambda: [
            f"{g.name}  {g.sid}  members: {', '.join(members) or 'none'}"
            for g, members in found
        ],
    )


@group.command("add-member")
@changes
def add_member(name: Name, member: Member) -> Change:
    """Put an account, group or uid into a group, from its next session on."""
    done = f"{member} is a member of {name}"
    return Change(done, lambda desk: desk.add_member(name, member))


@group.command("remove-member")
@changes
def remove_member(name: Name, member: Member) -> Change:
    """Take somebody out of a group; sessions that hold it end within a second."""
    done = f"{member} is no member of {name}"
    return Change(done, lambda desk: desk.remove_member(name, member))


@group.command("rename")
@changes
def rename(name: Name, new: New) -> Change:
    """Give a group another name; its members stay."""
    done = f"group {name} renamed to {new}"
    return Change(done, lambda desk: desk.rename_group(name, new))


@group.command("map")
@changes
def map_(name: Name, *, gid: Gid = None) -> Change:
    """Say what gid a group's members have for the kernel; without --gid, none."""
    mapped = "no gid" if gid is None else f"gid {gid}"
    done = f"group {name} mapped to {mapped}"
    return Change(done, lambda desk: desk.map_group(name, gid=gid))


@group.command("delete")
@changes
def delete(name: Name) -> Change:
    """Delete a group; sessions whose tokens hold it end."""
    return Change(f"group {name} deleted", lambda desk: desk.delete_group(name))


def _row(found: Group, members: list[str]) -> dict[str, Any]:
    return {
        "name": found.name,
        "sid": str(found.sid),
        "gid": found.gid,
        "members": members,
    }
