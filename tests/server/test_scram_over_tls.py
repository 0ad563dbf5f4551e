"""A store's accounts log on from other machines by their passwords."""

import asyncio
from contextlib import asynccontextmanager

import pytest
from cryptography import x509

from stead.adapters.scram import Scram
from stead.authority.lockout import LockoutPolicy
from stead.errors import InvalidRequestError, RemoteError, SteadError
from stead.gates.pipe.async_client import AsyncPipeClient
from stead.gates.pipe.client import PipeClient
from stead.gates.pipe.reaching import TlsServer
from stead.gates.pipe.scram_password import ScramPassword
from stead.gates.pipe.tls import TlsIdentity
from stead.gates.pipe.tls_gate import TlsGate
from stead.ledger.query import Query
from stead.model.audit_record import AuditEvent
from stead.model.secret import Secret
from stead.testing.certificates import SERVER, Authority

QUICK = LockoutPolicy(threshold=10, first_delay=0.001, longest_delay=0.01)
RIGHT = "correct horse battery"


class Stage:
    def __init__(self, folder, open_server):
        self.folder = folder
        self.ca = Authority("Server CA")
        self.server = open_server(packages=[Scram(iterations=4096)], lockout=QUICK)
        self.server.accounts.add("alice")
        self.server.accounts.set_password("alice", Secret(RIGHT))

    @asynccontextmanager
    async def open(self, admit=None, host="notes.test"):
        signed = self.ca.issue(host, x509.DNSName(host), use=(SERVER,))
        gate = TlsGate(
            "127.0.0.1", 0, TlsIdentity(signed.write(self.folder / f"{host}.pem"))
        )
        await gate.start(admit or self.server.reception.admit)
        try:
            yield f"tls://127.0.0.1:{gate.port}"
        finally:
            await gate.stop(grace=1.0)

    def trust(self, package, host="notes.test"):
        ca = self.ca.anchor(self.folder / "ca.pem")
        return TlsServer(ca=ca, name=host, package=package)


@pytest.fixture
def stage(tmp_path, open_server):
    return Stage(tmp_path, open_server)


def scram(secret=RIGHT, name="alice"):
    return ScramPassword(name, Secret(secret))


def test_an_account_logs_on_by_its_password_which_the_server_never_sees(stage):
    async def scenario():
        async with stage.open() as url:
            tls = stage.trust(scram())
            async with await AsyncPipeClient.connect(url, tls=tls) as server:
                assert "alice" == server.account

            def blocking():
                with PipeClient.connect(url, tls=tls) as other:
                    return other.call("stead.whoami")["name"]

            assert "alice" == await asyncio.to_thread(blocking)

    asyncio.run(scenario())
    _, entry = list(stage.server.trail.find(Query(event=AuditEvent.LOGON)))[-1]
    assert ("tls", "scram-sha-256") == (entry.gate, entry.detail["package"])


@pytest.mark.parametrize(("name", "secret"), [("alice", "wrong"), ("carol", RIGHT)])
def test_a_wrong_password_and_a_wrong_name_are_one_refusal(stage, name, secret):
    async def scenario():
        async with stage.open() as url:
            with pytest.raises(RemoteError) as caught:
                await AsyncPipeClient.connect(url, tls=stage.trust(scram(secret, name)))
            assert 1326 == caught.value.remote_status

    asyncio.run(scenario())


def test_what_is_shown_to_one_server_is_of_no_use_at_another(stage):
    """Mallory has a certificate of her own, and passes every message on."""

    async def scenario():
        async with stage.open() as url:
            found = []

            async def admit(evidence, quality, correlation):
                passing = Passing(evidence.dialogue, asyncio.get_running_loop())
                try:
                    await AsyncPipeClient.connect(url, tls=stage.trust(passing))
                except SteadError as error:
                    found.append(type(error))
                    raise
                raise AssertionError("mallory is alice")

            async with stage.open(admit, "mallory.test") as own:
                tls = stage.trust(scram(), "mallory.test")
                with pytest.raises(RemoteError):
                    await AsyncPipeClient.connect(own, tls=tls)
            assert [RemoteError] == found

    asyncio.run(scenario())


class Passing:
    name = "scram-sha-256"

    def __init__(self, dialogue, loop):
        self.dialogue, self.loop = dialogue, loop

    def begin(self, binding, host):
        return self

    def step(self, challenge):
        asked = self.dialogue.ask(challenge)
        return asyncio.run_coroutine_threadsafe(asked, self.loop).result(20)

    def finish(self, last):
        pass

    def close(self):
        pass


def test_a_server_that_does_not_know_the_account_is_left(stage):
    """Whoever has a certificate of the name and no verifier proves nothing."""

    async def admit(evidence, quality, correlation):
        first = await evidence.dialogue.ask(b"")
        nonce = first.rpartition(b"r=")[2]
        await evidence.dialogue.ask(b"r=" + nonce + b"x,s=c2FsdHNhbHQ=,i=4096")
        evidence.dialogue.conclude(b"v=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")
        return Pretended(quality)

    async def scenario():
        async with stage.open(admit) as url:
            with pytest.raises(SteadError) as caught:
                await AsyncPipeClient.connect(url, tls=stage.trust(scram()))
            assert "does not know this account" in str(caught.value)

    asyncio.run(scenario())


class Pretended:
    account = "alice"

    def __init__(self, quality):
        self.quality = quality

    async def close(self):
        pass


def test_an_exchange_that_is_over_says_nothing():
    exchange = scram().begin(None, "notes.test")
    exchange.close()
    exchange.close()
    with pytest.raises(InvalidRequestError, match="over"):
        exchange.step(b"")
