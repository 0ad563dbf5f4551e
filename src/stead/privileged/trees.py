"""End a whole tree of processes, and know when none is left.

The calling process is a *subreaper* (prctl(2)): whatever below it loses its parent
becomes its child, so no double fork and no new session leads out of the tree. When the
kernel says that it has no child left, the tree is gone: that is one system call, and
procfs is read only while something must be ended.

Processes are held by descriptors of them (pidfd_open(2)) before they get a signal, and
looked at again then: their number may be somebody else's by now.
"""

from __future__ import annotations

import os
import signal
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from stead.privileged.syscalls import call

if TYPE_CHECKING:
    from collections.abc import Iterator
    from collections.abc import Set as AbstractSet

_PR_SET_CHILD_SUBREAPER: Final = 36
_WAIT_FOR_EVERY_KIND: Final = 0x4000_0000  # __WALL: what clone(2) made without SIGCHLD
_STOPPED_OR_DEAD: Final = frozenset("TtZXx")
_ROUNDS_OF_STOPPING: Final = 20


class ChildSignal:
    """Becomes readable when a child has ended: SIGCHLD, as a descriptor.

    It takes over the process's handler of SIGCHLD and its wake-up descriptor.
    """

    def __init__(self) -> None:
        """Start listening."""
        self._readable, self._writable = os.pipe()
        os.set_blocking(self._readable, False)
        os.set_blocking(self._writable, False)
        signal.set_wakeup_fd(self._writable, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, _take_no_action)

    def fileno(self) -> int:
        """Return the descriptor to wait for."""
        return self._readable

    def clear(self) -> None:
        """Make it unreadable until the next one."""
        try:
            os.read(self._readable, 4096)
        except BlockingIOError:
            return

    def close(self) -> None:
        """Stop listening, in a process that was forked and has its own."""
        signal.set_wakeup_fd(-1)
        os.close(self._readable)
        os.close(self._writable)


def become_subreaper() -> None:
    """Make the calling process the parent of all its orphaned descendants.

    Raises:
        OSError: the kernel would not.
    """
    call("prctl", _PR_SET_CHILD_SUBREAPER, 1)


def reap() -> tuple[dict[int, int], bool]:
    """Take note of every child that has ended, without waiting.

    Returns:
        Exit statuses by process, as ``subprocess`` gives them; and whether any child is
        left.
    """
    ended: dict[int, int] = {}
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG | _WAIT_FOR_EVERY_KIND)
        except ChildProcessError:
            return ended, False
        if not pid:
            return ended, True
        ended[pid] = os.waitstatus_to_exitcode(status)


def kill_descendants(
    spared: AbstractSet[int] = frozenset(), *, above: int | None = None
) -> int:
    """Kill every process below this one, in one round; then they are to be reaped.

    1. Stop whatever runs, again and again until nothing new is found: what is stopped
       forks no more, and fills the number of processes that its user may have.
    2. Kill them all, children before their parents: an orphan has another parent, and
       would be taken for another process.

    What was forked in the last moment is found by the next round.

    Args:
        spared: children that are left alone, with everything below them.
        above: below which process, of those below this one; this one itself if it is
            not given.

    Returns:
        How many were found; those that have ended but were not reaped are among them.
    """
    for _ in range(_ROUNDS_OF_STOPPING):
        running = [
            process
            for process in _descendants(spared, above)
            if process.state not in _STOPPED_OR_DEAD
        ]
        if not running:
            break
        for process in running:
            _send(process, signal.SIGSTOP)
    found = _descendants(spared, above)
    for process in reversed(found):
        _send(process, signal.SIGKILL)
    return len(found)


@dataclass(frozen=True, slots=True)
class _Process:
    """What procfs says of a process; see proc_pid_stat(5)."""

    pid: int
    parent: int
    started: int
    state: str


def _descendants(spared: AbstractSet[int], above: int | None) -> list[_Process]:
    """List what is below a process, parents before their children."""
    children: dict[int, list[_Process]] = defaultdict(list)
    for process in _processes():
        children[process.parent].append(process)
    found: list[_Process] = []
    parents = [os.getpid() if above is None else above]
    while parents:
        for process in children.pop(parents.pop(), ()):
            if process.pid not in spared:
                found.append(process)
                parents.append(process.pid)
    return found


def _processes() -> Iterator[_Process]:
    for name in os.listdir("/proc"):  # noqa: PTH208  # thousands of them
        process = _read(int(name)) if name.isdecimal() else None
        if process is not None:
            yield process


def _read(pid: int) -> _Process | None:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123  # thousands of them
            text = file.read()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name before may hold anything, blanks and parentheses too.
    fields = text.rpartition(b")")[2].split()
    return _Process(pid, int(fields[1]), int(fields[19]), fields[0].decode())


def _send(process: _Process, number: signal.Signals) -> None:
    try:
        held = os.pidfd_open(process.pid)
    except OSError:
        return  # it has ended and was reaped
    try:
        now = _read(process.pid)
        if now is None or (now.parent, now.started) != (
            process.parent,
            process.started,
        ):
            return
        signal.pidfd_send_signal(held, number)
    except ProcessLookupError:
        return
    finally:
        os.close(held)


def _take_no_action(*_signal: object) -> None:
    """Handle SIGCHLD, so that the wake-up descriptor is written to."""
