"""A gate whose clients somebody else accepts: he may be gone, and come back."""

import asyncio
import socket

from tests.gates.conftest import House

from stead.gates.pipe.client import PipeClient
from stead.gates.pipe.server import PipeGate
from stead.model.posix_identity import PosixIdentity


class Ticket:
    """By what the other knows a client; the gate closes it, once."""

    identity = PosixIdentity(70_001, 70_001)
    principal = ""
    expires = None

    def __init__(self):
        self.closed = 0

    def close(self):
        self.closed += 1


class Porter:
    """Accepts at a path, and is gone after so many clients, until opened again."""

    def __init__(self, path, clients):
        self.path = path
        self.clients = clients
        self.tickets = []
        self.opened = 0
        self.listener = None

    def open(self):
        self.opened += 1
        if self.opened == 2:
            raise OSError("not yet")
        self.path.unlink(missing_ok=True)
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.settimeout(0)
        self.listener.bind(str(self.path))
        self.listener.listen()

    def fileno(self):
        return self.listener.fileno()

    def accept(self):
        if len(self.tickets) == self.clients:
            self.clients = -1
            raise EOFError
        client, _ = self.listener.accept()
        self.tickets.append(Ticket())
        return client, self.tickets[-1]

    def close(self):
        if self.listener is not None:
            self.listener.close()


def test_a_gate_opens_again_when_its_porter_comes_back(folder):
    async def scenario():
        porter = Porter(folder / "pipe", clients=1)
        gate = PipeGate(porter.path, entrance=porter)
        await gate.start(House().admit)

        def visit():
            with PipeClient.connect(porter.path, timeout=60) as server:
                return server.call("peer")

        loop = asyncio.get_running_loop()
        assert await loop.run_in_executor(None, visit) is not None
        knock = socket.socket(socket.AF_UNIX)
        knock.connect(str(porter.path))
        async with asyncio.timeout(60):
            while porter.opened < 3 or gate._door._watched is None:  # noqa: ASYNC110 - nothing tells
                await asyncio.sleep(0.01)
        knock.close()
        assert await loop.run_in_executor(None, visit) is not None
        await gate.stop()
        assert [1, 1] == [ticket.closed for ticket in porter.tickets]
        assert -1 == porter.fileno()

    asyncio.run(scenario())
