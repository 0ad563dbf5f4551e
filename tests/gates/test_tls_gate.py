"""The pipe over TLS: clients of other machines, good and wicked."""

import asyncio
import datetime as dt
import hashlib
import hmac
import os
import socket
import ssl
import time
from contextlib import asynccontextmanager, suppress

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding
from tests.gates.conftest import Desk, House

from stead.adapters.certificates import CertificateIssuer, Certificates
from stead.adapters.end_point import server_end_point
from stead.errors import (
    InvalidNameError,
    InvalidRequestError,
    LogonFailureError,
    PipeBusyError,
    RemoteError,
    RemoteProtocolError,
    RequestTimeoutError,
    ServerUnavailableError,
    UnsafeConfigurationError,
    WrongServerError,
)
from stead.gates.pipe.async_client import AsyncPipeClient
from stead.gates.pipe.client import PipeClient
from stead.gates.pipe.frames import write_frame
from stead.gates.pipe.limits import PipeLimits
from stead.gates.pipe.network_peer import Listening, NetworkLookout, NetworkPeer
from stead.gates.pipe.reaching import TlsServer
from stead.gates.pipe.tls import ALPN, TlsIdentity
from stead.gates.pipe.tls_gate import NETWORK_LIMITS, TlsClients, TlsGate
from stead.model.token import ImpersonationLevel
from stead.testing.certificates import SERVER, Authority, upn

HELLO = write_frame(b'{"type":"hello","version":1}', 4096)


class RemoteHouse(House):
    """Admits whoever shows a certificate that is believed, or echoes challenges."""

    async def admit(self, evidence, quality, correlation):
        name = "nobody"
        if evidence.package:
            said = b""
            for question in (b"", b"who?", b"sure?"):
                said = await evidence.dialogue.ask(question)
                if evidence.package == "liar":
                    raise LogonFailureError
            evidence.dialogue.conclude(b"welcome, " + said)
            name = said.decode()
        elif evidence.show is not None:
            name = evidence.show().name
        desk = RemoteDesk(self, evidence, quality, correlation)
        desk.name = name
        self.desks.append(desk)
        return desk


class RemoteDesk(Desk):
    name = ""

    @property
    def account(self):
        return self.name

    async def call(self, operation, arguments):
        return await getattr(self, f"do_{operation}")(dict(arguments))


@pytest.fixture(scope="module")
def corp():
    return Authority("Corp CA")


@pytest.fixture(scope="module")
def server_ca():
    return Authority("Server CA")


class Stage:
    """A gate at a free port of the loopback, and what its clients need."""

    def __init__(self, folder, corp, server_ca):
        self.folder, self.corp = folder, corp
        names = x509.DNSName("localhost"), x509.DNSName("notes.test")
        self.server = server_ca.issue("server", *names, use=(SERVER,))
        self.shown = TlsIdentity(self.server.write(folder / "server.pem"))
        self.ca = server_ca.anchor(folder / "ca.pem")
        issuer = CertificateIssuer(
            name="corp", anchors=corp.anchor(folder / "corp.pem")
        )
        self.certificates = Certificates([issuer])

    def alice(self, name="alice", authority=None, **more):
        signed = (authority or self.corp).issue(name, upn(f"{name}@corp.test"), **more)
        return TlsIdentity(signed.write(self.folder / f"{name}.pem"))

    def trust(self, **more):
        return TlsServer(**{"ca": self.ca, **more})

    @asynccontextmanager
    async def open(self, *, demanded=False, shown=None, **limits):
        house = RemoteHouse()
        bounds = {name: getattr(NETWORK_LIMITS, name) for name in PipeLimits.__slots__}
        gate = TlsGate(
            "127.0.0.1",
            0,
            shown or self.shown,
            clients=TlsClients(self.certificates, is_demanded=demanded),
            name="desk",
            limits=PipeLimits(**{**bounds, **limits}),
            turned_away=lambda count, last: house.turned_away.append((count, last)),
        )
        await gate.start(house.admit)
        self.port = gate.port
        self.url = f"tls://localhost:{gate.port}"
        try:
            yield gate, house
        finally:
            house.gate_open.set()
            await gate.stop(grace=1.0)

    async def both(self, **options):
        """Connect once with each client; return what each is told about itself."""
        async with await AsyncPipeClient.connect(self.url, **options) as one:
            asked = await one.call("echo", a=1), one.account, one.level

        def connect():
            with PipeClient.connect(self.url, **options) as other:
                return other.call("echo", a=1), other.account, other.level

        assert asked == await asyncio.to_thread(connect)
        return asked


@pytest.fixture
def stage(tmp_path, corp, server_ca):
    return Stage(tmp_path, corp, server_ca)


def running(scenario):
    asyncio.run(asyncio.wait_for(scenario(), 60))


def test_a_client_is_known_by_its_certificate_and_states_its_level(stage):
    async def scenario():
        async with stage.open(demanded=True) as (gate, house):
            found = await stage.both(
                tls=stage.trust(shown=stage.alice()),
                level=ImpersonationLevel.IDENTIFICATION,
                correlation="job-7",
            )
            known = "alice@corp.test", ImpersonationLevel.IDENTIFICATION
            assert ({"a": 1}, *known) == found
            assert ["job-7", "job-7"] == [desk.correlation for desk in house.desks]
            first = house.desks[0].evidence.peer
            assert f"127.0.0.1:{first.port}" == first.describe()
            await house.until(lambda: gate.clients == 0)
            assert all(desk.is_closed for desk in house.desks)

    running(scenario)


def test_answers_larger_than_any_buffer_arrive_whole(stage):
    async def scenario():
        async with stage.open() as (_, house):
            tls = stage.trust(shown=stage.alice())
            async with await AsyncPipeClient.connect(stage.url, tls=tls) as server:
                calls = (server.call("large"), server.call("file"), server.call("wait"))
                waiting = asyncio.gather(*calls)
                text = "x" * 500_000
                assert {"a": text} == await server.call("echo", a=text)
                house.gate_open.set()
                assert ["x" * 700_000, b"\x00\xff content", {}] == await waiting

    running(scenario)


def test_without_a_certificate_a_client_is_nobody_or_refused_in_the_handshake(stage):
    async def scenario():
        async with stage.open():
            assert "nobody" == (await stage.both(tls=stage.trust()))[1]
        async with stage.open(demanded=True) as (gate, house):
            for connect in (AsyncPipeClient.connect, _in_thread):
                with pytest.raises(LogonFailureError) as caught:
                    await connect(stage.url, tls=stage.trust())
                assert "certificate required" in caught.value.advice
            await house.until(lambda: gate.clients == 0)
            assert [] == house.desks
        told = [last for _, last in house.turned_away]
        assert "did not return a certificate" in told[-1]

    running(scenario)


def _in_thread(*arguments, **options):
    return asyncio.to_thread(PipeClient.connect, *arguments, **options)


@pytest.mark.parametrize("naive", [True, False])
def test_a_certificate_of_an_authority_that_the_machine_trusts_lets_nobody_in(
    stage, naive, monkeypatch
):
    """The naive server trusts whom the system trusts; ours, issuers that are named."""
    evil = Authority("Corp CA")
    system = stage.folder / "system.pem"
    system.write_bytes(evil.own.pem + stage.corp.own.pem)
    forged = stage.alice("alice", evil)

    async def scenario():
        if naive:
            assert "alice" == await _naive_server(stage, system, forged)
            return
        monkeypatch.setenv("SSL_CERT_FILE", str(system))
        async with stage.open() as (gate, house):
            for connect in (AsyncPipeClient.connect, _in_thread):
                with pytest.raises(LogonFailureError):
                    await connect(stage.url, tls=stage.trust(shown=forged))
            await house.until(lambda: gate.clients == 0)
            assert [] == house.desks

    running(scenario)


async def _naive_server(stage, system, shown):
    """Return whom a server takes a client for by the common name, as many do."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=system)
    context.verify_mode = ssl.CERT_REQUIRED
    stage.shown.load(context)
    seen = asyncio.get_running_loop().create_future()

    async def greet(reader, writer):
        subject = dict(pair for (pair,) in writer.get_extra_info("peercert")["subject"])
        seen.set_result(subject["commonName"])
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0, ssl=context)
    mine = ssl.create_default_context(cafile=stage.ca)
    shown.load(mine)
    _, writer = await asyncio.open_connection(
        *server.sockets[0].getsockname(), ssl=mine, server_hostname="localhost"
    )
    try:
        return await seen
    finally:
        writer.close()
        server.close()


def test_two_authorities_of_one_name_are_two_issuers_to_the_handshake(stage, tmp_path):
    twin = Authority("Corp CA")
    near = Authority("Near CA", stage.corp)  # an anchor below another one
    stage.certificates = Certificates(
        [
            CertificateIssuer(name=name, anchors=one.anchor(tmp_path / f"{name}.pem"))
            for name, one in (("corp", stage.corp), ("twin", twin), ("near", near))
        ]
    )
    between = Authority("Between", twin)

    async def scenario():
        async with stage.open() as (_, house):
            for authority in (stage.corp, twin, between, near):
                await stage.both(tls=stage.trust(shown=stage.alice("alice", authority)))
            issuers = [desk.evidence.show().issuer for desk in house.desks]
            found = ["corp", "twin", "twin", "near"]
            assert [name for name in found for _ in range(2)] == issuers

    running(scenario)


# --- which server ---------------------------------------------------------------------


def test_a_server_that_is_not_whom_the_client_means_learns_nothing(stage):
    other = Authority("Other CA").anchor(stage.folder / "other.pem")

    async def scenario():
        async with stage.open() as (gate, house):
            for options in (
                {"tls": stage.trust(name="files.test")},
                {"tls": TlsServer(ca=other)},
                {"tls": TlsServer()},
            ):
                for connect in (AsyncPipeClient.connect, _in_thread):
                    with pytest.raises(WrongServerError):
                        await connect(stage.url, **options)
            url = f"tls://127.0.0.1:{stage.port}"
            with pytest.raises(WrongServerError):
                await AsyncPipeClient.connect(url, tls=stage.trust())
            tls = stage.trust(name="notes.test")
            async with await AsyncPipeClient.connect(url, tls=tls) as server:
                assert "nobody" == server.account
            await house.until(lambda: gate.clients == 0)
            assert 1 == len(house.desks)

    running(scenario)


def test_a_server_of_another_protocol_is_left(stage):
    async def scenario():
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        stage.shown.load(context)
        server = await asyncio.start_server(
            lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=context
        )
        port = server.sockets[0].getsockname()[1]
        for connect in (AsyncPipeClient.connect, _in_thread):
            with pytest.raises(ServerUnavailableError, match="something else"):
                await connect(f"tls://localhost:{port}", tls=stage.trust())
        server.close()
        with pytest.raises(ServerUnavailableError, match="no server answers"):
            await AsyncPipeClient.connect(f"tls://localhost:{port}", tls=stage.trust())

    running(scenario)


@pytest.mark.parametrize(
    "address",
    ["tls://", "tls://localhost", "tls://localhost:x", "tls://a@b:1", "tls://b:1/x",
     "tls://b:1?x", "tls://[::1:7", "tls://b:0", "tls://b:70000", "tls://b\0:1"],
)  # fmt: skip
def test_what_is_no_address_is_refused(address):
    with pytest.raises(InvalidNameError, match="tls://host:port"):
        PipeClient.connect(address)


def test_what_is_about_the_other_kind_of_pipe_is_refused(stage):
    with pytest.raises(InvalidRequestError, match="other machines"):
        PipeClient.connect("/run/pipe", tls=TlsServer())
    with pytest.raises(InvalidRequestError, match="local pipes"):
        PipeClient.connect("tls://localhost:1", server_uid=0)
    with pytest.raises(InvalidRequestError, match="not by both"):
        TlsServer(shown=stage.shown, package=Echo())


# --- the handshake and strangers ------------------------------------------------------


async def raw(stage):
    loop = asyncio.get_running_loop()
    made = socket.socket()
    made.settimeout(0.0)
    await loop.sock_connect(made, ("127.0.0.1", stage.port))
    return made


async def ended(made):
    """Read until the server closes; return how much it said."""
    loop, size = asyncio.get_running_loop(), 0
    async with asyncio.timeout(60):
        with suppress(ConnectionResetError):
            while data := await loop.sock_recv(made, 1 << 16):
                size += len(data)
    made.close()
    return size


@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        HELLO,
        bytes(64),
        b"\x16\x03\x01\xff\xff" + b"\x01" * 70_000,
        os.urandom(4096),
        b"\x16\x03\x01\x00\x05\x01\x00\x00\x01",
        b"",
    ],
)
def test_garbage_instead_of_a_handshake_ends_the_connection(stage, garbage):
    async def scenario():
        async with stage.open() as (gate, house):
            made = await raw(stage)
            with suppress(ConnectionError):
                await asyncio.get_running_loop().sock_sendall(made, garbage)
                made.shutdown(socket.SHUT_WR)
            assert 200 > await ended(made)
            await house.until(lambda: gate.clients == 0)
            assert [] == house.desks
            assert "nobody" == (await stage.both(tls=stage.trust()))[1]

    running(scenario)


def test_a_handshake_that_takes_its_time_is_broken_off(stage):
    """A byte now and then holds a thread of a naive server for as long as it likes."""

    async def scenario():
        async with stage.open(hello_seconds=0.5) as (gate, house):
            made = await raw(stage)
            loop = asyncio.get_running_loop()
            hello = ssl.MemoryBIO()
            ours = ssl.create_default_context(cafile=stage.ca)
            flight = ours.wrap_bio(ssl.MemoryBIO(), hello, server_hostname="localhost")
            with suppress(ssl.SSLWantReadError):
                flight.do_handshake()
            with suppress(ConnectionError):
                for byte in hello.read():
                    await loop.sock_sendall(made, bytes([byte]))
                    await asyncio.sleep(0.02)
                    if gate.clients == 0:
                        break
            assert 0 == await ended(made)
            await house.until(lambda: gate.clients == 0)
        assert "said no hello in time" in house.turned_away[-1][1]

    running(scenario)


async def handshake(stage, **more):
    context = ssl.create_default_context(cafile=stage.ca)
    context.set_alpn_protocols([more.get("alpn", ALPN)])
    if "at_most" in more:
        context.maximum_version = more["at_most"]
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", stage.port, ssl=context, server_hostname="localhost"
    )
    return reader, writer


def test_only_tls_1_3_and_this_protocol_are_spoken(stage):
    async def scenario():
        async with stage.open() as (gate, house):
            with pytest.raises((ssl.SSLError, ConnectionError)):
                await handshake(stage, at_most=ssl.TLSVersion.TLSv1_2)
            with suppress(ssl.SSLError, ConnectionError):
                reader, writer = await handshake(stage, alpn="h2")
                assert b"" == await reader.read()
                writer.close()
            await house.until(lambda: gate.clients == 0)
            reader, writer = await handshake(stage)
            made = writer.get_extra_info("ssl_object")
            assert "TLSv1.3" == made.version()
            writer.write(HELLO)
            assert b"welcome" in await reader.read(4096)
            # Nothing to resume by: a resumed client would not be verified anew.
            assert not made.session.has_ticket
            writer.close()

    running(scenario)


@pytest.mark.parametrize(
    "garbage",
    [b"\xff" * 64, write_frame(b"{}", 64), HELLO + HELLO, b"\x00\x00\x20\x00" + b"x"],
)
def test_garbage_within_tls_is_answered_by_a_goodbye(stage, garbage):
    async def scenario():
        async with stage.open() as (gate, house):
            reader, writer = await handshake(stage)
            writer.write(garbage)
            with suppress(ssl.SSLError):
                assert b"goodbye" in await reader.read()
            writer.close()
            await house.until(lambda: gate.clients == 0)
            assert [] == house.desks

    running(scenario)


def test_a_flood_of_silent_strangers_leaves_room_for_a_client(stage):
    async def scenario():
        async with stage.open(pending=4, clients=64, report_seconds=0.05) as (
            gate,
            house,
        ):
            flood = [await raw(stage) for _ in range(20)]
            assert "nobody" == (await stage.both(tls=stage.trust()))[1]
            assert 4 >= gate.clients
            for made in flood:
                made.close()
            await house.until(lambda: gate.clients == 0 and house.turned_away)
        assert 16 <= sum(count for count, _ in house.turned_away)

    running(scenario)


def test_strangers_whose_handshakes_are_slow_do_not_hold_the_door(stage, monkeypatch):
    """Who makes room is gone at once, not after all that was to be computed for it.

    So many as are leaving may still be there, no more: a flood that waited for its turn
    to be computed had every client refused.
    """
    slow, computed = ssl.SSLObject.do_handshake, []

    def do_handshake(self):
        if self.server_side:
            computed.append(self)
            time.sleep(0.05)
        slow(self)

    monkeypatch.setattr(ssl.SSLObject, "do_handshake", do_handshake)

    async def scenario():
        async with stage.open(pending=4, clients=64) as (gate, house):
            silent = [await raw(stage) for _ in range(4)]
            await house.until(lambda: gate.clients == 4)
            assert [] == computed  # silence costs nothing
            speaking = [await raw(stage) for _ in range(20)]
            for made in speaking:
                made.send(client_hello())
            assert "nobody" == (await stage.both(tls=stage.trust()))[1]
            for made in silent + speaking:
                made.close()

    running(scenario)


def client_hello():
    said = ssl.MemoryBIO()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_alpn_protocols([ALPN])
    made = context.wrap_bio(ssl.MemoryBIO(), said, server_hostname="localhost")
    with suppress(ssl.SSLWantReadError):
        made.do_handshake()
    return said.read()


def test_one_address_has_its_bound_and_is_told_nothing(stage):
    async def scenario():
        async with stage.open(clients_per_uid=2) as (_, house):
            tls = stage.trust()
            async with (
                await AsyncPipeClient.connect(stage.url, tls=tls),
                await AsyncPipeClient.connect(stage.url, tls=tls),
            ):
                assert 0 == await ended(await raw(stage))
                with pytest.raises(ServerUnavailableError):
                    await AsyncPipeClient.connect(stage.url, tls=tls)
        assert "127.0.0.1:" in house.turned_away[-1][1]
        assert "too many connections" in house.turned_away[-1][1]

    running(scenario)


def test_addresses_of_one_site_count_as_one():
    def origin(address):
        return NetworkPeer(address, 1).origin

    assert origin("2001:db8::1") == origin("2001:db8::ffff:1")
    assert origin("2001:db8::1") != origin("2001:db8:0:1::1")
    assert origin("192.0.2.1") != origin("192.0.2.2")
    assert "[2001:db8::1]:7" == NetworkPeer("2001:db8::1", 7).describe()


# --- an exchange ----------------------------------------------------------------------


class Echo:
    """Shows its name, again and again."""

    def __init__(self, name="echo", says=b"alice", host=""):
        self.name = name
        self.says = says
        self.heard = []
        self.closed = 0

    def begin(self, binding, host):
        self.binding, self.host = binding, host
        return self

    def step(self, challenge):
        self.heard.append(challenge)
        return self.says

    def finish(self, last):
        self.heard.append(last)
        if last != b"welcome, alice":
            raise WrongServerError("it proves nothing")

    def close(self):
        self.closed += 1


def test_a_client_is_authenticated_by_an_exchange_tied_to_the_channel(stage):
    async def scenario():
        async with stage.open() as (_, house):
            package = Echo()
            found = await stage.both(tls=stage.trust(package=package))
            assert "alice" == found[1]
            spoken = [b"", b"who?", b"sure?", b"welcome, alice"]
            assert spoken * 2 == package.heard
            assert 2 == package.closed
            assert "localhost" == package.host
            digest = stage.server.certificate.fingerprint(
                stage.server.certificate.signature_hash_algorithm
            )
            for binding in (package.binding, house.desks[0].evidence.binding):
                assert "tls-server-end-point" == binding.kind
                assert digest == binding.data

    running(scenario)


def test_an_exchange_that_fails_is_a_refusal_and_one_that_proves_nothing_an_end(stage):
    async def scenario():
        async with stage.open() as (gate, house):
            for connect in (AsyncPipeClient.connect, _in_thread):
                with pytest.raises(RemoteError) as caught:
                    await connect(stage.url, tls=stage.trust(package=Echo("liar")))
                assert 1326 == caught.value.remote_status
                with pytest.raises(WrongServerError, match="proves nothing"):
                    await connect(stage.url, tls=stage.trust(package=Echo(says=b"bob")))
            await house.until(lambda: gate.clients == 0)
            assert all(desk.is_closed for desk in house.desks)

    running(scenario)


def test_a_client_that_shows_a_certificate_asks_for_no_exchange(stage):
    async def scenario():
        async with stage.open() as (gate, house):
            context = ssl.create_default_context(cafile=stage.ca)
            context.set_alpn_protocols([ALPN])
            stage.alice().load(context)
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", stage.port, ssl=context, server_hostname="localhost"
            )
            hello = b'{"type":"hello","version":1,"package":"echo"}'
            writer.write(write_frame(hello, 4096))
            with suppress(ssl.SSLError):
                assert b"goodbye" in await reader.read()
            writer.close()
            await house.until(lambda: gate.clients == 0)
            assert [] == house.desks

    running(scenario)


ASKING = write_frame(b'{"type":"hello","version":1,"package":"echo"}', 4096)
RESPONSE = write_frame(b'{"type":"response","blob":"YWxpY2U="}', 4096)


@pytest.mark.parametrize(
    "said",
    [
        ASKING + RESPONSE,
        ASKING + write_frame(b'{"type":"request","id":1,"operation":"echo"}', 4096),
        RESPONSE,
        HELLO + RESPONSE,
        write_frame(b'{"type":"hello","version":1,"package":"a b"}', 4096),
    ],
)
def test_an_exchange_out_of_order_ends_the_connection(stage, said):
    async def scenario():
        async with stage.open() as (gate, house):
            reader, writer = await handshake(stage)
            writer.write(said)
            with suppress(ssl.SSLError):
                assert b"goodbye" in await reader.read()
            writer.close()
            await house.until(lambda: gate.clients == 0)
            assert [] == [desk for desk in house.desks if not desk.is_closed]

    running(scenario)


def test_a_client_that_does_not_respond_is_turned_away_and_makes_room(stage):
    async def scenario():
        async with stage.open(hello_seconds=2.0) as (gate, house):
            _, writer = await handshake(stage)
            writer.write(ASKING)
            await house.until(lambda: gate.clients == 0)
            writer.close()
        async with stage.open(pending=1) as (gate, house):
            _, writer = await handshake(stage)
            writer.write(ASKING)
            await house.until(lambda: next(iter(gate._door.visits.values())).is_idle)
            assert "nobody" == (await stage.both(tls=stage.trust()))[1]
            writer.close()
            await house.until(lambda: gate.clients == 0)

    running(scenario)


@pytest.mark.parametrize("say", [b"", HELLO])
def test_new_keys_without_end_are_no_conversation(stage, say):
    """Each takes the computing of thousands of bytes, on the loop that serves all.

    A naive server takes any number, from somebody who has not said who it is.
    """
    naive = Renewing(stage)
    server = naive.wrapped(stage)
    server[0].write(naive.new_keys(2000))
    with pytest.raises(ssl.SSLWantReadError):
        server[2].read(1)
    assert 0 == server[0].pending

    async def scenario():
        async with stage.open() as (gate, house):
            wicked, made = Renewing(stage), await raw(stage)
            loop = asyncio.get_running_loop()
            await wicked.agree(made)
            handed_on = []
            (visit,) = gate._door.visits.values()
            incoming = visit._channel._incoming
            visit._channel._incoming = Counted(incoming, handed_on)
            with suppress(ConnectionError):
                await loop.sock_sendall(made, wicked.record(23, say) if say else b"")
                await loop.sock_sendall(made, wicked.new_keys(2000))
            await ended(made)
            await house.until(lambda: gate.clients == 0)
            # Those that came with the last of the handshake are not counted.
            assert 60 * len(wicked.new_keys(1)) > sum(handed_on)
            assert "nobody" == (await stage.both(tls=stage.trust()))[1]

    running(scenario)


def test_new_keys_now_and_then_end_no_conversation(stage):
    async def scenario():
        async with stage.open():
            client, made = Renewing(stage), await raw(stage)
            loop = asyncio.get_running_loop()
            await client.agree(made)
            await loop.sock_sendall(made, client.new_keys(1) + client.record(23, HELLO))
            assert b"welcome" in await client.read(made)
            for number in range(1, 40):
                asked = b'{"type":"request","id":%d,"operation":"echo"}' % number
                parts = [bytes([one]) for one in write_frame(asked, 4096)]
                said = client.new_keys(1)
                said += b"".join(client.record(23, part) for part in parts)
                await loop.sock_sendall(made, said)
                assert b'"id":%d' % number in await client.read(made)
            made.close()

    running(scenario)


class Counted:
    """A buffer that tells how much is written into it."""

    def __init__(self, buffer, sizes):
        self._buffer, self._sizes = buffer, sizes

    def write(self, data):
        self._sizes.append(len(data))
        return self._buffer.write(data)

    def __getattr__(self, name):
        return getattr(self._buffer, name)


class Renewing:
    """A client that makes its records itself (RFC 8446 5.2, 7.2, 7.3)."""

    def __init__(self, stage):
        context = ssl.create_default_context(cafile=stage.ca)
        context.set_alpn_protocols([ALPN])
        keys = stage.folder / f"keys {id(self)}"
        context.keylog_filename = str(keys)
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(
            self.incoming, self.outgoing, server_hostname="localhost"
        )
        self._keys, self._secret, self._number = keys, b"", 0

    def wrapped(self, stage):
        """Agree with a server of the standard library's."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(stage.folder / "server.pem")
        context.set_alpn_protocols([ALPN])
        heard, said = ssl.MemoryBIO(), ssl.MemoryBIO()
        server = context.wrap_bio(heard, said, server_side=True)
        for _ in range(2):
            for one in (self.tls, server):
                with suppress(ssl.SSLWantReadError):
                    one.do_handshake()
                heard.write(self.outgoing.read())
                self.incoming.write(said.read())
        self._take_secret()
        return heard, said, server

    async def agree(self, made):
        """Agree with whoever is there."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                await loop.sock_sendall(made, self.outgoing.read())
                self.incoming.write(await loop.sock_recv(made, 1 << 16))
            else:
                break
        await loop.sock_sendall(made, self.outgoing.read())
        self._take_secret()

    async def read(self, made):
        """Return what the server says next."""
        while True:
            try:
                return self.tls.read(1 << 16)
            except ssl.SSLWantReadError:
                loop = asyncio.get_running_loop()
                said = await loop.sock_recv(made, 1 << 16)
                assert said, "the server is gone"
                self.incoming.write(said)

    def _take_secret(self):
        assert "TLS_AES_256_GCM_SHA384" == self.tls.cipher()[0]
        (line,) = (
            line
            for line in self._keys.read_text().splitlines()
            if line.startswith("CLIENT_TRAFFIC_SECRET_0")
        )
        self._secret = bytes.fromhex(line.split()[2])

    def _expanded(self, label, size):
        label = b"tls13 " + label
        told = size.to_bytes(2, "big") + bytes([len(label)]) + label + b"\0\1"
        return hmac.digest(self._secret, told, "sha384")[:size]

    def record(self, kind, content):
        header = b"\x17\x03\x03" + (len(content) + 17).to_bytes(2, "big")
        mask = int.from_bytes(self._expanded(b"iv", 12), "big") ^ self._number
        self._number += 1
        sealing = AESGCM(self._expanded(b"key", 32))
        inner = content + bytes([kind])
        return header + sealing.encrypt(mask.to_bytes(12, "big"), inner, header)

    def new_keys(self, number):
        made = b""
        for _ in range(number):
            made += self.record(22, b"\x18\0\0\1\0")
            self._secret, self._number = self._expanded(b"traffic upd", 48), 0
        return made


# --- configuration --------------------------------------------------------------------


def test_a_key_that_others_may_read_and_files_that_are_none_are_refused(stage):
    async def scenario():
        key = stage.folder / "server.pem"
        key.chmod(0o644)
        with pytest.raises(UnsafeConfigurationError, match="private key"):
            async with stage.open():
                raise AssertionError
        key.chmod(0o600)
        (stage.folder / "none.pem").write_bytes(b"")
        (stage.folder / "none.pem").chmod(0o600)
        for path in ("none.pem", "nothing.pem"):
            with pytest.raises(InvalidRequestError, match="cannot be used"):
                async with stage.open(shown=TlsIdentity(stage.folder / path)):
                    raise AssertionError
            with pytest.raises(InvalidRequestError, match="cannot be used"):
                await AsyncPipeClient.connect(
                    "tls://localhost:1", tls=TlsServer(ca=stage.folder / path)
                )

    running(scenario)


def test_packages_that_cannot_be_bound_are_named_one_by_one():
    told = "kerberos-unbound"
    assert "kerberos" in told, "another package, in one text"
    with pytest.raises(InvalidRequestError, match="unbound_packages"):
        TlsClients(unbound_packages=told)


def test_demanding_certificates_of_nobody_is_refused(stage):
    gate = TlsGate("127.0.0.1", 0, stage.shown, clients=TlsClients(is_demanded=True))

    async def scenario():
        with pytest.raises(InvalidRequestError, match="no issuer is named"):
            await gate.start(RemoteHouse().admit)

    running(scenario)


def test_an_address_that_cannot_be_taken_is_an_error(stage):
    async def scenario():
        async with stage.open() as (gate, _):
            busy = TlsGate("127.0.0.1", gate.port, stage.shown)
            with pytest.raises(PipeBusyError, match="cannot be taken"):
                await busy.start(RemoteHouse().admit)
        for host in ("192.0.2.1", "no.such.host.invalid"):
            with pytest.raises(InvalidNameError, match="is no address"):
                await TlsGate(host, 0, stage.shown).start(RemoteHouse().admit)
        with pytest.raises(InvalidNameError):
            TlsGate("127.0.0.1", 70_000, stage.shown)

    running(scenario)


def test_a_server_that_says_nothing_is_given_up(stage):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"tls://localhost:{listening.getsockname()[1]}"
        with pytest.raises(RequestTimeoutError):
            PipeClient.connect(url, tls=stage.trust(), timeout=0.2)
        with pytest.raises(RequestTimeoutError):
            asyncio.run(AsyncPipeClient.connect(url, tls=stage.trust(), timeout=0.2))


def test_a_renewed_certificate_is_shown_from_the_next_handshake_on(
    stage, server_ca, caplog
):
    async def seen():
        package = Echo()
        tls = stage.trust(package=package)
        async with await AsyncPipeClient.connect(stage.url, tls=tls):
            return package.binding.data

    async def scenario():
        async with stage.open() as (_, house):
            before = await seen()
            assert before == await seen()
            names = x509.DNSName("localhost"), x509.DNSName("notes.test")
            renewed = server_ca.issue("again", *names, use=(SERVER,))
            renewed.write(stage.folder / "new.pem").replace(stage.folder / "server.pem")
            after = await seen()
            # Both ends are tied to the new one, or the exchange would fail.
            assert before != after == house.desks[-1].evidence.binding.data
            for content in (b"", None):
                path = stage.folder / "server.pem"
                path.unlink() if content is None else path.write_bytes(content)
                for _ in range(2):
                    assert after == await seen()
        assert 1 == caplog.text.count("is not used")

    running(scenario)


def test_a_gate_at_every_address_sees_one_client_as_one(stage):
    """A socket for both kinds of addresses writes those of IPv4 as IPv6's."""
    lookout = NetworkLookout()
    listening = Listening("", 0)
    listening.open()
    try:
        with socket.create_connection(("127.0.0.1", listening.port)):
            accepted, _ = listening.accept()
            with accepted:
                peer = lookout.peer(accepted, None)
                assert "127.0.0.1" == peer.address
                assert (peer.origin, peer.describe()) == lookout.origin(accepted)
    finally:
        listening.close()
        listening.close()
    assert -1 == listening.fileno()
    with pytest.raises(BlockingIOError):
        listening.accept()
    assert frozenset() == lookout.reserved


def test_what_has_no_address_of_the_network_is_refused():
    ours, theirs = socket.socketpair()
    with ours, theirs, pytest.raises(RemoteProtocolError, match="no address"):
        NetworkLookout().peer(ours, None)


@pytest.mark.parametrize(
    ("key", "digest", "expected"),
    [
        (lambda: ec.generate_private_key(ec.SECP384R1()), hashes.SHA384(), "sha384"),
        (lambda: ec.generate_private_key(ec.SECP256R1()), hashes.SHA512(), "sha512"),
        (ed25519.Ed25519PrivateKey.generate, None, "sha256"),
    ],
)
def test_both_ends_compute_one_binding(key, digest, expected):
    name, made = x509.Name([]), key()
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(made.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now)
        .sign(made, digest)
    )
    der = certificate.public_bytes(Encoding.DER)
    binding = server_end_point(der, is_between_ours=True)
    assert hashlib.new(expected, der).digest() == binding.data
    assert binding == server_end_point(
        certificate.public_bytes(Encoding.PEM).decode(), is_between_ours=True
    )
