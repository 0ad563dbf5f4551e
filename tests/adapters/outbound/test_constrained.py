"""Where the domain lets the server go in its clients' names, and nowhere else."""

from __future__ import annotations

import base64

import gssapi
import httpx
import pytest
from tests.adapters.outbound.test_postgres import WHO, dsn
from tests.adapters.outbound.web import serving

from stead.adapters.kerberos.acceptor import KerberosPackage
from stead.adapters.kerberos.proof import TrustedRealm
from stead.adapters.kerberos.s4u import LogonWithoutPassword
from stead.adapters.kerberos.service import KerberosService
from stead.authority.issuers import Issuer
from stead.errors import NoCredentialsError
from stead.model.token import ImpersonationLevel
from stead.server.enforcement import Enforcement
from stead.server.protected_server import ProtectedServer
from stead.testing.directory_realm import DirectoryRealm
from stead.testing.postgres import Postgres

pytestmark = [pytest.mark.slow]
FRONT, TARGETS = "HTTP/localhost", ("HTTP@127.0.0.1", "postgres@localhost")


@pytest.fixture(scope="module")
def realm():
    with DirectoryRealm() as made:
        made.add_principal("alice", "alice-pw")
        made.front = made.add_service(FRONT)
        made.web = made.add_service("HTTP/127.0.0.1")
        made.add_service("HTTP/elsewhere", keytab=made.web)
        made.database = made.add_service(Postgres.principal)
        made.allow_delegation(
            FRONT, [t.replace("@", "/") for t in TARGETS], without_password=True
        )
        yield made


@pytest.fixture(autouse=True)
def surroundings(realm, monkeypatch):
    own = realm.environment()
    own["KRB5_CLIENT_KTNAME"] = own["KRB5_KTNAME"] = f"FILE:{realm.front}"
    for name, value in own.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def service(realm, tmp_path):
    return KerberosService(
        realm.front, FRONT, realms=[TrustedRealm(name=realm.name, requires_pac=False)],
        replay_cache=tmp_path / "replays",
    )  # fmt: skip


@pytest.fixture
def server(realm):
    issuer = Issuer(realm.name, ["kerberos"], names_accounts=True)
    with ProtectedServer(
        "front", enforcement=Enforcement.TOKEN, issuers=[issuer]
    ) as made:
        made.accounts.add("alice")
        yield made


def shown_to_front(realm, flags=()):
    """Return what alice shows to the server, and delegates nothing by."""
    cache = realm.log_on("alice", "alice-pw")
    context = gssapi.SecurityContext(
        name=gssapi.Name(FRONT, gssapi.NameType.kerberos_principal),
        creds=gssapi.Credentials(usage="initiate", store={"ccache": cache}),
        mech=gssapi.MechType.kerberos, usage="initiate",
    )  # fmt: skip
    return context.step()


def reach(session, realm):
    """Return whom a web server and a database take a session for."""
    with serving(realm.web) as web, session.http() as http:
        seen = http.get(f"http://127.0.0.1:{web.port}/").text
    with Postgres(domain=realm, keytab=realm.database) as database:
        database.add_role("alice")
        with session.postgres(dsn(database)).connection() as connection:
            return seen, connection.execute(WHO).fetchone()[1]


def test_a_logon_without_a_password_reaches_what_is_named(realm, service, server):
    without = LogonWithoutPassword(service, targets=TARGETS)
    session = server.admit(without.log_on("alice", realm.name))
    assert ("alice@STEAD.TEST", "alice@STEAD.TEST") == reach(session, realm)
    refuses_others(session)


def test_what_a_client_showed_reaches_what_is_named(realm, service, server):
    exchange = KerberosPackage(service, targets=TARGETS).begin(None)
    client = exchange.step(shown_to_front(realm)).client
    session = server.admit(client)
    assert ImpersonationLevel.IMPERSONATION is session.token.level
    assert ("alice@STEAD.TEST", "alice@STEAD.TEST") == reach(session, realm)
    refuses_others(session)


def refuses_others(session):
    with pytest.raises(NoCredentialsError, match="may not go to"):
        session.gss("HTTP@elsewhere").step()
    with (
        session.http("http://elsewhere:1") as http,
        pytest.raises(NoCredentialsError, match="may not go to"),
    ):
        http.get("/")


def test_trap_5_credentials_of_an_acceptor_are_not_what_a_client_delegated(
    realm, service, server
):
    """An acceptor that may also ask for tickets has `delegated_creds` for everybody."""
    both = gssapi.Credentials(
        name=gssapi.Name(FRONT, gssapi.NameType.kerberos_principal), usage="both",
        store={"keytab": f"FILE:{realm.front}", "client_keytab": f"FILE:{realm.front}",
               "ccache": "MEMORY:trap-5", "rcache": "none:"},
    )  # fmt: skip
    context = gssapi.SecurityContext(creds=both, usage="accept")
    context.step(shown_to_front(realm))
    handed = context.delegated_creds
    assert handed is not None  # alice has delegated nothing
    with serving(realm.web) as web:
        # The naive code takes that for leave to go anywhere in her name.
        onward = gssapi.SecurityContext(
            name=gssapi.Name("HTTP@127.0.0.1", gssapi.NameType.hostbased_service),
            creds=handed, mech=gssapi.MechType.kerberos, usage="initiate",
        )  # fmt: skip
        shown = base64.b64encode(onward.step()).decode()
        naive = httpx.get(
            f"http://127.0.0.1:{web.port}/",
            headers={"Authorization": f"Negotiate {shown}"}, trust_env=False,
        )  # fmt: skip
        assert "alice@STEAD.TEST" == naive.text
        # Ours has nothing of hers unless the server names where it may go.
        client = KerberosPackage(service).begin(None).step(shown_to_front(realm)).client
        with (
            server.admit(client).http() as http,
            pytest.raises(NoCredentialsError, match="has no credentials"),
        ):
            http.get(f"http://127.0.0.1:{web.port}/")
        assert 1 == len(web.seen)
