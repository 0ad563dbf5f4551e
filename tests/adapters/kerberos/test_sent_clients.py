"""Clients whom another service sends on: constrained delegation in a realm of MIT's.

Its KDC writes into such a ticket which services it came through (S4U_DELEGATION_INFO,
[MS-PAC] 2.9), and no SIDs. Beside Stead stands what a program makes of the library's
yes: a name. `test_active_directory` has the same of a domain.
"""

import gssapi
import pytest
from tests.adapters.kerberos.forging import DELEGATION, LOGON, Forger
from tests.adapters.kerberos.sending import (
    ALICE,
    FRONT,
    MIDDLE,
    NAME,
    Services,
    alice,
)
from tests.codec import pac_builder

from stead.adapters.kerberos.acceptor import KerberosPackage
from stead.adapters.kerberos_verifier import services_between
from stead.errors import EvidenceRefusedError, LogonFailureError
from stead.model.well_known import AUTHORITY_ASSERTED_IDENTITY
from stead.testing.directory_realm import DirectoryRealm


@pytest.fixture(scope="module")
def services(monkeypatch_module):
    with DirectoryRealm(NAME) as realm:
        monkeypatch_module(realm.environment())
        yield Services(realm)


@pytest.mark.parametrize(
    ("come", "actors"),
    [
        (lambda _: alice(), ()),
        (Services.invented, (FRONT,)),
        (Services.sent_on, (FRONT,)),
        (Services.through_both, (MIDDLE, FRONT)),
    ],
    ids=["alone", "invented", "sent on", "through both"],
)
def test_whom_a_client_came_through_is_told(services, come, actors):
    """The KDC does not say whether she showed anything; nobody takes it for granted."""
    credentials = come(services)
    assert ALICE == services.naive(services.shown(credentials))
    blob = services.shown(credentials)
    client = services.package().begin(None).step(blob).client
    assert ("alice", None, actors) == (client.name, client.sids, client.actors)
    assert bool(actors) is client.is_verified_by_service


def test_a_client_without_a_pac_is_sent_on_by_nobody(services):
    """So a ticket without one is the client's own, in such a realm."""
    cache = services.realm.log_on("alice", "tiger", options="--no-request-pac")
    bare = gssapi.Credentials(usage="initiate", store={"ccache": cache})
    client = services.package().begin(None).step(services.shown(bare)).client
    assert ((), False) == (client.actors, client.is_verified_by_service)
    handed = services.front.accept(bare, keeps=True).delegated_creds
    with pytest.raises(gssapi.exceptions.GSSError):
        services.shown(handed)


# --- what somebody else wrote ---------------------------------------------------------

SENT = (DELEGATION, pac_builder.delegation_info("HTTP/localhost", [FRONT]))


@pytest.fixture
def forger(stage):
    return Forger(stage)


@pytest.fixture
def localhost(stage):
    return KerberosPackage(stage.service())


def client_of(package, blob):
    return package.begin(None).step(blob).client


def test_the_hand_that_forges_is_right(forger, localhost):
    client = client_of(localhost, forger.with_buffers(SENT))
    assert ((FRONT,), True) == (client.actors, client.is_verified_by_service)


def test_a_way_whose_signature_is_wrong_is_not_no_way(forger, localhost):
    with pytest.raises(EvidenceRefusedError, match="not verified"):
        client_of(localhost, forger.with_buffers(SENT, is_signed=False))


def test_whoever_sends_a_client_cannot_write_that_it_came_alone(forger, localhost):
    """It has the ticket's session key, and writes a PAC of its own beside."""
    claims = pac_builder.logon_info(extra=((AUTHORITY_ASSERTED_IDENTITY, 7),))
    own = pac_builder.pac((LOGON, claims))
    client = client_of(localhost, forger.with_buffers(SENT, own_pac=own))
    assert ((FRONT,), None, True) == (
        client.actors, client.sids, client.is_verified_by_service,
    )  # fmt: skip


def test_the_brokers_verifier_reads_the_way_alike(stage, forger):
    keys = {"keytab": f"FILE:{stage.keytab}", "rcache": "none:"}

    def between(blob):
        ours = gssapi.Credentials(usage="accept", store=keys)
        context = gssapi.SecurityContext(creds=ours, usage="accept")
        context.step(blob)
        assert "alice@STEAD.TEST" == str(context.initiator_name), "the library's yes"
        return services_between(context)

    assert [] == between(forger.message())
    assert [] == between(forger.with_buffers())
    assert [FRONT] == between(forger.with_buffers(SENT))
    claims = pac_builder.pac((LOGON, pac_builder.logon_info()))
    assert [FRONT] == between(forger.with_buffers(SENT, own_pac=claims))
    nobody = pac_builder.delegation_info("HTTP/localhost", [])
    for refused in (
        forger.with_buffers(SENT, is_signed=False),
        forger.with_buffers(is_signed=False),
        forger.with_buffers((DELEGATION, SENT[1][:24])),
        forger.with_buffers((DELEGATION, nobody)),
    ):
        with pytest.raises((LogonFailureError, gssapi.raw.misc.GSSError)):
            between(refused)


@pytest.mark.parametrize("cut", [0, 1, 24, 60])
def test_a_way_that_does_not_read_is_refused(forger, localhost, cut):
    with pytest.raises(EvidenceRefusedError):
        client_of(localhost, forger.with_buffers((DELEGATION, SENT[1][:cut])))


@pytest.mark.parametrize("names", [None, [], [""], [FRONT] * 9], ids=str)
def test_a_way_that_names_nobody_or_too_many_is_refused(forger, localhost, names):
    said = pac_builder.delegation_info("HTTP/localhost", names)
    with pytest.raises(EvidenceRefusedError):
        client_of(localhost, forger.with_buffers((DELEGATION, said)))


def test_a_domain_that_says_neither_leaves_it_open(forger, localhost):
    """Controllers before Windows Server 2012, and others, mark nobody."""
    logon = (LOGON, pac_builder.logon_info())
    client = client_of(localhost, forger.with_buffers(logon, SENT))
    assert client.is_verified_by_service
    marked = pac_builder.logon_info(extra=((AUTHORITY_ASSERTED_IDENTITY, 7),))
    client = client_of(localhost, forger.with_buffers((LOGON, marked), SENT))
    assert not client.is_verified_by_service
    assert (FRONT,) == client.actors
