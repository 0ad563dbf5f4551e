"""The pump: nothing lost, doubles under one identity, nobody held up."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import pytest

from stead.errors import LedgerUnavailableError, SinkUnavailableError
from stead.ledger.canonical import write_record
from stead.ledger.chain import seal
from stead.ledger.pump import Pump
from stead.ledger.sinks import Cursor, NewsKind, Pace
from stead.model.audit_record import AuditEvent

FAST = Pace(batch=4, poll=0.01, confirm_after=0.02, first_wait=0.01, longest_wait=0.05)


class FarEnd:
    """A sink that a test can bend: what was acknowledged, and what only arrived."""

    name = "far end"

    def __init__(self, window=8):
        self.window = window
        self.arrived: list = []
        self.confirmed: list[int] = []
        self.fails: dict[str, list] = {"send": [], "confirm": []}
        self.poison: set[int] = set()
        self.is_open = threading.Event()
        self.is_open.set()
        self.entered = threading.Event()
        self.resets = 0

    def send(self, batch):
        self.entered.set()
        assert self.is_open.wait(60)
        self._fail("send")
        self.arrived += [one for one in batch if one.number not in self.poison]
        return [one.number for one in batch if one.number in self.poison]

    def confirm(self):
        self._fail("confirm")
        self.confirmed.append(self.arrived[-1].number)

    def reset(self):
        self.resets += 1

    def interrupt(self):
        self.fails["send"].append(SinkUnavailableError("interrupted"))
        self.is_open.set()

    def _fail(self, which):
        if self.fails[which]:
            raise self.fails[which].pop(0)

    def numbers(self):
        return [one.number for one in self.arrived]


class SinkStore:
    """The bendable store, with cursors."""

    def __init__(self, store):
        self.store = store
        self.cursors: dict[str, Cursor] = {}
        self.failures: list[Exception] = []
        self.largest = 0

    def entries(self, after=0, limit=None):
        if self.failures:
            raise self.failures.pop(0)
        found = list(self.store.entries(after, limit))
        self.largest = max(self.largest, len(found))
        return iter(found)

    def last(self):
        return self.store.last()

    def cursor(self, sink):
        return self.cursors.get(sink, Cursor())

    def move(self, sink, cursor):
        self.cursors[sink] = cursor


def eventually(holds, seconds=60.0):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it never happens"
        time.sleep(0.005)


@pytest.fixture
def grow(store, genesis, record):
    def grown(count):
        bodies = [write_record(record(object_name=f"o{i}")) for i in range(count)]
        store.append(lambda last: seal(last, bodies, genesis.to_bytes()))

    return grown


@pytest.fixture
def sinks(store):
    return SinkStore(store)


@pytest.fixture
def pumping(sinks, record):
    pumps, news = [], []

    def start(sink, pace=FAST):
        def unreadable(why):
            return record(event=AuditEvent.RECORD_UNREADABLE, reasons=(why,))

        pumps.append(
            Pump(
                sink,
                sinks,
                tell=news.append,
                unreadable=unreadable,
                monotonic=time.monotonic,
                worked=time.thread_time,
                pace=pace,
            )
        )
        pumps[-1].start()
        return news

    start.close = lambda: [pump.close() for pump in pumps]
    start.news = news
    yield start
    start.close()


def test_the_trail_is_sent_in_order_and_the_cursor_follows(grow, sinks, pumping):
    grow(10)
    sink = FarEnd()
    pumping(sink)
    eventually(lambda: sinks.cursor("far end").number == 10)
    grow(3)
    eventually(lambda: sinks.cursor("far end").number == 13)
    assert list(range(1, 14)) == sink.numbers()
    assert sinks.store.last().digest == sinks.cursor("far end").digest
    assert [] == pumping.news


def test_the_cursor_waits_for_the_acknowledgement(grow, sinks, pumping):
    grow(6)
    sink = FarEnd(window=1000)
    pumping(sink, replace(FAST, confirm_after=3600.0))
    eventually(lambda: len(sink.arrived) == 6)
    assert 0 == sinks.cursor("far end").number
    pumping.close()  # the end asks for it
    assert ([6], 6) == (sink.confirmed, sinks.cursor("far end").number)


def test_what_was_not_acknowledged_is_sent_again_under_the_same_identity(
    grow, sinks, pumping
):
    grow(8)
    sink = FarEnd(window=8)
    sink.fails["confirm"] = [SinkUnavailableError("killed")]
    pumping(sink)
    eventually(lambda: sinks.cursor("far end").number == 8)
    assert set(range(1, 9)) == set(sink.numbers())
    assert 8 < len(sink.arrived)
    assert len({(one.number, one.digest) for one in sink.arrived}) == 8


def test_being_down_is_told_once_and_being_up_with_how_many_waited(
    grow, sinks, pumping
):
    grow(5)
    sink = FarEnd()
    sink.fails["send"] = [SinkUnavailableError("nobody listens")] * 4
    news = pumping(sink)
    eventually(lambda: len(news) == 2)
    told = [(one.kind, one.count, one.because) for one in news]
    assert [
        (NewsKind.DOWN, 5, "nobody listens"),
        (NewsKind.UP, 5, ""),
    ] == told
    eventually(lambda: sinks.cursor("far end").number == 5)
    assert [1, 2, 3, 4, 5] == sink.numbers()


def test_a_mistake_in_a_sink_ends_no_pump(grow, sinks, pumping):
    grow(2)
    sink = FarEnd()
    sink.fails["send"] = [ValueError("a mistake")]
    news = pumping(sink)
    eventually(lambda: sinks.cursor("far end").number == 2)
    assert "its adapter fails: ValueError" == news[0].because


def test_a_store_that_cannot_be_read_is_not_the_sinks_failure(grow, sinks, pumping):
    grow(2)
    sinks.failures = [LedgerUnavailableError("busy")] * 3
    sink = FarEnd()
    pumping(sink)
    eventually(lambda: sinks.cursor("far end").number == 2)
    assert ([1, 2], []) == (sink.numbers(), pumping.news)


def test_a_sink_that_hangs_holds_up_no_append_and_costs_no_memory(grow, sinks, pumping):
    sink = FarEnd()
    sink.is_open.clear()
    grow(1)
    pumping(sink)
    assert sink.entered.wait(60)
    for _ in range(50):
        grow(20)  # appends go on while `send` hangs
    assert 0 == sinks.cursor("far end").number
    sink.is_open.set()
    eventually(lambda: sinks.cursor("far end").number == 1001)
    assert list(range(1, 1002)) == sink.numbers()
    assert sinks.largest <= FAST.batch


def test_a_pump_that_hangs_ends_with_its_server(grow, sinks, pumping):
    grow(1)
    sink = FarEnd()
    sink.is_open.clear()
    pumping(sink, replace(FAST, grace=0.05))
    assert sink.entered.wait(60)
    pumping.close()
    assert 0 == sinks.cursor("far end").number


def test_what_is_left_is_sent_at_the_next_start(grow, sinks, pumping):
    grow(3)
    first, second = FarEnd(), FarEnd()
    pumping(first)
    eventually(lambda: sinks.cursor("far end").number == 3)
    pumping.close()
    grow(2)
    pumping(second)
    eventually(lambda: sinks.cursor("far end").number == 5)
    assert [4, 5] == second.numbers()


def test_a_trail_that_was_put_back_is_sent_from_its_beginning(grow, sinks, pumping):
    grow(3)
    sinks.cursors["far end"] = Cursor(9, b"of a trail that is gone")
    sink = FarEnd()
    news = pumping(sink)
    eventually(lambda: sinks.cursor("far end").number == 3)
    assert [(NewsKind.BEGAN_ANEW, 9)] == [(n.kind, n.count) for n in news]
    assert [1, 2, 3] == sink.numbers()


def test_a_trail_with_other_records_under_the_same_numbers_is_noticed(
    grow, sinks, pumping
):
    grow(3)
    sinks.cursors["far end"] = Cursor(2, b"of another record 2")
    sink = FarEnd()
    news = pumping(sink)
    eventually(lambda: len(sink.arrived) == 3)
    assert NewsKind.BEGAN_ANEW is news[0].kind


def test_records_that_were_retired_before_they_were_sent_are_told(grow, sinks, pumping):
    grow(9)
    digest = sinks.store.kept[1].digest
    sinks.cursors["far end"] = Cursor(2, digest)
    del sinks.store.kept[:6]
    sink = FarEnd()
    news = pumping(sink)
    eventually(lambda: sink.numbers() == [7, 8, 9])
    assert [(NewsKind.NOT_SENT, 4)] == [(n.kind, n.count) for n in news]


def test_an_entry_that_is_no_record_is_sent_as_that(grow, sinks, pumping):
    grow(3)
    sinks.store.kept[1] = sinks.store.kept[1]._replace(body=b"{}")
    sink = FarEnd()
    pumping(sink)
    eventually(lambda: len(sink.arrived) == 3)
    events = [one.record.event for one in sink.arrived]
    assert AuditEvent.RECORD_UNREADABLE is events[1]
    assert [1, 2, 3] == sink.numbers()


def test_records_that_the_far_end_refuses_for_good_are_told_and_block_nothing(
    grow, sinks, pumping
):
    grow(14)
    sink = FarEnd()
    sink.poison = {2, 3, 5}
    news = pumping(sink)
    eventually(lambda: sinks.cursor("far end").number == 14)
    told = [(n.kind, n.count, n.because) for n in news]
    assert [
        (NewsKind.NOT_SENT, 2, "the far end refuses them for good: 2, 3"),
        (NewsKind.NOT_SENT, 3, "the far end refused so many in all"),
    ] == told
    assert set(range(1, 15)) - sink.poison == set(sink.numbers())


def test_what_an_adapter_says_when_it_fails_is_told_to_nobody(grow, pumping, caplog):
    grow(1)
    sink = FarEnd()
    sink.fails["send"] = [ValueError("Invalid header value b'Bearer secret-1'")] * 3
    news = pumping(sink)
    eventually(lambda: NewsKind.UP in {one.kind for one in news})
    assert "its adapter fails: ValueError" == news[0].because
    assert "secret" not in caplog.text
    assert [1] == sink.numbers()


def test_a_store_that_fails_while_the_sink_does_ends_nothing(grow, sinks, pumping):
    grow(1)
    sink = FarEnd()
    sink.fails["send"] = [SinkUnavailableError("down")] * 2
    last, failures = sinks.last, [LedgerUnavailableError("the disk fails")] * 2

    def failing():
        if failures:
            raise failures.pop()
        return last()

    sinks.last = failing
    news = pumping(sink)
    eventually(lambda: sink.numbers() == [1])
    assert NewsKind.DOWN is news[0].kind


def test_a_gap_is_told_once_however_long_the_sink_is_down(grow, sinks, store, pumping):
    grow(10)
    sinks.move("far end", Cursor(2, store.kept[1].digest))
    del store.kept[2:6]
    sink = FarEnd()
    sink.fails["send"] = [SinkUnavailableError("down")] * 8
    news = pumping(sink)
    eventually(lambda: sinks.cursor("far end").number == 10)
    gaps = [one for one in news if one.kind is NewsKind.NOT_SENT]
    assert [4] == [one.count for one in gaps]
