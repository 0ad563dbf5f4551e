"""The executor's contract, and what it does about work that goes wrong."""

import contextvars
import logging
import os
import sys
import threading
from concurrent.futures import CancelledError

import pytest

from stead.errors import (
    EnforcementUnavailableError,
    RevertOrderError,
    ServerClosedError,
)
from stead.model.posix_identity import PosixIdentity
from stead.privileged.executor import KernelExecutor
from stead.privileged.hardened_thread import HardenedThread, KernelBlock, switch_to
from stead.privileged.late_imports import LateImportGuard

pytestmark = pytest.mark.root

ALICE = PosixIdentity(70001, 70001)
SOMEBODY = contextvars.ContextVar("somebody", default=None)


def hardened_threads(name):
    return [t for t in threading.enumerate() if t.name.startswith(name)]


def test_every_thread_is_there_and_hardened_when_the_constructor_returns():
    with KernelExecutor(3, name="ready"):
        threads = hardened_threads("ready")
        assert ["ready-0", "ready-1", "ready-2"] == sorted(t.name for t in threads)
        assert all(isinstance(t, HardenedThread) and t.daemon for t in threads)
        assert all(t.ready.done() for t in threads)
    assert [] == hardened_threads("ready")


def test_results_arguments_and_map_are_those_of_any_executor(executor):
    assert 7 == executor.submit(divmod, 15, 2).result()[0]
    assert [0, 1, 4] == list(executor.map(lambda n: n * n, range(3)))
    assert "cba" == "".join(executor.submit(sorted, "abc", reverse=True).result())


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt, SystemExit])
def test_whatever_the_work_raises_goes_to_its_future(kind, executor):
    def act():
        with KernelBlock(ALICE):
            raise kind("told")

    with pytest.raises(kind, match="told"):
        executor.submit(act).result()
    assert [0, 0, 0, 0] == list(executor.map(lambda _: os.geteuid(), range(4)))


def test_each_work_has_a_fresh_and_empty_context(executor):
    SOMEBODY.set("the submitter")
    seen = list(executor.map(lambda _: (SOMEBODY.get(), SOMEBODY.set(1))[0], range(4)))
    assert [None] * 4 == seen


def test_the_context_can_be_made_by_the_caller_on_the_works_own_thread():
    makers = []

    def make():
        makers.append(threading.current_thread())
        context = contextvars.Context()
        context.run(SOMEBODY.set, "made")
        return context

    with KernelExecutor(1, context_factory=lambda: make) as executor:
        assert "made" == executor.submit(SOMEBODY.get).result()
        assert all(isinstance(maker, HardenedThread) for maker in makers)


def test_a_context_that_cannot_be_made_fails_the_work_only():
    contexts = [contextvars.Context()]
    with KernelExecutor(1, context_factory=lambda: contexts.pop) as executor:
        assert 0 == executor.submit(int).result()
        with pytest.raises(IndexError):
            executor.submit(int).result()
        contexts.append(contextvars.Context())
        assert 0 == executor.submit(int).result()


def test_a_block_left_open_is_reverted_and_fails_the_work():
    with KernelExecutor(1) as executor:
        with pytest.raises(RevertOrderError, match="left a block open"):
            executor.submit(switch_to, ALICE).result()
        assert (0, 0, 0) == executor.submit(os.getresuid).result()


def test_the_works_own_error_is_kept_behind_the_one_about_the_block():
    def act():
        switch_to(ALICE)
        raise ValueError("its own")

    with KernelExecutor(1) as executor, pytest.raises(RevertOrderError) as failed:
        executor.submit(act).result()
    assert "its own" == str(failed.value.__cause__)


def test_a_callback_that_leaves_a_block_open_does_not_reach_the_next_work(caplog):
    go = threading.Event()
    with KernelExecutor(1) as executor, caplog.at_level(logging.CRITICAL):
        future = executor.submit(go.wait)
        future.add_done_callback(lambda _: switch_to(ALICE))
        go.set()
        assert (0, 0, 0) == executor.submit(os.getresuid).result()
    assert "a callback of a future left a block open" in caplog.text


def test_after_the_shutdown_nothing_is_taken():
    executor = KernelExecutor(1)
    executor.shutdown()
    executor.shutdown()
    with pytest.raises(ServerClosedError, match="shut down"):
        executor.submit(int)


def test_queued_work_is_done_before_the_threads_end():
    executor = KernelExecutor(1)
    go = threading.Event()
    first, second = executor.submit(go.wait), executor.submit(int)
    executor.shutdown(wait=False)
    go.set()
    assert (True, 0) == (first.result(), second.result())
    executor.shutdown()


def test_queued_work_is_cancelled_when_asked():
    executor = KernelExecutor(1)
    started, go = threading.Event(), threading.Event()
    first = executor.submit(lambda: (started.set(), go.wait()))
    started.wait()
    second = executor.submit(int)
    executor.shutdown(wait=False)
    executor.shutdown(wait=False, cancel_futures=True)
    go.set()
    executor.shutdown()
    assert first.done()
    with pytest.raises(CancelledError):
        second.result()


@pytest.fixture
def stuck(world):
    """Give an executor of two, one of whose threads waits for a FIFO's writer."""
    path = world / "fifo"
    os.mkfifo(path)
    started = threading.Event()

    def read():
        readers.append(threading.current_thread().name)
        started.set()
        os.close(os.open(path, os.O_RDONLY))

    readers = []
    executor = KernelExecutor(2, name="stuck", grace=0)
    future = executor.submit(read)
    started.wait()

    def release():
        os.close(os.open(path, os.O_WRONLY))

    yield executor, future, release, readers[0]
    if hardened_threads("stuck"):
        release()
    executor.shutdown()


def test_closing_waits_no_longer_than_it_is_told_and_names_who_is_busy(stuck, caplog):
    executor, future, _, reader = stuck
    assert (reader,) == executor.close(0.01)
    assert f"abandoned the work of {reader} after 0.01 seconds" in caplog.text
    with pytest.raises(ServerClosedError, match="before the call ended"):
        future.result()
    assert (reader,) == executor.close(0)


def test_imports_stay_guarded_while_a_thread_is_busy(stuck):
    executor, _, release, _ = stuck
    executor.close(0)
    assert any(isinstance(found, LateImportGuard) for found in sys.meta_path)
    release()
    executor.shutdown()
    assert not any(isinstance(found, LateImportGuard) for found in sys.meta_path)


def test_abandoned_work_that_ends_after_all_is_noted_and_changes_nothing(stuck, caplog):
    executor, future, release, _ = stuck
    executor.close(0)
    release()
    executor.shutdown()
    assert "work that was abandoned has ended after all" in caplog.text
    with pytest.raises(ServerClosedError):
        future.result()


def test_what_is_queued_when_the_time_is_up_is_cancelled():
    go, started = threading.Event(), threading.Event()
    executor = KernelExecutor(1, name="queued")
    executor.submit(lambda: (started.set(), go.wait()))
    started.wait()
    queued = executor.submit(int)
    assert ("queued-0",) == executor.close(0)
    assert queued.cancelled()
    go.set()
    executor.shutdown()


def test_closing_returns_when_all_work_is_done():
    executor = KernelExecutor(2)
    futures = [executor.submit(int) for _ in range(8)]
    assert () == executor.close(60)
    assert [0] * 8 == [future.result() for future in futures]


def test_a_process_whose_thread_waits_for_ever_ends(run_program, world):
    os.mkfifo(world / "fifo")
    done = run_program("waits_for_ever.py", world / "fifo")
    assert ("ServerClosedError\n", 0) == (done.stdout, done.returncode), done.stderr


def test_work_cancelled_in_the_queue_does_not_run():
    started, go, ran = threading.Event(), threading.Event(), []
    with KernelExecutor(1) as executor:
        executor.submit(lambda: (started.set(), go.wait()))
        started.wait()
        second = executor.submit(ran.append, 1)
        assert second.cancel()
        go.set()
    assert [] == ran


def test_a_forked_child_has_no_threads_and_is_told_so(run_program):
    done = run_program("forked.py")
    assert "the executor's threads are another process's\n" == done.stdout, done.stderr


def test_an_executor_without_workers_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        KernelExecutor(0)


def test_a_guard_that_somebody_has_is_refused():
    with pytest.raises(EnforcementUnavailableError, match="guard's id 1"):
        KernelExecutor(1, guard=1)


def test_if_one_thread_cannot_be_hardened_none_stays():
    with pytest.raises(EnforcementUnavailableError, match="hardened at the guard"):
        KernelExecutor(3, guard=2**32 - 1, name="unhardened")
    assert [] == hardened_threads("unhardened")
    assert not any(isinstance(found, LateImportGuard) for found in sys.meta_path)


def test_no_executor_is_opened_on_a_hardened_thread(executor):
    def act():
        with pytest.raises(EnforcementUnavailableError, match="cannot be started"):
            KernelExecutor(1, name="inner")

    executor.submit(act).result()
    assert [] == hardened_threads("inner")


def test_threads_that_inherit_a_client_are_not_hardened(outcome_of):
    assert "the thread is not uid 0 and gid 0" in outcome_of("inheriting.py")
