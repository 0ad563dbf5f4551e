"""What the host says of a uid, where an issuer's clients are believed for a while.

Beside ours stands a naive server that keeps what the host said by the uid.
"""

from __future__ import annotations

import pytest

from stead.authority.asserted import identify_asserted
from stead.authority.issuers import Issuer, Issuers
from stead.authority.packages import AssertedSids, Authenticated
from stead.authority.ports import Alias
from stead.errors import AccountDisabledError, DirectoryUnavailableError
from stead.model.posix_identity import PosixIdentity
from stead.model.sid import Sid

DOMAIN = Sid.from_string("S-1-5-21-7-8-9")
ALICE = DOMAIN.with_rid(1104)
REALM = "AD.EXAMPLE.TEST"
CLIENT = Authenticated(
    package="kerberos", issuer=REALM, name="alice", sids=AssertedSids(ALICE)
)
UID = 70001


class Host:
    """A host whose groups a test changes, and which may be down, or slow."""

    def __init__(self, clock):
        self.groups, self.asked = (UID, 70005), 0
        self.is_down, self.takes, self.clock = False, 0.0, clock

    def __call__(self, uid):
        self.asked += 1
        if self.is_down:
            raise DirectoryUnavailableError("the directory is down")
        said = PosixIdentity(uid, uid, self.groups) if self.groups else None
        self.clock.pass_seconds(self.takes)
        return said


@pytest.fixture
def host(clock):
    return Host(clock)


@pytest.fixture
def account(store):
    made = store.add_account("al", UID, UID)
    store.add_alias(made.sid, Alias(REALM, str(ALICE)))
    return made


@pytest.fixture
def who(store, account, host, clock):
    """Give what says who the client is; the host's word counts for a second."""
    assert account.uid == UID
    issuer = Issuer(REALM, domains=(DOMAIN,), host_lasts=1.0)
    issuers = Issuers([issuer], store.domain(), clock)
    return lambda: identify_asserted(store, CLIENT, issuers, host=host)


@pytest.fixture
def naive(host):
    kept = {}
    return lambda: kept.get(UID) or kept.setdefault(UID, host(UID))


def groups_of(identity):
    return identity.posix.groups


def come_again(who):
    for _ in range(3):  # who comes twice is known
        who()


def test_a_word_of_the_hosts_counts_for_as_long_as_is_said(who, naive, host, clock):
    come_again(who)
    naive()
    asked = host.asked
    host.groups = (UID,)
    clock.pass_seconds(0.99)
    assert (UID, 70005) == groups_of(who())
    assert asked == host.asked
    clock.pass_seconds(0.01)
    assert ((UID,), (UID, 70005)) == (groups_of(who()), naive().groups)
    come_again(who)
    asked = host.asked
    assert (UID,) == groups_of(who())
    assert asked == host.asked


def test_it_counts_from_before_the_host_was_asked(who, host, clock):
    host.takes = 0.8
    come_again(who)
    asked, host.groups = host.asked, (UID,)
    clock.pass_seconds(0.1)
    assert (UID, 70005) == groups_of(who())
    assert asked == host.asked
    clock.pass_seconds(0.1)  # a second since the question, and not since the answer
    assert (UID,) == groups_of(who())


def test_whatever_changes_in_the_store_has_the_host_asked(
    who, naive, host, whole_store, account
):
    """`stead session end-all` after a change of groups: she comes back without them."""
    come_again(who)
    naive()
    host.groups = (UID,)
    whole_store.session_ends.end_sessions_of(account.sid)
    assert ((UID,), (UID, 70005)) == (groups_of(who()), naive().groups)


def test_an_account_that_is_disabled_or_maps_elsewhere_is_so_at_once(
    who, host, store, account
):
    come_again(who)
    store.set_account_ids(account.sid, 70009, 70009)
    host.groups = (70009,)
    assert 70009 == who().posix.uid
    come_again(who)
    store.set_account_disabled(account.sid, is_disabled=True)
    for _ in range(3):
        with pytest.raises(AccountDisabledError):
            who()


def test_a_directory_that_is_down_is_an_error_when_its_word_is_over(who, host, clock):
    come_again(who)
    host.is_down = True
    assert (UID, 70005) == groups_of(who())
    clock.pass_seconds(1)
    for _ in range(3):  # and what was not answered is not kept
        with pytest.raises(DirectoryUnavailableError):
            who()
    host.is_down = False
    assert (UID, 70005) == groups_of(who())


def test_that_the_host_knows_nobody_never_counts_any_longer(who, host):
    host.groups = ()
    for number in range(1, 6):
        assert () == groups_of(who())
        assert number == host.asked
    host.groups = (UID, 70005)
    assert (UID, 70005) == groups_of(who())
