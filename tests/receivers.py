"""Receivers that are not ours, a certificate authority for them, and records."""

from __future__ import annotations

import datetime as dt
import ipaddress
import json
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from stead.adapters.sinks.connecting import tls_context
from stead.ledger.exporting import Numbered, Origin
from stead.model.audit_record import AuditEvent, AuditRecord, Outcome, Principal
from stead.model.luid import Luid
from stead.model.sid import Sid
from stead.testing.private_server import free_port

ORIGIN = Origin("files.example", "S-1-5-21-1-2-3", "0.1.0")
SERVER = Principal(Sid.from_string("S-1-5-80-1-2-3-4-5"), "notes", Luid(0x3E7))
ALICE = Principal(Sid.from_string("S-1-5-21-1-2-3-1001"), "alice", Luid(0x1_0000))
RSYSLOGD = "/usr/sbin/rsyslogd"
# What is asked of rsyslog's parser of structured data, by element and parameter.
PLACES = {
    name: f"{element}!{name}"
    for element, names in {
        "stead@32473": (
            "number id event eventId outcome userSid user serverSid server "
            "correlation part"
        ),
        "meta": "sequenceId",
    }.items()
    for name in names.split()
}


def make_record(**changes) -> AuditRecord:
    fields = {
        "event": AuditEvent.OBJECT_ACCESS,
        "outcome": Outcome.SUCCESS,
        "time": 1_763_835_421_123_456_789,
        "server": SERVER,
        "client": ALICE,
        "chain": (SERVER, ALICE),
        "object_type": "Doc",
        "object_name": "plan",
    }
    return AuditRecord(**{**fields, **changes})


def numbered(number: int, **changes) -> Numbered:
    return Numbered(number, make_record(**changes), number.to_bytes(32, "big"))


def eventually(holds, seconds=60.0):
    end = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < end, "it never happens"
        time.sleep(0.02)
    return found


class Authority:
    """Signs certificates for one test."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.certificate = self._signed(self.name, self.key.public_key(), None)
        self.file = folder / f"{name}.pem"
        self.file.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))

    def issue(self, name: str) -> tuple[Path, Path]:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        made = self._signed(subject, key.public_key(), name)
        cert, private = (self.folder / f"{name}.{end}" for end in ("crt", "key"))
        cert.write_bytes(made.public_bytes(serialization.Encoding.PEM))
        private.touch(0o600)
        private.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return cert, private

    def _signed(self, subject, key, host):
        now = dt.datetime.now(dt.UTC)
        day = dt.timedelta(days=1)
        made = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - day)
            .not_valid_after(now + day)
            .add_extension(x509.BasicConstraints(host is None, None), critical=True)
        )
        if host is not None:
            names = [x509.DNSName(host)]
            if host == "localhost":
                names.append(x509.IPAddress(ipaddress.ip_address("127.0.0.1")))
            usage = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
            made = made.add_extension(
                x509.SubjectAlternativeName(names), critical=False
            ).add_extension(x509.ExtendedKeyUsage(usage), critical=False)
        return made.sign(self.key, hashes.SHA256())


class Rsyslog:
    """A private rsyslogd that writes what it reads to a file, at once."""

    def __init__(self, folder: Path, authority: Authority, certificate) -> None:
        self.folder = folder
        self.port = free_port()
        self.starts = 0
        self.certificate, self.key = certificate
        self.authority = authority
        self.process: subprocess.Popen | None = None

    def start(self) -> Rsyslog:
        # A file for each life: a kill may cut off the last line of one.
        self.starts += 1
        config = self.folder / "rsyslog.conf"
        # Direct: what its TLS has read is in the file before it reads on.
        properties = "\n".join(
            f'  property(outname="sd_{key.lower()}" format="jsonf"'
            f' name="$!rfc5424-sd!{place}")'
            for key, place in PLACES.items()
        )
        config.write_text(f"""
global(workDirectory="{self.folder}" maxMessageSize="64k"
  defaultNetstreamDriver="ossl"
  defaultNetstreamDriverCAFile="{self.authority.file}"
  defaultNetstreamDriverCertFile="{self.certificate}"
  defaultNetstreamDriverKeyFile="{self.key}")
main_queue(queue.type="Direct")
module(load="mmpstrucdata")
module(load="imtcp" streamDriver.name="ossl" streamDriver.mode="1"
  streamDriver.authMode="anon")
input(type="imtcp" port="{self.port}" address="127.0.0.1" ruleset="keep")
template(name="line" type="list" option.jsonf="on") {{
  property(outname="pri" name="pri" format="jsonf")
  property(outname="time" name="timereported" dateFormat="rfc3339" format="jsonf")
  property(outname="host" name="hostname" format="jsonf")
  property(outname="program" name="app-name" format="jsonf")
  property(outname="event" name="msgid" format="jsonf")
{properties}
  property(outname="message" name="msg" format="jsonf")
}}
ruleset(name="keep" queue.type="Direct") {{
  action(type="mmpstrucdata" sd_name.lowercase="off")
  action(type="omfile" file="{self.folder}/out.{self.starts}" template="line"
    flushOnTXEnd="on" asyncWriting="off")
}}
""")
        self.process = subprocess.Popen(
            [RSYSLOGD, "-n", "-f", config, "-i", self.folder / "pid"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        eventually(self._listens)
        return self

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def received(self) -> list[dict]:
        """Return the messages it wrote, and not what a kill cut off."""
        files = sorted(self.folder.glob("out.*"), key=lambda path: int(path.suffix[1:]))
        lines = [line for file in files for line in file.read_bytes().split(b"\n")[:-1]]
        found = [json.loads(line) for line in lines]
        for message in found:
            data = {key: message.pop(f"sd_{key.lower()}", "") for key in PLACES}
            message["data"] = {key: text for key, text in data.items() if text}
        return found

    def _listens(self) -> bool:
        assert self.process.poll() is None, "rsyslogd has ended"
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


@pytest.fixture(scope="session")
def certificates():
    made = Path(tempfile.mkdtemp(prefix="stead-sinks-"))
    yield made
    shutil.rmtree(made)


@pytest.fixture(scope="session")
def authority(certificates):
    return Authority(certificates, "authority")


@pytest.fixture(scope="session")
def certificate(authority):
    return authority.issue("localhost")


@pytest.fixture(scope="session")
def stranger(certificates):
    """Give an authority that nobody trusts."""
    return Authority(certificates, "stranger")


@pytest.fixture
def trusting(authority):
    return tls_context(authority.file)


@pytest.fixture
def rsyslog(tmp_path, authority, certificate):
    made = Rsyslog(tmp_path, authority, certificate)
    yield made.start()
    made.kill()
