from __future__ import annotations

import sys
import threading

from stead.server.workers.housekeeper import Housekeeper


def test_what_fails_does_not_end_the_thread(caplog):
    done = threading.Event()
    keeper = Housekeeper("test", lambda: None)
    keeper.do({}.popitem)
    keeper.do(sys.exit)
    keeper.do(done.set)
    keeper.close()
    assert done.is_set()
    assert "housekeeping failed" in caplog.text


def test_the_clock_is_looked_at_when_it_said_and_when_asked():
    looked = threading.Semaphore(0)
    times = iter([0.001, None])

    def look():
        looked.release()
        return next(times, None)

    keeper = Housekeeper("test", look)
    assert looked.acquire(timeout=60)
    assert looked.acquire(timeout=60)
    keeper.look()
    assert looked.acquire(timeout=60)
    keeper.close()


def test_a_clock_beyond_all_clocks_does_not_end_the_thread(caplog):
    times = iter([1e300, float("nan"), float("inf"), -1.0])
    keeper = Housekeeper("test", lambda: next(times, None))
    done = [threading.Event() for _ in range(4)]
    for event in done:
        keeper.do(event.set)
        assert event.wait(60)
    keeper.close()
    assert "" == caplog.text


def test_a_look_that_fails_does_not_end_the_thread(caplog):
    keeper = Housekeeper("test", {}.popitem)
    done = threading.Event()
    keeper.do(done.set)
    assert done.wait(60)
    keeper.close()
    assert "cannot be looked at" in caplog.text
