"""A realm's clients log on from other machines by their tickets."""

import asyncio
from contextlib import asynccontextmanager

import gssapi
import pytest
from cryptography import x509
from tests.adapters.kerberos.stage import staged

from stead.adapters.kerberos.acceptor import KerberosPackage
from stead.authority.issuers import Issuer
from stead.authority.lockout import LockoutPolicy
from stead.errors import (
    InvalidRequestError,
    NoCredentialsError,
    RemoteError,
    WrongServerError,
)
from stead.gates.pipe import kerberos_client
from stead.gates.pipe.async_client import AsyncPipeClient
from stead.gates.pipe.client import PipeClient
from stead.gates.pipe.kerberos_client import KerberosClient
from stead.gates.pipe.reaching import TlsServer
from stead.gates.pipe.tls import TlsIdentity
from stead.gates.pipe.tls_gate import TlsGate
from stead.ledger.query import Query
from stead.model.audit_record import AuditEvent
from stead.model.token import ImpersonationLevel
from stead.testing.certificates import SERVER, Authority

REALM = "STEAD.TEST"
QUICK = LockoutPolicy(first_delay=0.001, longest_delay=0.01)


@pytest.fixture(scope="module")
def stage():
    with staged(REALM) as made:
        yield made


@pytest.fixture
def server(stage, open_server):
    made = open_server(
        packages=[KerberosPackage(stage.service())],
        issuers=[Issuer(REALM, packages=["kerberos"], names_accounts=True)],
        lockout=QUICK,
    )
    made.accounts.add("alice")

    @made.operation("held")
    def held(client):
        return client.level.name

    return made


@pytest.fixture
def opened(server, tmp_path):
    ca = Authority("Server CA")
    signed = ca.issue("s", x509.DNSName("localhost"), use=(SERVER,))

    @asynccontextmanager
    async def open_gate(admit=None):
        gate = TlsGate("127.0.0.1", 0, TlsIdentity(signed.write(tmp_path / "s.pem")))
        await gate.start(admit or server.reception.admit)
        try:
            yield f"tls://localhost:{gate.port}"
        finally:
            await gate.stop(grace=1.0)

    def trust(package):
        return TlsServer(ca=ca.anchor(tmp_path / "ca.pem"), package=package)

    return open_gate, trust


def ticket(stage, **more):
    cache = stage.realm.log_on("alice", "tiger")
    return KerberosClient("HTTP", cache, **more)


def test_a_ticket_brings_a_session_and_the_server_proves_its_key(stage, server, opened):
    gate, trust = opened

    async def scenario():
        async with gate() as url:
            tls = trust(ticket(stage))
            async with await AsyncPipeClient.connect(url, tls=tls) as notes:
                assert ("alice", "IMPERSONATION") == (
                    notes.account,
                    await notes.call("held"),
                )

            def blocking():
                with PipeClient.connect(url, tls=tls) as other:
                    return other.account

            assert "alice" == await asyncio.to_thread(blocking)
            async with await AsyncPipeClient.connect(
                url,
                tls=trust(ticket(stage, delegates=True)),
                level=ImpersonationLevel.DELEGATION,
            ) as notes:
                assert "DELEGATION" == await notes.call("held")

    asyncio.run(scenario())
    _, entry = list(server.trail.find(Query(event=AuditEvent.LOGON)))[-1]
    assert ("tls", "kerberos", REALM) == (
        entry.gate,
        entry.detail["package"],
        entry.detail["issuer"],
    )


def test_a_ticket_that_is_not_tied_to_the_channel_is_refused(
    stage, server, opened, monkeypatch
):
    gate, trust = opened

    async def scenario():
        async with gate() as url:
            for binding in (
                None,
                gssapi.raw.ChannelBindings(application_data=b"other"),
            ):
                monkeypatch.setattr(
                    kerberos_client, "gss_binding", lambda _, made=binding: made
                )
                with pytest.raises(RemoteError) as caught:
                    await AsyncPipeClient.connect(url, tls=trust(ticket(stage)))
                assert 1326 == caught.value.remote_status

    asyncio.run(scenario())


def test_a_server_that_has_not_the_service_s_key_is_left(stage, server, opened):
    gate, trust = opened

    async def admit(evidence, quality, correlation):
        await evidence.dialogue.ask(b"")
        evidence.dialogue.conclude(b"")
        return Pretended(quality)

    async def scenario():
        async with gate(admit) as url:
            with pytest.raises(WrongServerError, match="proves no key"):
                await AsyncPipeClient.connect(url, tls=trust(ticket(stage)))

    asyncio.run(scenario())


class Pretended:
    account = "alice"

    def __init__(self, quality):
        self.quality = quality

    async def close(self):
        pass


def test_without_a_ticket_there_is_nothing_to_show(stage, opened):
    gate, trust = opened

    async def scenario():
        async with gate() as url:
            empty = KerberosClient("HTTP", "MEMORY:empty")
            with pytest.raises(NoCredentialsError, match="no ticket"):
                await AsyncPipeClient.connect(url, tls=trust(empty))
            other = KerberosClient("imap", ticket(stage).cache)
            with pytest.raises(NoCredentialsError, match="no ticket"):
                await AsyncPipeClient.connect(url, tls=trust(other))

    asyncio.run(scenario())


def test_an_exchange_that_is_over_says_nothing(stage):
    exchange = ticket(stage).begin(None, "localhost")
    exchange.close()
    with pytest.raises(InvalidRequestError, match="over"):
        exchange.step(b"")
