"""Clients of another realm, and where constrained delegation takes them (MIT 1.20)."""

from contextlib import closing

import gssapi
import pytest
from tests.adapters.kerberos.forging import message
from tests.adapters.kerberos.forging_realms import FORWARDABLE, ForeignKdc
from tests.adapters.kerberos.realms import (
    AWAY,
    BACK,
    OTHER,
    OWN,
    PARENT,
    SERVICE,
    THIRD,
    heard_by,
    trusted,
)
from tests.adapters.kerberos.stage import KERBEROS, MUTUAL, principal
from tests.domain_clients import Server

from stead.adapters.kerberos.acceptor import KerberosPackage
from stead.adapters.kerberos.service import KerberosService
from stead.errors import EvidenceRefusedError, NoCredentialsError
from stead.testing.directory_realm import DirectoryRealm
from stead.testing.realm import Realm

TARGETS = ("HTTP@back.stead.test", "HTTP@127.0.0.2")


class Services:
    """Two services of a realm, one of which sends clients to the other."""

    def __init__(self, own, other, parent):
        self.own, self.other = own, other
        own.trust(other)
        other.trust(own)
        own.trust(parent)
        quick = "-requires_preauth"
        self.front = own.add_service(SERVICE, options=quick)
        self.back = own.add_service(BACK, options=quick)
        other.add_service(AWAY, options=quick)
        other.add_principal("alice", "tiger")
        own.allow_delegation(SERVICE, [BACK])
        self.parent_kdc = ForeignKdc(parent, own)

    def package(self, keytab, name, *realms, **options):
        service = KerberosService(
            keytab, name, realms=[trusted(OWN), *realms],
            replay_cache=self.own.folder / "replays",
        )  # fmt: skip
        return KerberosPackage(service, **options)

    def shown(self, name, creds):
        return gssapi.SecurityContext(
            name=principal(f"{name}@{OWN}"), creds=creds, mech=KERBEROS,
            usage="initiate", flags=MUTUAL,
        ).step()  # fmt: skip


@pytest.fixture(scope="module")
def services(monkeypatch_module):
    with DirectoryRealm(OWN) as own, Realm(OTHER) as other, Realm(PARENT) as parent:
        monkeypatch_module(own.environment())
        yield Services(own, other, parent)


def client_of(package, blob):
    return package.begin(None).step(blob).client


def test_a_client_of_another_realm_is_sent_on_within_ours_and_no_further(services):
    cache = services.other.log_on("alice", "tiger")
    alice = gssapi.Credentials(usage="initiate", store={"ccache": cache})
    front = services.package(services.front, SERVICE, trusted(OTHER), targets=TARGETS)
    with closing(client_of(front, services.shown(SERVICE, alice))) as client:
        held = client.credentials
        assert ("alice@OTHER.TEST", True) == (held.principal, held.is_constrained)
        blob = held.initiate(TARGETS[0]).step()
        assert "alice@OTHER.TEST" == heard_by(services.back, blob)
        sent = held.initiate(TARGETS[0]).step()
        with pytest.raises(NoCredentialsError) as caught:
            held.initiate(TARGETS[1]).step()
    assert "reaches no other realm" in caught.value.advice
    back = services.package(services.back, BACK, trusted(OTHER))
    client = client_of(back, sent)
    assert (OTHER, "alice", (f"{SERVICE}@{OWN}",), True) == (
        client.issuer, client.name, client.actors, client.is_verified_by_service,
    )  # fmt: skip


def test_of_a_client_that_is_sent_on_the_service_is_told_and_not_the_way(services):
    """The KDC leaves the realms out; then whoever sends the client has judged them."""
    client = ("alice", THIRD)
    given, key = services.parent_kdc.ask(
        client, SERVICE, options=[FORWARDABLE], buffers=[]
    )
    front = services.package(services.front, SERVICE, trusted(THIRD))
    with pytest.raises(EvidenceRefusedError, match="comes through the realm `TEST`"):
        client_of(front, message(given, key, client))
    naive = Server(services.front, f"{SERVICE}@{OWN}").both()
    taken = gssapi.SecurityContext(creds=naive, usage="accept")
    taken.step(message(given, key, client))
    back = services.package(services.back, BACK, trusted(THIRD))
    sent = client_of(back, services.shown(BACK, taken.delegated_creds))
    assert ("alice", (f"{SERVICE}@{OWN}",), True) == (
        sent.name, sent.actors, sent.is_verified_by_service,
    )  # fmt: skip
