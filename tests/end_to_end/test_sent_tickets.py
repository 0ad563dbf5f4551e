"""A client of a broker's whom another service sends, by constrained delegation."""

import os
from secrets import token_hex

import gssapi
import pytest
from gssapi.raw import store_cred_into
from tests.domain_clients import Server, found, logged_on
from tests.end_to_end.test_tickets import asks, server, stage
from tests.privileged.broker_stage import ALICE, BOB, begin
from tests.privileged.ticket_stage import BROKER, cache_of

from stead.model.audit_record import AuditEvent
from stead.testing.directory_realm import DirectoryRealm

pytestmark = [pytest.mark.root, pytest.mark.slow]
__all__ = ["begin", "server", "stage"]  # fixtures

FRONT = "HTTP/front"


@pytest.fixture
def realm():
    with DirectoryRealm() as made:
        made.keytab = made.add_service(BROKER)
        made.front = made.add_service(FRONT)
        made.allow_delegation(FRONT, [BROKER])
        made.add_principal("alice", "tiger")
        yield made


def sent_by(realm, owner):
    """Return a cache of the front service's, to which alice has shown a ticket."""
    front = Server(realm.front, f"{FRONT}@{realm.name}")
    cache = realm.folder / token_hex(8)
    with found(realm):
        met = front.accept(logged_on(f"alice@{realm.name}", "tiger"), keeps=True)
        place = {b"ccache": f"FILE:{cache}".encode()}
        store_cred_into(
            place, met.delegated_creds, usage="initiate",
            mech=gssapi.MechType.kerberos, overwrite=True,
        )  # fmt: skip
    os.chown(cache, owner, owner)
    return f"FILE:{cache}"


def test_the_trail_names_who_sent_a_client_and_its_token_says_so(
    stage, server, realm, begin, world
):
    """The front runs as bob. To the broker, the client is alice either way."""
    for cache in (cache_of(realm, "alice", BOB), sent_by(realm, BOB)):
        said = begin(BOB, asks(stage, realm, cache)).hear()
        assert [ALICE] * 3 == said[1:]
    server.end()
    for place in (world.store.parent, *world.store.parent.iterdir()):
        os.chown(place, 0, 0)
    herself, sent = (
        record for _, record in world.trail() if record.event is AuditEvent.LOGON
    )
    between = [[link.name for link in each.chain[1:-1]] for each in (herself, sent)]
    assert [[], [f"{FRONT}@{realm.name}"]] == between
    assert "S-1-18-2" not in herself.detail["token text"]
    assert "S-1-18-2" in sent.detail["token text"]
