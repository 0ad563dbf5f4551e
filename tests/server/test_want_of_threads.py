"""An operation that was refused for want of threads is not done later, for nobody."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from stead.errors import ServerUnavailableError
from stead.gates.pipe.peer import PeerEvidence
from stead.model.quality_of_service import QualityOfService

ALICE = PeerEvidence(uid=70001, gid=70001, groups=(), pid=1)


@pytest.fixture
def busy(server):
    """Have each thread of the handlers be at work; yields what lets them go on."""
    pool, begun, go_on = server._house.handlers, threading.Semaphore(0), []

    def work(until):
        begun.release()
        assert until.wait(60)

    def occupy():
        while not go_on or len(go_on) < len(pool._threads):
            go_on.append(threading.Event())
            pool.submit(work, go_on[-1])
            assert begun.acquire(timeout=60)
        return lambda: [each.set() for each in go_on]

    yield occupy
    for each in go_on:
        each.set()


@pytest.mark.parametrize(
    ("submit", "refusal", "expected"),
    [
        (ThreadPoolExecutor.submit, RuntimeError, [1, 1]),
        (None, ServerUnavailableError, [1]),
    ],
)
def test_a_payment_that_is_asked_for_again_is_made_once(
    server, monkeypatch, busy, submit, refusal, expected
):
    """The naive pool has queued what it refused, and makes both."""
    paid = []

    @server.operation("pay")
    def pay(client):
        paid.append(1)

    def none_left(_):
        raise RuntimeError("can't start new thread")

    async def scenario():
        conversation = await server.reception.admit(ALICE, QualityOfService(), None)
        go_on = busy()
        if submit is not None:
            monkeypatch.setattr(type(server._house.handlers), "submit", submit)
        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", none_left)
            with pytest.raises(refusal, match="new thread"):
                await conversation.call("pay", {})
        go_on()
        await conversation.call("pay", {})
        # What is still queued is made now: a thread beside may be slower with it.
        await asyncio.to_thread(server._house.handlers.shutdown)
        await conversation.close()

    asyncio.run(asyncio.wait_for(scenario(), 60))
    assert expected == paid
