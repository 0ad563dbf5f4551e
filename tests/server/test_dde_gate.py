"""The desk behind its gate, and clients of other uids: the classic example of DDE."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.receivers import eventually
from tests.server.dde_stage import (
    ALICE,
    BOB,
    SECONDS,
    SEE,
    serving,
    set_entries,
    until_advised,
)

from stead.model.audit_record import AuditEvent
from stead.model.explicit_access import allow
from stead.server.dde import DdeDesk, DdeRights

ROOT = Path(__file__).resolve().parents[2]
# The interpreter may lie where only root gets: it is there when the uid is taken on.
CLIENT = """
import json, os, sys
from stead.errors import RemoteError
from stead.gates.dde.client import DdeClient

uid, path, verb, items = int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4:]
os.setgroups([])
os.setresgid(uid, uid, uid)
os.setresuid(uid, uid, uid)
with DdeClient.connect(path, server_uid=0) as client:
    with client.conversation("prices", "stocks") as stocks:
        try:
            if verb == "advise":
                with stocks.advise(*items) as news:
                    for item, value in news:
                        print(json.dumps([item, value]), flush=True)
            print(json.dumps([stocks.request(item) for item in items]))
        except RemoteError as error:
            print(json.dumps([str(error), error.remote_status, error.record]))
"""


class Clients:
    """Starts clients' processes, under their uids."""

    def __init__(self, path):
        self._path = path

    def start(self, uid, verb, *items):
        return subprocess.Popen(
            [sys.executable, "-c", CLIENT, str(uid), self._path, verb, *items],
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )

    def hear(self, uid, *items):
        with self.start(uid, "request", *items) as asking:
            return json.loads(asking.communicate(timeout=SECONDS)[0])


@pytest.fixture
def desk(server):
    return DdeDesk(server)


@pytest.fixture
def stocks(server, desk):
    """Give a topic of which alice sees all items and bob only some."""
    for name in ("alice", "bob"):
        server.accounts.add_member("readers", name)
    readers = [allow("readers", DdeRights.CONNECT)]
    prices = desk.register("prices", entries=readers)
    values = {"acme": "12", "margin": "3"}
    topic = prices.topic("stocks", values, entries=[allow("readers", SEE)])
    topic.protect_item("margin", [allow("alice", SEE)])
    return topic


@pytest.fixture
def clients(server, desk, stocks, world):
    with serving(server, desk, world / "dde"):
        yield Clients(world / "dde")


@pytest.mark.root
def test_each_client_sees_only_what_it_may(clients):
    assert ["12", "3", "acme\tmargin"] == clients.hear(
        ALICE, "acme", "margin", "TopicItemList"
    )
    assert ["12", "acme"] == clients.hear(BOB, "acme", "TopicItemList")
    refused, unknown = clients.hear(BOB, "margin"), clients.hear(BOB, "nothing")
    assert refused[:2] == unknown[:2] == ["access is denied", 5]
    assert refused[2] is not None


@pytest.mark.root
@pytest.mark.parametrize(
    ("lose", "told"),
    [
        (
            lambda server, topic: set_entries(server, topic, [allow("bob", SEE)]),
            ["access is denied", 5],
        ),
        (
            lambda server, _: server.accounts.disable("alice"),
            ["the logon session has ended", 1312],
        ),
        (
            lambda server, _: server.accounts.remove_member("readers", "alice"),
            ["the logon session has ended", 1312],
        ),
    ],
)
def test_who_loses_the_right_in_mid_advise_hears_no_later_value(
    server, stocks, clients, trail, lose, told
):
    with clients.start(ALICE, "advise", "acme") as hers:
        until_advised(stocks)
        with clients.start(BOB, "advise", "acme") as his:
            until_advised(stocks, 2)
            stocks.publish("acme", "13")
            for hearing in (hers, his):
                assert ["acme", "13"] == json.loads(hearing.stdout.readline())
            lose(server, stocks)
            stocks.publish("acme", "14")
            # Bob's copy shows that the value was there to be told.
            assert ["acme", "14"] == json.loads(his.stdout.readline())
            his.kill()
            his.communicate()
        said = json.loads(hers.communicate(timeout=SECONDS)[0])
    assert told == said[:2]
    ended = [r for r in trail(AuditEvent.ADVISE_ENDED) if r.client.name == "alice"]
    assert 1 == len(ended)


@pytest.mark.root
def test_a_client_that_is_killed_leaves_nothing_behind(server, stocks, clients, trail):
    sessions = server._house.admission.sessions
    before = len(sessions.records())
    with clients.start(ALICE, "advise", "acme") as hers:
        until_advised(stocks)
        hers.kill()
        hers.communicate()
    eventually(lambda: len(sessions.records()) == before)
    eventually(lambda: trail(AuditEvent.CONVERSATION_ENDED))
    assert () == stocks._advises.all()
    assert 1 == len(trail(AuditEvent.CONVERSATION_ENDED))
