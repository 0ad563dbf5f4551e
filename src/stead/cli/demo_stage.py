"""Where the demo plays: a folder of its own, uids nobody has, and a janitor.

The janitor is a process that waits for the demo to end, in whatever way, even by
SIGKILL. Then it ends the demo's server and removes the folder. It is the only one who
cleans up, so that cleaning up is not something a failure can skip.
"""

from __future__ import annotations

import os
import pwd
import random
import secrets
import select
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from stead.errors import SteadError

_FIRST_UID: Final = 70_000
_LAST_UID: Final = 99_000
STOPPING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_GRACE_SECONDS: Final = 5.0
_LISTENABLE: Final = 0o711


@dataclass(frozen=True, slots=True)
class Stage:
    """Where one demo plays.

    Attributes:
        folder: the demo's own; clients may pass through and not list it.
        uids: the uid of each client by name; one and the same without root.
        is_root: whether the kernel can judge clients here.
        lifeline: the janitor watches its other end.
        passwords: of the accounts that have one.
    """

    folder: Path
    uids: dict[str, int]
    is_root: bool
    lifeline: int
    passwords: dict[str, str] = field(repr=False)

    @property
    def pipe(self) -> Path:
        """The server's local socket."""
        return self.folder / "pipe" / "notes"

    @property
    def dde(self) -> Path:
        """The local socket of its live data."""
        return self.folder / "pipe" / "dde"

    @property
    def store(self) -> Path:
        """The server's store."""
        return self.folder / "store" / "notes.db"

    def file_of(self, name: str) -> Path:
        """Return the file that only this client may read."""
        return self.folder / "files" / f"{name}.txt"

    def watch(self, pid: int) -> None:
        """Have the janitor end this process when the demo ends."""
        os.write(self.lifeline, f"{pid}\n".encode())


@contextmanager
def staged(names: tuple[str, ...]) -> Iterator[Stage]:
    """Set the stage for these clients; it is gone when the block ends."""
    is_root = os.geteuid() == 0
    folder, lifeline, janitor = _start_janitor()
    try:
        uids = _uids(names, is_root=is_root)
        passwords = {"alice": secrets.token_urlsafe(12)}
        stage = Stage(folder, uids, is_root, lifeline, passwords)
        _furnish(stage)
        yield stage
    finally:
        os.close(lifeline)
        os.waitpid(janitor, 0)


def _furnish(stage: Stage) -> None:
    stage.folder.chmod(_LISTENABLE)
    for name, mode in (("store", 0o700), ("pipe", 0o755), ("files", _LISTENABLE)):
        (stage.folder / name).mkdir()
        (stage.folder / name).chmod(mode)
    for name, uid in stage.uids.items():
        file = stage.file_of(name)
        file.touch(mode=0o600)
        file.write_text(f"{name}'s own note\n", encoding="utf-8")
        if stage.is_root:
            os.chown(file, uid, uid)


def _uids(names: tuple[str, ...], *, is_root: bool) -> dict[str, int]:
    if not is_root:
        return dict.fromkeys(names, os.geteuid())
    first = random.randrange(_FIRST_UID, _LAST_UID)  # noqa: S311 - to avoid others, not to hide
    taken = {entry.pw_uid for entry in pwd.getpwall()}
    free = (uid for uid in range(first, 2 * _LAST_UID) if uid not in taken)
    return {name: next(free) for name in names}


def fork() -> int:
    """Fork, with signals held back until it is done.

    Python runs callbacks at a fork and swallows what a signal's handler raises there.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
    try:
        return os.fork()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start_janitor() -> tuple[Path, int, int]:
    """Fork the janitor; return the folder it made, its lifeline, and its pid.

    It makes the folder as well, so that there is no moment at which a folder is there
    and nobody who will remove it.
    """
    reading, writing = os.pipe()
    answering, answers = os.pipe()
    pid = fork()
    if pid == 0:
        os.close(writing)
        os.close(answering)
        with suppress(BaseException):  # it has no one left to tell
            _janitor(reading, answers)
        os._exit(0)
    os.close(reading)
    os.close(answers)
    with os.fdopen(answering) as answer:
        folder = answer.read()
    if not folder:
        os.close(writing)
        os.waitpid(pid, 0)
        raise SteadError(
            "no temporary folder can be made", advice="check TMPDIR and the free space"
        )
    return Path(folder), writing, pid


def _janitor(lifeline: int, answer: int) -> None:
    os.setsid()
    for number in STOPPING:
        signal.signal(number, signal.SIG_IGN)
    folder = tempfile.mkdtemp(prefix="stead-demo-")
    try:
        os.write(answer, folder.encode())
        os.close(answer)
        _keep_watch(lifeline)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _keep_watch(lifeline: int) -> None:
    """Wait for the demo's end, then end what it started."""
    watched: list[int] = []
    with os.fdopen(lifeline) as told:
        for line in told:  # ends when nobody holds the other end any more
            with suppress(ProcessLookupError):
                watched.append(os.pidfd_open(int(line)))
    for process in watched:
        _end(process)


def _end(process: int) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(process, number)
        if select.select([process], [], [], _GRACE_SECONDS)[0]:
            return
