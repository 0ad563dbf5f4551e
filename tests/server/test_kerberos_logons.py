"""A server whose clients are a realm's: tickets, passwords, and names alone."""

import pytest
from tests.adapters.kerberos.stage import DELEGATE, SPNEGO, session_of, staged

from stead.adapters.kerberos.acceptor import KerberosPackage
from stead.adapters.kerberos.password import KerberosPasswords
from stead.adapters.kerberos.proof import TrustedRealm
from stead.adapters.kerberos.s4u import LogonWithoutPassword
from stead.adapters.kerberos.service import KerberosService
from stead.authority.issuers import Issuer
from stead.authority.lockout import LockoutPolicy
from stead.errors import LogonFailureError, LogonSessionEndedError, NoCredentialsError
from stead.ledger.query import Query
from stead.model.audit_record import AuditEvent
from stead.model.logon_record import LogonType
from stead.model.privilege import LogonRight
from stead.model.token import ImpersonationLevel, TokenType
from stead.model.well_known import (
    AUTHORITY_ASSERTED_IDENTITY,
    SERVICE_ASSERTED_IDENTITY,
)

REALM = "STEAD.TEST"
QUICK = LockoutPolicy(first_delay=0.001, longest_delay=0.01)


@pytest.fixture(scope="module")
def stage():
    with staged(REALM) as made:
        yield made


@pytest.fixture
def server(stage, open_server, tmp_path):
    service = stage.service()
    made = open_server(
        store=tmp_path / "notes.db", lockout=QUICK,
        packages=[KerberosPackage(service)],
        password_authorities=[KerberosPasswords(service, REALM, aliases=["STEAD"])],
        issuers=[Issuer(REALM, packages=["kerberos"], names_accounts=True)],
    )  # fmt: skip
    tmp_path.chmod(0o700)
    for name in ("alice", "bob"):
        made.accounts.add(name)
    return made


def test_a_ticket_opens_a_session_that_holds_what_was_delegated(stage, server):
    blob = stage.context(mech=SPNEGO, flags=DELEGATE).step()
    session = session_of(server, blob)
    assert ("alice", LogonType.NETWORK, TokenType.IMPERSONATION) == (
        session.name, session.record.logon_type, session.token.type,
    )  # fmt: skip
    assert ImpersonationLevel.DELEGATION is session.token.level
    assert session.token.group(AUTHORITY_ASSERTED_IDENTITY) is not None
    held = session.credentials_for("kerberos")
    heard = stage.back_end_hears(held.initiate("HTTP@back").step())
    assert "alice@STEAD.TEST" == heard
    session.close()
    with pytest.raises(NoCredentialsError):
        held.gss()
    with pytest.raises(LogonSessionEndedError):
        session.credentials_for("kerberos")


def test_without_delegation_the_second_hop_has_nothing(stage, server):
    with session_of(server, stage.context().step()) as session:
        assert ImpersonationLevel.IMPERSONATION is session.token.level
        with pytest.raises(NoCredentialsError):
            session.credentials_for("kerberos")


@pytest.mark.parametrize("name", ["alice@STEAD.TEST", "STEAD\\alice", "alice@stead"])
def test_a_qualified_name_is_the_realms(stage, server, name):
    with server.log_on(name, "tiger", LogonType.INTERACTIVE) as session:
        assert ("alice", TokenType.PRIMARY) == (session.name, session.token.type)
        held = session.credentials_for("kerberos")
        heard = stage.back_end_hears(held.initiate("HTTP@back").step())
        assert "alice@STEAD.TEST" == heard
    with (
        server.log_on(name, "tiger", LogonType.NETWORK) as session,
        pytest.raises(NoCredentialsError),
    ):
        session.credentials_for("kerberos")


def test_whatever_is_wrong_sounds_the_same(stage, server, monkeypatch):
    blob = stage.context().step()
    session_of(server, blob).close()
    stranger = stage.context("service").step()  # of the realm, and no account here
    heard = set()

    def fails(act):
        with pytest.raises(LogonFailureError) as caught:
            act()
        heard.add((str(caught.value), caught.value.public, caught.value.status))
        assert caught.value.record
        assert caught.value.__cause__ is None

    for wrong in (blob, blob[:-4], b"", b"NTLMSSP\0", stranger):
        fails(lambda wrong=wrong: session_of(server, wrong))
    for name, password in (
        ("alice@STEAD.TEST", "lion"), ("nobody@STEAD.TEST", "tiger"),
        ("service@STEAD.TEST", "its-own"), ("alice@OTHER.TEST", "tiger"),
        ("alice", "tiger"),
    ):  # fmt: skip
        fails(lambda n=name, p=password: server.log_on(n, p, LogonType.NETWORK))
    monkeypatch.setenv("KRB5_CONFIG", "/nonexistent")
    fails(lambda: server.log_on("alice@STEAD.TEST", "tiger", LogonType.NETWORK))
    assert {("logon failure", "logon failure", 1326)} == heard
    found = list(server.trail.find(Query(event=AuditEvent.LOGON_FAILED)))
    assert 11 == len(found)


def test_a_session_without_a_password_says_so_in_its_token(stage, server):
    without = LogonWithoutPassword(stage.service())
    with server.admit(without.log_on("bob", REALM), gate="test") as session:
        assert "bob" == session.name
        assert session.token.group(SERVICE_ASSERTED_IDENTITY) is not None
        assert session.token.group(AUTHORITY_ASSERTED_IDENTITY) is None


def test_a_stolen_store_and_a_stolen_trail_hold_no_credentials(stage, server, tmp_path):
    with server.log_on("alice@STEAD.TEST", "tiger", LogonType.INTERACTIVE) as session:
        held = session.credentials_for("kerberos")
        held.initiate("HTTP@back").step()
        secrets = [b"tiger", held._open_cache().encode(), b"MEMORY:"]
        with pytest.raises(LogonFailureError):
            server.log_on("alice@STEAD.TEST", "tiger2", LogonType.INTERACTIVE)
    server.close()
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert files
    for file in files:
        content = file.read_bytes()
        assert not [secret for secret in secrets if secret in content]


# --- Active Directory -----------------------------------------------------------------


@pytest.fixture
def directory(active_directory, monkeypatch, open_server):
    """The domain, a server of its, and how somebody shows a ticket there."""
    domain = active_directory
    for name, value in domain.environment().items():
        monkeypatch.setenv(name, value)
    realm = TrustedRealm(name=domain.name)
    front = f"HTTP/front.{domain.dns_name}"
    service = KerberosService(
        domain.export_keytab(front, "front"), front, realms=[realm],
        replay_cache=domain.folder / "front-replays",
    )  # fmt: skip
    server = open_server(
        lockout=QUICK,
        packages=[KerberosPackage(service)],
        password_authorities=[KerberosPasswords(service, domain.name, aliases=["AD"])],
        issuers=[Issuer(domain.name, domains=[domain.sid])],
    )
    return domain, server


def test_a_domains_client_has_the_token_that_its_ticket_tells(directory):
    domain, server = directory
    # A group of the domain's may what a group of the store's may.
    server.accounts.grant(domain.sid_of("outer"), LogonRight.INTERACTIVE)
    password = domain.password_of("alice")
    with server.log_on("AD\\alice", password, LogonType.INTERACTIVE) as session:
        assert domain.sid_of("alice") == session.sid
        for group in ("inner", "outer", "local"):
            assert session.token.group(domain.sid_of(group)) is not None
        blob = session.credentials_for("kerberos").initiate(
            f"HTTP@front.{domain.dns_name}"
        )
        with session_of(server, blob.step()) as second:
            assert domain.sid_of("alice") == second.sid
            assert second.token.group(domain.sid_of("outer")) is not None
    with server.log_on(
        f"bob@{domain.name}", domain.password_of("bob"), LogonType.NETWORK
    ) as bob:
        assert bob.token.group(domain.sid_of("outer")) is None


def test_who_may_not_log_on_in_the_domain_may_not_here(directory):
    domain, server = directory
    for name in ("disabled", "expired", "mustchange", "nohours"):
        with pytest.raises(LogonFailureError):
            server.log_on(f"AD\\{name}", domain.password_of(name), LogonType.NETWORK)
