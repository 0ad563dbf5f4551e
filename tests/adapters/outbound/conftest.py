"""A realm, services in it, and a server whose own identity lies about everywhere.

Every test here runs in the worst surroundings: the server has tickets of its own in the
default cache, a client keytab from which the library would get more, and passwords in
its environment. Whatever falls back to the server is taken for `front`.
"""

from __future__ import annotations

from dataclasses import dataclass

import gssapi
import pytest
from tests.adapters.outbound.web import serving

from stead.adapters.kerberos.credentials import KerberosCredentials
from stead.authority.issuers import Issuer
from stead.authority.packages import Authenticated
from stead.ledger.query import Query
from stead.model.audit_record import AuditEvent
from stead.model.token import ImpersonationLevel
from stead.server.enforcement import Enforcement
from stead.server.protected_server import ProtectedServer
from stead.testing.postgres import Postgres
from stead.testing.realm import Realm

NAMES = ("alice", "bob")
FRONT = "HTTP/front.stead.test"


@dataclass
class Stage:
    """What there is.

    Attributes:
        realm: where everybody is.
        front: the keytab of the server itself.
        web: the keytab of `HTTP/localhost`, and of others.
        database: the keytab of `postgres/localhost`.
    """

    realm: Realm
    front: object
    web: object
    database: object

    def tickets(self, name):
        """Return a client's credentials, as a session would keep them."""
        cache = self.realm.log_on(name, f"{name}-pw")
        shown = gssapi.Credentials(
            usage="initiate", store={"ccache": cache}, mechs=[gssapi.MechType.kerberos]
        )
        return KerberosCredentials.keep(shown)


@pytest.fixture(scope="session")
def stage():
    with Realm() as realm:
        for name in NAMES:
            realm.add_principal(name, f"{name}-pw")
        front = realm.add_service(FRONT)
        web = realm.add_service("HTTP/localhost")
        realm.add_service("HTTP/127.0.0.1", keytab=web)
        database = realm.add_service(Postgres.principal)
        yield Stage(realm, front, web, database)


@pytest.fixture(autouse=True)
def surroundings(stage, monkeypatch, tmp_path):
    """Have the server's own identity lie about wherever a library looks for one."""
    own = stage.realm.environment(f"FILE:{tmp_path}/front.ccache")
    own["KRB5_CLIENT_KTNAME"] = f"FILE:{stage.front}"
    own["KRB5_KTNAME"] = f"FILE:{stage.front}"
    own["PGPASSWORD"] = "the server's own"
    own["PGUSER"] = "front"
    own["http_proxy"] = own["HTTP_PROXY"] = "http://127.0.0.1:1"
    netrc = tmp_path / "netrc"
    netrc.write_text("default login front password secret\n")
    netrc.chmod(0o600)
    own["NETRC"] = str(netrc)
    for name, value in own.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def web(stage):
    with serving(stage.web) as made:
        yield made


@pytest.fixture(scope="session")
def database(stage):
    with Postgres(domain=stage.realm, keytab=stage.database) as made:
        for name in NAMES:
            made.add_role(name)
        made.add_owned_rows("notes", NAMES)
        yield made


@pytest.fixture
def open_server(stage):
    opened = []

    def make(**settings):
        settings = {
            "enforcement": Enforcement.TOKEN,
            "issuers": [Issuer(stage.realm.name, ["kerberos"], names_accounts=True)],
            **settings,
        }
        server = ProtectedServer("front", **settings)
        opened.append(server)
        for name in NAMES:
            server.accounts.add(name)
        return server

    def again(store):
        """Open the same store in another server, as another process would."""
        opened.append(ProtectedServer("front", store, enforcement=Enforcement.TOKEN))
        return opened[-1]

    make.again = again
    yield make
    for server in opened:
        server.close()


@pytest.fixture
def server(open_server):
    return open_server()


@pytest.fixture
def admit(stage):
    """Return what admits a client that delegated its tickets."""

    def make(server, name="alice", level=ImpersonationLevel.DELEGATION, **parts):
        parts = {"credentials": stage.tickets(name), "level": level, **parts}
        return server.admit(
            Authenticated(
                package="kerberos", issuer=stage.realm.name, name=name, **parts
            )
        )

    return make


@pytest.fixture
def sessions(server, admit):
    """Sessions of alice and bob on one server."""
    made = {name: admit(server, name) for name in NAMES}
    yield made
    for session in made.values():
        session.close()


@pytest.fixture
def hops():
    """Return what a server's trail says of reaching other machines."""

    def read(server):
        found = server.trail.find(Query(event=AuditEvent.DELEGATED))
        return [record for _, record in found]

    return read
