"""A key distribution centre that takes what it is sent, and says nothing.

The library waits for it for close to half a minute, whatever krb5.conf says.
"""

from __future__ import annotations

import asyncio
import os
import socket
import threading
import time
from contextlib import contextmanager, suppress

import gssapi
import pytest
from gssapi.raw import acquire_cred_with_password
from tests.adapters.outbound.conftest import FRONT
from tests.adapters.outbound.test_explicit import alices, local

from stead.adapters.kerberos.acceptor import KerberosPackage
from stead.adapters.kerberos.password import KerberosPasswords
from stead.adapters.kerberos.proof import TrustedRealm
from stead.adapters.kerberos.service import KerberosService
from stead.adapters.patience import Patience
from stead.authority.issuers import Issuer
from stead.errors import (
    DirectoryUnavailableError,
    EvidenceRefusedError,
    LogonFailureError,
    SteadError,
)
from stead.ledger.query import Query
from stead.model.audit_record import AuditEvent
from stead.testing.private_server import free_port

SHORT = 0.3
NAIVE = "naive logon"
KERBEROS = [gssapi.MechType.kerberos]


@pytest.fixture
def silence(stage, monkeypatch, tmp_path):
    """Give what has the realm's key distribution centre say nothing for a while."""

    @contextmanager
    def fall():
        with (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as heard,
            socket.socket() as taken,
        ):
            taken.bind(("127.0.0.1", free_port()))
            heard.bind(taken.getsockname())
            taken.listen(50)
            place = tmp_path / "silent.conf"
            place.write_text(
                "[libdefaults]\n default_realm = STEAD.TEST\n dns_lookup_kdc = false\n"
                " dns_lookup_realm = false\n rdns = false\n"
                " dns_canonicalize_hostname = false\n"
                "[realms]\n STEAD.TEST = {\n"
                f"  kdc = 127.0.0.1:{heard.getsockname()[1]}\n }}\n"
                "[domain_realm]\n localhost = STEAD.TEST\n"
            )
            with monkeypatch.context() as patch:
                patch.setenv("KRB5_CONFIG", str(place))
                yield heard

    yield fall
    # What the library asked ends soon, now that nobody is there any more.
    for each in threading.enumerate():
        if each.name == NAIVE:
            each.join(60)
            assert not each.is_alive()


@contextmanager
def naive_logon(heard):
    """Have the library asked as it is; it must be waiting still when this ends."""

    def ask():
        with pytest.raises(gssapi.exceptions.GSSError):
            acquire_cred_with_password(
                gssapi.Name("bob@STEAD.TEST", gssapi.NameType.kerberos_principal),
                b"bob-pw", mechs=KERBEROS, usage="initiate",
            )  # fmt: skip

    waiting = threading.Thread(target=ask, name=NAIVE)
    waiting.start()
    heard.recv(4096)  # it has asked
    yield
    assert waiting.is_alive()


def test_a_password_s_logon_ends_in_time_and_keeps_nobody_else(
    stage, silence, open_server
):
    service = KerberosService(
        stage.front, FRONT, realms=[TrustedRealm(name="STEAD.TEST", requires_pac=False)]
    )
    authority = KerberosPasswords(service, "STEAD.TEST", patience=SHORT)
    server = open_server(
        issuers=[Issuer("STEAD.TEST", names_accounts=True)],
        password_authorities=[authority],
    )
    server.accounts.set_password("bob", "tiger")
    with silence() as heard, naive_logon(heard):
        with pytest.raises(LogonFailureError):
            server.log_on("alice@STEAD.TEST", "alice-pw")
        server.log_on("bob", "tiger").close()
        # One name may be silent alone. Two are, and nobody is made to wait any more.
        with pytest.raises(LogonFailureError):
            server.log_on("carol@STEAD.TEST", "carol-pw")
        begun = len(authority._patience._open[os.getpid(), "STEAD.TEST"])
        time.sleep(SHORT)
        for name in ("alice", "bob"):
            with pytest.raises(LogonFailureError):
                server.log_on(f"{name}@STEAD.TEST", f"{name}-pw")
        assert begun == len(authority._patience._open[os.getpid(), "STEAD.TEST"]) == 2
    found = [r for _, r in server.trail.find(Query(event=AuditEvent.LOGON_FAILED))]
    assert 4 == sum("does not answer in time" in r.reasons[0] for r in found)
    until_answered(authority._patience)
    authority._patience = Patience()  # that of this test is too short for work
    server.log_on("alice@STEAD.TEST", "alice-pw").close()  # nothing was counted
    assert () == server.accounts.locked_names()


def until_answered(patience):
    deadline = time.monotonic() + 60
    while patience._open:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_whoever_shows_a_ticket_waits_no_longer_for_the_servers_own(stage, silence):
    """A server that goes on in its clients' names has tickets, and they end.

    The naive one waits for them with each client, on threads that others need.
    """
    service = KerberosService(
        stage.front, FRONT, realms=[TrustedRealm(name="STEAD.TEST", requires_pac=False)]
    )
    package = KerberosPackage(service, targets=("HTTP@localhost",))
    package._patience = Patience(SHORT)

    def ask():
        with suppress(SteadError):  # what comes of it late is nobody's here
            service.both(negotiates=True)

    with silence() as heard:
        naive = threading.Thread(target=ask, name=NAIVE)
        naive.start()
        heard.recv(4096)  # it has asked
        with pytest.raises(DirectoryUnavailableError, match="in time"):
            package.begin(None).step(b"a ticket")
        begun = len(package._patience._open[os.getpid(), "STEAD.TEST"])
        time.sleep(SHORT)
        for _ in range(3):
            with pytest.raises(DirectoryUnavailableError, match="in time"):
                package.begin(None).step(b"a ticket")
        assert begun == len(package._patience._open[os.getpid(), "STEAD.TEST"]) == 1
        assert naive.is_alive()
    until_answered(package._patience)
    package._patience = Patience()  # that of this test is too short for work
    with pytest.raises(EvidenceRefusedError):  # looked at, and no ticket
        package.begin(None).step(b"a ticket")


def test_a_ticket_that_is_not_given_in_time_is_an_error_and_others_go_on(
    sessions, silence, web, hops, server
):
    alice, bob = sessions["alice"], sessions["bob"]
    held = alice.credentials_for("kerberos")
    held._patience = Patience(SHORT)
    with bob.http(web.url) as http:
        http.get("/")
        with silence() as heard, naive_logon(heard):
            with pytest.raises(DirectoryUnavailableError, match="in time"):
                alice.gss("HTTP@localhost").step()
            assert DirectoryUnavailableError.status == hops(server)[-1].status
            # His ticket is there: nobody is asked for it.
            assert "bob@STEAD.TEST" == http.get("/").text
    until_answered(held._patience)
    held._patience = Patience()  # that of this test is too short for work
    with alice.http(web.url) as http:
        assert "alice@STEAD.TEST" == http.get("/").text


def test_a_loop_s_other_clients_do_not_wait_either(sessions, silence, web):
    held = sessions["alice"].credentials_for("kerberos")
    held._patience = Patience(SHORT)

    async def ask(name):
        async with await sessions[name].aio.http(web.url) as http:
            return (await http.get("/")).text

    async def main():
        assert "bob@STEAD.TEST" == await ask("bob")
        with silence() as heard, naive_logon(heard):
            waiting = asyncio.gather(
                *[ask("alice") for _ in range(40)], return_exceptions=True
            )
            told = await ask("bob")
            return told, await waiting

    told, refused = asyncio.run(main())
    assert "bob@STEAD.TEST" == told
    assert {DirectoryUnavailableError} == set(map(type, refused))


def test_explicit_credentials_are_given_up_in_time(sessions, silence, web, server):
    hops = server._house.acting.hops
    hops._patience = Patience(SHORT)
    bob = sessions["bob"].client
    with (
        silence() as heard,
        naive_logon(heard),
        bob.explicit_credentials(alices(), target=local(web.port)) as shown,
        shown.http(web.url) as http,
        pytest.raises(DirectoryUnavailableError, match="in time"),
    ):
        http.get("/")
    until_answered(hops._patience)
