"""Keeping an index up, in the background and by whoever asks."""

from __future__ import annotations

import logging
import threading
import time
import tracemalloc
from dataclasses import replace

import pytest

from stead.adapters.store.trail_index import SqlTrailIndex
from stead.errors import LedgerCorruptError, StoreUnavailableError
from stead.ledger import indexing
from stead.ledger.asking import ask
from stead.ledger.index_check import check_index
from stead.ledger.indexing import IndexKeeper, catch_up
from stead.ledger.ports import Entry, Reached
from stead.ledger.postings import CHUNK
from stead.ledger.query import Query, find
from stead.ledger.terms import LONGEST_VALUE, clauses_of, terms_of
from stead.model.audit_record import AuditEvent, Outcome


@pytest.fixture
def keep(store, index, monkeypatch):
    """Give what starts a keeper that does not wait long."""
    monkeypatch.setattr(indexing, "_IDLE_SECONDS", 0.01)
    kept = []

    def start(over=index):
        kept.append(IndexKeeper(store, over, monotonic=time.monotonic_ns))
        return kept[-1]

    yield start
    for keeper in kept:
        keeper.close()


def until(condition):
    ends = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.01)


def test_a_keeper_takes_in_what_is_there_and_what_comes(
    store, index, fill, record, keep
):
    fill([record()] * 3000)
    keep()
    until(lambda: index.reached().sequence == 3000)
    fill([record(client=None)] * 5)
    until(lambda: index.reached().sequence == 3005)
    assert () == check_index(store, index).hidden


def test_a_keeper_ends_in_the_middle_of_a_long_trail(store, index, fill, record, keep):
    fill([record()] * 5000)
    before = threading.enumerate()
    keeper = keep()
    until(lambda: index.reached().sequence > 0)
    [thread] = (
        each
        for each in threading.enumerate()
        if each.name == "stead-index" and each not in before
    )
    keeper.close()
    assert 0 == index.reached().sequence % indexing.PAGE
    assert not thread.is_alive()


def test_while_the_trail_grows_it_works_a_small_part_of_the_time(
    store, index, fill, record
):
    fill([record()] * 100)
    waits, clock = [], iter(range(0, 1 << 60, 1000))
    keeper = IndexKeeper(store, index, monotonic=lambda: next(clock))
    keeper.close()

    class Stopping:
        def wait(self, seconds):
            waits.append(seconds)

        def is_set(self):
            return False

    keeper._stopping = Stopping()
    keeper._take_page()
    busy = waits[-1]
    fill([record()] * 10)
    keeper._take_page()
    assert 49e-6 == pytest.approx(busy)
    assert 1e-6 == pytest.approx(waits[-1])
    count = len(waits)
    assert not keeper._take_page()
    assert count == len(waits)  # nothing new, so nothing is done


class FailingIndex:
    def __init__(self, index):
        self.index = index
        self.error = StoreUnavailableError("the disk is full")

    def __getattr__(self, name):
        if self.error is not None:
            raise self.error
        return getattr(self.index, name)


@pytest.mark.parametrize(
    "error", [StoreUnavailableError("the disk is full"), ZeroDivisionError()]
)
def test_a_keeper_survives_errors_and_says_so(index, fill, record, keep, caplog, error):
    fill([record()])
    failing = FailingIndex(index)
    failing.error = error
    with caplog.at_level(logging.WARNING, "stead.ledger"):
        keep(failing)
        until(lambda: "is not kept up" in caplog.text)
    failing.error = None
    until(lambda: index.reached().sequence == 1)


def test_an_asker_needs_no_index(store, index, fill, record, caplog):
    fill([record(), record(client=None)])
    page = ask(store, FailingIndex(index), Query(client="alice"))
    assert [1] == [number for number, _ in page.found]
    assert page.next is None
    assert "read without its index" in caplog.text


def test_an_index_that_fails_midway_is_replaced_by_reading(store, index, fill, record):
    fill([record(object_name=f"o{n % 3}") for n in range(10)])
    catch_up(store, index)

    class Midway:
        def __getattr__(self, name):
            if name == "blocks":
                raise StoreUnavailableError("gone")
            return getattr(index, name)

    for newest in (False, True):
        query = Query(object_name="o1", newest_first=newest)
        assert list(find(store, query)) == list(ask(store, Midway(), query).found)


def test_an_index_of_another_trail_is_emptied(store, index, fill, record):
    fill([record()] * 3)
    catch_up(store, index)
    last = store.kept[-1]
    store.kept[-1] = Entry(last.sequence, last.body, b"another")
    assert Reached(3, b"another") == catch_up(store, index)
    store.kept.clear()
    assert Reached() == catch_up(store, index)


def test_an_entry_that_is_no_record_meets_every_question(store, index, fill, record):
    fill([record(object_name=f"o{n}") for n in range(6)])
    store.kept[2] = Entry(3, b'{"format":1}', store.kept[2].digest)
    for indexed in (False, True):
        if indexed:
            catch_up(store, index)
        for query in (Query(object_name="o5"), Query(client="nobody"), Query()):
            with pytest.raises(LedgerCorruptError):
                list(find(store, query))
            page = ask(store, index, query)
            assert (3,) == page.unreadable
            readable = [n for n in range(1, 7) if n != 3]
            expected = {"o5": [6], None: readable}.get(query.object_name)
            expected = [] if query.client else expected
            assert expected == [number for number, _ in page.found]


def test_stretches_are_cut_where_they_begin(store, index, fill, record):
    count = CHUNK + 700
    fill([record(object_name=f"o{n % 2}", outcome=_outcome(n)) for n in range(count)])
    catch_up(store, index)
    for newest in (False, True):
        query = Query(
            object_name="o1", outcome=Outcome.FAILURE, newest_first=newest, limit=1000
        )
        found = [number for number, _ in ask(store, index, query).found]
        assert [number for number, _ in find(store, query)] == found
        assert count // 70 == pytest.approx(len(found), abs=2)
    assert () == check_index(store, index).hidden


def _outcome(number):
    return Outcome.FAILURE if number % 35 == 1 else Outcome.SUCCESS


def test_a_beginning_that_very_many_names_have_is_read_within_bounds(
    store, index, fill, record
):
    names = [f"/srv/{n}" for n in range(600)]
    fill([record(object_name=name) for name in ["a", *names, "b"]])
    catch_up(store, index)
    for query in (
        Query(object_prefix="/srv/", limit=1000),
        Query(object_prefix="/srv/", client="alice", newest_first=True, limit=1000),
    ):
        assert list(find(store, query)) == list(ask(store, index, query).found)


def test_a_page_does_a_bounded_amount_of_work_and_says_how_far_it_looked(
    store, index, fill, record
):
    fill([record()] * 1000)
    page = ask(store, index, Query(since=0, object_name=""), work=300)
    assert () == page.found
    assert 300 <= page.through < 500
    assert page.through == page.next
    page = ask(
        store, index, Query(since=0, object_name="", newest_first=True), work=300
    )
    assert 500 < page.through <= 701


def test_a_clock_that_steps_loses_nothing(store, index, fill, record):
    hour = 3_600_000_000_000
    times = [100, 101, 5, 102, 103, 99, 100]
    fill([record(time=one * hour) for one in times])
    catch_up(store, index)
    for since, until_ in ((99, 101), (5, 6), (100, 104), (6, 99)):
        query = Query(since=since * hour, until=until_ * hour)
        assert list(find(store, query)) == list(ask(store, index, query).found)


def test_huge_answers_stay_small_in_memory(store, index, fill, record):
    fill([record()] * 9000)
    catch_up(store, index)
    query = Query(client="alice", limit=50)
    ask(store, index, query)
    tracemalloc.start()
    count = 0
    while True:
        page = ask(store, index, query)
        count += len(page.found)
        if page.next is None or count >= 3000:
            break
        query = page.following(query)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count >= 3000
    assert peak < 4_000_000  # one stretch's numbers, one page's records


def test_long_and_stray_names_have_terms_of_bounded_size(record):
    long = record(object_name="\udc80" * 60_000, event=AuditEvent.LOGON)
    assert all(len(term.value) <= LONGEST_VALUE for term in terms_of(long))
    (clause,) = clauses_of(Query(object_name="\udc80" * 60_000))
    found = {(term.kind, term.value) for term in terms_of(long)}
    assert any(
        kind == span.kind and span.low <= value < span.high
        for span in clause
        for kind, value in found
    )


def test_the_comparison_stops_where_the_index_does(store, index, fill, record):
    fill([record()] * 10)
    catch_up(store, index, limit=4)
    found = check_index(store, index)
    assert (4, 0, 0) == (found.entries, found.hidden_count, found.invented)


def test_a_query_says_what_it_asks():
    query = Query(
        client="alice", event={AuditEvent.LOGON, AuditEvent.LOGOFF}, session=7, after=3
    )
    assert "client=alice event=logoff,logon session=7 after=3" == query.describe()
    assert "everything" == Query().describe()
    failures = replace(Query(outcome=Outcome.FAILURE), event=AuditEvent.LOGON)
    assert "event=logon outcome=failure" == failures.describe()
    narrow = Query(client="", event=frozenset(), since=0, limit=0)
    assert 'client="" event= since=0 limit=0' == narrow.describe()
    forged = Query(client="alice object=plan")
    assert (
        'client="alice object=plan"' == forged.describe() != "client=alice object=plan"
    )


def test_a_memory_index_ends_with_its_store():
    index = SqlTrailIndex(None)
    assert Reached() == index.reached()
    index.close()


class Overtaken:
    """An index to which somebody else does something whenever this one would add."""

    def __init__(self, index, act):
        self._index = index
        self._act = act
        self.sizes = []

    def __getattr__(self, name):
        return getattr(self._index, name)

    def add(self, since, upto, uses, blocks):
        self._act()
        self.sizes.append(upto.sequence - since.sequence)
        return self._index.add(since, upto, uses, blocks)


def test_what_another_has_added_meanwhile_is_not_added_again(
    store, index, fill, record
):
    fill([record(operation=str(n), object_name=f"{n % 7}") for n in range(300)])

    def overtake():
        if index.reached().sequence < 100:
            catch_up(store, index, limit=60)

    overtaken = Overtaken(index, overtake)
    assert 300 == catch_up(store, overtaken).sequence
    assert [300, 240, 180] == overtaken.sizes  # each time as much less as is there
    found = check_index(store, index)
    assert (300, 0, 0) == (found.entries, found.hidden_count, found.invented)
    [event] = index.uses(5, b"", None, 9)
    assert (1, 300, 300) == (event.first, event.last, event.count)


def test_an_index_that_another_empties_meanwhile_is_begun_anew(
    store, index, fill, record
):
    fill([record()] * 300)
    catch_up(store, index, limit=100)
    clear = [index.clear]
    overtaken = Overtaken(index, lambda: clear and clear.pop()())
    assert 300 == catch_up(store, overtaken).sequence
    found = check_index(store, index)
    assert (300, 0, 0) == (found.entries, found.hidden_count, found.invented)


def test_so_many_terms_at_once_are_held_and_no_more(
    store, index, fill, record, monkeypatch
):
    monkeypatch.setattr(indexing, "_MOST_TERMS", 100)
    fill([record(object_name=str(n)) for n in range(300)])
    counting = Overtaken(index, lambda: None)
    assert 300 == catch_up(store, counting).sequence
    assert 3 < len(counting.sizes) <= 4
    assert () == check_index(store, index).hidden
