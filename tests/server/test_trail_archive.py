"""Segments go to files and out of the store; what remains still says what went."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from itertools import islice

import pytest

from stead.adapters.archive_files import lines_of
from stead.adapters.store.entries import SqlLedgerStore
from stead.adapters.store.sinks import SqlSinkStore
from stead.errors import (
    AccessDeniedError,
    InvalidRequestError,
    LedgerCorruptError,
    PrivilegeNotHeldError,
)
from stead.ledger.archives import read_archive
from stead.ledger.canonical import read_record, write_record
from stead.ledger.findings import Wrong
from stead.ledger.query import Query, find
from stead.ledger.segments import SegmentPolicy
from stead.model.audit_record import AuditEvent
from stead.model.explicit_access import allow
from stead.model.privilege import Privilege
from stead.server.own_objects import AuditTrail
from stead.server.trail_archive import RetentionPolicy, TrailArchive

ALL_OF_IT = RetentionPolicy()


@pytest.fixture
def archivist(server, client_of):
    server.accounts.grant("root of the store", Privilege.SECURITY)
    with client_of(server, "root of the store") as client:
        yield TrailArchive(server.trail_for(client), time.time_ns)


def _grow(server, name):
    for number in range(5):
        server.accounts.add(f"{name} {number}")


@pytest.fixture
def archived(server, archivist, tmp_path):
    """Give two archived segments, and records behind them."""
    for name in ("first", "second"):
        _grow(server, name)
        assert archivist.seal() is not None
    done = archivist.archive(tmp_path)
    _grow(server, "third")
    return done


def test_archives_hold_what_the_store_held_and_verify_alone(server, archived):
    before = dict(server.trail.find(Query()))
    end = 0
    for seal, place in archived:
        assert 0o600 == place.stat().st_mode & 0o777
        kept = []
        head, found = read_archive(lines_of(place), kept.append)
        assert (seal.first, seal.last) == (end + 1, kept[-1].sequence)
        assert (seal.digest, seal.tree) == (found.digest, found.tree)
        assert end == head.before.tree.size
        assert [before[e.sequence] for e in kept] == [read_record(e.body) for e in kept]
        end = seal.last


def test_what_remains_verifies_from_the_seal_on(server, archivist, archived):
    size = server.trail.verify().count
    gone = archivist.clear(ALL_OF_IT)
    assert [seal for seal, _ in archived] == [
        type(seal)(*(getattr(seal, name) for name in (
            "number", "first", "last", "digest", "tree", "sealed_at", "note",
        ))) for seal in gone
    ]  # fmt: skip
    last = archived[-1][0].last
    numbers = [number for number, _ in server.trail.find(Query())]
    assert last + 1 == numbers[0]
    assert server.trail.verify().count > size
    report = server.trail.examine()
    assert (None, last) == (report.fault, report.removed)
    assert last == server.trail.standing().removed
    _grow(server, "fourth")
    assert server.trail.examine().fault is None


def test_removal_is_recorded_with_the_seal_of_what_went(
    server, archivist, archived, trail
):
    archivist.clear(ALL_OF_IT)
    (record,) = trail(AuditEvent.TRAIL_CLEARED)
    seal = archived[-1][0]
    assert {**seal.named(), "from": "1"}.items() <= record.detail.items()
    assert "root of the store" == record.client.name
    told = [record.detail["file"] for record in trail(AuditEvent.TRAIL_ARCHIVED)]
    assert [str(place) for _, place in archived] == told
    assert 1102 == record.event
    assert ["SeSecurityPrivilege"] == [
        name
        for record in trail(AuditEvent.PRIVILEGED_SERVICE)[-1:]
        for name in record.privileges
    ]


def test_only_who_may_clears(server, alice, administrator, archived, tmp_path):
    reader = TrailArchive(server.trail_for(alice), time.time_ns)
    acts = (
        reader.seal,
        lambda: reader.archive(tmp_path),
        lambda: reader.clear(ALL_OF_IT),
    )
    for act in acts:
        with pytest.raises(AccessDeniedError):
            act()
    entries = [*server.find_object("stead:trail").descriptor.dacl]
    entries.append(allow("alice", AuditTrail.READ | AuditTrail.CLEAR))
    server.set_entries(administrator, server.find_object("stead:trail"), entries)
    for act in acts:  # the right alone is not enough: the privilege is needed too
        with pytest.raises(PrivilegeNotHeldError):
            act()
    assert 0 == server.trail.standing().removed


@pytest.mark.parametrize(
    ("policy", "segments"),
    [
        (RetentionPolicy(), 2),
        (RetentionPolicy(records=20), 1),
        (RetentionPolicy(records=1000), 0),
        (RetentionPolicy(seconds=3600), 0),
    ],
)
def test_the_policy_says_what_stays(archivist, archived, policy, segments):
    assert segments == len(archivist.removable(policy))
    assert segments == len(archivist.clear(policy))
    assert () == archivist.clear(policy)


def test_what_was_not_archived_stays(server, archivist):
    _grow(server, "first")
    assert archivist.seal() is not None
    assert () == archivist.clear(ALL_OF_IT)
    assert 1 == next(server.trail.find(Query()))[0]


@pytest.mark.parametrize(
    "by", ["1", "last + 1", "(SELECT MAX(archived_by) FROM segment)"]
)
def test_what_is_only_said_to_be_archived_is_archived_before_it_goes(
    server, archivist, archived, tmp_path, by
):
    _grow(server, "fourth")
    seal = archivist.seal()
    evidence = server._house.trail.evidence._target
    with evidence._database.writing() as connection:
        connection.exec_driver_sql(
            f"UPDATE segment SET archived_by = {by} WHERE number = 3"  # noqa: S608
        )
    forged = server.trail.evidence.seals()
    naive = ALL_OF_IT.removable(forged, 1 << 62, 1 << 62, time.time_ns())
    assert seal.last == naive[-1].last  # what the store says would do
    gone = archivist.clear(ALL_OF_IT)
    assert [one for one, _ in archived] == [replace(g, archived_by=0) for g in gone]
    assert seal.first == next(server.trail.find(Query()))[0]
    assert (seal.number,) == tuple(one.number for one in archivist.pending())
    [(_, place)] = archivist.archive(tmp_path)
    assert seal.digest == read_archive(lines_of(place))[1].digest
    assert (seal.number,) == tuple(one.number for one in archivist.clear(ALL_OF_IT))
    assert server.trail.examine().fault is None


def test_segments_are_removed_one_after_another(server, archivist, archived, tmp_path):
    assert 1 == len(archivist.clear(RetentionPolicy(records=20)))
    first = server.trail.examine()
    assert (None, archived[0][0].last) == (first.fault, first.removed)
    assert archivist.seal() is not None
    archivist.archive(tmp_path)
    assert 2 == len(archivist.clear(ALL_OF_IT))
    second = server.trail.examine()
    assert None is second.fault
    assert second.removed > archived[1][0].last


def test_a_removal_that_was_interrupted_is_finished(server, archivist, archived):
    seal = archived[0][0]
    evidence = server._house.trail.evidence
    number = server.trail.guard.recorder.record(
        AuditEvent.TRAIL_CLEARED, server.trail.subject, detail=seal.named()
    )
    with evidence._target._database.writing() as connection:  # as far as it came
        connection.exec_driver_sql(
            "UPDATE segment SET cleared_by = ? WHERE number = 1", (number,)
        )
        connection.exec_driver_sql("DELETE FROM entry WHERE sequence < 4")
    report = server.trail.examine()
    assert (None, seal.last) == (report.fault, report.removed)
    assert () == archivist.clear(RetentionPolicy(records=1000))
    assert seal.last + 1 == next(server.trail.find(Query()))[0]
    assert server.trail.examine().fault is None


def test_what_is_put_where_records_were_removed_is_shown_to_nobody(
    server, archivist, archived, open_server
):
    seal = archived[-1][0]
    forged = next(r for r in server.trail.find(Query()) if "first 1" in str(r))[1]
    archivist.clear(ALL_OF_IT)
    evidence = server._house.trail.evidence._target
    body = write_record(replace(forged, object_name="what nobody did"))
    with evidence._database.writing() as connection:
        for number in (2, seal.last):
            connection.exec_driver_sql(
                "INSERT INTO entry VALUES (?, ?, ?)", (number, body, bytes(32))
            )
    bare = SqlLedgerStore(evidence._database)
    assert [2, seal.last] == [number for number, _ in islice(find(bare, Query()), 2)]
    assert server.trail.examine().fault is None  # it begins behind them

    trail, lie = server.trail, Query(object_name="what nobody did")
    trail.reindex()
    assert [] == [*trail.find(lie), *trail.find(replace(lie, newest_first=True))]
    assert [] == [*trail.page(lie).found, *trail.export(lie, "jsonl")]
    assert () == trail.who_touched(lie)
    for newest_first in (False, True):
        numbers = [n for n, _ in trail.find(Query(newest_first=newest_first))]
        assert seal.last + 1 == min(numbers)
    for entries in (trail.store, SqlSinkStore(evidence._database)):
        assert seal.last + 1 == next(entries.entries()).sequence
    assert [] == trail.store.picked([2, seal.last])
    assert seal.last + 1 == [e.sequence for e in trail.store.backwards()][-1]

    assert () == archivist.clear(RetentionPolicy(records=1000))
    assert seal.last + 1 == next(bare.entries()).sequence


def test_a_removal_that_nothing_tells_hides_nothing(server, archivist, archived):
    evidence = server._house.trail.evidence._target
    for change in ("cleared_by = last", "cleared_by = last + 1", "edge = 'x'"):
        with evidence._database.writing() as connection:
            connection.exec_driver_sql(f"UPDATE segment SET {change}")  # noqa: S608
        assert 1 == next(server.trail.find(Query()))[0]


def test_the_record_of_an_archive_is_none_of_a_removal(server, archived):
    evidence = server._house.trail.evidence._target
    with evidence._database.writing() as connection:
        connection.exec_driver_sql("UPDATE segment SET cleared_by = archived_by")
        connection.exec_driver_sql(
            "DELETE FROM entry WHERE sequence <= ?", (archived[-1][0].last,)
        )
    assert Wrong.REMOVAL is server.trail.examine().fault.wrong
    with pytest.raises(LedgerCorruptError, match="nothing says"):
        server.trail.verify()


def test_a_forged_removal_is_not_finished(server, archivist, archived):
    evidence = server._house.trail.evidence._target
    with evidence._database.writing() as connection:
        connection.exec_driver_sql(
            "UPDATE segment SET cleared_by = last + 1 WHERE number = 1"
        )
    with pytest.raises(LedgerCorruptError, match="nothing says"):
        archivist.clear(ALL_OF_IT)
    assert 1 == next(server.trail.find(Query()))[0]


def test_missing_is_not_taken_for_removed(server, archivist, archived):
    archivist.clear(RetentionPolicy(records=20))
    seal = archived[0][0]
    evidence = server._house.trail.evidence._target
    with evidence._database.writing() as connection:
        connection.exec_driver_sql(
            "DELETE FROM entry WHERE sequence = ?", (seal.last + 1,)
        )
    fault = server.trail.examine().fault
    assert (Wrong.MISSING, seal.last + 1) == (fault.wrong, fault.first)
    with pytest.raises(LedgerCorruptError, match="is missing"):
        server.trail.verify()


@pytest.mark.parametrize("behind", [-1000, -1, 0, 1, 1_000_000])
def test_a_start_that_was_cut_off_is_not_taken_for_removed(server, archived, behind):
    evidence = server._house.trail.evidence._target
    seal = archived[0][0]
    with evidence._database.writing() as connection:
        connection.exec_driver_sql(
            "UPDATE segment SET cleared_by = last + ? WHERE number = 1", (behind,)
        )
        connection.exec_driver_sql(
            "DELETE FROM entry WHERE sequence <= ?", (seal.last,)
        )
    fault = server.trail.examine().fault
    assert (Wrong.REMOVAL, 1, seal.last) == (fault.wrong, fault.first, fault.last)
    with pytest.raises(LedgerCorruptError, match="nothing says"):
        server.trail.verify()


def test_removed_records_without_their_seal_are_missing(server, archivist, archived):
    archivist.clear(ALL_OF_IT)
    evidence = server._house.trail.evidence._target
    with evidence._database.writing() as connection:
        connection.exec_driver_sql("DELETE FROM segment")
    fault = server.trail.examine().fault
    assert (Wrong.MISSING, 1) == (fault.wrong, fault.first)


def test_a_seal_that_was_bent_is_found(server, archivist, archived):
    archivist.clear(RetentionPolicy(records=20))
    evidence = server._house.trail.evidence._target
    with evidence._database.writing() as connection:
        connection.exec_driver_sql(
            "UPDATE segment SET last = last - 1 WHERE number = 1"
        )
    assert Wrong.TREE is server.trail.examine().fault.wrong
    with evidence._database.writing() as connection:
        connection.exec_driver_sql("UPDATE segment SET edge = 'x' WHERE number = 1")
    assert server.trail.examine().fault is not None


def test_a_trail_that_was_changed_is_not_archived(server, archivist, tmp_path):
    _grow(server, "first")
    assert archivist.seal() is not None
    evidence = server._house.trail.evidence._target
    with evidence._database.writing() as connection:
        connection.exec_driver_sql("UPDATE entry SET body = x'00' WHERE sequence = 5")
    with pytest.raises(LedgerCorruptError) as caught:
        archivist.archive(tmp_path)
    assert 5 == caught.value.sequence
    assert [] == list(tmp_path.iterdir())
    assert () == archivist.clear(ALL_OF_IT)


def test_another_file_is_not_overwritten_and_the_same_is_taken(
    server, archivist, tmp_path
):
    _grow(server, "first")
    assert archivist.seal() is not None
    place = tmp_path / "trail-000001.jsonl"
    place.write_text("mine")
    with pytest.raises(InvalidRequestError, match="is there already"):
        archivist.archive(tmp_path)
    assert "mine" == place.read_text()
    place.unlink()
    archivist.archive(tmp_path)
    evidence = server._house.trail.evidence._target
    with evidence._database.writing() as connection:  # it came no further
        connection.exec_driver_sql("UPDATE segment SET archived_by = 0")
    assert 1 == len(archivist.archive(tmp_path))
    assert {"trail-000001.jsonl"} == {found.name for found in tmp_path.iterdir()}


def test_an_archive_with_a_line_without_end_is_refused(archived, tmp_path):
    place = tmp_path / "long"
    for text in ("x" * (1 << 20), b"\xff".decode("latin-1")):
        place.write_bytes(text.encode("latin-1"))
        with pytest.raises(InvalidRequestError):
            read_archive(lines_of(place))


def test_segments_are_sealed_while_serving_without_a_witness(open_server):
    policy = SegmentPolicy(records=3)
    with open_server(segments=policy) as server:
        standing = server.trail.standing()
        assert 1 == standing.segments
        assert server.trail.examine().fault is None


def test_an_archive_can_be_read_by_anything_that_reads_json(archived):
    head, *records, seal = [json.loads(line) for line in lines_of(archived[0][1])]
    assert "stead archive 1" == head["format"]
    assert [1, 2, 3] == [record["sequence"] for record in records][:3]
    assert "event" in json.loads(records[0]["body"])
    assert seal["seal"]["last"] == records[-1]["sequence"]
