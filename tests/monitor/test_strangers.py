"""A copy of an identity that another thread or task finds makes it nobody."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context

import pytest

from stead.errors import (
    AccessDeniedError,
    LateImportError,
    NoThreadTokenError,
    StrangerIdentityError,
)
from stead.model.audit_record import AuditEvent
from stead.monitor.context import FrameKind
from stead.monitor.effective import (
    current_guard,
    effective_token,
    process_token,
    thread_token,
)
from stead.monitor.impersonation import Block, impersonate


@pytest.fixture
def elsewhere():
    """Give what runs a call on another thread, in a copy of the caller's context."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(int).result()
        yield lambda act: pool.submit(copy_context().run, act).result()


@pytest.mark.parametrize("ask", [effective_token, thread_token, process_token])
def test_a_thread_that_runs_a_copy_is_told_so(alice, elsewhere, ask):
    with alice.impersonate(), pytest.raises(StrangerIdentityError, match=r"\.py:\d+"):
        elsewhere(ask)


def test_a_bare_token_is_not_impersonated_by_a_stranger(alice, bob, elsewhere):
    with alice.impersonate(), pytest.raises(StrangerIdentityError):
        elsewhere(lambda: impersonate(bob.token))


def test_a_stranger_may_enter_a_block_of_its_own(alice, bob, elsewhere):
    def work():
        with bob.impersonate():
            return effective_token()

    with alice.impersonate():
        assert bob.token is elsewhere(work)


def test_a_strangers_records_do_not_name_whom_it_copied(
    alice, bob, elsewhere, trail, chain_of
):
    def work():
        with bob.impersonate():
            pass

    with alice.impersonate():
        elsewhere(work)
    assert ["notes", "bob"] == chain_of(trail(AuditEvent.IMPERSONATION_ENTERED)[1])


def test_a_copy_that_outlives_the_block_is_still_a_strangers(alice):
    with alice.impersonate():
        copy = copy_context()
    with pytest.raises(StrangerIdentityError):
        copy.run(effective_token)


def test_a_task_that_is_created_inside_a_block_is_a_stranger(alice):
    async def work():
        effective_token()

    with alice.impersonate(), pytest.raises(StrangerIdentityError):
        asyncio.run(work())


def test_a_task_that_outlives_its_parents_block_is_nobody(server):
    async def child(go):
        await go.wait()
        return effective_token()

    async def parent():
        go = asyncio.Event()
        with server.as_server():
            task = asyncio.create_task(child(go))
        go.set()
        await task

    with pytest.raises(StrangerIdentityError):
        asyncio.run(parent())


def test_to_thread_from_a_servers_block_is_a_stranger(server):
    async def work():
        with server.as_server():
            await asyncio.to_thread(effective_token)

    with pytest.raises(StrangerIdentityError):
        asyncio.run(work())


def test_a_loops_callback_is_a_stranger(server):
    async def work():
        answer = asyncio.get_running_loop().create_future()

        def callback():
            try:
                answer.set_result(effective_token())
            except StrangerIdentityError as error:
                answer.set_exception(error)

        with server.as_server():
            asyncio.get_running_loop().call_soon(callback)
            await answer

    with pytest.raises(StrangerIdentityError):
        asyncio.run(work())


def test_an_executor_does_not_copy_the_context_and_is_the_server(server, alice):
    with ThreadPoolExecutor(1) as pool, alice.impersonate():
        assert server.token == pool.submit(effective_token).result()


@pytest.mark.leaks_identity
def test_a_thread_with_the_number_of_one_that_ended_is_a_stranger(alice):
    found: list[tuple[int, object]] = []

    def enter():
        alice.impersonate().__enter__()
        found.append((threading.get_ident(), copy_context()))

    def find():
        try:
            token = found[0][1].run(effective_token)
        except StrangerIdentityError as error:
            token = error
        found.append((threading.get_ident(), token))

    again: list[object] = []
    for _ in range(20):  # others of this process may take the number, and live on
        found.clear()
        for work in (enter, *[find] * 50):
            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
        number, _ = found.pop(0)
        again = [answer for ident, answer in found if ident == number]
        if again:
            break
    assert again, "no thread was given the number of the one that ended"
    assert all(isinstance(answer, StrangerIdentityError) for answer in again)


def test_a_handler_is_nobody_and_so_is_every_copy_of_it(server, guard, elsewhere):
    with Block(FrameKind.HANDLER, None, guard):
        with pytest.raises(NoThreadTokenError, match="no identity of its own"):
            effective_token()
        with pytest.raises(NoThreadTokenError):
            elsewhere(effective_token)
        assert server.token == process_token()
        assert guard is elsewhere(current_guard)


# --- what strangers do to the machine ---------------------------------------------


def test_a_strangers_raw_open_is_refused_and_never_the_servers(
    alice, elsewhere, tmp_path, trail
):
    path = tmp_path / "secret"
    path.write_text("the server's")
    naive = path.read_text  # what the hook lets through where no copy lies
    assert "the server's" == naive()
    with alice.impersonate(), pytest.raises(AccessDeniedError, match="holds a copy"):
        elsewhere(naive)
    [refused] = trail(AuditEvent.RAW_ACT_REFUSED)
    assert str(path) == refused.object_name


def test_a_task_inside_a_block_opens_nothing_as_the_server(alice, tmp_path):
    path = tmp_path / "secret"
    path.write_text("the server's")

    async def work():
        return path.read_text()

    with alice.impersonate(), pytest.raises(AccessDeniedError):
        asyncio.run(work())
    assert "the server's" == asyncio.run(work())


def test_a_copy_opens_nothing_after_its_block_has_ended(alice, tmp_path):
    (tmp_path / "secret").write_text("the server's")
    with alice.impersonate():
        copy = copy_context()
    with pytest.raises(AccessDeniedError):
        copy.run((tmp_path / "secret").read_text)


def test_a_strangers_first_import_is_refused(alice, elsewhere):
    with alice.impersonate(), pytest.raises(LateImportError):
        elsewhere(lambda: __import__("this"))
