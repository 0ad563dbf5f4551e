"""Verifiers of passwords, and counts of failed logons, in a store."""

from __future__ import annotations

import shutil
import sqlite3
import threading
from contextlib import closing
from dataclasses import replace

import pytest

from stead.adapters.store import Store
from stead.adapters.store.credentials import SqlCredentialStore
from stead.authority.ports import LogonFailures, Password
from stead.errors import InvalidNameError, UnknownAccountError
from stead.model.well_known import USERS


@pytest.fixture
def credentials(store):
    return store.credentials


@pytest.fixture
def alice(store):
    return store.accounts.add_account("alice", None, None)


def test_a_password_is_kept_replaced_and_forgotten(credentials, alice):
    assert credentials.password_of(alice.sid) is None
    credentials.set_password(alice.sid, "one", changed_at=1)
    credentials.set_password(alice.sid, "two", changed_at=2)
    assert Password("two", 2) == credentials.password_of(alice.sid)
    assert {alice.sid} == credentials.accounts_with_password()
    assert credentials.remove_password(alice.sid)
    assert not credentials.remove_password(alice.sid)
    assert credentials.password_of(alice.sid) is None
    assert frozenset() == credentials.accounts_with_password()


def test_what_was_kept_of_an_old_password_is_in_no_file(place):
    """SQLite by default leaves it where it was, for a thief to guess at."""
    old = [f"$argon2id$the-{number}th-of-many" for number in range(8)]
    with Store.open(place) as store:
        names = (f"account {number}" for number in range(len(old)))
        owners = [store.accounts.add_account(one, None, None).sid for one in names]
        for sid, verifier in zip(owners, old, strict=True):
            store.credentials.set_password(sid, verifier, changed_at=1)
    naive = place.with_name("naive.db")
    shutil.copyfile(place, naive)
    with closing(sqlite3.connect(naive)) as connection, connection:
        connection.execute("PRAGMA secure_delete = OFF")
        connection.execute("DELETE FROM password")
    assert any(one.encode() in naive.read_bytes() for one in old)
    with Store.open(place) as store:
        for sid in owners[1:]:
            store.credentials.remove_password(sid)
        store.credentials.set_password(owners[0], "$argon2id$new", changed_at=2)
    files = b"".join(file.read_bytes() for file in place.parent.glob(f"{place.name}*"))
    assert b"$argon2id$new" in files
    assert not any(one.encode() in files for one in old)


def test_only_an_account_has_a_password(credentials, alice):
    for sid in (USERS, alice.sid.with_rid(9)):
        with pytest.raises(UnknownAccountError):
            credentials.set_password(sid, "one", changed_at=1)


def test_a_better_verifier_replaces_the_one_it_was_made_for_alone(
    store, credentials, alice
):
    credentials.set_password(alice.sid, "old", changed_at=1)
    before = store.accounts.generation()
    assert credentials.renew_verifier(alice.sid, "old", "better")
    assert not credentials.renew_verifier(alice.sid, "old", "worse")
    assert Password("better", 1) == credentials.password_of(alice.sid)
    assert before == store.accounts.generation()


def test_a_change_of_a_password_counts_as_a_change_of_the_store(
    store, credentials, alice
):
    numbers = [store.accounts.generation()]
    credentials.set_password(alice.sid, "one", changed_at=1)
    numbers.append(store.accounts.generation())
    credentials.remove_password(alice.sid)
    numbers.append(store.accounts.generation())
    assert 3 == len(set(numbers))


def test_no_verifier_is_shown():
    assert "$argon2" not in repr(Password("$argon2id$...", 1))


def test_failures_are_kept_by_key_until_they_are_forgotten(credentials):
    kept = LogonFailures(3, 1, 2, 4)
    credentials.change_failures("alice", lambda _found: kept)
    assert {"alice": kept} == credentials.failures()
    seen = []

    def look(found):
        seen.append(found)

    credentials.change_failures("alice", look)
    assert [kept] == seen
    assert {} == credentials.failures()


def test_a_name_that_no_database_holds_is_refused(credentials):
    with pytest.raises(InvalidNameError):
        credentials.change_failures("\udc80", lambda found: found)


def test_the_table_is_bounded_and_locked_names_go_last(store):
    few = SqlCredentialStore(store.credentials._database, maximum=3)
    for number, name in enumerate(("locked", "a", "b", "c"), start=1):
        until = 99 if name == "locked" else 0
        few.change_failures(
            name, lambda _found, n=number, u=until: LogonFailures(1, n, n, u)
        )
    assert {"locked", "b", "c"} == set(few.failures())


def test_who_waited_for_its_turn_drives_out_no_later_failure(store):
    few = SqlCredentialStore(store.credentials._database, maximum=2)
    for name, at in (("old", 1_000), ("victim", 3_000_000_000), ("waited", 2_000)):
        few.change_failures(name, lambda _found, at=at: LogonFailures(1, at, at))
    assert {"victim", "waited"} == set(few.failures())


def test_parallel_changes_of_two_processes_are_all_counted(place):
    """A naive counter reads, adds and writes; ours does it in one transaction."""
    threads, each = 4, 10

    def more(found):
        return LogonFailures(1, 1, 1) if found is None else replace(
            found, count=found.count + 1
        )  # fmt: skip

    def many():
        with Store.open(place) as store:
            for _ in range(each):
                store.credentials.change_failures("alice", more)

    Store.open(place).close()
    workers = [threading.Thread(target=many) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    with Store.open(place) as store:
        assert threads * each == store.credentials.failures()["alice"].count
