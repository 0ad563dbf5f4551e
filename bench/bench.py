"""Measuring: each thing in turn with what it is compared to, and a table of it all."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from goals import goal_of

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
        self.notes: list[str] = []

    def compare(
        self,
        what: str,
        act: Callable[[], object],
        *,
        to: tuple[str, Callable[[], object]] | None = None,
        each: int = 1,
        turns: int = 1,
    ) -> None:
        """Measure one thing, in turn with what it is compared to.

        Args:
            what: its name.
            act: does it.
            to: the name of what it is compared to, and what does that.
            each: how often `act`, and what it is compared to, do it by themselves.
            turns: how many times the usual rounds, for what varies by itself.
        """
        acts = [act] if to is None else [act, to[1]]
        times = [calibrated(one) for one in acts]
        samples: list[list[float]] = [[] for _ in acts]
        for _ in range(self.rounds * turns):
            for one, number, found in zip(acts, times, samples, strict=True):
                found.append(timed(one, number) / each)
        medians = [statistics.median(found) for found in samples]
        bare = None if to is None else (to[0], medians[1])
        self.lines.append(Line(what, medians[0], bare))

    def compare_all(
        self,
        what: str,
        act: Callable[[], object],
        to: Mapping[str, Callable[[], object]],
        *,
        each: int = 1,
    ) -> None:
        """Measure one thing in turn with several; a line for each of those."""
        acts = [act, *to.values()]
        times = [calibrated(one) for one in acts]
        samples: list[list[float]] = [[] for _ in acts]
        for _ in range(self.rounds):
            for one, number, found in zip(acts, times, samples, strict=True):
                found.append(timed(one, number) / each)
        ours, *others = [statistics.median(found) for found in samples]
        for name, seconds in zip(to, others, strict=True):
            self.lines.append(Line(what, ours, (name, seconds)))
        if not to:
            self.lines.append(Line(what, ours))

    def compare_new(
        self,
        what: str,
        make: Callable[[], Sequence[Any]],
        acts: Mapping[str, tuple[Callable[[Any], Any], Callable[[Any], object]]],
    ) -> None:
        """Measure what is done with things that were never seen before.

        Args:
            what: its name.
            make: makes new things.
            acts: names, the first of them ours; for each what makes of a thing what it
                is done with, out of the measured time, and what does it.
        """
        samples: dict[str, list[float]] = {name: [] for name in acts}
        for _ in range(self.rounds):
            for name, (prepare, act) in acts.items():
                things = [prepare(thing) for thing in make()]
                began = time.perf_counter()
                for thing in things:
                    act(thing)
                took = time.perf_counter() - began
                samples[name].append(took / len(things))
        ours, *others = [statistics.median(found) for found in samples.values()]
        names = list(acts)[1:]
        for name, seconds in zip(names, others, strict=True):
            self.lines.append(Line(what, ours, (name, seconds)))
        if not names:
            self.lines.append(Line(what, ours))

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
        head = (
            "what",
            "median",
            "per second",
            "compared to",
            "median",
            "ratio",
            "goal",
        )
        yield layout(*head)
        yield "-" * len(layout(*head))
        for line in self.lines:
            name, seconds = line.bare or ("", 0.0)
            ratio = line.seconds / seconds if seconds else 0.0
            yield layout(
                line.what,
                spelled(line.seconds),
                f"{1 / line.seconds:,.0f}",
                name,
                spelled(seconds) if seconds else "",
                f"{ratio:.3g}" if seconds else "",
                promised(line.what, name, line.seconds, ratio),
            ).rstrip()
        yield from self.notes
        for reason in self.left_out:
            yield f"left out: {reason}"


def promised(what: str, to: str, seconds: float, ratio: float) -> str:
    """Return what a line is to be, and whether it is; nothing if nothing is said."""
    goal = goal_of(what, to)
    if goal is None:
        return ""
    shown = f"{goal.most:.3g}" if goal.is_ratio else spelled(goal.most)
    return f"{shown}: {'kept' if goal.is_kept(seconds, ratio) else 'MISSED'}"


def layout(*columns: str) -> str:
    """Return one line of the table."""
    what, median, rate, bare, other, ratio, goal = columns
    row = f"{what:44} {median:>11} {rate:>12}  {bare:36} {other:>11} {ratio:>8}"
    return f"{row}  {goal}"


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
