"""Carrying an identity to other threads and tasks, where copies give it to nobody."""

from __future__ import annotations

import asyncio
import gc
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import Context
from functools import partial

import anyio
import pytest

from stead import carry
from stead.errors import (
    AccessDeniedError,
    InvalidRequestError,
    LogonSessionEndedError,
    LoopThreadError,
    NoThreadTokenError,
    NotPlainDataError,
    RevertOrderError,
    StrangerIdentityError,
)
from stead.model.audit_record import AuditEvent
from stead.model.sid import Sid
from stead.model.token import AccessToken
from stead.monitor import context
from stead.monitor.effective import effective_token
from stead.monitor.impersonation import impersonate

ENTERED = AuditEvent.IMPERSONATION_ENTERED
LEFT = AuditEvent.IMPERSONATION_LEFT


@pytest.fixture
def pool():
    with ThreadPoolExecutor(1) as made:
        yield made


@pytest.fixture
def is_live(guard):
    return lambda client: client.token.logon_id in guard.liveness._table.by_id


async def whoami():
    before = effective_token()
    await asyncio.sleep(0)
    assert before is effective_token()
    return before


# --- plain functions ----------------------------------------------------------------


def in_a_thread(act):
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(act).result()


def in_a_block_of_another(act):
    return in_a_thread(lambda: Context().run(act))


async def by_anyio(act):
    return await anyio.to_thread.run_sync(act)


async def by_the_loops_executor(act):
    return await asyncio.get_running_loop().run_in_executor(None, act)


WAYS = {
    "here": lambda act: act(),
    "a pool": in_a_thread,
    "a context": in_a_block_of_another,
    "to_thread": lambda act: asyncio.run(asyncio.to_thread(act)),
    "the loop's executor": lambda act: asyncio.run(by_the_loops_executor(act)),
    "anyio": lambda act: anyio.run(by_anyio, act),
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_carried_function_is_the_client_wherever_a_thread_calls_it(
    server, alice, way
):
    with suppress(StrangerIdentityError):
        assert alice.token is not way(effective_token)  # the naive way is not she
    assert alice.token is way(alice.carry(effective_token))
    assert server.token == way(effective_token)


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_what_is_ambient_is_carried_too(alice, bob, way):
    with alice.impersonate():
        carried = carry(effective_token)
        with bob.impersonate():
            assert bob.token is effective_token()
        assert alice.token is in_a_thread(carried)
    with bob.impersonate(), suppress(StrangerIdentityError):
        assert bob.token is not in_a_thread(effective_token)


def test_each_run_is_recorded_under_the_place_that_carried_it(alice, pool, trail):
    carried = alice.carry(effective_token, many=True)
    for _ in range(3):
        pool.submit(carried).result()
    wheres = [record.detail["where"] for record in trail(ENTERED)]
    assert 3 == len(wheres)
    assert {True} == {__file__ in where for where in wheres}
    assert 3 == len(trail(LEFT))


def test_the_chain_of_actors_is_kept(server, alice, bob, pool, trail, chain_of, rights):
    with alice.impersonate():
        carried = bob.carry(partial(server.protect, "draft", rights))
        with bob.impersonate():
            pool.submit(carry(effective_token)).result()
    pool.submit(carried).result()
    chains = [chain_of(record) for record in trail(ENTERED)]
    through = ["notes", "alice", "bob"]
    assert [["notes", "alice"], through, through, through] == chains
    assert through == chain_of(trail(AuditEvent.OBJECT_CREATED)[-1])
    assert through == chain_of(trail(LEFT)[-1])


def test_it_runs_once_unless_many_are_asked_for(alice, pool):
    once, many = alice.carry(effective_token), alice.carry(effective_token, many=True)
    assert alice.token is pool.submit(once).result()
    with pytest.raises(RevertOrderError, match="runs once"):
        once()
    assert [alice.token] * 3 == list(pool.map(lambda _: many(), range(3)))


def test_of_many_threads_that_call_it_at_once_one_runs(alice):
    together, ran = threading.Barrier(8), []
    carried = alice.carry(lambda: ran.append(effective_token()))

    def call():
        together.wait()
        with suppress(RevertOrderError):
            carried()

    threads = [threading.Thread(target=call) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [alice.token] == ran


def test_it_holds_the_session_until_it_has_run(alice, is_live, pool):
    carried = alice.carry(effective_token)
    token = alice.token
    alice.close()
    assert is_live(alice)
    assert token is pool.submit(carried).result()
    assert not is_live(alice)


@pytest.mark.parametrize("many", [False, True])
def test_it_holds_the_session_until_it_is_dropped(alice, is_live, many):
    carried = alice.carry(effective_token, many=many)
    alice.close()
    assert is_live(alice)
    del carried
    assert not is_live(alice)


def test_after_the_sessions_end_it_raises(server, alice, pool, guard):
    carried = alice.carry(effective_token, many=True)
    guard.liveness.end(alice.token.logon_id)
    with pytest.raises(LogonSessionEndedError):
        pool.submit(carried).result()
    with pytest.raises(LogonSessionEndedError):
        alice.carry(effective_token)


def test_what_is_carried_out_of_a_block_ends_with_it(alice, pool):
    with alice.impersonate():
        carried = carry(effective_token, many=True)
        assert alice.token is pool.submit(carried).result()
    with pytest.raises(StrangerIdentityError, match=r"has ended.*test_carrying"):
        pool.submit(carried).result()


def test_nobody_is_not_carried(server, alice, guard):
    with pytest.raises(NoThreadTokenError, match="no client here"):
        carry(effective_token)
    with alice.impersonate(), server.as_server(), pytest.raises(NoThreadTokenError):
        carry(effective_token)


def test_a_strangers_copy_is_not_carried(alice):
    with alice.impersonate(), pytest.raises(StrangerIdentityError):
        asyncio.run(asyncio.to_thread(carry, effective_token))


def test_a_bare_token_is_carried_without_any_server():
    token = AccessToken(Sid.from_string("S-1-5-21-1-2-3-1001"))
    with impersonate(token):
        assert token is in_a_thread(carry(effective_token))


def test_a_raw_act_of_a_carried_function_is_refused(alice, pool, tmp_path):
    (tmp_path / "secret").write_text("the server's")
    naive = pool.submit((tmp_path / "secret").read_text)
    assert "the server's" == naive.result()
    with pytest.raises(AccessDeniedError, match="test_carrying"):
        pool.submit(alice.carry((tmp_path / "secret").read_text)).result()


def test_what_would_run_later_is_not_carried(alice):
    def steps():
        yield effective_token()

    async def async_steps():
        yield effective_token()

    def call():
        return steps()

    def call_async():
        return async_steps()

    def begin():
        return whoami()

    for function in (steps, partial(steps), async_steps):
        with pytest.raises(InvalidRequestError, match="generator"):
            alice.carry(function)
    for made in (call, call_async, begin):
        with pytest.raises(InvalidRequestError, match="still to run"):
            alice.carry(made)()


def test_it_does_not_go_to_another_process(alice):
    with pytest.raises(NotPlainDataError) as refused:
        pickle.dumps(alice.carry(effective_token))
    assert "client.run" in refused.value.advice


def test_on_a_loops_thread_a_plain_function_is_refused_and_may_still_run(alice, pool):
    carried = alice.carry(effective_token)

    async def work():
        told = asyncio.get_running_loop().create_future()

        def callback():
            try:
                told.set_result(carried())
            except LoopThreadError as error:
                told.set_exception(error)

        asyncio.get_running_loop().call_soon(callback)
        await told

    with pytest.raises(LoopThreadError) as refused:
        asyncio.run(work())
    assert "asyncio.to_thread" in refused.value.advice
    assert alice.token is pool.submit(carried).result()


def test_an_error_of_the_function_comes_back_and_its_block_has_ended(
    server, alice, pool
):
    def fail():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        pool.submit(alice.carry(fail)).result()
    assert server.token == pool.submit(effective_token).result()


# --- coroutine functions ------------------------------------------------------------


def test_a_carried_coroutine_is_the_client_in_each_step_and_nobody_else_is(
    server, alice, bob, trail
):
    seen = []

    async def look():
        for _ in range(20):
            seen.append(effective_token())
            await asyncio.sleep(0)

    async def main():
        async with asyncio.TaskGroup() as group:
            mine = [group.create_task(c.carry(whoami)()) for c in (alice, bob) * 5]
            group.create_task(look())
        assert server.token == effective_token()
        return [task.result() for task in mine]

    assert [alice.token, bob.token] * 5 == asyncio.run(main())
    assert {server.token} == set(seen)
    assert 10 == len(trail(ENTERED))
    assert 10 == len(trail(LEFT))


def test_in_the_task_that_awaits_it_only_its_own_steps_are_the_client(server, alice):
    async def main():
        assert server.token == effective_token()
        steps = alice.carry(whoami)()
        assert alice.token is await steps
        assert server.token == effective_token()

    asyncio.run(main())


def test_tasks_callbacks_and_threads_that_a_step_begins_are_strangers(alice):
    async def ask():
        return effective_token()

    async def work():
        told = asyncio.get_running_loop().create_future()

        def callback():
            with pytest.raises(StrangerIdentityError):
                effective_token()
            told.set_result(None)

        asyncio.get_running_loop().call_soon(callback)
        await told
        found = await asyncio.gather(
            asyncio.create_task(ask()),
            asyncio.to_thread(effective_token),
            return_exceptions=True,
        )
        assert [StrangerIdentityError] * 2 == [type(error) for error in found]
        return await asyncio.to_thread(carry(effective_token))

    assert alice.token is asyncio.run(alice.carry(work)())


def test_a_step_opens_nothing_as_the_server(alice, tmp_path):
    path = tmp_path / "secret"
    path.write_text("the server's")

    async def work():
        await asyncio.sleep(0)
        with pytest.raises(AccessDeniedError):
            Context().run(path.read_text)
        return path.read_text()

    assert "the server's" == asyncio.run(asyncio.to_thread(path.read_text))
    with pytest.raises(AccessDeniedError, match="test_carrying"):
        asyncio.run(alice.carry(work)())


def test_carried_coroutines_nest_and_records_name_the_chain(
    alice, bob, trail, chain_of
):
    async def outer():
        assert alice.token is effective_token()
        assert bob.token is await bob.carry(whoami)()
        assert alice.token is effective_token()

    asyncio.run(alice.carry(outer)())
    assert [["notes", "alice"], ["notes", "alice", "bob"]] == [
        chain_of(record) for record in trail(ENTERED)
    ]


def test_as_server_inside_a_step_lasts_over_an_await_and_no_longer(server, alice):
    async def work():
        with server.as_server():
            await asyncio.sleep(0)
            assert server.token == effective_token()
        return effective_token()

    async def main():
        task = asyncio.create_task(alice.carry(work)())
        await asyncio.sleep(0)
        return await task

    assert alice.token is asyncio.run(main())


@pytest.mark.leaks_identity
def test_a_block_that_is_left_open_in_a_step_is_an_error(server, alice, trail):
    async def work():
        held.append(server.as_server().__enter__())

    async def main():
        with pytest.raises(RevertOrderError, match="left a block open"):
            await alice.carry(work)()
        return effective_token()

    held = []
    assert server.token == asyncio.run(main())
    assert 1 == len(trail(AuditEvent.IDENTITY_LEAKED))


@pytest.mark.parametrize("wait", range(12))
def test_cancelled_at_any_await_it_is_left_and_recorded(
    server, alice, trail, is_live, wait
):
    async def work():
        for _ in range(4):
            assert alice.token is effective_token()
            await asyncio.sleep(0)

    async def main():
        task = asyncio.create_task(alice.carry(work)())
        for _ in range(wait):
            await asyncio.sleep(0.0005)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        assert server.token == effective_token()

    asyncio.run(main())
    assert context.watched_frame() is None
    gc.collect()
    alice.close()
    assert not is_live(alice)
    assert len(trail(ENTERED)) == len(trail(LEFT))


def test_a_coroutine_that_is_dropped_in_the_middle_cleans_up_as_the_client(
    server, alice, is_live
):
    ended = []

    async def work(begun):
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            with suppress(StrangerIdentityError):
                ended.append(effective_token())

    async def main():
        begun = asyncio.Event()
        steps = alice.carry(work)(begun)
        task = asyncio.create_task(steps)
        await asyncio.wait_for(begun.wait(), 60)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert [alice.token] == ended
    alice.close()
    assert not is_live(alice)


def test_a_coroutine_that_another_task_goes_on_with_is_nobody_there(alice):
    async def work():
        await asyncio.sleep(0)
        return effective_token()

    async def main():
        steps = alice.carry(work)()

        async def begin():
            step = steps.send(None)
            while step is not None:  # until its first own `sleep(0)`
                step._asyncio_future_blocking = False
                await asyncio.wait([step])
                step = steps.send(None)

        async def go_on():
            steps.send(None)

        await asyncio.create_task(begin())
        await asyncio.create_task(go_on())

    with pytest.raises(StrangerIdentityError):
        asyncio.run(main())


def test_outside_a_task_a_carried_coroutine_does_not_begin(alice):
    with pytest.raises(LoopThreadError, match="this is none"):
        alice.carry(whoami)().send(None)


def test_anyio_starts_carried_coroutines_in_its_groups(alice, bob):
    found = []

    async def note():
        found.append(await whoami())

    async def main():
        async with anyio.create_task_group() as group:
            group.start_soon(alice.carry(note))
            group.start_soon(bob.carry(note))

    anyio.run(main)
    assert {alice.token.user, bob.token.user} == {token.user for token in found}


def test_objects_and_methods_are_carried_as_what_they_are(alice):
    class Asked:
        async def __call__(self):
            return await whoami()

        async def ask(self):
            return await whoami()

    async def main():
        return await alice.carry(Asked())(), await alice.carry(Asked().ask)()

    assert (alice.token, alice.token) == asyncio.run(main())
