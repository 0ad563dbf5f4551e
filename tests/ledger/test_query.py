"""Questions to the trail."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stead.errors import LedgerCorruptError
from stead.ledger.ports import Entry
from stead.ledger.query import Query, find, format_line
from stead.model.audit_record import AuditEvent, AuditRecord, Outcome, Principal
from stead.model.sid import Sid

BOB = Principal(Sid.from_string("S-1-5-21-1-2-3-1002"), "Bob")


@pytest.fixture
def trail(open_ledger, store, record):
    ledger = open_ledger()
    ledger.record(record())
    ledger.record(record(client=BOB, outcome=Outcome.FAILURE))
    ledger.record(record(object_name="diary", event=AuditEvent.OBJECT_CREATED))
    ledger.record(record(client=None))
    return store


@pytest.mark.parametrize(
    ("query", "numbers"),
    [
        (Query(), [1, 2, 3, 4]),
        (Query(client="ALICE"), [1, 3]),
        (Query(client="s-1-5-21-1-2-3-1002"), [2]),
        (Query(client="nobody"), []),
        (Query(object_name="diary"), [3]),
        (Query(object_name="DIARY"), []),
        (Query(event=AuditEvent.OBJECT_ACCESS), [1, 2, 4]),
        (Query(outcome=Outcome.FAILURE), [2]),
        (Query(after=2), [3, 4]),
        (Query(limit=2), [1, 2]),
        (Query(limit=0), []),
        (Query(client="alice", after=1, limit=1), [3]),
    ],
)
def test_a_query_finds_what_it_names(trail, query, numbers):
    assert numbers == [number for number, _ in find(trail, query)]


def test_an_entry_that_is_no_record_is_named(trail):
    trail.kept[2] = Entry(3, b"{}", b"")
    with pytest.raises(LedgerCorruptError) as caught:
        list(find(trail, Query()))
    assert 3 == caught.value.sequence


def test_a_line_names_client_server_chain_object_and_decision(record):
    line = format_line(
        record(
            status=5,
            outcome=Outcome.FAILURE,
            granted=0,
            operation="read",
            gate="pipe",
            peer="uid 1000",
            reasons=("denied by (D;;1;;;WD)",),
            privileges=("SeTcbPrivilege",),
            detail={"path": "/srv/a b"},
        ),
        42,
    )
    assert (
        "#42 2025-11-22T18:17:01.123456Z OBJECT_ACCESS failure "
        "client=alice(S-1-5-21-1-2-3-1001) server=notes(S-1-5-80-1-2-3-4-5) "
        "chain=notes(S-1-5-80-1-2-3-4-5)>alice(S-1-5-21-1-2-3-1001) "
        'gate=pipe peer="uid 1000" operation=read object=Doc:plan '
        "desired=0x00000001 privileges=SeTcbPrivilege status=5 "
        'reasons="denied by (D;;1;;;WD)" path="/srv/a b"'
    ) == line


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("plan\n#9 forged", r'"plan\n#9 forged"'),
        ("plan granted=0x1", '"plan granted=0x1"'),
        ('a" b="c', r'"a\" b=\"c"'),
        ("\x1b[2J", r'"\x1b[2J"'),
        ("a\\ b", r'"a\\ b"'),
        ("\u202eevil", r'"\u202eevil"'),
        ("\udc80", r'"\udc80"'),
        ("köln", '"köln"'),
        ("", ""),
    ],
)
def test_no_name_can_look_like_another_field_or_line(record, name, shown):
    line = format_line(record(object_name=name, object_type=""), 1)
    assert (f" object={shown} " in f"{line} ") == bool(name)


def test_a_detail_takes_the_place_of_no_field(record):
    names = (
        "client", "server", "chain", "gate", "peer", "operation", "object", "desired",
        "granted", "privileges", "status", "correlation", "reasons",
    )  # fmt: skip
    plain = record(status=5)
    told = replace(plain, detail=dict.fromkeys((*names, "path"), "forged"))
    before = format_line(plain, 1)
    details = [f"detail.{name}=forged" for name in names]
    assert " ".join((before, *details, "path=forged")) == format_line(told, 1)


@given(st.text(st.characters()), st.integers())
def test_a_line_is_always_one_printable_line(text, time):
    record = AuditRecord(
        event=AuditEvent.LOGON,
        outcome=Outcome.SUCCESS,
        time=time,
        server=Principal(BOB.sid, text),
        object_type=text,
        object_name=text,
        reasons=(text,),
        detail={text: text},
    )
    assert format_line(record, 1).isprintable()


def test_a_time_beyond_the_calendar_is_shown_as_its_number(record):
    line = format_line(record(time=1 << 90), 1)
    assert line.startswith(f"#1 time:{1 << 90} OBJECT_ACCESS success")
