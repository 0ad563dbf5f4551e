"""Serving until a signal: the program's own ways with signals are its own again."""

import asyncio
import os
import signal

import pytest


@pytest.fixture
def own():
    """What the program does on a signal itself."""
    heard = []
    before = signal.signal(signal.SIGTERM, lambda number, _: heard.append(number))
    yield heard
    signal.signal(signal.SIGTERM, before)


def stop():
    os.kill(os.getpid(), signal.SIGTERM)


def test_a_program_s_own_handlers_are_in_force_again(server, own):
    """The loop alone sets what would end the process."""
    handler = signal.getsignal(signal.SIGTERM)

    async def naive():
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, int)
        loop.remove_signal_handler(signal.SIGTERM)

    asyncio.run(naive())
    assert signal.SIG_DFL is signal.getsignal(signal.SIGTERM)
    signal.signal(signal.SIGTERM, handler)
    asyncio.run(server.serve(ready=stop))
    assert [] == own
    stop()
    assert [signal.SIGTERM] == own


def test_signals_while_gates_stop_break_nothing_off(server, own):
    class Gate:
        stopped = 0

        async def start(self, admit):
            pass

        async def stop(self):
            stop()
            await asyncio.sleep(0.01)
            Gate.stopped += 1

    asyncio.run(server.serve(Gate(), Gate(), ready=stop))
    assert (2, []) == (Gate.stopped, own)
