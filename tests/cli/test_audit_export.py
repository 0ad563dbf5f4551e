"""`stead audit export`: forms, filters, going on, and who may."""

from __future__ import annotations

import json
import stat
from xml.etree import ElementTree as ET

import pytest

from stead.model.audit_record import AuditEvent


def test_json_lines_are_the_trail_in_order_with_identities(stead):
    ran = stead("audit", "export")
    read = [json.loads(line) for line in ran.lines]
    assert list(range(1, len(read) + 1)) == [record["number"] for record in read]
    assert len(read) == len({record["id"] for record in read})
    assert f"{len(read)} records; go on with --after {len(read)}\n" == ran.err
    # It ends with the record of its own asking.
    assert "trail_read" == read[-1]["event"]
    assert "export jsonl everything" == read[-1]["detail"]["asked"]


def test_the_same_record_is_the_same_line_each_time(stead):
    first = stead("audit", "export", "--limit", 5).out
    assert first == stead("audit", "export", "--limit", 5).out


@pytest.mark.parametrize(
    ("options", "holds"),
    [
        (("--event", "account_created"), lambda r: r["event_id"] == 4720),
        (("--event", "4720"), lambda r: r["event"] == "account_created"),
        (("--object", "plan"), lambda r: r["object_name"] == "plan"),
        (("--outcome", "failure"), lambda r: r["outcome"] == "failure"),
        (("--client", "uid 0"), lambda r: r["client"]["name"] == "uid 0"),
        (("--after", "3", "--limit", "2"), lambda r: r["number"] in {4, 5}),
    ],
)
def test_filters_are_those_of_the_list(stead, options, holds):
    assert 1 == stead("check", "bob", "plan", "WRITE").status
    listed = stead("audit", "list", "--json", *options).lines
    read = [json.loads(line) for line in stead("audit", "export", *options).lines]
    assert all(map(holds, read))
    # The second command records itself where it is asked for.
    numbers = [json.loads(line)["sequence"] for line in listed]
    assert numbers == [record["number"] for record in read][: len(numbers)]


def test_windows_xml_is_one_document_of_events(stead):
    ran = stead("audit", "export", "--format", "windows-xml")
    document = ET.fromstring(ran.out)  # noqa: S314 - ours
    names = {event.tag.partition("}")[2] for event in document}
    assert ("Events", {"Event"}) == (document.tag, names)
    assert ran.err.startswith(f"{len(document)} records; ")


def test_ocsf_is_one_event_a_line(stead):
    read = [
        json.loads(line) for line in stead("audit", "export", "--format", "ocsf").lines
    ]
    codes = {event["metadata"]["event_code"] for event in read}
    assert str(int(AuditEvent.OBJECT_CREATED)) in codes
    assert {"1.5.0"} == {event["metadata"]["version"] for event in read}


def test_a_file_is_new_and_its_owners_alone(stead, private):
    file = private / "trail.jsonl"
    assert 0 == stead("audit", "export", "--output", file).status
    assert 0o600 == stat.S_IMODE(file.stat().st_mode)
    assert json.loads(file.read_text().splitlines()[0])["number"] == 1
    before = file.read_bytes()
    again = stead("audit", "export", "--output", file)
    assert (1, before) == (again.status, file.read_bytes())
    assert "--after goes on where another ended" in again.err
    link = private / "link"
    link.symlink_to(private / "elsewhere")
    assert 1 == stead("audit", "export", "--output", link).status
    assert not (private / "elsewhere").exists()


def test_whoever_may_not_read_the_trail_exports_nothing(stead, private, monkeypatch):
    monkeypatch.setattr("os.getuid", lambda: 70_101)  # alice, as the kernel says
    monkeypatch.setattr("os.getgroups", list)
    file = private / "stolen"
    ran = stead("audit", "export", "--output", file)
    assert (1, "", False) == (ran.status, ran.out, file.exists())


def test_an_event_that_nobody_knows_is_refused(stead):
    ran = stead("audit", "export", "--event", "nonsense")
    assert 1 == ran.status
    assert "is no event" in ran.err
