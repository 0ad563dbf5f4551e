"""What the tests of ROOT share: folders that clients can reach, and programs."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from stead.model.posix_identity import PosixIdentity
from stead.privileged import credentials, trees
from stead.privileged.executor import KernelExecutor
from stead.privileged.launching import Launcher
from stead.privileged.orders import Order
from stead.privileged.system_uids import DEFAULT_GUARD_UID
from stead.privileged.watch import Watch

PROGRAMS = Path(__file__).parent / "programs"

WAIT = 60  # seconds until what must happen is given up: only a defect takes as long


def pytest_runtest_setup(item):
    if item.get_closest_marker("root") and os.geteuid() != 0:
        pytest.skip("needs root, because the kernel judges real uids")


@pytest.fixture
def world():
    """Give a folder that every uid can pass; pytest's own lies under a 0700 one."""
    folder = Path(tempfile.mkdtemp(prefix="stead-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(params=["native", "pure"])
def switching(request, monkeypatch):
    """Switch by the twin in C, where it was built, and by one call after another."""
    if request.param == "pure":
        monkeypatch.setattr(credentials, "TWIN", None)


@pytest.fixture
def executor():
    with KernelExecutor(2, name="test") as opened:
        yield opened


@pytest.fixture
def run_program():
    """Give what runs one of the programs as a process of its own."""

    def run(name, *arguments, **options):
        return subprocess.run(
            [sys.executable, str(PROGRAMS / name), *map(str, arguments)],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            **options,
        )

    return run


@pytest.fixture
def outcome_of(run_program):
    """Give what runs a program and reads the JSON it prints."""

    def outcome(name, *arguments, **options):
        done = run_program(name, *arguments, **options)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return outcome


@pytest.fixture
def file_of(world):
    """Give what makes a file with an owner and a mode."""

    def make(name, owner, mode=0o600, text="secret"):
        path = world / name
        path.write_text(text)
        os.chown(path, owner, owner)
        path.chmod(mode)
        return path

    return make


CLIENT = PosixIdentity(70001, 70001, (70005,))
PATH = (b"PATH", b"/usr/bin:/bin")


@pytest.fixture
def descriptors():
    """Give what says which descriptors are open, and what they lead to.

    Ask what is there now and was not before: what earlier tests have left may be closed
    at any time, by the collector of garbage.
    """
    return open_descriptors


def open_descriptors():
    found = set()
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # the one by which this is read
            found.add((entry.name, str(entry.readlink())))
    return found


@pytest.fixture
def watch():
    opened = Watch("test-watch")
    yield opened
    opened.close()


@pytest.fixture
def launcher(watch):
    with contextlib.closing(
        Launcher("test", watch, guard=DEFAULT_GUARD_UID)
    ) as launcher:
        yield launcher


@pytest.fixture
def start(launcher):
    """Give what starts a program as the client, and collects what it prints.

    It gives the process, and what waits for its end and returns its output.
    """

    def begin(*argv, identity=CLIENT, stdin=subprocess.DEVNULL, extra=(), **order):
        order.setdefault("environment", (PATH,))
        ordered = Order(identity, tuple(map(os.fsencode, argv)), **order)
        reading, writing = os.pipe()
        null = os.open(os.devnull, os.O_RDWR)
        first = null if stdin == subprocess.DEVNULL else stdin
        try:
            child = launcher.start(
                ordered, (first, writing, writing), extra=extra, on_end=_nothing
            )
        finally:
            os.close(writing)
            os.close(null)

        def output():
            with os.fdopen(reading, encoding="utf-8", errors="replace") as file:
                child.started.result(WAIT)
                text = file.read()
            child.ended.result(WAIT)
            return text

        return child, output

    return begin


@pytest.fixture
def output_of(start):
    """Give what runs a program as the client and returns what it prints."""

    def run(*argv, **order):
        return start(*argv, **order)[1]()

    return run


@pytest.fixture
def refusal_of(start):
    """Give what starts a program and returns why it did not start."""

    def run(*argv, **order):
        child, output = start(*argv, **order)
        refusal = child.started.exception(WAIT)
        with pytest.raises(type(refusal)):
            output()
        assert child.ended.result(WAIT) is None
        return refusal

    return run


@pytest.fixture
def stopped(launcher):
    """Give what stops the launcher and whoever waits for orders, and names them."""

    def stop():
        launcher.open()
        pids = [launcher._processes[-1]._process.pid]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
            while trees._read(pid).state != "T":
                time.sleep(0.001)
            if len(pids) == 1:
                # No other is forked now.
                pids.extend(
                    each.pid for each in trees._processes() if each.parent == pid
                )
        return pids

    return stop


def _nothing(_status):
    """Take no note of the end."""
