"""Users of the host that come again: what anybody changes counts at their next logon.

Each test has, beside ours, a naive server that remembers who a user was.
"""

from __future__ import annotations

import pytest

from stead.authority.host_clients import HostClients
from stead.authority.identity import identify_peer
from stead.errors import AccountDisabledError
from stead.model import well_known
from stead.model.logon_record import LogonType
from stead.model.posix_identity import PosixIdentity

DORA = PosixIdentity(70001, 70001, (70007,))
NETWORK = LogonType.NETWORK


@pytest.fixture
def account(store):
    added = store.add_account("dora", 70001, 70001)
    readers = store.add_group("readers", None)
    store.add_member(readers.sid, well_known.unix_group(70007))
    store.add_right(added.sid, "SeBackupPrivilege")
    return added


class Counting:
    """A store that counts what it is asked."""

    def __init__(self, store):
        self._store = store
        self.asked = 0

    def __getattr__(self, name):
        self.asked += 1
        return getattr(self._store, name)


@pytest.fixture
def counting(store):
    return Counting(store)


@pytest.fixture
def who(store, counting, account):
    """Give what says who a user is by now, and what a naive server says that it is."""
    hosts, naive = HostClients(counting), {}

    def ask(posix=DORA, logon_type=NETWORK):
        ours = hosts.identify(posix, logon_type)
        return ours, naive.setdefault(posix.uid, ours)

    for _ in range(3):
        ours, theirs = ask()
        assert ours == theirs == identify_peer(store, DORA)
    return ask


def test_who_comes_again_costs_the_store_one_question(who, counting):
    before = counting.asked
    ours, naive = who()
    assert before + 1 == counting.asked
    assert ours is who()[0]
    assert ours == naive


def test_what_the_host_says_of_a_user_is_never_remembered(who):
    ours, naive = who(PosixIdentity(70001, 70001))
    assert ([], ["readers"]) == (
        [m.group.name for m in ours.memberships],
        [m.group.name for m in naive.memberships],
    )
    ours, naive = who(PosixIdentity(70001, 70002, (70007,)))
    assert (70002, 70001) == (ours.posix.gid, naive.posix.gid)
    assert 70001 == who()[0].posix.gid


def test_one_who_comes_another_way_is_not_who_came_before(who):
    ours, naive = who(logon_type=LogonType.INTERACTIVE)
    assert (LogonType.INTERACTIVE, NETWORK) == (ours.logon_type, naive.logon_type)


def test_a_name_that_has_another_uid_by_now_is_somebody_else(who, store, account):
    """The host may give a name another uid between two logons: so may the store."""
    somebody_else, _ = who(PosixIdentity(70002, 70001, (70007,)))
    assert well_known.unix_user(70002) == somebody_else.user
    store.set_account_ids(account.sid, 70002, 70001)
    ours, naive = who()
    assert (well_known.unix_user(70001), account.sid) == (ours.user, naive.user)
    assert account.sid == who(PosixIdentity(70002, 70001))[0].user


def test_what_is_changed_counts_at_the_next_logon(who, store, account):
    store.remove_right(account.sid, "SeBackupPrivilege")
    ours, naive = who()
    assert "SeBackupPrivilege" not in ours.rights
    assert "SeBackupPrivilege" in naive.rights

    readers = store.group_by_name("readers")
    store.remove_member(readers.sid, well_known.unix_group(70007))
    ours, naive = who()
    assert ((), 1) == (ours.memberships, len(naive.memberships))

    for _ in range(3):  # nor is what is refused remembered
        store.set_account_disabled(account.sid, is_disabled=True)
        with pytest.raises(AccountDisabledError):
            who()
    store.set_account_disabled(account.sid, is_disabled=False)
    assert not who()[0].account.is_disabled

    store.remove_principal(account.sid)
    ours, naive = who()
    assert (well_known.unix_user(70001), None) == (ours.user, ours.account)
    assert account.sid == naive.user


def test_what_changes_while_the_store_is_asked_is_kept_as_of_then(store, account):
    """Between the two questions for the generation: nothing older is given out."""

    to_change = [account.sid]

    class Changing:
        def __getattr__(self, name):
            if name == "account_by_uid" and to_change:
                store.remove_right(to_change.pop(), "SeBackupPrivilege")
            return getattr(store, name)

    hosts = HostClients(Changing())
    for _ in range(4):
        found = hosts.identify(DORA, NETWORK)
        assert "SeBackupPrivilege" not in found.rights
    assert store.generation() == found.generation
