"""What may happen to a server that writes its trail, each as a case of `trail.py`.

Each case runs producers (`trail_producers.py`) over one store or several, makes its
trouble, and has a `Judge` look at what came of it.
"""

from __future__ import annotations

import errno
import os
import random
import select
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Final

from tests.soak.disks import RealDisk, fill, small_disk
from tests.soak.faulty_disk import FaultyDisk
from tests.soak.trail_judge import Judge
from tests.soak.trail_producers import TASKS, THREADS, Orders, serve

SECONDS: Final = 60.0
"""How long anything may take before it counts as hung; never how long it should."""

PER_STORE: Final = 25
"""After so many lives there is a new store: each life's whole chain is verified."""

_TRIES: Final = 100
_ERRORS: Final = (errno.EIO, errno.ENOSPC, errno.EROFS)
_lives = count(1)


class Life:
    """One life of a server, in a process of its own."""

    def __init__(
        self, judge: Judge, *, has_steps: bool = False, naive: str = ""
    ) -> None:
        """Fork it. Nothing here has threads or open stores to be copied."""
        orders = Orders(judge.store, judge.acts, next(_lives), has_steps, naive)
        self._judge = judge
        self._left = b""
        self.lines: list[str] = []
        self._told, told = os.pipe()
        ended, self._end = os.pipe()
        self._pid = os.fork()
        if not self._pid:
            os.close(self._told)
            os.close(self._end)
            serve(orders, told, ended)
        os.close(told)
        os.close(ended)

    def listen(
        self, seconds: float, until: Callable[[str], bool] = lambda _: False
    ) -> bool:
        """Hear what it tells for a time, or until a line; say whether that came."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            if not select.select([self._told], [], [], left)[0]:
                return False
            heard = os.read(self._told, 1 << 16)
            if not heard:
                return False
            if any(until(line) for line in self._take(heard)):
                return True
        return False

    def _take(self, heard: bytes) -> list[str]:
        *lines, self._left = (self._left + heard).split(b"\n")
        told = [line.decode() for line in lines]
        self._judge.hear(told)
        return told

    def works(self) -> bool:
        """Wait until something is acknowledged."""
        return self.listen(SECONDS, lambda line: line.startswith("ok"))

    def is_refused(self, seconds: float = SECONDS) -> bool:
        """Wait until something is refused."""
        return self.listen(seconds, lambda line: line.startswith("no"))

    def acknowledged(self, seconds: float) -> int:
        """Return how much is acknowledged in a time."""
        before = self._judge.count["acknowledged"]
        self.listen(seconds)
        return self._judge.count["acknowledged"] - before

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Have it stop between two system calls, and go on afterwards."""
        os.kill(self._pid, signal.SIGSTOP)
        os.waitpid(self._pid, os.WUNTRACED)
        yield
        os.kill(self._pid, signal.SIGCONT)

    def kill(self) -> None:
        """Kill it with -9, and hear what it still had told."""
        os.kill(self._pid, signal.SIGKILL)
        self._reap()

    def end(self, *, must_succeed: bool = True) -> None:
        """Have it end; it is a problem if it does not, or not in order if it must."""
        os.close(self._end)
        self._end = -1
        began = time.monotonic()
        self.listen(SECONDS)
        if time.monotonic() > began + SECONDS - 1:
            self._judge.problems.append("a server did not end")
            os.kill(self._pid, signal.SIGKILL)
        status = self._reap()
        if status and must_succeed:
            self._judge.problems.append(f"a server ended with {status}")

    def _reap(self) -> int:
        while heard := os.read(self._told, 1 << 16):
            self._take(heard)
        os.close(self._told)
        if self._end >= 0:
            os.close(self._end)
        self._judge.count["lives"] += 1
        return os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])


@contextmanager
def judged(folder: Path, name: str) -> Iterator[Judge]:
    """Give a judge of a new store in a folder, which looks once more at the end."""
    acts = folder / f"{name}-acts"
    store = folder / f"{name}-store"
    acts.mkdir()
    store.mkdir(mode=0o700)
    yield Judge(store / "soak.db", acts)


def _expect_work(judge: Judge, life: Life, when: str) -> None:
    if not life.works():
        judge.problems.append(f"nothing is acknowledged {when}")


def _expect_refusals(judge: Judge, life: Life, where: str) -> None:
    """Nothing is acknowledged but what was written, and not yet told, before."""
    if not life.is_refused():
        judge.problems.append(f"nothing is refused {where}")
    if life.acknowledged(0.3) > THREADS + TASKS:
        judge.problems.append(f"records are written {where}")


def _expect_end(judge: Judge, *, has_steps: bool = False) -> None:
    """Have a last life begin, work and end in order; then look at everything."""
    life = Life(judge, has_steps=has_steps)
    _expect_work(judge, life, "at the end")
    life.end()
    judge.end()


# --- the cases ------------------------------------------------------------------------


def kills(
    folder: Path, times: int, *, has_steps: bool = False, naive: str = ""
) -> list[Judge]:
    """Kill servers at random moments, some while they start, some two at once."""
    chance, judges = random.Random(times), []
    for begun in range(0, times, PER_STORE):
        with judged(folder, f"kills{begun}") as judge:
            judges.append(judge)
            for _ in range(min(PER_STORE, times - begun)):
                _one_kill(judge, chance, has_steps=has_steps, naive=naive)
                if judge.is_found_out if naive else judge.problems:
                    return judges
            _expect_end(judge, has_steps=has_steps)
    return judges


def _one_kill(
    judge: Judge, chance: random.Random, *, has_steps: bool, naive: str
) -> None:
    lives = [
        Life(judge, has_steps=has_steps, naive=naive)
        for _ in range(chance.choice((1, 1, 1, 2)))
    ]
    if chance.randrange(10):
        for life in lives:
            life.works()
    for life in lives:
        life.listen(chance.uniform(0, 0.3))
        life.kill()
        judge.count["kills"] += 1
    if judge.store.exists():
        judge.look()


def clock_steps(folder: Path, times: int) -> list[Judge]:
    """Set the clock all the time, back and forth, and kill as well."""
    judges = kills(folder, times, has_steps=True)
    for judge in judges:
        if not judge.count["backward in time"]:
            judge.problems.append("the clock never went back")
    return judges


def full_disk(folder: Path, times: int) -> list[Judge]:
    """Fill the disk under load, kill there now and then, and make room again."""
    chance = random.Random(times)
    with judged(folder, "full") as judge, small_disk(judge.store.parent, 8):
        life = Life(judge)
        for number in range(times):
            _expect_work(judge, life, "before the disk is full")
            ballast = fill(judge.store.parent)
            for _ in range(_TRIES):  # the log may have some room of its own
                if life.is_refused(0.2):
                    break
                fill(judge.store.parent)
            else:
                judge.problems.append("nothing is refused on a full disk")
            life.listen(chance.uniform(0, 0.3))
            if not chance.randrange(3):
                life.kill()
                judge.count["kills"] += 1
                life = Life(judge)
                life.listen(0.3)
            ballast.unlink()
            life = _again(judge, life)
            judge.count["troubles"] += 1
            if number % 10 == 9:
                life = _onto_new_room(judge, life)
        life.end()
        _expect_end(judge)
    return [judge]


def _again(judge: Judge, life: Life) -> Life:
    """Wait until it works again; one that could not even start is started again.

    So is one whose disk could not flush: it believes that disk no more.
    """
    if life.listen(3.0, lambda line: line.startswith("ok")):
        return life
    life.kill()
    life = Life(judge)
    _expect_work(judge, life, "after the trouble")
    return life


def _onto_new_room(judge: Judge, life: Life) -> Life:
    """Begin a new trail, before the small disk is full of records alone."""
    life.end()
    judge.end()
    for each in judge.store.parent.iterdir():
        each.unlink()
    judge.begin_anew()
    return Life(judge)


def read_only(folder: Path, times: int) -> list[Judge]:
    """Have the kernel make the disk read-only under load; then mount it anew.

    Not in the middle of a flush: there ext4 says that it is done, and it is not.
    """
    with (
        judged(folder, "read-only") as judge,
        RealDisk(folder / "image", judge.store.parent) as disk,
    ):
        for _ in range(times):
            life = Life(judge)
            _expect_work(judge, life, "on a sound disk")
            life.listen(0.2)
            with life.stopped():
                disk.abort()
            _expect_refusals(judge, life, "on a read-only disk")
            life.kill()
            stillborn = Life(judge)
            if stillborn.acknowledged(0.3):
                judge.problems.append("a server works on a read-only disk")
            stillborn.kill()
            disk.mend()
            judge.look()
            judge.count["troubles"] += 1
        _expect_end(judge)
    return [judge]


def write_errors(
    folder: Path,
    times: int,
    *,
    kinds: tuple[str, ...] = ("write", "flush", "write flush"),
    endings: tuple[str, ...] = ("", "power", "kill", "order"),
) -> list[Judge]:
    """Have writes or flushes fail below the store, always or now and then.

    Meanwhile servers are killed, lose power, or are told to end.
    """
    chance = random.Random(times)
    with judged(folder, "errors") as judge, FaultyDisk(judge.store.parent) as disk:
        life = Life(judge)
        _expect_work(judge, life, "on a sound disk")
        for number in range(times):
            what = chance.choice(kinds)
            odds = chance.choice((1.0, 0.2, 0.02))
            disk.fail(chance.choice(_ERRORS), what, odds)
            if odds == 1.0:
                _expect_refusals(judge, life, f"where each {what} fails")
            life.listen(chance.uniform(0.05, 0.3))
            life = _perhaps_another(judge, life, disk, chance.choice(endings))
            judge.count["errors"] += disk.fail(0)
            life = _again(judge, life)
            judge.count["troubles"] += 1
            if number % PER_STORE == PER_STORE - 1:
                life = _onto_new_room(judge, life)
                _expect_work(judge, life, "over a new store")
        life.end()
        _expect_end(judge)
    return [judge]


def _perhaps_another(judge: Judge, life: Life, disk: FaultyDisk, ending: str) -> Life:
    """End a life in the middle of the trouble, or not; return the one that goes on."""
    if not ending:
        return life
    if ending == "order":
        life.end(must_succeed=False)
    else:
        life.kill()
        judge.count["kills"] += 1
    if ending == "power":
        judge.count["writes gone"] += disk.cut()
    life = Life(judge)
    life.listen(0.1)
    return life


def power_cuts(folder: Path, times: int, *, naive: str = "") -> list[Judge]:
    """Kill the server and lose what was not flushed, as a machine without power."""
    chance = random.Random(times)
    with judged(folder, "power") as judge, FaultyDisk(judge.store.parent) as disk:
        for number in range(times):
            life = Life(judge, naive=naive)
            _expect_work(judge, life, "after the power is back")
            life.listen(chance.uniform(0, 0.3))
            life.kill()
            judge.count["kills"] += 1
            judge.count["writes gone"] += disk.cut()
            judge.look()
            if judge.is_found_out if naive else judge.problems:
                return [judge]
            if number % PER_STORE == PER_STORE - 1:
                _onto_new_room(judge, Life(judge)).end()
        _expect_end(judge)
    return [judge]


CASES: Final[dict[str, Callable[[Path, int], list[Judge]]]] = {
    "kills": kills,
    "clock steps": clock_steps,
    "full disk": full_disk,
    "read-only": read_only,
    "write errors": write_errors,
    "power cuts": power_cuts,
    "naive: early": lambda folder, times: kills(folder, times, naive="early"),
    "naive: unflushed": lambda folder, times: power_cuts(
        folder, times, naive="unflushed"
    ),
}
