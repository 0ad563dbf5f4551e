"""What the desk's tests share: peers that connect, and ears that hear of news."""

import asyncio
import threading
from contextlib import contextmanager, suppress

from stead.gates.dde.ports import AdviseKind
from stead.gates.dde.server import DdeGate
from stead.gates.pipe.peer import PeerEvidence
from stead.model.explicit_access import allow
from stead.model.quality_of_service import QualityOfService
from stead.server.dde import DdeDesk, DdeRights

ALICE, BOB, STRANGER = 70001, 70002, 70999
SEE = DdeRights.CONNECT | DdeRights.REQUEST | DdeRights.ADVISE
SECONDS = 60  # of waiting, before a test that hangs says where


class Stage:
    """A desk with a service `prices`, its topic `stocks`, and who may see what."""

    def __init__(self, server, source=None):
        server.accounts.add_member("readers", "alice")
        self.server = server
        self.desk = DdeDesk(server)
        self.prices = self.desk.register(
            "Prices", entries=[allow("Authenticated Users", DdeRights.CONNECT)]
        )
        self.stocks = self.prices.topic(
            "Stocks",
            {"Acme": "12", "margin": "3"} if source is None else source,
            entries=[allow("readers", SEE)],
        )

    async def connect(self, uid=ALICE, topic="stocks", service="prices", **qos):
        return await self.desk.connect(
            PeerEvidence(uid, uid, (), pid=1, gate="dde"),
            QualityOfService(**qos),
            service=service,
            topic=topic,
            correlation=None,
        )

    async def request(self, item, uid=ALICE, **about):
        side = await self.connect(uid, **about)
        try:
            return (await side.request(item)).value
        finally:
            await side.close()


class Ear:
    """Hears that there is news of an item, and asks for the latest value."""

    def __init__(self, side, item):
        self.side = side
        self.item = item
        self.rang = asyncio.Event()
        self.times = 0

    @classmethod
    async def of(cls, side, item, kind=AdviseKind.HOT):
        ear = cls(side, item)
        await side.advise(item, kind, ear.news)
        return ear

    def news(self):
        self.times += 1
        self.rang.set()

    async def hear(self):
        """Wait for news and return the latest value."""
        async with asyncio.timeout(SECONDS):
            await self.rang.wait()
        self.rang.clear()
        data = await self.side.latest(self.item)
        return None if data is None else data.value


def set_entries(server, topic, entries):
    """Change who may do what with a topic, as the server itself, which owns it."""
    house = server._house
    house.objects.set_entries(house.guard, house.subject, topic.securable, entries)


def until_advised(topic, number=1):
    """Return once so many advises are told of a topic; a hang is the test's end."""
    while len(topic._advises.all()) < number:
        threading.Event().wait(0.005)


@contextmanager
def serving(server, desk, path):
    """Serve a desk behind a gate, on a loop of a thread of its own."""
    ready, stop = threading.Event(), {}

    async def serve():
        stop["task"], stop["loop"] = asyncio.current_task(), asyncio.get_running_loop()
        with suppress(asyncio.CancelledError):
            await server.serve(DdeGate(path, desk, name=server.name), ready=ready.set)

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    try:
        assert ready.wait(SECONDS)
        yield
    finally:
        stop["loop"].call_soon_threadsafe(stop["task"].cancel)
        thread.join(SECONDS)
