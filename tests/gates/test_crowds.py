"""Many clients of few uids: others get in, memory is bounded, and it is told."""

import asyncio
import os
from contextlib import ExitStack, contextmanager

import pytest
from tests.gates.raw_client import RawClient

from stead.gates.pipe.async_client import AsyncPipeClient
from stead.gates.pipe.frames import write_frame
from stead.gates.pipe.limits import PipeLimits
from stead.gates.pipe.messages import Goodbye, Result, Welcome

HELLO = write_frame(b'{"type":"hello","version":1}', 4096)
NO_ROOM = Goodbye(reason="the server has no room for idle clients")
TOO_MANY = Goodbye(reason="too many connections")
CROWD, NEWCOMER = 70_001, 70_002


def request(number, operation):
    body = f'{{"type":"request","id":{number},"operation":"{operation}"}}'
    return write_frame(body.encode(), 4096)


@contextmanager
def acting_as(uid):
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)


class Raw(RawClient):
    """One of a crowd."""

    async def greet(self):
        """Say Hello and return what is answered."""
        await self.send(HELLO)
        return await self.hear()


async def crowd_of(gate, stack, count, *, uid=None):
    """Return greeted connections, of another uid if given."""
    with ExitStack() as acting:
        if uid is not None:
            acting.enter_context(acting_as(uid))
        crowd = [stack.enter_context(Raw(gate)) for _ in range(count)]
    for raw in crowd:
        assert isinstance(await raw.greet(), Welcome)
    return crowd


def running(scenario):
    asyncio.run(asyncio.wait_for(scenario(), 60))


@pytest.mark.root
def test_an_idle_crowd_locks_nobody_out(opened):
    async def scenario():
        async with opened(clients=4, reserve=1) as (gate, house):
            with ExitStack() as stack:
                crowd = await crowd_of(gate, stack, 4, uid=CROWD)
                for raw in crowd[1:]:
                    await raw.send(request(1, "echo"))
                    assert 1 == (await raw.hear()).id
                (newcomer,) = await crowd_of(gate, stack, 1, uid=NEWCOMER)
                assert NO_ROOM == await crowd[0].hear()
                assert await crowd[0].hear() is None
                await crowd_of(gate, stack, 1)
                for raw in (newcomer, *crowd[1:]):
                    await raw.send(request(2, "echo"))
                    assert 2 == (await raw.hear()).id
                await house.until(lambda: gate.clients == 5)

    running(scenario)


@pytest.mark.root
def test_who_is_served_stays_and_the_administrator_gets_in_all_the_same(opened):
    async def scenario():
        async with opened(clients=4, reserve=1) as (gate, house):
            with ExitStack() as stack:
                crowd = await crowd_of(gate, stack, 4, uid=CROWD)
                for raw in crowd:
                    await raw.send(request(1, "wait"))
                await house.until(lambda: len(house.calls) == 4)
                with acting_as(NEWCOMER):
                    newcomer = stack.enter_context(Raw(gate))
                assert TOO_MANY == await newcomer.hear()
                await crowd_of(gate, stack, 1)
                house.gate_open.set()
                assert [1] * 4 == [(await raw.hear()).id for raw in crowd]

    running(scenario)


@pytest.mark.root
def test_who_does_not_read_its_answer_counts_as_idle(opened):
    async def scenario():
        async with opened(clients=2, reserve=1) as (gate, house):
            with ExitStack() as stack:
                crowd = await crowd_of(gate, stack, 2, uid=CROWD)
                for raw in crowd:
                    await raw.send(request(1, "large"))
                connections = list(gate._door.visits.values())
                await house.until(
                    lambda: (
                        len(house.finished) == 2
                        and all(connection.is_idle for connection in connections)
                    )
                )
                await crowd_of(gate, stack, 1, uid=NEWCOMER)
                await house.until(lambda: gate.clients == 2)

    running(scenario)


@pytest.mark.root
def test_who_has_not_said_hello_makes_room_for_who_does(opened):
    async def scenario():
        async with opened(clients=3, reserve=1) as (gate, house):
            with ExitStack() as stack:
                silent = []
                for uid in (70_003, 70_004, 70_005):
                    with acting_as(uid):
                        silent.append(stack.enter_context(Raw(gate)))
                await house.until(lambda: gate.clients == 3)
                await crowd_of(gate, stack, 1, uid=NEWCOMER)
                assert NO_ROOM == await silent[0].hear()

    running(scenario)


@pytest.mark.root
def test_a_uid_is_admitted_once_at_a_time_and_no_other_waits_for_it(opened):
    async def scenario():
        async with opened() as (gate, house):
            house.slow[CROWD] = asyncio.Event()
            with ExitStack() as stack:
                with acting_as(CROWD):
                    crowd = [stack.enter_context(Raw(gate)) for _ in range(5)]
                for raw in crowd:
                    await raw.send(HELLO)
                await house.until(lambda: house.admitting)
                await crowd_of(gate, stack, 1, uid=NEWCOMER)
                assert [CROWD] == house.admitting
                house.slow[CROWD].set()
                for raw in crowd:
                    assert isinstance(await raw.hear(), Welcome)

    running(scenario)


def test_who_waits_to_be_admitted_is_not_when_the_gate_stops(opened):
    async def scenario():
        async with opened() as (gate, house):
            house.slow[os.geteuid()] = asyncio.Event()
            with ExitStack() as stack:
                crowd = [stack.enter_context(Raw(gate)) for _ in range(3)]
                for raw in crowd:
                    await raw.send(HELLO)
                connections = gate._door.visits
                await house.until(
                    lambda: (
                        len(connections) == 3
                        and all(each.is_greeted for each in connections.values())
                    )
                )
                await gate.stop(grace=1.0)
            assert 0 == gate.clients
            assert [os.geteuid()] == house.admitting
            assert [] == house.desks

    running(scenario)


def test_answers_that_nobody_reads_stop_further_requests(opened):
    bound = 4 << 20

    async def scenario():
        async with opened(bytes_per_uid=bound) as (gate, house):
            with ExitStack() as stack:
                crowd = await crowd_of(gate, stack, 4)
                for raw in crowd:
                    await raw.send(b"".join(request(n, "large") for n in range(1, 9)))
                share = gate._door._shares.of(os.geteuid())
                await house.until(lambda: share.held + PipeLimits().frame > bound)
                for _ in range(100):
                    await asyncio.sleep(0)
                    assert share.held <= bound
                assert len(house.calls) <= bound // 700_000

                async def read_all(raw):
                    return {(await raw.hear()).id for _ in range(8)}

                read = await asyncio.gather(*map(read_all, crowd))
                assert [set(range(1, 9))] * 4 == read
                await house.until(lambda: share.held == 0)

    running(scenario)


def test_a_client_that_leaves_a_frame_unread_starts_nothing_more(opened):
    async def scenario():
        async with opened(in_flight=2) as (gate, house):
            with ExitStack() as stack:
                (raw,) = await crowd_of(gate, stack, 1)
                await raw.send(b"".join(request(n, "large") for n in range(1, 9)))
                await house.until(lambda: len(house.finished) >= 2)
                for _ in range(200):
                    await asyncio.sleep(0)
                # One is being sent, one waits; perhaps one began before that was so.
                assert len(house.calls) <= 3

    running(scenario)


def test_a_gate_can_stop_while_requests_wait_for_their_bytes(opened):
    async def scenario():
        async with opened(bytes_per_uid=1) as (gate, house):
            with ExitStack() as stack:
                first, second = await crowd_of(gate, stack, 2)
                await first.send(request(1, "wait"))
                await house.until(lambda: len(house.calls) == 1)
                await second.send(request(1, "echo"))
                share = gate._door._shares.of(os.geteuid())
                await house.until(lambda: len(share._waiting) == 1)
                stopping = asyncio.create_task(gate.stop())
                assert Goodbye(reason="the server is shutting down") == (
                    await second.hear()
                )
                house.gate_open.set()
                assert Result(id=1, value={}) == await first.hear()
                await stopping
                assert [(os.geteuid(), "wait")] == house.calls

    running(scenario)


def test_large_messages_go_both_ways_and_too_rich_ones_do_not(opened):
    async def scenario():
        async with opened() as (gate, _):
            async with await AsyncPipeClient.connect(gate.path) as client:
                values = ["é,[" * 1000, {"a": "x" * 700_000}]
                assert {"v": values} == await client.call("echo", v=values)
            with ExitStack() as stack:
                (raw,) = await crowd_of(gate, stack, 1)
                body = (
                    b'{"type":"request","id":1,"operation":"echo","arguments":{"a":['
                    + b"[]," * 50_000
                    + b"[]]}}"
                )
                await raw.send(write_frame(body, 1 << 20))
                assert Goodbye(reason="the message is not valid") == await raw.hear()

    running(scenario)


def test_all_that_were_turned_away_are_told_in_one_report(opened):
    async def scenario():
        limits = {"hello_seconds": 2.0, "report_seconds": 600.0}
        async with opened(clients_per_uid=2, **limits) as (gate, house):
            with ExitStack() as stack:
                silent = stack.enter_context(Raw(gate))
                assert "the client took too long" == (await silent.hear()).reason
                with Raw(gate):
                    pass
                await house.until(lambda: gate._door._tally._count == 2)
                (rude, _) = await crowd_of(gate, stack, 2)
                for _ in range(5):
                    assert TOO_MANY == await stack.enter_context(Raw(gate)).hear()
                await rude.send(bytes(4))
                await rude.hear()
                await house.until(lambda: gate.clients == 1)
                assert [] == house.turned_away
            await gate.stop()
            who = f"uid {os.geteuid()} pid {os.getpid()}"
            assert [(8, f"{who}: broke the protocol")] == house.turned_away

    running(scenario)


def test_whoever_is_told_to_go_when_the_gate_stops_was_not_turned_away(opened):
    async def scenario():
        async with opened() as (gate, house):
            with ExitStack() as stack:
                await crowd_of(gate, stack, 1)
                stack.enter_context(Raw(gate))
                await house.until(lambda: gate.clients == 2)
                await gate.stop()
            assert [] == house.turned_away

    running(scenario)
