"""The index's file: derived, so whatever becomes of it, answers stay right."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, contextmanager
from dataclasses import replace

import pytest

from stead.adapters.store import Store
from stead.adapters.store.trail_index import SUFFIX, SqlTrailIndex
from stead.errors import IndexDamagedError, StoreUnavailableError, UnsafeStoreError
from stead.ledger.asking import ask
from stead.ledger.canonical import write_record
from stead.ledger.chain import seal
from stead.ledger.index_check import check_index
from stead.ledger.indexing import catch_up
from stead.ledger.ports import Block, Reached, TermUse
from stead.ledger.query import Query, find
from stead.model.audit_record import AuditEvent, AuditRecord, Outcome, Principal
from stead.model.sid import Sid

SERVER = Principal(Sid.from_string("S-1-5-80-1-2-3-4-5"), "notes")
RECORD = AuditRecord(
    event=AuditEvent.OBJECT_ACCESS,
    outcome=Outcome.SUCCESS,
    time=1,
    server=SERVER,
    client=Principal(Sid.from_string("S-1-5-21-1-2-3-1001"), "alice"),
)


@pytest.fixture
def private(tmp_path):
    tmp_path.chmod(0o700)
    return tmp_path


@pytest.fixture
def place(private):
    return private / "notes.db"


@pytest.fixture
def file(place):
    return place.with_name(place.name + SUFFIX)


def append(store, count, **changes):
    bodies = [
        write_record(replace(RECORD, **{"object_name": f"o{n}", **changes}))
        for n in range(count)
    ]
    genesis = store.accounts.domain().to_bytes()
    store.ledger.append(lambda last: seal(last, bodies, genesis))


@contextmanager
def opened(place):
    with Store.open(place) as store:
        yield store


def agrees(store, query=None):
    """Ask, and tell whether the answer is the one that reading everything gives."""
    query = query or Query(client="alice")
    page = ask(store.reading, store.index, replace(query, limit=1000))
    return list(find(store.reading, query)) == list(page.found)


def tamper(file, *statements):
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def test_it_lies_beside_the_store_readable_by_its_owner_alone(place, file):
    with opened(place) as store:
        append(store, 3)
        assert 3 == catch_up(store.reading, store.index).sequence
        assert agrees(store)
        for one in file.parent.glob("*" + SUFFIX + "*"):
            assert 0o600 == one.stat().st_mode & 0o777
    assert file.exists()


def test_it_is_kept_from_one_opening_to_the_next(place):
    with opened(place) as store:
        append(store, 3)
        catch_up(store.reading, store.index)
    with opened(place) as store:
        assert 3 == store.index.reached().sequence


def test_one_that_others_may_write_is_refused_as_the_store_is(place, file):
    with opened(place) as store:
        catch_up(store.reading, store.index)
        append(store, 1)
        catch_up(store.reading, store.index)
    file.chmod(0o620)
    with pytest.raises(UnsafeStoreError):
        Store.open(place)


def test_one_that_became_unsafe_meanwhile_is_not_opened(place, file):
    with opened(place) as store:
        file.touch(mode=0o600)
        file.chmod(0o644)
        with pytest.raises(UnsafeStoreError):
            store.index.reached()


def _delete(file):
    for one in file.parent.glob(file.name + "*"):
        one.unlink()


def _truncate(size):
    return lambda file: os.truncate(file, size)


def _garbage(file):
    file.write_bytes(os.urandom(8192))


def _scramble(file):
    """Leave the first page as it is, and make the others noise."""
    size = file.stat().st_size
    with file.open("r+b") as stream:
        stream.seek(4096)
        stream.write(os.urandom(size - 4096))


@pytest.mark.parametrize(
    "harm",
    [_delete, _truncate(0), _truncate(100), _truncate(4096), _garbage, _scramble],
    ids=["deleted", "empty", "cut in a page", "cut", "garbage", "scrambled"],
)
def test_a_harmed_file_costs_no_answer_and_is_made_anew(place, file, harm):
    with opened(place) as store:
        append(store, 300)
        catch_up(store.reading, store.index)
    harm(file)
    with opened(place) as store:
        for _ in range(3):
            assert agrees(store)
        assert 300 == catch_up(store.reading, store.index).sequence
        assert agrees(store)
        assert () == check_index(store.reading, store.index).hidden


def test_deleting_it_under_an_open_store_costs_no_answer(place, file):
    with opened(place) as store:
        append(store, 3)
        catch_up(store.reading, store.index)
        _delete(file)
        append(store, 3)
        assert agrees(store)


@pytest.mark.parametrize(
    "statement",
    [
        "DROP TABLE term",
        "DROP TABLE state",
        "DELETE FROM state",
        "UPDATE state SET format = 99",
        "UPDATE state SET sequence = 'many'",
        "UPDATE state SET digest = 'text'",
        "UPDATE state SET sequence = 9223372036854775807",
        "UPDATE block SET postings = 'text'",
        "UPDATE block SET postings = x'FFFF'",
        "UPDATE block SET postings = x'01'",
        "UPDATE term SET first = 'a'",
        "ALTER TABLE block RENAME COLUMN postings TO other",
    ],
)
def test_what_was_never_written_to_it_is_found_out(place, file, statement):
    with opened(place) as store:
        append(store, 5)
        catch_up(store.reading, store.index)
    tamper(file, statement)
    with opened(place) as store:
        assert agrees(store)
        assert 5 == catch_up(store.reading, store.index).sequence
        assert agrees(store)
        assert () == check_index(store.reading, store.index).hidden


@pytest.mark.parametrize(
    ("statement", "hidden"),
    [
        ("DELETE FROM block", (1, 2, 3, 4, 5)),
        ("DELETE FROM term", (1, 2, 3, 4, 5)),
        ("UPDATE term SET first = 4", (1, 2, 3)),
        ("UPDATE term SET last = 2", (3, 4, 5)),
        (
            "UPDATE block SET postings = substr(postings, 1, 8)",
            (5,),
        ),
    ],
)
def test_one_that_was_changed_hides_and_the_comparison_names_what(
    place, file, statement, hidden
):
    with opened(place) as store:
        append(store, 5)
        catch_up(store.reading, store.index)
        assert () == check_index(store.reading, store.index).hidden
    tamper(file, statement)
    with opened(place) as store:
        # The naive reader of an index believes it; what it hides is not missed.
        page = ask(store.reading, store.index, Query(client="alice"))
        assert set(range(1, 6)) - set(hidden) == {number for number, _ in page.found}
        found = check_index(store.reading, store.index)
        assert (5, hidden, len(hidden)) == (
            found.entries, found.hidden, found.hidden_count,
        )  # fmt: skip


def test_one_that_was_changed_can_invent_nothing(place, file):
    with opened(place) as store:
        append(store, 4)
        append(store, 1, client=None)
        catch_up(store.reading, store.index)
    # Every list of four becomes one of five: the server's own record is alice's.
    more = "CAST(postings || x'0500' AS BLOB)"
    tamper(
        file,
        f"UPDATE block SET postings = {more} WHERE length(postings) = 8",  # noqa: S608 - ours
        "UPDATE term SET last = 5",
    )
    with opened(place) as store:
        assert agrees(store)
        assert check_index(store.reading, store.index).invented > 0


def test_the_index_of_another_store_is_made_anew(private, place, file):
    other = private / "other.db"
    with opened(other) as store:
        append(store, 10, object_name="secret")
        catch_up(store.reading, store.index)
    other.with_name(other.name + SUFFIX).replace(file)
    with opened(place) as store:
        append(store, 3)
        assert agrees(store)
        assert 3 == store.index.reached().sequence
        assert () == ask(store.reading, store.index, Query(object_name="secret")).found


def test_a_store_restored_from_a_copy_is_indexed_anew(place):
    with opened(place) as store:
        append(store, 3)
    copy = place.read_bytes()
    with opened(place) as store:
        append(store, 3, object_name="lost")
        catch_up(store.reading, store.index)
    place.write_bytes(copy)
    with opened(place) as store:
        append(store, 4, object_name="new")
        assert agrees(store, Query(object_name="new"))
        assert agrees(store, Query(object_name="lost"))


def test_of_two_that_add_the_same_one_is_told_so(place):
    with opened(place) as first, opened(place) as second:
        append(first, 1)
        reached = catch_up(first.reading, first.index)
        one = [TermUse(1, b"x", 1, 1, 1)]
        assert not second.index.add(Reached(), reached, one, [])
        assert second.index.add(reached, Reached(2, b"d"), one, [Block(1, 0, b"\1\0")])
        assert [TermUse(1, b"x", 1, 1, 1)] == first.index.uses(1, b"x", None, 9)


def test_two_stores_keep_one_index(place):
    with opened(place) as first, opened(place) as second:
        for store in (first, second, first):
            append(store, 2)
            assert agrees(store)
        assert () == check_index(second.reading, second.index).hidden


def test_a_locked_index_costs_no_answer(place, file, monkeypatch):
    monkeypatch.setattr("stead.adapters.store.database.BUSY_SECONDS", 0.01)
    with opened(place) as store:
        append(store, 2)
        catch_up(store.reading, store.index)
        append(store, 2)
        with closing(sqlite3.connect(file, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            assert agrees(store)
            assert 2 == store.index.reached().sequence
            other.execute("ROLLBACK")
        assert agrees(store)
        assert 4 == store.index.reached().sequence


def test_a_folder_in_its_place_costs_no_answer(place, file):
    with opened(place) as store:
        append(store, 2)
        file.mkdir(mode=0o700)
        with pytest.raises((UnsafeStoreError, StoreUnavailableError)):
            store.index.reached()


def test_it_is_closed_with_its_store():
    index = SqlTrailIndex(None)
    assert Reached() == index.reached()
    index.close()
    index.close()
    with pytest.raises(StoreUnavailableError) as caught:
        index.reached()
    assert not isinstance(caught.value, IndexDamagedError)


def test_many_terms_at_once_are_asked_for_in_parts():
    with closing(SqlTrailIndex(None)) as index:
        blocks = [Block(n, 0, b"\1\0") for n in range(1200)]
        uses = [TermUse(4, b"%d" % n, 1, 1, 1) for n in range(1200)]
        assert index.add(Reached(), Reached(1, b"d"), uses, blocks)
        assert 1200 == len(index.blocks(range(1200), [0]))
        assert 1200 == len(index.uses_of(4, [use.value for use in uses]))
        assert [0] == index.chunks(range(1200), 0, 5, limit=9)
        index.clear()
        assert [] == index.blocks(range(1200), [0])


def test_reading_entries_backwards_and_by_number(place):
    with opened(place) as store:
        append(store, 1100)
        numbers = [entry.sequence for entry in store.reading.backwards()]
        assert list(range(1100, 0, -1)) == numbers
        assert [4, 3, 2, 1] == [e.sequence for e in store.reading.backwards(5)]
        assert [] == list(store.reading.backwards(-(1 << 70)))
        picked = store.reading.picked([7, 3, 5000, *range(600, 1200)])
        assert [3, 7, *range(600, 1101)] == [entry.sequence for entry in picked]
