"""A server whose clients come through other services of their realm.

Beside it stands what a program makes of the library's yes: a client like any other.
"""

import pytest
from tests.adapters.kerberos.sending import (
    ALICE,
    FRONT,
    MIDDLE,
    NAME,
    Services,
    alice,
)
from tests.domain_clients import found

from stead.authority.issuers import Issuer
from stead.decision.fast import is_granted
from stead.ledger.query import Query
from stead.model.access_mask import FILE_MAPPING, AccessMask
from stead.model.audit_record import AuditEvent
from stead.model.explicit_access import allow
from stead.model.security_descriptor import SecurityDescriptor
from stead.model.token import AccessToken
from stead.model.well_known import (
    AUTHORITY_ASSERTED_IDENTITY,
    SERVICE_ASSERTED_IDENTITY,
)
from stead.testing.directory_realm import DirectoryRealm

pytestmark = [pytest.mark.slow]

READ = AccessMask.READ_CONTROL
ONLY_IN_PERSON = SecurityDescriptor.from_sddl("O:SYG:SYD:(A;;RC;;;AS)")
NOT_BY_OTHERS = SecurityDescriptor.from_sddl("O:SYG:SYD:(D;;RC;;;SS)(A;;RC;;;WD)")


@pytest.fixture(scope="module")
def services():
    with DirectoryRealm(NAME) as realm, found(realm):
        yield Services(realm)


@pytest.fixture
def server(open_server, services):
    issuer = Issuer(NAME, packages=["kerberos"], names_accounts=True)
    made = open_server("back", packages=[services.package()], issuers=[issuer])
    made.accounts.add("alice")
    return made


def session_of(server, blob):
    with server.begin_logon("negotiate", gate="test") as exchange:
        exchange.step(blob)
    return exchange.session


def may(token):
    return tuple(
        is_granted(token, each, READ, FILE_MAPPING)
        for each in (ONLY_IN_PERSON, NOT_BY_OTHERS)
    )


@pytest.mark.parametrize("come", [Services.invented, Services.sent_on])
def test_whom_a_service_sends_is_not_taken_for_who_came_herself(server, services, come):
    credentials = come(services)
    assert ALICE == services.naive(services.shown(credentials))
    with session_of(server, services.shown(alice())) as herself:
        assert (True, True) == may(herself.token)
        naive = AccessToken(herself.token.user, herself.token.groups)
        with session_of(server, services.shown(credentials)) as sent:
            assert herself.token.user == sent.token.user
            assert (True, True) == may(naive), "a name is all that it has looked at"
            assert (False, False) == may(sent.token)
            assert sent.token.group(SERVICE_ASSERTED_IDENTITY) is not None
            assert sent.token.group(AUTHORITY_ASSERTED_IDENTITY) is None
    # Nothing that is remembered of the one is the other's.
    with session_of(server, services.shown(alice())) as again:
        assert (True, True) == may(again.token)


def test_the_trail_has_every_service_on_the_way(server, services, rights):
    page = server.protect("page", rights, [allow("alice", rights.READ)])
    with session_of(server, services.shown(services.through_both())) as session:
        server.require(session.client, page, rights.READ)
    for event in (AuditEvent.LOGON, AuditEvent.OBJECT_ACCESS):
        records = [entry for _, entry in server.trail.find(Query(event=event))]
        (hers,) = [each for each in records if each.client is not None]
        names = [link.name for link in hers.chain]
        assert ["back", MIDDLE, FRONT, "alice"] == names
