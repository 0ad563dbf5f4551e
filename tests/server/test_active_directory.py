"""Clients of an Active Directory domain, and what its controller may say of them.

The controller is a real one (`stead.testing.domain`). Clients come to Stead's server by
tickets and by passwords. Beside the server stands what a naive program makes of the
same tickets: it takes every SID that a verified ticket names.
"""

import gssapi
import pytest
from tests.domain_clients import Server, found, logged_on, pac_of, principal, service

from stead.adapters.kerberos.acceptor import KerberosPackage
from stead.adapters.kerberos.password import KerberosPasswords
from stead.adapters.kerberos.proof import TrustedRealm
from stead.adapters.kerberos.s4u import LogonWithoutPassword
from stead.adapters.kerberos.service import KerberosService
from stead.authority.issuers import Issuer
from stead.authority.lockout import LockoutPolicy
from stead.codec.pac import read_pac
from stead.decision.fast import is_granted
from stead.errors import LogonFailureError, NoCredentialsError, SteadError
from stead.ledger.query import Query
from stead.model import well_known
from stead.model.access_mask import FILE_MAPPING, AccessMask
from stead.model.audit_record import AuditEvent
from stead.model.logon_record import LogonType
from stead.model.security_descriptor import SecurityDescriptor
from stead.model.sid import Sid
from stead.model.token import AccessToken, ImpersonationLevel, TokenGroup
from stead.testing.domain import Domain

pytestmark = [pytest.mark.root, pytest.mark.slow]

QUICK = LockoutPolicy(threshold=100, first_delay=0.001, longest_delay=0.002)
READ = AccessMask.READ_CONTROL
ELSEWHERE = Sid.from_string("S-1-5-21-1-2-3")
"""Another domain, which the server does not believe this one about."""


@pytest.fixture(scope="module")
def own_domain():
    """A domain of these tests' own: they forge what others rely on."""
    with Domain() as made:
        yield made


@pytest.fixture
def domain(own_domain):
    with found(own_domain):
        yield own_domain


@pytest.fixture
def keys(domain):
    """The file of the server's keys, which are those of the account `front`."""
    return domain.export_keytab("front", f"HTTP/front.{domain.dns_name}")


@pytest.fixture
def own(domain, keys, world):
    return KerberosService(
        keys, f"HTTP/front.{domain.dns_name}",
        realms=[TrustedRealm(name=domain.name, requires_pac=True)],
        replay_cache=world / "replays",
    )  # fmt: skip


@pytest.fixture
def target(domain):
    return f"HTTP@back.{domain.dns_name}"


@pytest.fixture
def server(open_server, domain, own, target):
    package = KerberosPackage(
        own, targets=(target,), account=f"front@{domain.name}", negotiates=False
    )
    return open_server(
        packages=[package],
        password_authorities=[KerberosPasswords(own, domain.name, aliases=["STEADAD"])],
        issuers=[Issuer(domain.name, domains=(domain.sid,))],
        lockout=QUICK,
    )


@pytest.fixture
def come(server, domain):
    """Have somebody come with a ticket, to Stead's server."""

    def make(name, password=None):
        client = logged_on(name, password or domain.password_of(name))
        context = gssapi.SecurityContext(
            name=service(f"HTTP@front.{domain.dns_name}"), creds=client,
            usage="initiate", mech=gssapi.MechType.kerberos,
        )  # fmt: skip
        exchange = server.begin_logon("kerberos", gate="test", peer="test")
        exchange.step(context.step())
        return exchange.session

    return make


@pytest.fixture
def ticket(domain, keys):
    """Have somebody come with a ticket, to a naive program; return the PAC."""

    def make(name):
        front = Server(keys)
        client = logged_on(name, domain.password_of(name))
        return read_pac(pac_of(front.accept(client, f"HTTP@front.{domain.dns_name}")))

    return make


def naive_token(pac):
    """Make a token of all that a verified ticket says."""
    groups = tuple(TokenGroup(sid) for sid in (*pac.group_sids, well_known.EVERYONE))
    return AccessToken(
        user=pac.user_sid, groups=groups, primary_group=pac.logon.primary_group,
    )  # fmt: skip


def only_for(sid):
    return SecurityDescriptor.from_sddl(f"O:SYG:SYD:(A;;RC;;;{sid})")


def may_read(token, sid):
    return is_granted(token, only_for(sid), READ, FILE_MAPPING)


def causes(server):
    """Return what the trail says of refused logons, the newest last."""
    found = server.trail.find(Query(event=AuditEvent.LOGON_FAILED))
    return [(entry.detail, entry.reasons) for _, entry in found]


# --- who comes --------------------------------------------------------------------


def test_nested_groups_and_local_ones_come_with_a_ticket(come, domain):
    alice, bob = come("alice"), come("bob")
    with alice, bob:
        assert domain.sid_of("alice") == alice.token.user
        for name in ("inner", "outer", "local"):
            sid = domain.sid_of(name)
            assert may_read(alice.token, sid)
            assert not may_read(bob.token, sid)
        for session in (alice, bob):
            held = session.token.enabled_sids
            assert well_known.AUTHORITY_ASSERTED_IDENTITY in held
            assert well_known.SERVICE_ASSERTED_IDENTITY not in held


def test_whom_only_a_service_vouches_for_is_marked(server, domain, own):
    without = LogonWithoutPassword(own, account=f"front@{domain.name}")
    with server.admit(without.log_on("alice", domain.name), gate="test") as session:
        held = session.token.enabled_sids
        assert domain.sid_of("alice") == session.token.user
        assert domain.sid_of("local") in held
        assert well_known.SERVICE_ASSERTED_IDENTITY in held
        assert well_known.AUTHORITY_ASSERTED_IDENTITY not in held
        with pytest.raises(NoCredentialsError):
            session.credentials_for("kerberos")


@pytest.mark.parametrize("name", ["alice@AD.STEAD.TEST", r"STEADAD\alice"])
def test_a_password_of_the_domain_logs_on_with_the_same_groups(server, domain, name):
    with server.log_on(name, domain.password_of("alice"), LogonType.NETWORK) as session:
        assert domain.sid_of("alice") == session.token.user
        assert domain.sid_of("local") in session.token.enabled_sids
        assert well_known.AUTHORITY_ASSERTED_IDENTITY in session.token.enabled_sids


@pytest.mark.parametrize("name", ["disabled", "expired", "mustchange", "nohours"])
def test_who_may_not_log_on_hears_what_everybody_hears(server, domain, name):
    before = len(causes(server))
    answers = set()
    for who, password in ((name, domain.password_of(name)), ("alice", "a guess")):
        with pytest.raises(LogonFailureError) as refused:
            server.log_on(f"{who}@{domain.name}", password)
        answers.add((str(refused.value), refused.value.public, refused.value.status))
    assert 1 == len(answers)
    (true, _), (guess, _) = causes(server)[before:]
    assert true["sub status"] != guess["sub status"]


@pytest.mark.parametrize("name", ["disabled", "expired"])
def test_nobody_vouches_for_an_account_that_is_closed(domain, own, name):
    without = LogonWithoutPassword(own, account=f"front@{domain.name}")
    with pytest.raises(SteadError):
        without.log_on(name, domain.name)


# --- how far a server may go ------------------------------------------------------


def test_a_server_goes_where_it_was_let_and_never_for_protected_accounts(
    come, domain, target
):
    back = Server(domain.export_keytab("back", f"HTTP/back.{domain.dns_name}"))
    with come("alice") as alice:
        kept = alice.credentials_for("kerberos")
        context = kept.initiate(target)
        accepted = _accepted(back, context)
        assert f"alice@{domain.name}" == str(accepted.initiator_name)
        actors = read_pac(pac_of(accepted)).delegation
        assert (f"front@{domain.name}",) == actors.transited
    with come("protected") as protected, pytest.raises(SteadError):
        protected.credentials_for("kerberos").initiate(target).step()


def _accepted(back, theirs):
    ours = gssapi.SecurityContext(creds=back.acceptor(), usage="accept")
    theirs.step(ours.step(theirs.step()))
    return ours


def test_a_protected_account_hands_over_no_ticket_where_others_do(
    open_server, domain, world
):
    """A server trusted everywhere: a client's software gives it the client's ticket."""
    name = f"HTTP/everywhere.{domain.dns_name}"
    keytab = domain.add_service("everywhere", name)
    domain.set_delegation("everywhere", [], everywhere=True)
    trusted = KerberosService(
        keytab, name, realms=[TrustedRealm(name=domain.name)],
        replay_cache=world / "replays",
    )  # fmt: skip
    server = open_server(
        packages=[KerberosPackage(trusted, negotiates=False)],
        issuers=[Issuer(domain.name, domains=(domain.sid,))],
    )
    levels = {}
    for who in ("alice", "protected"):
        client = logged_on(who, domain.password_of(who))
        context = gssapi.SecurityContext(
            name=principal(f"{name}@{domain.name}"), creds=client, usage="initiate",
            mech=gssapi.MechType.kerberos,
            flags=gssapi.RequirementFlag.delegate_to_peer
            | gssapi.RequirementFlag.mutual_authentication,
        )  # fmt: skip
        exchange = server.begin_logon("kerberos", gate="test")
        try:
            exchange.step(context.step())
        except gssapi.exceptions.GSSError:
            levels[who] = None  # the domain gave its client nothing to hand over
            continue
        with exchange.session as session:
            levels[who] = session.token.level
    assert ImpersonationLevel.DELEGATION is levels["alice"]
    assert levels["protected"] is not ImpersonationLevel.DELEGATION


# --- what a controller may not say ------------------------------------------------


FORGED = {
    "administrators": "S-1-5-32-544",
    "system": "S-1-5-18",
    "elsewhere": f"{ELSEWHERE}-512",
    "uid0": "S-1-22-1-0",
    "integrity": "S-1-16-16384",
    "everything": "S-1-5-32-551",
}


@pytest.fixture(scope="module")
def mallory(own_domain):
    """A member of groups that whoever owns the controller gave others' SIDs."""
    own_domain.add_user("mallory")
    for name, sid in FORGED.items():
        group = f"forged-{name}"
        own_domain.add_group(group)
        own_domain.forge_sid(group, Sid.from_string(sid))
        own_domain.add_members(group, ["mallory"])
    return "mallory"


def test_a_domain_makes_nobody_an_administrator_here(come, ticket, mallory, domain):
    pac = ticket(mallory)
    assert set(FORGED.values()) <= {str(sid) for sid in pac.group_sids}
    naive = naive_token(pac)
    with come(mallory) as session:
        for text in FORGED.values():
            sid = Sid.from_string(text)
            assert may_read(naive, sid), "the naive program believes the ticket"
            assert not may_read(session.token, sid)
            assert sid not in session.token.enabled_sids
        assert domain.sid_of(mallory) == session.token.user


def test_the_registrar_cannot_be_told_how_a_client_was_verified(
    server, ticket, domain, own, come
):
    """A group whose SID says `verified by its credentials` counts for nothing."""
    domain.add_user("marked")
    domain.add_group("forged-marks")
    domain.forge_sid("forged-marks", well_known.AUTHORITY_ASSERTED_IDENTITY)
    domain.add_members("forged-marks", ["marked"])
    without = LogonWithoutPassword(own, account=f"front@{domain.name}")
    with server.admit(without.log_on("marked", domain.name), gate="test") as session:
        held = session.token.enabled_sids
        assert well_known.SERVICE_ASSERTED_IDENTITY in held
        assert well_known.AUTHORITY_ASSERTED_IDENTITY not in held


def test_nobody_of_another_domain_comes_from_this_one(server, come, ticket, domain):
    domain.add_user("stranger")
    domain.forge_sid("stranger", ELSEWHERE.with_rid(500))
    pac = ticket("stranger")
    assert ELSEWHERE.with_rid(500) == naive_token(pac).user
    with pytest.raises(LogonFailureError):
        come("stranger")
    assert "of no domain of its" in str(causes(server)[-1])


def test_the_store_s_own_accounts_are_nobody_else_s_to_name(
    server, come, ticket, domain
):
    account = server.accounts.add("chief")
    domain.add_user("pretender")
    domain.add_group("forged-chief")
    domain.forge_sid("forged-chief", account.sid)
    domain.add_members("forged-chief", ["pretender"])
    assert may_read(naive_token(ticket("pretender")), account.sid)
    with come("pretender") as session:
        assert not may_read(session.token, account.sid)


# --- other names of an account --------------------------------------------------------


def test_an_accounts_other_name_is_no_way_around_its_lock(server, domain, come):
    """To the KDC both are names; who counts guesses by name has two locks for one."""
    domain.add_user("trent", "a-Word-of-trents-1")
    domain.replace("trent", {"userPrincipalName": [f"victor@{domain.dns_name}"]})
    word, victor = "a-Word-of-trents-1", f"victor@{domain.name}"
    assert domain.log_on("victor", word), "the KDC's yes"

    def log_on(name):
        return server.log_on(name, word, LogonType.NETWORK)

    with log_on(f"Trent@{domain.name}") as session:
        assert f"trent@{domain.name}" == session.name
    with pytest.raises(LogonFailureError):
        log_on(victor)
    [record] = [r for _, r in server.trail.find(Query(event=AuditEvent.LOGON_FAILED))]
    assert f"`{victor}` leads to the account `trent`" in " ".join(record.reasons)
    # A ticket is nobody's guess: by either name it is the account's.
    with come("victor", word) as session:
        assert f"trent@{domain.name}" == session.name
