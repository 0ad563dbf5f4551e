"""Clients that came before: what anybody changes counts at their next ticket.

Each test has, beside ours, a naive server that remembers who a client was.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from stead.adapters.store import Store
from stead.authority.asserted import identify_asserted
from stead.authority.issuers import Issuer, Issuers
from stead.authority.packages import AssertedSids, Authenticated
from stead.authority.ports import Alias
from stead.errors import AccountDisabledError
from stead.model.posix_identity import PosixIdentity
from stead.model.sid import Sid
from stead.model.token import TokenGroup

DOMAIN = Sid.from_string("S-1-5-21-7-8-9")
ALICE, STAFF = DOMAIN.with_rid(1104), DOMAIN.with_rid(1200)
REALM = "AD.EXAMPLE.TEST"
CLIENT = Authenticated(
    package="kerberos", issuer=REALM, name="alice",
    sids=AssertedSids(ALICE, (TokenGroup(STAFF),)),
)  # fmt: skip
ANOTHER_PROCESS = """
import sys
from stead.adapters.store import Store
with Store.open(sys.argv[1], create=False) as store:
    accounts = store.accounts
    for line in sys.stdin:
        exec(line)
        print("done", flush=True)
"""


@pytest.fixture
def place(tmp_path):
    tmp_path.chmod(0o700)
    return tmp_path / "store.db"


@pytest.fixture
def store(place):
    with Store.open(place, create=True) as opened:
        accounts = opened.accounts
        alice = accounts.add_account("al", 70001, 70001)
        accounts.add_alias(alice.sid, Alias(REALM, str(ALICE)))
        readers = accounts.add_group("readers", 70007)
        accounts.add_member(readers.sid, STAFF)
        accounts.add_right(alice.sid, "SeBackupPrivilege")
        yield accounts


@pytest.fixture
def another_process(place, store):
    """Give what has a process of its own make a change."""
    process = subprocess.Popen(
        [sys.executable, "-c", ANOTHER_PROCESS, str(place)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={k: v for k, v in os.environ.items() if not k.startswith("COV")},
    )

    def make(change):
        process.stdin.write(change + "\n")
        process.stdin.flush()
        assert "done\n" == process.stdout.readline()

    yield make
    process.stdin.close()
    process.wait(10)
    process.stdout.close()


@pytest.fixture
def who(store):
    """Give what says who the client is, and what a naive server says that it is."""
    issuers = Issuers([Issuer(REALM, domains=(DOMAIN,))], store.domain())
    naive = {}

    def ask():
        def ours():
            return identify_asserted(
                store, CLIENT, issuers, host=lambda uid: PosixIdentity(uid, uid)
            )

        remembered = naive.get(CLIENT.name) or naive.setdefault(CLIENT.name, ours())
        return ours(), remembered

    for _ in range(3):
        ours, theirs = ask()
        assert ours == theirs
    assert ask()[0] is ask()[0]
    return ask


def test_what_another_process_changes_counts_at_the_next_ticket(who, another_process):
    sid = "accounts.account_by_name('al').sid"
    another_process(f"accounts.set_account_ids({sid}, 70002, 70003)")
    ours, naive = who()
    assert (70002, 70001) == (ours.posix.uid, naive.posix.uid)

    readers, staff = "accounts.group_by_name('readers').sid", str(STAFF)
    from_text = f"__import__('stead').Sid.from_string('{staff}')"
    another_process(f"accounts.remove_member({readers}, {from_text})")
    ours, naive = who()
    assert ([], ["readers"]) == (
        [m.group.name for m in ours.memberships],
        [m.group.name for m in naive.memberships],
    )
    assert ((), (70007,)) == (ours.posix.groups, naive.posix.groups)

    another_process(f"accounts.remove_right({sid}, 'SeBackupPrivilege')")
    ours, naive = who()
    assert "SeBackupPrivilege" not in ours.rights
    assert "SeBackupPrivilege" in naive.rights

    another_process(f"accounts.set_account_disabled({sid}, is_disabled=True)")
    with pytest.raises(AccountDisabledError):
        who()

    another_process(f"accounts.remove_principal({sid})")
    ours, naive = who()
    assert (ALICE, None) == (ours.user, ours.posix)
    assert naive.account is not None


def test_what_this_process_changes_counts_at_the_next_ticket(who, store):
    alice = store.account_by_name("al")
    store.set_account_ids(alice.sid, 70002, 70003)
    assert 70002 == who()[0].posix.uid
    readers = store.group_by_name("readers")
    store.set_group_gid(readers.sid, 70008)
    ours, naive = who()
    assert ((70008,), (70007,)) == (ours.posix.groups, naive.posix.groups)
    store.set_account_disabled(alice.sid, is_disabled=True)
    with pytest.raises(AccountDisabledError):
        who()
