"""Active Directory: groups by the PAC, and who is not let in, or not sent on."""

from contextlib import closing

import gssapi
import pytest
from gssapi.raw import accept_sec_context
from tests.adapters.kerberos.stage import DELEGATE, KERBEROS, MUTUAL, SPNEGO, principal

from stead.adapters.kerberos.acceptor import KerberosPackage
from stead.adapters.kerberos.password import KerberosPasswords
from stead.adapters.kerberos.proof import TrustedRealm
from stead.adapters.kerberos.s4u import LogonWithoutPassword
from stead.adapters.kerberos.service import KerberosService
from stead.errors import (
    AccountDisabledError,
    EvidenceRefusedError,
    NoCredentialsError,
    PasswordMismatchError,
    PasswordMustChangeError,
    SteadError,
    UnknownAccountError,
)
from stead.model.secret import Secret
from stead.model.token import ImpersonationLevel
from stead.model.well_known import (
    AUTHORITY_ASSERTED_IDENTITY,
    SERVICE_ASSERTED_IDENTITY,
)


class Directory:
    """The domain, and this file's two services in it."""

    def __init__(self, domain):
        self.domain = domain
        self.front = f"HTTP/gate.{domain.dns_name}"
        self.back = f"HTTP/vault.{domain.dns_name}"
        self.vault = domain.add_service("vault", self.back)
        self.keytab = domain.add_service("gate", self.front, delegates_to=[self.back])
        self.target = self.back.replace("/", "@")
        self.account = f"gate@{domain.name}"

    def service(self, **options):
        realm = TrustedRealm(name=self.domain.name)
        return KerberosService(
            self.keytab, self.front, realms=[realm],
            replay_cache=self.domain.folder / "gate-replays", **options,
        )  # fmt: skip

    def passwords(self):
        return KerberosPasswords(self.service(), self.domain.name, aliases=["ADX"])

    def log_on(self, name, password=None, *, keep=False):
        secret = Secret(password or self.domain.password_of(name))
        return self.passwords().log_on(name, "adx", secret, keep=keep)

    def blob(self, name, flags=MUTUAL, mech=KERBEROS):
        kept = self.log_on(name, keep=True).credentials
        try:
            return gssapi.SecurityContext(
                name=principal(f"{self.front}@{self.domain.name}"), creds=kept.gss(),
                mech=mech, flags=flags, usage="initiate",
            ).step()  # fmt: skip
        finally:
            kept.close()

    def heard(self, blob):
        keys = {"keytab": f"FILE:{self.vault}", "rcache": "none:"}
        found = accept_sec_context(blob, gssapi.Credentials(usage="accept", store=keys))
        return str(gssapi.Name(found.initiator_name))


@pytest.fixture(scope="module")
def directory(active_directory, monkeypatch_module):
    monkeypatch_module(active_directory.environment())
    return Directory(active_directory)


def group_sids(client):
    return {group.sid for group in client.sids.groups}


def test_a_ticket_tells_the_user_and_its_nested_groups(directory):
    domain = directory.domain
    package = KerberosPackage(directory.service())
    client = package.begin(None).step(directory.blob("alice")).client
    assert (domain.name, "alice") == (client.issuer, client.name)
    assert domain.sid_of("alice") == client.sids.user
    groups = group_sids(client)
    for nested in ("inner", "outer", "local"):
        assert domain.sid_of(nested) in groups
    assert AUTHORITY_ASSERTED_IDENTITY in groups
    assert not client.is_verified_by_service
    bob = package.begin(None).step(directory.blob("bob")).client
    assert domain.sid_of("inner") not in group_sids(bob)


def test_a_password_tells_the_same_as_a_ticket(directory):
    client = directory.log_on("alice")
    package = KerberosPackage(directory.service())
    shown = package.begin(None).step(directory.blob("alice")).client
    assert client.sids == shown.sids
    assert client.credentials is None
    # Whatever was typed, the account is called as the domain calls it.
    assert (
        "alice" == directory.log_on("ALICE", directory.domain.password_of("alice")).name
    )


def test_who_may_not_log_on_is_told_apart_for_the_trail(directory):
    password_of = directory.domain.password_of
    for name, password, error in (
        ("alice", "not-Hers-1", PasswordMismatchError),
        ("nobody", "any-Thing-1", UnknownAccountError),
        ("disabled", password_of("disabled"), AccountDisabledError),
        ("expired", password_of("expired"), AccountDisabledError),
        ("mustchange", password_of("mustchange"), PasswordMustChangeError),
        ("mustchange", "not-Hers-1", PasswordMismatchError),
        ("nohours", password_of("nohours"), AccountDisabledError),
    ):
        with pytest.raises(error) as caught:
            directory.log_on(name, password)
        assert "logon failure" == caught.value.public, name


def test_without_a_password_the_token_says_so(directory):
    without = LogonWithoutPassword(
        directory.service(), targets=(directory.target,), account=directory.account
    )
    client = without.log_on("alice", directory.domain.name)
    assert client.is_verified_by_service
    groups = group_sids(client)
    assert SERVICE_ASSERTED_IDENTITY in groups
    assert directory.domain.sid_of("outer") in groups
    heard = directory.heard(client.credentials.initiate(directory.target).step())
    assert f"alice@{directory.domain.name}" == heard
    with pytest.raises(NoCredentialsError, match="may not go"):
        client.credentials.initiate("cifs@elsewhere")
    client.close()
    for name in ("disabled", "nobody"):
        with pytest.raises(SteadError):
            without.log_on(name, directory.domain.name)


def test_a_client_that_showed_a_ticket_is_acted_for_where_the_domain_lets_us(directory):
    package = KerberosPackage(
        directory.service(), targets=(directory.target,), account=directory.account
    )
    for mech in (KERBEROS, SPNEGO):
        client = package.begin(None).step(directory.blob("alice", mech=mech)).client
        assert ImpersonationLevel.IMPERSONATION is client.level
        heard = directory.heard(client.credentials.initiate(directory.target).step())
        assert f"alice@{directory.domain.name}" == heard
        client.close()


def test_a_name_is_the_domains_however_it_is_written(directory):
    without = LogonWithoutPassword(directory.service(), account=directory.account)
    client = without.log_on("ALICE", directory.domain.name)
    assert ("alice", directory.domain.sid_of("alice")) == (
        client.name,
        client.sids.user,
    )


def test_a_protected_account_is_logged_on_and_never_sent_on(directory):
    without = LogonWithoutPassword(
        directory.service(), targets=(directory.target,), account=directory.account
    )
    client = without.log_on("protected", directory.domain.name)
    with pytest.raises(NoCredentialsError):
        client.credentials.initiate(directory.target).step()
    client.close()
    # Its own software gets no ticket to hand over.
    package = KerberosPackage(directory.service())
    client = package.begin(None).step(directory.blob("protected", DELEGATE)).client
    assert (ImpersonationLevel.IMPERSONATION, None) == (
        client.level,
        client.credentials,
    )


@pytest.fixture(scope="module")
def vault(directory):
    realm = TrustedRealm(name=directory.domain.name)
    return KerberosPackage(
        KerberosService(
            directory.vault, directory.back, realms=[realm],
            replay_cache=directory.domain.folder / "vault-replays",
        )
    )  # fmt: skip


def sent_on(directory, vault, client):
    """Return whom another service takes somebody for whom the gate sends on."""
    with closing(client):
        blob = client.credentials.initiate(directory.target).step()
    # A naive program takes both for a client who has come by herself.
    assert f"alice@{directory.domain.name}" == directory.heard(blob)
    return vault.begin(None).step(blob).client


def test_who_came_through_another_service_is_said_to(directory, vault):
    """A ticket got by constrained delegation names the services it came through."""
    options = {"targets": (directory.target,), "account": directory.account}
    without = LogonWithoutPassword(directory.service(), **options)
    invented = without.log_on("alice", directory.domain.name)
    client = sent_on(directory, vault, invented)
    assert ("alice", (directory.account,)) == (client.name, client.actors)
    assert client.is_verified_by_service
    assert SERVICE_ASSERTED_IDENTITY in group_sids(client)


def test_who_showed_that_service_a_ticket_is_told_apart(directory, vault):
    """The domain knows: it has seen the ticket that she showed."""
    package = KerberosPackage(
        directory.service(), targets=(directory.target,), account=directory.account
    )
    shown = package.begin(None).step(directory.blob("alice")).client
    client = sent_on(directory, vault, shown)
    assert ("alice", (directory.account,)) == (client.name, client.actors)
    assert not client.is_verified_by_service
    assert AUTHORITY_ASSERTED_IDENTITY in group_sids(client)


def test_every_service_on_the_way_is_told(directory, vault):
    """The gate sends her to the hall, and the hall sends her on to the vault."""
    domain = directory.domain
    hall = f"HTTP/hall.{domain.dns_name}"
    keys = domain.add_service("hall", hall, delegates_to=[directory.back])
    domain.set_delegation("gate", [directory.back, hall])
    target = hall.replace("/", "@")
    gate = LogonWithoutPassword(
        directory.service(), targets=(target,), account=directory.account
    )
    realm = TrustedRealm(name=domain.name)
    halls = KerberosPackage(
        KerberosService(
            keys, hall, realms=[realm], replay_cache=domain.folder / "hall-replays"
        ),
        targets=(directory.target,), account=f"hall@{domain.name}",
    )  # fmt: skip
    with closing(gate.log_on("alice", domain.name)) as sent:
        blob = sent.credentials.initiate(target).step()
    seen = halls.begin(None).step(blob).client
    assert (directory.account,) == seen.actors
    with closing(seen):
        blob = seen.credentials.initiate(directory.target).step()
    client = vault.begin(None).step(blob).client
    assert (f"hall@{domain.name}", directory.account) == client.actors
    assert client.is_verified_by_service


def test_a_ticket_without_groups_is_not_believed(directory):
    """A client can ask for one; the library, and the naive code, let it in."""
    cache = directory.domain.log_on(
        "alice", directory.domain.password_of("alice"), options="--no-request-pac"
    )
    creds = gssapi.Credentials(usage="initiate", store={"ccache": cache})

    def blob():
        return gssapi.SecurityContext(
            name=principal(f"{directory.front}@{directory.domain.name}"), creds=creds,
            mech=KERBEROS, flags=MUTUAL, usage="initiate",
        ).step()  # fmt: skip

    keys = {"keytab": f"FILE:{directory.keytab}", "rcache": "none:"}
    naive = accept_sec_context(blob(), gssapi.Credentials(usage="accept", store=keys))
    assert f"alice@{directory.domain.name}" == str(gssapi.Name(naive.initiator_name))
    with pytest.raises(EvidenceRefusedError, match="groups"):
        KerberosPackage(directory.service()).begin(None).step(blob())
