"""What one uid may use: bytes that are claimed, and a worker one at a time."""

import asyncio
import threading

import pytest

from stead.gates.pipe.shares import Shares


@pytest.fixture
def shares():
    made = Shares(100)
    yield made
    made.close()


def states(claims):
    return [claim.granted.done() and claim.granted.result() for claim in claims]


def test_claims_are_granted_in_order_while_they_fit(shares):
    async def scenario():
        share = shares.of(1)
        claims = [share.claim(size) for size in (60, 40, 50, 10)]
        assert [True, True, False, False] == states(claims)
        claims[0].release()
        assert [True, True, True, True] == states(claims)
        assert 100 == share.held

    asyncio.run(scenario())


def test_what_a_claim_no_longer_needs_others_get(shares):
    async def scenario():
        share = shares.of(1)
        first, second = share.claim(90), share.claim(80)
        first.shrink(20)
        assert [True, True] == states([first, second])
        first.shrink(90)  # it does not grow again
        assert 100 == share.held
        for claim in (first, second, second):
            claim.release()
        assert 0 == share.held

    asyncio.run(scenario())


def test_a_claim_above_the_bound_waits_until_it_is_alone(shares):
    async def scenario():
        share = shares.of(1)
        small, large = share.claim(1), share.claim(1000)
        assert [True, False] == states([small, large])
        small.release()
        assert [True] == states([large])
        large.release()
        assert 0 == share.held

    asyncio.run(scenario())


def test_who_gives_up_or_is_cancelled_does_not_stand_in_the_way(shares):
    async def scenario():
        share = shares.of(1)
        held, *waiting = [share.claim(size) for size in (50, 80, 90, 50)]

        async def wait():
            with waiting[1] as claim:
                await claim.granted

        task = asyncio.create_task(wait())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        waiting[0].give_up()
        assert not await waiting[0].granted
        assert waiting[2].granted.result()
        for claim in (held, *waiting):
            claim.release()
        assert 0 == share.held

    asyncio.run(scenario())


def test_each_uid_has_a_share_of_its_own_while_it_is_used(shares):
    async def scenario():
        share = shares.of(1)
        share.claim(100)
        assert share is shares.of(1)
        assert shares.of(2).claim(100).granted.result()

    asyncio.run(scenario())


def test_work_is_done_off_the_loop_one_piece_at_a_time_for_each_uid(shares):
    running = {1: 0, 2: 0}
    together = threading.Barrier(2)
    seen = []

    def task(uid, *, meet):
        running[uid] += 1
        seen.append((running[uid], threading.current_thread()))
        if meet:  # two uids are worked for at a time
            together.wait(60)
        running[uid] -= 1
        return uid

    async def scenario():
        ours, theirs = shares.of(1), shares.of(2)
        done = await asyncio.gather(
            *(ours.work(lambda: task(1, meet=False)) for _ in range(5))
        )
        assert [1] * 5 == done
        met = await asyncio.gather(
            ours.work(lambda: task(1, meet=True)),
            theirs.work(lambda: task(2, meet=True)),
        )
        assert [1, 2] == met

    asyncio.run(scenario())
    assert {1} == {count for count, _ in seen}
    assert threading.main_thread() not in {thread for _, thread in seen}


def test_work_that_fails_says_so_and_the_next_is_done(shares):
    def fail():
        raise ZeroDivisionError

    async def scenario():
        share = shares.of(1)
        with pytest.raises(ZeroDivisionError):
            await share.work(fail)
        assert 7 == await share.work(lambda: 7)

    asyncio.run(scenario())
