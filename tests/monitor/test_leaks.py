"""Every planted leak is found and names where it entered; what is right is none."""

from __future__ import annotations

import asyncio
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import Context, copy_context
from types import SimpleNamespace

import anyio.to_thread
import pytest

from stead import carry
from stead.errors import RevertOrderError, SteadError
from stead.monitor import context
from stead.monitor.effective import effective_token
from stead.monitor.impersonation import set_thread_token
from stead.monitor.leaks import MOST_PLACES, Leak, LeakWatch

planted = pytest.mark.leaks_identity


@pytest.fixture
def pool():
    with ThreadPoolExecutor(1) as made:
        yield made


@pytest.fixture
def only(identity_leaks):
    """Give what demands that just one leak was found, here, and returns its text."""

    def look() -> str:
        [leak] = identity_leaks()
        assert __file__ in leak.where
        return str(leak)

    return look


def plant(client):
    return client.impersonate().__enter__()


# --- planted ------------------------------------------------------------------------


@planted
def test_an_identity_that_an_item_of_a_pool_leaves_for_the_next(alice, pool, only):
    held = pool.submit(plant, alice).result()
    # What the naive pool does: the next item is she, though nobody said so.
    assert alice.token is pool.submit(effective_token).result()
    assert "`alice` entered at" in only()
    assert "an item of a thread pool ended" in only()
    del held


@planted
@pytest.mark.parametrize(
    ("library", "verb"), [(asyncio, "to_thread"), (anyio.to_thread, "run_sync")]
)
def test_one_that_an_item_leaves_in_a_copy_of_its_context(
    alice, identity_leaks, library, verb
):
    held, naive, found = [], [], []

    def item():
        held.append(plant(alice))

    async def main():
        await getattr(library, verb)(item)
        # On the item's thread, which the naive look asks, the copy is gone already.
        loop = asyncio.get_running_loop()
        naive.append(await loop.run_in_executor(None, context.raw_frame))
        found.extend(identity_leaks())

    asyncio.run(main())
    assert [None] == naive
    assert ["was in force when an item of a thread pool ended"] == [
        leak.moment for leak in found
    ]


@planted
def test_one_that_is_set_by_hand_in_a_pool(alice, pool, only):
    pool.submit(lambda: set_thread_token(alice.token)).result()
    assert "an item of a thread pool ended" in only()


@planted
def test_one_on_the_servers_own_executor(server, alice, only):
    item = server.executor().submit(plant, alice)
    assert isinstance(item.exception(), RevertOrderError)
    assert "an item of `server.executor()` ended" in only()


@planted
def test_one_that_outlives_its_thread(alice, only):
    held = []
    thread = threading.Thread(target=lambda: held.append(plant(alice)))
    thread.start()
    thread.join()
    assert "its thread ended" in only()


@planted
def test_one_of_the_server_that_outlives_its_task(server, only):
    held = []

    async def main():
        async def work():
            held.append(server.as_server().__enter__())

        await asyncio.create_task(work())

    asyncio.run(main())
    assert "`the server` entered at" in only()
    assert "its task ended" in only()


@planted
def test_one_that_a_handler_returns_with(server, alice, only):
    @server.operation("leak")
    def leak(client) -> None:
        held.append(client.impersonate().__enter__())

    held = []
    with pytest.raises(SteadError):
        server.call(alice, "leak")
    assert "a handler returned" in only()


@planted
def test_one_that_is_forgotten(alice, only):
    Context().run(plant, alice)
    assert "nobody can leave it any more" in only()


@planted
def test_one_in_a_generator_that_somebody_else_closes(alice, pool, only):
    def notes():
        with alice.impersonate():
            yield

    held = notes()
    next(held)
    with pytest.raises(RevertOrderError):
        pool.submit(held.close).result()
    assert "another thread or task" in only()


@planted
def test_one_place_is_told_once_and_all_places_are_bounded(alice):
    told: list[Leak] = []
    with LeakWatch(told.append) as watch:
        for _ in range(3):
            Context().run(plant, alice)
        assert 1 == len(told)
        for number in range(2 * MOST_PLACES):
            watch.say(Leak(f"place {number}", "leaked"))
    assert MOST_PLACES == len(told)


# --- what is no leak ------------------------------------------------------------------


def test_blocks_in_threads_pools_and_steps_are_no_leaks(
    server, alice, bob, pool, identity_leaks
):
    def work():
        with alice.impersonate(), bob.impersonate(), server.as_server():
            return effective_token()

    async def steps():
        await asyncio.sleep(0)
        return await asyncio.to_thread(carry(effective_token))

    for _ in range(20):
        assert server.token == pool.submit(work).result()
        assert server.token == server.executor().submit(work).result()
        assert alice.token is asyncio.run(alice.carry(steps)())
    assert () == identity_leaks()


def test_a_carried_function_that_never_runs_is_none(alice, identity_leaks):
    alice.carry(effective_token)
    with alice.impersonate():
        carry(effective_token)
    assert () == identity_leaks()


def test_a_copy_in_a_task_that_lives_longer_is_nobodys_and_none(server, identity_leaks):
    async def main():
        with server.as_server():
            task = asyncio.create_task(asyncio.sleep(0.01))
            copy = copy_context()
        await task
        return copy

    copy = asyncio.run(main())
    assert () == identity_leaks()
    with pytest.raises(SteadError):
        copy.run(effective_token)


def test_one_task_with_many_blocks_is_watched_once_and_none(server, identity_leaks):
    async def work(rounds):
        for _ in range(rounds):
            with server.as_server():
                await asyncio.sleep(0)

    async def main():
        tasks = [asyncio.create_task(work(rounds)) for rounds in (1, 30, 2, 3)]
        await asyncio.gather(*tasks)

    asyncio.run(main())
    assert () == identity_leaks()


def test_a_block_around_the_work_of_a_pool_is_none(alice, pool, identity_leaks):
    with alice.impersonate():
        pool.submit(int).result()
        assert () == identity_leaks()


def test_a_fork_that_copies_a_block_is_none(server, alice, identity_leaks):
    with server.as_server():
        child = os.fork()
        if child == 0:
            code = 9
            with suppress(SteadError):
                effective_token()  # the parent's identity, not the fork's
                code = 8
            os._exit(0 if code == 9 and not identity_leaks() else 1)
        assert 0 == os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert () == identity_leaks()


@pytest.fixture
def alone():
    """Have nobody watch but the test."""
    others = context.watches()
    for watch in others:
        watch.__exit__(None, None, None)
    yield
    for watch in others:
        watch.__enter__()


def test_the_pools_verbs_are_as_they_were_when_nobody_watches(alone):
    def verbs():
        return ThreadPoolExecutor.submit, anyio.to_thread.run_sync

    before = verbs()
    with LeakWatch(print):
        assert all(a is not b for a, b in zip(before, verbs(), strict=True))
    assert before == verbs()


class Naive:
    """A watch that puts back what it found."""

    def __init__(self, pool):
        self.pool, self.before = pool, pool.submit
        pool.submit = self

    def end(self):
        self.pool.submit = self.before


@planted
def test_who_begins_and_ends_first_takes_nothing_from_who_watches_still(alone, alice):
    pool = SimpleNamespace(submit=None)
    first, second = Naive(pool), Naive(pool)
    first.end()
    assert pool.submit is not second

    before = ThreadPoolExecutor.submit
    found = []
    first, second = LeakWatch(print), LeakWatch(found.append)
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    with ThreadPoolExecutor(1) as pool:
        held = pool.submit(plant, alice).result()
    assert ["was in force when an item of a thread pool ended"] == [
        leak.moment for leak in found
    ]
    second.__exit__(None, None, None)
    assert before is ThreadPoolExecutor.submit
    del held
