"""OpenTelemetry logs, read back by a receiver built on opentelemetry-proto."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
)
from tests.otlp_receiver import Server, attributes, serving
from tests.receivers import ORIGIN, numbered
from tests.strategies_records import RECORDS

from stead.adapters.sinks.connecting import read_private, tls_context
from stead.adapters.sinks.otlp import OtlpSink
from stead.adapters.sinks.otlp_form import logs_request
from stead.errors import SinkUnavailableError, UnsafeConfigurationError
from stead.ledger.exporting import Numbered, identity_of, visible
from stead.model.audit_record import AuditEvent, Outcome

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.fixture
def start():
    started = []

    def made(certificate=None):
        server = Server(0, certificate)
        started.append((server, serving(server)))
        return server

    yield made
    for server, thread in started:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def sinks():
    made = []

    def make(server, context=None, **settings):
        port = server.server_address[1]
        settings = {"timeout": 20.0, **settings}
        made.append(
            OtlpSink("localhost", port, origin=ORIGIN, context=context, **settings)
        )
        return made[-1]

    yield make
    for sink in made:
        sink.interrupt()
        sink.reset()


def test_a_receiver_reads_the_record_by_the_conventions(
    start, sinks, certificate, trusting
):
    server = start(certificate)
    refused = numbered(
        7,
        outcome=Outcome.FAILURE,
        status=5,
        correlation=f"mark 00-{TRACE}-{SPAN}-01",
        detail={"opened by": "3"},
    )
    sink = sinks(server, trusting)
    assert () == sink.send([refused])
    sink.confirm()
    ((resource, record),) = server.taken
    assert {
        "service.name": "notes",
        "service.instance.id": "S-1-5-80-1-2-3-4-5",
        "host.name": "files.example",
    } == resource
    told = record["attributes"]
    assert {
        "log.record.uid": identity_of(refused, ORIGIN),
        "user.id": "S-1-5-21-1-2-3-1001",
        "user.name": "alice",
        "session.id": "0x10000",
        "error.type": "5",
        "stead.number": 7,
        "stead.event": "object_access",
        "stead.event_id": 4663,
        "stead.object_name": "plan",
        "stead.detail": {"opened by": "3"},
    } == {name: told[name] for name in told if name in EXPECTED}
    assert ["notes", "alice"] == [link["name"] for link in told["stead.chain"]]
    assert ("1763835421123456789", "SEVERITY_NUMBER_WARN", "stead.object_access") == (
        record["timeUnixNano"],
        record["severityNumber"],
        record["eventName"],
    )
    made = logs_request([refused], ORIGIN).resource_logs[0].scope_logs[0].log_records[0]
    assert (TRACE, SPAN, 1) == (made.trace_id.hex(), made.span_id.hex(), made.flags)


EXPECTED = {
    *("log.record.uid", "user.id", "user.name", "session.id", "error.type"),
    *("stead.number", "stead.event", "stead.event_id", "stead.object_name"),
    "stead.detail",
}


def test_one_connection_serves_many_batches_and_an_idle_one_may_close(start, sinks):
    server = start()
    sink = sinks(server)
    sink.send([numbered(1), numbered(2)])
    link = sink._link
    sink.send([numbered(3)])
    assert link is sink._link
    link.sock.shutdown(socket.SHUT_RDWR)  # as a receiver does that waited too long
    sink.send([numbered(4)])
    assert [1, 2, 3, 4] == server.numbers()


@pytest.mark.parametrize(
    "answer",
    [
        *((status, b"") for status in (301, 400, 401, 404, 429, 500, 503)),
        (200, b"\xff\xff no protobuf"),
        (200, b"\0" * ((1 << 20) + 1)),
    ],
    ids=lambda answer: f"{answer[0]}-{len(answer[1])}",
)
def test_whatever_is_no_acknowledgement_means_that_records_wait(start, sinks, answer):
    server = start()
    server.answers = [answer]
    with pytest.raises(SinkUnavailableError):
        sinks(server).send([numbered(1)])
    assert [] == server.numbers()


class Dripping(threading.Thread):
    """A receiver that acknowledges, a byte at a time."""

    def __init__(self, certificate=None):
        super().__init__()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.server_address = self.listener.getsockname()
        self.context = None
        if certificate is not None:
            self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            self.context.load_cert_chain(*certificate)

    def run(self):
        with suppress(OSError), self.listener.accept()[0] as bare:
            wrapped = self.context and self.context.wrap_socket(bare, server_side=True)
            with wrapped or bare as link:
                link.recv(65_536)
                for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n":
                    link.send(bytes([byte]))
                    time.sleep(0.05)


@pytest.mark.parametrize("is_plain", [True, False])
def test_an_answer_that_drips_is_no_acknowledgement(
    sinks, certificate, trusting, is_plain
):
    """It is there after two seconds; each byte of it in time."""
    receiver = Dripping(None if is_plain else certificate)
    receiver.start()
    context = None if is_plain else trusting
    with pytest.raises(SinkUnavailableError, match=r"takes too long|timed out"):
        sinks(receiver, context, timeout=0.4).send([numbered(1)])
    # Whose time was over before it came leaves the receiver waiting for somebody.
    receiver.listener.shutdown(socket.SHUT_RDWR)
    receiver.join()
    receiver.listener.close()


@pytest.mark.parametrize("kind", ["text/html", "application/json", "nonsense"])
def test_a_page_of_a_proxy_is_no_acknowledgement(start, sinks, kind):
    server = start()
    server.kind = kind
    server.answers = [(200, b"")]  # empty, it would read as: all is taken
    with pytest.raises(SinkUnavailableError, match="something else"):
        sinks(server).send([numbered(1)])
    assert [] == server.taken


def test_nobody_and_a_stranger_are_no_receivers(start, sinks, certificate, stranger):
    server = start(certificate)
    sink = sinks(server, tls_context(stranger.file))
    with pytest.raises(SinkUnavailableError) as refused:
        sink.send([numbered(1)])
    assert "signed by `ca`" in refused.value.advice
    assert [] == server.requests
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and nobody listens
        port = taken.getsockname()[1]
        with pytest.raises(SinkUnavailableError):
            OtlpSink("localhost", port, origin=ORIGIN, context=None).send([numbered(1)])


def test_records_that_are_refused_for_good_are_named_and_the_others_taken(start, sinks):
    server = start()
    server.poison = {2, 4}
    sink = sinks(server)
    assert [2, 4] == list(sink.send([numbered(n) for n in range(1, 6)]))
    assert {1, 3, 5} == set(server.numbers())


def test_what_is_too_large_at_once_is_sent_in_halves(start, sinks):
    server = start()
    server.largest = 3000
    sink = sinks(server)
    sink.send([numbered(n) for n in range(1, 11)])
    assert list(range(1, 11)) == server.numbers()
    server.largest = 10
    with pytest.raises(SinkUnavailableError, match="record 11 needs"):
        sink.send([numbered(11), numbered(12)])


def test_the_token_stands_in_a_file_that_nobody_else_may_read(start, sinks, tmp_path):
    file = tmp_path / "token"
    file.write_text("secret-1\n")
    file.chmod(0o644)
    with pytest.raises(UnsafeConfigurationError):
        read_private(file)
    file.chmod(0o600)
    server = start()
    sink = sinks(server, token=lambda: read_private(file))
    sink.send([numbered(1)])
    file.write_text("secret-2\n")  # a new one counts at once
    sink.send([numbered(2)])
    headers = [told["Authorization"] for _, told, _ in server.requests]
    assert ["Bearer secret-1", "Bearer secret-2"] == headers
    assert "secret" not in sink.name
    assert "secret" not in repr(sink)


@pytest.mark.parametrize("text", ["secret-1\nsecret-2", "secret 1", "", "s\u00e9cret"])
def test_what_is_no_token_is_sent_nowhere_and_shown_to_nobody(
    text, start, sinks, tmp_path
):
    file = tmp_path / "token"
    file.write_text(text)
    file.chmod(0o600)
    server = start()
    with pytest.raises(SinkUnavailableError, match="holds no token") as caught:
        sinks(server, token=lambda: read_private(file)).send([numbered(1)])
    assert "cret" not in f"{caught.value!r} {caught.value.__cause__!r}"
    assert [] == server.requests


def test_a_token_file_that_others_may_read_is_the_sink_s_failure(
    start, sinks, tmp_path
):
    file = tmp_path / "token"
    file.write_text("secret-1\n")
    file.chmod(0o644)
    sink = sinks(start(), token=lambda: read_private(file))
    with pytest.raises(SinkUnavailableError, match="is sent nothing"):
        sink.send([numbered(1)])


@pytest.mark.filterwarnings("ignore:Generating overly large repr")
@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(RECORDS, min_size=1, max_size=3))
def test_hostile_records_are_read_as_they_were_written(records):
    batch = [Numbered(n, record, b"d") for n, record in enumerate(records, 1)]
    read = ExportLogsServiceRequest.FromString(
        logs_request(batch, ORIGIN).SerializeToString()
    )
    found = [
        attributes(record.attributes)
        for resource in read.resource_logs
        for scope in resource.scope_logs
        for record in scope.log_records
    ]
    assert [1, 2, 3][: len(records)] == [told["stead.number"] for told in found]
    for record, told in zip(records, found, strict=True):
        assert visible(record.object_name) == told.get("stead.object_name", "")
        assert visible((record.client or record.server).name) == told["user.name"]
        details = {visible(k): visible(v) for k, v in record.detail.items()}
        assert details == told.get("stead.detail", {})


@pytest.mark.parametrize("event", [*AuditEvent, 123_456], ids=str)
def test_every_event_is_a_log_record(event):
    request = logs_request([numbered(1, event=event)], ORIGIN)
    (record,) = request.resource_logs[0].scope_logs[0].log_records
    assert int(event) == attributes(record.attributes)["stead.event_id"]
