"""Requests over the pipe and checks in a server, from the client's side."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench import Bench

from stead import ClientContext, Enforcement, ProtectedServer, Rights, allow
from stead.gates.pipe.client import PipeClient
from stead.gates.pipe.server import PipeGate


class Doc(Rights):
    """What can be done with the object that is asked for."""

    READ = 1


def measure(bench: Bench, folder: Path) -> None:
    """Measure what a server does for one client that waits for each answer."""
    place = folder / "serving"
    place.mkdir(mode=0o700)
    with (
        ProtectedServer("bench", place / "a.db", enforcement=Enforcement.TOKEN) as one,
        echoing() as bare,
        serving(one, place / "pipe") as pipe,
        PipeClient.connect(pipe) as link,
    ):
        one.accounts.add("alice")
        plan = one.protect("plan", Doc, [allow("alice", Doc.READ)])
        client = one.client_for("alice", authenticated_by="bench")
        check, require = one.check, one.require
        bench.compare("server.check, no record", lambda: check(client, plan, Doc.READ))
        bench.compare("server.require, recorded",
                      lambda: require(client, plan, Doc.READ))  # fmt: skip
        bench.compare("impersonate, recorded", lambda: block(client))
        bench.compare(
            "pipe request, two durable records",
            lambda: link.call("nothing"),
            to=("echo over a socketpair", lambda: bare.send(b".") and bare.recv(1)),
        )
        client.close()


def block(client: ClientContext) -> None:
    """Enter and leave a client's block."""
    with client.impersonate():
        pass


@contextmanager
def serving(server: ProtectedServer, pipe: Path) -> Iterator[Path]:
    """Serve an operation that does nothing, on a thread."""

    @server.operation("nothing")
    def nothing(client: ClientContext) -> None:
        pass

    ready = threading.Event()
    loop = asyncio.new_event_loop()
    task = loop.create_task(server.serve(PipeGate(pipe), ready=ready.set))

    def run() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(_until_cancelled(task))

    thread = threading.Thread(target=run)
    thread.start()
    ready.wait()
    try:
        yield pipe
    finally:
        loop.call_soon_threadsafe(task.cancel)
        thread.join()


async def _until_cancelled(task: asyncio.Task[None]) -> None:
    await asyncio.wait({task})


@contextmanager
def echoing() -> Iterator[socket.socket]:
    """Give a socket whose other end, on a thread, says again what it hears."""
    ours, theirs = socket.socketpair()

    def echo() -> None:
        while heard := theirs.recv(1):
            theirs.send(heard)

    thread = threading.Thread(target=echo)
    thread.start()
    try:
        with theirs, ours:
            yield ours
            ours.shutdown(socket.SHUT_RDWR)
            thread.join()
    finally:
        thread.join(1)
