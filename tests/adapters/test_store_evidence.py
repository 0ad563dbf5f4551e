"""Tree, checkpoints and seals in the store."""

from __future__ import annotations

import sqlite3
import threading
from dataclasses import replace

import pytest

from stead.adapters.store import Store
from stead.errors import InvalidProofError, LedgerUnavailableError
from stead.ledger.chain import seal
from stead.ledger.findings import Wrong
from stead.ledger.ports import KeptCheckpoint
from stead.ledger.segments import Seal
from stead.ledger.tree import CompactRange, leaf_hash
from stead.server.trail_examination import examine_store

GENESIS = b"genesis"
BODIES = [b"%d" % number for number in range(3000)]


def _tree(size):
    return CompactRange().extend(map(leaf_hash, BODIES[:size]))


def _append(store, start, stop):
    store.ledger.append(lambda last: seal(last, BODIES[start:stop], GENESIS))


@pytest.fixture
def store(place):
    with Store.open(place) as opened:
        yield opened


def _sql(place, statement, *values):
    with sqlite3.connect(place) as connection:
        connection.execute(statement, values)
    connection.close()


def _seal(number, first, last):
    return Seal(number, first, last, b"digest", _tree(last), 7)


def test_the_tree_is_advanced_with_the_entries(store):
    assert CompactRange() == store.evidence.tree()
    for start, stop in ((0, 1), (1, 8), (8, 3000)):
        _append(store, start, stop)
        assert _tree(stop) == store.evidence.tree()


def test_an_append_that_fails_leaves_the_tree_as_it_was(store):
    _append(store, 0, 5)

    def fail(last):
        raise LedgerUnavailableError("no")

    with pytest.raises(LedgerUnavailableError):
        store.ledger.append(fail)
    store.ledger.append(lambda _: [])
    assert _tree(5) == store.evidence.tree()


def test_several_that_append_keep_one_tree(place):
    stores = [Store.open(place) for _ in range(3)]

    def work(store):
        for at in range(20):
            store.ledger.append(lambda last, at=at: seal(last, [b"%d" % at], GENESIS))

    threads = [threading.Thread(target=work, args=(store,)) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    bodies = [entry.body for entry in stores[0].ledger.entries()]
    tree = CompactRange().extend(map(leaf_hash, bodies))
    assert (60, tree) == (len(bodies), stores[0].evidence.tree())
    for store in stores:
        store.close()


@pytest.mark.parametrize("edge", [b"", b"rubbish", "text", _tree(9).to_bytes()])
def test_a_trail_whose_tree_was_bent_is_not_gone_on_with(place, store, edge):
    _append(store, 0, 5)
    _sql(place, "UPDATE tree SET edge = ?", edge)
    with pytest.raises(LedgerUnavailableError, match="tree"):
        _append(store, 5, 6)
    assert 5 == store.ledger.last().sequence


def test_checkpoints_are_thinned_out_but_for_the_last(store):
    for size in range(1, 3000, 100):
        store.evidence.keep_checkpoint(KeptCheckpoint(f"note {size}", _tree(size)))
    sizes = [kept.tree.size for kept in store.evidence.checkpoints()]
    assert [1, 1001, 2001, 2901] == sizes
    assert KeptCheckpoint("note 2901", _tree(2901)) == store.evidence.last_checkpoint()
    assert ("note 1", "note 1001", "note 2001", "note 2901") == store.evidence.notes()
    store.evidence.keep_checkpoint(KeptCheckpoint("again", _tree(2901)))
    assert "again" == store.evidence.last_checkpoint().note


def test_seals_follow_one_another_and_the_faster_of_two_wins(store):
    assert store.evidence.add_seal(_seal(1, 1, 10))
    for late in (_seal(1, 1, 12), _seal(2, 1, 12), _seal(3, 11, 12), _seal(2, 12, 14)):
        assert not store.evidence.add_seal(late)
    assert store.evidence.add_seal(_seal(2, 11, 20))
    store.evidence.set_archived(_seal(2, 11, 20), 25)
    assert (
        _seal(1, 1, 10),
        replace(_seal(2, 11, 20), archived_by=25),
    ) == store.evidence.seals()


def test_clearing_removes_what_is_sealed_and_keeps_the_rest(store):
    _append(store, 0, 2500)
    first = _seal(1, 1, 2200)
    assert store.evidence.add_seal(first)
    store.evidence.clear((first,), 2300)
    assert [2201, 2500] == [e.sequence for e in store.ledger.entries()][::299]
    assert (replace(first, cleared_by=2300),) == store.evidence.seals()
    _append(store, 2500, 2501)
    assert _tree(2501) == store.evidence.tree()


@pytest.mark.parametrize("by", [5, 10, 11])
def test_nothing_is_removed_unless_the_record_that_says_so_stays(store, by):
    _append(store, 0, 10)
    first = _seal(1, 1, 10)
    assert store.evidence.add_seal(first)
    with pytest.raises(LedgerUnavailableError, match="does not stay"):
        store.evidence.clear((first,), by)
    assert (first,) == store.evidence.seals()
    assert 10 == len(list(store.ledger.entries()))


def test_evidence_that_was_bent_is_no_tree(place, store):
    store.evidence.keep_checkpoint(KeptCheckpoint("note", _tree(5)))
    assert store.evidence.add_seal(_seal(1, 1, 10))
    _sql(place, "UPDATE checkpoint SET edge = 'x'")
    _sql(place, "UPDATE segment SET edge = 'x'")
    with pytest.raises(InvalidProofError):
        store.evidence.last_checkpoint()
    with pytest.raises(InvalidProofError):
        store.evidence.seals()
    assert ("note",) == store.evidence.notes()


@pytest.mark.parametrize(
    "bend",
    [
        "segment SET last = 'x'",
        "segment SET last = 1.5",
        "segment SET number = x'00'",
        "segment SET first = 'x'",
        "segment SET sealed_at = 'x'",
        "segment SET note = x'00'",
        "segment SET note = CAST(x'ff' AS TEXT)",
        "segment SET cleared_by = 'x'",
        "segment SET archived_by = 'x'",
        "checkpoint SET note = CAST(x'ff' AS TEXT)",
    ],
)
def test_evidence_of_the_wrong_type_is_a_fault_and_hides_no_other(place, store, bend):
    genesis = store.accounts.domain().to_bytes()
    store.ledger.append(lambda last: seal(last, BODIES[:20], genesis))
    store.evidence.keep_checkpoint(KeptCheckpoint("note", _tree(5)))
    digest = list(store.ledger.entries())[9].digest
    assert store.evidence.add_seal(replace(_seal(1, 1, 10), digest=digest))
    _sql(place, f"UPDATE {bend}")
    fault = examine_store(store.ledger, store.evidence, genesis).fault
    assert Wrong.TREE is fault.wrong
    _sql(place, "DELETE FROM entry WHERE sequence = 15")
    fault = examine_store(store.ledger, store.evidence, genesis).fault
    assert (Wrong.MISSING, 15) == (fault.wrong, fault.first)


@pytest.mark.parametrize("bend", ["note = x'00'", "size = 'x'"])
def test_a_checkpoint_of_the_wrong_type_is_no_proof(place, store, bend):
    store.evidence.keep_checkpoint(KeptCheckpoint("note", _tree(5)))
    _sql(place, "DROP TABLE checkpoint")
    _sql(place, "CREATE TABLE checkpoint (size, note, edge)")
    _sql(place, "INSERT INTO checkpoint VALUES (5, 'note', ?)", _tree(5).to_bytes())
    _sql(place, f"UPDATE checkpoint SET {bend}")  # noqa: S608 - the words above
    with pytest.raises(InvalidProofError, match="where"):
        store.evidence.last_checkpoint()
