"""A launcher and workers as a server has them, for clients that are bare uids."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stead.errors import LogonSessionEndedError
from stead.model.luid import Luid
from stead.model.posix_identity import PosixIdentity
from stead.model.sid import Sid
from stead.model.token import AccessToken
from stead.privileged.launching import Launcher
from stead.privileged.system_uids import DEFAULT_GUARD_UID
from stead.privileged.watch import Watch
from stead.server.workers.workers import WorkerLimits, Workers

SECONDS = 60


@pytest.fixture
def jobs(monkeypatch):
    """The module whose functions workers run."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    yield importlib.import_module("jobs")
    del sys.modules["jobs"]


class Registrar:
    """Who is logged on: one session for each pair of uid and number."""

    def __init__(self):
        self.ended = set()
        self.asked = 0
        self.at_asking = {}

    def token(self, uid, number=0):
        sid = Sid.from_string(f"S-1-22-1-{uid}")
        return AccessToken(sid, logon_id=Luid(uid * 100 + number))

    def identity(self, token):
        self.asked += 1
        self.at_asking.get(self.asked, lambda: None)()
        if token.logon_id in self.ended:
            raise LogonSessionEndedError("the logon session has ended")
        uid = int(token.logon_id) // 100
        return PosixIdentity(uid, uid, (uid + 5000,))

    def environment(self, identity):
        home = f"/home/{identity.uid}".encode()
        return ((b"HOME", home), (b"LANG", b"C.UTF-8"), (b"PATH", b"/usr/bin:/bin"))


@pytest.fixture
def registrar():
    return Registrar()


@pytest.fixture
def watch():
    made = Watch("test-watch")
    yield made
    made.close()


@pytest.fixture
def launcher(watch, jobs):
    made = Launcher(
        "workers",
        watch,
        guard=DEFAULT_GUARD_UID,
        preload=("stead.server.workers.start", "jobs"),
    )
    yield made
    made.close()


@pytest.fixture
def make_workers(launcher, watch, registrar):
    """Give what makes workers within limits."""
    made = []

    def make(**limits):
        made.append(
            Workers(
                launcher,
                watch,
                identity=registrar.identity,
                environment=registrar.environment,
                limits=WorkerLimits(**limits),
            )
        )
        return made[-1]

    yield make
    for workers in made:
        workers.close()


@pytest.fixture
def workers(make_workers):
    return make_workers()


@pytest.fixture
def run(workers, registrar):
    """Give what runs a function as a client, and returns what comes of it."""

    def result(function, *args, uid=70001, number=0):
        future = workers.run(
            registrar.token(uid, number), function, args, seconds=SECONDS
        )
        return future.result(SECONDS + 30)

    return result


@pytest.fixture
def until():
    """Give what waits until something holds, and fails if that takes too long."""

    def wait(holds, seconds=SECONDS):
        end = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < end, "it never came to be"
            time.sleep(0.01)

    return wait


@pytest.fixture
def pid_in(until):
    """Give what waits for a process to say its number in a file."""

    def read(path):
        until(path.exists)
        return int(path.read_text())

    return read


@pytest.fixture
def is_gone():
    """Give what says whether a process is no more."""

    def gone(pid):
        try:
            state = Path(f"/proc/{pid}/stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            return True
        return state.rpartition(")")[2].split()[0] in "ZX"

    return gone


@pytest.fixture
def home(world):
    """A folder of the world that every client may write."""
    folder = world / "home"
    folder.mkdir()
    folder.chmod(0o777)
    return folder


@pytest.fixture
def run_python():
    """Give what runs Python in a folder, and returns what it prints."""

    def run(folder, *arguments, **variables):
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=folder,
            env={**os.environ, **variables},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run
