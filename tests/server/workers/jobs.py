"""What the tests have workers do; loaded by the launcher before they are clients.

Some of it is what a client's own code could do: the worker's end of its socket is
descriptor 3, and nothing keeps a function from writing there.
"""

import array
import ctypes
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import namedtuple
from pathlib import Path

CHANNEL = 3
PTRACE_ATTACH = 16

Pair = namedtuple("Pair", "left right")  # noqa: PYI024 - what is refused


class ClientsOwnError(Exception):
    """An exception that the server has no class for."""


class Desk:
    """Something with methods of either kind."""

    @staticmethod
    def add(left, right):
        return left + right

    @classmethod
    def name(cls):
        return cls.__name__

    def sit(self):
        return "here"


class Box:
    """What travels as an argument."""

    def __init__(self, content):
        self.content = content


def opened(box):
    return box.content


def whoami():
    return os.getpid(), os.getresuid(), os.getresgid(), sorted(os.getgroups())


def surroundings():
    umask = os.umask(0o022)
    descriptors = sorted(int(entry.name) for entry in Path("/dev/fd").iterdir())
    return dict(os.environ), str(Path.cwd()), umask, descriptors


def echo(value):
    return value


def size_of(value):
    return len(value)


def raise_it(error_type, *args):
    raise error_type(*args)


def raise_own():
    raise ClientsOwnError("in her own words\x1b[2J")


def raise_from():
    try:
        {}["missing"]
    except KeyError as error:
        raise ValueError("the cause is before") from error


def leave(way):
    if way == "exit":
        sys.exit("bye")
    if way == "interrupt":
        raise KeyboardInterrupt
    if way == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    os._exit(7)


def wait_in(path):
    """Say who waits, in a file, and wait for ever."""
    part = Path(f"{path}.part")
    part.write_text(str(os.getpid()))
    part.rename(path)
    while True:
        time.sleep(3600)


def spin():
    while True:
        pass


def family(path):
    """Leave a daemon behind that no process group holds, and wait for ever."""
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            wait_in(path)
        os._exit(0)
    wait_in(f"{path}-own")


def leave_behind(what):
    if what == "thread":
        threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()
    elif os.fork() == 0:
        time.sleep(3600)
        os._exit(0)
    return os.getpid()


def fork_and_both_return():
    os.fork()
    return "once"


def move(folder):
    os.chdir(folder)
    os.umask(0)
    return os.getpid()


def read_fifo(path):
    return Path(path).read_text()


def draw():
    return random.random()  # noqa: S311 - what is tested is that it differs


# --- what a hostile client does -------------------------------------------------------


def say(data, then="wait"):
    """Write onto the server's socket, as the worker alone should."""
    os.write(CHANNEL, data)
    if then == "wait":
        time.sleep(3600)
    return then


def say_from_a_child(data, path):
    """Answer properly; later a descendant that nobody finds speaks unasked."""
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            while not Path(path).exists():
                time.sleep(0.01)
            os.write(CHANNEL, data)
        os._exit(0)
    os.wait()
    return "proper"


def flood_with_descriptors(path):
    """Send a thousand descriptors, as many at once as the kernel takes."""
    sock = socket.socket(fileno=os.dup(CHANNEL))
    opened = os.open(path, os.O_RDONLY)
    rights = array.array("i", [opened] * 250)
    for _ in range(4):
        sock.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
    time.sleep(3600)


def attack(path):
    """Try to trace another worker, and to read its memory; say what came of it.

    The other one says in a file who it is. A process that the client executes itself is
    tried too.
    """
    worker = int(Path(path).read_text())
    own = subprocess.Popen(["/bin/sleep", "3600"])
    try:
        return attempt(own.pid), attempt(worker)
    finally:
        own.kill()
        own.wait()


def attempt(pid):
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = (
        ctypes.c_long,
        ctypes.c_long,
        ctypes.c_void_p,
        ctypes.c_void_p,
    )
    libc.ptrace.restype = ctypes.c_long
    traced = libc.ptrace(PTRACE_ATTACH, pid, None, None)
    if traced == 0:
        os.waitpid(pid, 0)
        libc.ptrace(17, pid, None, None)
    try:
        os.close(os.open(f"/proc/{pid}/mem", os.O_RDONLY))
        read = 0
    except PermissionError:
        read = -1
    return traced, read
