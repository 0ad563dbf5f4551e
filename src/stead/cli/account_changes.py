"""`stead account rename`, `map`, `delete`, and the same of groups."""

from __future__ import annotations

from typing import Annotated

import typer

from stead.cli.account import Gid, Name, Uid, act_on_accounts
from stead.cli.output import DryRunFlag, JsonFlag, StoreOption

New = Annotated[str, typer.Argument(help="The new name.")]


def rename_account(
    name: Name,
    new: New,
    store: StoreOption,
    *,
    dry_run: DryRunFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Give an account another name; what it may do stays."""
    act_on_accounts(
        store,
        dry_run=dry_run,
        done=f"account {name} renamed to {new}",
        act=lambda desk: desk.rename(name, new),
        as_json=as_json,
    )


def map_account(
    name: Name,
    store: StoreOption,
    *,
    uid: Uid = None,
    gid: Gid = None,
    dry_run: DryRunFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Say what the kernel knows an account by; without --uid, by nothing."""
    mapped = "no uid" if uid is None else f"uid {uid}"
    act_on_accounts(
        store,
        dry_run=dry_run,
        done=f"account {name} mapped to {mapped}",
        act=lambda desk: desk.map(name, uid=uid, gid=gid),
        as_json=as_json,
    )


def delete_account(
    name: Name,
    store: StoreOption,
    *,
    dry_run: DryRunFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Delete an account with its password, rights and memberships."""
    act_on_accounts(
        store,
        dry_run=dry_run,
        done=f"account {name} deleted",
        act=lambda desk: desk.delete(name),
        as_json=as_json,
    )


def alias_account(
    name: Name,
    issuer: Annotated[str, typer.Argument(help="A realm, a domain, a URL.")],
    alias: Annotated[str, typer.Argument(help="What it calls them: a name or a SID.")],
    store: StoreOption,
    *,
    remove: Annotated[bool, typer.Option("--remove", help="Take it back.")] = False,
    dry_run: DryRunFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Let whoever an issuer calls so be the account; compared exactly."""
    what = f"{alias} of {issuer}"
    act_on_accounts(
        store,
        dry_run=dry_run,
        done=f"account {name} is no more {what}" if remove else f"{what} is {name}",
        act=lambda desk: (desk.remove_alias if remove else desk.add_alias)(
            name, issuer, alias
        ),
        as_json=as_json,
    )


def rename_group(
    name: Name,
    new: New,
    store: StoreOption,
    *,
    dry_run: DryRunFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Give a group another name; its members stay."""
    act_on_accounts(
        store,
        dry_run=dry_run,
        done=f"group {name} renamed to {new}",
        act=lambda desk: desk.rename_group(name, new),
        as_json=as_json,
    )


def map_group(
    name: Name,
    store: StoreOption,
    *,
    gid: Gid = None,
    dry_run: DryRunFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Say what gid a group's members have for the kernel; without --gid, none."""
    mapped = "no gid" if gid is None else f"gid {gid}"
    act_on_accounts(
        store,
        dry_run=dry_run,
        done=f"group {name} mapped to {mapped}",
        act=lambda desk: desk.map_group(name, gid=gid),
        as_json=as_json,
    )


def delete_group(
    name: Name,
    store: StoreOption,
    *,
    dry_run: DryRunFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Delete a group; sessions whose tokens hold it end."""
    act_on_accounts(
        store,
        dry_run=dry_run,
        done=f"group {name} deleted",
        act=lambda desk: desk.delete_group(name),
        as_json=as_json,
    )


def join(account: typer.Typer, group: typer.Typer) -> None:
    """Add these verbs to the groups `account` and `group`."""
    for name, verb in (
        ("rename", rename_account), ("map", map_account), ("delete", delete_account),
        ("alias", alias_account),
    ):  # fmt: skip
        account.command(name)(verb)
    for name, verb in (
        ("rename", rename_group), ("map", map_group), ("delete", delete_group)
    ):  # fmt: skip
        group.command(name)(verb)
