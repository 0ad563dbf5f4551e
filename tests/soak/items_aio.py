"""The items that asyncio's tasks do for `identity_server.py`."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from tests.soak.items import PAIRS, Report, uid_of

from stead import ClientContext, effective_token
from stead.errors import KernelRefusedError, SteadError
from stead.monitor import context


async def in_steps(clients: list[ClientContext], mark: str) -> Report:
    """Be three clients in turn in three tasks: each step is entered and left."""
    report = Report(mark)

    async def steps(client: ClientContext) -> None:
        for _ in range(PAIRS):
            await asyncio.sleep(0)
            if effective_token().user != client.sid:
                report.wrong.append(f"a step of {client.name} is somebody else")
        report.count["pairs in steps"] += PAIRS

    await asyncio.gather(*(client.carry(steps)(client) for client in clients))
    if context.raw_frame() is not None:
        report.wrong.append("somebody is in force between the steps")
    report.expected["IMPERSONATION_ENTERED"] = len(clients)
    return report


async def in_workers(folder: Path, clients: list[ClientContext], mark: str) -> Report:
    """Have files opened and a function run in the clients' own processes.

    What is killed under an act makes it an error, which is none of the client's doing;
    what it answers must be right.
    """
    report, (own, other) = Report(mark), clients[:2]
    uid = uid_of(own)
    path = folder / f"{uid}-{mark}-worker"
    try:
        ids = await own.aio.run(os.getresuid)
        if ids != (uid, uid, uid):
            report.wrong.append(f"ids {ids} of a worker of {uid}")
        report.count["acts in workers"] += 1
        file = await own.aio.open(path, "x")
        status = os.fstat(file.fileno())
        await asyncio.to_thread(file.close)
        path.chmod(0o600)
        report.kept.append(path.name)
        if (status.st_uid, status.st_gid) != (uid, uid):
            report.wrong.append(f"`{path.name}` is of {status.st_uid}")
        report.count["acts in workers"] += 1
        await expect_refused(report, own, other, path)
        await asyncio.to_thread(lambda: own.open(path).close())
        report.count["acts in workers"] += 1
    except SteadError as error:
        report.count[f"cut off: {type(error).__name__}"] += 1
    return report


async def expect_refused(
    report: Report, own: ClientContext, other: ClientContext, path: Path
) -> None:
    """Note a mistake unless the kernel refuses another the file."""
    try:
        (await other.aio.open(path)).close()
        report.wrong.append(f"{other.name} got the file of {own.name}")
    except KernelRefusedError:
        report.count["refused"] += 1
        report.count["acts in workers"] += 1
