"""Clients that came before: what anybody changes counts at their next ticket.

Each test has, beside ours, a naive server that remembers who a client was.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from dataclasses import replace
from itertools import count

import pytest
from sqlalchemy import insert

from stead.adapters.store import Store
from stead.adapters.store.generation import count_change
from stead.adapters.store.schema import ACCOUNT_RIGHT, ALIAS
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
STAFF_ELSEWHERE = f"__import__('stead').Sid.from_string('{STAFF}')"
ANOTHER_PROCESS = """
import sys
from stead.adapters.store import Store
from stead.authority.ports import Alias
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
    process.wait(60)
    process.stdout.close()


@pytest.fixture
def who(store):
    """Give what says who the client is, and what a naive server says that it is."""
    issuers = Issuers(
        [Issuer(REALM, domains=(DOMAIN,))], store.domain(), time.monotonic_ns
    )
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

    readers = "accounts.group_by_name('readers').sid"
    another_process(f"accounts.remove_member({readers}, {STAFF_ELSEWHERE})")
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


class Asked:
    """A store, and what it is asked."""

    def __init__(self, store):
        self.store, self.asked = store, []

    def __getattr__(self, name):
        def ask(*words):
            self.asked.append((name, *words))
            return getattr(self.store, name)(*words)

        return ask


@pytest.fixture
def stranger(store):
    """Give what says who somebody is who never came before, and what was asked."""
    issuers = Issuers(
        [Issuer(REALM, domains=(DOMAIN,))], store.domain(), time.monotonic_ns
    )
    rids = count(5000)

    def come(own=None):
        sid = own or DOMAIN.with_rid(next(rids))
        client = replace(CLIENT, sids=AssertedSids(sid, (TokenGroup(STAFF),)))
        asked = Asked(store)
        found = identify_asserted(asked, client, issuers, host=lambda _uid: None)
        return found, asked.asked

    for _ in range(2):  # what is seen twice is known
        come()
    return come


def names_of(identity):
    return [membership.group.name for membership in identity.memberships]


def test_of_a_stranger_is_asked_what_is_its_own(stranger):
    """Each question may be an errand to another thread; the group's are known."""
    found, asked = stranger()
    assert ["readers"] == names_of(found)
    assert {"SeNetworkLogonRight"} == found.rights
    own = found.user
    assert [
        ("generation",),
        ("account_by_alias", REALM, str(own), "alice"),
        ("assignments_of", [own]),
    ] == asked


def test_where_few_are_somebody_nothing_is_asked_of_the_others(stranger, store):
    for _ in range(8):  # a store that changes all the time is not read whole
        stranger()
    found, asked = stranger()
    assert [("generation",)] == asked
    assert ["readers"] == names_of(found)
    own, other = DOMAIN.with_rid(4998), DOMAIN.with_rid(4999)
    store.add_right(own, "SeDebugPrivilege")
    store.add_alias(store.account_by_name("al").sid, Alias(REALM, str(other)))
    for _ in range(12):
        stranger()
    assert "SeDebugPrivilege" in stranger(own)[0].rights
    assert "al" == stranger(other)[0].name
    assert [("generation",)] == stranger()[1]


def test_where_many_are_somebody_they_are_asked_about_one_by_one(stranger, store):
    al = store.account_by_name("al").sid
    with store._database.writing() as connection:
        rows = [{"issuer": REALM, "name": f"n{n}", "sid": al} for n in range(1025)]
        connection.execute(insert(ALIAS), rows)
        rows = [{"holder": DOMAIN.with_rid(9000 + n), "name": "x"} for n in range(1025)]
        connection.execute(insert(ACCOUNT_RIGHT), rows)
        count_change(connection)
    for _ in range(20):
        _, asked = stranger()
    words = [word for word, *_ in asked]
    assert ["generation", "account_by_alias", "assignments_of"] == words
    assert {"SeNetworkLogonRight", "x"} == stranger(DOMAIN.with_rid(9000 + 77))[
        0
    ].rights


def test_what_changes_of_a_strangers_groups_counts_at_its_first_ticket(
    stranger, store, another_process
):
    for _ in range(12):
        stranger()
    naive = {STAFF: store.assignments_of([STAFF])[STAFF]}  # kept for good
    few = store.assigned_to(100)  # likewise
    group = "accounts.add_group('new', None).sid"
    another_process(f"accounts.add_member({group}, {STAFF_ELSEWHERE})")
    assert ["new", "readers"] == sorted(names_of(stranger()[0]))
    assert ["readers"] == [group.name for group in naive[STAFF].groups]
    another_process(f"accounts.add_right({STAFF_ELSEWHERE}, 'SeBackupPrivilege')")
    assert "SeBackupPrivilege" in stranger()[0].rights
    assert () == naive[STAFF].rights
    for _ in range(12):
        stranger()
    own = DOMAIN.with_rid(4999)
    elsewhere = STAFF_ELSEWHERE.replace(str(STAFF), str(own))
    another_process(f"accounts.add_right({elsewhere}, 'SeDenyNetworkLogonRight')")
    assert "SeDenyNetworkLogonRight" in stranger(own)[0].rights
    assert str(own) not in few
    al = "accounts.account_by_name('al').sid"
    alias = (
        f"__import__('stead.authority.ports').authority.ports.Alias('{REALM}', '{own}')"
    )
    another_process(f"accounts.add_alias({al}, {alias})")
    assert "al" == stranger(own)[0].name


def test_threads_at_once_see_what_was_changed_before_they_ask(stranger, store):
    """One changes a group again and again; whoever asks after that sees it."""
    readers = store.group_by_name("readers").sid
    wrong, is_over = [], threading.Event()

    def come():
        while not is_over.is_set():
            stranger()

    def change():
        for _ in range(40):
            store.remove_member(readers, STAFF)
            wrong.append(names_of(stranger()[0]) != [])
            store.add_member(readers, STAFF)
            wrong.append(names_of(stranger()[0]) != ["readers"])

    others = [threading.Thread(target=come) for _ in range(3)]
    for other in others:
        other.start()
    try:
        change()
    finally:
        is_over.set()
        for other in others:
            other.join()
    assert [False] * 80 == wrong
