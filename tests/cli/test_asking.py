"""`stead whoami`, `check`, `audit` and `doctor`: each answer, and each refusal."""

import json
import os
import sqlite3
import subprocess

import pytest

from stead.decision.fast import has_twin
from stead.model.audit_record import AuditEvent


def test_whoami_says_who_a_store_takes_you_for(stead):
    found = stead("whoami", "--json").json

    assert f"S-1-22-1-{os.getuid()}" == found["sid"]
    assert "Administrators" in {group["name"] for group in found["groups"]}
    first, about, *rest = stead("whoami").lines
    assert f"uid {os.getuid()}  S-1-22-1-{os.getuid()}" == first
    assert about.startswith("level impersonation, integrity High Mandatory Level")
    assert "group      Administrators  S-1-5-32-544" in rest
    assert "privilege  SeChangeNotifyPrivilege" in rest


def test_whoami_wants_to_be_told_who_should_say(process):
    ran = process("whoami", STEAD_STORE="")

    assert (1, "") == (ran.status, ran.out)
    assert ran.err.startswith("stead: ")


def test_check_answers_by_status_and_says_why_if_asked(stead):
    granted = stead("check", "alice", "plan", "READ", "WRITE")
    refused = stead("check", "bob", "plan", "WRITE", "--explain")

    assert (0, ["alice asks plan for READ | WRITE: granted"]) == (
        granted.status, granted.lines,
    )  # fmt: skip
    assert 1 == refused.status
    assert "bob asks plan for WRITE: refused" == refused.lines[0]
    assert "WRITE is denied by entry 1 of the DACL" in refused.lines[1]
    assert "    by membership: bob -> summer -> interns" == refused.lines[2]


def test_check_prints_json_with_reasons_only_if_asked(stead):
    short = stead("check", "bob", "plan", "WRITE", "--json")
    whole = stead("check", "bob", "plan", "WRITE", "--json", "--explain")

    assert (1, 1) == (short.status, whole.status)
    assert {"account": "bob", "object": "plan", "allowed": False, "asked": "WRITE"} == (
        short.json
    )
    assert ["bob", "summer", "interns"] == whole.json["reasons"][0]["path"]


def test_check_answers_for_a_bare_uid_as_well(stead):
    ran = stead("check", "uid 70555", "plan", "READ")

    assert (1, ["uid 70555 asks plan for READ: refused"]) == (ran.status, ran.lines)


def test_asking_why_is_itself_written_down(stead, events, length):
    began = length()

    stead("check", "bob", "plan", "WRITE", "--explain")

    assert int(AuditEvent.DECISION_EXPLAINED) in events(began)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("check", "nobody", "plan", "READ"), "is called `nobody`"),
        (("check", "staff", "plan", "READ"), "`staff` is no account"),
        (("check", "bob", "map", "READ"), "no object is called `map`"),
        (("check", "bob", "plan", "FLY"), "`FLY` is no right of `Doc`"),
        (("check", "S-1-x", "plan", "READ"), "S-1-x"),
        (("audit", "list", "--event", "tea_time"), "`tea_time` is no event"),
        (("audit", "list", "--event", "4711"), "`4711` is no event"),
        (("audit", "verify", "--witness", "7:x"), "`7:x` is not a witness"),
        (("audit", "verify", "--witness", f"9999:{'0' * 64}"), "a witness knows 9999"),
        (("audit", "verify", "--witness", f"1:{'0' * 64}"), "record 1 is not the one"),
        (("whoami", "--pipe", "/nonexistent/pipe"), "/nonexistent/pipe"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, tuple) else "",
)
def test_a_mistake_is_one_clear_line_and_status_1(stead, arguments, said):
    ran = stead(*arguments)

    first, *advice = ran.err.splitlines()
    assert (1, "") == (ran.status, ran.out)
    assert first.startswith("stead: ")
    assert said in first
    assert len(advice) <= 1
    assert all(line.startswith("  what to do: ") for line in advice)


def test_the_trail_is_listed_by_client_object_event_and_outcome(stead):
    stead("check", "bob", "plan", "WRITE")

    def numbers(*filters):
        lines = stead("audit", "list", "--json", *filters).lines
        return [json.loads(line)["sequence"] for line in lines]

    whole = numbers()
    assert list(range(1, len(whole) + 1)) == whole
    created = numbers("--event", "account_created")
    assert created == numbers("--event", "4720")
    assert 2 == len(created)
    assert created == numbers("--event", "4720", "--outcome", "success")
    assert [] == numbers("--event", "4720", "--outcome", "failure")
    assert created[:1] == numbers("--event", "4720", "--limit", "1")
    assert created[1:] == numbers("--event", "4720", "--after", str(created[0]))
    assert 1 <= len(numbers("--object", "plan", "--client", f"uid {os.getuid()}"))
    assert [] == numbers("--client", "nobody")


def test_a_listed_record_names_client_server_and_chain(stead):
    (line,) = stead("audit", "list", "--event", "account_created", "--limit", 1).lines

    assert " ACCOUNT_CREATED success server=notes(S-1-5-80-" in line
    assert " chain=notes(S-1-5-80-" in line
    assert " object=AccountDatabase:alice" in line


def test_a_trail_verifies_and_gives_a_witness_for_next_time(stead):
    first = stead("audit", "verify", "--json").json
    lines = stead("audit", "verify", "--witness", first["witness"]).lines

    assert first["verified"] is True
    assert first["witness"].startswith(f"{first['count']}:")
    assert lines[0].startswith("trail verified: ")
    assert lines[1].startswith("witness ")


def test_a_trail_with_a_changed_record_is_refused_and_named(stead, store):
    renamed = "replace(CAST(body AS TEXT), 'alice', 'mallory')"
    change(store, f"UPDATE entry SET body = CAST({renamed} AS BLOB)")  # noqa: S608 - of ours

    ran = stead("audit", "verify")

    assert (1, "") == (ran.status, ran.out)
    assert "is changed, or does not follow the one before it" in ran.err


def test_a_trail_whose_end_was_cut_off_is_found_by_tree_and_witness(stead, store):
    witness = stead("audit", "verify", "--json").json["witness"]
    number = int(witness.partition(":")[0])
    change(store, f"DELETE FROM entry WHERE sequence > {number - 3}")  # noqa: S608 - of ours

    for known in ((), ("--witness", witness)):
        ran = stead("audit", "verify", *known)
        assert 1 == ran.status
        assert f"stead: record {number - 2} is missing: " in ran.err


def change(store, statement):
    with sqlite3.connect(store) as connection:
        triggers = connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'trigger'"
        ).fetchall()
        for (name,) in triggers:
            connection.execute(f"DROP TRIGGER {name}")
        connection.execute(statement)
    connection.close()


def test_the_doctor_says_what_is_enforced_and_why_not_more(stead, process):
    found = stead("doctor", "--json").json
    lines = stead("doctor").lines

    assert found["enforcement"] in {"kernel", "token"}
    assert (found["enforcement"] == "kernel") == (not found["support"]["reasons"])
    assert os.geteuid() == found["running_as_uid"]
    assert [f"uid {os.getuid()}"] == found["administrators"]
    assert lines[0].startswith(f"enforcement: {found['enforcement']} (running as uid ")
    for reason in found["support"]["reasons"]:
        assert f"  not enforced by the kernel: {reason}" in lines
    assert "guard uid: 65530" in lines
    assert f"administrators now: uid {os.getuid()}" in lines
    judged = "yes" if has_twin() else "no"
    assert f"plain questions judged in c: {judged}" in lines
    assert has_twin() is found["judged_in_c"]
    assert "names of the host: `files` answers" in lines
    assert "files" in [source["name"] for source in found["host_names"]]
    assert "administrators" not in process("doctor", "--json", STEAD_STORE="").json


@pytest.mark.root
def test_the_doctor_names_whoever_runs_as_the_guard(process):
    guard = 70_987
    with subprocess.Popen(["sleep", "60"], user=guard, group=guard) as sleeper:
        try:
            ran = process("doctor", "--guard-uid", guard)
        finally:
            sleeper.kill()

    assert 0 == ran.status
    assert ran.out.startswith("enforcement: token")
    assert f"process {sleeper.pid} runs as the guard {guard}" in ran.out
