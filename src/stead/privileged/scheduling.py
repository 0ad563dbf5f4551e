"""Give up what lets a server go before others: its clients are not to inherit it.

A priority passes to whatever a process forks or executes. What sets a process *below*
others is kept, since whoever restrained the server restrained what it starts. So are
the processors it may run on: any process may choose among them anew, up to its cpuset
(sched_setaffinity(2)).
"""

from __future__ import annotations

import errno
import os
import resource
from pathlib import Path
from typing import Final

from stead.errors import LauncherUnavailableError
from stead.privileged.syscalls import call, words_of

_ORDINARY_OR_BELOW: Final = frozenset(
    {os.SCHED_OTHER, os.SCHED_BATCH, os.SCHED_IDLE},
)
_IO_OF_PROCESS: Final = 1
_IO_CLASS_SHIFT: Final = 13
_IO_IDLE: Final = 3
_IO_NONE: Final = 0
_OOM: Final = Path("/proc/self/oom_score_adj")


def give_up_priority() -> None:
    """Be scheduled, and killed for want of memory, no later than ordinary processes.

    1. The scheduling policy, if it is a real-time one.
    2. A negative nice value.
    3. The I/O priority (ioprio_set(2)), unless it is the idle one.
    4. How far a process may raise the first two again by itself (getrlimit(2)).
    5. What spares it when memory runs out (proc_pid_oom_score_adj(5)).

    Raises:
        LauncherUnavailableError: one of them cannot be given up.
    """
    try:
        _schedule_ordinarily()
        _give_up_io_priority()
        for limit in (resource.RLIMIT_RTPRIO, resource.RLIMIT_NICE):
            resource.setrlimit(limit, (0, 0))
        give_up_sparing(_OOM)
    except OSError as error:
        raise LauncherUnavailableError(
            f"clients would have the server's priority: {words_of(error)}",
            advice="run the server with an ordinary priority",
        ) from error


def give_up_sparing(adjustment: Path) -> None:
    """Take no precedence when memory runs out."""
    if int(adjustment.read_text()) < 0:
        adjustment.write_text("0")


def _schedule_ordinarily() -> None:
    policy = os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK
    if policy not in _ORDINARY_OR_BELOW:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    if os.getpriority(os.PRIO_PROCESS, 0) < 0:
        os.setpriority(os.PRIO_PROCESS, 0, 0)


def _give_up_io_priority() -> None:
    try:
        given = call("ioprio_get", _IO_OF_PROCESS, 0)
    except OSError as error:
        if error.errno == errno.ENOSYS:
            return  # a kernel without disks
        raise
    if given >> _IO_CLASS_SHIFT not in {_IO_NONE, _IO_IDLE}:
        call("ioprio_set", _IO_OF_PROCESS, 0, _IO_NONE)
