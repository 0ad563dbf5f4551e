"""The demo's clients: processes of their own, each under its own uid.

They are forked from the demo after their imports, because the interpreter may lie
below a folder that other uids cannot enter.
"""

from __future__ import annotations

import encodings.idna  # noqa: F401 - sockets look it up when it is too late to import
import http.client
import json
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote

from stead.cli.demo_stage import fork
from stead.errors import RemoteError, SteadError
from stead.gates.pipe.client import PipeClient
from stead.model.token import ImpersonationLevel

_FIRST_OWN: Final = 3  # after standard input, output and error


@dataclass(frozen=True, slots=True)
class Heard:
    """What one client asked, and all that it heard.

    Attributes:
        who: the client.
        how: how it came.
        asked: what it asked for.
        granted: whether it got it.
        answer: the answer, or the one line of a refusal.
        record: the number of the record with the reason, where it was told.
    """

    who: str
    how: str
    asked: str
    granted: bool
    answer: str
    record: int | None = None


@dataclass(frozen=True, slots=True)
class Ask:
    """One thing to ask: an operation by name with arguments, and what to call it."""

    label: str
    operation: str
    arguments: dict[str, str]


def as_uid(uid: int, act: Callable[[], Iterable[Heard]]) -> Iterator[Heard]:
    """Run `act` in a process of its own under a uid; yield what it hears.

    Raises:
        SteadError: the process failed; it says how on its standard error.
    """
    reading, writing = os.pipe()
    pid = fork()
    if pid == 0:
        status = 1
        try:
            _keep_only(writing)
            _become(uid)
            for heard in act():
                os.write(writing, json.dumps(asdict(heard)).encode() + b"\n")
            status = 0
        except (KeyboardInterrupt, OSError, SteadError) as error:
            # The demo itself was stopped, or its server is gone: no traceback's worth.
            sys.stderr.write(f"stead: a client stopped: {error or 'interrupted'}\n")
        except BaseException:  # noqa: BLE001 - the process ends here, and says why
            traceback.print_exc()
        finally:
            os._exit(status)  # nothing of the parent's clean-up runs here
    os.close(writing)
    with os.fdopen(reading) as answers:
        for line in answers:
            yield Heard(**json.loads(line))
    _, status = os.waitpid(pid, 0)
    if status != 0:
        raise SteadError(f"a client under uid {uid} failed with status {status}")


def _keep_only(descriptor: int) -> None:
    """Close what a client must not hold: the janitor's lifeline, the server's input."""
    for entry in list(Path("/proc/self/fd").iterdir()):
        held = int(entry.name)
        if held >= _FIRST_OWN and held != descriptor:
            with suppress(OSError):  # the listing's own descriptor is closed by now
                os.close(held)


def _become(uid: int) -> None:
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)


def ask_by_pipe(
    pipe: Path, who: str, level: ImpersonationLevel, asks: Sequence[Ask]
) -> list[Heard]:
    """Ask a server over its pipe, at a level, one thing after the other."""
    with PipeClient.connect(pipe, level=level, server_uid={0, os.getuid()}) as link:
        return [_ask(link, who, ask) for ask in asks]


def _ask(link: PipeClient, who: str, ask: Ask) -> Heard:
    how = f"pipe, {link.level.name.lower()}"
    try:
        value = link.call(ask.operation, **ask.arguments)
    except RemoteError as error:
        return Heard(who, how, ask.label, granted=False, answer=str(error),
                     record=error.record)  # fmt: skip
    lines = value if isinstance(value, list) else [value]
    text = "done" if value is None else "; ".join(str(line) for line in lines)
    return Heard(who, how, ask.label, granted=True, answer=text.strip())


def ask_by_web(
    port: int, who: str, session: str, asks: Sequence[tuple[str, str, str]]
) -> list[Heard]:
    """Ask the web application, as whoever the web session belongs to.

    Args:
        port: where it listens.
        who: the client.
        session: its web session.
        asks: label, `GET` a file or `PUT` the plan, and the path or line.
    """
    return [_ask_web(port, who, session, ask) for ask in asks]


def _ask_web(port: int, who: str, session: str, ask: tuple[str, str, str]) -> Heard:
    label, method, what = ask
    link = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    headers = {"authorization": f"Bearer {session}", "content-type": "application/json"}
    target = f"/file?path={quote(what)}" if method == "GET" else "/plan"
    body = None if method == "GET" else json.dumps({"line": what})
    link.request(method, target, body=body, headers=headers)
    answer = link.getresponse()
    text = answer.read().decode()
    link.close()
    if answer.status == http.HTTPStatus.OK:
        return Heard(who, "http, web session", label, granted=True, answer=text.strip())
    problem = json.loads(text) if text.startswith("{") else {}
    told = str(problem.get("title") or f"status {answer.status}")
    return Heard(who, "http, web session", label, granted=False, answer=told,
                 record=problem.get("record"))  # fmt: skip
