"""A server that acts for many clients at once until it is told to end, or killed.

usage: identity_server.py FOLDER SEED WEIGHTS

Started by `identities.py`, over a store that others use as well. 64 lanes, one for each
client, do one item after another: pairs of enter and leave on hardened threads, on
ordinary threads and in the steps of asyncio's tasks, files as the kernel judges them,
functions and files in the clients' own processes. Each item is reported in one line
when the trail holds it. WEIGHTS is JSON: how often each kind of item is wanted.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import random
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from stead import ClientContext, Enforcement, ProtectedServer, effective_token
from stead.errors import RevertOrderError, SteadError

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.soak.items import (
    FIRST_UID,
    ODD_ITEMS,
    Report,
    kernel_blocks,
    thread_blocks,
)
from tests.soak.items_aio import in_steps, in_workers

KERNEL_THREADS = 8
ODD = 20  # one item in so many is abandoned, raises, or is left in the wrong order


class Lanes:
    """What all lanes of this server share."""

    def __init__(
        self, server: ProtectedServer, folder: Path, seed: int, weights: dict[str, int]
    ) -> None:
        self.server = server
        self.folder = folder
        self.mark = f"{os.getpid()}-{seed}"
        self.chance = random.Random(seed)
        self.weights = weights
        self.is_ending = False
        self.numbers = itertools.count(1)
        self.pool = ThreadPoolExecutor(64, "lane")
        self.clients: list[ClientContext] = [
            server.client_for(account.name, authenticated_by="soak")
            for account in server.accounts.list()
            if account.uid is not None and account.uid >= FIRST_UID
        ]
        self.handed: dict[str, list[ClientContext]] = {}
        offer(self)

    def marked(self, lane: int) -> tuple[str, list[ClientContext]]:
        """Return a new mark, and three clients whose records it ties together."""
        mark = f"{self.mark}-{next(self.numbers)}"
        own = self.clients[lane]
        others = [client for client in self.clients if client is not own]
        chosen = [own, *self.chance.sample(others, 2)]
        return mark, [client.with_correlation(mark) for client in chosen]


def offer(lanes: Lanes) -> None:
    """Offer the operations whose records cover what threads do.

    Arguments of operations are plain: the two other clients are handed over aside.
    """
    server, folder = lanes.server, lanes.folder

    @server.operation("kernel")
    def kernel(client: ClientContext, seed: int, rounds: int) -> Any:
        clients = lanes.handed.pop(client.subject.correlation)
        executor = server.executor()
        return executor.submit(kernel_blocks, folder, clients, seed, rounds).result()

    @server.operation("thread")
    def thread(client: ClientContext, seed: int) -> Any:
        clients = lanes.handed.pop(client.subject.correlation)
        return thread_blocks(folder, clients, seed)


async def one_item(lanes: Lanes, lane: int) -> Report:
    """Do one item of a kind that chance chooses."""
    mark, clients = lanes.marked(lane)
    chance = lanes.chance
    kinds = ("kernel", "thread", "steps", "workers")
    (kind,) = chance.choices(kinds, [lanes.weights[name] for name in kinds])
    seed = chance.getrandbits(32)
    if kind == "steps":
        return await in_steps(clients, mark)
    if kind == "workers":
        return await in_workers(lanes.folder, clients, mark)
    loop = asyncio.get_running_loop()
    lanes.handed[mark] = clients
    arguments: dict[str, Any] = {"seed": seed}
    if kind == "kernel":
        arguments["rounds"] = lanes.weights["rounds"]

    def call() -> Any:
        return lanes.server.call(clients[0], kind, **arguments)

    report: Report = await loop.run_in_executor(lanes.pool, call)
    report.expected |= {"OPERATION_REQUESTED": 1, "OPERATION_ENDED": 1}
    report.mark = mark
    return report


async def odd_item(lanes: Lanes, lane: int) -> Report:
    """Leave blocks as they should not be left, on a hardened thread."""
    mark, clients = lanes.marked(lane)
    act = lanes.chance.choice(ODD_ITEMS)
    report = Report(mark)
    executor = lanes.server.executor()
    loop = asyncio.get_running_loop()
    try:
        await loop.run_in_executor(
            executor, act, clients, lanes.chance.random(), report
        )
    except RevertOrderError:
        report.count["items that failed"] += 1
    return report


async def one_lane(lanes: Lanes, lane: int) -> None:
    """Do items until the end is near."""
    own = lanes.server.token
    while not lanes.is_ending:
        is_odd = not lanes.chance.randrange(ODD)
        report = await (odd_item if is_odd else one_item)(lanes, lane)
        if effective_token() != own:
            report.wrong.append("a lane is not the server after its item")
        report.tell()


async def everything(lanes: Lanes) -> None:
    """Run all lanes; whoever closes standard input ends them."""
    loop = asyncio.get_running_loop()

    def end() -> None:
        sys.stdin.read()
        loop.call_soon_threadsafe(setattr, lanes, "is_ending", True)

    threading.Thread(target=end, daemon=True).start()
    print(json.dumps({"ready": os.getpid()}), flush=True)
    lanes_of_all = [one_lane(lanes, lane) for lane in range(len(lanes.clients))]
    await asyncio.gather(*lanes_of_all)


def uids_of_threads() -> list[str]:
    """Return every uid that any thread of this process has."""
    found: set[str] = set()
    for status in Path("/proc/self/task").glob("*/status"):
        text = status.read_text("ascii")
        found |= set(text.partition("Uid:")[2].splitlines()[0].split())
    return sorted(found)


def main() -> None:
    """Open the server, work, and say how it ended."""
    folder, seed, weights = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    try:
        with ProtectedServer(
            "soak",
            folder / "store" / "soak.db",
            enforcement=Enforcement.KERNEL,
            kernel_threads=KERNEL_THREADS,
        ) as server:
            lanes = Lanes(server, folder / "files", seed, json.loads(weights))
            asyncio.run(everything(lanes))
            print(json.dumps({"uids": uids_of_threads()}), flush=True)
            lanes.pool.shutdown()
    except SteadError as error:
        print(json.dumps({"failed": f"{error}: {error.advice}"}), flush=True)
        raise
    print(json.dumps({"ended": os.getpid()}), flush=True)


if __name__ == "__main__":
    main()
