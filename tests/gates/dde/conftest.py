"""A small DDE host behind a real gate, and a client that follows no rules."""

import asyncio
from contextlib import asynccontextmanager, suppress

import pytest
from tests.gates.raw_client import RawClient

from stead.errors import (
    AccessDeniedError,
    DdeBusyError,
    DdeNotProcessedError,
    LogonSessionEndedError,
    NoConversationError,
)
from stead.gates.dde.limits import DdeLimits
from stead.gates.dde.messages import SERVER_MESSAGES, write_message
from stead.gates.dde.ports import DdeData
from stead.gates.dde.server import DdeGate
from stead.gates.pipe.frames import write_frame
from stead.gates.pipe.limits import PipeLimits
from stead.model.quality_of_service import QualityOfService, Tracking


class Side:
    """A conversation that remembers what it was asked."""

    def __init__(self, host, evidence, qos, correlation):
        self.host = host
        self.evidence = evidence
        self.asked_qos = qos
        self.qos = QualityOfService(qos.level, Tracking.STATIC, qos.effective_only)
        self.correlation = correlation
        self.news = {}
        self.calls = []
        self.is_closed = False

    async def request(self, item):
        self.calls.append(("request", item))
        return DdeData.of(await self._value(item))

    async def _value(self, item):
        if item == "slow":
            await self.host.may_go.wait()
        if item == "deaf":
            while not self.host.may_go.is_set():
                with suppress(asyncio.CancelledError):
                    await self.host.may_go.wait()
        if item == "busy":
            raise DdeBusyError("come again")
        if item == "denied":
            raise AccessDeniedError("entry 2 denies it", object_name="/x", record=7)
        if item == "broken":
            raise ZeroDivisionError("the server's secret")
        if item == "ended":
            raise LogonSessionEndedError("it has")
        if item not in self.host.values:
            raise DdeNotProcessedError("no such item")
        return self.host.values[item]

    async def poke(self, item, data):
        self.calls.append(("poke", item, data))
        await self._value(item)
        self.host.publish(item, data.value)

    async def execute(self, command):
        self.calls.append(("execute", command))
        if command == "wait":
            await self.host.may_go.wait()

    async def advise(self, item, kind, news):
        self.calls.append(("advise", item, kind.value))
        await self._value(item)
        if item in self.news:
            raise DdeNotProcessedError("advised already")
        self.news[item] = news, kind

    async def latest(self, item):
        self.calls.append(("latest", item))
        self.host.asked += 1
        if self.host.judging is not None:
            await self.host.judging.wait()
        refusal = self.host.refused.get(item)
        if refusal is not None:
            self.news.pop(item, None)
            raise refusal
        _, kind = self.news[item]
        value = self.host.values[item]
        return DdeData(value) if kind.value == "hot" else None

    async def unadvise(self, item):
        self.calls.append(("unadvise", item))
        if item not in self.news:
            raise DdeNotProcessedError("not advised")
        del self.news[item]

    async def close(self):
        assert not self.is_closed
        self.is_closed = True


class Host:
    """What stands behind the gate in these tests."""

    def __init__(self):
        self.values = {"acme": "12", "globex": "7", "slow": "1", "deaf": "1"}
        self.sides = []
        self.may_go = asyncio.Event()
        self.may_connect = asyncio.Event()
        self.may_connect.set()
        self.judging = None
        self.refused = {}
        self.asked = 0
        self.connecting = 0
        self.turned_away = []

    async def connect(self, evidence, qos, *, service, topic, correlation):
        self.connecting += 1
        await self.may_connect.wait()
        if service == "broken":
            raise ZeroDivisionError("the server's secret")
        if (service, topic) != ("prices", "stocks"):
            error = NoConversationError("no such topic")
            error.record = 9
            raise error
        side = Side(self, evidence, qos, correlation)
        self.sides.append(side)
        return side

    def publish(self, item, value):
        self.values[item] = value
        self.ring(item)

    def ring(self, item):
        for side in self.sides:
            if item in side.news:
                side.news[item][0]()

    async def until(self, claim):
        """Let the loop turn until a claim holds; the test's time-out is the end."""
        async with asyncio.timeout(60):
            while not claim():  # noqa: ASYNC110 - any claim, not one event
                await asyncio.sleep(0.001)


class Rude(RawClient):
    """A raw client of DDE that follows no rules."""

    messages = SERVER_MESSAGES

    async def send(self, *messages):
        data = b"".join(
            message
            if isinstance(message, bytes)
            else write_frame(write_message(message), self.largest)
            for message in messages
        )
        await super().send(data)


@pytest.fixture
def rude():
    return Rude


@pytest.fixture
def opened(folder):
    """A context manager: an open gate and the host behind it."""

    @asynccontextmanager
    async def open_gate(grace=5.0, socket_limits=None, **limits):
        host = Host()
        bounds = DdeLimits(**limits)
        if socket_limits:
            socket_bounds = {"frame": bounds.socket.frame, **socket_limits}
            bounds = DdeLimits(**limits, socket=PipeLimits(**socket_bounds))
        gate = DdeGate(
            folder / "dde",
            host,
            name="desk",
            limits=bounds,
            turned_away=lambda count, last: host.turned_away.append((count, last)),
        )
        await gate.start(None)
        try:
            yield gate, host
        finally:
            host.may_go.set()
            host.may_connect.set()
            if host.judging is not None:
                host.judging.set()
            await gate.stop(grace=grace)

    return open_gate
