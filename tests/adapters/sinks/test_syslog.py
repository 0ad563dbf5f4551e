"""Syslog over TLS, read back by rsyslog; and receivers that misbehave."""

from __future__ import annotations

import json
import re
import socket
import ssl
import threading
import time
from contextlib import contextmanager, suppress

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from tests.receivers import ORIGIN, eventually, numbered
from tests.strategies_records import RECORDS

from stead.adapters.sinks.connecting import tls_context
from stead.adapters.sinks.syslog import SyslogSink
from stead.errors import SinkUnavailableError, UnsafeConfigurationError
from stead.ledger.export_json import json_line
from stead.ledger.export_syslog import SMALLEST, syslog_frames, syslog_messages
from stead.ledger.exporting import Numbered, event_name, visible
from stead.model.audit_record import Outcome

UNPRINTABLE = re.compile(
    "[\0-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


@pytest.fixture
def sink(rsyslog, trusting):
    made = SyslogSink("localhost", rsyslog.port, origin=ORIGIN, context=trusting)
    yield made
    made.reset()


# --- what rsyslog reads ---------------------------------------------------------------


def test_rsyslog_reads_the_record_its_number_and_who_acts(rsyslog, sink):
    refused = numbered(7, outcome=Outcome.FAILURE, correlation="c0ffee", status=5)
    sink.send([refused])
    sink.confirm()
    (message,) = rsyslog.received()
    whole = json_line(refused, ORIGIN)
    assert {
        "pri": str(13 * 8 + 4),
        "time": "2025-11-22T18:17:01.123456Z",
        "host": "files.example",
        "program": "notes",
        "event": "object_access",
        "message": whole,
    } == {name: message[name] for name in message if name != "data"}
    assert {
        "number": "7",
        "id": json.loads(whole)["id"],
        "event": "object_access",
        "eventId": "4663",
        "outcome": "failure",
        "userSid": "S-1-5-21-1-2-3-1001",
        "user": "alice",
        "serverSid": "S-1-5-80-1-2-3-4-5",
        "server": "notes",
        "correlation": "c0ffee",
        "sequenceId": "7",
    } == message["data"]


def test_a_record_that_is_too_long_for_one_message_comes_in_parts(rsyslog, sink):
    long = numbered(1, reasons=tuple("\u2028" * 2000 for _ in range(4)))
    sink.send([long, numbered(2)])
    sink.confirm()
    *parts, last = rsyslog.received()
    assert "2" == last["data"]["number"]
    count = len(parts)
    assert count > 1
    expected = [f"{place}/{count}" for place in range(1, count + 1)]
    assert expected == [part["data"]["part"] for part in parts]
    assert json_line(long, ORIGIN) == "".join(part["message"] for part in parts)


def test_times_that_no_clock_shows_cost_no_message(rsyslog, sink):
    times = [0, -1, 1 << 70, 4_102_444_799_999_999_999, 4_102_444_800_000_000_000]
    sink.send([numbered(n, time=time) for n, time in enumerate(times, 1)])
    sink.confirm()
    read = [json.loads(message["message"])["number"] for message in rsyslog.received()]
    shown = [message["data"].get("number") for message in rsyslog.received()]
    assert ([1, 2, 3, 4, 5], ["1", "2", "3", "4", "5"]) == (read, shown)


@pytest.mark.filterwarnings("ignore:Generating overly large repr")
# No shrinking: it would ask rsyslog thousands of times.
@settings(
    max_examples=12,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(records=st.lists(RECORDS, min_size=1, max_size=8))
def test_hostile_records_are_read_as_they_were_written(rsyslog, sink, records):
    before = len(rsyslog.received())
    batch = [Numbered(n, record, b"d") for n, record in enumerate(records, 1)]
    sink.send(batch)
    sink.confirm()
    read: dict[int, str] = {}
    for message in rsyslog.received()[before:]:
        data = message["data"]
        number = int(data["number"])
        record = records[number - 1]
        who = record.client or record.server
        assert visible(who.name[:64], UNPRINTABLE) == data.get("user", "")
        assert event_name(record)[:32] == message["event"]
        read[number] = read.get(number, "") + message["message"]
    assert {one.number: json_line(one, ORIGIN) for one in batch} == read


@settings(max_examples=50)
@given(record=RECORDS, largest=st.sampled_from([SMALLEST, 8192, 65536]))
def test_no_message_is_longer_than_the_receiver_takes(record, largest):
    one = Numbered((1 << 63) - 1, record, b"\xff" * 32)
    messages = syslog_messages(one, ORIGIN, largest=largest, enterprise=(1 << 31) - 1)
    assert max(map(len, messages)) <= largest
    # No control character but those of more than one byte, which UTF-8 spreads.
    assert not any(byte < 0x20 or byte == 0x7F for m in messages for byte in m)
    assert messages == syslog_messages(
        one, ORIGIN, largest=largest, enterprise=(1 << 31) - 1
    )


# --- trust ----------------------------------------------------------------------------


def test_a_receiver_whose_certificate_nobody_trusts_gets_nothing(rsyslog, stranger):
    context = tls_context(stranger.file)
    sink = SyslogSink("localhost", rsyslog.port, origin=ORIGIN, context=context)
    with pytest.raises(SinkUnavailableError, match="certificate verify failed"):
        sink.send([numbered(1)])
    # The same without verification, which ours has no switch for, does get through.
    naive = ssl._create_unverified_context()  # noqa: S323 - the naive variant
    sink = SyslogSink("localhost", rsyslog.port, origin=ORIGIN, context=naive)
    sink.send([numbered(2)])
    sink.confirm()
    numbers = [m["data"]["number"] for m in rsyslog.received()]
    assert ["2"] == numbers


def test_a_certificate_of_another_host_is_not_the_receivers(authority, trusting):
    with receiver(authority.issue("elsewhere.example"), read_all) as (port, got):
        sink = SyslogSink("localhost", port, origin=ORIGIN, context=trusting)
        with pytest.raises(SinkUnavailableError, match="certificate") as refused:
            sink.send([numbered(1)])
    assert "signed by `ca`" in refused.value.advice
    assert b"" == bytes(got)


def test_a_key_that_others_may_read_is_refused(authority):
    certificate, key = authority.issue("client.example")
    assert tls_context(authority.file, certificate, key).get_ca_certs()
    key.chmod(0o640)
    with pytest.raises(UnsafeConfigurationError, match="somebody else may read it"):
        tls_context(authority.file, certificate, key)


def test_files_that_hold_no_certificate_are_told_at_once(tmp_path, authority):
    (tmp_path / "empty").write_text("")
    (tmp_path / "empty").chmod(0o600)
    for files in (
        (tmp_path / "missing",),
        (tmp_path / "empty",),
        (authority.file, tmp_path / "missing"),
        (authority.file, tmp_path / "empty"),
    ):
        with pytest.raises(SinkUnavailableError):
            tls_context(*files)


def test_a_receiver_may_demand_a_certificate(authority, certificate, trusting):
    certificate_of_ours = authority.issue("notes.example")
    with receiver(certificate, read_all, authority.file) as (port, got):
        without = SyslogSink("localhost", port, origin=ORIGIN, context=trusting)
        with pytest.raises(SinkUnavailableError):
            send_and_confirm(without, [numbered(1)])  # TLS 1.3 tells it late
        without.reset()
        context = tls_context(authority.file, *certificate_of_ours)
        sink = SyslogSink("localhost", port, origin=ORIGIN, context=context)
        sink.send([numbered(1)])
        sink.confirm()
        assert syslog_frames(numbered(1), ORIGIN) == bytes(got)


def send_and_confirm(sink, batch, seconds=0.0):
    sink.send(batch)
    time.sleep(seconds)  # the other end may be the faster one, or not
    sink.confirm()


def send_often(sink, batch):
    for _ in range(1000):
        sink.send(batch)


# --- what counts as an acknowledgement ------------------------------------------------


@contextmanager
def receiver(certificate, behave, client_authority=None):
    """Run a TLS server of one's own: `behave` is given each connection."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*certificate)
    if client_authority is not None:
        context.load_verify_locations(client_authority)
        context.verify_mode = ssl.CERT_REQUIRED
    got, ends = bytearray(), threading.Event()

    def serve(listener):
        while not ends.is_set():
            try:
                bare, _ = listener.accept()
                with context.wrap_socket(bare, server_side=True) as link:
                    behave(link, got, ends)
            except OSError:  # the other end gave up, or the test is over
                continue

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.2)
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        try:
            yield listener.getsockname()[1], got
        finally:
            ends.set()
            thread.join()


def read_all(link, got, _):
    while data := link.recv(65536):
        got += data
    link.unwrap()


def close_without_a_word(link, got, _):
    while data := link.recv(65536):
        got += data
    link.shutdown(socket.SHUT_RDWR)


def end_before_reading(link, *_):
    """Do what a receiver does that is stopped in an orderly way, data unread."""
    link.settimeout(2)
    with suppress(OSError):
        link.unwrap()


def reset(link, got, _):
    got += link.recv(65536)
    link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


def never_read(_link, _got, ends):
    ends.wait(60)


def never_answer(link, got, ends):
    while data := link.recv(65536):
        got += data
    ends.wait(60)


@pytest.mark.parametrize("seconds", [0.0, 0.3])
@pytest.mark.parametrize(
    "behave", [close_without_a_word, end_before_reading, reset, never_answer]
)
def test_only_an_orderly_answer_is_an_acknowledgement(
    certificate, trusting, behave, seconds
):
    with receiver(certificate, behave) as (port, _):
        sink = SyslogSink(
            "localhost", port, origin=ORIGIN, context=trusting, timeout=0.5
        )
        batch = [numbered(n) for n in range(1, 4)]
        with pytest.raises(SinkUnavailableError):
            send_and_confirm(sink, batch, seconds)
        sink.reset()


def test_a_reader_that_stops_fills_its_buffers_and_no_more(certificate, trusting):
    batch = [numbered(n, reasons=("r" * 2000,) * 8) for n in range(1, 129)]
    with receiver(certificate, never_read) as (port, _):
        sink = SyslogSink(
            "localhost", port, origin=ORIGIN, context=trusting, timeout=0.2
        )
        with pytest.raises(SinkUnavailableError, match="timed out"):
            send_often(sink, batch)
        sink.reset()


def test_a_send_that_hangs_can_be_interrupted(certificate, trusting):
    batch = [numbered(n, reasons=("r" * 2000,) * 8) for n in range(1, 129)]
    failed = threading.Event()

    def send():
        try:
            while True:
                sink.send(batch)
        except SinkUnavailableError:
            failed.set()

    with receiver(certificate, never_read) as (port, _):
        sink = SyslogSink(
            "localhost", port, origin=ORIGIN, context=trusting, timeout=600
        )
        thread = threading.Thread(target=send)
        thread.start()
        eventually(lambda: sink._link is not None)
        while not failed.wait(0.1):
            sink.interrupt()
        thread.join(60)
        assert not thread.is_alive()
        sink.reset()


def test_nobody_at_the_other_end_is_a_refusal(trusting):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and nobody listens
        port = taken.getsockname()[1]
        sink = SyslogSink("localhost", port, origin=ORIGIN, context=trusting)
        with pytest.raises(SinkUnavailableError, match="refused"):
            sink.send([numbered(1)])
        with pytest.raises(SinkUnavailableError):
            sink.confirm()
    sink.interrupt()
    sink.reset()
