"""A server, a client with files, services and another process, and a limited one."""

from __future__ import annotations

import asyncio
import ctypes
import importlib
import os
import socket
import sys
import threading
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.listening import Listener

from stead.gates.pipe.server import PipeGate
from stead.server.enforcement import Enforcement
from stead.server.protected_server import ProtectedServer

SECONDS = 60
ALICE = 70_001
IPC_PRIVATE, IPC_RMID = 0, 0


@pytest.fixture
def escapes(monkeypatch):
    """The module whose functions workers run."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    yield importlib.import_module("escapes")
    del sys.modules["escapes"]


@dataclass(frozen=True)
class World:
    """What alice has: `told` says where, as her functions are told."""

    folder: Path
    told: dict[str, Any]


@pytest.fixture
def home(world):
    """Alice's folder: a root in it, and beside it what is none of the agent's."""
    home = world / "alice"
    for folder in (home, home / "work", home / "shown"):
        folder.mkdir()
    files = {
        "secret.txt": "secret", "other.txt": "other", "moved.txt": "moved",
        "shown/readable.txt": "readable", "work/own.txt": "own",
    }  # fmt: skip
    for name, text in files.items():
        (home / name).write_text(text)
        (home / name).chmod(0o600)
    (home / "work" / "link").symlink_to(home / "secret.txt")
    os.setxattr(home / "other.txt", "user.origin", b"https://bank.example")
    for place in (home, *home.rglob("*")):
        os.chown(place, ALICE, ALICE, follow_symlinks=False)
    return home


@pytest.fixture
def notes(open_server, world, escapes):
    """A server whose blocks and workers the kernel judges, with alice."""
    (world / "store").mkdir(mode=0o700)
    server = open_server(
        store=world / "store" / "notes.db",
        enforcement=Enforcement.KERNEL,
        kernel_threads=2,
        worker_modules=("escapes",),
    )
    server.accounts.add("alice", uid=ALICE)
    return server


@pytest.fixture
def alice(notes, client_of):
    return client_of(notes, "alice")


@pytest.fixture
def stage(alice, home, notes, world):
    """Everything that an agent might want to reach."""
    with ExitStack() as stack:
        victim = alice.start(["/bin/sleep", "600"], environment={"TOKEN": "hers"})
        stack.callback(victim.wait)
        stack.callback(victim.kill)
        told = {
            "home": str(home),
            "work": str(home / "work"),
            "secret": str(home / "secret.txt"),
            "other": str(home / "other.txt"),
            "moved": str(home / "moved.txt"),
            "readable": str(home / "shown" / "readable.txt"),
            "link": str(home / "work" / "link"),
            "shm": f"/dev/shm/stead-test-{os.getpid()}",
            "victim": victim.pid,
            "segment": _segment(stack),
            "service": str(world / "service"),
            "abstract": f"\0stead-test-{os.getpid()}",
            "datagrams": str(world / "datagrams"),
            "pipe": _serve(notes, world, stack),
        }
        Path(told["shm"]).write_text("shared")
        os.chown(told["shm"], ALICE, ALICE)
        stack.callback(os.unlink, told["shm"])
        for address in (told["service"], told["abstract"]):
            _greet(socket.AF_UNIX, address, stack)
        told["port"] = _greet(socket.AF_INET, ("127.0.0.1", 0), stack)[1]
        _listen(told["datagrams"], stack)
        for name in ("service", "datagrams"):
            (world / name).chmod(0o666)
        yield World(world, told)


def _greet(family, address, stack):
    """Greet whoever connects; return where."""
    own = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
    own.bind(address)
    own.listen()

    stack.enter_context(Listener(lambda there: there.sendall(b"reached"), own))
    return own.getsockname()


def _listen(path, stack):
    own = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
    own.bind(path)


def _segment(stack):
    """Make a segment of shared memory that is alice's."""
    libc = ctypes.CDLL(None, use_errno=True)
    number = libc.shmget(IPC_PRIVATE, 4096, 0o600 | 0o1000)
    assert number >= 0
    stack.callback(libc.shmctl, number, IPC_RMID, None)
    libc.shmat.restype = ctypes.c_void_p
    address = libc.shmat(number, None, 0)
    ctypes.memmove(address, b"shared", 6)
    libc.shmdt(ctypes.c_void_p(address))
    about = (ctypes.c_uint32 * 64)()
    assert not libc.shmctl(number, 2, about)  # IPC_STAT
    about[1] = about[2] = ALICE  # struct ipc_perm: key, uid, gid
    assert not libc.shmctl(number, 1, about)  # IPC_SET
    return number


def _serve(server: ProtectedServer, world: Path, stack: ExitStack) -> str:
    """Serve the pipe on a thread; return its path."""
    path = world / "pipe"
    path.mkdir(mode=0o755)
    ready, loops = threading.Event(), []

    async def run():
        loops.append((asyncio.get_running_loop(), asyncio.current_task()))
        with suppress(asyncio.CancelledError):
            await server.serve(PipeGate(str(path / "notes")), ready=ready.set)

    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    stack.callback(thread.join)
    stack.callback(lambda: loops[0][0].call_soon_threadsafe(loops[0][1].cancel))
    assert ready.wait(SECONDS)
    return str(path / "notes")
