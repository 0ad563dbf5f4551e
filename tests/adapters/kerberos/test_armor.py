"""Passwords under armor (FAST): who is on the way to the KDC can guess at nothing."""

from __future__ import annotations

import krb5
import pytest
from tests.adapters.kerberos.listening_kdc import ARMORED, OnTheWay, guessed, kinds
from tests.adapters.kerberos.stage import HTTP, PASSWORDS

from stead.adapters.kerberos import password as module
from stead.adapters.kerberos.password import KerberosPasswords
from stead.adapters.kerberos.proof import TrustedRealm
from stead.adapters.kerberos.service import KerberosService
from stead.errors import (
    AccountDisabledError,
    DirectoryUnavailableError,
    PasswordMismatchError,
    PasswordMustChangeError,
    UnknownAccountError,
    UnsafeConfigurationError,
)
from stead.model.secret import Secret
from stead.testing.realm import Realm

NAME = "STEAD.TEST"
SALT = f"{NAME}alice"  # RFC 4120 4: anybody knows it
DICTIONARY = ["lion", "wolf", PASSWORDS["alice"]]


@pytest.fixture
def on_the_way(stage, monkeypatch):
    """Who stands between, once he is said what to do."""

    def stand(*, leaves_out=False):
        way = OnTheWay(stage.realm, leaves_out=leaves_out)
        ways.append(way)
        monkeypatch.setenv("KRB5_CONFIG", way.configuration(stage.realm))
        return way

    ways = []
    yield stand
    for way in ways:
        way.close()


def log_on(stage, name="alice", password=None, *, keep=False, **options):
    authority = KerberosPasswords(stage.service(), NAME, **options)
    return ask(authority, name, password, keep=keep)


def ask(authority, name="alice", password=None, *, keep=False):
    secret = Secret(PASSWORDS["alice"] if password is None else password)
    return authority.log_on(name, NAME, secret, keep=keep)


def test_whoever_listens_has_nothing_to_guess_at(stage, on_the_way):
    way = on_the_way()
    assert "alice" == log_on(stage).name
    assert PASSWORDS["alice"] == guessed(way.asked, SALT, DICTIONARY)
    way.asked.clear()
    assert "alice" == log_on(stage, armored=True).name
    assert guessed(way.asked, SALT, DICTIONARY) is None
    assert {ARMORED} == kinds(way.asked[-1])


def put_on_if_there_is_one(context, options, cache):
    """As a program does that takes what it is offered."""
    krb5.get_init_creds_opt_set_fast_ccache_name(context, options, cache.encode())


def test_whoever_takes_the_armor_off_has_nothing_to_guess_at_either(
    stage, on_the_way, monkeypatch
):
    way = on_the_way(leaves_out=True)
    with monkeypatch.context() as patch:
        patch.setattr(module, "put_on", put_on_if_there_is_one)
        assert "alice" == log_on(stage, armored=True).name
    assert PASSWORDS["alice"] == guessed(way.asked, SALT, DICTIONARY)
    way.asked.clear()
    with pytest.raises(DirectoryUnavailableError, match="takes none") as caught:
        log_on(stage, armored=True)
    assert "armoring" in caught.value.advice
    assert guessed(way.asked, SALT, DICTIONARY) is None


def test_what_is_wrong_is_told_apart_as_without_it(stage):
    stage.realm.add_principal("away", "wolf", options="-allow_tix")
    stage.realm.add_principal("stale", "wolf", options="+needchange")
    stage.realm.add_principal("guessed", "wolf", options="-requires_preauth")
    for name, password, error in (
        ("alice", "lion", PasswordMismatchError),
        ("alice", "", PasswordMismatchError),
        ("guessed", "lion", PasswordMismatchError),
        ("nobody", "tiger", UnknownAccountError),
        ("away", "wolf", AccountDisabledError),
        ("stale", "wolf", PasswordMustChangeError),
        ("stale", "fox", PasswordMismatchError),
    ):
        for armored in (False, True):
            with pytest.raises(error):
                log_on(stage, name, password, armored=armored)


def test_tickets_are_kept_as_without_it(stage):
    held = log_on(stage, keep=True, armored=True)
    heard = stage.back_end_hears(held.credentials.initiate("HTTP@back").step())
    held.close()
    assert "alice@STEAD.TEST" == heard


def test_an_armor_is_worn_for_as_long_as_it_lasts(stage, on_the_way):
    way = on_the_way()
    authority = KerberosPasswords(stage.service(), NAME, armored=True)
    counts = []
    for life in ("1 hour", "30 seconds"):
        stage.realm._administer(f'modprinc -maxlife "{life}" {HTTP}')
        for _ in range(3):
            ask(authority)
            counts.append(sum(ARMORED not in kinds(each) for each in way.asked))
            way.asked.clear()
        authority = KerberosPasswords(stage.service(), NAME, armored=True)
    stage.realm._administer(f'modprinc -maxlife "1 hour" {HTTP}')
    # Each is a question for a ticket of this server's own.
    assert [1, 0, 0, 1, 1, 1] == counts


def test_a_realm_whose_own_key_was_changed_is_asked_again_at_once(stage, on_the_way):
    way = on_the_way()
    authority = KerberosPasswords(stage.service(), NAME, armored=True)
    ask(authority)
    stage.realm._administer(f"cpw -randkey krbtgt/{NAME}")
    way.asked.clear()
    assert "alice" == ask(authority).name
    assert any(ARMORED not in kinds(each) for each in way.asked)
    with pytest.raises(PasswordMismatchError):
        ask(authority, password="lion")


def test_a_server_that_has_no_ticket_counts_it_against_nobody(stage):
    stage.realm._administer(f"modprinc -allow_tix {HTTP}")
    with pytest.raises(DirectoryUnavailableError, match="to ask under"):
        log_on(stage, armored=True)
    stage.realm._administer(f"modprinc +allow_tix {HTTP}")
    assert "alice" == log_on(stage, armored=True).name


def test_an_account_that_the_keytab_has_no_key_of_is_told_at_once(stage):
    with pytest.raises(UnsafeConfigurationError, match="no key"):
        KerberosPasswords(
            stage.service(), NAME, armored=True, account=f"service@{NAME}"
        )


@pytest.mark.parametrize("is_trusted", [True, False])
def test_another_realm_takes_it_from_servers_of_a_realm_that_it_trusts(
    monkeypatch, is_trusted
):
    with Realm(NAME) as own, Realm("PARTNER.TEST") as other:
        own.trust(other)
        if is_trusted:
            other.trust(own)
        other.add_principal("alice", "panther")
        service = KerberosService(
            own.add_service(HTTP), HTTP,
            realms=[TrustedRealm(name=other.name, requires_pac=False)],
            replay_cache=own.folder / "replays",
        )  # fmt: skip
        monkeypatch.setenv("KRB5_CONFIG", str(own.configuration))
        authority = KerberosPasswords(service, other.name, armored=True)

        def name():
            secret = Secret("panther")
            return authority.log_on("alice", other.name, secret, keep=False).name

        if is_trusted:
            assert "alice" == name()
        else:
            with pytest.raises(DirectoryUnavailableError, match="takes none of this"):
                name()


def test_active_directory_takes_it_from_the_server_s_account(
    active_directory, monkeypatch
):
    domain = active_directory
    for variable, value in domain.environment().items():
        monkeypatch.setenv(variable, value)
    front = f"HTTP/armory.{domain.dns_name}"
    service = KerberosService(
        domain.add_service("armory", front), front,
        realms=[TrustedRealm(name=domain.name)],
        replay_cache=domain.folder / "armory-replays",
    )  # fmt: skip
    secret = Secret(domain.password_of("alice"))
    with pytest.raises(DirectoryUnavailableError, match="to ask under") as caught:
        KerberosPasswords(service, domain.name, armored=True).log_on(
            "alice", domain.name, secret, keep=False
        )
    assert "account=" in caught.value.advice
    authority = KerberosPasswords(
        service, domain.name, armored=True, account=f"armory@{domain.name}"
    )
    client = authority.log_on("alice", domain.name, secret, keep=False)
    assert domain.sid_of("alice") == client.sids.user
    with pytest.raises(PasswordMismatchError):
        authority.log_on("alice", domain.name, Secret("not-Hers-1"), keep=False)
