"""What things cost here: one table of medians, and ratios to something bare.

usage: run.py [--quick]

Each line is measured many times in turn with what it is compared to; the median is
shown, and so is how many times the bare thing it takes. A machine that does other work
meanwhile slows both, so trust the ratios further than the numbers. What needs root is
left out, and said, without it. Where the project promises something, the line ends with
that, and whether this run keeps it (`goals`).
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import brokered
import identities
import judging
import ledgers
import listing
import logons
import negotiating
import second_hop
import serving
import starts
import threads
import tickets
import trail
import workers
from bench import ROUNDS, Bench

import codec


@contextmanager
def private_folder() -> Iterator[Path]:
    """Give a folder that clients may pass and nobody else may write."""
    with tempfile.TemporaryDirectory(prefix="stead-bench-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        yield folder


def main(arguments: list[str]) -> int:
    """Measure everything and print the table."""
    bench = Bench(3 if "--quick" in arguments else ROUNDS)
    identities.measure(bench)
    judging.measure(bench)
    codec.measure(bench)
    listing.measure(bench)
    negotiating.measure(bench)
    second_hop.measure(bench)
    with private_folder() as folder:
        ledgers.measure(bench, folder)
        tickets.measure(bench, folder)
        serving.measure(bench, folder)
        logons.measure(bench, folder)
        trail.measure(bench, folder, 1_000_000 if bench.rounds >= ROUNDS else 100_000)
        if os.geteuid() == 0:
            threads.measure_kernel(bench, folder)
            workers.measure(bench, folder)
            brokered.measure(bench, folder)
            starts.measure(bench)
        else:
            bench.leave_out("hardened threads, workers, starts", "they need root")
    print("\n".join(bench.table()))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
