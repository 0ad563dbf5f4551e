"""Seals and archives: when a segment is due, and archives that say what is not so."""

from __future__ import annotations

import json

import pytest

from stead.errors import InvalidRequestError, LedgerCorruptError
from stead.ledger.archives import archive_lines, read_archive
from stead.ledger.chain import beginning, seal
from stead.ledger.segments import Before, Seal, SegmentPolicy, cleared_until
from stead.ledger.tree import CompactRange, leaf_hash

GENESIS = b"genesis"
ORIGIN = "stead/S-1-5-21-1-2-3"
# Every character that JSON escapes, and what is no text at all.
BODIES = [b'{"a":%d}' % n for n in range(9)] + ['"\u2028\\\x00é'.encode(), b"\xff\xfe"]
TRAIL = seal(None, BODIES, GENESIS)
SECOND = 1_000_000_000


def _tree(size):
    return CompactRange().extend(map(leaf_hash, BODIES[:size]))


def _seal(number, first, last):
    return Seal(number, first, last, TRAIL[last - 1].digest, _tree(last), 5, "note")


FIRST, SECOND_SEGMENT = _seal(1, 1, 4), _seal(2, 5, 11)
BEFORE = Before(beginning(GENESIS).head, CompactRange())
MIDDLE = Before(FIRST.digest, FIRST.tree)


def _lines():
    return list(archive_lines(ORIGIN, MIDDLE, SECOND_SEGMENT, TRAIL[4:]))


def test_an_archive_is_read_back_as_what_was_written():
    kept = []
    head, found = read_archive(_lines(), kept.append)
    assert TRAIL[4:] == kept
    assert (ORIGIN, 2, MIDDLE) == (head.origin, head.segment, head.before)
    assert SECOND_SEGMENT == found


def test_neighbors_begin_with_what_the_other_ended_with():
    _, first = read_archive(archive_lines(ORIGIN, BEFORE, FIRST, TRAIL[:4]))
    head, _ = read_archive(_lines())
    assert (first.digest, first.tree) == (head.before.digest, head.before.tree)


@pytest.mark.parametrize(
    "entries",
    [TRAIL[4:10], TRAIL[5:], [], [*TRAIL[4:], *seal(TRAIL[-1], [b"x"], GENESIS)]],
)
def test_records_that_do_not_lead_to_the_seal_are_not_archived(entries):
    with pytest.raises(LedgerCorruptError):
        list(archive_lines(ORIGIN, MIDDLE, SECOND_SEGMENT, entries))


def _bent(at, **fields):
    lines = _lines()
    lines[at] = json.dumps({**json.loads(lines[at]), **fields})
    return lines


@pytest.mark.parametrize(
    ("lines", "sequence"),
    [
        (_bent(3, body="other"), 7),
        (_bent(3, digest="00" * 32), 7),
        (_bent(3, sequence=9), 7),
        (_bent(3, sequence="x"), 7),
        (_bent(3, sequence="7"), 7),
        (_bent(3, sequence=7.5), 7),
        (_bent(3, sequence=float("inf")), 7),
        (_bent(3, body=5), 7),
        (_bent(3, body="\ud800"), 7),
        ([*_lines()[:3], *_lines()[4:]], 7),
        ([*_lines()[:3], _lines()[2], *_lines()[3:]], 6),
        ([*_lines()[:3], "[]", *_lines()[3:]], 7),
        ([*_lines()[:3], "nothing", *_lines()[3:]], 7),
        (_lines()[:-1], 12),
        (_lines()[:5], 9),
        ([*_lines(), "{}"], 12),
    ],
)
def test_an_archive_that_was_changed_names_the_record(lines, sequence):
    with pytest.raises(LedgerCorruptError) as caught:
        read_archive(lines)
    assert sequence == caught.value.sequence


def test_a_whole_archive_made_anew_does_not_lead_to_its_own_seal():
    forged = seal(TRAIL[3], [b"forged"] * 7, GENESIS)
    lines = _lines()
    for at, entry in enumerate(forged, start=1):
        lines[at] = json.dumps(
            {
                "sequence": entry.sequence,
                "digest": entry.digest.hex(),
                "body": entry.body.decode(),
            }
        )
    with pytest.raises(LedgerCorruptError, match="do not lead to the seal"):
        read_archive(lines)


@pytest.mark.parametrize(
    "head",
    [
        "",
        "{}",
        "[]",
        "1",
        json.dumps({**json.loads(_lines()[0]), "format": "stead archive 2"}),
        json.dumps({**json.loads(_lines()[0]), "segment": float("inf")}),
        json.dumps({**json.loads(_lines()[0]), "before": {"digest": "", "edge": "x"}}),
    ],
)
def test_what_is_no_archive_is_refused(head):
    with pytest.raises(InvalidRequestError):
        read_archive([head, *_lines()[1:]])
    with pytest.raises(InvalidRequestError):
        read_archive([])


def test_a_seal_whose_root_is_another_is_refused():
    lines = _lines()
    fields = json.loads(lines[-1])
    fields["seal"]["root"] = "00" * 32
    with pytest.raises(LedgerCorruptError):
        read_archive([*lines[:-1], json.dumps(fields)])


@pytest.mark.parametrize(
    ("seals", "end", "now", "is_due"),
    [
        ((), 0, 100, False),
        ((), 9, 9, False),
        ((), 10, 1, True),
        ((), 1, 10, True),
        ((FIRST,), 4, 100, False),
        ((FIRST,), 13, 9, False),
        ((FIRST,), 14, 9, True),
        ((FIRST,), 5, 11, True),
        ((FIRST,), 5, -9, False),
        ((FIRST,), 5, -10, True),  # it was sealed while the clock was ahead
    ],
)
def test_a_segment_is_due_by_size_or_by_age(seals, end, now, is_due):
    policy = SegmentPolicy(records=10, seconds=10)
    assert is_due is policy.is_due(seals, end, now * SECOND, 0)


@pytest.mark.parametrize("fields", [{"records": 0}, {"seconds": 0}])
def test_a_policy_that_could_not_be_meant_is_refused(fields):
    with pytest.raises(InvalidRequestError):
        SegmentPolicy(**fields)


def test_the_last_removed_segment_is_found():
    assert None is cleared_until(())
    assert None is cleared_until((FIRST,))
