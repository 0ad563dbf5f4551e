"""SCRAM with the libraries of others: PostgreSQL's libpq, and scramp on either side."""

from __future__ import annotations

import ctypes
import hashlib
import socket
import ssl
import struct
import threading
from base64 import b64decode
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scramp import ScramClient as ForeignClient
from scramp import ScramMechanism
from scramp.core import ScramException
from tests.adapters.scram_stage import RIGHT, Stage
from tests.receivers import (  # noqa: F401 - fixtures are found by name
    authority,
    certificates,
)

from stead.adapters.scram_client import ScramClient
from stead.adapters.store import Store
from stead.authority.packages import ChannelBinding
from stead.codec import scram
from stead.errors import PasswordMismatchError, SteadError
from stead.model.scram_verifier import ScramVerifier
from stead.model.secret import Secret

BINDING = ChannelBinding("tls-server-end-point", b"digest of a certificate")


@pytest.fixture
def stage():
    with Store.open(":memory:") as opened:
        yield Stage(opened).furnish()


def foreign_client(name, secret, binding=None, mechanism="SCRAM-SHA-256"):
    bound = None if binding is None else (binding.kind, binding.data)
    return ForeignClient([mechanism], name, secret, channel_binding=bound)


@pytest.mark.parametrize("name", ["alice", "zoë", "a=b"])
@pytest.mark.parametrize("binding", [None, BINDING])
def test_a_foreign_client_is_let_in(stage, name, binding):
    known = name != "a=b"  # which no account can be called
    if name == "zoë":
        stage.add(name, "\u2168 tiger")
    secret = "\u2168 tiger" if name == "zoë" else RIGHT
    mechanism = "SCRAM-SHA-256" if binding is None else "SCRAM-SHA-256-PLUS"
    client = foreign_client(name, secret, binding, mechanism)
    exchange = stage.package.begin(binding)
    challenge = exchange.step(client.get_client_first().encode()).reply
    client.set_server_first(challenge.decode())
    answer = client.get_client_final().encode()
    if not known:
        with pytest.raises(SteadError):
            exchange.step(answer)
        return
    step = exchange.step(answer)
    client.set_server_final(step.reply.decode())  # raises if we prove nothing
    assert (name, binding is not None) == (step.client.name, step.client.is_bound)


def test_a_foreign_client_with_a_wrong_password_is_not(stage):
    client, exchange = foreign_client("alice", "lion"), stage.package.begin(None)
    challenge = exchange.step(client.get_client_first().encode()).reply
    client.set_server_first(challenge.decode())
    with pytest.raises(PasswordMismatchError):
        exchange.step(client.get_client_final().encode())


@pytest.mark.parametrize("binding", [None, BINDING])
def test_our_client_is_let_in_by_a_foreign_server(binding):
    mechanism = ScramMechanism(
        "SCRAM-SHA-256" if binding is None else "SCRAM-SHA-256-PLUS"
    )
    kept = mechanism.make_auth_info("tiger", iteration_count=4096)
    salt, stored, server, count = kept
    made = scram.make_verifier(b"tiger", salt, count)
    assert ScramVerifier(salt, count, stored, server) == made
    bound = None if binding is None else (binding.kind, binding.data)
    foreign = mechanism.make_server(lambda _name: kept, channel_binding=bound)
    client = ScramClient("alice", Secret("tiger"), binding)
    foreign.set_client_first(client.first().decode())
    answer = client.answer(foreign.get_server_first().encode())
    foreign.set_client_final(answer.decode())
    client.require_server(foreign.get_server_final().encode())


@settings(max_examples=60)
@given(message=st.text(st.sampled_from("npy=,rabc5DC2m\u00e9"), max_size=16))
def test_what_the_foreign_server_reads_is_what_we_read(message):
    """Ours may refuse more, and reads nothing that the other calls malformed."""
    foreign = ScramMechanism().make_server(lambda _name: None)
    try:
        foreign.set_client_first(message)
    except ScramException as error:
        is_read = "Unknown user" in str(error)
    try:
        ours = scram.read_client_first(message.encode())
    except SteadError:
        return
    # It refuses a flag that does not fit as malformed, and an empty name.
    assert is_read or ours.flag == "p" or not ours.name


# --- libpq ----------------------------------------------------------------------------


class LibPq:
    """PostgreSQL's client library, which knows SCRAM by itself."""

    def __init__(self):
        self.library = ctypes.CDLL("libpq.so.5")
        for name in ("PQconnectdb", "PQencryptPasswordConn"):
            getattr(self.library, name).restype = ctypes.c_void_p
        for name in ("PQerrorMessage", "PQparameterStatus"):
            getattr(self.library, name).restype = ctypes.c_char_p

    def connect(self, port, secret, more=""):
        text = (
            f"host=127.0.0.1 port={port} user=alice dbname=x password='{secret}' "
            f"gssencmode=disable connect_timeout=20 {more}"
        )
        return ctypes.c_void_p(self.library.PQconnectdb(text.encode()))

    def outcome(self, connection):
        said = self.library.PQerrorMessage(connection).decode()
        return "" if self.library.PQstatus(connection) == 0 else said

    def verifier(self, connection, secret):
        made = ctypes.c_void_p(
            self.library.PQencryptPasswordConn(
                connection, secret.encode(), b"alice", b"scram-sha-256"
            )
        )
        try:
            return ctypes.string_at(made.value).decode()
        finally:
            self.library.PQfreemem(made)

    def finish(self, connection):
        self.library.PQfinish(connection)


class Front:
    """Speaks just as much of PostgreSQL's protocol as authentication takes.

    Args:
        package: the SCRAM package behind it.
        context: of TLS; None for a plain channel.
        binding: what the server believes that its channel is.
    """

    def __init__(self, package, context=None, binding=None):
        self.package, self.context, self.binding = package, context, binding
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.let_in = []
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.thread.join(60)
        self.listener.close()

    def _serve(self):
        with suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                connection.settimeout(60)
                with suppress(OSError, SteadError, EOFError), connection:
                    self._begin(connection)

    def _begin(self, plain):
        _, code = struct.unpack("!II", self._take(plain, 8))
        if code != 80877103:  # SSLRequest
            self._talk(plain)
        elif self.context is not None:
            plain.sendall(b"S")
            with self.context.wrap_socket(plain, server_side=True) as channel:
                self._take(channel, 8)
                self._talk(channel)

    def _talk(self, channel):
        while self._take(channel, 1) != b"\0" or self._take(channel, 1) != b"\0":
            pass  # the start-up parameters, to the empty name at their end
        names = b"SCRAM-SHA-256\0\0"
        if self.binding is not None:
            names = b"SCRAM-SHA-256-PLUS\0" + names
        self._send(channel, b"R", struct.pack("!I", 10) + names)
        _, _, rest = self._message(channel).partition(b"\0")
        exchange = self.package.begin_for("alice", self.binding)
        try:
            self._send(
                channel, b"R", struct.pack("!I", 11) + exchange.step(rest[4:]).reply
            )
            step = exchange.step(self._message(channel))
        except SteadError:
            self._send(channel, b"E", b"SFATAL\0C28P01\0Mlogon failure\0\0")
            raise
        self.let_in.append(step.client)
        self._send(channel, b"R", struct.pack("!I", 12) + step.reply)
        self._send(channel, b"R", struct.pack("!I", 0))
        self._send(channel, b"S", b"server_version\x0015.0\0")
        self._send(channel, b"Z", b"I")
        with suppress(OSError):
            channel.recv(64)  # Terminate

    def _message(self, channel):
        self._take(channel, 1)
        (length,) = struct.unpack("!I", self._take(channel, 4))
        return self._take(channel, length - 4)

    @staticmethod
    def _take(channel, size):
        taken = b""
        while len(taken) < size:
            more = channel.recv(size - len(taken))
            if not more:
                raise EOFError
            taken += more
        return taken

    @staticmethod
    def _send(channel, kind, body):
        channel.sendall(kind + struct.pack("!I", len(body) + 4) + body)


@pytest.fixture
def front():
    opened = []

    def make(*arguments):
        opened.append(Front(*arguments))
        return opened[-1]

    yield make
    for each in opened:
        each.close()


@pytest.fixture
def pq():
    return LibPq()


@pytest.fixture
def tls(authority):  # noqa: F811 - a fixture
    """Give what makes a TLS server's context, and what its certificate binds to."""

    def make(name):
        certificate, key = authority.issue(name)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        der = ssl.PEM_cert_to_DER_cert(certificate.read_text())
        digest = hashlib.sha256(der).digest()  # it is signed with SHA-256 (RFC 5929 4)
        return context, ChannelBinding("tls-server-end-point", digest)

    return make


def test_libpq_is_let_in_with_the_right_password_alone(stage, front, pq):
    served = front(stage.package)
    for secret, is_right in ((RIGHT, True), ("lion", False)):
        connection = pq.connect(served.port, secret, "sslmode=disable")
        said = pq.outcome(connection)
        pq.finish(connection)
        assert is_right == (said == "")
        assert is_right or "logon failure" in said
    assert ["alice"] == [client.name for client in served.let_in]


def test_libpq_binds_to_the_certificate_that_it_sees(stage, front, pq, tls):
    context, binding = tls("server")
    served = front(stage.package, context, binding)
    more = "sslmode=require channel_binding=require"
    connection = pq.connect(served.port, RIGHT, more)
    assert "" == pq.outcome(connection)
    pq.finish(connection)
    # One that does not bind is refused, where the channel could.
    connection = pq.connect(
        served.port, RIGHT, "sslmode=require channel_binding=disable"
    )
    assert "logon failure" in pq.outcome(connection)
    pq.finish(connection)
    assert [True] == [client.is_bound for client in served.let_in]


class Relaying:
    """Whoever stands between: has a channel with either, and passes everything on."""

    def __init__(self, package, binding):
        self.package, self.binding, self.got = package, binding, []

    def begin_for(self, name, _own):
        attacker = self
        exchange = self.package.begin_for(name, self.binding)

        class Passing:
            def step(self, blob):
                step = exchange.step(blob)
                attacker.got.append(step.client)
                return step

        return Passing()


def test_whoever_stands_between_two_channels_is_nobody_to_a_bound_one(
    stage, front, pq, tls
):
    """Without a binding he is alice now; her certificate's check is switched off."""
    false_context, false_binding = tls("between")
    _, true_binding = tls("server")

    naive = Relaying(stage.package, None)
    between = front(naive, false_context)
    connection = pq.connect(between.port, RIGHT, "sslmode=require")
    assert "" == pq.outcome(connection)
    assert "alice" == naive.got[-1].name  # on the attacker's own channel

    bound = Relaying(stage.package, true_binding)
    between = front(bound, false_context, false_binding)
    refused = pq.connect(between.port, RIGHT, "sslmode=require channel_binding=require")
    assert "logon failure" in pq.outcome(refused)
    assert [None] == bound.got  # the challenge, and nothing after it
    for each in (connection, refused):
        pq.finish(each)


def test_what_postgresql_keeps_of_a_password_is_what_we_keep(stage, front, pq):
    served = front(stage.package)
    connection = pq.connect(served.port, RIGHT, "sslmode=disable")
    for secret in (RIGHT, "\u2168 tiger", "\U0001f642"):
        label, salted, keys = pq.verifier(connection, secret).split("$")
        count, salt = salted.split(":")
        stored, server = map(b64decode, keys.split(":"))
        made = scram.make_verifier(secret.encode(), b64decode(salt), int(count))
        assert "SCRAM-SHA-256" == label
        assert (stored, server) == (made.stored_key, made.server_key)
    pq.finish(connection)
