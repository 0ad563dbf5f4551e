"""`run` and `open` through the broker, beside the same over a bare pool.

A bare pool opens a file by a function that sends the descriptor through a socket. How
long that alone takes, where one thread asks and waits, is shown beside it.

The broker is a real one. The server is a process of an ordinary uid, forked from here,
in which everything is measured; its client is a third process, connected and idle.
"""

from __future__ import annotations

import array
import os
import pickle
import socket
import struct
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from bench import Bench, Line

from stead.model.luid import Luid
from stead.model.sid import Sid
from stead.model.token import AccessToken
from stead.privileged.broker_link import BrokerLink
from stead.privileged.brokered_client import BrokeredIdentity
from stead.privileged.brokered_launching import BrokeredLauncher
from stead.privileged.late_imports import preload
from stead.privileged.watch import Watch
from stead.server.workers.workers import WorkerLimits, Workers

_SERVICE = 70_900
_CLIENT = 70_001
_SECONDS = 60.0
_TOOK = struct.Struct("d")


def measure(bench: Bench, folder: Path) -> None:
    """Measure warm workers that the broker started."""
    note = folder / "brokered note.txt"
    note.write_text("a note\n", encoding="utf-8")
    os.chown(note, _CLIENT, _CLIENT)
    note.chmod(0o644)
    # The interpreter may lie where only root may look: load what the service needs.
    preload()
    with ProcessPoolExecutor(1) as pool:
        pool.submit(os.getpid).result()
    with _broker(folder) as (control, gate):
        reading, writing = os.pipe()
        pid = os.fork()
        if not pid:
            _as_service(writing, bench.rounds, control, gate, note)
        os.close(writing)
        with os.fdopen(reading, "rb") as file:
            told = file.read()
        os.waitpid(pid, 0)
    lines: list[Line] = pickle.loads(told)  # noqa: S301 - our own child's
    bench.lines.extend(lines)


@contextmanager
def logging_on(folder: Path, name: str, word: str) -> Iterator[Callable[[], float]]:
    """Give what logs an account of the host on, and returns how many seconds it took.

    That is done by a server of an ordinary uid, through a broker.
    """
    with _broker(folder, "log_on", "passwords_per_minute = 1_000_000") as (control, _):
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        pid = os.fork()
        if not pid:
            ours.close()
            _log_on_when_told(theirs, control, name, word.encode())
        theirs.close()

        def log_on() -> float:
            ours.send(b"go")
            (seconds,) = _TOOK.unpack(ours.recv(_TOOK.size))
            return float(seconds)

        yield log_on
        ours.close()
        os.waitpid(pid, 0)


def _log_on_when_told(
    told: socket.socket, control: Path, name: str, word: bytes
) -> None:
    """Be the server, until nobody tells it to log anybody on."""
    try:
        _become_service()
        link = BrokerLink(control)
        while told.recv(2):
            began = time.perf_counter()
            client = link.log_on(name, word)
            told.send(_TOOK.pack(time.perf_counter() - began))
            client.close()
        os._exit(0)
    except BaseException:  # noqa: BLE001 - nothing may go on in a forked copy
        traceback.print_exc()
    finally:
        os._exit(1)


def _become_service() -> None:
    os.setgroups([])
    os.setresgid(_SERVICE, _SERVICE, _SERVICE)
    os.setresuid(_SERVICE, _SERVICE, _SERVICE)


@contextmanager
def _broker(
    folder: Path, may: str = "worker", limits: str = ""
) -> Iterator[tuple[Path, Path]]:
    """Run a broker; give where servers and where clients connect."""
    run = folder / "run"
    run.mkdir(mode=0o755)
    control, gate, config = run / "broker", run / "gate", folder / "broker.toml"
    config.write_text(
        f'socket = "{control}"\n[services.bench]\nuid = {_SERVICE}\n'
        f'gates = ["{gate}"]\nmay = ["{may}"]\n[limits]\n{limits}\n',
        encoding="utf-8",
    )
    config.chmod(0o600)
    command = [sys.executable, "-I", "-m", "stead.privileged.broker"]
    with subprocess.Popen(
        [*command, "--config", str(config)], stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            if process.stderr is not None:
                process.stderr.readline()  # it says that it serves
            yield control, gate
        finally:
            process.terminate()


def _as_service(
    writing: int, rounds: int, control: Path, gate: Path, note: Path
) -> None:
    """Be the server, with one client that is connected: measure, tell, and end."""
    try:
        bench = Bench(rounds)
        with _connected(gate):
            _become_service()
            _measure(bench, BrokerLink(control), gate, note)
        with os.fdopen(writing, "wb") as file:
            pickle.dump(bench.lines, file)
        os._exit(0)
    except BaseException:  # noqa: BLE001 - nothing may go on in a forked copy
        traceback.print_exc()
    finally:
        os._exit(1)


def _connected(gate: Path) -> socket.socket:
    """Connect as the client: the kernel remembers who did."""
    client = socket.socket(socket.AF_UNIX)
    os.setegid(_CLIENT)
    os.seteuid(_CLIENT)
    client.connect(str(gate))
    os.seteuid(0)
    os.setegid(0)
    return client


def _measure(bench: Bench, link: BrokerLink, gate: Path, note: Path) -> None:
    entrance = link.entrance(gate)
    entrance.open()
    os.set_blocking(entrance.fileno(), True)
    _, ticket = entrance.accept()
    identity = BrokeredIdentity(_CLIENT, _CLIENT, ticket.identity.groups, ticket)
    watch = Watch("bench-watch")
    launcher = BrokeredLauncher("bench", watch, link)
    workers = Workers(
        launcher,
        watch,
        identity=lambda _: identity,
        environment=lambda _: (),
        limits=WorkerLimits(),
    )
    with (
        _bare_opener() as opener,
        ProcessPoolExecutor(1) as bare,
        ThreadPoolExecutor(1) as handler,
    ):
        # As servers do it: handlers run on threads, and not on a program's main one.
        handler.submit(_compare, bench, workers, bare, opener, note).result()
    workers.close()
    launcher.close()
    watch.close()
    link.close()


def _compare(
    bench: Bench,
    workers: Workers,
    bare: ProcessPoolExecutor,
    opener: socket.socket,
    note: Path,
) -> None:
    token = AccessToken(Sid.from_string(f"S-1-22-1-{_CLIENT}"), logon_id=Luid(1))
    # The pool forks its process at the first call, and this is open by then.
    ours_end, theirs_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    def ours() -> int:
        return workers.run(token, os.getpid, (), seconds=_SECONDS).result()

    def theirs() -> int:
        return bare.submit(os.getpid).result()

    def opened() -> None:
        future = workers.open(token, str(note), os.O_RDONLY, seconds=_SECONDS)
        os.close(future.result())

    def passed() -> None:
        opener.send(os.fsencode(note))
        _close_passed(opener)

    def pooled() -> None:
        bare.submit(_pass, theirs_end.fileno(), str(note)).result()
        _close_passed(ours_end)

    for start in (ours, theirs, opened, pooled, passed):
        start()  # a process each, which is not what is measured
    bench.compare(
        "through the broker: run", ours, to=("bare ProcessPoolExecutor", theirs)
    )
    bench.compare_all(
        "through the broker: open",
        opened,
        {
            "bare pool and descriptor pass": pooled,
            "descriptor pass of two processes": passed,
        },
    )


def _pass(descriptor: int, path: str) -> None:
    """Open a file and send it, in a process of the bare pool."""
    with socket.socket(fileno=os.dup(descriptor)) as channel:
        _open_and_send(channel, path)


def _open_and_send(channel: socket.socket, path: str | bytes) -> None:
    opened = array.array("i", [os.open(path, os.O_RDONLY)])
    channel.sendmsg([b"."], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, opened)])
    os.close(opened[0])


def _close_passed(channel: socket.socket) -> None:
    _, rights, _, _ = channel.recvmsg(1, socket.CMSG_SPACE(4))
    os.close(array.array("i", rights[0][2])[0])


@contextmanager
def _bare_opener() -> Iterator[socket.socket]:
    """Give a socket to a process that opens what it is told, and passes it back."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    pid = os.fork()
    if not pid:
        ours.close()
        while path := theirs.recv(4096):
            _open_and_send(theirs, path)
        os._exit(0)
    with ours:
        theirs.close()
        yield ours
    os.waitpid(pid, 0)
