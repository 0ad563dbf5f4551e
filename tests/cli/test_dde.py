"""`stead dde`: a client of a desk, from the command line."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from tests.server.dde_stage import SEE, serving, set_entries, until_advised

from stead.model.explicit_access import allow
from stead.server.dde import DdeDesk, DdeRights
from stead.server.enforcement import Enforcement
from stead.server.protected_server import ProtectedServer

NUMBER = re.compile(r"record \d+")
ROOT = Path(__file__).resolve().parents[2]


class Notes:
    """A server with something to ask about, behind a DDE gate."""

    def __init__(self, path):
        self.path = path
        self.server = ProtectedServer("notes", enforcement=Enforcement.TOKEN)
        self.desk = DdeDesk(self.server)
        everyone = allow("Everyone", SEE | DdeRights.POKE | DdeRights.EXECUTE)
        prices = self.desk.register(
            "prices", entries=[allow("Everyone", DdeRights.CONNECT)]
        )
        values = {"acme": "12\x1b[2J", "json": {"bid": 1}, "raw": b"\xff"}
        self.stocks = prices.topic("stocks", values, entries=[everyone])
        self.stocks.protect_item("margin", [allow("Administrators", 0x20000)])
        self.stocks.publish("margin", "3")
        self.commands = []
        self.stocks.on_execute(lambda _, command: self.commands.append(command))
        prices.topic("closed", {}, entries=[])


@pytest.fixture
def behind(private):
    notes = Notes(private / "dde")
    with notes.server, serving(notes.server, notes.desk, notes.path):
        yield notes


@pytest.fixture
def ask(behind, stead):
    """Give what asks about the topic `stocks` in this process."""

    def run(verb, *arguments):
        return stead("dde", verb, behind.path, "prices", "stocks", *arguments)

    return run


def test_an_item_is_printed_for_people_and_for_programs(ask):
    assert ["12\\x1b[2J"] == ask("request", "acme").lines
    ran = ask("request", "ACME", "--json")
    assert 0 == ran.status
    assert {"item": "ACME", "format": "text", "value": "12\x1b[2J"} == ran.json
    assert {"bid": 1} == ask("request", "json", "--json").json["value"]
    assert ['{"bid": 1}'] == ask("request", "json").lines
    assert "/w==" == ask("request", "raw", "--json").json["value"]


def test_what_may_not_be_had_and_what_is_not_there_end_alike(ask, stead, behind):
    refused = [ask("request", item) for item in ("margin", "nothing")]
    assert {(1, "", "stead: access is denied (record N)\n")} == {
        (ran.status, ran.out, NUMBER.sub("record N", ran.err)) for ran in refused
    }
    pipe = behind.path
    refused = [
        stead("dde", "request", pipe, "prices", "closed", "a"),
        stead("dde", "request", pipe, "nothing", "stocks", "a"),
    ]
    assert {(1, "stead: no conversation was established (record N)\n")} == {
        (ran.status, NUMBER.sub("record N", ran.err)) for ran in refused
    }


def test_a_poke_changes_a_value_as_text_or_json(ask):
    assert ["done"] == ask("poke", "acme", "14").lines
    assert ["14"] == ask("request", "acme").lines
    ran = ask("poke", "acme", '{"bid": [2]}', "--format", "json", "--json")
    assert {"item": "acme", "done": True} == ran.json
    assert {"bid": [2]} == ask("request", "acme", "--json").json["value"]
    assert 1 == ask("poke", "acme", "{", "--format", "json").status
    assert 1 == ask("poke", "nothing", "1").status


def test_a_command_is_executed(ask, behind):
    assert ["done"] == ask("execute", "recount").lines
    assert ["recount"] == behind.commands


def test_lists_show_what_may_be_seen(ask, stead, behind):
    listed = stead("dde", "list", behind.path, "prices", "--json")
    assert ["System", "stocks"] == listed.json
    assert ["acme", "json", "raw"] == ask("list").lines


def test_a_topic_without_items_lists_none(behind, stead):
    prices = behind.desk.register("bare", entries=[allow("Everyone", SEE)])
    prices.topic("empty", {}, entries=[allow("Everyone", SEE)])
    assert [] == stead("dde", "list", behind.path, "bare", "empty").lines


def publishing(behind, until):
    """Publish new values, as a ticker does, until told to stop."""
    price = 0
    while not until.wait(0.01):
        price += 1
        behind.stocks.publish("acme", str(price))


@pytest.fixture
def ticker(behind):
    stop = threading.Event()
    thread = threading.Thread(target=publishing, args=(behind, stop))
    thread.start()
    yield
    stop.set()
    thread.join()


def test_an_advise_prints_so_many_values_a_line_each(ask, ticker):
    lines = ask("advise", "acme", "--count", 3).lines
    assert sorted(set(map(int, lines))) == list(map(int, lines))
    assert 3 == len(lines)
    told = ask("advise", "acme", "--count", 2, "--json").lines
    assert {"text"} == {json.loads(line)["format"] for line in told}
    assert ["acme has a new value"] == ask(
        "advise", "acme", "--warm", "--count", 1
    ).lines
    warm = ask("advise", "acme", "--warm", "--count", 1, "--json")
    assert {"item": "acme", "news": True} == warm.json


def unmeasured():
    """Return an environment without coverage, for what a signal interrupts.

    An interrupt that Python raises while coverage's collector holds its own lock leaves
    that lock taken, and the program waits for itself from then on.
    """
    given = os.environ.items()
    return {name: value for name, value in given if not name.startswith("COVERAGE_")}


def test_an_advise_runs_until_it_is_interrupted(behind, ticker):
    with subprocess.Popen(
        [sys.executable, "-m", "stead", "dde", "advise", behind.path, "prices",
         "stocks", "acme"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
        env=unmeasured() | {"PYTHONUNBUFFERED": "1"},
    ) as told:  # fmt: skip
        hung = threading.Timer(60, told.kill)
        hung.start()
        try:
            first = told.stdout.readline()
            told.send_signal(signal.SIGINT)
            _, said = told.communicate()
        finally:
            hung.cancel()
    assert (0, "") == (told.returncode, said)
    assert first.strip().isdigit()


def test_an_advise_that_the_server_ends_is_a_refusal(ask, behind, ticker):
    ran = []
    watching = threading.Thread(target=lambda: ran.append(ask("advise", "acme")))
    watching.start()
    until_advised(behind.stocks)
    set_entries(behind.server, behind.stocks, [allow("Everyone", DdeRights.CONNECT)])
    watching.join(60)
    assert 1 == ran[0].status
    said = NUMBER.sub("record N", ran[0].err)
    assert "stead: access is denied (record N)\n" == said


@pytest.mark.parametrize(
    "wrong",
    [("request",), ("advise", "acme", "--count", "0"), ("poke", "acme")],
)
def test_wrong_usage_is_status_2(ask, wrong):
    assert 2 == ask(*wrong).status


def test_a_server_that_is_not_there_or_not_the_one_meant_is_status_1(
    ask, stead, private
):
    assert 1 == stead("dde", "list", private / "nobody", "prices").status
    assert 1 == ask("request", "acme", "--server-uid", 70_999).status
