"""`stead session`: the logon sessions of every process that shares a store."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import typer

from stead.authority.roster import FoundSession
from stead.cli.changing import Name, say
from stead.cli.opening import opened
from stead.cli.output import (
    DryRunFlag,
    JsonFlag,
    StoreOption,
    errors_are_lines,
    show,
)
from stead.errors import InvalidNameError, SteadError
from stead.model.luid import Luid

session = typer.Typer(
    help="Logon sessions of every process that shares a store.", no_args_is_help=True
)

LogonId = Annotated[str, typer.Argument(help="Its number, such as 0x1002a.")]
_SILENT: Final = 30_000_000_000
"""Nanoseconds without a sign of life after which a process is called silent."""


@session.command("list")
def list_sessions(store: StoreOption, *, as_json: JsonFlag = False) -> None:
    """List sessions, the oldest first; the last second's may be missing."""
    with errors_are_lines(), opened(store) as (server, client):
        found = server.sessions_for(client).list()
    now = time.time_ns()
    rows = [_row(one, now) for one in found]
    show(rows, as_json=as_json, lines=lambda: [_line(row) for row in rows])


@session.command("end")
def end_session(
    logon_id: LogonId,
    store: StoreOption,
    *,
    dry_run: DryRunFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """End one session, of whichever process, within a second."""
    with errors_are_lines(), opened(store) as (server, client):
        number = _number(logon_id)
        if dry_run:
            server.accounts_for(client).require_may_change()
            answer = {"would": f"session {number} ended"}
        else:
            record = server.sessions_for(client).end(number)
            answer = {"done": f"session {number} of {record.name} ended"}
    say(answer, as_json=as_json)


@session.command("end-all")
def end_all(
    name: Name,
    store: StoreOption,
    *,
    dry_run: DryRunFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """End every session of an account, in every process, within a second."""
    with errors_are_lines(), opened(store) as (server, client):
        if dry_run:
            server.accounts_for(client).require_may_change()
            answer: dict[str, Any] = {"would": f"sessions of {name} ended"}
        else:
            count = server.sessions_for(client).end_all(name)
            said = f"{count} {'session' if count == 1 else 'sessions'} of {name} ended"
            answer = {"done": said, "sessions": count}
    say(answer, as_json=as_json)


def _number(text: str) -> Luid:
    try:
        return Luid(int(text, 0))
    except (ValueError, SteadError):
        raise InvalidNameError(
            f"`{text[:80]}` is no number of a session",
            advice="`stead session list` shows them, such as 0x1002a",
        ) from None


def _row(found: FoundSession, now: int) -> dict[str, Any]:
    record, process = found.record, found.process
    return {
        "logon_id": str(record.logon_id),
        "name": record.name,
        "sid": str(record.user),
        "logon_type": record.logon_type.name.lower(),
        "package": record.package,
        "authenticated_by": record.authenticated_by,
        "opened_at": _time(record.opened_at),
        "server": process.name,
        "host": process.host,
        "pid": process.pid,
        "seen_at": _time(found.seen_at),
        "silent": now - found.seen_at > _SILENT,
    }


def _line(row: dict[str, Any]) -> str:
    where = f"{row['server']} on {row['host']} pid {row['pid']}"
    how = f"{row['logon_type']} by {row['package']}"
    silent = "  gives no sign of life" if row["silent"] else ""
    begun = row["opened_at"]
    return f"{row['logon_id']}  {row['name']}  {how}  since {begun}  {where}{silent}"


def _time(nanoseconds: int) -> str:
    return datetime.fromtimestamp(nanoseconds // 10**9, UTC).isoformat()
