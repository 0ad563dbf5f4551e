"""Many clients at once in one server, threads and asyncio mixed, and nobody mistaken.

usage: identities.py [--clients N] [--pairs N] [--acts N]

So many clients with as many uids share one server. Their blocks are entered and left on
its hardened threads, nested at random; a part of them makes a file inside, a part is
abandoned, raises, is interrupted or left in the wrong order on purpose; meanwhile an
event loop opens files and runs functions as them. Each act is checked where it happens
(the ids that the kernel holds) and afterwards (who owns each file). At the end the
threads are the server's own, memory has not grown, the trail verifies, and it has a
record for each block. Needs root.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

from stead import ClientContext, Enforcement, ProtectedServer
from stead.errors import RevertOrderError
from stead.ledger.query import Query
from stead.model.audit_record import AuditEvent

FIRST_UID = 71_000
KERNEL_THREADS = 4
AT_ONCE = 64
ODD = 20  # one item in so many is abandoned, raises, or is left in the wrong order


class Stage:
    """The server, its clients, and what is counted."""

    def __init__(self, server: ProtectedServer, folder: Path, clients: int) -> None:
        self.server = server
        self.folder = folder
        self.count: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.round = 0
        self._lock = threading.Lock()
        self.clients: list[tuple[int, ClientContext]] = []
        for uid in range(FIRST_UID, FIRST_UID + clients):
            server.accounts.add(f"client {uid}", uid=uid)
            found = server.client_for(f"client {uid}", authenticated_by="soak")
            self.clients.append((uid, found))

    def note(self, what: str, times: int = 1) -> None:
        with self._lock:
            self.count[what] += times

    def expect(self, uid: int) -> None:
        """Note a mistake unless this thread is a uid for the kernel."""
        found = os.geteuid()
        if found != uid:
            self.wrong.append(f"uid {found} where {uid} was to be")


def blocks(stage: Stage, seed: int, pairs: int, files: int) -> None:
    """Enter and leave so many blocks, on the hardened thread that this runs on."""
    chance = random.Random(seed)
    for number in range(pairs):
        uid, client = chance.choice(stage.clients)
        with client.impersonate():
            stage.expect(uid)
            if number < files:
                made = stage.folder / f"{uid}-{stage.round}-{seed}-{number}"
                os.close(os.open(made, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            if not chance.randrange(4):
                inner_uid, inner = chance.choice(stage.clients)
                with inner.impersonate():
                    stage.expect(inner_uid)
                stage.expect(uid)
                stage.note("pairs")
        stage.expect(0)
    stage.note("pairs", pairs)
    stage.note("files", min(pairs, files))


def abandoned(stage: Stage, seed: int) -> None:
    """Drop a stream in the middle of its block."""
    uid, client = random.Random(seed).choice(stage.clients)

    def stream() -> Any:
        with client.impersonate():
            stage.expect(uid)
            yield

    left = stream()
    next(left)
    del left
    gc.collect()
    stage.expect(0)
    stage.note("pairs")
    stage.note("abandoned")


def raising(stage: Stage, seed: int) -> None:
    """Leave a block by whatever ends a program."""
    chance = random.Random(seed)
    uid, client = chance.choice(stage.clients)
    kind = chance.choice([ValueError, KeyboardInterrupt, SystemExit])
    try:
        with client.impersonate():
            stage.expect(uid)
            raise kind
    except (ValueError, KeyboardInterrupt, SystemExit):
        stage.expect(0)
    stage.note("pairs")
    stage.note("raised")


def in_disorder(stage: Stage, seed: int) -> None:
    """Leave the outer block first: this item fails, and the thread goes on."""
    (_, outer), (_, inner) = random.Random(seed).sample(stage.clients, 2)
    first, second = outer.impersonate(), inner.impersonate()
    first.__enter__()
    second.__enter__()
    try:
        first.__exit__(None, None, None)
    except RevertOrderError:
        stage.note("in disorder")
    if os.geteuid() in {uid for uid, _ in stage.clients}:
        stage.wrong.append("a client where blocks were left in disorder")


ODD_ITEMS = (abandoned, raising, in_disorder)


async def on_the_loop(stage: Stage, seed: int, acts: int) -> None:
    """Do so many things as clients from one task."""
    chance, loop = random.Random(seed), asyncio.get_running_loop()
    for number in range(acts):
        uid, client = chance.choice(stage.clients)
        if number % 2:
            found = await client.aio.run(os.geteuid)
        else:
            made = stage.folder / f"{uid}-{stage.round}-loop{seed}-{number}"
            file = await client.aio.open(made, "x")
            found = os.fstat(file.fileno()).st_uid
            await loop.run_in_executor(None, file.close)
            stage.note("files")
        if found != uid:
            stage.wrong.append(f"uid {found} did what {uid} was to do")
        stage.note("acts of the loop")


async def everything(stage: Stage, pairs: int, acts: int) -> None:
    """Keep threads and loop busy until everything is done."""
    stage.round += 1
    loop, executor = asyncio.get_running_loop(), stage.server.executor()
    each = 50
    items = max(1, pairs // each)
    files = acts // 2 // items
    room = asyncio.Semaphore(AT_ONCE)

    async def item(seed: int) -> None:
        async with room:
            await loop.run_in_executor(executor, blocks, stage, seed, each, files)
            if not seed % ODD:
                odd = ODD_ITEMS[seed // ODD % len(ODD_ITEMS)]
                try:
                    await loop.run_in_executor(executor, odd, stage, seed)
                except RevertOrderError:
                    stage.note("items that failed")

    tasks = [on_the_loop(stage, -seed, acts // 2 // 8) for seed in range(1, 9)]
    await asyncio.gather(*tasks, *map(item, range(1, items + 1)))


def memory() -> int:
    """Return what this process holds, in KiB."""
    for line in Path("/proc/self/status").read_text("ascii").splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1])
    return 0


def mistaken_owners(folder: Path) -> list[str]:
    """Return the files that belong to somebody else than made them."""
    return [
        made.name
        for made in folder.iterdir()
        if made.stat().st_uid != int(made.name.partition("-")[0])
    ]


def uids_of_threads() -> set[str]:
    """Return every uid that any thread of this process has."""
    found: set[str] = set()
    for status in Path("/proc/self/task").glob("*/status"):
        text = status.read_text("ascii")
        found |= set(text.partition("Uid:")[2].splitlines()[0].split())
    return found


def problems(stage: Stage, before: int) -> list[str]:
    """Return everything that is not as it should be."""
    found = [*stage.wrong]
    found += [f"`{name}` has another owner" for name in mistaken_owners(stage.folder)]
    made = sum(1 for _ in stage.folder.iterdir())
    if made != stage.count["files"]:
        found.append(f"{made} files, and {stage.count['files']} were made")
    if uids_of_threads() != {"0"}:
        found.append(f"threads have uids {sorted(uids_of_threads())}")
    after = memory()
    if after > 1.5 * before + 64 * 1024:
        found.append(f"memory grew from {before} to {after} KiB")
    stage.server.trail.verify()
    asked = Query(event=AuditEvent.IMPERSONATION_ENTERED)
    entered = sum(1 for _ in stage.server.trail.find(asked))
    expected = stage.count["pairs"] + 2 * stage.count["in disorder"]
    if entered != expected:
        found.append(f"{entered} blocks in the trail, and {expected} were entered")
    return found


def main() -> int:
    """Read the arguments, run it, and tell what came of it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--pairs", type=int, default=100_000)
    parser.add_argument("--acts", type=int, default=10_000)
    given = parser.parse_args()
    if os.geteuid() != 0:
        print("the soak test needs root: the kernel judges real uids")
        return 1
    with tempfile.TemporaryDirectory(prefix="stead-soak-") as name:
        place = Path(name)
        place.chmod(0o711)
        (place / "store").mkdir(mode=0o700)
        (place / "files").mkdir()
        (place / "files").chmod(0o1777)
        with ProtectedServer(
            "soak",
            place / "store" / "soak.db",
            enforcement=Enforcement.KERNEL,
            kernel_threads=KERNEL_THREADS,
        ) as server:
            stage = Stage(server, place / "files", given.clients)
            asyncio.run(everything(stage, 1_000, 64))
            before, began = memory(), time.monotonic()
            asyncio.run(everything(stage, given.pairs, given.acts))
            took = time.monotonic() - began
            print(f"{dict(stage.count)} in {took:.0f} s")
            found = problems(stage, before)
    print("\n".join(found) or "nobody was mistaken for anybody")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
