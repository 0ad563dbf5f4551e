"""`stead demo`: a server that acts as its clients, for real, and then its trail."""

from __future__ import annotations

import importlib.util
import itertools
import json
import os
import secrets
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

import typer

from stead.cli.demo_clients import Ask, Heard, as_uid, ask_by_pipe, ask_by_web
from stead.cli.demo_live import BEGUN, follow
from stead.cli.demo_stage import STOPPING, Stage, staged
from stead.cli.opening import opened
from stead.cli.output import errors_are_lines, printable
from stead.errors import SteadError
from stead.gates.pipe.client import PipeClient
from stead.ledger.query import Query
from stead.model.audit_record import AuditEvent, AuditRecord
from stead.model.token import ImpersonationLevel

_RAW: Final = "open a file, raw, in a block"
_CLIENTS: Final = ("alice", "bob", "carol", "dora")
_NEEDED: Final = ("fastapi", "msgspec", "sqlalchemy", "starlette", "uvicorn")
_VALUES: Final = 2
_WIDTH: Final = 140
_INTERRUPTED: Final = 130
_LEFT_OUT: Final = frozenset({
    AuditEvent.OPERATION_REQUESTED, AuditEvent.OPERATION_ENDED,
    AuditEvent.ACCOUNT_CREATED, AuditEvent.GROUP_CREATED,
    AuditEvent.GROUP_MEMBER_ADDED, AuditEvent.RIGHT_ASSIGNED,
    AuditEvent.OBJECT_CREATED, AuditEvent.HANDLE_CLOSED,
})  # fmt: skip


def demo() -> None:
    """Start a server and its clients, show who may what and why, leave nothing."""
    caught: list[int] = []
    for number in STOPPING:
        signal.signal(number, partial(_interrupt, caught))
    try:
        with errors_are_lines(), staged(_CLIENTS) as stage:
            _require_extras()
            with _serving(stage) as server:
                _introduce(stage, server)
                heard = [*_act(stage, server), *_follow(stage)]
                _show(heard)
                _explain(stage, heard)
            _show_trail(stage)
    except KeyboardInterrupt:
        caught.append(signal.SIGINT)
    if caught:  # Python swallows an interrupt that comes in a finalizer
        raise typer.Exit(_INTERRUPTED)


def _require_extras() -> None:
    """Say what is missing before a process of ours fails for want of it."""
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise SteadError(
            f"the demo's server needs {', '.join(missing)}",
            advice="pip install 'stead[all]'",
        )


def _interrupt(caught: list[int], number: int, _frame: object) -> None:
    caught.append(number)
    raise KeyboardInterrupt


@contextmanager
def _serving(stage: Stage) -> Iterator[dict[str, Any]]:
    """Run the demo's server as a process of its own."""
    sessions = {secrets.token_urlsafe(16): name for name in ("bob", "dora")}
    with subprocess.Popen(
        [sys.executable, "-m", "stead.cli.demo_server", str(stage.folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        stage.watch(process.pid)
        if process.stdin is None or process.stdout is None:
            raise SteadError("the server has no input and output")
        process.stdin.write(json.dumps(_told(stage, sessions)) + "\n")
        process.stdin.flush()
        line = process.stdout.readline()
        if not line:
            raise SteadError("the demo's server did not start; it says why above")
        by_name = {name: session for session, name in sessions.items()}
        yield json.loads(line) | {"sessions": by_name}
        process.stdin.close()
        process.wait()


def _told(stage: Stage, sessions: dict[str, str]) -> dict[str, Any]:
    """Return what the server is told of its clients, over its standard input."""
    accounts: dict[str, int | None] = dict(stage.uids)
    if not stage.is_root:
        # One uid cannot be four accounts: alice is this user, the others have none.
        accounts = dict.fromkeys(stage.uids) | {"alice": stage.uids["alice"]}
    return {
        "accounts": accounts,
        "staff": ["alice", "bob", "dora"],
        "summer": ["bob"],
        "archivists": ["alice"],
        "web_sessions": sessions,
        "passwords": stage.passwords,
    }


def _introduce(stage: Stage, server: dict[str, Any]) -> None:
    if server["enforcement"] == "kernel":
        _say("Linux judges files as the client: enforcement kernel.")
    else:
        _say("Files are NOT judged as the client here, so no file is opened for one:")
        _say("enforcement is by token only, and raw opens in a block are refused.")
        for reason in server["reasons"]:
            _say(f"  because {reason}")
    _say(f"server notes, process {server['pid']}, acts for itself as {server['sid']}")
    if stage.is_root:
        shown = ", ".join(f"{name} uid {uid}" for name, uid in stage.uids.items())
        _say(f"clients, each a process of its own: {shown}")
    else:
        _say(f"clients: alice is you (uid {os.geteuid()}); bob and dora come by web")
    _say("")


def _act(stage: Stage, server: dict[str, Any]) -> list[Heard]:
    """Let every client ask, one after the other."""
    full, least = ImpersonationLevel.IMPERSONATION, ImpersonationLevel.IDENTIFICATION
    # Without root every process is one uid, so whoever comes by pipe is alice.
    plans = [("alice", full), ("alice", least)] if not stage.is_root else [
        ("alice", full), ("bob", full), ("carol", least),
    ]  # fmt: skip
    heard: list[Heard] = []
    for name, level in plans:
        asks = _asks(stage, name, other="bob" if name == "alice" else "alice")
        act = partial(ask_by_pipe, stage.pipe, name, level, asks)
        heard += as_uid(stage.uids[name], act)
    web = [
        ("read dora.txt", "GET", str(stage.file_of("dora"))),
        ("read alice.txt", "GET", str(stage.file_of("alice"))),
        ("write the plan", "PUT", "plan: dora's line"),
    ]
    for name in ("dora",) if stage.is_root else ("dora", "bob"):
        session = server["sessions"][name]
        act = partial(ask_by_web, server["port"], name, session, web)
        heard += as_uid(stage.uids[name], act)
    return heard


def _follow(stage: Stage) -> Iterator[Heard]:
    """Let clients follow live prices; the last one loses the right in the middle."""
    names = ("alice", "bob") if stage.is_root else ("alice",)
    with PipeClient.connect(stage.pipe, server_uid={0, os.geteuid()}) as desk:
        price = itertools.count(13)
        for name in names:
            act = partial(follow, stage.dde, name, _VALUES)
            for heard in as_uid(stage.uids[name], act):
                yield heard
                if heard.asked.startswith("news") and name == names[-1]:
                    desk.call("close_prices", account=name)
                if heard.answer == BEGUN or heard.asked.startswith("news"):
                    desk.call("next_price", value=str(next(price)))


def _asks(stage: Stage, name: str, *, other: str) -> list[Ask]:
    return [
        Ask(f"read {name}.txt", "read_file", {"path": str(stage.file_of(name))}),
        Ask(f"read {other}.txt", "read_file", {"path": str(stage.file_of(other))}),
        Ask(
            _RAW,
            "read_file_raw",
            {"path": str(stage.file_of(name))},
        ),
        Ask("read the plan", "read_plan", {}),
        Ask("write the plan", "write_plan", {"line": f"plan: {name}'s line"}),
        Ask("archive (SeBackupPrivilege)", "archive", {}),
        *_logons(stage, name),
    ]


def _logons(stage: Stage, name: str) -> list[Ask]:
    """Return what somebody tries who knows a password: one's own, and a wrong one."""
    password = stage.passwords.get(name)
    if password is None:
        return []
    return [
        Ask("log on, start `id`", "run_id", {"account": name, "password": password}),
        Ask("log on by a guess", "run_id", {"account": name, "password": "guess"}),
    ]


def _show(heard: list[Heard]) -> None:
    _say("who asked what, and what they heard:")
    for row in heard:
        if row.asked != _RAW:
            mark = "granted" if row.granted else "refused"
            number = "" if row.record is None else f" (record {row.record})"
            _say(f"  {row.who:5}  {row.how:20}  {row.asked:27}  "
                 f"{mark}: {row.answer}{number}")  # fmt: skip
    _say("")
    raw = next(row for row in heard if row.asked == _RAW and row.granted)
    _say(
        "code that opens a file by itself, where the kernel does not judge the client:"
    )
    for line in raw.answer.split("; "):
        _say(f"  {line}")
    _say("")


def _explain(stage: Stage, heard: list[Heard]) -> None:
    """Show one refusal twice: what its client saw, and what an administrator sees."""
    refused = next(
        row for row in heard
        if row.asked == "write the plan" and row.who == "bob" and not row.granted
    )  # fmt: skip
    _say("one refusal, all that bob saw of it:")
    _say(f"  {refused.answer} (record {refused.record})")
    _say("and as an administrator sees it:")
    with PipeClient.connect(stage.pipe, server_uid={0, os.geteuid()}) as link:
        for line in link.call(
            "stead.explain", account="bob", name="plan", rights=["WRITE"]
        ):
            _say(f"  {line}")
    _say("")


def _show_trail(stage: Stage) -> None:
    """Show the trail from the store, the server being gone, and verify it."""
    _say("the trail, without setting up and without each operation's begin and end")
    _say(f"(`stead audit list` prints all of it; files lie in {stage.folder}):")
    with opened(str(stage.store)) as (server, me):
        trail = server.trail_for(me)
        for number, record in trail.find(Query()):
            if record.event not in _LEFT_OUT and not _is_setting_up(record):
                for line in _lines(number, record):
                    _say("  " + line.replace(f"{stage.folder}/", ""))
        found = trail.verify()
    _say(f"trail verified: {found.count} records, head {found.head.hex()[:16]}...")


def _is_setting_up(record: AuditRecord) -> bool:
    own = record.client is None and record.event is AuditEvent.OBJECT_ACCESS
    return own or record.server.name != "notes"


def _lines(number: int, record: AuditRecord) -> Iterator[str]:
    """Yield one record for the demo's screen, by names alone, its reasons below it."""
    client = "-" if record.client is None else record.client.name
    chain = " > ".join(link.name for link in record.chain)
    what = record.object_name or record.operation
    yield (
        f"#{number:<4}{record.event.name.lower():22}{record.outcome.value}  "
        f"client {client:6} server {record.server.name}  chain {chain:14}"
        + (f" object {what}" if what else "")
    ).rstrip()
    for reason in record.reasons:
        yield from textwrap.wrap(
            reason,
            _WIDTH,
            initial_indent=" " * 5,
            subsequent_indent=" " * 7,
            break_long_words=False,
            break_on_hyphens=False,
        )


def _say(line: str) -> None:
    typer.echo(printable(line))
