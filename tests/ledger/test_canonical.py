"""Records and their one canonical form."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stead.errors import InvalidRecordError
from stead.ledger import canonical
from stead.ledger.canonical import (
    MAXIMUM_BODY,
    pure_write_record,
    read_record,
    write_record,
)
from stead.model.access_mask import AccessMask
from stead.model.audit_record import AuditEvent, AuditRecord, Outcome, Principal
from stead.model.luid import Luid
from stead.model.sid import Sid

native = pytest.mark.skipif(canonical.TWIN is None, reason="the twin was not built")
texts = st.text(st.characters(), max_size=12)  # lone surrogates included
numbers = st.integers(-(1 << 70), 1 << 70) | st.integers(-(1 << 63), (1 << 63) - 1)
sids = st.builds(
    Sid.from_parts,
    st.integers(0, (1 << 48) - 1),
    st.lists(st.integers(0, (1 << 32) - 1), min_size=1, max_size=15).map(tuple),
)
luids = st.integers(0, (1 << 64) - 1).map(Luid)
principals = st.builds(Principal, sids, texts, luids)
lists = st.lists(texts, max_size=3).map(tuple)
records = st.builds(
    AuditRecord,
    event=st.sampled_from(AuditEvent),
    outcome=st.sampled_from(Outcome),
    time=numbers,
    server=principals,
    client=st.none() | principals,
    chain=st.lists(principals, max_size=3).map(tuple),
    gate=texts,
    peer=texts,
    correlation=texts,
    operation=texts,
    object_type=texts,
    object_name=texts,
    desired=numbers,
    granted=numbers,
    privileges=lists,
    reasons=lists,
    status=numbers,
    detail=st.dictionaries(texts, texts, max_size=3),
)


@given(records)
def test_a_record_is_read_back_exactly(record):
    assert record == read_record(write_record(record))


@given(records, records)
def test_two_records_share_a_form_only_if_they_are_equal(one, other):
    assert (one == other) == (write_record(one) == write_record(other))


@given(records)
def test_every_body_is_json_in_strict_utf8_with_sorted_keys(record):
    body = write_record(record)
    fields = json.loads(body.decode("utf-8", "strict"))
    assert sorted(fields) == list(fields)
    assert 1 == fields["format"]


def naively(record):
    """Write a record as the module's first sentences say, and no more."""

    def text(value):
        try:
            value.encode()
        except UnicodeEncodeError:
            return {"wtf8": value.encode("utf-8", "surrogatepass").hex()}
        return value

    def person(who):
        return [str(who.sid), text(who.name), int(who.logon_id)]

    fields = {name: getattr(record, name) for name in record.__slots__}
    for name, value in fields.items():
        if isinstance(value, str):
            fields[name] = text(value)
    fields |= {
        "format": 1,
        "event": int(record.event),
        "outcome": record.outcome.value,
        "server": person(record.server),
        "client": record.client and person(record.client),
        "chain": [person(link) for link in record.chain],
        "privileges": [text(name) for name in record.privileges],
        "reasons": [text(reason) for reason in record.reasons],
        "detail": [[text(k), text(v)] for k, v in sorted(record.detail.items())],
    }
    said = {name: value for name, value in fields.items() if value}
    return json.dumps(
        said, sort_keys=True, ensure_ascii=False, separators=(",", ":")
    ).encode()


@given(records)
def test_the_form_is_what_it_is_said_to_be_with_the_twin_and_without(record):
    body = naively(record)
    assert body == pure_write_record(record)
    assert body == write_record(record)


@native
@given(records.filter(lambda one: abs(one.time) < 1 << 63))
def test_the_twin_writes_a_plain_record_or_says_that_python_has_to(record):
    body = canonical.TWIN.write_plain(record)
    assert body in {None, pure_write_record(record)}


@native
def test_the_twin_writes_what_servers_record(record):
    plain = record(
        detail={"b": "1", "a": "\u00e9", "ab": '"\\\n\x01'},
        client=None,
        desired=AccessMask.WRITE_DAC,
        time=-(1 << 63),
        granted=(1 << 63) - 1,
        reasons=("x" * 3000, "why"),
        server=Principal(Sid.from_string("S-1-0x100000000-1-4294967295"), "s", Luid(7)),
    )
    assert pure_write_record(plain) == canonical.TWIN.write_plain(plain)


@native
def test_what_is_not_plain_the_twin_leaves_to_python(record):
    class Text(str):
        __slots__ = ()

    for changes in (
        {"object_name": "\ud800"},
        {"object_name": Text("plan")},
        {"time": 1 << 63},
        {"detail": {f"{n}": "x" for n in range(33)}},
        {"reasons": ["why"]},
        {"privileges": ("why", Text("not"))},
        {"peer": "\0" * MAXIMUM_BODY},
        {"peer": "x" * (MAXIMUM_BODY + 1)},
        {"chain": (None,)},
        {"detail": {"a": "\udc80"}},
    ):
        assert canonical.TWIN.write_plain(record(**changes)) is None, changes
    assert canonical.TWIN.write_plain(object.__new__(AuditRecord)) is None
    assert canonical.TWIN.write_plain("no record") is None
    with pytest.raises(TypeError):
        canonical.TWIN.connect(1)


@pytest.mark.parametrize("more", [0, 1])
def test_the_largest_body_is_the_same_for_both(record, more):
    size = len(write_record(record(peer="x")))
    whole = record(peer="x" * (MAXIMUM_BODY - size + 1 + more))
    for write in (write_record, pure_write_record):
        if more:
            with pytest.raises(InvalidRecordError, match="65537 bytes, more than"):
                write(whole)
        else:
            assert MAXIMUM_BODY == len(write(whole))


def test_a_true_number_is_written_so_that_it_is_read_back(record):
    whole = record(desired=True)
    assert 1 == read_record(write_record(whole)).desired


def test_without_the_twin_python_writes(record, monkeypatch):
    assert canonical.load("stead.ledger._nothing") is None
    monkeypatch.setattr(canonical, "_write_plain", lambda _: None)
    assert pure_write_record(record()) == write_record(record())


@given(st.binary(max_size=200))
def test_garbage_is_refused_and_nothing_else_escapes(body):
    with pytest.raises(InvalidRecordError):
        read_record(body)


def test_the_order_of_details_does_not_change_the_form(record):
    one = record(detail={"a": "1", "b": "2"})
    other = record(detail={"b": "2", "a": "1"})
    assert write_record(one) == write_record(other)


def test_two_surrogates_are_not_merged_into_one_character(record):
    apart = "\ud83d\ude00"
    assert apart == read_record(write_record(record(object_name=apart))).object_name
    assert write_record(record(object_name=apart)) != write_record(
        record(object_name="\U0001f600")
    )


def test_a_name_that_looks_like_escaped_text_stays_a_name(record):
    name = '{"wtf8":"6162"}'
    assert name == read_record(write_record(record(object_name=name))).object_name


def test_a_mask_is_written_as_its_number(record):
    body = write_record(record(desired=AccessMask.WRITE_DAC))
    assert 0x0004_0000 == json.loads(body)["desired"]


@pytest.mark.parametrize(
    "changes",
    [
        {"time": 1.5},
        {"time": None},
        {"object_name": b"plan"},
        {"object_name": None},
        {"detail": {"count": 3}},
        {"detail": {3: "count"}},
        {"detail": None},
        {"chain": ("alice",)},
        {"server": None},
        {"event": 77},
        {"outcome": "perhaps"},
        {"privileges": (7,)},
        {"desired": 10**5000},
    ],
)
def test_a_field_of_the_wrong_kind_is_refused(record, changes):
    for write in (write_record, pure_write_record):
        with pytest.raises(InvalidRecordError, match="the record cannot be written"):
            write(record(**changes))


def test_a_record_that_is_too_large_is_refused(record):
    with pytest.raises(InvalidRecordError, match=f"more than {MAXIMUM_BODY}"):
        write_record(record(peer="x" * MAXIMUM_BODY))


def _with(record, **changes):
    fields = json.loads(write_record(record()))
    return json.dumps({**fields, **changes}).encode()


@pytest.mark.parametrize(
    "changes",
    [
        {"format": 2},
        {"format": None},
        {"event": 77},
        {"event": True},
        {"event": "4663"},
        {"outcome": "perhaps"},
        {"time": 1.5},
        {"time": True},
        {"server": None},
        {"server": ["S-1-5-18", "x"]},
        {"server": ["S-1-x", "x", 0]},
        {"server": ["S-1-5-18", "x", -1]},
        {"client": 7},
        {"object_name": 7},
        {"object_name": {"wtf8": "zz"}},
        {"object_name": {"wtf8": 7}},
        {"object_name": {"utf8": "61"}},
        {"detail": {"a": "b"}},
        {"chain": 7},
        {"reasons": 7},
        {"secret": "x"},
    ],
)
def test_a_body_of_another_shape_is_refused(record, changes):
    with pytest.raises(InvalidRecordError):
        read_record(_with(record, **changes))


@pytest.mark.parametrize("body", [b"", b"null", b"[]", b"{}", b"[" * 100_000, b"\xff"])
def test_a_body_that_is_no_object_is_refused(body):
    with pytest.raises(InvalidRecordError):
        read_record(body)
