"""The ledger: durable before the act, bounded, and never silent."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import os
import signal
import threading

import pytest

from stead.errors import (
    InvalidRecordError,
    LedgerFullError,
    LedgerUnavailableError,
)
from stead.ledger.canonical import read_record
from stead.ledger.chain import verify
from stead.ledger.flood import PERIOD, Flood
from stead.ledger.ledger import Ledger
from stead.model.audit_record import AuditEvent


class Killed(BaseException):
    """What no writer expects."""


def _names(store):
    return [read_record(entry.body).object_name for entry in store.kept]


def _lost(store):
    records = [read_record(entry.body) for entry in store.kept]
    return [int(kept.detail["lost"]) for kept in records if "lost" in kept.detail]


def _in_thread(call, *arguments):
    """Run a call in a thread of its own; returns a function that gives its result."""
    answers = []

    def run():
        try:
            answers.append(call(*arguments))
        except LedgerUnavailableError as error:
            answers.append(error)

    thread = threading.Thread(target=run)
    thread.start()

    def result():
        thread.join(60)
        return answers[0]

    return result


def test_record_returns_the_number_of_a_kept_entry(open_ledger, store, record):
    ledger = open_ledger()
    assert [1, 2] == [ledger.record(record()), ledger.record(record())]
    assert [1, 2] == [entry.sequence for entry in store.kept]


def test_record_returns_only_after_the_store_has_kept_it(open_ledger, store, record):
    ledger = open_ledger()
    store.gate.clear()
    future = ledger.submit(record())
    assert store.entered.acquire(timeout=60)
    assert not future.done()
    assert [] == store.kept
    store.gate.set()
    assert 1 == future.result(60)


def test_what_gathers_while_the_disk_is_busy_shares_one_transaction(
    open_ledger, store, record
):
    ledger = open_ledger()
    store.gate.clear()
    first = ledger.submit(record())
    assert store.entered.acquire(timeout=60)
    rest = [ledger.submit(record()) for _ in range(100)]
    store.gate.set()
    assert list(range(1, 102)) == [future.result(60) for future in [first, *rest]]
    assert [1, 100] == store.batches


def test_a_large_backlog_is_written_in_bounded_batches(open_ledger, store, record):
    ledger = open_ledger()
    store.gate.clear()
    ledger.submit(record())
    assert store.entered.acquire(timeout=60)
    futures = [ledger.submit(record()) for _ in range(1200)]
    store.gate.set()
    assert 1201 == futures[-1].result(60)
    assert [1, 512, 512, 176] == store.batches


def test_the_trail_of_many_threads_verifies(open_ledger, store, record, genesis):
    ledger = open_ledger()
    calls = [
        _in_thread(lambda: [ledger.record(record()) for _ in range(50)])
        for _ in range(8)
    ]
    numbers = sorted(number for call in calls for number in call())
    assert list(range(1, 401)) == numbers
    assert 400 == verify(store.entries(), genesis).count


def test_records_of_one_thread_stay_in_order_whichever_way_they_come(
    open_ledger, store, record
):
    ledger = open_ledger()
    for turn in range(20):
        ledger.record(record(object_name=f"enter {turn}"))
        ledger.queue(record(object_name=f"leave {turn}"))
    ledger.close()
    expected = [f"{act} {turn}" for turn in range(20) for act in ("enter", "leave")]
    assert expected == _names(store)


def test_asyncio_waits_for_a_submitted_record(open_ledger, record):
    ledger = open_ledger()

    async def submit():
        return await asyncio.wrap_future(ledger.submit(record()))

    assert 1 == asyncio.run(submit())


class CountingLoop(asyncio.SelectorEventLoop):
    """An event loop that counts how often another thread wakes it."""

    wakes = 0

    def call_soon_threadsafe(self, *args, **named):
        self.wakes += 1
        return super().call_soon_threadsafe(*args, **named)


def test_tasks_learn_their_numbers_by_one_wake_up_of_their_loop(
    open_ledger, store, record
):
    ledger = open_ledger()

    async def ask():
        store.gate.clear()
        first = ledger.recording(record())
        assert store.entered.acquire(timeout=60)
        rest = [ledger.recording(record()) for _ in range(100)]
        store.gate.set()
        return [await first, *[await one for one in rest]]

    with asyncio.Runner(loop_factory=CountingLoop) as runner:
        numbers = runner.run(ask())
        wakes = runner.get_loop().wakes
    assert list(range(1, 102)) == numbers
    # A loop that is quicker than the writer is woken anew; never for each of them.
    assert 0 < wakes < 50


def test_a_task_is_told_that_its_record_was_not_written(open_ledger, store, record):
    ledger = open_ledger()
    store.failure = OSError("full")

    async def ask():
        with pytest.raises(LedgerUnavailableError, match="nothing is done"):
            await ledger.recording(record())
        with pytest.raises(InvalidRecordError):
            ledger.recording(record(time=None))

    asyncio.run(ask())
    with pytest.raises(RuntimeError, match="no running event loop"):
        ledger.recording(record())


def test_a_task_that_is_refused_at_once_leaves_no_future_behind(
    open_ledger, store, record, caplog
):
    ledger = open_ledger(backlog=1)

    async def ask():
        store.gate.clear()
        first = ledger.recording(record())
        assert store.entered.acquire(timeout=60)
        second = ledger.recording(record())
        with pytest.raises(LedgerUnavailableError, match="wait to be written"):
            ledger.recording(record())
        await asyncio.sleep(0)  # whatever was told is told
        gc.collect()
        store.gate.set()
        return await first, await second

    assert (1, 2) == asyncio.run(ask())
    gc.collect()
    assert [] == caplog.records


def test_a_record_is_written_though_its_task_or_its_loop_went_away(
    open_ledger, store, record
):
    ledger = open_ledger()

    async def leave():
        store.gate.clear()
        gone = ledger.recording(record())
        assert store.entered.acquire(timeout=60)
        failing = ledger.recording(record(time=2))
        gone.cancel()
        return failing

    asyncio.run(leave())
    store.gate.set()
    assert 3 == ledger.record(record())

    async def ask():
        gone = ledger.recording(record())
        gone.cancel()
        return await ledger.recording(record())

    assert [5, 7] == [asyncio.run(ask()), asyncio.run(ask())]
    assert 1 == len(ledger._mailboxes)  # those of closed loops are forgotten


def test_a_task_that_gives_up_waiting_does_not_undo_the_record(
    open_ledger, store, record
):
    ledger = open_ledger()
    store.gate.clear()
    future = ledger.submit(record())
    assert not future.cancel()
    store.gate.set()
    assert 1 == future.result(60)


def test_a_record_of_the_wrong_shape_is_refused_at_once(open_ledger, store, record):
    ledger = open_ledger()
    with pytest.raises(InvalidRecordError):
        ledger.record(record(detail={"count": 3}))
    assert 1 == ledger.record(record())


def test_closing_writes_everything_that_was_handed_over(open_ledger, store, record):
    ledger = open_ledger()
    store.gate.clear()
    futures = [ledger.submit(record()) for _ in range(10)]
    for _ in range(10):
        ledger.queue(record())
    closing = _in_thread(ledger.close)
    store.gate.set()
    assert closing() is None
    assert 20 == len(store.kept)
    assert all(future.done() for future in futures)


def test_a_closed_ledger_refuses(open_ledger, record):
    ledger = open_ledger()
    ledger.close()
    ledger.close()
    with pytest.raises(LedgerUnavailableError, match="the ledger is closed"):
        ledger.record(record())
    ledger.queue(record())
    assert 1 == ledger.lost()


def test_an_item_handed_over_after_the_end_is_refused_not_left(store, record, genesis):
    ledger = Ledger(store, genesis=genesis, note=lambda *_: record())
    future = ledger.submit(record())
    ledger._writer.stop()
    assert 1 == future.result(60)
    ledger._writer.has_ended = False  # as seen by a thread that looked just before
    late = ledger.submit(record())
    ledger._writer.has_ended = True
    ledger.queue(record())
    with pytest.raises(LedgerUnavailableError, match="closed"):
        late.result(60)


# --- failures ---------------------------------------------------------------------


def test_every_waiter_hears_that_the_disk_is_full(
    open_ledger, store, record, disk_full
):
    ledger = open_ledger()
    store.gate.clear()
    futures = [ledger.submit(record()) for _ in range(5)]
    store.failure = disk_full
    store.gate.set()
    errors = [future.exception(60) for future in futures]
    assert {LedgerUnavailableError} == {type(error) for error in errors}
    assert 5 == len({id(error) for error in errors})
    assert {"free some space"} == {error.advice for error in errors}
    assert all("the disk is full" in str(error) for error in errors)
    assert [] == store.kept


def test_the_writer_tries_again_with_the_next_record(
    open_ledger, store, record, disk_full
):
    ledger = open_ledger()
    store.failure = disk_full
    with pytest.raises(LedgerUnavailableError):
        ledger.record(record(object_name="refused"))
    store.failure = None
    assert 2 == ledger.record(record(object_name="written"))
    assert ["TRAIL_FAILED", "written"] == _names(store)


def test_an_unforeseen_failure_of_the_store_refuses_too(open_ledger, store, record):
    ledger = open_ledger()
    store.failure = MemoryError("no memory")
    with pytest.raises(LedgerUnavailableError, match="no memory"):
        ledger.record(record())
    store.failure = None
    assert 2 == ledger.record(record())


def test_queued_records_survive_a_failure_and_keep_their_place(
    open_ledger, store, record, disk_full
):
    ledger = open_ledger()
    store.failure = disk_full
    ledger.queue(record(object_name="leave"))
    with pytest.raises(LedgerUnavailableError):
        ledger.record(record(object_name="refused"))
    store.failure = None
    assert 3 == ledger.record(record(object_name="enter"))
    assert ["leave", "TRAIL_FAILED", "enter"] == _names(store)
    assert 0 == ledger.lost()


def test_kept_records_are_written_though_nothing_else_comes(
    open_ledger, store, record, disk_full
):
    ledger = open_ledger()
    store.failure = disk_full
    ledger.queue(record())
    assert store.refused.acquire(timeout=60)
    assert store.entered.acquire(timeout=60)
    store.failure = None
    assert store.entered.acquire(timeout=60)
    ledger.close()
    assert 1 == len(store.kept)


def test_kept_records_are_bounded_and_what_is_lost_is_recorded(
    open_ledger, store, record, disk_full
):
    ledger = open_ledger(backlog=10)
    store.failure = disk_full
    for number in range(25):
        ledger.queue(record(object_name=f"leave {number}"))
        with pytest.raises(LedgerUnavailableError):
            ledger.record(record())
    assert 15 == ledger.lost()
    store.failure = None
    assert 13 == ledger.record(record(object_name="enter"))
    assert [15] == _lost(store)
    ends = [f"leave {number}" for number in range(10)]
    notes = ["TRAIL_FAILED", "RECORDS_LOST"]
    assert [*ends, *notes, "enter"] == _names(store)
    assert 14 == ledger.record(record())
    assert [15] == _lost(store)


def test_closing_says_what_could_not_be_written(open_ledger, store, record, disk_full):
    ledger = open_ledger()
    store.failure = disk_full
    ledger.queue(record())
    ledger.queue(record())
    with pytest.raises(LedgerUnavailableError, match="2 queued records"):
        ledger.close()


def test_a_note_of_losses_that_cannot_be_made_refuses_everything(
    open_ledger, store, record
):
    def no_clock(_event, _detail):
        raise OSError("no clock")

    ledger = open_ledger(note=no_clock)
    ledger.queue(record(detail={"count": 3}))
    with pytest.raises(LedgerUnavailableError, match="no clock"):
        ledger.record(record())
    assert [] == store.kept
    with pytest.raises(LedgerUnavailableError, match="1 queued records"):
        ledger.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_writer_that_dies_leaves_nobody_waiting(open_ledger, store, record):
    ledger = open_ledger()
    store.gate.clear()
    waiting = [ledger.submit(record())]
    ledger.queue(record())
    assert store.entered.acquire(timeout=60)
    waiting += [ledger.submit(record()) for _ in range(3)]
    store.failure = Killed("killed")
    store.gate.set()
    for future in waiting:
        with pytest.raises(LedgerUnavailableError, match="killed"):
            future.result(60)
    with pytest.raises(LedgerUnavailableError):
        ledger.record(record())
    with pytest.raises(LedgerUnavailableError):
        ledger.close()


# --- bounds -----------------------------------------------------------------------


def test_a_full_backlog_refuses_at_once_and_holds_ends_apart(
    open_ledger, store, record
):
    ledger = open_ledger(backlog=4)
    store.gate.clear()
    futures = [ledger.submit(record())]
    assert store.entered.acquire(timeout=60)
    futures += [ledger.submit(record()) for _ in range(4)]
    for refused in (ledger.submit, ledger.record):
        with pytest.raises(LedgerUnavailableError, match="4 records wait"):
            refused(record())
    for number in range(6):
        ledger.queue(record(object_name=f"leave {number}"))
    assert 2 == ledger.lost()
    store.gate.set()
    # Number 2 is the note of what was lost.
    assert [1, 3, 4, 5, 6] == [future.result(60) for future in futures]
    ledger.close()
    assert [2] == _lost(store)
    assert {f"leave {number}" for number in range(4)} < set(_names(store))


@pytest.mark.bypasses_the_law
def test_what_another_record_covers_is_not_waited_for(open_ledger, store, record):
    ledger = open_ledger()
    store.gate.clear()
    ledger.cover(record(object_name="covered"))
    assert store.entered.acquire(timeout=60)
    assert [] == store.kept
    store.gate.set()
    ledger.close()
    assert ["covered"] == _names(store)
    with pytest.raises(LedgerUnavailableError, match="closed"):
        ledger.cover(record())


@pytest.mark.bypasses_the_law
def test_nothing_is_covered_by_a_ledger_that_ends_meanwhile(
    open_ledger, store, record, monkeypatch
):
    ledger = open_ledger()
    before = ledger._writer.backlog

    def ends():
        ledger.close()
        return before()

    monkeypatch.setattr(ledger._writer, "backlog", ends)
    # Naive: whoever looked just before acts, and nothing is written of it.
    with pytest.raises(LedgerUnavailableError, match="closed"):
        ledger.cover(record(object_name="late"))
    assert [] == _names(store)


@pytest.mark.bypasses_the_law
def test_nothing_is_covered_while_the_trail_is_in_trouble(
    open_ledger, store, record, disk_full
):
    ledger = open_ledger()
    store.failure = disk_full
    with pytest.raises(LedgerUnavailableError):
        ledger.record(record(object_name="refused"))
    with pytest.raises(LedgerUnavailableError, match="just now"):
        ledger.cover(record(object_name="never"))
    store.failure = None
    ledger.record(record(object_name="again"))
    ledger.cover(record(object_name="covered"))
    ledger.close()
    assert ["TRAIL_FAILED", "again", "covered"] == _names(store)


@pytest.mark.bypasses_the_law
def test_nothing_is_covered_when_too_much_waits(open_ledger, store, record):
    ledger = open_ledger(backlog=2)
    store.gate.clear()
    ledger.queue(record())
    assert store.entered.acquire(timeout=60)
    for _ in range(2):
        ledger.cover(record())
    with pytest.raises(LedgerUnavailableError, match="2 records wait"):
        ledger.cover(record())
    store.gate.set()
    ledger.close()
    assert 3 == len(store.kept)


def test_a_queued_record_of_the_wrong_shape_is_counted_as_lost(
    open_ledger, store, record
):
    ledger = open_ledger()
    ledger.queue(record(detail={"count": 3}))
    ledger.queue(None)
    ledger.record(record())
    ledger.close()
    assert 2 == sum(_lost(store))


# --- a full disk ------------------------------------------------------------------


class Disk:
    """A `Room` of so many pieces, and whether the disk has room of its own."""

    def __init__(self, store, pieces=2):
        self.store, self.pieces, self.left = store, pieces, pieces
        self.append, store.append = store.append, self.bounded
        self.is_full = False
        self.free = 0

    def bounded(self, build):
        if self.is_full and not self.free:
            raise LedgerFullError("the disk is full", advice="free some space")
        self.free = max(0, self.free - 1)
        self.append(build)

    def is_whole(self):
        return self.left == self.pieces

    def refill(self):
        if not self.is_full:
            self.left = self.pieces
        return self.is_whole()

    def release(self):
        if not self.left:
            return False
        self.left -= 1
        self.free = 3  # a piece holds three transactions
        return True

    def close(self):
        pass


def test_only_administrators_records_are_written_into_what_is_kept(
    open_ledger, store, record
):
    disk = Disk(store)
    ledger = open_ledger(room=disk)
    assert 1 == ledger.record(record())
    disk.is_full = True
    for turn in range(3):
        with pytest.raises(LedgerUnavailableError, match="full"):
            ledger.record(record(object_name="somebody's"))
        assert 2 + turn == ledger.record(record(), is_reserved=True)
        # Room is free now, and it is not for everybody.
        assert 0 <= disk.free < 3
    disk.is_full = False
    assert 6 == ledger.record(record(object_name="enter"))
    assert disk.is_whole()
    assert ["plan"] * 4 + ["TRAIL_FULL", "enter"] == _names(store)
    assert {"refused": "3"} == read_record(store.kept[4].body).detail


def test_what_is_kept_ends_too(open_ledger, store, record):
    disk = Disk(store)
    ledger = open_ledger(room=disk)
    disk.is_full = True
    numbers = [ledger.record(record(), is_reserved=True) for _ in range(6)]
    assert [1, 2, 3, 4, 5, 6] == numbers
    with pytest.raises(LedgerUnavailableError, match="the disk is full"):
        ledger.record(record(), is_reserved=True)
    disk.is_full = False


def test_one_batch_serves_administrators_and_refuses_the_others(
    open_ledger, store, record
):
    disk = Disk(store)
    ledger = open_ledger(room=disk)
    store.gate.clear()
    first = ledger.submit(record())
    assert store.entered.acquire(timeout=60)
    waiting = [ledger.submit(record(), is_reserved=n % 2 == 1) for n in range(6)]
    ledger.queue(record(object_name="leave"))
    disk.is_full = True
    store.gate.set()
    assert 1 == first.result(60)
    assert [2, 3, 4] == [future.result(60) for future in waiting[1::2]]
    for future in waiting[::2]:
        assert isinstance(future.exception(60), LedgerUnavailableError)
    disk.is_full = False
    ledger.close()
    assert 1 == _names(store).count("leave")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("failure", [MemoryError("no memory"), Killed("killed")])
def test_a_failure_in_what_is_kept_leaves_nobody_waiting(
    failure, open_ledger, store, record
):
    disk = Disk(store)
    ledger = open_ledger(room=disk)
    disk.is_full = True

    def release():
        store.failure = failure
        disk.free = 1
        return True

    disk.release = release
    future = ledger.submit(record(), is_reserved=True)
    assert failure.args[0] in str(future.exception(60))
    store.failure, disk.is_full = None, False


def test_administrators_records_have_places_of_their_own_in_a_full_backlog(
    open_ledger, store, record
):
    ledger = open_ledger(backlog=2)
    store.gate.clear()
    futures = [ledger.submit(record())]
    assert store.entered.acquire(timeout=60)
    futures += [ledger.submit(record()) for _ in range(2)]
    with pytest.raises(LedgerUnavailableError, match="2 records wait"):
        ledger.submit(record())
    futures += [ledger.submit(record(), is_reserved=True) for _ in range(2)]
    with pytest.raises(LedgerUnavailableError, match="4 records wait"):
        ledger.submit(record(), is_reserved=True)
    store.gate.set()
    assert [1, 2, 3, 4, 5] == [future.result(60) for future in futures]


# --- what the policy lets be lost -----------------------------------------------------


@pytest.fixture
def lenient(open_ledger):
    """A ledger whose policy lets closed handles be lost."""
    may_lose = frozenset({AuditEvent.HANDLE_CLOSED})
    return open_ledger(backlog=2, may_lose=lambda: may_lose)


def test_events_that_may_be_lost_go_on_and_are_counted_by_name(
    lenient, store, record, disk_full
):
    store.failure = disk_full
    assert 0 == lenient.record(record(event=AuditEvent.HANDLE_CLOSED))
    assert 0 == lenient.submit(record(event=AuditEvent.HANDLE_CLOSED)).result(60)
    with pytest.raises(LedgerUnavailableError):
        lenient.record(record())
    assert 2 == lenient.lost()
    store.failure = None
    lenient.record(record())
    notes = [read_record(entry.body) for entry in store.kept][:2]
    assert [{"refused": "1"}, {"lost": "2", "HANDLE_CLOSED": "2"}] == [
        note.detail for note in notes
    ]


def test_a_full_backlog_loses_what_may_be_lost_and_refuses_the_rest(
    lenient, store, record
):
    store.gate.clear()
    waiting = [lenient.submit(record())]
    assert store.entered.acquire(timeout=60)
    waiting += [lenient.submit(record()) for _ in range(2)]
    assert 0 == lenient.record(record(event=AuditEvent.HANDLE_CLOSED))
    with pytest.raises(LedgerUnavailableError):
        lenient.record(record())
    store.gate.set()
    assert [1, 3, 4] == [future.result(60) for future in waiting]
    assert [1] == _lost(store)


# --- floods -----------------------------------------------------------------------


def test_what_is_counted_is_told_as_one_when_the_ledger_closes(
    open_ledger, store, record
):
    ledger = open_ledger()
    for number in range(100):
        ledger.count(record(time=number, object_name=f"try {number}"), "alice's")
    ledger.count(record(time=7), "bob's")
    assert 1 == ledger.record(record(object_name="enter"))
    ledger.close()
    told = {
        kept.object_name: kept.detail
        for kept in (read_record(entry.body) for entry in store.kept[1:])
    }
    assert {
        "try 99": {"count": "100", "since": "0"},
        "plan": {"count": "1", "since": "7"},
    } == told


def test_what_is_counted_is_told_in_time_though_nothing_else_comes(
    open_ledger, store, record, monkeypatch
):
    monkeypatch.setattr("stead.ledger.writer._RETRY_SECONDS", 0.01)
    ledger = open_ledger()
    ledger.count(record(), "alice's")
    assert store.entered.acquire(timeout=60)
    ledger.close()
    assert [{"count": "1", "since": str(record().time)}] == [
        read_record(entry.body).detail for entry in store.kept
    ]


def test_a_count_that_cannot_be_told_is_kept_and_told_later(
    open_ledger, store, record, disk_full, monkeypatch
):
    monkeypatch.setattr("stead.ledger.writer._RETRY_SECONDS", 0.01)
    ledger = open_ledger()
    store.failure = disk_full
    ledger.count(record(), "alice's")
    assert store.refused.acquire(timeout=60)
    store.failure = None
    ledger.record(record(object_name="enter"))
    assert ["plan", "enter"] == _names(store)


@pytest.mark.parametrize("now", [PERIOD + 11, 9 - PERIOD])
def test_a_flood_is_told_when_its_time_has_come_or_the_clock_was_set_back(now, record):
    flood = Flood()
    flood.add("alice's", record(time=10))
    flood.add("alice's", record(time=20))
    assert [] == flood.due(PERIOD + 10)
    assert [] == flood.due(None)
    (told,) = flood.due(now)
    assert {"count": "2", "since": "10"} == told.detail
    assert 20 == told.time


def test_kinds_are_bounded(record):
    flood = Flood()
    for number in range(1000):
        flood.add(f"{number}", record(time=number))
    told = flood.rest()
    assert 257 == len(told)
    assert "744" == told[-1].detail["count"]
    assert not flood.kinds


# --- from where it may be called ------------------------------------------------------


def test_queue_works_from_finalizers_that_interrupt_record(open_ledger, store, record):
    ledger = open_ledger(backlog=100_000)
    queued = []

    class Ring:
        """Garbage whose end is reported while the collector runs inside a call."""

        def __init__(self):
            self.itself = self

        def __del__(self):
            queued.append(1)
            ledger.queue(record(object_name="leave"))

    threshold = gc.get_threshold()
    gc.set_threshold(3, 2, 2)
    try:
        for _ in range(300):
            Ring()
            ledger.record(record())
    finally:
        gc.set_threshold(*threshold)
    gc.collect()
    ledger.close()
    assert 300 == len(queued)
    assert 300 == _names(store).count("leave")
    assert 600 == len(store.kept)


def test_queue_works_from_a_signal_handler_that_interrupts_record(
    open_ledger, store, record
):
    ledger = open_ledger(backlog=100_000)
    queued = []

    def handle(_number, _frame):
        queued.append(1)
        ledger.queue(record(object_name="leave"))

    before = signal.signal(signal.SIGALRM, handle)
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    try:
        for _ in range(500):
            ledger.record(record())
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    ledger.close()
    assert len(queued) == _names(store).count("leave")
    assert 500 + len(queued) == len(store.kept)


def test_a_callback_on_the_writers_thread_cannot_wait_for_itself(
    open_ledger, store, record
):
    ledger = open_ledger()
    answers = []

    def ask(_future):
        try:
            ledger.record(record())
        except LedgerUnavailableError as error:
            answers.append(str(error))

    asked = threading.Event()
    store.gate.clear()
    future = ledger.submit(record())
    future.add_done_callback(ask)
    future.add_done_callback(lambda _: asked.set())
    store.gate.set()
    assert asked.wait(60)
    assert ["the ledger's writer cannot wait for itself"] == answers


def test_the_writer_inherits_nobodys_context(open_ledger, store, record):
    variable = contextvars.ContextVar("variable", default="nobody")
    variable.set("alice")
    seen = []
    append = store.append
    store.append = lambda build: (seen.append(variable.get()), append(build))
    ledger = open_ledger()
    ledger.record(record())
    assert ["nobody"] == seen


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_is_refused_and_disturbs_nobody(open_ledger, store, record):
    ledger = open_ledger()
    ledger.record(record())
    child = os.fork()
    if child == 0:
        code = 1
        try:
            ledger.queue(record())
            ledger.close()
            ledger.record(record())
        except LedgerUnavailableError as error:
            code = 0 if "forks" in str(error) and error.advice else 2
        finally:
            os._exit(code)
    assert 0 == os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert 2 == ledger.record(record())


def test_the_lost_note_has_an_event(open_ledger, store, record):
    ledger = open_ledger()
    ledger.queue(None)
    ledger.record(record())
    ledger.close()
    events = {read_record(entry.body).event for entry in store.kept}
    assert {AuditEvent.RECORDS_LOST, AuditEvent.OBJECT_ACCESS} == events
