"""A small server behind a real pipe, and clients as processes of other uids."""

import asyncio
import json
import os
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import pytest

from stead.errors import AccessDeniedError, LogonFailureError, OperationFailedError
from stead.gates.pipe.limits import PipeLimits
from stead.gates.pipe.peer import PeerEvidence
from stead.gates.pipe.server import PipeGate
from stead.model.quality_of_service import QualityOfService


def pytest_runtest_setup(item):
    if item.get_closest_marker("root") and os.geteuid() != 0:
        pytest.skip("needs root, because the kernel judges real uids")


class Desk:
    """A conversation that answers a few operations and remembers what it did."""

    def __init__(self, house, evidence, quality, correlation):
        self.house = house
        self.evidence = evidence
        self.quality = quality
        self.correlation = correlation
        self.is_closed = False

    @property
    def account(self):
        return f"uid-{self.evidence.uid}"

    async def call(self, operation: str, arguments: Mapping[str, Any]) -> Any:
        self.house.calls.append((self.evidence.uid, operation))
        answer = await getattr(self, f"do_{operation}")(dict(arguments))
        self.house.finished.append((self.evidence.uid, operation))
        return answer

    async def do_echo(self, arguments):
        return arguments

    async def do_wait(self, arguments):
        await self.house.gate_open.wait()
        return arguments

    async def do_stubborn(self, arguments):
        try:
            await self.house.gate_open.wait()
        except asyncio.CancelledError:
            raise OperationFailedError("cancelled by the gate") from None

    async def do_deaf(self, arguments):
        while not self.house.gate_open.is_set():
            with suppress(asyncio.CancelledError):
                await self.house.gate_open.wait()

    async def do_denied(self, arguments):
        raise AccessDeniedError("entry 2 denies it", object_name="/secret", record=7)

    async def do_broken(self, arguments):
        raise ZeroDivisionError("the server's secret")

    async def do_unwritable(self, arguments):
        return object()

    async def do_huge(self, arguments):
        return "x" * (1 << 21)

    async def do_large(self, arguments):
        return "x" * 700_000

    async def do_file(self, arguments):
        return b"\x00\xff content"

    async def do_identity(self, arguments):
        found = self.house.identity.get()
        self.house.identity.set("an earlier request")
        return found

    async def do_peer(self, arguments):
        return [self.evidence.uid, self.evidence.gid, *self.evidence.groups]

    async def close(self) -> None:
        assert not self.is_closed
        self.is_closed = True


class House:
    """What stands behind the gate in these tests."""

    def __init__(self):
        self.desks: list[Desk] = []
        self.calls: list[tuple[int, str]] = []
        self.finished: list[tuple[int, str]] = []
        self.gate_open = asyncio.Event()
        self.identity = ContextVar("identity", default="nobody")
        self.refused: set[int] = set()
        self.admit_error: Exception | None = None
        self.admitting: list[int] = []
        self.slow: dict[int, asyncio.Event] = {}
        self.turned_away: list[tuple[int, str]] = []

    async def admit(
        self,
        evidence: PeerEvidence,
        quality: QualityOfService,
        correlation: str | None,
    ) -> Desk:
        if evidence.uid in self.slow:
            self.admitting.append(evidence.uid)
            await self.slow[evidence.uid].wait()
        if evidence.uid in self.refused:
            raise LogonFailureError
        if self.admit_error is not None:
            raise self.admit_error
        desk = Desk(self, evidence, quality, correlation)
        self.desks.append(desk)
        return desk

    async def until(self, claim: Callable[[], bool]) -> None:
        """Let the loop turn until a claim holds; the test's time-out is the end."""
        async with asyncio.timeout(60):
            while not claim():  # noqa: ASYNC110 - any claim, not one event
                await asyncio.sleep(0.001)


@pytest.fixture
def folder():
    """A folder that every uid may enter and only root may change."""
    path = Path(tempfile.mkdtemp(prefix="gate"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def opened(folder):
    """A context manager: an open gate and the house behind it."""

    @asynccontextmanager
    async def open_gate(grace: float = 5.0, **limits: Any):
        house = House()
        gate = PipeGate(
            folder / "pipe",
            name="desk",
            limits=PipeLimits(**limits),
            turned_away=lambda count, last: house.turned_away.append((count, last)),
        )
        await gate.start(house.admit)
        try:
            yield gate, house
        finally:
            house.gate_open.set()
            await gate.stop(grace=grace)

    return open_gate


@pytest.fixture
def in_child() -> Callable[..., Awaitable[Any]]:
    """Run a function in a forked process, under other ids if given."""
    return _in_child


async def _in_child(function, *, uid=None, groups=()):
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        _be_child(function, uid, groups, writing)
    os.close(writing)
    try:
        reader = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader),
            os.fdopen(reading, "rb"),
        )
        answer = await reader.read()
        transport.close()
    finally:
        os.waitpid(child, 0)  # noqa: ASYNC222 - it is exiting, or is stuck
    outcome = json.loads(answer)
    if "error" in outcome:
        raise AssertionError(outcome["error"])
    return outcome["value"]


def _be_child(function, uid, groups, writing):
    try:
        if uid is not None:
            os.setgroups(groups)
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
        outcome = {"value": function()}
    except BaseException as error:
        outcome = {"error": repr(error)}
    os.write(writing, json.dumps(outcome).encode())
    os._exit(0)
