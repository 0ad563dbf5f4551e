"""`stead audit list`, `follow`, `show`, `who-touched`, `session`, `would-refuse`."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest


def loads(ran):
    return [json.loads(line) for line in ran.lines]


@pytest.fixture
def index(store):
    return store.with_name(f"{store.name}-trail-index")


def test_records_are_listed_by_who_had_a_part(stead, length):
    me = f"uid {os.getuid()}"
    stead("check", "bob", "plan", "WRITE")
    end = str(length() + 1)  # to ask is recorded as well

    def numbers(*filters):
        return [
            one["sequence"] for one in loads(stead("audit", "list", "--json", *filters))
        ]

    mine = numbers("--client", me, "--before", end)
    assert mine
    assert mine == numbers("--member", me, "--before", end)
    assert mine == numbers("--client", me, "--before", end, "--newest")[::-1]
    assert 1 == len(numbers("--server", "notes", "--event", "trail_started"))
    assert set(mine) <= set(numbers("--gate", "local", "--before", end))
    assert set(mine) <= set(numbers("--peer", f"{me}", "--before", end))
    assert [] == numbers("--peer", "uid 4711")
    assert mine == numbers("--client", me, "--before", end, "--from", "1h")
    assert [] == numbers("--to", "2001-01-31T12:00+02:00")
    assert [] == numbers("--from", "2999-01-31", "--client", me)
    created = numbers("--object-prefix", "al", "--event", "4720", "--event", "logon")
    assert created == numbers("--object", "alice", "--event", "account_created")


def test_a_listing_is_paged_by_the_key_that_it_prints(stead):
    first = stead("audit", "list", "--limit", 3)
    assert "more may follow: --after 3\n" == first.err
    second = stead("audit", "list", "--json", "--limit", 3, "--after", 3)
    assert [4, 5, 6] == [one["sequence"] for one in loads(second)]
    newest = stead("audit", "list", "--json", "--limit", 2, "--newest", "--before", 6)
    assert [5, 4] == [one["sequence"] for one in loads(newest)]
    assert "more may follow: --before 4\n" == newest.err
    assert "" == stead("audit", "list", "--before", 3).err


def test_what_belongs_to_one_request_is_found_by_its_correlation(stead):
    (started, *_) = loads(stead("audit", "list", "--json", "--event", "logon"))
    mark = started["record"]["correlation"]
    found = loads(stead("audit", "list", "--json", "--correlation", mark))
    assert {mark} == {one["record"]["correlation"] for one in found}
    assert [] == loads(stead("audit", "list", "--json", "--correlation", mark[:5]))


def test_one_record_is_shown_a_field_a_line(stead):
    shown = stead("audit", "show", 1)
    assert "record 1" == shown.lines[0]
    assert "  what         OBJECT_CREATED" in shown.lines
    assert 1 == stead("audit", "show", 1, "--json").json["sequence"]
    missing = stead("audit", "show", 99_999)
    assert 1 == missing.status
    assert missing.err == (
        "stead: the trail has no record 99999\n"
        "  what to do: `stead audit list --newest` shows the last ones\n"
    )


def test_who_touched_an_object(stead):
    stead("effective", "bob", "plan")
    mine, made = stead("audit", "who-touched", "plan", "--json").json
    assert (f"S-1-22-1-{os.getuid()}", "success") == (mine["sid"], mine["outcome"])
    assert "READ_CONTROL" in mine["rights"]
    assert ("notes", 1) == (made["name"], made["count"])
    lines = stead("audit", "who-touched", "plan").lines
    assert lines[0].startswith(f"uid {os.getuid()} (S-1-22-1-{os.getuid()})  success  ")
    assert lines[1].startswith("notes (S-1-5-80-")
    assert [] == stead("audit", "who-touched", "no such thing", "--json").json


def test_a_name_with_stray_bytes_is_asked_for_as_it_is(process, store):
    ran = process("audit", "who-touched", "pl\udcffn", STEAD_STORE=str(store))
    assert (0, "") == (ran.status, ran.err)
    ran = process("audit", "list", "--object", "\udcff", STEAD_STORE=str(store))
    assert (0, "", "") == (ran.status, ran.out, ran.err)


def test_what_a_session_did(stead):
    logon = loads(stead("audit", "list", "--json", "--event", "logon"))[-1]
    number = logon["record"]["client"][2]
    acts = loads(stead("audit", "session", hex(number), "--json"))
    assert logon["sequence"] == acts[0]["sequence"]
    assert {0} == {act["depth"] for act in acts}
    lines = stead("audit", "session", hex(number)).lines
    assert f"#{logon['sequence']} " in lines[0]
    paged = stead("audit", "session", hex(number), "--limit", 1)
    assert f"more may follow: --after {logon['sequence']}\n" == paged.err


def test_which_accesses_another_descriptor_would_have_refused(stead):
    stead("effective", "bob", "plan")  # which reads the descriptor: READ_CONTROL

    none = stead("audit", "would-refuse", "plan", "D:(A;;RC;;;BA)")
    most = stead("audit", "would-refuse", "plan", "O:SYD:(A;;0x1;;;WD)")
    data = loads(stead("audit", "would-refuse", "plan", "O:SYD:", "--json"))

    assert ["1 accesses judged again: 0 would be refused; 0 cannot be judged"] == (
        none.lines
    )
    assert most.lines[0].startswith("READ_CONTROL  #")
    assert most.lines[1].startswith("1 accesses judged again: 1 would be refused")
    assert [(True, "READ_CONTROL", "")] == [
        (one["refused"], one["lost"], one["unknown"]) for one in data
    ]


def test_an_index_is_made_anew_and_compared(stead, index):
    made = stead("audit", "reindex", "--json").json
    assert made["indexed"] > 5
    fine = stead("audit", "reindex", "--check", "--json")
    assert (0, [], 0) == (fine.status, fine.json["hidden"], fine.json["invented"])
    with closing(sqlite3.connect(index, isolation_level=None)) as connection:
        connection.execute("DELETE FROM term WHERE kind = 4")

    found = stead("audit", "reindex", "--check")

    assert 1 == found.status
    assert "hidden, 0 invented" in found.lines[0]
    assert found.lines[1].startswith("hidden: record ")
    assert stead("audit", "reindex").lines[0].startswith("index made anew: ")
    assert 0 == stead("audit", "reindex", "--check").status


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("list", "--session", "me"), "`me` is no logon id"),
        (("list", "--session", "-1"), "`-1` is no logon id"),
        (("list", "--from", "tea time"), "`tea time` is no time"),
        (("session", "0x1ffffffffffffffff"), "is no logon id"),
        (("would-refuse", "plan", "D:(X)"), "sddl"),
        (("would-refuse", "map", "D:"), "no object is called `map`"),
        (("list", "--event", "tea_time"), "`tea_time` is no event"),
    ],
)
def test_a_mistake_is_one_clear_line(stead, arguments, said):
    ran = stead("audit", *arguments)
    assert (1, "") == (ran.status, ran.out)
    assert said in ran.err.lower()


def test_following_prints_what_becomes_durable_until_ctrl_c(stead, store):
    command = [sys.executable, "-m", "stead", "audit", "follow", "--json"]
    following = subprocess.Popen(
        [*command, "--after", "1"],
        env=os.environ | {"STEAD_STORE": str(store)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )

    def next_about(name):
        for line in following.stdout:
            if json.loads(line)["record"].get("object_name") == name:
                return True
        return False

    try:
        assert next_about("alice")  # what was there before
        stead("effective", "bob", "plan")
        assert next_about("stead:accounts")  # what came meanwhile
        following.send_signal(signal.SIGINT)
        err = following.communicate(timeout=60)[1]
    finally:
        following.kill()
    assert (0, "") == (following.returncode, err)


def test_following_ends_after_as_many_as_were_wanted(stead):
    ran = stead("audit", "follow", "--after", 1, "--limit", 2, "--json")
    assert [2, 3] == [one["sequence"] for one in loads(ran)]
