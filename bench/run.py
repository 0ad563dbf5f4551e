"""What things cost here: one table of medians, and ratios to something bare.

usage: run.py [--quick]

Each line is measured many times in turn with what it is compared to; the median is
shown, and so is how many times the bare thing it takes. A machine that does other work
meanwhile slows both, so trust the ratios further than the numbers. What needs root is
left out, and said, without it.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import judging
import ledgers
import serving
import starts
import threads
import workers

ROUNDS = 15
SECONDS_OF_A_ROUND = 0.02


@dataclass(frozen=True)
class Line:
    """One line of the table.

    Attributes:
        what: what is measured.
        seconds: the median of one time.
        bare: what it is compared to, and the median of that; None if to nothing.
    """

    what: str
    seconds: float
    bare: tuple[str, float] | None = None


class Bench:
    """Measures, and keeps the lines.

    Args:
        rounds: how often each thing is measured.
    """

    def __init__(self, rounds: int) -> None:
        """Start with no lines."""
        self.rounds = rounds
        self.lines: list[Line] = []
        self.left_out: list[str] = []

    def compare(
        self,
        what: str,
        act: Callable[[], object],
        *,
        to: tuple[str, Callable[[], object]] | None = None,
        each: int = 1,
    ) -> None:
        """Measure one thing, in turn with what it is compared to.

        Args:
            what: its name.
            act: does it.
            to: the name of what it is compared to, and what does that.
            each: how often `act`, and what it is compared to, do it by themselves.
        """
        acts = [act] if to is None else [act, to[1]]
        times = [calibrated(one) for one in acts]
        samples: list[list[float]] = [[] for _ in acts]
        for _ in range(self.rounds):
            for one, number, found in zip(acts, times, samples, strict=True):
                found.append(timed(one, number) / each)
        medians = [statistics.median(found) for found in samples]
        bare = None if to is None else (to[0], medians[1])
        self.lines.append(Line(what, medians[0], bare))

    def add(
        self, what: str, seconds: float, *, to: tuple[str, float] | None = None
    ) -> None:
        """Add a line that was measured elsewhere, such as a rate."""
        self.lines.append(Line(what, seconds, to))

    def leave_out(self, what: str, why: str) -> None:
        """Say what is not measured here, and why."""
        self.left_out.append(f"{what}: {why}")

    def table(self) -> Iterator[str]:
        """Yield the table's lines."""
        head = ("what", "median", "per second", "compared to", "median", "ratio")
        yield layout(*head)
        yield "-" * len(layout(*head))
        for line in self.lines:
            name, seconds = line.bare or ("", 0.0)
            ratio = f"{line.seconds / seconds:.2f}" if seconds else ""
            yield layout(
                line.what,
                spelled(line.seconds),
                f"{1 / line.seconds:,.0f}",
                name,
                spelled(seconds) if seconds else "",
                ratio,
            ).rstrip()
        for reason in self.left_out:
            yield f"left out: {reason}"


def layout(*columns: str) -> str:
    """Return one line of the table."""
    what, median, rate, bare, other, ratio = columns
    return f"{what:44} {median:>11} {rate:>12}  {bare:36} {other:>11} {ratio:>8}"


def spelled(seconds: float) -> str:
    """Return a time in the unit that suits it."""
    for unit, factor in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= factor:
            return f"{seconds / factor:.2f} {unit}"
    return f"{seconds / 1e-9:.0f} ns"


def calibrated(act: Callable[[], object]) -> int:
    """Return how often to do it for one round."""
    number = 1
    while (took := timed(act, number) * number) < SECONDS_OF_A_ROUND:
        number *= 2 if took > SECONDS_OF_A_ROUND / 10 else 8
    return number


def timed(act: Callable[[], object], number: int) -> float:
    """Return the seconds of one time, of so many."""
    began = time.perf_counter()
    for _ in range(number):
        act()
    return (time.perf_counter() - began) / number


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
    judging.measure(bench)
    with private_folder() as folder:
        ledgers.measure(bench, folder)
        threads.measure_tokens(bench)
        serving.measure(bench, folder)
        if os.geteuid() == 0:
            threads.measure_kernel(bench, folder)
            workers.measure(bench, folder)
            starts.measure(bench)
        else:
            bench.leave_out("hardened threads, workers, starts", "they need root")
    print("\n".join(bench.table()))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
