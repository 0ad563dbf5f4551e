"""A whole server as a process of its own, and clients as processes of other uids."""

import encodings.idna  # noqa: F401 - sockets look it up when a child cannot import it
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.receivers import (  # noqa: F401 - fixtures are found by name
    authority,
    certificate,
    certificates,
    rsyslog,
)

from stead.adapters.store import Store
from stead.errors import RemoteError
from stead.gates.pipe.client import PipeClient
from stead.ledger.chain import verify
from stead.ledger.query import Query, find
from stead.model.audit_record import AuditRecord
from stead.model.token import ImpersonationLevel

PROGRAMS = Path(__file__).parent / "programs"
SECONDS = 180.0
"""How long anything may take before it counts as hung; never how long it should."""

FIRST_UID = 70_100
PEOPLE = ("alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi")


def pytest_runtest_setup(item):
    if item.get_closest_marker("root") and os.geteuid() != 0:
        pytest.skip("needs root, because the kernel judges real uids")


# --- where it plays -------------------------------------------------------------------


@dataclass(frozen=True)
class World:
    """A folder whose store only root enters, and in which each client has a home."""

    folder: Path
    uids: dict[str, int]

    @property
    def store(self) -> Path:
        return self.folder / "store" / "notes.db"

    @property
    def pipe(self) -> Path:
        return self.folder / "pipe" / "notes"

    def home_of(self, name: str) -> Path:
        return self.folder / "homes" / name

    def file_of(self, name: str) -> Path:
        return self.home_of(name) / "note.txt"

    def trail(self) -> list[tuple[int, AuditRecord]]:
        """Verify the trail as it stands on the disk and return every record."""
        with Store.open(self.store, create=False) as store:
            verify(store.ledger.entries(), store.accounts.domain().to_bytes())
            return list(find(store.ledger, Query()))


@pytest.fixture
def world() -> Iterator[World]:
    folder = Path(tempfile.mkdtemp(prefix="stead-e2e-"))
    folder.chmod(0o711)
    for name, mode in (("store", 0o700), ("pipe", 0o755), ("homes", 0o711)):
        (folder / name).mkdir()
        (folder / name).chmod(mode)
    made = World(folder, {name: FIRST_UID + n for n, name in enumerate(PEOPLE)})
    for name, uid in made.uids.items():
        made.home_of(name).mkdir()
        made.file_of(name).write_text(f"{name}'s own\n")
        made.file_of(name).chmod(0o600)
        for place in (made.file_of(name), made.home_of(name)):
            os.chown(place, uid, uid)
        made.home_of(name).chmod(0o700)
    yield made
    shutil.rmtree(folder)


# --- the server -----------------------------------------------------------------------


@dataclass(frozen=True)
class Server:
    """A running server."""

    process: subprocess.Popen[str]
    port: int
    log: Path

    @property
    def pid(self) -> int:
        return self.process.pid

    def stop(self) -> int:
        """Ask it to stop, and return how it ended."""
        self.process.terminate()
        try:
            return self.process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(SECONDS)


@pytest.fixture
def start(world: World) -> Iterator[Callable[..., Server]]:
    """Give what starts the server over the world's store; it is stopped at the end.

    A server that ends by itself, or leaves a traceback, fails the test.
    """
    running: list[Server] = []

    def start_one(**told: Any) -> Server:
        server = _start(world, {"accounts": world.uids, "staff": [], **told})
        running.append(server)
        return server

    yield start_one
    for server in running:
        with server.process:
            ended = server.stop() if server.process.poll() is None else 0
        assert 0 == ended, server.log.read_text()


def _start(world: World, told: dict[str, Any]) -> Server:
    log = world.folder / "store" / "server.log"
    with log.open("a", encoding="utf-8") as errors:
        process = subprocess.Popen(
            [sys.executable, str(PROGRAMS / "server.py"), str(world.folder),
             json.dumps(told)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )  # fmt: skip
    readable, _, _ = select.select([process.stdout], [], [], SECONDS)
    line = process.stdout.readline() if readable else ""
    if not line:
        process.kill()
        process.wait(SECONDS)
        pytest.fail(f"the server did not start:\n{log.read_text()}")
    return Server(process, json.loads(line)["port"], log)


@pytest.fixture
def server(start: Callable[..., Server]) -> Server:
    """Give a running server: alice and bob are staff, alice is an archivist."""
    return start(staff=["alice", "bob"], archivists=["alice"])


# --- the clients ----------------------------------------------------------------------


@pytest.fixture
def stead() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Give what runs the command line, as root or as a uid."""

    def run(*arguments: Any, **options: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "stead", *map(str, arguments)],
            capture_output=True,
            text=True,
            check=False,
            timeout=SECONDS,
            **options,
        )

    return run


@dataclass
class Child:
    """A client's process, forked after its imports: a path may be closed to its uid."""

    pid: int
    answers: int
    text: bytes = b""
    is_over: bool = False

    def result(self) -> Any:
        """Return what it returned; fail if it failed."""
        deadline = time.monotonic() + SECONDS
        while chunk := self._read(deadline):
            self.text += chunk
        self._reap()
        told = json.loads(self.text or b'{"failed": "it died and said nothing"}')
        if "failed" in told:
            pytest.fail(f"a client failed:\n{told['failed']}")
        return told["value"]

    def _read(self, deadline: float) -> bytes:
        left = max(0.0, deadline - time.monotonic())
        if not select.select([self.answers], [], [], left)[0]:
            self.end()
            pytest.fail("a client hangs")
        return os.read(self.answers, 1 << 16)

    def end(self) -> None:
        """End it, wherever it is."""
        if not self.is_over:
            os.kill(self.pid, signal.SIGKILL)
            self._reap()

    def _reap(self) -> None:
        os.waitpid(self.pid, 0)
        os.close(self.answers)
        self.is_over = True


@pytest.fixture
def begin() -> Iterator[Callable[..., Child]]:
    """Give what starts a function as a process under a uid, gid and groups."""
    children: list[Child] = []

    def begin_one(uid, act, *arguments, gid=None, groups=()) -> Child:
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(reading)
            _be(uid, uid if gid is None else gid, groups, writing, act, arguments)
        os.close(writing)
        children.append(Child(pid, reading))
        return children[-1]

    yield begin_one
    for child in children:
        child.end()


@pytest.fixture
def as_uid(begin: Callable[..., Child]) -> Callable[..., Any]:
    """Give what runs a function as a process under a uid and returns its value."""

    def run(uid, act, *arguments, **ids):
        return begin(uid, act, *arguments, **ids).result()

    return run


def _be(uid, gid, groups, writing, act, arguments):
    try:
        os.setgroups(groups)
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
        told = {"value": act(*arguments)}
    except BaseException:
        told = {"failed": traceback.format_exc()}
    try:
        left = json.dumps(told).encode()
        while left:
            left = left[os.write(writing, left) :]
    finally:
        os._exit(0)  # nothing of the parent's clean-up runs here


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Give two ends by which the test and its children tell each other how far it is.

    Whoever waits there for one that died does not wait for ever.
    """
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(SECONDS)
        theirs.settimeout(SECONDS)
        yield ours, theirs


# --- what a client asks ---------------------------------------------------------------


@dataclass
class Asker:
    """A client at the pipe that keeps a list of what it was answered.

    Each answer is (its own mark, number, operation, value or None, refusal or None,
    record), so that the trail can be held against it.
    """

    link: PipeClient
    mark: str
    answers: list[list[Any]] = field(default_factory=list)

    def ask(self, operation: str, **arguments: Any) -> Any:
        """Return the value, or the one line of a refusal as `refused: ...`."""
        number = len(self.answers) + 1
        try:
            value = self.link.call(operation, **arguments)
        except RemoteError as error:
            self.answers.append(
                [self.mark, number, operation, False, str(error), error.record]
            )
            return f"refused: {error}"
        self.answers.append([self.mark, number, operation, True, "", None])
        return value


@pytest.fixture
def asker(world: World) -> Callable[..., Asker]:
    """Give what connects to the pipe as whoever the process is."""

    def connect(mark: str = "me", level: str = "impersonation") -> Asker:
        link = PipeClient.connect(
            world.pipe,
            level=ImpersonationLevel[level.upper()],
            server_uid=0,
            timeout=SECONDS,
            correlation=mark,
        )
        return Asker(link, mark)

    return connect


@pytest.fixture
def ask(as_uid, asker) -> Callable[..., Any]:
    """Give what asks one thing as a uid: the value, or `refused: ...`."""

    def once(
        uid, operation, *, level="impersonation", gid=None, groups=(), **arguments
    ):
        def act():
            return asker(level=level).ask(operation, **arguments)

        return as_uid(uid, act, gid=gid, groups=groups)

    return once


def poll(claim: Callable[[], Any]) -> Any:
    """Ask again and again until the answer is true; return it."""
    deadline = time.monotonic() + SECONDS
    while not (found := claim()):
        if time.monotonic() > deadline:
            pytest.fail("it never came true")
        time.sleep(0.005)
    return found


@pytest.fixture(name="poll")
def give_poll() -> Callable[[Callable[[], Any]], Any]:
    return poll
