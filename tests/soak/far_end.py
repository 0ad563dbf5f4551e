"""What soaks have in common whose clients go on to other machines.

Each client is a thread that acts until it is told to stop. What the far end says of
each act is tallied, and compared with what it should be.
"""

from __future__ import annotations

import argparse
import gc
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Protocol

from stead.testing.postgres import Postgres


class Acting(Protocol):
    """A client."""

    def run(self, stop: threading.Event) -> None:
        """Act until it is told to stop."""


@dataclass
class Tally:
    """What was done, and what was not as it should be."""

    done: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, kind: str, account: str) -> None:
        with self.lock:
            self.done[kind] += 1
            self.done[f"{kind} of {account}"] += 1

    def expect(self, expected: object, actual: object, what: str) -> None:
        """Note a difference."""
        if expected != actual:
            with self.lock:
                self.faults.append(f"{what}: {actual!r} in place of {expected!r}")


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - only counted


def act(clients: Sequence[Acting], seconds: float) -> None:
    """Let all clients act at once, for so long."""
    stop = threading.Event()
    threads = [threading.Thread(target=client.run, args=(stop,)) for client in clients]
    for thread in threads:
        thread.start()
    stop.wait(seconds)
    stop.set()
    for thread in threads:
        thread.join()


def look_for_leftovers(before: tuple[int, int], tally: Tally) -> None:
    """See that sessions that ended left neither threads nor descriptors."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        gc.collect()
        now = threading.active_count(), descriptors()
        if now[0] <= before[0] + 2 and now[1] <= before[1] + 4:
            return
        time.sleep(0.2)
    tally.expect(before, now, "threads and descriptors")


def expect_rows(database: Postgres, accounts: Iterable[str], tally: Tally) -> None:
    """Count rows where they lie: each account has as many as were written for it."""
    said = database.execute("select owner, count(*) from notes group by owner")
    rows = {owner: int(count) for owner, _, count in (r.partition("|") for r in said)}
    for account in accounts:
        wanted = tally.done[f"rows of {account}"]
        tally.expect(wanted, rows.get(account, 0), f"rows of {account}")


def run(
    soak: Callable[[argparse.Namespace, ExitStack], Tally],
    parser: argparse.ArgumentParser,
    kinds: Sequence[str],
) -> int:
    """Read the arguments, run a soak and tell how it went; return the exit code.

    Args:
        soak: what is run.
        parser: knows its own arguments; gets those that all have.
        kinds: the acts, each of which has to have been done.
    """
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    if os.geteuid() != 0:
        print("this soak needs root, for the file server")
        return 1
    begun = time.monotonic()
    with ExitStack() as stack:
        tally = soak(given, stack)
    said = ", ".join(f"{tally.done[kind]} {kind}" for kind in kinds)
    print(f"{given.clients} clients: {said} in {time.monotonic() - begun:.0f} s")
    faults = list(tally.faults[:20])
    faults += [f"no {kind} at all" for kind in kinds if not tally.done[kind]]
    for fault in faults:
        print(f"WRONG: {fault}")
    return 1 if faults else 0
