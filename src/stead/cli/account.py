"""`stead account`: the accounts of a store, at the account desk."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from stead.authority.ports import Account
from stead.cli import account_times
from stead.cli.changing import Change, Gid, Name, New, changes, make
from stead.cli.opening import opened
from stead.cli.output import (
    DryRunFlag,
    JsonFlag,
    StoreOption,
    errors_are_lines,
    show,
)
from stead.cli.typed_passwords import FromStdin, ask_new
from stead.model.logon_hours import ALWAYS
from stead.model.secret import Secret

account = typer.Typer(help="Accounts of a store.", no_args_is_help=True)

Uid = Annotated[int | None, typer.Option(help="What the kernel knows it by.")]


@account.command("add")
@changes
def add(name: Name, *, uid: Uid = None, gid: Gid = None) -> Change:
    """Add an account; with a uid the kernel can judge as it."""
    mapped = "" if uid is None else f" for uid {uid}"
    done = f"account {name} added{mapped}"
    return Change(done, lambda desk: desk.add(name, uid=uid, gid=gid))


@account.command("password")
def set_password(
    name: Name,
    store: StoreOption,
    *,
    stdin: FromStdin = False,
    must_change: Annotated[
        bool, typer.Option(help="Its owner must change it before it logs anybody on.")
    ] = False,
    dry_run: DryRunFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Give an account a password, asked for twice and shown to nobody.

    It is never taken from the command line, where everybody on the host could read it.
    """
    with errors_are_lines(), Secret(b"") if dry_run else ask_new(stdin=stdin) as secret:
        change = Change(
            f"account {name} has a new password",
            lambda desk: desk.set_password(name, secret, must_change=must_change),
        )
        make(change, store, dry_run=dry_run, as_json=as_json)


@account.command("list")
def list_accounts(store: StoreOption, *, as_json: JsonFlag = False) -> None:
    """List accounts."""
    with errors_are_lines(), opened(store) as (server, client):
        desk = server.accounts_for(client)
        known, locked = desk.have_password(), desk.are_locked()
        rows = [
            _row(one, has_password=one.sid in known, is_locked=one.sid in locked)
            for one in desk.list()
        ]
    show(rows, as_json=as_json, lines=lambda: [_line(row) for row in rows])


@account.command("disable")
@changes
def disable(name: Name) -> Change:
    """Disable an account; its sessions end everywhere within a second."""
    return Change(f"account {name} disabled", lambda desk: desk.disable(name))


@account.command("enable")
@changes
def enable(name: Name) -> Change:
    """Enable an account again."""
    return Change(f"account {name} enabled", lambda desk: desk.enable(name))


@account.command("no-password")
@changes
def no_password(name: Name) -> Change:
    """Take an account's password, so that none logs it on."""
    done = f"account {name} has no password"
    return Change(done, lambda desk: desk.remove_password(name))


@account.command("unlock")
@changes
def unlock(name: Name) -> Change:
    """Forget the failed logons that lock an account, or the name of a directory."""
    return Change(f"account {name} is not locked", lambda desk: desk.unlock(name))


@account.command("rename")
@changes
def rename(name: Name, new: New) -> Change:
    """Give an account another name; what it may do stays."""
    done = f"account {name} renamed to {new}"
    return Change(done, lambda desk: desk.rename(name, new))


@account.command("map")
@changes
def map_(name: Name, *, uid: Uid = None, gid: Gid = None) -> Change:
    """Say what the kernel knows an account by; without --uid, by nothing."""
    mapped = "no uid" if uid is None else f"uid {uid}"
    done = f"account {name} mapped to {mapped}"
    return Change(done, lambda desk: desk.map(name, uid=uid, gid=gid))


@account.command("delete")
@changes
def delete(name: Name) -> Change:
    """Delete an account with its password, rights and memberships."""
    return Change(f"account {name} deleted", lambda desk: desk.delete(name))


@account.command("alias")
@changes
def alias(
    name: Name,
    issuer: Annotated[str, typer.Argument(help="A realm, a domain, a URL.")],
    alias: Annotated[str, typer.Argument(help="What it calls them: a name or a SID.")],
    *,
    remove: Annotated[bool, typer.Option("--remove", help="Take it back.")] = False,
) -> Change:
    """Let whoever an issuer calls so be the account; compared exactly."""
    what = f"{alias} of {issuer}"
    if remove:
        done = f"account {name} is no more {what}"
        return Change(done, lambda desk: desk.remove_alias(name, issuer, alias))
    done = f"{what} is {name}"
    return Change(done, lambda desk: desk.add_alias(name, issuer, alias))


@account.command("aliases")
def list_aliases(name: Name, store: StoreOption, *, as_json: JsonFlag = False) -> None:
    """List by what names of other issuers an account is known."""
    with errors_are_lines(), opened(store) as (server, client):
        found = server.accounts_for(client).aliases(name)
    rows = [{"issuer": each.issuer, "alias": each.name} for each in found]
    show(
        rows,
        as_json=as_json,
        lines=lambda: [f"{row['alias']}  of {row['issuer']}" for row in rows],
    )


@account.command("locked")
def list_locked(store: StoreOption, *, as_json: JsonFlag = False) -> None:
    """List the names that failed logons have locked: accounts', directories', any."""
    with errors_are_lines(), opened(store) as (server, client):
        found = server.accounts_for(client).locked_names()
    rows = [
        {
            "name": each.name,
            "sid": None if each.account is None else str(each.account.sid),
            "until": datetime.fromtimestamp(each.until // 10**9, UTC).isoformat(),
        }
        for each in found
    ]
    show(rows, as_json=as_json, lines=lambda: [_locked_line(row) for row in rows])


def _locked_line(row: dict[str, str | None]) -> str:
    whose = row["sid"] or "no account here"
    return f"{row['name']}  {whose}  locked until {row['until']}"


def _row(found: Account, *, has_password: bool, is_locked: bool) -> dict[str, Any]:
    return {
        "name": found.name,
        "sid": str(found.sid),
        "uid": found.uid,
        "gid": found.gid,
        "disabled": found.is_disabled,
        "password": has_password,
        "locked": is_locked,
        "expires_at": _time(found.expires_at),
        "logon_hours": str(found.logon_hours or ALWAYS),
        "password_lasts": found.password_lasts,
    }


def _time(nanoseconds: int | None) -> str | None:
    if nanoseconds is None:
        return None
    return datetime.fromtimestamp(nanoseconds // 10**9, UTC).isoformat()


def _line(row: dict[str, Any]) -> str:
    uid = "no uid" if row["uid"] is None else f"uid {row['uid']} gid {row['gid']}"
    flags = [flag for flag in ("password", "locked", "disabled") if row[flag]]
    if row["expires_at"] is not None:
        flags.append(f"ends {row['expires_at']}")
    if row["logon_hours"] != "always":
        flags.append(f"logs on {row['logon_hours']} UTC")
    return "  ".join([row["name"], row["sid"], uid, *flags])


account_times.join(account)
