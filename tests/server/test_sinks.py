"""A server's sinks: their URLs, and what the trail says of them."""

from __future__ import annotations

import json
import threading

import pytest
from tests.receivers import eventually

from stead.errors import (
    InvalidRequestError,
    SinkUnavailableError,
    UnsafeConfigurationError,
)
from stead.ledger.exporting import Origin
from stead.model.audit_record import AuditEvent, Outcome
from stead.server.sinks import export_origin, read_sink

ORIGIN = Origin("files.example", "S-1-5-21-1-2-3", "0.1.0")


class Kept:
    """A sink that keeps what it is sent, and fails when it is told to."""

    def __init__(self, name="kept"):
        self.name = name
        self.window = 1
        self.sent = []
        self.fails = threading.Event()

    def send(self, batch):
        if self.fails.is_set():
            raise SinkUnavailableError("nobody listens")
        self.sent += batch
        return ()

    def confirm(self):
        """Return: it is kept."""

    def reset(self):
        """Hold nothing."""

    def interrupt(self):
        """Never wait."""

    def numbers(self):
        return [one.number for one in self.sent]

    def events(self):
        return [one.record.event for one in self.sent]


def test_the_whole_trail_is_sent_and_the_end_of_the_server_too(open_server):
    kept = Kept()
    server = open_server(sinks=[lambda _: kept])
    server.accounts.add("alice")
    server.close()
    assert list(range(1, len(kept.sent) + 1)) == kept.numbers()
    assert AuditEvent.TRAIL_STARTED in kept.events()
    assert AuditEvent.ACCOUNT_CREATED in kept.events()
    assert AuditEvent.TRAIL_STOPPED == kept.events()[-1]


def test_what_was_not_sent_is_sent_by_the_next_server(open_server, tmp_path):
    tmp_path.chmod(0o700)
    store = tmp_path / "notes.db"
    first, second = Kept(), Kept()
    first.fails.set()
    open_server(store=store, sinks=[lambda _: first]).close()
    open_server(store=store, sinks=[lambda _: second]).close()
    assert ([], list(range(1, len(second.sent) + 1))) == (
        first.sent,
        second.numbers(),
    )
    assert 2 == second.events().count(AuditEvent.TRAIL_STOPPED)


def test_the_trail_says_once_that_a_sink_is_down_and_how_many_waited(open_server):
    kept = Kept()
    kept.fails.set()
    server = open_server(sinks=[lambda _: kept])

    def told(event):
        return [r for n, r in server.trail.find(query(event))]

    (down,) = eventually(lambda: told(AuditEvent.SINK_DOWN))
    for name in ("alice", "bob", "carol"):
        server.accounts.add(name)
    kept.fails.clear()
    (up,) = eventually(lambda: told(AuditEvent.SINK_UP))
    assert (Outcome.FAILURE, ("nobody listens",), "kept") == (
        down.outcome,
        down.reasons,
        down.detail["sink"],
    )
    assert Outcome.SUCCESS is up.outcome
    assert int(up.detail["records"]) > int(down.detail["records"])
    eventually(lambda: AuditEvent.SINK_UP in kept.events())
    assert 1 == kept.events().count(AuditEvent.SINK_DOWN)


def query(event):
    from stead.ledger.query import Query

    return Query(event=event)


def test_a_record_that_cannot_be_read_is_sent_as_that(open_server, tmp_path):
    import sqlite3

    tmp_path.chmod(0o700)
    store = tmp_path / "notes.db"
    open_server(store=store).close()
    with sqlite3.connect(store) as connection:
        connection.execute("UPDATE entry SET body = x'7b7d' WHERE sequence = 1")
    connection.close()
    kept = Kept()
    open_server(store=store, sinks=[lambda _: kept]).close()
    assert AuditEvent.RECORD_UNREADABLE == kept.events()[0]
    assert "not a record" in kept.sent[0].record.reasons[0]


def test_a_trail_that_is_another_one_and_records_that_were_refused_are_told(
    open_server, tmp_path
):
    from stead.ledger.sinks import News, NewsKind
    from stead.server.sinks import _tell

    server = open_server()
    house = server._house
    _tell(house.guard, house.subject, News(NewsKind.BEGAN_ANEW, "kept", 9, "why"))
    _tell(house.guard, house.subject, News(NewsKind.NOT_SENT, "kept", 2, "refused"))
    for event, count in (
        (AuditEvent.SINK_BEGAN_ANEW, "9"),
        (AuditEvent.RECORDS_NOT_SENT, "2"),
    ):
        ((_, record),) = eventually(lambda e=event: [*server.trail.find(query(e))])
        assert (count, Outcome.FAILURE) == (record.detail["records"], record.outcome)


def test_rsyslog_reads_a_servers_trail(open_server, rsyslog, authority):
    url = f"syslog+tls://localhost:{rsyslog.port}?ca={authority.file}"
    server = open_server(sinks=[url])
    server.accounts.add("alice")
    server.close()
    read = [json.loads(message["message"]) for message in rsyslog.received()]
    assert list(range(1, len(read) + 1)) == [record["number"] for record in read]
    assert "trail_stopped" == read[-1]["event"]


# --- their URLs -----------------------------------------------------------------------


def test_a_url_names_a_sink(authority, tmp_path):
    token = tmp_path / "token"
    token.write_text("secret")
    token.chmod(0o600)
    named = {
        f"syslog+tls://logs.example?ca={authority.file}": (
            "syslog+tls://logs.example:6514"
        ),
        "syslog+tls://[::1]:7000?largest=65536&enterprise=311": (
            "syslog+tls://::1:7000"
        ),
        f"otlp+https://otel.example?token={token}": (
            "otlp+https://otel.example:4318/v1/logs"
        ),
        "otlp+http://127.0.0.1:9/other": "otlp+http://127.0.0.1:9/other",
        "otlp+http://localhost?name=mine": "mine",
        "linux-audit": "linux-audit",
        "linux-audit?name=kernel": "kernel",
    }
    assert named == {url: read_sink(url, ORIGIN).name for url in named}


@pytest.mark.parametrize(
    "url",
    [
        "",
        "nonsense",
        "syslog://logs.example",
        "syslog+tls://",
        "syslog+tls://host:99999999",
        "syslog+tls://host:port",
        "syslog+tls://user:hush@logs.example",
        "otlp+https://hush@otel.example",
        "syslog+tls://logs.example?password=hush",
        "syslog+tls://logs.example#fragment",
        "syslog+tls://logs.example?largest=12",
        "syslog+tls://logs.example?largest=many",
        "syslog+tls://logs.example?key=/tmp/key",
        "otlp+http://otel.example",
        "otlp+http://192.0.2.1",
        "linux-audit://host",
        "otlp+https:///v1/logs",
    ],
)
def test_what_is_no_sink_or_not_safe_is_refused(url):
    with pytest.raises(InvalidRequestError) as refused:
        read_sink(url, ORIGIN)
    assert "hush" not in str(refused.value)


def test_files_are_looked_at_when_the_server_is_opened(open_server, tmp_path):
    with pytest.raises(SinkUnavailableError):
        open_server(sinks=[f"syslog+tls://logs.example?ca={tmp_path}/none"])
    token = tmp_path / "token"
    token.write_text("secret")
    token.chmod(0o644)
    with pytest.raises(UnsafeConfigurationError):
        open_server(sinks=[f"otlp+https://otel.example?token={token}"])


def test_two_sinks_have_two_names_and_a_url_is_not_a_list(open_server):
    with pytest.raises(InvalidRequestError, match="one name"):
        open_server(sinks=["linux-audit", "linux-audit"])
    with pytest.raises(InvalidRequestError, match="not several"):
        open_server(sinks="linux-audit")


def test_an_origin_says_which_machine_and_version():
    found = export_origin("S-1-5-21-1-2-3")
    assert ("S-1-5-21-1-2-3", True, True) == (
        found.store,
        bool(found.host),
        found.version[0].isdigit(),
    )
