"""Many clients at once, threads and asyncio mixed, killed at random; nobody mistaken.

usage: identities.py [--clients N] [--pairs N] [--acts N] [--worker-acts N]

Two servers share one store (`identity_server.py`). One is steady: its memory must stay
flat, its threads its own, and what it starts is killed at random. The other is killed
itself, again and again, and started anew. That goes on until so many pairs of enter and
leave, and so many acts on files that the kernel judges, are reported as done. Each item
is checked where it happens; afterwards the owner of each file that is left, and the
trail: it verifies, holds each record of each item that was reported, and knows of each
file who asked for it. Needs root.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))

from tests.soak.items import ACTS, FIRST_UID, PAIRS  # noqa: E402 - after the path is set
from tests.soak.processes import descendants_of, left_behind  # noqa: E402 - as above

from stead import Enforcement, ProtectedServer  # noqa: E402 - as above
from stead.adapters.store import Store  # noqa: E402 - as above
from stead.ledger.canonical import read_record  # noqa: E402 - as above
from stead.ledger.chain import verify  # noqa: E402 - as above
from stead.model.audit_record import AuditEvent  # noqa: E402 - as above

SECONDS_TO_START = 60.0
SECONDS_BETWEEN_KILLS = 1.5
KILLS_OF_SERVERS = 4  # one kill in so many is a server's
SHARES = {"kernel": 0.5, "thread": 0.25, "steps": 0.25}


@dataclass
class Tally:
    """What all servers reported."""

    count: Counter[str] = field(default_factory=Counter)
    expected: dict[str, dict[str, int]] = field(default_factory=dict)
    kept: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, told: dict[str, Any]) -> None:
        """Add what one item did."""
        with self.lock:
            self.count.update(told["count"])
            self.expected[told["mark"]] = told["expected"]
            self.kept += told["kept"]
            self.wrong += told["wrong"]

    def sum_of(self, what: str) -> int:
        """Return how often anything of that name was done."""
        with self.lock:
            return sum(n for name, n in self.count.items() if name.startswith(what))


class Server:
    """One server's process, and a thread that hears what it reports."""

    def __init__(self, folder: Path, seed: int, weights: str, tally: Tally) -> None:
        self.memory: list[int] = []
        self.opened: list[int] = []
        self.uids: list[str] | None = None
        self.has_ended = False
        self.failed = ""
        self._tally = tally
        self._ready = threading.Event()
        with (folder / "store" / "server.log").open("a", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                [sys.executable, str(HERE / "identity_server.py"), str(folder),
                 str(seed), weights],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
            )  # fmt: skip
        self._thread = threading.Thread(target=self._hear, daemon=True)
        self._thread.start()

    def _hear(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if not line.endswith("\n"):
                return  # killed in the middle of a line
            told = json.loads(line)
            if "mark" in told:
                self.memory.append(told["memory"])
                self.opened.append(told["opened"])
                self._tally.add(told)
            self.uids = told.get("uids", self.uids)
            self.failed = told.get("failed", self.failed)
            self.has_ended |= "ended" in told
            if "ready" in told:
                self._ready.set()

    def wait_until_ready(self) -> bool:
        """Wait until it works; say whether it does."""
        return self._ready.wait(SECONDS_TO_START)

    def descendants(self) -> list[int]:
        """Return the processes that it has: launcher, keepers, workers."""
        return descendants_of(self.process.pid)

    def kill(self) -> None:
        """End it in the middle of whatever it does."""
        self.process.kill()
        self.process.wait()
        self._thread.join()

    def end(self) -> bool:
        """Have it end in order; say whether it did."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(SECONDS_TO_START)
        is_over = self.process.poll() == 0
        self.kill()
        return is_over and self.has_ended


def weights_of(given: argparse.Namespace) -> dict[str, int]:
    """Return how often each kind of item is wanted, and files in one item."""
    items = {
        kind: max(1, round(given.pairs * share / PAIRS))
        for kind, share in SHARES.items()
    }
    rounds = min(PAIRS, max(1, round(given.acts / ACTS / items["kernel"])))
    return {**items, "workers": max(1, given.worker_acts // 5), "rounds": rounds}


def kill_something(
    chance: random.Random, servers: list[Server], count: Counter[str]
) -> bool:
    """Kill one process with -9; say whether it was the server that may be killed."""
    steady, mortal = servers
    if not chance.randrange(KILLS_OF_SERVERS):
        mortal.kill()
        count["servers killed"] += 1
        return True
    below = chance.choice([steady, mortal]).descendants()
    if below:
        with contextlib.suppress(ProcessLookupError):
            os.kill(chance.choice(below), signal.SIGKILL)
            count["launchers, keepers and workers killed"] += 1
    return False


def work(
    folder: Path, given: argparse.Namespace, tally: Tally, kills: Counter[str]
) -> list[str]:
    """Keep both servers at work until everything is done; return what went wrong."""
    weights, chance = json.dumps(weights_of(given)), random.Random(given.seed)
    seeds = iter(range(1_000_000))

    def start() -> Server:
        return Server(folder, next(seeds), weights, tally)

    servers = [start(), start()]
    found: list[str] = []
    began = said = time.monotonic()
    while not is_done(given, tally) and not found:
        if not all(server.wait_until_ready() for server in servers):
            found.append("a server did not start")
        time.sleep(chance.uniform(0, 2 * SECONDS_BETWEEN_KILLS))
        if kill_something(chance, servers, kills):
            servers[1] = start()
        if servers[0].process.poll() is not None:
            found.append(f"the steady server ended: {servers[0].failed}")
        if time.monotonic() > said + 30:
            said = time.monotonic()
            print(
                f"{said - began:.0f} s: {dict(tally.count)} {dict(kills)}", flush=True
            )
    for server in servers:
        server.wait_until_ready()
        if not server.end() or server.uids != ["0"]:
            found.append(f"a server ended in disorder: {server.failed} {server.uids}")
    return found + growth(servers[0])


def is_done(given: argparse.Namespace, tally: Tally) -> bool:
    """Say whether everything was reported as often as asked."""
    return (
        tally.sum_of("pairs") >= given.pairs
        and tally.sum_of("acts on hardened threads") >= given.acts
        and tally.sum_of("acts in workers") >= given.worker_acts
    )


def growth(server: Server) -> list[str]:
    """Say whether a server grew, after its first tenth."""
    found = []
    for what, seen, room in (
        ("KiB of memory", server.memory, 16 * 1024),
        ("open files", server.opened, 256),
    ):
        early, late = max(seen[: len(seen) // 10 + 1]), max(seen)
        print(f"the steady server: {early} {what} at first, {late} at most")
        if late > 1.25 * early + room:
            found.append(f"{what} grew from {early} to {late}")
    return found


# --- afterwards -----------------------------------------------------------------------


def files_judged(folder: Path, tally: Tally) -> list[str]:
    """Say which files have another owner than made them, or are gone."""
    found, there = [], set()
    for made in folder.iterdir():
        status, uid = made.lstat(), int(made.name.partition("-")[0])
        there.add(made.name)
        if (status.st_uid, status.st_gid) != (uid, uid):
            found.append(f"`{made.name}` belongs to {status.st_uid}, {status.st_gid}")
    found += [f"`{name}` is gone" for name in sorted(set(tally.kept) - there)]
    print(f"{len(there)} files are left, {len(tally.kept)} of them reported")
    return found


def mark_of(name: str) -> str:
    """Return the mark of the item that made a file."""
    return "-".join(name.split("-")[1:4])


def trail_judged(folder: Path, tally: Tally) -> list[str]:
    """Verify the trail, and hold what was reported, and what was made, against it."""
    found: list[str] = []
    events: dict[str, Counter[str]] = {}
    lost = 0
    with Store.open(folder / "store" / "soak.db", create=False) as store:
        verified = verify(store.ledger.entries(), store.accounts.domain().to_bytes())
        for entry in store.ledger.entries():
            record = read_record(entry.body)
            if record.event is AuditEvent.RECORDS_LOST:
                lost += int(record.detail["lost"])
            if record.correlation:
                of_mark = events.setdefault(record.correlation, Counter())
                # Blocks may be told together (docs/adr/0102).
                of_mark[record.event.name] += int(record.detail.get("count", 1))
    print(f"{verified.count} records verified; {lost} that nobody waits for were lost")
    for mark, expected in tally.expected.items():
        there = events.get(mark, Counter())
        if any(there[name] != number for name, number in expected.items()):
            found.append(f"item {mark}: {expected} reported, {dict(there)} recorded")
    for made in (folder / "files").iterdir():
        there = events.get(mark_of(made.name), Counter())
        if not there["OPERATION_REQUESTED"] + there["HANDLE_REQUESTED"]:
            found.append(f"`{made.name}` was made by an item that is not in the trail")
    return found


def prepared(folder: Path, clients: int) -> None:
    """Make a store with the accounts, and a folder in which everybody makes files."""
    folder.chmod(0o711)
    (folder / "store").mkdir(mode=0o700)
    (folder / "files").mkdir()
    (folder / "files").chmod(0o1777)
    with ProtectedServer(
        "soak", folder / "store" / "soak.db", enforcement=Enforcement.TOKEN
    ) as server:
        for uid in range(FIRST_UID, FIRST_UID + clients):
            server.accounts.add(f"client {uid}", uid=uid)


def main() -> int:
    """Read the arguments, run it, and tell what came of it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--pairs", type=int, default=500_000)
    parser.add_argument("--acts", type=int, default=50_000)
    parser.add_argument("--worker-acts", type=int, default=2_000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    if os.geteuid() != 0:
        print("the soak test needs root: the kernel judges real uids")
        return 1
    tally, kills, began = Tally(), Counter[str](), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="stead-soak-") as name:
        folder = Path(name)
        prepared(folder, given.clients)
        found = work(folder, given, tally, kills) + tally.wrong
        print(f"{dict(tally.count)} in {time.monotonic() - began:.0f} s; {dict(kills)}")
        found += files_judged(folder / "files", tally)
        found += trail_judged(folder, tally) + left_behind(
            range(FIRST_UID, FIRST_UID + given.clients)
        )
        if found:
            print((folder / "store" / "server.log").read_text("utf-8")[-5000:])
    print("\n".join(found[:50]) or "nobody was mistaken for anybody")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
