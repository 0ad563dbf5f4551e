"""Crowds of clients that fail on purpose, and the one that means it."""

import asyncio
import ssl
import threading
from contextlib import nullcontext, suppress

import pytest
from tests.server.test_tls_clients import Stage, running

from stead.authority.lockout import LockoutPolicy
from stead.errors import ServerUnavailableError
from stead.gates.pipe.async_client import AsyncPipeClient
from stead.gates.pipe.connection import Connection
from stead.gates.pipe.frames import write_frame
from stead.gates.pipe.reaching import ALPN
from stead.model.audit_record import AuditEvent
from stead.server import waiting_room
from stead.server.waiting_room import WaitingRoom

OURS = WaitingRoom._looked_at
LATE = 600.0  # longer than any test: whoever waits for it waits for good
EACH, ADDRESSES = 4, ("127.0.1.1", "127.0.1.2", "127.0.1.3")
BARE = [b'{"type":"hello","version":1}']
WRONG = [
    b'{"type":"hello","version":1,"package":"shared-key"}',
    b'{"type":"response","blob":""}',
    b'{"type":"response","blob":"AAAA"}',
]


@pytest.fixture
def stage(tmp_path, open_server):
    return late_stage(tmp_path, open_server)


def late_stage(folder, open_server):
    made = Stage(folder, open_server)
    slow = LockoutPolicy(threshold=100, first_delay=LATE, longest_delay=LATE)
    made.server._house.authentication._lockout = slow
    return made


async def failing(stage, url, address, messages):
    """Connect from an address, and show nothing that counts."""
    context = ssl.create_default_context(cafile=stage.trust().ca)
    context.set_alpn_protocols([ALPN])
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", int(url.rpartition(":")[2]), ssl=context,
        server_hostname="notes.test", local_addr=(address, 0),
    )  # fmt: skip
    return writer, asyncio.create_task(say(reader, writer, messages))


async def say(reader, writer, messages):
    """Say one thing after the other, each when the one before is answered."""
    with suppress(OSError, EOFError):
        for message in messages:
            writer.write(write_frame(message, 4096))
            await reader.readuntil(b"}")


async def until(holds):
    async with asyncio.timeout(60):
        while not holds():  # noqa: ASYNC110 - any claim, not one event
            await asyncio.sleep(0.005)


async def is_served(stage, url):
    tls = stage.trust(shown=stage.leaf()[1])
    async with await AsyncPipeClient.connect(url, tls=tls) as client:
        return "alice" == (await client.call("me"))[0]


def failures(stage):
    return len(stage.records(AuditEvent.LOGON_FAILED))


@pytest.mark.parametrize("messages", [BARE, WRONG])
@pytest.mark.parametrize("naive", [True, False])
def test_who_waits_for_the_late_answer_to_a_failure_makes_room(
    stage, monkeypatch, messages, naive
):
    """A few addresses hold no place that a client needs, however late their answers."""
    if naive:
        monkeypatch.setattr(Connection, "waiting", lambda _: nullcontext())
    full, each = len(ADDRESSES) * EACH, 1 if messages is BARE else waiting_room._EACH

    async def scenario():
        async with stage.open(clients=full, reserve=2) as url:
            crowd = [
                await failing(stage, url, address, messages)
                for address in ADDRESSES
                for _ in range(EACH)
            ]
            await until(lambda: failures(stage) == len(ADDRESSES) * each)
            crowded = [*stage.gate._door.visits.values()]
            await until(lambda: all(visit.is_greeted for visit in crowded))
            for _ in range(full):
                if naive:
                    with pytest.raises(ServerUnavailableError):
                        await is_served(stage, url)
                else:
                    assert await is_served(stage, url)
            # Their turns are not over: who left early guesses no faster.
            assert failures(stage) <= len(ADDRESSES) * waiting_room._EACH
            for writer, _ in crowd:
                writer.close()

    running(scenario)


@pytest.mark.parametrize("naive", [True, False])
def test_no_thread_waits_for_the_late_answer_to_a_failure(
    tmp_path, open_server, monkeypatch, naive
):
    """As many addresses as there are threads held them for as long as that took."""
    go_on = threading.Event()

    def on_its_thread(room, evidence, late, task):
        def waited():
            try:
                return task()
            finally:
                go_on.wait(60 if late else 0)

        return OURS(room, evidence, late, waited)

    if naive:
        monkeypatch.setattr(WaitingRoom, "_looked_at", on_its_thread)
    monkeypatch.setattr(waiting_room, "_THREADS", len(ADDRESSES))
    stage = late_stage(tmp_path, open_server)

    async def scenario():
        async with stage.open() as url:
            crowd = [await failing(stage, url, one, BARE) for one in ADDRESSES]
            await until(lambda: failures(stage) == len(ADDRESSES))
            client = asyncio.create_task(is_served(stage, url))
            if naive:
                assert (set(), {client}) == await asyncio.wait([client], timeout=1.0)
                go_on.set()
            assert await client
            for writer, _ in crowd:
                writer.close()

    running(scenario)
