"""`stead account expires`, `hours`, `must-change`, `change-password` and such."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from stead.cli.changing import Change, Name, changes, say
from stead.cli.opening import opened
from stead.cli.output import JsonFlag, StoreOption, errors_are_lines
from stead.cli.typed_passwords import FromStdin, ask_new, ask_old
from stead.errors import InvalidNameError
from stead.model.logon_hours import LogonHours

When = Annotated[
    str,
    typer.Argument(
        help="`never`, a day such as 2027-01-01 (from its beginning, in UTC), or a "
        "time such as 2027-01-01T08:00+01:00."
    ),
]
Hours = Annotated[
    str,
    typer.Argument(help="`always`, `never`, or such as `mon-fri 08-18, sat` in UTC."),
]


@changes
def expires(name: Name, when: When) -> Change:
    """Say from when an account may log on no more; its sessions end now."""
    end = _read_time(when)
    shown = "never ends" if end is None else f"ends {end.isoformat()}"
    return Change(f"account {name} {shown}", lambda desk: desk.times.set_end(name, end))


@changes
def hours(name: Name, text: Hours) -> Change:
    """Say in which hours an account may log on; its sessions end now."""
    meant = LogonHours.from_string(text)
    done = f"account {name} may log on: {meant}"
    return Change(done, lambda desk: desk.times.set_hours(name, meant))


@changes
def must_change(name: Name) -> Change:
    """Have a password changed by its owner before it logs anybody on."""
    done = f"account {name} must change its password"
    return Change(done, lambda desk: desk.passwords.require_change(name))


@changes
def password_lasts(
    name: Name,
    *,
    lasts: Annotated[
        bool, typer.Option("--yes/--no", help="Whether it may grow old.")
    ] = True,
) -> Change:
    """Let a password grow older than the server's policy allows, as a service's."""
    done = f"the password of {name} {'may' if lasts else 'may not'} grow old"
    return Change(done, lambda desk: desk.times.let_password_last(name, lasts=lasts))


def change_password(
    name: Name,
    store: StoreOption,
    *,
    stdin: FromStdin = False,
    as_json: JsonFlag = False,
) -> None:
    """Change a password with the old one: also one that must be changed first.

    With --stdin, the first line is the old one and the second the new one.
    """
    with (
        errors_are_lines(),
        ask_old(stdin=stdin) as old,
        ask_new(stdin=stdin) as new,
        opened(store) as (server, client),
    ):
        server.accounts_for(client).change_password(name, old, new)
    say({"done": f"account {name} has a new password"}, as_json=as_json)


def _read_time(text: str) -> datetime | None:
    if text == "never":
        return None
    try:
        read = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidNameError(
            f"`{text[:80]}` is no time", advice="such as 2027-01-01, or `never`"
        ) from None
    return read if read.tzinfo is not None else read.replace(tzinfo=UTC)


def join(account: typer.Typer) -> None:
    """Add these verbs to the group `account`."""
    for name, verb in (
        ("expires", expires), ("hours", hours), ("must-change", must_change),
        ("password-lasts", password_lasts), ("change-password", change_password),
    ):  # fmt: skip
        account.command(name)(verb)
