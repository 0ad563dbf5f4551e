"""Functions that a launcher preloads and runs as a client; see test_launching.py.

Each answers with one line of JSON on the descriptor that it is called with.
"""

import contextlib
import ctypes
import errno
import json
import os
import sys

import naive

_WAIT_FOR_EVERY_KIND = 0x4000_0000
_PTRACE_ATTACH = 16
_PTRACE_DETACH = 17
_PR_GET_DUMPABLE = 3


def answer(work, value):
    os.write(work, json.dumps(value).encode() + b"\n")


def who(work):
    library = ctypes.CDLL(None)
    answer(
        work,
        {
            "uids": os.getresuid(),
            "gids": os.getresgid(),
            "groups": os.getgroups(),
            "environment": dict(os.environ),
            "dumpable": library.prctl(_PR_GET_DUMPABLE),
            "descriptors": [str(n) for n in range(100) if _is_open(n)],
        },
    )
    return 7


def fails(_work):
    raise RuntimeError("broken")


def leaves(_work):
    sys.exit("leaving")


def returns_no_number(_work):
    return "no number"


def multiplies(_work):
    while True:
        with contextlib.suppress(OSError):  # there are as many as there may be
            os.fork()


def _is_open(number):
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def tried(act):
    try:
        result = act()
    except OSError as error:
        return errno.errorcode[error.errno]
    return "done" if result is None else result


def waits(work):
    os.read(work, 1)
    return 0


def looks_into(work):
    """Try to trace and read each process whose number is asked for, line by line."""
    with os.fdopen(work, "rb") as questions:
        for line in iter(questions.readline, b""):
            pid = int(line)
            answer(
                work,
                {
                    "trace": tried(lambda pid=pid: trace(pid)),
                    "memory": tried(lambda pid=pid: read(f"/proc/{pid}/mem")),
                    "descriptors": tried(lambda pid=pid: look(f"/proc/{pid}/fd")),
                },
            )
    return 0


def trace(pid):
    naive.raw(naive.PTRACE, _PTRACE_ATTACH, pid)
    os.waitpid(pid, _WAIT_FOR_EVERY_KIND)
    naive.raw(naive.PTRACE, _PTRACE_DETACH, pid)


def read(path):
    os.close(os.open(path, os.O_RDONLY))


def look(path):
    os.close(os.open(path, os.O_RDONLY | os.O_DIRECTORY))
