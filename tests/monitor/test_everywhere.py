"""Wherever Python runs code: the right identity, or an error that names its place."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib.util
import multiprocessing
import os
import subprocess
import sys
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextvars import Context, ContextVar, copy_context
from pathlib import Path

import pytest
import trio

from stead.errors import (
    AccessDeniedError,
    LoopThreadError,
    NoThreadTokenError,
    RevertOrderError,
    SteadError,
    StrangerIdentityError,
)
from stead.model.audit_record import AuditEvent
from stead.monitor.effective import effective_token, thread_token
from stead.monitor.impersonation import impersonate

ENTERED, LEFT = AuditEvent.IMPERSONATION_ENTERED, AuditEvent.IMPERSONATION_LEFT


def said(act):
    """Return what an act returns, or the name of Stead's error."""
    try:
        return act()
    except SteadError as error:
        return type(error).__name__


def exit_code_of_fork(act):
    """Fork; return 0 if the act was true in the fork."""
    child = os.fork()
    if child == 0:
        code = 1
        with contextlib.suppress(BaseException):
            code = 0 if act() else 2
        os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


# --- errors, generators, cancellation -------------------------------------------------


@pytest.mark.parametrize(
    "error", [ValueError, SystemExit, KeyboardInterrupt, GeneratorExit, MemoryError]
)
def test_whatever_is_raised_in_a_block_ends_it(server, alice, trail, error):
    with pytest.raises(error), alice.impersonate():
        raise error
    assert server.token == effective_token()
    assert 1 == len(trail(ENTERED)) == len(trail(LEFT))


def test_a_generator_that_is_dropped_where_it_ran_ends_its_block(server, alice, trail):
    def notes():
        with alice.impersonate():
            yield thread_token()

    steps = notes()
    assert alice.token is next(steps)
    del steps
    gc.collect()
    assert server.token == effective_token()
    assert 1 == len(trail(LEFT))


def test_an_async_generator_that_is_abandoned_is_nobody_between_its_steps(
    server, alice
):
    seen = []

    async def parts():
        step = alice.carry(asked, many=True)
        try:
            while True:
                yield await step()
        finally:
            seen.append(effective_token())

    async def asked():
        await asyncio.sleep(0)
        return effective_token()

    async def main():
        made = parts()
        assert alice.token is await anext(made)
        assert server.token == effective_token()
        del made  # the listener has gone
        gc.collect()
        await asyncio.sleep(0.01)

    asyncio.run(main())
    assert [server.token] == seen


@pytest.mark.parametrize("steps", range(8))
def test_a_task_that_is_cancelled_while_its_thread_works_leaves_that_to_end(
    server, alice, steps
):
    go, found = threading.Event(), []

    def work():
        go.wait(60)
        found.append(effective_token())

    async def main():
        task = asyncio.create_task(asyncio.to_thread(alice.carry(work)))
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        assert server.token == effective_token()
        go.set()

    asyncio.run(main())
    assert found in ([], [alice.token])


# --- threads and processes ------------------------------------------------------------


@pytest.mark.leaks_identity
def test_a_thread_that_dies_in_a_block_takes_its_identity_with_it(server, alice):
    held = []
    thread = threading.Thread(
        target=lambda: held.append((alice.impersonate().__enter__(), copy_context()))
    )
    thread.start()
    thread.join()
    [(block, copy)] = held
    assert server.token == effective_token()
    with pytest.raises(StrangerIdentityError, match="test_everywhere"):
        copy.run(effective_token)
    with pytest.raises(RevertOrderError, match="test_everywhere"):
        block.leave()


def test_a_thread_that_a_block_starts_is_the_server_as_on_windows(server, alice):
    with alice.impersonate(), ThreadPoolExecutor(1) as pool:
        assert server.token == pool.submit(effective_token).result()
        assert (
            "StrangerIdentityError"
            == pool.submit(copy_context().run, said, effective_token).result()
        )


def test_a_process_pool_is_another_process_and_nobody(alice):
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as pool:
        name = pool.submit(nobody_here).result(60)
        carried = pool.submit(alice.carry(nobody_here))
        assert "NotPlainDataError" == type(carried.exception(60)).__name__
    assert "NoProcessTokenError" == name


def nobody_here():
    return said(effective_token)


def test_a_fork_in_a_block_is_a_stranger_and_does_nothing_as_the_server(
    server, alice, tmp_path
):
    path = tmp_path / "secret"
    path.write_text("the server's")

    def in_the_fork():
        outer, inner = blocks
        return (
            "StrangerIdentityError" == said(effective_token)
            and "RevertOrderError" == said(inner.leave)
            and "StrangerIdentityError" == said(effective_token)
            and "AccessDeniedError" == said(path.read_text)
            and "RevertOrderError" == said(outer.leave)
        )

    with alice.impersonate() as outer, server.as_server() as inner:
        blocks = (outer, inner)
        assert 0 == exit_code_of_fork(in_the_fork)
        assert server.token == effective_token()
    assert server.token == effective_token()


def test_a_fork_ends_no_session_of_its_parents(server, alice, guard):
    carried = alice.carry(effective_token)

    def in_the_fork():
        nonlocal carried
        carried = None
        gc.collect()
        return True

    with server.as_server():
        assert 0 == exit_code_of_fork(in_the_fork)
    assert alice.token is carried()


def test_a_carried_function_does_not_run_in_a_fork(server, alice):
    carried = alice.carry(effective_token)
    with server.as_server():
        assert 0 == exit_code_of_fork(
            lambda: (
                said(carried)
                in {
                    "LedgerUnavailableError",
                    "ServerClosedError",
                    "StrangerIdentityError",
                }
            )
        )


def test_a_block_in_a_copied_context_is_that_contexts_alone(server, alice):
    copy = copy_context()

    def work():
        with alice.impersonate():
            return effective_token()

    assert alice.token is copy.run(work)
    assert server.token == copy.run(effective_token)
    assert server.token == Context().run(effective_token)


def test_a_fresh_context_in_a_block_opens_nothing_as_the_server(alice, tmp_path):
    (tmp_path / "secret").write_text("the server's")
    with alice.impersonate(), pytest.raises(AccessDeniedError):
        Context().run((tmp_path / "secret").read_text)


def test_on_trios_thread_nobody_becomes_anybody_whom_its_tasks_would_be_too(
    server, alice
):
    ambient, seen = ContextVar("ambient", default=None), []

    async def child():
        seen.append(ambient.get())

    async def main():
        async with trio.open_nursery() as nursery:
            naive = ambient.set(alice)  # an identity that is a context's, and no more
            nursery.start_soon(child)
            ambient.reset(naive)
        for enter in (alice.impersonate, server.as_server, server.impersonate_self):
            with pytest.raises(LoopThreadError) as refused, enter():
                pass
            assert "trio.to_thread" in refused.value.advice
        with pytest.raises(LoopThreadError):
            await alice.carry(child)()
        return await trio.to_thread.run_sync(alice.carry(effective_token))

    assert alice.token is trio.run(main)
    assert [alice] == seen


def test_nobody_needs_greenlets():
    """They would share a thread and a task; Stead neither has nor asks for them."""
    source = Path(importlib.util.find_spec("stead").origin).parent
    ran = subprocess.run(
        [sys.executable, "-c", "import sys, stead; stead.carry; print(*sys.modules)"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "greenlet" not in ran.stdout.split()
    assert [] == [p for p in source.rglob("*.py") if "import greenlet" in p.read_text()]


def test_a_bare_token_is_nobody_elsewhere_too(alice):
    with impersonate(alice.token), ThreadPoolExecutor(1) as pool:
        with pytest.raises(NoThreadTokenError):
            pool.submit(thread_token).result()
        copied = pool.submit(copy_context().run, said, thread_token)
        assert "StrangerIdentityError" == copied.result()
