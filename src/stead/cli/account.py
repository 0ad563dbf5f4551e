"""`stead account`, `stead group`, `stead privilege`: the account desk."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from getpass import getpass
from typing import Annotated, Any, Final

import typer

from stead.authority.ports import Account, Group
from stead.cli.opening import opened
from stead.cli.output import (
    DryRunFlag,
    JsonFlag,
    StoreOption,
    errors_are_lines,
    show,
)
from stead.errors import InvalidRequestError
from stead.model.logon_hours import ALWAYS
from stead.model.privilege import LogonRight, Privilege
from stead.model.secret import Secret
from stead.server.administration import Administration, right_named

account = typer.Typer(help="Accounts of a store.", no_args_is_help=True)
group = typer.Typer(help="Groups of a store and their members.", no_args_is_help=True)
privilege = typer.Typer(help="Privileges and account rights.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="The account's or group's name.")]
Member = Annotated[
    str, typer.Argument(help="A name, `uid 1000`, or a SID such as S-1-22-1-1000.")
]
Right = Annotated[str, typer.Argument(help="Such as SeBackupPrivilege.")]
Uid = Annotated[int | None, typer.Option(help="What the kernel knows it by.")]
Gid = Annotated[int | None, typer.Option(help="Its group for the kernel.")]
FromStdin = Annotated[
    bool, typer.Option("--stdin", help="Read one line instead of asking, for programs.")
]

_LONGEST_LINE: Final = 4096


def act_on_accounts(
    store: str,
    *,
    dry_run: bool,
    done: str,
    act: Callable[[Administration], object],
    as_json: bool,
) -> None:
    """Do one change for whoever runs this, or say whether they might."""
    with errors_are_lines(), opened(store) as (server, client):
        desk = server.accounts_for(client)
        if dry_run:
            desk.require_may_change()
            answer = {"would": done}
        else:
            answer = {"done": done} if act(desk) is not False else {"nothing": done}
    show(answer, as_json=as_json, lines=lambda: [_sentence(answer)])


def _sentence(answer: dict[str, str]) -> str:
    ((how, what),) = answer.items()
    if how == "done":
        return what
    return f"would: {what}" if how == "would" else f"nothing to do: {what}"


@account.command("add")
def add_account(
    name: Name,
    store: StoreOption,
    *,
    uid: Uid = None,
    gid: Gid = None,
    dry_run: DryRunFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Add an account; with a uid the kernel can judge as it."""
    mapped = "" if uid is None else f" for uid {uid}"
    act_on_accounts(
        store,
        dry_run=dry_run,
        done=f"account {name} added{mapped}",
        act=lambda desk: desk.add(name, uid=uid, gid=gid),
        as_json=as_json,
    )


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
        act_on_accounts(
            store,
            dry_run=dry_run,
            done=f"account {name} has a new password",
            act=lambda desk: desk.set_password(name, secret, must_change=must_change),
            as_json=as_json,
        )


def ask_old(*, stdin: bool) -> Secret:
    """Return the password there is, from a line or from whoever sits there."""
    return _line() if stdin else Secret(_asked("Old password: "))


def ask_new(*, stdin: bool) -> Secret:
    """Return a new password, from a line or from whoever sits at the terminal."""
    if stdin:
        return _line()
    told = _asked("New password: ")
    if told != getpass("Once more: "):
        raise InvalidRequestError("the two passwords differ", advice="try again")
    return Secret(told)


def _line() -> Secret:
    return Secret(sys.stdin.buffer.readline(_LONGEST_LINE).rstrip(b"\r\n"))


def _asked(prompt: str) -> str:
    if not sys.stdin.isatty():
        raise typer.BadParameter("no terminal to ask at; use --stdin")
    return getpass(prompt)


@account.command("list")
def list_accounts(store: StoreOption, *, as_json: JsonFlag = False) -> None:
    """List accounts."""
    with errors_are_lines(), opened(store) as (server, client):
        desk = server.accounts_for(client)
        known, locked = desk.have_password(), desk.are_locked()
        rows = [
            _account(one, has_password=one.sid in known, is_locked=one.sid in locked)
            for one in desk.list()
        ]
    show(rows, as_json=as_json, lines=lambda: [_account_line(row) for row in rows])


@group.command("add")
def add_group(
    name: Name,
    store: StoreOption,
    *,
    gid: Gid = None,
    dry_run: DryRunFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Add a group; with a gid its members are in it for the kernel too."""
    act_on_accounts(
        store,
        dry_run=dry_run,
        done=f"group {name} added",
        act=lambda desk: desk.add_group(name, gid=gid),
        as_json=as_json,
    )


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
        [_group(g, members) for g, members in found],
        as_json=as_json,
        lines=lambda: [
            f"{g.name}  {g.sid}  members: {', '.join(members) or 'none'}"
            for g, members in found
        ],
    )


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


def _offer_account(
    verb: str, about: str, done: str, act: Callable[[Administration, str], object]
) -> None:
    """Add a verb that changes one account."""

    @account.command(verb, help=about)
    def change(
        name: Name,
        store: StoreOption,
        *,
        dry_run: DryRunFlag = False,
        as_json: JsonFlag = False,
    ) -> None:
        said = done.format(name=name)
        act_on_accounts(
            store,
            dry_run=dry_run,
            done=said,
            act=lambda desk: act(desk, name),
            as_json=as_json,
        )


def _offer_member(
    verb: str, about: str, done: str, act: Callable[[Administration, str, str], object]
) -> None:
    """Add a verb that changes who is in a group."""

    @group.command(verb, help=about)
    def change(
        name: Name,
        member: Member,
        store: StoreOption,
        *,
        dry_run: DryRunFlag = False,
        as_json: JsonFlag = False,
    ) -> None:
        act_on_accounts(
            store,
            dry_run=dry_run,
            done=done.format(name=name, member=member),
            act=lambda desk: act(desk, name, member),
            as_json=as_json,
        )


def _offer_right(
    verb: str,
    about: str,
    done: str,
    act: Callable[[Administration, str, Privilege | LogonRight], object],
) -> None:
    """Add a verb that changes who holds a privilege or right."""

    @privilege.command(verb, help=about)
    def change(
        holder: Member,
        right: Right,
        store: StoreOption,
        *,
        dry_run: DryRunFlag = False,
        as_json: JsonFlag = False,
    ) -> None:
        act_on_accounts(
            store,
            dry_run=dry_run,
            done=done.format(holder=holder, right=right),
            act=lambda desk: act(desk, holder, right_named(right)),
            as_json=as_json,
        )


_offer_account(
    "disable",
    "Disable an account; its sessions end everywhere within a second.",
    "account {name} disabled",
    Administration.disable,
)
_offer_account(
    "enable",
    "Enable an account again.",
    "account {name} enabled",
    Administration.enable,
)
_offer_account(
    "no-password",
    "Take an account's password, so that none logs it on.",
    "account {name} has no password",
    Administration.remove_password,
)
_offer_account(
    "unlock",
    "Forget an account's failed logons, which had locked it.",
    "account {name} is not locked",
    Administration.unlock,
)
_offer_member(
    "add-member",
    "Put an account, group or uid into a group, from its next session on.",
    "{member} is a member of {name}",
    Administration.add_member,
)
_offer_member(
    "remove-member",
    "Take somebody out of a group; sessions that hold it end within a second.",
    "{member} is no member of {name}",
    Administration.remove_member,
)
_offer_right(
    "grant",
    "Give a privilege or right, from the holder's next session on.",
    "{holder} holds {right}",
    Administration.grant,
)
_offer_right(
    "revoke",
    "Take a privilege or right; sessions that hold it end within a second.",
    "{holder} does not hold {right}",
    Administration.revoke,
)


def _account(found: Account, *, has_password: bool, is_locked: bool) -> dict[str, Any]:
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


def _account_line(row: dict[str, Any]) -> str:
    uid = "no uid" if row["uid"] is None else f"uid {row['uid']} gid {row['gid']}"
    flags = [flag for flag in ("password", "locked", "disabled") if row[flag]]
    if row["expires_at"] is not None:
        flags.append(f"ends {row['expires_at']}")
    if row["logon_hours"] != "always":
        flags.append(f"logs on {row['logon_hours']} UTC")
    return "  ".join([row["name"], row["sid"], uid, *flags])


def _group(found: Group, members: list[str]) -> dict[str, Any]:
    return {
        "name": found.name,
        "sid": str(found.sid),
        "gid": found.gid,
        "members": members,
    }
