"""Linux audit, read back from the kernel's own multicast of its trail."""

from __future__ import annotations

import errno
import os
import re
import socket
import struct
import subprocess
import sys

import pytest
from hypothesis import given, settings
from tests.receivers import ORIGIN, SERVER, numbered
from tests.strategies_records import RECORDS

from stead.adapters.sinks.linux_audit import LinuxAuditSink
from stead.errors import SinkUnavailableError
from stead.ledger.export_linux_audit import LARGEST, linux_audit_message
from stead.ledger.exporting import Numbered, event_name, identity_of
from stead.model.audit_record import AuditEvent, Outcome, Principal

AUDIT, GET, SET, TRUSTED_APP = 9, 1000, 1001, 1121
READLOG = 1  # the multicast group (linux/audit.h, AUDIT_NLGRP_READLOG)
ADD_MEMBERSHIP, SOL_NETLINK = 1, 270
PAIR = re.compile(rb'([a-z_]+)=("[^"]*"|[^ ]*)')


def read_back(text: bytes) -> dict[str, str]:
    """Read pairs as the audit tools do: quoted, or digits of what is not plain."""
    found = {}
    for name, value in PAIR.findall(text):
        if value.startswith(b'"'):
            raw = value[1:-1]
        elif name in {b"res", b"cut", b"terminal"}:
            raw = value
        else:
            raw = bytes.fromhex(value.decode())
        found[name.decode()] = raw.decode("utf-8", "surrogatepass")
    return found


class Kernel:
    """Asks the kernel's audit, and listens to what it tells everybody."""

    def __init__(self):
        self.control = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, AUDIT)
        self.control.settimeout(60)
        self.listener = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, AUDIT)
        self.listener.settimeout(60)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        self.listener.bind((0, 0))
        self.listener.setsockopt(SOL_NETLINK, ADD_MEMBERSHIP, READLOG)

    def ask(self, kind, body=b""):
        head = struct.pack("=IHHII", 16 + len(body), kind, 5, 1, 0)
        self.control.sendto(head + body, (0, 0))
        while True:
            packet = self.control.recv(16384)
            answer = struct.unpack_from("=H", packet, 4)[0]
            if answer == 2:
                assert 0 == struct.unpack_from("=i", packet, 16)[0]
            if kind == SET or answer == GET:
                return packet[16:]

    def is_enabled(self) -> bool:
        return bool(struct.unpack_from("=II", self.ask(GET))[1])

    def enable(self, is_on: bool) -> None:
        self.ask(SET, struct.pack("=10I", 1, int(is_on), *[0] * 8))

    def told(self, identity: str) -> bytes:
        """Return the message that names a record."""
        while True:
            packet = self.listener.recv(16384)
            kind = struct.unpack_from("=H", packet, 4)[0]
            if kind == TRUSTED_APP and identity.encode() in packet:
                return packet[16:]


@pytest.fixture
def kernel():
    if os.geteuid() != 0:
        pytest.skip("needs root, because the kernel lets nobody else read its audit")
    made = Kernel()
    before = made.is_enabled()
    made.enable(is_on=True)
    yield made
    made.enable(is_on=before)
    made.control.close()
    made.listener.close()


@pytest.fixture
def sink():
    made = LinuxAuditSink(origin=ORIGIN)
    yield made
    made.interrupt()
    made.reset()


@pytest.mark.root
def test_the_kernel_tells_what_it_was_told(kernel, sink):
    refused = numbered(
        7,
        outcome=Outcome.FAILURE,
        client=Principal(SERVER.sid, "al ice\n' res=success"),
        object_name="a plan",
        reasons=("no; never", "(D;;0x1;;;WD)"),
    )
    sink.send([numbered(6), refused, numbered(8)])
    sink.confirm()
    said = kernel.told(identity_of(refused, ORIGIN))
    body = re.search(rb" msg='(.*)'", said, re.DOTALL)[1]
    read = read_back(body)
    assert {
        "op": "stead:object_access",
        "id": identity_of(refused, ORIGIN),
        "number": "7",
        "acct": "al ice\n' res=success",
        "obj": "a plan",
        "reason": "no; never; (D;;0x1;;;WD)",
        "server": "notes",
        "res": "failed",
    } == {name: read[name] for name in read if name in NAMES}


@pytest.mark.root
def test_ausearch_finds_and_reads_what_the_kernel_was_told(kernel, sink, tmp_path):
    """Lines as auditd writes them; a name that says `res=success` is no success."""
    liar = Principal(SERVER.sid, "al ice\n' res=success")
    refused = numbered(7, outcome=Outcome.FAILURE, client=liar, object_name="a plan")
    records = [numbered(6), refused, numbered(8)]
    sink.send(records)
    sink.confirm()
    log = tmp_path / "audit.log"
    told = [kernel.told(identity_of(each, ORIGIN)).rstrip(b"\0") for each in records]
    log.write_bytes(b"".join(b"type=TRUSTED_APP msg=" + each + b"\n" for each in told))

    def search(*options: str) -> str:
        command = ["/usr/sbin/ausearch", "-if", str(log), "-m", "TRUSTED_APP", *options]
        return subprocess.run(
            command, check=True, capture_output=True, text=True, timeout=60
        ).stdout

    assert 3 == search("--format", "raw").count("op=")
    found = search("-sv", "no", "-i")
    assert 1 == found.count("op=stead:object_access")
    assert f"id={identity_of(refused, ORIGIN)}" in found
    assert "obj=a plan" in found
    assert found.rstrip().endswith("res=failed'")


NAMES = {"op", "id", "number", "acct", "obj", "reason", "server", "res"}


@pytest.mark.root
def test_the_longest_message_arrives_whole(kernel, sink):
    texts = ("\n" * 2048,) * 8
    long = numbered(9, reasons=texts, privileges=texts, object_name="\n" * 2048)
    sink.send([long])
    said = kernel.told(identity_of(long, ORIGIN))
    assert linux_audit_message(long, ORIGIN) in said
    assert b" cut=yes " in said


@pytest.mark.root
def test_while_auditing_is_off_records_wait(kernel, sink):
    kernel.enable(is_on=False)
    with pytest.raises(SinkUnavailableError, match="switched off") as refused:
        sink.send([numbered(1)])
    assert "auditctl -e 1" in refused.value.advice
    kernel.enable(is_on=True)
    sink.send([numbered(2)])
    assert kernel.told(identity_of(numbered(2), ORIGIN))


@pytest.mark.root
def test_without_the_capability_records_wait():
    program = """
import os
from stead.adapters.sinks.linux_audit import LinuxAuditSink
from stead.errors import SinkUnavailableError
from tests.receivers import ORIGIN, numbered
os.setgid(70001); os.setuid(70001)
sink = LinuxAuditSink(origin=ORIGIN)
try:
    sink.send([numbered(1)])
except SinkUnavailableError as error:
    print(error, error.advice)
"""
    if os.geteuid() != 0:
        pytest.skip("needs root, to let go of it")
    environment = {k: v for k, v in os.environ.items() if "COVERAGE" not in k}
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env=environment | {"PYTHONPATH": os.pathsep.join(["", *sys.path])},
    )
    assert os.strerror(errno.EPERM) in done.stdout
    assert "CAP_AUDIT_WRITE" in done.stdout


@settings(max_examples=60)
@given(RECORDS)
def test_hostile_records_are_one_line_of_pairs_that_read_back(record):
    one = Numbered(12, record, b"\xff" * 32)
    message = linux_audit_message(one, ORIGIN)
    assert len(message) <= LARGEST
    assert re.fullmatch(rb"[\x20-\x7e]*", message)
    assert b"'" not in message
    read = read_back(message)
    assert f"stead:{event_name(record)}" == read["op"]
    assert (record.client or record.server).name[:512] == read["acct"]
    is_cut = "cut" in read
    if record.object_name and not is_cut:
        assert record.object_name == read["obj"]
    assert ("failed" if record.outcome is Outcome.FAILURE else "success") == read["res"]
    assert [b"res"] == [n for n, _ in PAIR.findall(message) if n == b"res"]


@pytest.mark.parametrize("event", [*AuditEvent, 123_456], ids=str)
def test_every_event_is_a_message(event):
    message = linux_audit_message(numbered(1, event=event), ORIGIN)
    assert str(int(event)) == read_back(message)["event"]
