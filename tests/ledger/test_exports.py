"""Exported records, read back by readers that are not ours."""

from __future__ import annotations

import json
import re
import time
from functools import cache
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from lxml import etree
from ocsf_json_schema import get_ocsf_schema
from ocsf_json_schema.embedded import OcsfJsonSchemaEmbedded
from py_ocsf_models import OCSF_VERSION
from py_ocsf_models.events.base_event import BaseEvent
from py_ocsf_models.objects.group import Group
from py_ocsf_models.objects.user import User
from tests.strategies_records import RECORDS, TEXTS

from stead.ledger.export_json import json_line
from stead.ledger.export_ocsf import SCHEMA, ocsf_line
from stead.ledger.export_windows import NAMESPACE, activity_id, event_id, windows_xml
from stead.ledger.exporting import Numbered, Origin, identity_of, rfc3339, visible
from stead.ledger.windows_templates import template_data
from stead.model.audit_record import AuditEvent, AuditRecord, Outcome, Principal
from stead.model.luid import Luid
from stead.model.sid import Sid

ORIGIN = Origin("files.example", "S-1-5-21-1-2-3", "0.1.0")
SERVER = Principal(Sid.from_string("S-1-5-80-1-2-3-4-5"), "notes", Luid(0x3E7))
ALICE = Principal(Sid.from_string("S-1-5-21-1-2-3-1001"), "alice", Luid(0x1_0000))
TIME = 1_763_835_421_123_456_789
EVERY_EVENT = [*AuditEvent, 1102, 4660, 4703, 4719, 4907, 123_456]
IDS = [getattr(event, "name", str(event)) for event in EVERY_EVENT]
EVENT_XSD = Path(__file__).parents[1] / "vectors" / "windows_event" / "event.xsd"
PRINTABLE_ASCII = re.compile(r"[\x20-\x7e]*")


def make(**changes) -> AuditRecord:
    fields = {
        "event": AuditEvent.HANDLE_REQUESTED,
        "outcome": Outcome.FAILURE,
        "time": TIME,
        "server": SERVER,
        "client": ALICE,
        "chain": (SERVER, ALICE),
        "gate": "pipe",
        "peer": "uid 70001 pid 42",
        "correlation": "c0ffee",
        "operation": "read",
        "object_type": "Doc",
        "object_name": "plan",
        "desired": 0x20001,
        "reasons": ("READ is not granted to `alice`", "(D;;0x1;;;WD) denies it"),
        "status": 5,
        "detail": {"opened by": "7", "logon type": "network", "pid": "77"},
    }
    return AuditRecord(**{**fields, **changes})


def numbered(record: AuditRecord, number: int = 12) -> Numbered:
    return Numbered(number, record, bytes(range(32)))


def unescape(text: str) -> str:
    """Undo `visible` as docs/export.md says: an odd run of backslashes is an escape."""

    def back(found):
        half, odd = divmod(len(found[1]), 2)
        return "\\" * half + (chr(int(found[2], 16)) if odd else f"u{found[2]}")

    return re.sub(r"(\\+)u([0-9A-Fa-f]{4})", back, text)


# --- what they have in common ---------------------------------------------------------


@given(TEXTS)
def test_what_was_escaped_can_be_told_from_what_was_not(text):
    shown = visible(text)
    assert text == unescape(shown)
    assert shown == shown.encode().decode()


@given(TEXTS, TEXTS)
def test_two_texts_never_look_alike(one, another):
    assert (one == another) == (visible(one) == visible(another))


@pytest.mark.parametrize("end", ["x\\u", "x\udc80"], ids=["looks", "is unheld"])
def test_a_name_of_backslashes_costs_no_more_than_others(end):
    name = "\\" * 2040 + end

    def naive(text):
        doubled = re.sub(r"\\+(?=u[0-9A-Fa-f]{4})", lambda f: f[0] * 2, text)
        return re.sub(r"\\+(?=[\ud800-\udfff])", lambda f: f[0] * 2, doubled)

    assert 20 * _quickest(visible, name) < _quickest(naive, name)


def _quickest(function, text):
    """Return the least processor time of three calls."""
    took = []
    for _ in range(3):
        began = time.thread_time_ns()
        function(text)
        took.append(time.thread_time_ns() - began)
    return min(took)


@pytest.mark.parametrize(
    ("time", "shown"),
    [
        (TIME, "2025-11-22T18:17:01.123456789Z"),
        (0, "1970-01-01T00:00:00.000000000Z"),
        (-1, "1969-12-31T23:59:59.999999999Z"),
        (1 << 70, "9999-12-31T23:59:59.999999999Z"),
        (-(1 << 70), "0001-01-01T00:00:00.000000000Z"),
    ],
)
def test_times_have_nanoseconds_and_stay_in_the_years_there_are(time, shown):
    assert shown == rfc3339(time)


def test_a_trail_that_was_put_back_gives_other_identities_to_the_same_numbers():
    before, after = (Numbered(7, make(), digest * 32) for digest in (b"a", b"b"))
    assert identity_of(before, ORIGIN) != identity_of(after, ORIGIN)
    assert "S-1-5-21-1-2-3/7" == identity_of(Numbered(7, make()), ORIGIN)


# --- JSON Lines -----------------------------------------------------------------------


def test_a_line_of_json_says_everything_under_its_name():
    read = json.loads(json_line(numbered(make()), ORIGIN))
    server = {"sid": str(SERVER.sid), "name": "notes", "logon_id": "0x3e7"}
    alice = {"sid": str(ALICE.sid), "name": "alice", "logon_id": "0x10000"}
    assert {
        "id": f"S-1-5-21-1-2-3/12/{bytes(range(32)).hex()}",
        "number": 12,
        "time": "2025-11-22T18:17:01.123456789Z",
        "event": "handle_requested",
        "event_id": 4656,
        "outcome": "failure",
        "host": "files.example",
        "server": server,
        "client": alice,
        "chain": [server, alice],
        "gate": "pipe",
        "peer": "uid 70001 pid 42",
        "correlation": "c0ffee",
        "operation": "read",
        "object_type": "Doc",
        "object_name": "plan",
        "desired": "0x00020001",
        "reasons": ["READ is not granted to `alice`", "(D;;0x1;;;WD) denies it"],
        "status": 5,
        "detail": {"opened by": "7", "logon type": "network", "pid": "77"},
    } == read


@settings(max_examples=60)
@given(RECORDS)
def test_json_is_one_printable_line_and_holds_every_text_exactly(record):
    line = json_line(numbered(record), ORIGIN)
    assert PRINTABLE_ASCII.fullmatch(line)
    read = json.loads(line)
    assert record.object_name == unescape(read.get("object_name", ""))
    assert list(record.reasons) == [unescape(r) for r in read.get("reasons", [])]
    told = {unescape(k): unescape(v) for k, v in read.get("detail", {}).items()}
    assert record.detail == told
    assert record.server.name == unescape(read["server"]["name"])


# --- OCSF -----------------------------------------------------------------------------


@cache
def ocsf_validator(uid: int) -> Draft202012Validator:
    schema = get_ocsf_schema(SCHEMA)
    names = {found["uid"]: name for name, found in schema["classes"].items()}
    made = OcsfJsonSchemaEmbedded(schema)
    return Draft202012Validator(made.get_class_schema(names[uid], profiles=["host"]))


def require_ocsf(line: str) -> dict:
    """Check an event against the schema itself, and read it with py-ocsf-models."""
    event = json.loads(line)
    problems = [
        e.message for e in ocsf_validator(event["class_uid"]).iter_errors(event)
    ]
    assert [] == problems
    assert event["class_uid"] * 100 + event["activity_id"] == event["type_uid"]
    base = BaseEvent.model_validate(event)
    assert (OCSF_VERSION, event["metadata"]["uid"]) == (
        base.metadata.version,
        base.metadata.uid,
    )
    User.model_validate(event["actor"]["user"])
    if "user" in event:
        User.model_validate(event["user"])
    if "group" in event:
        Group.model_validate(event["group"])
    return event


@pytest.mark.parametrize("event", EVERY_EVENT, ids=IDS)
@pytest.mark.parametrize("kind", ["Doc", "File", ""])
def test_every_event_is_one_of_ocsf(event, kind):
    detail = {"member": "bob", "right": "SeTcbPrivilege", "exit code": "3", "old": "D:"}
    whole = make(event=event, object_type=kind, detail=detail)
    bare = AuditRecord(event=event, outcome=Outcome.SUCCESS, time=0, server=SERVER)
    for record in (whole, bare):
        found = require_ocsf(ocsf_line(numbered(record), ORIGIN))
        assert str(int(event)) == found["metadata"]["event_code"]


def test_an_event_that_ocsf_has_no_class_for_is_a_base_event_that_tells_all():
    found = require_ocsf(ocsf_line(numbered(make(event=123_456)), ORIGIN))
    assert (0, "123456") == (found["class_uid"], found["unmapped"]["event"])


def test_ocsf_names_the_client_its_session_the_server_and_the_chain():
    found = require_ocsf(ocsf_line(numbered(make()), ORIGIN))
    assert (6003, 2, "0x00000005") == (
        found["class_uid"],
        found["status_id"],
        found["status_code"],
    )
    assert (
        "READ is not granted to `alice`; (D;;0x1;;;WD) denies it"
        == (found["status_detail"])
    )
    actor = found["actor"]
    assert (str(ALICE.sid), "0x10000", "notes", str(SERVER.sid)) == (
        actor["user"]["uid"],
        actor["session"]["uid"],
        actor["app_name"],
        actor["app_uid"],
    )
    assert ["notes", "alice"] == [link["name"] for link in found["unmapped"]["chain"]]
    assert [{"name": "plan", "type": "Doc"}] == found["resources"]


def test_a_process_has_its_number_arguments_and_exit_code():
    detail = {"pid": "77", "arguments": "1", "exit code": "3"}
    record = make(
        event=AuditEvent.PROCESS_EXITED, object_name="/usr/bin/ls", detail=detail
    )
    found = require_ocsf(ocsf_line(numbered(record), ORIGIN))
    process = found["process"]
    assert (77, "ls", "/usr/bin/ls", 3) == (
        process["pid"],
        process["name"],
        process["path"],
        found["exit_code"],
    )
    assert "cmd_line" not in process  # how many arguments there were is none
    data = dict(require_windows(windows_xml(numbered(record), ORIGIN))[1])
    assert ("0x3", "0x4d", "/usr/bin/ls") == (
        data["Status"],
        data["ProcessId"],
        data["ProcessName"],
    )


@settings(max_examples=60)
@given(RECORDS)
def test_hostile_records_are_valid_events_of_ocsf_on_one_line(record):
    line = ocsf_line(numbered(record), ORIGIN)
    assert PRINTABLE_ASCII.fullmatch(line)
    require_ocsf(line)


# --- Windows Event XML ----------------------------------------------------------------


@cache
def event_schema() -> etree.XMLSchema:
    return etree.XMLSchema(etree.parse(EVENT_XSD))


def require_windows(line: str) -> tuple[dict[str, str], list[tuple[str, str]]]:
    """Check an event against the schema; return its system part and its data."""
    read = etree.fromstring(line.encode())
    event_schema().assertValid(read)
    again = ET.fromstring(line)  # noqa: S314 - ours; another parser, expat, sees the same
    assert [e.text for e in read.iter()] == [e.text for e in again.iter()]
    system, data = read
    tag = f"{{{NAMESPACE}}}"
    plain = {part.tag.removeprefix(tag): part.text or "" for part in system}
    plain |= {name: text for part in system for name, text in part.attrib.items()}
    return plain, [(part.get("Name"), part.text or "") for part in data]


@pytest.mark.parametrize("event", EVERY_EVENT, ids=IDS)
def test_every_event_is_one_of_windows(event):
    bare = AuditRecord(event=event, outcome=Outcome.SUCCESS, time=0, server=SERVER)
    for record in (make(event=event), bare):
        system, data = require_windows(windows_xml(numbered(record), ORIGIN))
        assert str(event_id(int(event))) == system["EventID"]
        assert ("SteadEventNumber", str(int(event))) in data


def test_events_of_windows_have_its_numbers_and_no_two_have_the_same():
    numbers = [int(event) for event in AuditEvent]
    assert len(numbers) == len({event_id(number) for number in numbers})
    assert [4656, 60_001, 60_031] == [event_id(n) for n in (4656, 100_001, 100_031)]


def test_a_refused_handle_is_windows_event_4656():
    detail = {"process id": "77", "image": "/usr/bin/notes", "restricted sids": "2"}
    record = make(detail=detail)
    system, data = require_windows(windows_xml(numbered(record), ORIGIN))
    expected = {
        "EventID": "4656",
        "Version": "1",
        "Task": "12807",
        "ProcessID": "77",
        "Keywords": "0x8010000000000000",
        "EventRecordID": "12",
        "SystemTime": "2025-11-22T18:17:01.123456789Z",
        "Computer": "files.example",
        "UserID": str(ALICE.sid),
        "ActivityID": activity_id("c0ffee"),
    }
    assert expected == {name: system[name] for name in expected}
    assert [
        ("SubjectUserSid", str(ALICE.sid)),
        ("SubjectUserName", "alice"),
        ("SubjectDomainName", "files.example"),
        ("SubjectLogonId", "0x10000"),
        ("ObjectServer", "notes"),
        ("ObjectType", "Doc"),
        ("ObjectName", "plan"),
        ("HandleId", "0x0"),
        ("TransactionId", "{00000000-0000-0000-0000-000000000000}"),
        ("AccessList", "%%1552\n\t\t\t\t%%1538"),
        (
            "AccessReason",
            "READ is not granted to `alice`\n\t\t\t\t(D;;0x1;;;WD) denies it",
        ),
        ("AccessMask", "0x00020001"),
        ("PrivilegeList", "-"),
        ("RestrictedSidCount", "2"),
        ("ProcessId", "0x4d"),
        ("ProcessName", "/usr/bin/notes"),
        ("ResourceAttributes", "-"),
    ] == data[:17]
    assert ("ServerUserSid", str(SERVER.sid)) in data
    assert (
        f"notes ({SERVER.sid}, 0x3e7) > alice ({ALICE.sid}, 0x10000)"
        == (dict(data)["Chain"])
    )


def test_a_success_and_a_failure_have_windows_keywords():
    success = windows_xml(numbered(make(outcome=Outcome.SUCCESS)), ORIGIN)
    assert "0x8020000000000000" == require_windows(success)[0]["Keywords"]


def test_a_logon_names_the_server_as_its_subject_and_the_client_as_its_target():
    data = dict(template_data(numbered(make(event=AuditEvent.LOGON)), ORIGIN))
    assert (str(SERVER.sid), str(ALICE.sid), "3") == (
        data["SubjectUserSid"],
        data["TargetUserSid"],
        data["LogonType"],
    )


@pytest.mark.parametrize(
    ("peer", "address", "port"),
    [
        ("192.0.2.1:50", "192.0.2.1", 50),
        ("192.0.2.1", "192.0.2.1", 0),
        ("[2001:DB8::1]:443", "2001:db8::1", 443),
        ("2001:db8::1", "2001:db8::1", 0),
        ("192.0.2.1:99999", "192.0.2.1", 0),
        ("uid 70001 pid 42", None, 0),
        ("192.0.2.1:50:1", None, 0),
        ("", None, 0),
    ],
)
def test_where_a_client_came_from_is_its_address_where_it_has_one(peer, address, port):
    failed = numbered(make(event=AuditEvent.LOGON_FAILED, peer=peer))
    data = dict(require_windows(windows_xml(failed, ORIGIN))[1])
    shown = ("-", "-") if address is None else (address, str(port))
    assert shown == (data["IpAddress"], data["IpPort"])
    event = require_ocsf(ocsf_line(failed, ORIGIN))
    place = event["src_endpoint"]
    assert (address, port) == (place.get("ip"), place.get("port", 0))


def test_the_id_of_a_w3c_trace_is_the_activity():
    parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    assert "{4bf92f35-77b3-4da6-a3ce-929d0e0e4736}" == activity_id(f"mark {parent}")
    assert activity_id("one") != activity_id("another")


@settings(max_examples=60)
@given(RECORDS, st.integers(1, (1 << 63) - 1))
def test_hostile_records_are_valid_events_of_windows_on_one_line(record, number):
    line = windows_xml(numbered(record, number), ORIGIN)
    assert PRINTABLE_ASCII.fullmatch(line)
    system, data = require_windows(line)
    assert str(number) == system["EventRecordID"]
    told = [unescape(n[8:]) for n, _ in data if n.startswith("Detail: ")]
    assert sorted(record.detail) == told
    if record.object_name:
        assert ("Object", record.object_name) in [(n, unescape(t)) for n, t in data]
