"""The pipe gate against real sockets: good clients, rude ones, and many."""

import asyncio
import logging
import os
import resource
import socket
from collections import Counter

import pytest
from tests.gates.descriptors import open_descriptors
from tests.gates.raw_client import RawClient

from stead.errors import (
    AccountDisabledError,
    LedgerCorruptError,
    RemoteError,
    ServerClosedError,
    UnknownAccountError,
)
from stead.gates.pipe.async_client import AsyncPipeClient
from stead.gates.pipe.client import PipeClient
from stead.gates.pipe.frames import write_frame
from stead.model.quality_of_service import QualityOfService, Tracking
from stead.model.token import ImpersonationLevel

HELLO = write_frame(b'{"type":"hello","version":1}', 4096)


class Rude(RawClient):
    """A raw client that follows no rules."""

    async def last_word(self):
        """Return the reason of the goodbye that ends it."""
        heard = await self.hear_all()
        return heard[-1].reason if heard else None


def request(number, operation="echo", arguments="{}"):
    body = (
        f'{{"type":"request","id":{number},"operation":"{operation}",'
        f'"arguments":{arguments}}}'
    )
    return write_frame(body.encode(), 1 << 20)


def running(scenario):
    asyncio.run(asyncio.wait_for(scenario(), 60))


def test_a_client_states_its_level_and_correlation_and_is_told_who_it_is(opened):
    stated = QualityOfService(ImpersonationLevel.IDENTIFICATION, Tracking.DYNAMIC)

    async def scenario():
        async with opened() as (gate, house):
            server = await AsyncPipeClient.connect(
                gate.path,
                level=ImpersonationLevel.IDENTIFICATION,
                tracking=Tracking.DYNAMIC,
                effective_only=True,
                correlation="job-7",
            )
            async with server:
                assert "desk" == server.server
                assert f"uid-{os.geteuid()}" == server.account
                assert ImpersonationLevel.IDENTIFICATION is server.level
                assert stated == server.quality_of_service
                assert {"a": [1, "é"]} == await server.call("echo", a=[1, "é"])
                assert b"\x00\xff content" == await server.call("file")
            (desk,) = house.desks
            assert ("job-7", stated) == (desk.correlation, desk.quality)
            await house.until(lambda: desk.is_closed and gate.clients == 0)

    running(scenario)


@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\xff" * 64,
        bytes(64),
        write_frame(b"{}", 64),
        HELLO + HELLO,
        write_frame(b'{"type":"hello","version":1,"package":"scram"}', 4096),
        HELLO + request(1),
        request(1),
    ],
    ids=range(8),
)
def test_garbage_ends_that_connection_and_no_other(opened, garbage):
    async def scenario():
        async with (
            opened() as (gate, house),
            await AsyncPipeClient.connect(gate.path) as good,
        ):
            with Rude(gate) as rude:
                await rude.send(garbage)
                assert "the message is not valid" == await rude.last_word()
            assert {"a": 1} == await good.call("echo", a=1)
            await house.until(lambda: gate.clients == 1)

    running(scenario)


def test_garbage_after_the_welcome_is_answered_while_a_request_runs(opened):
    async def scenario():
        async with opened() as (gate, house):
            with Rude(gate) as rude:
                await rude.send(HELLO)
                await rude.hear()
                await rude.send(request(1, "wait") + bytes(4))
                assert "the message is not valid" == await rude.last_word()
            assert not house.desks[0].is_closed
            house.gate_open.set()
            await house.until(lambda: house.desks[0].is_closed)
            assert [(os.geteuid(), "wait")] == house.finished

    running(scenario)


def test_a_huge_length_is_refused_before_its_body_is_sent(opened):
    async def scenario():
        async with opened() as (gate, _):
            with Rude(gate) as rude:
                await rude.send(HELLO)
                await rude.hear()
                await rude.send((0x7FFF_FFFF).to_bytes(4, "big"))
                assert "the message is not valid" == await rude.last_word()

    running(scenario)


@pytest.mark.parametrize("sent", [b"", HELLO[:5]])
def test_a_client_that_does_not_say_hello_is_sent_away(opened, sent):
    async def scenario():
        async with opened(hello_seconds=0.05) as (gate, house):
            with Rude(gate) as rude:
                await rude.send(sent)
                assert "the client took too long" == await rude.last_word()
            assert [] == house.desks

    running(scenario)


def test_a_message_that_drips_in_is_cut_off(opened):
    async def scenario():
        async with opened(frame_seconds=0.1) as (gate, house):
            with Rude(gate) as rude:
                await rude.send(HELLO)
                await rude.hear()

                async def drip():
                    for byte in request(1, "echo", f'{{"a":"{"x" * 5000}"}}'):
                        await rude.send(bytes([byte]))
                        await asyncio.sleep(0.005)

                dripping = asyncio.create_task(drip())
                assert "the client took too long" == await rude.last_word()
                with pytest.raises(ConnectionError):
                    await dripping
            assert [] == house.calls

    running(scenario)


def test_a_silent_client_may_stay_unless_the_gate_says_otherwise(opened):
    async def scenario():
        # Long enough for a busy machine to get the request to the gate.
        async with opened(idle_seconds=1.5) as (gate, house):
            with Rude(gate) as rude:
                await rude.send(HELLO)
                await rude.hear()
                await rude.send(request(1, "wait"))
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(2.0):
                        await rude.hear()  # it waits for us: that is no silence
                house.gate_open.set()
                assert 1 == (await rude.hear()).id
                assert "the client took too long" == await rude.last_word()

    running(scenario)


def test_a_client_that_dies_in_mid_request_is_not_noticed_by_others(opened):
    async def scenario():
        async with (
            opened() as (gate, house),
            await AsyncPipeClient.connect(gate.path) as good,
        ):
            with Rude(gate) as rude:
                await rude.send(HELLO)
                await rude.hear()
                await rude.send(request(1, "wait") + request(2)[:9])
                await house.until(lambda: len(house.calls) == 1)
            assert {} == await good.call("echo")
            house.gate_open.set()
            await house.until(lambda: gate.clients == 1)
            assert (os.geteuid(), "wait") in house.finished
            assert {} == await good.call("echo")

    running(scenario)


def test_killed_clients_leave_nothing_behind(opened, in_child):
    async def scenario():
        async with opened() as (gate, house):
            path = gate.path

            def visit_and_die():
                PipeClient.connect(path).call("echo")
                os.kill(os.getpid(), 9)

            before = open_descriptors()
            for _ in range(5):
                with pytest.raises(ValueError, match="Expecting value"):
                    await in_child(visit_and_die)
            await house.until(lambda: gate.clients == 0)
            assert Counter() == open_descriptors() - before
            assert all(desk.is_closed for desk in house.desks)

    running(scenario)


def test_one_uid_cannot_take_all_places(opened):
    async def scenario():
        async with opened(clients_per_uid=2) as (gate, house):
            first = await AsyncPipeClient.connect(gate.path)
            async with first, await AsyncPipeClient.connect(gate.path):
                with pytest.raises(ServerClosedError, match="too many connections"):
                    await AsyncPipeClient.connect(gate.path)
                with pytest.raises(ServerClosedError, match="too many connections"):
                    await asyncio.to_thread(PipeClient.connect, gate.path)
                await first.close()
                await house.until(lambda: gate.clients == 1)
                async with await AsyncPipeClient.connect(gate.path) as again:
                    assert {} == await again.call("echo")

    running(scenario)


@pytest.mark.root
def test_a_flood_of_one_uid_leaves_room_for_another(opened, in_child):
    async def scenario():
        async with opened(clients=8, clients_per_uid=3) as (gate, _):
            flood = [Rude(gate) for _ in range(20)]
            path = gate.path

            def visit():
                with PipeClient.connect(path) as server:
                    return server.call("echo", a=1)

            assert {"a": 1} == await in_child(visit, uid=70_001)
            assert 3 == gate.clients
            for rude in flood:
                rude.socket.close()

    running(scenario)


def test_the_gate_as_a_whole_is_bounded(opened):
    async def scenario():
        async with (
            opened(clients=1, reserve=1) as (gate, _),
            await AsyncPipeClient.connect(gate.path),
            await AsyncPipeClient.connect(gate.path),  # our own uid has the reserve
        ):
            with pytest.raises(ServerClosedError, match="too many"):
                await AsyncPipeClient.connect(gate.path)

    running(scenario)


def test_a_hundred_pipelined_requests_are_answered_and_few_run_at_once(opened):
    async def scenario():
        async with opened(in_flight=4) as (gate, house):
            with Rude(gate) as rude:
                await rude.send(HELLO)
                await rude.hear()
                await rude.send(b"".join(request(n, "wait") for n in range(1, 101)))
                await house.until(lambda: len(house.calls) == 4)
                for _ in range(50):
                    await asyncio.sleep(0)
                assert 4 == len(house.calls)
                house.gate_open.set()
                answered = {(await rude.hear()).id for _ in range(100)}
                assert set(range(1, 101)) == answered

    running(scenario)


def test_a_client_that_reads_nothing_is_cut_off_and_memory_does_not_grow(opened):
    async def scenario():
        async with opened(send_seconds=0.1) as (gate, house):
            with Rude(gate) as rude:
                await rude.send(HELLO)
                await rude.hear()
                big = f'{{"a":"{"x" * 300_000}"}}'

                async def ask_for_ever():
                    for number in range(1, 10_000):
                        await rude.send(request(number, "echo", big))

                with pytest.raises(ConnectionError):
                    await ask_for_ever()
                assert len(house.calls) < 40
            await house.until(lambda: gate.clients == 0)

    running(scenario)


def test_a_refusal_says_the_public_sentence_and_nothing_else(opened):
    async def scenario():
        async with (
            opened() as (gate, _),
            await AsyncPipeClient.connect(gate.path) as server,
        ):
            with pytest.raises(RemoteError) as caught:
                await server.call("denied")
            assert "access is denied" == str(caught.value)
            assert (5, 7) == (caught.value.remote_status, caught.value.record)
            assert {} == await server.call("echo")

    running(scenario)


@pytest.mark.parametrize("operation", ["broken", "unwritable", "huge"])
def test_a_fault_of_the_servers_code_is_logged_there_and_not_told(
    opened, caplog, operation
):
    async def scenario():
        async with (
            opened() as (gate, _),
            await AsyncPipeClient.connect(gate.path) as server,
        ):
            with pytest.raises(RemoteError) as caught:
                await server.call(operation)
            assert {} == await server.call("echo")
            return caught.value

    error = asyncio.run(scenario())
    faults = [r for r in caplog.records if r.levelno == logging.ERROR]
    assert [f"`{operation}` of"] == [
        r.getMessage()[: len(operation) + 5] for r in faults
    ]
    assert faults[0].exc_info is not None
    if operation == "broken":
        assert (1359, "the request failed") == (error.remote_status, str(error))


@pytest.mark.parametrize(
    ("error", "status", "sentence"),
    [
        (AccountDisabledError("alice is disabled"), 1326, "logon failure"),
        (UnknownAccountError("no account has uid 7"), 1326, "logon failure"),
        (LedgerCorruptError("x", sequence=3), 1722, "the server is not available"),
        (ZeroDivisionError("secret"), 1359, "the request failed"),
    ],
)
def test_who_is_not_admitted_cannot_tell_why(opened, error, status, sentence):
    async def scenario():
        async with opened() as (gate, house):
            house.admit_error = error
            with pytest.raises(RemoteError) as caught:
                await asyncio.to_thread(PipeClient.connect, gate.path)
            assert (status, sentence) == (
                caught.value.remote_status,
                str(caught.value),
            )
            house.admit_error = None
            house.refused.add(os.geteuid())
            with pytest.raises(RemoteError, match=r"^logon failure$"):
                await AsyncPipeClient.connect(gate.path)

    running(scenario)


def test_a_stopping_gate_finishes_what_runs_and_takes_nothing_new(opened):
    async def scenario():
        async with opened() as (gate, house):
            with Rude(gate) as rude:
                await rude.send(HELLO)
                await rude.hear()
                await rude.send(request(1, "wait"))
                await house.until(lambda: len(house.calls) == 1)
                stopping = asyncio.create_task(gate.stop())
                await asyncio.sleep(0)
                assert not gate.path.exists()
                with pytest.raises(ConnectionError):
                    await rude.send(request(2))
                house.gate_open.set()
                assert 1 == (await rude.hear()).id
                assert "the server is shutting down" == await rude.last_word()
                await stopping
            assert [(os.geteuid(), "wait")] == house.calls
            assert house.desks[0].is_closed
            assert 0 == gate.clients

    running(scenario)


@pytest.mark.parametrize("operation", ["wait", "stubborn"])
def test_requests_that_outlive_the_grace_are_cancelled(opened, operation):
    async def scenario():
        async with opened() as (gate, house):
            with Rude(gate) as rude:
                await rude.send(HELLO)
                await rude.hear()
                await rude.send(request(1, operation))
                await house.until(lambda: len(house.calls) == 1)
                await gate.stop(grace=1.0)
                assert 0 == gate.clients
                assert house.desks[0].is_closed
                assert [] == house.finished

    running(scenario)


def test_a_client_in_its_first_words_is_told_too_when_the_gate_stops(opened):
    async def scenario():
        async with opened() as (gate, house):
            with Rude(gate) as rude:
                await house.until(lambda: gate.clients == 1)
                await gate.stop()
                assert "the server is shutting down" == await rude.last_word()

    running(scenario)


def test_a_process_out_of_descriptors_rests_and_then_goes_on(opened, caplog):
    async def scenario():
        async with opened() as (gate, house):
            with socket.socket(socket.AF_UNIX) as late:
                limits = resource.getrlimit(resource.RLIMIT_NOFILE)
                # Below it none gets free, whatever threads of other tests close.
                resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
                try:
                    late.settimeout(0.0)
                    late.connect(str(gate.path))
                    await house.until(lambda: "out of descriptors" in caplog.text)
                    turns = 0
                    while gate._door._pause is not None and turns < 50:
                        await asyncio.sleep(0)
                        turns += 1
                    assert 1 == caplog.text.count("out of descriptors")
                finally:
                    resource.setrlimit(resource.RLIMIT_NOFILE, limits)
                await house.until(lambda: gate.clients == 1)

    with caplog.at_level(logging.WARNING):
        running(scenario)


def test_what_one_request_sets_no_other_finds_nor_what_the_opener_had(opened):
    async def scenario():
        async with opened() as (gate, house):
            house.identity.set("whoever opened the gate")
            await gate.stop()
            await gate.start(house.admit)
            async with await AsyncPipeClient.connect(gate.path) as server:
                return [await server.call("identity") for _ in range(2)]

    assert ["nobody", "nobody"] == asyncio.run(scenario())


def test_a_request_that_cannot_be_cancelled_is_left_behind_and_said_so(opened, caplog):
    async def scenario():
        async with opened() as (gate, house):
            with Rude(gate) as rude:
                await rude.send(HELLO)
                await rude.hear()
                await rude.send(request(1, "deaf"))
                await house.until(lambda: len(house.calls) == 1)
                await gate.stop(grace=0.05)
                assert "1 connections do not end" in caplog.text
                assert not house.desks[0].is_closed
                house.gate_open.set()
                await house.until(lambda: gate.clients == 0)
                assert house.desks[0].is_closed

    running(scenario)


def test_a_gate_that_rests_can_be_stopped(opened):
    async def scenario():
        async with opened() as (gate, _):
            gate._door._rest()
            assert gate._door._pause is not None
            await gate.stop()
            assert gate._door._pause is None

    running(scenario)


def test_a_peer_whom_the_kernel_does_not_know_is_turned_away(opened):
    made = socket.socket(socket.AF_UNIX)

    async def scenario():
        async with opened() as (gate, _):
            entrance = gate._door._entrance
            entrance.accept = lambda: (made, None)
            gate._door._accept()
            assert -1 == made.fileno()
            assert 0 == gate.clients

    running(scenario)


def test_a_conversation_that_fails_to_close_is_logged(opened, caplog):
    async def scenario():
        async with opened() as (gate, house):
            async with await AsyncPipeClient.connect(gate.path):
                house.desks[0].is_closed = True
            await house.until(lambda: gate.clients == 0)

    running(scenario)
    assert f"a connection of uid {os.geteuid()} pid {os.getpid()} failed" in caplog.text
