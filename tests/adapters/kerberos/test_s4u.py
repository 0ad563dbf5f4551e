"""Logging clients on without a password, and going on for them where it is allowed."""

import time

import pytest
from tests.adapters.kerberos.stage import HTTP, Stage

from stead.adapters.kerberos.acceptor import KerberosPackage
from stead.adapters.kerberos.proof import TrustedRealm
from stead.adapters.kerberos.s4u import LogonWithoutPassword
from stead.adapters.kerberos.service import KerberosService
from stead.errors import (
    AccountDisabledError,
    CredentialsExpiredError,
    EvidenceRefusedError,
    NoCredentialsError,
    UnknownAccountError,
)
from stead.model.token import ImpersonationLevel
from stead.testing.directory_realm import DirectoryRealm

NAME = "STEAD.TEST"


def test_a_name_is_enough_where_the_realm_says_so(stage):
    client = LogonWithoutPassword(stage.service()).log_on("bob", NAME)
    assert ("kerberos", NAME, "bob", None) == (
        client.package, client.issuer, client.name, client.credentials,
    )  # fmt: skip
    assert client.is_verified_by_service
    assert ImpersonationLevel.IMPERSONATION is client.level
    assert client.expires / 1e9 > time.time()
    assert ("by", f"{HTTP}@{NAME}") in client.details


def test_who_is_unknown_or_disabled_is_not_logged_on(stage):
    without = LogonWithoutPassword(stage.service())
    stage.realm.add_principal("gone", "wolf", options="-allow_tix")
    for name, realm, error in (
        ("nobody", NAME, UnknownAccountError),
        ("bob", "OTHER.TEST", UnknownAccountError),
        ("bob@OTHER", NAME, UnknownAccountError),
        ("", NAME, UnknownAccountError),
        ("gone", NAME, AccountDisabledError),
        ("HTTP/localhost", NAME, EvidenceRefusedError),
    ):
        with pytest.raises(error):
            without.log_on(name, realm)


@pytest.fixture(scope="module")
def directory(monkeypatch_module):
    with DirectoryRealm() as realm:
        monkeypatch_module(realm.environment())
        stage = Stage(realm)
        realm.add_principal("protected", "puma", options="-allow_forwardable")
        realm.add_service("HTTP/other", keytab=stage.back)
        realm.allow_delegation(HTTP, ["HTTP/back"])
        yield stage


def test_credentials_reach_the_named_targets_and_no_others(directory):
    service = directory.service()
    without = LogonWithoutPassword(service, targets=("HTTP@back",))
    client = without.log_on("bob", NAME)
    held = client.credentials
    assert ("bob@STEAD.TEST", True) == (held.principal, held.is_constrained)
    heard = directory.back_end_hears(held.initiate("HTTP@back").step())
    assert "bob@STEAD.TEST" == heard
    with pytest.raises(NoCredentialsError, match="may not go"):
        held.initiate("HTTP@other")
    # Named here, and not by the domain.
    wider = LogonWithoutPassword(service, targets=("HTTP@back", "HTTP@other"))
    other = wider.log_on("bob", NAME)
    with pytest.raises(NoCredentialsError) as caught:
        other.credentials.initiate("HTTP@other").step()
    assert "constrained delegation" in caught.value.advice
    held.renew_for(60)
    with pytest.raises(CredentialsExpiredError):
        held.renew_for(2 * 3600)
    for each in (client, other):
        each.close()


def test_a_client_that_showed_a_ticket_is_acted_for_where_that_is_allowed(directory):
    package = KerberosPackage(directory.service(), targets=("HTTP@back",))
    client = package.begin(None).step(directory.context().step()).client
    held = client.credentials
    heard = directory.back_end_hears(held.initiate("HTTP@back").step())
    assert "alice@STEAD.TEST" == heard
    client.close()


def test_whoever_is_never_to_be_delegated_is_not(directory):
    service = directory.service()
    client = LogonWithoutPassword(service, targets=("HTTP@back",)).log_on(
        "protected", NAME
    )
    with pytest.raises(NoCredentialsError):
        client.credentials.initiate("HTTP@back").step()
    client.close()


@pytest.fixture
def strict(directory):
    """The realm, while it allows nothing for whom the service only names."""
    directory.realm.allow_delegation(HTTP, ["HTTP/back"], without_password=False)
    yield directory
    directory.realm.allow_delegation(HTTP, ["HTTP/back"])


def test_a_domain_that_allows_no_names_gives_nothing_to_go_on_with(strict):
    service = KerberosService(
        strict.keytab, HTTP, realms=[TrustedRealm(name=NAME, requires_pac=False)],
        replay_cache=strict.folder / "replays",
    )  # fmt: skip
    client = LogonWithoutPassword(service, targets=("HTTP@back",)).log_on("bob", NAME)
    with pytest.raises(NoCredentialsError):
        client.credentials.initiate("HTTP@back").step()
    client.close()
