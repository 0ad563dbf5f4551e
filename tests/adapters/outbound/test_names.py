"""Whoever answers for DNS says what a name is: no ticket goes by that.

By MIT's defaults the library asks DNS what a host is called, and takes the ticket of
that one. Here `127.0.0.1` is what an operator wrote, and `localhost` what DNS says: two
services, of which the second is somebody else's.
"""

from __future__ import annotations

import gssapi
import psycopg
import pytest
from tests.adapters.outbound.test_gss import KERBEROS, accepted
from tests.adapters.outbound.test_postgres import ALICE, WHO, dsn

from stead.adapters.kerberos.naming import ServiceNames
from stead.errors import NoCredentialsError

WRITTEN, BY_DNS = "127.0.0.1", "localhost"


@pytest.fixture(autouse=True)
def by_dns(stage, surroundings, monkeypatch, tmp_path):
    """Have the library ask DNS, as it does where nobody tells it not to."""
    said = stage.realm.configuration.read_text()
    place = tmp_path / "by_dns.conf"
    lines = (" dns_canonicalize_hostname = false\n", " rdns = false\n")
    assert all(line in said for line in lines)
    place.write_text(said.replace(lines[0], "").replace(lines[1], ""))
    monkeypatch.setenv("KRB5_CONFIG", str(place))
    return place


@pytest.fixture(scope="session")
def keys(stage):
    """Keys of two services, by host; of the databases, the written one's too."""
    stage.realm.add_service(f"postgres/{WRITTEN}")
    found = {
        host: stage.realm.add_service(f"imap/{host}") for host in (WRITTEN, BY_DNS)
    }
    return {host: acceptor(file) for host, file in found.items()}


def acceptor(file):
    return gssapi.Credentials(usage="accept", store={"keytab": f"FILE:{file}"})


def test_a_ticket_is_for_the_host_that_is_named_and_not_for_what_dns_calls_it(
    sessions, stage, keys
):
    asked = f"imap@{WRITTEN}"
    tickets = stage.tickets("alice")
    naive = gssapi.SecurityContext(
        name=gssapi.Name(asked, gssapi.NameType.hostbased_service),
        creds=tickets.gss(), mech=KERBEROS, usage="initiate",
    )  # fmt: skip
    seen = accepted(naive, keys[BY_DNS])
    assert naive.complete
    assert "alice@STEAD.TEST" == str(seen.initiator_name)
    tickets.close()

    with sessions["alice"].gss(asked) as context:
        there = gssapi.SecurityContext(creds=keys[BY_DNS], usage="accept")
        there.__DEFER_STEP_ERRORS__ = False
        with pytest.raises(gssapi.exceptions.GSSError):
            there.step(context.step())
    with sessions["alice"].gss(asked) as context:
        seen = accepted(context, keys[WRITTEN])
        assert context.is_complete
        assert f"imap/{WRITTEN}@STEAD.TEST" == str(seen.target_name)


def test_where_no_realm_is_said_the_clients_own_is_asked(by_dns, sessions, keys):
    by_dns.write_text(by_dns.read_text().partition("[domain_realm]")[0])
    for host, creds in keys.items():
        with sessions["alice"].gss(f"imap@{host}") as context:
            accepted(context, creds)
            assert context.is_complete


@pytest.mark.usefixtures("keys")
def test_a_library_that_goes_by_dns_finds_no_ticket(
    sessions, stage, database, monkeypatch, hops, server
):
    where = dsn(database, host=WRITTEN)
    tickets = stage.tickets("alice")
    with tickets.on_this_thread():
        naive = psycopg.connect(f"{where} gssencmode=require user=alice")
    assert ALICE == naive.execute(WHO).fetchone()  # by the ticket of another service
    naive.close()
    tickets.close()

    hop = sessions["alice"].postgres(where)
    with pytest.raises(NoCredentialsError, match=rf"is `postgres/{BY_DNS}@") as caught:
        hop.connect()
    assert "dns_canonicalize_hostname" in caught.value.advice
    assert NoCredentialsError.status == hops(server)[-1].status
    # As if DNS said so only afterwards: the library finds that ticket, or none.
    monkeypatch.setattr(ServiceNames, "require_exact", lambda *_: None)
    with pytest.raises(NoCredentialsError, match="refuses the client"):
        hop.connect()


@pytest.mark.parametrize("is_mapped", [True, False])
def test_what_dns_calls_by_the_same_name_is_reached(
    by_dns, sessions, database, is_mapped
):
    if not is_mapped:
        by_dns.write_text(by_dns.read_text().partition("[domain_realm]")[0])
    with sessions["alice"].postgres(dsn(database)).connection() as connection:
        assert ALICE == connection.execute(WHO).fetchone()
