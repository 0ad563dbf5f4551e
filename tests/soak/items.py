"""The items that threads do for `identity_server.py`, each checked where it happens."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import random
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.soak.covering import Cover, Own

from stead import ClientContext, effective_token
from stead.errors import AccessDeniedError, RevertOrderError
from stead.monitor import context
from stead.monitor.context import FrameKind
from stead.privileged.system_uids import DEFAULT_GUARD_UID

FIRST_UID = 71_000
PAIRS = 250
NESTED = 4  # one block in so many has another client's inside
KEPT = 50  # one file in so many stays, for whoever looks afterwards
ACTS = 5  # what one round of a file's life asks the kernel


@dataclass
class Report:
    """What one item did.

    Attributes:
        mark: the correlation of its records.
        count: how often it did what.
        expected: which records the trail holds of it, and how many.
        kept: the files that it left.
        wrong: what was not as it should be.
    """

    mark: str = ""
    count: Counter[str] = field(default_factory=Counter)
    expected: dict[str, int] = field(default_factory=dict)
    kept: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def tell(self) -> None:
        """Print it, in one piece: a reader after a kill finds whole lines or none."""
        opened = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - names alone
        fields: dict[str, Any] = {"memory": memory(), "opened": opened}
        for name in ("mark", "count", "expected", "kept", "wrong"):
            fields[name] = getattr(self, name)
        sys.stdout.write(json.dumps(fields) + "\n")
        sys.stdout.flush()


def memory() -> int:
    """Return what this process holds, in KiB."""
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") // 1024


def expect(report: Report, client: ClientContext) -> None:
    """Note a mistake unless this thread is the client, to the kernel and to Stead."""
    uid = uid_of(client)
    ids = (os.getresuid(), os.getresgid())
    if ids != ((DEFAULT_GUARD_UID, uid, 0),) * 2:
        report.wrong.append(f"ids {ids} where {uid} was to be")
    if effective_token().user != client.sid:
        report.wrong.append(f"token of {effective_token().user} for {uid}")


def expect_nobody(report: Report) -> None:
    """Note a mistake unless this thread is the server, in an item that is nobody."""
    ids = (os.getresuid(), os.getresgid(), os.getgroups() == _GROUPS)
    if ids != ((0, 0, 0), (0, 0, 0), True):
        report.wrong.append(f"ids {ids} outside of every block")
    frame = context.current_frame()
    if frame is None or frame.kind is not FrameKind.HANDLER:
        report.wrong.append(f"{frame} is in force outside of every block")


_GROUPS = os.getgroups()


def uid_of(client: ClientContext) -> int:
    """Return the uid of a client, which its name says."""
    return int(client.name.rpartition(" ")[2])


def settle(report: Report, covers: list[Cover | Own], kind: str) -> Report:
    """Add up what was entered; each must have been left."""
    for cover in covers:
        report.count[f"pairs {kind}"] += cover.left
        if cover.entered != cover.left:
            report.wrong.append(f"{cover.entered} entered and {cover.left} left")
    told = sum(cover.recorded for cover in covers)
    report.expected["IMPERSONATION_ENTERED"] = told
    return report


def covers_of(clients: list[ClientContext]) -> list[Cover | Own]:
    """Return what enters blocks: the first client's are its own operation's."""
    return [Own(clients[0]), *map(Cover, clients[1:])]


def kernel_blocks(
    folder: Path, clients: list[ClientContext], seed: int, rounds: int
) -> Report:
    """Enter and leave blocks on the hardened thread that this runs on."""
    chance, report = random.Random(seed), Report()
    covers = covers_of(clients)
    files = set(chance.sample(range(PAIRS), min(PAIRS, rounds)))
    for number in range(PAIRS):
        own, other = chance.sample(covers, 2)
        with own.block():
            expect(report, own.client)
            if number in files:
                name = f"{uid_of(own.client)}-{clients[0].subject.correlation}-{number}"
                life_of_a_file(report, folder / name, own, other)
            elif not chance.randrange(NESTED):
                with other.block():
                    expect(report, other.client)
                expect(report, own.client)
        expect_nobody(report)
    return settle(report, covers, "on hardened threads")


def life_of_a_file(
    report: Report, path: Path, own: Cover | Own, other: Cover | Own
) -> None:
    """Make a file, see whose it is, have another refused, read it and take it away."""
    made = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    status = os.fstat(made)
    os.close(made)
    uid = uid_of(own.client)
    if (status.st_uid, status.st_gid) != (uid, uid):
        report.wrong.append(f"`{path.name}` is of {status.st_uid}, {status.st_gid}")
    with other.block():
        expect(report, other.client)
        for act in (lambda: os.open(path, os.O_RDONLY), path.unlink):
            try:
                act()
                report.wrong.append(
                    f"{uid_of(other.client)} got `{path.name}` of {uid}, "
                    f"{os.getresuid()}"
                )
            except PermissionError:
                report.count["refused"] += 1
    expect(report, own.client)
    os.close(os.open(path, os.O_RDONLY))
    if hash(path.name) % KEPT:
        path.unlink()
    else:
        report.kept.append(path.name)
    report.count["acts on hardened threads"] += ACTS


def thread_blocks(folder: Path, clients: list[ClientContext], seed: int) -> Report:
    """Enter and leave blocks on an ordinary thread, by token alone."""
    chance, report = random.Random(seed), Report()
    covers = covers_of(clients)
    for number in range(PAIRS):
        own, other = chance.sample(covers, 2)
        with own.block():
            expect_token(report, own.client)
            if not chance.randrange(NESTED):
                with other.block():
                    expect_token(report, other.client)
                expect_token(report, own.client)
            if not number:
                expect_tripwire(report, folder)
        expect_nobody(report)
    return settle(report, covers, "on threads")


def expect_token(report: Report, client: ClientContext) -> None:
    """Note a mistake unless Stead takes this thread for the client."""
    if effective_token().user != client.sid:
        report.wrong.append(f"token of {effective_token().user} for {client.name}")


def expect_tripwire(report: Report, folder: Path) -> None:
    """Note a mistake unless a raw act is refused here."""
    try:
        os.close(os.open(folder, os.O_RDONLY))
        report.wrong.append("a raw act was done as the server in a client's block")
    except AccessDeniedError:
        report.count["raw acts refused"] += 1


# --- what goes wrong on purpose -------------------------------------------------------


def abandoned(clients: list[ClientContext], _: float, report: Report) -> None:
    """Drop a stream in the middle of its block."""
    client = clients[0]

    def stream() -> Any:
        with client.impersonate():
            expect(report, client)
            yield

    left = stream()
    next(left)
    del left
    gc.collect()
    expect_nobody(report)
    report.count["abandoned"] += 1
    report.expected["IMPERSONATION_ENTERED"] = 1


def raising(clients: list[ClientContext], kind: float, report: Report) -> None:
    """Leave a block by whatever ends a program."""
    errors = (ValueError, KeyboardInterrupt, SystemExit)
    with contextlib.suppress(*errors), clients[0].impersonate():
        expect(report, clients[0])
        raise errors[int(kind * len(errors))]
    expect_nobody(report)
    report.count["raised"] += 1
    report.expected["IMPERSONATION_ENTERED"] = 1


def in_disorder(clients: list[ClientContext], _: float, report: Report) -> None:
    """Leave the outer block first: this item fails, and the thread goes on."""
    outer, inner = clients[:2]
    first, second = outer.impersonate(), inner.impersonate()
    first.__enter__()
    second.__enter__()
    try:
        first.__exit__(None, None, None)
        report.wrong.append("blocks were left in disorder, and nobody said so")
    except RevertOrderError:
        report.count["in disorder"] += 1
    if os.geteuid() != DEFAULT_GUARD_UID:
        report.wrong.append(f"uid {os.geteuid()} where blocks were left in disorder")
    report.expected["IMPERSONATION_ENTERED"] = 2


ODD_ITEMS = (abandoned, raising, in_disorder)
