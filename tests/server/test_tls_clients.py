"""Clients of other machines, from the handshake to the trail."""

import asyncio
import hashlib
import hmac
import threading
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from cryptography import x509

from stead.adapters.certificates import CertificateIssuer, Certificates
from stead.authority.issuers import Issuer
from stead.authority.lockout import LockoutPolicy
from stead.authority.packages import Authenticated, Step
from stead.errors import (
    EvidenceRefusedError,
    LogonFailureError,
    RemoteError,
    WrongServerError,
)
from stead.gates.pipe.async_client import AsyncPipeClient
from stead.gates.pipe.messages import Challenge, Hello, Response, Welcome
from stead.gates.pipe.reaching import TlsServer
from stead.gates.pipe.tls import TlsIdentity
from stead.gates.pipe.tls_gate import NETWORK_LIMITS, TlsClients, TlsGate
from stead.ledger.query import Query
from stead.model.audit_record import AuditEvent
from stead.model.quality_of_service import Tracking
from stead.model.token import ImpersonationLevel
from stead.testing.certificates import SERVER, Authority, upn

KEY = b"alice's key"
QUICK = LockoutPolicy(threshold=3, first_delay=0.001, longest_delay=0.01)


class SharedKey:
    """A package: whoever knows alice's key answers a challenge by HMAC."""

    name = "shared-key"

    def begin(self, binding):
        self.binding = binding
        return self

    def step(self, blob):
        if not blob:
            return Step(b"challenge")
        if not hmac.compare_digest(blob, answer(b"challenge", self.binding)):
            raise EvidenceRefusedError("the answer is wrong")
        is_bound = self.binding is not None
        client = Authenticated(
            package=self.name, issuer="corp", name="alice", is_bound=is_bound
        )
        return Step(answer(b"server", self.binding), client)

    def close(self):
        pass


class KnowsKey:
    """The client's side of it, which has the server prove itself, too."""

    name = "shared-key"

    def __init__(self, key=KEY, *, is_bound=True):
        self.key = key
        self.is_bound = is_bound
        self.channel = None

    def begin(self, binding, host):
        self.channel = binding if self.is_bound else None
        return self

    def step(self, challenge):
        return answer(challenge, self.channel, self.key) if challenge else b""

    def finish(self, last):
        if last != answer(b"server", self.channel, self.key):
            raise WrongServerError("the server does not know the key")

    def close(self):
        pass


def answer(challenge, binding=None, key=KEY):
    channel = b"" if binding is None else binding.data
    return hmac.new(key, challenge + channel, hashlib.sha256).digest()


class Stage:
    """A server with a TLS gate, an authority of its clients, and alice's account."""

    def __init__(self, folder, open_server, **settings):
        self.folder = folder
        self.corp, self.server_ca = Authority("Corp CA"), Authority("Server CA")
        self.issuer = CertificateIssuer(
            name="corp",
            anchors=self.corp.anchor(folder / "corp.pem"),
            domain="corp.test",
            revocations=folder / "corp.crl",
        )
        (folder / "corp.crl").write_bytes(self.corp.revoke())
        believed = Issuer("corp", names_accounts=True)
        self.server = open_server(
            issuers=[believed], packages=[SharedKey()], lockout=QUICK, **settings
        )
        self.server.accounts.add("alice")

        @self.server.operation("me")
        def me(client):
            return [client.name, sorted(str(g.sid) for g in client.token.groups)]

    def leaf(self, name="alice", **more):
        signed = self.corp.issue(name, upn(f"{name}@corp.test"), **more)
        return signed, TlsIdentity(signed.write(self.folder / f"{name}.pem"))

    def shown(self, host):
        signed = self.server_ca.issue(host, x509.DNSName(host), use=(SERVER,))
        return TlsIdentity(signed.write(self.folder / f"{host}.pem"))

    def trust(self, **more):
        ca = self.server_ca.anchor(self.folder / "ca.pem")
        return TlsServer(**{"ca": ca, "name": "notes.test", **more})

    @asynccontextmanager
    async def open(self, *, unbound=(), **limits):
        gate = TlsGate(
            "127.0.0.1",
            0,
            self.shown("notes.test"),
            clients=TlsClients(Certificates([self.issuer]), unbound_packages=unbound),
            limits=replace(NETWORK_LIMITS, **limits),
            turned_away=self.server.reception.turned_away,
        )
        self.gate = gate
        await gate.start(self.server.reception.admit)
        try:
            yield f"tls://127.0.0.1:{gate.port}"
        finally:
            await gate.stop(grace=1.0)

    def records(self, event):
        return [record for _, record in self.server.trail.find(Query(event=event))]


@pytest.fixture
def stage(tmp_path, open_server):
    return Stage(tmp_path, open_server)


def running(scenario):
    asyncio.run(asyncio.wait_for(scenario(), 60))


def test_a_certificate_brings_a_session_and_the_trail_says_whose(stage):
    signed, shown = stage.leaf()

    async def scenario():
        async with (
            stage.open() as url,
            await AsyncPipeClient.connect(
                url,
                tls=stage.trust(shown=shown),
                level=ImpersonationLevel.IDENTIFICATION,
                correlation="job-7",
            ) as server,
        ):
            assert "alice" == server.account
            assert ImpersonationLevel.IDENTIFICATION is server.level
            name, groups = await server.call("me")
            assert "alice" == name
            assert "S-1-18-1" in groups  # its authority asserts who it is

    running(scenario)
    entry = stage.records(AuditEvent.LOGON)[-1]
    assert ("tls", "corp") == (entry.gate, entry.detail["issuer"])
    assert entry.correlation.endswith(" job-7")
    assert entry.peer.startswith("127.0.0.1:")
    assert f"{signed.certificate.serial_number:x}" == entry.detail["serial"]


def test_who_is_refused_hears_one_thing_and_the_trail_has_the_cause(stage):
    signed, revoked = stage.leaf()
    _, unknown = stage.leaf("carol")
    twice = stage.corp.issue("x", upn("alice@corp.test"), upn("alice@corp.test"))
    two = TlsIdentity(twice.write(stage.folder / "two.pem"))
    (stage.folder / "corp.crl").write_bytes(
        stage.corp.revoke(signed.certificate.serial_number)
    )

    async def scenario():
        heard = set()
        async with stage.open() as url:
            for more in (
                {"shown": revoked},
                {"shown": unknown},
                {"shown": two},
                {},
                {"package": KnowsKey(b"wrong")},
                {"package": Unheard()},
            ):
                with pytest.raises(RemoteError) as caught:
                    await AsyncPipeClient.connect(url, tls=stage.trust(**more))
                heard.add((str(caught.value), caught.value.remote_status))
        assert 1 == len(heard)

    running(scenario)
    failed = stage.records(AuditEvent.LOGON_FAILED)
    causes = [reason for entry in failed for reason in entry.reasons]
    for cause in (
        "is revoked",
        "carol",
        "2 names of kind",
        "neither a certificate",
        "the answer is wrong",
        "takes no `unheard`",
    ):
        assert any(cause in told for told in causes), (cause, causes)


def test_whom_the_handshake_turns_away_is_told_in_aggregate_with_the_reason(stage):
    evil = Authority("Corp CA").issue("alice", upn("alice@corp.test"))
    forged = TlsIdentity(evil.write(stage.folder / "evil.pem"))

    async def scenario():
        async with stage.open() as url:
            for _ in range(3):
                with pytest.raises(LogonFailureError):
                    await AsyncPipeClient.connect(url, tls=stage.trust(shown=forged))

    running(scenario)
    (told,) = stage.records(AuditEvent.CLIENTS_TURNED_AWAY)
    assert "3" == told.detail["count"]
    assert "the certificate is not believed" in told.detail["last"]
    assert [] == stage.records(AuditEvent.LOGON_FAILED)


class Unheard(KnowsKey):
    name = "unheard"


def test_an_exchange_brings_a_session_and_each_end_proves_itself(stage):
    async def scenario():
        async with (
            stage.open() as url,
            await AsyncPipeClient.connect(
                url, tls=stage.trust(package=KnowsKey()), tracking=Tracking.DYNAMIC
            ) as server,
        ):
            assert "alice" == (await server.call("me"))[0]
            # What it showed cannot be looked at again.
            assert Tracking.STATIC is server.quality_of_service.tracking

    running(scenario)
    assert "shared-key" == stage.records(AuditEvent.LOGON)[-1].detail["package"]


def test_a_client_that_is_followed_is_looked_at_again(stage):
    signed, shown = stage.leaf()

    async def scenario():
        async with (
            stage.open() as url,
            await AsyncPipeClient.connect(
                url, tls=stage.trust(shown=shown), tracking=Tracking.DYNAMIC
            ) as server,
        ):
            before = (await server.call("me"))[1]
            stage.server.accounts.add_group("Staff")
            stage.server.accounts.add_member("Staff", "alice")
            assert len(before) + 1 == len((await server.call("me"))[1])
            (stage.folder / "corp.crl").write_bytes(
                stage.corp.revoke(signed.certificate.serial_number)
            )
            stage.server.accounts.add_group("Board")
            stage.server.accounts.add_member("Board", "alice")
            with pytest.raises(RemoteError) as caught:
                await server.call("me")
            assert 1326 == caught.value.remote_status

    running(scenario)


def test_what_a_client_showed_elsewhere_is_not_passed_on(stage):
    """Mallory is a real server of the network, and passes on what alice says to her.

    Where an exchange is not tied to its channel, the naive way, she is alice then.
    """

    async def scenario():
        async with stage.open(unbound=("shared-key",)) as url:
            assert "alice" == await relay(stage, url, is_bound=False)
        async with stage.open() as url:
            assert "refused" == await relay(stage, url, is_bound=True)
            assert "refused" == await relay(stage, url, is_bound=False)

    running(scenario)


async def relay(stage, url, *, is_bound):
    """Return whom the real server takes mallory for."""
    taken = asyncio.get_running_loop().create_future()
    mallory = Mallory(stage, url, taken)
    gate = TlsGate("127.0.0.1", 0, stage.shown("mallory.test"))
    await gate.start(mallory.admit)
    own = f"tls://127.0.0.1:{gate.port}"
    alice = stage.trust(name="mallory.test", package=KnowsKey(is_bound=is_bound))
    with pytest.raises((RemoteError, WrongServerError)):
        await AsyncPipeClient.connect(own, tls=alice)
    try:
        return await taken
    finally:
        await gate.stop(grace=0.1)


class Mallory:
    """Passes challenges and responses on, between alice and the real server."""

    def __init__(self, stage, url, taken):
        self.stage, self.url, self.taken = stage, url, taken

    async def admit(self, evidence, quality, correlation):
        passing = Passing(evidence.dialogue, asyncio.get_running_loop())
        try:
            server = await AsyncPipeClient.connect(
                self.url, tls=self.stage.trust(package=passing)
            )
        except RemoteError:
            self.taken.set_result("refused")
            raise
        self.taken.set_result(server.account)
        await server.close()
        raise EvidenceRefusedError("mallory has what she wants")


class Passing(KnowsKey):
    def __init__(self, dialogue, loop):
        super().__init__()
        self.dialogue, self.loop = dialogue, loop

    def step(self, challenge):
        asked = self.dialogue.ask(challenge)
        return asyncio.run_coroutine_threadsafe(asked, self.loop).result(60)

    def finish(self, last):
        pass


def test_failures_of_one_address_do_not_hold_the_threads_that_serve(stage):
    """Each failure is answered late; the naive way, on the threads that serve."""
    slow = LockoutPolicy(threshold=100, first_delay=2.0, longest_delay=2.0)
    authentication, over = stage.server._house.authentication, threading.Event()
    authentication._lockout = slow
    authentication._late._sleep = lambda _: over.wait(60)
    _, shown = stage.leaf()

    async def scenario():
        async with stage.open() as url:
            async with await AsyncPipeClient.connect(
                url, tls=stage.trust(shown=shown)
            ) as server:
                attacks = [
                    asyncio.create_task(
                        AsyncPipeClient.connect(
                            url, tls=stage.trust(package=KnowsKey(b"wrong"))
                        )
                    )
                    for _ in range(20)
                ]
                failures = Query(event=AuditEvent.LOGON_FAILED)
                while not [*stage.server.trail.find(failures)]:
                    assert "alice" == (await server.call("me"))[0]
                for _ in range(20):
                    assert "alice" == (await server.call("me"))[0]
                assert not any(each.done() for each in attacks)
            over.set()
            for attack in attacks:
                attack.cancel()
            await asyncio.gather(*attacks, return_exceptions=True)

    running(scenario)


def test_the_words_of_the_exchange_are_those_of_the_protocol():
    assert b"" == Challenge().blob
    assert {"package"} == {*Hello.__struct_fields__} - {
        "version", "level", "tracking", "effective_only", "correlation"
    }  # fmt: skip
    assert "blob" in Welcome.__struct_fields__
    assert ("blob",) == Response.__struct_fields__
