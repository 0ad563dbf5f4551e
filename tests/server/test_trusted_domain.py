"""Clients of a domain that this one trusts, and what its controller may say of them.

Two real controllers and a forest trust. Samba's KDC lets through whatever the other
controller says of its clients, also that they are ours. Beside Stead's server stands
what a naive program makes of the same tickets.
"""

import subprocess

import gssapi
import pytest
from tests.domain_clients import Server, found, logged_on, pac_of, service

from stead.adapters.kerberos.acceptor import KerberosPackage
from stead.adapters.kerberos.password import KerberosPasswords
from stead.adapters.kerberos.proof import TrustedRealm
from stead.adapters.kerberos.service import KerberosService
from stead.authority.issuers import Issuer
from stead.authority.lockout import LockoutPolicy
from stead.codec.pac import read_pac
from stead.errors import LogonFailureError
from stead.ledger.query import Query
from stead.model import well_known
from stead.model.audit_record import AuditEvent
from stead.model.logon_record import LogonType
from stead.testing.domain import Domain

pytestmark = [pytest.mark.root, pytest.mark.slow]

QUICK = LockoutPolicy(threshold=100, first_delay=0.001, longest_delay=0.002)
ADMINISTRATOR, DOMAIN_ADMINS = 500, 512


@pytest.fixture(scope="module")
def domains():
    """Ours, and the one whose clients come to it."""
    with Domain() as ours, Domain("PARTNER.TEST", "PARTNER") as theirs:
        ours.trust(theirs)
        ours.add_group("visitors", scope="domain local")
        ours.add_foreign_members("visitors", [theirs.sid_of("alice")])
        yield ours, theirs


@pytest.fixture
def ours(domains):
    with found(domains[0]):
        yield domains[0]


@pytest.fixture
def theirs(domains):
    return domains[1]


@pytest.fixture
def keys(ours):
    return ours.export_keytab("front", f"HTTP/front.{ours.dns_name}")


@pytest.fixture
def make(open_server, ours, theirs, keys, world):
    """Make a server that believes both realms, and of the other what a test says."""

    def made(targets=(), **believed):
        own = KerberosService(
            keys, f"HTTP/front.{ours.dns_name}",
            realms=[TrustedRealm(name=each.name) for each in (ours, theirs)],
            replay_cache=world / "replays",
        )  # fmt: skip
        account = f"front@{ours.name}" if targets else ""
        package = KerberosPackage(
            own, targets=targets, account=account, negotiates=False
        )
        return open_server(
            packages=[package],
            password_authorities=[KerberosPasswords(own, theirs.name)],
            issuers=[
                Issuer(ours.name, domains=(ours.sid,)),
                Issuer(theirs.name, domains=(theirs.sid,), **believed),
            ],
            lockout=QUICK,
        )

    return made


def come(server, ours, domain, name):
    """Have somebody of a domain come to the server with a ticket."""
    client = logged_on(f"{name}@{domain.name}", domain.password_of(name))
    context = gssapi.SecurityContext(
        name=service(f"HTTP@front.{ours.dns_name}"), creds=client, usage="initiate",
        mech=gssapi.MechType.kerberos,
    )  # fmt: skip
    exchange = server.begin_logon("kerberos", gate="test", peer="test")
    exchange.step(context.step())
    return exchange.session


def naive_sids(keys, ours, domain, name):
    """Return all that a verified ticket says somebody is, as a naive program does."""
    client = logged_on(f"{name}@{domain.name}", domain.password_of(name))
    accepted = Server(keys).accept(client, f"HTTP@front.{ours.dns_name}")
    pac = read_pac(pac_of(accepted))
    return {pac.user_sid, *pac.group_sids}


def causes(server):
    found = server.trail.find(Query(event=AuditEvent.LOGON_FAILED))
    return [str(entry.reasons) for _, entry in found]


def test_a_client_of_a_trusted_domain_comes_with_its_own_groups(make, ours, theirs):
    server = make()
    with come(server, ours, theirs, "alice") as session:
        held = session.token.enabled_sids
        assert theirs.sid_of("alice") == session.token.user
        assert {theirs.sid_of(name) for name in ("inner", "outer")} <= held
        assert well_known.AUTHORITY_ASSERTED_IDENTITY in held
        # Ours has an alice, too, and a group of the same name.
        assert not {ours.sid_of(name) for name in ("alice", "inner", "visitors")} & held
    with come(server, ours, ours, "alice") as session:
        assert ours.sid_of("alice") == session.token.user


def test_a_password_of_a_trusted_domain_logs_its_client_on(make, ours, theirs):
    server = make()
    password = theirs.password_of("alice")
    name, network = f"alice@{theirs.name}", LogonType.NETWORK
    with server.log_on(name, password, network) as session:
        assert theirs.sid_of("alice") == session.token.user
        assert theirs.sid_of("outer") in session.token.enabled_sids
    with pytest.raises(LogonFailureError):
        server.log_on(name, ours.password_of("alice"), network)


def test_nobody_of_a_trusted_domain_is_one_of_ours(make, ours, theirs, keys):
    """Whoever owns the other controller says that its bob is our administrator."""
    theirs.add_user("mallory")
    theirs.forge_sid("mallory", ours.sid.with_rid(ADMINISTRATOR))
    assert ours.sid.with_rid(ADMINISTRATOR) in naive_sids(keys, ours, theirs, "mallory")
    for server in (make(), make(group_domains=(ours.sid,))):
        with pytest.raises(LogonFailureError):
            come(server, ours, theirs, "mallory")
        assert "of no domain of its" in causes(server)[-1]


def test_our_groups_count_for_a_trusted_domain_s_clients_where_that_is_said(
    make, ours, theirs, keys
):
    """Our own KDC says in which domain-local groups of ours they are."""
    visitors = ours.sid_of("visitors")
    assert visitors in naive_sids(keys, ours, theirs, "alice")
    with come(make(), ours, theirs, "alice") as session:
        assert visitors not in session.token.enabled_sids
    server = make(group_domains=(ours.sid,))
    with come(server, ours, theirs, "alice") as session:
        assert visitors in session.token.enabled_sids
        assert theirs.sid_of("outer") in session.token.enabled_sids
        assert theirs.sid_of("alice") == session.token.user
    with come(server, ours, theirs, "bob") as session:
        assert visitors not in session.token.enabled_sids


def test_no_group_that_a_domain_has_by_itself_counts_for_another_s_clients(
    make, ours, theirs, keys
):
    """A KDC that filters nothing hands on what the other one forged."""
    admins = ours.sid.with_rid(DOMAIN_ADMINS)
    theirs.add_user("climber")
    theirs.add_group("forged-admins")
    theirs.forge_sid("forged-admins", admins)
    theirs.add_members("forged-admins", ["climber"])
    assert admins in naive_sids(keys, ours, theirs, "climber")
    with come(make(group_domains=(ours.sid,)), ours, theirs, "climber") as session:
        assert admins not in session.token.enabled_sids
        assert not session.token.user.is_within(ours.sid)


def test_a_trusted_domain_s_client_is_acted_for_at_named_services(make, ours, theirs):
    """Constrained delegation: our own KDC has a ticket for it."""
    target = f"HTTP@back.{ours.dns_name}"
    back = Server(ours.export_keytab("back", f"HTTP/back.{ours.dns_name}"))
    with come(make([target]), ours, theirs, "alice") as session:
        context = session.credentials_for("kerberos").initiate(target)
        accepted = gssapi.SecurityContext(creds=back.acceptor(), usage="accept")
        context.step(accepted.step(context.step()))
        assert f"alice@{theirs.name}" == str(accepted.initiator_name)
        pac = read_pac(pac_of(accepted))
        assert theirs.sid_of("alice") == pac.user_sid
        assert (f"front@{ours.name}",) == pac.delegation.transited


def test_a_realm_that_the_server_does_not_name_is_not_believed(
    open_server, ours, theirs, keys, world
):
    """The domain trusts it; that is no word of the server's."""
    own = KerberosService(
        keys, f"HTTP/front.{ours.dns_name}", realms=[TrustedRealm(name=ours.name)],
        replay_cache=world / "replays",
    )  # fmt: skip
    server = open_server(
        packages=[KerberosPackage(own, negotiates=False)], lockout=QUICK,
        issuers=[Issuer(each.name, domains=(each.sid,)) for each in (ours, theirs)],
    )  # fmt: skip
    assert theirs.sid_of("bob") in naive_sids(keys, ours, theirs, "bob")
    with pytest.raises(LogonFailureError):
        come(server, ours, theirs, "bob")


def test_trust_has_one_direction(ours, theirs):
    """Our clients get no ticket there."""
    asked = f"HTTP/front.{theirs.dns_name}@{theirs.name}"
    cache = ours.log_on("alice", ours.password_of("alice"))
    done = subprocess.run(
        ["kvno", asked], env=ours.environment(cache), capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert 0 != done.returncode
    assert "Server not found in Kerberos database" in done.stderr
