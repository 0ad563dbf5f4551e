"""What is refused for want of threads is never done."""

import threading
from concurrent.futures import CancelledError, ThreadPoolExecutor

import pytest

from stead.errors import ServerUnavailableError
from stead.monitor.thread_pool import ThreadPool


@pytest.fixture
def none_left(monkeypatch):
    """Have no thread start, as at the limit of a service's tasks."""

    def start(_):
        raise RuntimeError("can't start new thread")

    patched = pytest.MonkeyPatch()
    patched.setattr(threading.Thread, "start", start)
    yield patched
    patched.undo()


@pytest.mark.parametrize(
    ("kind", "refusal", "expected"),
    [
        (ThreadPoolExecutor, RuntimeError, ["refused", "asked for"]),
        (ThreadPool, ServerUnavailableError, ["asked for"]),
    ],
)
def test_what_was_refused_is_not_done_later(kind, refusal, expected, none_left):
    """The naive one has queued it, and does it when there is a thread again."""
    done = []
    with kind(1) as pool:
        with pytest.raises(refusal, match="new thread"):
            pool.submit(done.append, "refused")
        none_left.undo()
        pool.submit(done.append, "asked for").result(60)
    assert expected == done


def test_what_another_thread_has_begun_with_meanwhile_is_done_and_answered(monkeypatch):
    begun, queue = threading.Event(), ThreadPoolExecutor._adjust_thread_count

    def act():
        begun.set()
        return "done"

    with ThreadPool(2) as pool:
        idle = pool.submit(int)
        assert 0 == idle.result(60)

        def none_left(_):
            assert begun.wait(60)
            raise RuntimeError("can't start new thread")

        with monkeypatch.context() as patched:
            patched.setattr(ThreadPoolExecutor, "_adjust_thread_count", none_left)
            assert "done" == pool.submit(act).result(60)
    assert queue is ThreadPoolExecutor._adjust_thread_count


def test_answers_errors_and_cancelling_are_as_of_any_pool():
    release = threading.Event()
    with ThreadPool(1) as pool:
        assert 5 == pool.submit(int, "5").result(60)
        assert 5 == pool.submit(int, "101", base=2).result(60)
        with pytest.raises(ValueError, match="invalid literal"):
            pool.submit(int, "x").result(60)
        pool.submit(release.wait, 60)
        done = []
        waiting = pool.submit(done.append, 1)
        assert waiting.cancel()
        release.set()
        assert 1 == pool.submit(int, "1").result(60)
    assert [] == done
    with pytest.raises(RuntimeError, match="shutdown"):
        pool.submit(int)


def test_what_is_cancelled_at_the_end_is_not_waited_for():
    release = threading.Event()
    pool = ThreadPool(1)
    pool.submit(release.wait, 60)
    waiting = pool.submit(int)
    pool.shutdown(wait=False, cancel_futures=True)
    release.set()
    with pytest.raises(CancelledError):
        waiting.result(60)
    pool.shutdown()
