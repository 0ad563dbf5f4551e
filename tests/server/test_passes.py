"""An operation's many blocks: judged once, counted, told together, never loosened."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import os
import sqlite3
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from stead.decision.token_ops import duplicate_token
from stead.errors import (
    AccessDeniedError,
    BadImpersonationLevelError,
    ImpersonationRefusedError,
    KernelRefusedError,
    LedgerUnavailableError,
    LogonSessionEndedError,
    NotARegularFileError,
    RevertOrderError,
)
from stead.ledger.query import Query
from stead.model.audit_record import AuditEvent, Outcome
from stead.model.impersonation_policy import ImpersonationPolicy, ImpersonationRule
from stead.model.token import ImpersonationLevel
from stead.monitor import context, frames, passing
from stead.monitor.carrying import run_aside
from stead.monitor.covering import covering
from stead.monitor.frames import FrameKind
from stead.monitor.impersonation import Block
from stead.monitor.stepping import run_in_steps
from stead.privileged.system_uids import DEFAULT_GUARD_UID
from stead.server.client_context import ClientContext
from stead.server.enforcement import Enforcement

ENTERED, LEFT = AuditEvent.IMPERSONATION_ENTERED, AuditEvent.IMPERSONATION_LEFT
ALICE = 70_001
SECONDS = 60
MANY = 40


class PureBlock(Block):
    """A block that takes Python's way, whatever was built."""

    __slots__ = ()

    def __enter__(self):
        return self._enter()

    def __exit__(self, *exc):
        self.leave(*exc)


@pytest.fixture(params=["twin", "python"])
def enter(request):
    """Return what enters and leaves a block, at one line for all who call it."""
    if request.param == "twin":
        # It is there, or was left out on purpose.
        assert frames.TWIN is not None or "stead.monitor._frames" in sys.modules

        def go(client, act=lambda: None):
            with client.impersonate():
                act()

        return go

    def purely(client, act=lambda: None):
        with PureBlock(FrameKind.CLIENT, client.subject, client._guard, keep=client):
            act()

    return purely


@pytest.fixture(autouse=True)
def _in_no_hurry(monkeypatch):
    """Let a pass be good for a minute: how fast this machine is says nothing."""
    monkeypatch.setattr(passing, "UNTOLD", 60_000_000_000)


@pytest.fixture
def served(open_server, world):
    folder = world / "store"
    folder.mkdir(mode=0o700)
    server = open_server(store=folder / "notes.db")
    for name in ("alice", "bob"):
        server.accounts.add(name)
    return server


@pytest.fixture
def alice(served, client_of):
    return client_of(served, "alice").for_request(1, "work")


@pytest.fixture
def operate(served, alice):
    """Return what runs a function as an operation of alice's."""

    def run(act, client=alice):
        @served.operation("work")
        def work(client: ClientContext) -> None:
            act(client)

        return served.call(client, "work")

    return run


@pytest.fixture
def told(served, alice):
    """Return what counts what the trail says of blocks, and in how many records."""

    def tell(event=ENTERED, whose=alice):
        records = [
            record
            for _, record in served.trail.find(Query(event=event))
            if record.correlation == whose.subject.correlation
            and record.outcome is Outcome.SUCCESS
        ]
        return sum(int(r.detail.get("count", 1)) for r in records), len(records)

    return tell


def pass_here():
    """Return the pass that this thread came to last."""
    return context.here().passes[-1]


def many(client, enter, times=MANY):
    for _ in range(times):
        enter(client)


def test_blocks_at_one_line_are_counted_and_all_told_before_the_answer(
    served, alice, operate, told, enter
):
    operate(lambda client: many(client, enter))
    (entered, records), (left, _) = told(), told(LEFT)
    assert (MANY, MANY) == (entered, left)
    assert records < MANY // 2  # naive: a record each
    events = [
        record.event
        for _, record in served.trail.find(Query())
        if record.correlation == alice.subject.correlation
    ]
    assert AuditEvent.OPERATION_REQUESTED is events[0]
    assert AuditEvent.OPERATION_ENDED is events[-1]


def test_each_record_names_client_level_line_and_request(served, alice, operate, enter):
    operate(lambda client: many(client, enter))
    of_all = [record for _, record in served.trail.find(Query(event=ENTERED))]
    counted = [record for record in of_all if "count" in record.detail]
    assert counted
    for record in of_all:
        assert ("alice", "work", "impersonation") == (
            record.client.name, record.operation, record.detail["level"]
        )  # fmt: skip
        assert alice.subject.correlation == record.correlation
        assert "test_passes.py" in record.detail["where"]
        assert ["notes", "alice"] == [link.name for link in record.chain]
    assert all(int(record.detail["since"]) <= record.time for record in counted)


def test_each_line_and_each_thread_has_a_record_of_its_own(operate, told, served):
    def work(client):
        for _ in range(3):
            with client.impersonate():
                pass
            with client.impersonate():
                pass

        def elsewhere():
            for _ in range(3):
                with client.impersonate():
                    pass

        thread = threading.Thread(
            target=contextvars.copy_context().run, args=(elsewhere,)
        )
        thread.start()
        thread.join(SECONDS)

    operate(work)
    assert 9 == told()[0]
    by_itself = [
        r for _, r in served.trail.find(Query(event=ENTERED)) if "count" not in r.detail
    ]
    assert 3 <= len({record.detail["where"] for record in by_itself})


def test_what_is_counted_is_told_again_in_time_though_the_operation_goes_on(
    operate, told, enter, served
):
    found = []

    def work(client):
        many(client, enter, 3)
        pass_here()._until = 0  # its time is over
        enter(client)
        served.accounts.add("carol")  # its record is durable after theirs
        found.append(told())

    operate(work)
    # The first, the two others by one record, and the one that was judged anew.
    assert [(4, 3)] == found


def test_an_operation_counts_at_so_many_lines_and_records_the_others(operate, told):
    lines, found = passing.MOST_PASSES + 6, []

    def work(client):
        for _ in range(2):
            for line in range(lines):
                with Block(
                    FrameKind.CLIENT, client.subject, client._guard, at=f"x.py:{line}"
                ):
                    pass
        found.append(len(context.here().passes))

    operate(work)
    assert [passing.MOST_PASSES] == found
    assert [] == context.here().passes
    assert 2 * lines == told()[0]


def test_a_session_that_ends_lets_nobody_in_on_a_pass(operate, enter, served):
    def work(client):
        many(client, enter)
        served._house.guard.liveness.end(client.token.logon_id)
        with pytest.raises(LogonSessionEndedError):
            enter(client)

    operate(work)
    assert [] == [p for p in context.here().passes if not p.cover.is_over]


def test_a_disabled_account_is_let_in_no_more(operate, enter, served):
    refused = []

    def work(client):
        many(client, enter)
        served.accounts.disable("alice")
        with pytest.raises(LogonSessionEndedError):
            enter(client)
        refused.append(True)

    operate(work)
    assert [True] == refused


def test_an_end_in_the_store_is_seen_with_the_lease(operate, enter, served):
    """Another process changes the account: nobody here is told."""
    asked, sessions = [], served._house.guard.liveness

    def work(client):
        many(client, enter)
        before = sessions._leases._fitness
        session = sessions._table.by_id[client.token.logon_id]
        session.lease_ends = time.monotonic_ns() + 60_000_000_000
        sessions._leases._fitness = Unfit(asked)
        try:
            enter(client)  # within the lease
            session.lease_ends = time.monotonic_ns()
            with pytest.raises(LogonSessionEndedError):
                enter(client)
        finally:
            sessions._leases._fitness = before

    operate(work)
    assert 1 == len(asked)


def test_a_session_that_ends_by_itself_lets_nobody_in_by_either_clock(
    operate, enter, served
):
    refused, sessions = [], served._house.guard.liveness

    def work(client):
        session = sessions._table.by_id[client.token.logon_id]
        session.over = time.monotonic_ns() + 10**15
        many(client, enter)
        assert pass_here().entered
        session.ends_at = time.time_ns()  # the clock on the wall says so
        with pytest.raises(LogonSessionEndedError):
            enter(client)
        session.ends_at, session.over = None, time.monotonic_ns()
        with pytest.raises(LogonSessionEndedError):
            enter(client)
        refused.append(True)

    operate(work)
    assert [True] == refused


class Unfit:
    """What the store says of a session that has been ended elsewhere."""

    def __init__(self, asked):
        self.asked = asked

    def renew(self, session):
        self.asked.append(session)


def test_a_trail_that_cannot_be_written_lets_nobody_in(
    operate, enter, served, monkeypatch
):
    refused = []

    def work(client):
        many(client, enter)
        writer = served._house.guard.sink._ledger._writer
        with monkeypatch.context() as patch:

            def fails(*_arguments):
                raise OSError(28, "no space left on device")

            patch.setattr(type(writer._store), "append", fails)
            with pytest.raises(LedgerUnavailableError):
                served.accounts.add("dave")
            with pytest.raises(LedgerUnavailableError):
                enter(client)
        refused.append(True)

    operate(work)
    assert [True] == refused


def test_a_witness_that_disagrees_lets_nobody_in(operate, enter, served):
    refused = []

    def work(client):
        many(client, enter)
        sink = served._house.guard.sink
        sink._disagreed = error = LedgerUnavailableError("another history")
        try:
            with pytest.raises(LedgerUnavailableError):
                enter(client)
        finally:
            sink._disagreed = None
        refused.append(error)

    operate(work)
    assert refused


def test_a_pass_is_for_its_operation_and_client_alone(
    operate, enter, told, served, alice, client_of
):
    bob, kept = client_of(served, "bob"), []

    def work(client):
        many(client, enter)
        kept.append((contextvars.copy_context(), pass_here()))
        enter(bob)  # at the same line
        enter(client)

    operate(work)
    ((copied, known),) = kept
    before = known.entered
    copied.run(enter, alice)  # waits for a record of its own
    enter(alice)
    assert before == known.entered
    assert known.enter() is None
    assert MANY + 3 == told()[0]


def test_a_block_in_somebody_elses_takes_no_pass(
    operate, enter, served, alice, client_of
):
    bob, seen = client_of(served, "bob"), []

    def work(client):
        many(client, enter)
        known = pass_here()
        before = known.entered
        with bob.impersonate():
            enter(client)
        seen.append(known.entered - before)

    operate(work)
    assert [0] == seen
    between = [
        [link.name for link in record.chain]
        for _, record in served.trail.find(Query(event=ENTERED))
        if record.client.name == "alice"
    ]
    assert ["notes", "bob", "alice"] in between


def test_the_session_is_held_by_the_operation_and_by_its_blocks(
    served, client_of, enter
):
    client = client_of(served, "alice")
    sessions, seen = served._house.guard.liveness, []

    def is_live():
        return client.token.logon_id in sessions._table.by_id

    @served.operation("work")
    def work(request: ClientContext) -> None:
        many(request, enter)
        client.close()
        seen.append(is_live())
        block = request.impersonate()
        block.__enter__()
        block.leave()

    served.call(client, "work")
    gc.collect()
    assert [True] == seen
    assert not is_live()


@pytest.mark.leaks_identity
def test_a_block_that_outlives_its_operation_holds_the_session_and_is_told(
    served, client_of, told, enter
):
    client = client_of(served, "alice")
    sessions, kept = served._house.guard.liveness, []

    @served.operation("work")
    def work(request: ClientContext) -> None:
        for number in range(3):
            block = request.impersonate()
            block.__enter__()
            if number < 2:
                block.leave()
        kept.append(block)

    with pytest.raises(RevertOrderError):
        served.call(client, "work")
    client.close()
    assert client.token.logon_id in sessions._table.by_id
    block = kept.pop()
    with pytest.raises(RevertOrderError):
        block.leave()  # in another context
    del block
    assert client.token.logon_id not in sessions._table.by_id
    assert (3, 2) == (told(whose=client)[0], told(LEFT, client)[0])


@pytest.mark.leaks_identity
def test_a_leak_is_found_on_a_pass(operate, enter, served, told):
    def work(client):
        many(client, enter, 3)
        for number in range(2):
            block = client.impersonate()
            block.__enter__()
            if not number:
                block.leave()
        del block

    with pytest.raises(RevertOrderError):
        operate(work)
    leaks = [
        record
        for _, record in served.trail.find(Query(event=AuditEvent.IDENTITY_LEAKED))
        if record.client is not None
    ]
    assert ["alice"] == [record.client.name for record in leaks]
    assert (5, 4) == (told()[0], told(LEFT)[0])


def test_an_error_that_ends_a_block_leaves_it_in_order(operate, told, served):
    def work(client):
        for number in range(6):
            try:
                with client.impersonate():
                    raise [ValueError, PermissionError, KeyboardInterrupt][number % 3]
            except (ValueError, PermissionError, KeyboardInterrupt):
                pass
            assert context.raw_frame().kind is FrameKind.HANDLER

    operate(work)
    assert (6, 6) == (told()[0], told(LEFT)[0])


def test_a_lowered_copy_is_refused_at_the_line_of_a_pass(operate, enter, served, alice):
    def work(client):
        many(client, enter)
        token = duplicate_token(client.token, level=ImpersonationLevel.IDENTIFICATION)
        lowered = replace(client.subject, token=token)
        with pytest.raises(BadImpersonationLevelError):
            Block(FrameKind.CLIENT, lowered, client._guard).__enter__()
        enter(client)

    operate(work)


def test_counts_of_two_threads_that_end_together_are_told_once(served, alice, told):
    """The operation ends while its threads enter and leave on passes."""
    guard, going = served._house.guard, threading.Event()
    number = guard.recorder.record(
        AuditEvent.OPERATION_REQUESTED, alice.subject, operation="work"
    )
    assert number
    done = []

    def work():
        count = 0
        while not going.wait(0) or count < MANY:
            with alice.impersonate():
                count += 1
        done.append(count)

    with ThreadPoolExecutor(3) as pool:
        with covering(alice.subject, guard.sink):
            for _ in range(3):
                pool.submit(contextvars.copy_context().run, work)
            time.sleep(0.05)
        going.set()
    guard.recorder.record(AuditEvent.OPERATION_ENDED, alice.subject, operation="work")
    assert (sum(done), sum(done)) == (told()[0], told(LEFT)[0])


def test_an_operations_work_on_the_servers_threads_is_under_its_record(
    served, operate, told
):
    def work(client):
        executor = served.executor()

        def item():
            for _ in range(MANY):
                with client.impersonate():
                    pass

        executor.submit(item).result(SECONDS)

    operate(work)
    entered, records = told()
    assert MANY == entered
    assert records < MANY // 2


def test_the_servers_threads_are_under_no_record_where_no_operation_is(served, alice):
    found = served.executor().submit(passing.current_cover).result(SECONDS)
    assert found is None


def test_carried_coroutines_are_counted_and_wait_for_nobody(
    served, operate, told, world
):
    path = world / "store" / "notes.db"
    somebody = sqlite3.connect(path, isolation_level=None, check_same_thread=False)

    def work(client):
        async def step():
            await asyncio.sleep(0)
            return context.current_frame().subject.principal.name

        async def main():
            carried = client.carry(step, many=True)
            return [await carried() for _ in range(MANY)]

        # Naive: each waits on another thread until its record is on the disk.
        with contextlib.closing(somebody):
            somebody.execute("BEGIN IMMEDIATE")
            assert ["alice"] * MANY == asyncio.run(main())

    operate(work)
    (entered, records), (left, _) = told(), told(LEFT)
    assert (MANY, MANY) == (entered, left)
    assert records < MANY // 2


def test_a_carried_coroutine_is_refused_aside_and_recorded(served, alice, operate):
    """What its own operation would cover, and may not be: its session has ended."""
    found = []

    def work(client):
        async def step():
            found.append("ran")

        async def main():
            carried = client.carry(step, many=True)
            await carried()
            served._house.guard.liveness.end(client.token.logon_id)
            with pytest.raises(LogonSessionEndedError):
                await carried()

        asyncio.run(main())

    operate(work)
    assert ["ran"] == found


def test_what_may_not_be_at_once_is_refused_aside_and_recorded(
    served, alice, operate, told
):
    """A coroutine whose token does no more than identify, and one of rules' no."""
    forbidden = ImpersonationRule("nobody", allows=False)
    lowered = duplicate_token(alice.token, level=ImpersonationLevel.IDENTIFICATION)
    of_level = replace(alice.subject, token=lowered)
    strict = replace(alice._guard, policy=ImpersonationPolicy((forbidden,)))

    async def step():
        raise AssertionError("it ran")

    def work(client):
        async def main():
            for subject, guard, error in (
                (of_level, client._guard, BadImpersonationLevelError),
                (alice.subject, strict, ImpersonationRefusedError),
            ):
                with pytest.raises(error):
                    await run_in_steps(
                        step, subject, guard, where="x.py:1", aside=run_aside
                    )

        asyncio.run(main())

    operate(work)
    refused = list(served.trail.find(Query(event=AuditEvent.IMPERSONATION_REFUSED)))
    assert 2 == len(refused)
    assert (0, 0) == told()


def test_a_kernel_that_refuses_on_a_pass_is_recorded_and_nothing_runs(
    operate, enter, served, told
):
    ran, seen = [], []

    def refuse():
        raise ImpersonationRefusedError("the kernel would not")

    def work(client):
        many(client, enter, 3)
        pass_here()._again = refuse
        with pytest.raises(ImpersonationRefusedError):
            enter(client, lambda: ran.append(True))
        seen.append(context.raw_frame().kind)

    operate(work)
    assert [] == ran
    assert [FrameKind.HANDLER] == seen
    refused = list(served.trail.find(Query(event=AuditEvent.IMPERSONATION_REFUSED)))
    assert 1 == len(refused)
    # That it was about to be entered is told too, as of any block.
    assert (4, 4) == (told()[0], told(LEFT)[0])


def test_the_process_that_was_forked_takes_no_pass(operate, enter, served):
    codes = []

    def work(client):
        many(client, enter)
        known = pass_here()
        with served.as_server():
            pid = os.fork()
            if not pid:
                os._exit(7 if known.enter() is None else 8)
        codes.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))

    operate(work)
    assert [7] == codes


# --- where the kernel follows -------------------------------------------------------


@pytest.fixture
def kernel(open_server, world):
    """A server whose executor's threads become its clients, and a folder of alice's."""
    folder = world / "kernel"
    folder.mkdir(mode=0o700)
    server = open_server(store=folder / "a.db", enforcement=Enforcement.KERNEL)
    server.accounts.add("alice", uid=ALICE)
    return server


@pytest.fixture
def on_kernel(kernel, client_of):
    """Return what does something on a hardened thread, in an operation of alice's."""

    def run(act):
        @kernel.operation("work")
        def work(client: ClientContext) -> object:
            return kernel.executor().submit(act, client).result(SECONDS)

        alice = client_of(kernel, "alice").for_request(1, "work")
        kernel.call(alice, "work")
        return alice

    return run


def statement(client):
    """Be in a block until it is closed."""
    with client.impersonate():
        yield


def ids():
    return os.getresuid()[:2]


@pytest.mark.root
def test_the_kernel_follows_on_a_pass_as_without(on_kernel, enter, told, kernel, world):
    found, secret = set(), world / "secret"
    secret.write_bytes(b"the server's")
    secret.chmod(0o600)

    def work(client):
        for _ in range(MANY):
            enter(client, lambda: found.add(ids()))
            assert (0, 0) == ids()
        for _ in range(3):
            with pytest.raises(KernelRefusedError):
                enter(client, lambda: open(secret, "rb"))  # noqa: SIM115, PTH123 - refused
            assert (0, 0) == ids()
        assert pass_here().entered > MANY // 2

    alice = on_kernel(work)
    assert {(DEFAULT_GUARD_UID, ALICE)} == found
    entered = [r for _, r in kernel.trail.find(Query(event=ENTERED))]
    left = [r for _, r in kernel.trail.find(Query(event=LEFT))]
    for records in (entered, left):
        counted = sum(int(r.detail.get("count", 1)) for r in records)
        assert MANY + 3 == counted
    assert all(r.client == alice.subject.principal for r in entered)


@pytest.mark.root
def test_the_kernel_follows_one_context_on_a_pass_as_without(on_kernel, enter, world):
    """What runs in another context is not inside, and nothing stays when it is left."""
    path = world / "note"
    path.write_text("x")
    path.chmod(0o644)
    seen = []

    def elsewhere(client):
        outside = contextvars.Context()

        def look():
            seen.append((list(context._here.kernels), context.raw_frame()))
            with path.open() as file:
                assert "x" == file.read()  # judged as alice
            with pytest.raises(AccessDeniedError, match="in another context"):
                outside.run(path.open)
            with pytest.raises(RevertOrderError, match="another context"):
                outside.run(enter, client)

        for _ in range(3):
            enter(client, look)
            assert [] == context._here.kernels
        assert 1 <= pass_here().entered

    on_kernel(elsewhere)
    assert 3 == len(seen)
    for kernels, frame in seen:
        assert [frame] == kernels


@pytest.mark.root
def test_a_fifo_is_refused_on_a_pass_as_without(on_kernel, enter, world):
    fifo = world / "fifo"
    os.mkfifo(fifo, 0o666)

    def work(client):
        for _ in range(3):
            with pytest.raises(NotARegularFileError):
                enter(client, lambda: open(fifo, "rb"))  # noqa: SIM115, PTH123 - refused

    on_kernel(work)


@pytest.mark.root
@pytest.mark.leaks_identity
def test_disorder_on_a_pass_makes_the_thread_nobody(on_kernel, kernel):
    """A block that is left late must not take away the identity of the one after it."""
    seen, kept = [], []

    def work(client):
        first, second, third = (statement(client) for _ in range(3))
        next(first)
        first.close()
        next(second)  # on the pass
        next(third)  # at its line, and in it: asked anew
        kept.append(third)
        with pytest.raises(RevertOrderError):
            second.close()
        seen.append(ids())

    with pytest.raises(RevertOrderError):
        on_kernel(work)
    with pytest.raises(RevertOrderError):
        kept.pop().close()
    assert [(DEFAULT_GUARD_UID, DEFAULT_GUARD_UID)] == seen
    assert (0, 0) == kernel.executor().submit(ids).result(SECONDS)


@pytest.mark.root
@pytest.mark.leaks_identity
def test_a_block_of_an_item_that_ended_takes_nothing_from_the_next(kernel, client_of):
    """Its thread enters the same client, at the same line, in the same operation."""
    kept, threads, seen = [], [], []

    def first(client):
        threads.append(threading.current_thread())
        for number in range(3):
            block = statement(client)
            next(block)
            if number < 2:
                block.close()
        kept.append(block)

    def second(client):
        if threading.current_thread() not in threads or not kept:
            return
        mine = statement(client)
        next(mine)
        with pytest.raises(RevertOrderError):
            kept.pop().close()
        seen.append(ids())
        with contextlib.suppress(RevertOrderError):
            mine.close()

    @kernel.operation("work")
    def work(client: ClientContext) -> None:
        executor = kernel.executor()
        with pytest.raises(RevertOrderError):
            executor.submit(first, client).result(SECONDS)
        while kept:
            with contextlib.suppress(RevertOrderError):
                executor.submit(second, client).result(SECONDS)

    kernel.call(client_of(kernel, "alice"), "work")
    # Naive: the server, in a block that says alice.
    assert [(DEFAULT_GUARD_UID, ALICE)] == seen
