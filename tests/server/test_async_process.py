"""Streams over the pipes of programs, and being called off while they are connected."""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import suppress

import pytest

from stead.model.posix_identity import PosixIdentity
from stead.server.acting.async_process import AsyncClientProcess
from stead.server.acting.process_pipes import open_ends
from stead.server.acting.process_plan import Plan
from stead.server.acting.processes import Life

SECONDS = 60
A_MOMENT = 0.2  # for what is never heard, not to be heard
MANY_TURNS = 60

PIPES = {"stdin": -1, "stdout": -1, "stderr": -1}


@pytest.fixture
def identity():
    return PosixIdentity(os.getuid(), os.getgid())


def run(work):
    return asyncio.run(asyncio.wait_for(work, SECONDS))


async def hears(number, seconds):
    """Return whether a new connection that gets this descriptor is listened to."""
    os.dup2(0, number)  # none of the two gets it first
    ours, theirs = socket.socketpair()
    os.dup2(ours.fileno(), number)
    innocent = socket.socket(fileno=number)
    told, loop = asyncio.Event(), asyncio.get_running_loop()
    with ours, theirs, innocent:
        loop.add_reader(number, told.set)
        theirs.send(b"hello")
        with suppress(TimeoutError):
            await asyncio.wait_for(told.wait(), seconds)
        loop.remove_reader(number)
    return told.is_set()


def is_open(number):
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def test_files_closed_under_their_streams_leave_innocent_connections_deaf():
    async def work():
        reading, writing = os.pipe()
        with os.fdopen(writing, "wb", buffering=0):
            naive = os.fdopen(reading, "rb", buffering=0)
            transport, _ = await asyncio.get_running_loop().connect_read_pipe(
                asyncio.Protocol, naive
            )
            naive.close()
            assert not await hears(reading, A_MOMENT)
            transport.close()

    run(work())


@pytest.mark.parametrize("options", [PIPES, {"terminal": True}])
@pytest.mark.parametrize("has_nobody", [False, True])
def test_what_is_called_off_while_it_is_connected_is_out_of_the_loop(
    identity, options, has_nobody
):
    async def called_off_after(turns):
        """Return whether it was; then nothing of it is left."""
        ends = open_ends(Plan.of(["true"], options), identity)
        numbers = [
            number
            for number in (ends.stdin, ends.stdout, ends.stderr, ends.terminal)
            if number is not None
        ]
        if has_nobody:  # what ended at once: its streams end by themselves
            ends.close_theirs()
        task = asyncio.create_task(AsyncClientProcess.of(Life("true", ends)))
        loop = asyncio.get_running_loop()

        def turn(left):
            loop.call_soon(turn, left - 1) if left else task.cancel()

        turn(turns)
        with suppress(asyncio.CancelledError):
            process = await task
            process.stdin.close()
            for _, transport in process._outputs:
                transport.close()
        ends.close()
        if task.cancelled():
            assert not [number for number in numbers if is_open(number)]
            assert all([await hears(number, SECONDS) for number in numbers])
        return task.cancelled()

    async def work():
        failures = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: failures.append(context))
        came = [await called_off_after(turns) for turns in range(MANY_TURNS)]
        assert came[0]
        assert not came[-1]
        assert [] == failures

    run(work())
