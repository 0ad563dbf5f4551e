"""A store of an older version is brought up to date when it is opened."""

from __future__ import annotations

import sqlite3
import threading

import pytest
from tests.adapters.scram_stage import Stage

from stead.adapters.store import Store
from stead.adapters.store.creation import DEFAULT_RIGHTS
from stead.errors import StoreUnavailableError
from stead.ledger.chain import seal, verify
from stead.ledger.sinks import Cursor
from stead.ledger.tree import CompactRange, leaf_hash
from stead.model.audit_policy import Auditing, AuditPolicy, Subcategory
from stead.model.logon_record import LogonType
from stead.model.secret import Secret
from stead.model.security_descriptor import SecurityDescriptor
from stead.model.sid import Sid
from stead.model.well_known import EVERYONE, USERS
from stead.server.enforcement import Enforcement
from stead.server.protected_server import ProtectedServer

DOMAIN = "S-1-5-21-1-2-3"
VERSION_1 = """
CREATE TABLE store (
    id BIGINT NOT NULL CHECK (id = 1), version BIGINT NOT NULL,
    domain VARCHAR(184) NOT NULL, founder BIGINT NOT NULL, next_rid BIGINT NOT NULL,
    next_luid BIGINT NOT NULL, PRIMARY KEY (id)
);
CREATE TABLE principal (
    sid VARCHAR(184) NOT NULL, is_group BOOLEAN NOT NULL, name TEXT NOT NULL,
    name_key TEXT NOT NULL, uid BIGINT, primary_gid BIGINT, group_gid BIGINT,
    is_disabled BOOLEAN NOT NULL, version BIGINT NOT NULL, PRIMARY KEY (sid),
    CONSTRAINT uid_with_gid CHECK ((uid IS NULL) = (primary_gid IS NULL)),
    UNIQUE (name_key), UNIQUE (uid), UNIQUE (group_gid)
);
CREATE TABLE account_right (
    holder VARCHAR(184) NOT NULL, name VARCHAR(64) NOT NULL, PRIMARY KEY (holder, name)
);
CREATE TABLE object (
    name TEXT NOT NULL, type_name TEXT NOT NULL, rights TEXT NOT NULL, mapping TEXT,
    descriptor BLOB NOT NULL, version BIGINT NOT NULL, PRIMARY KEY (name)
);
CREATE TABLE entry (
    sequence INTEGER NOT NULL CHECK (sequence > 0), body BLOB NOT NULL,
    digest BLOB NOT NULL, PRIMARY KEY (sequence)
);
CREATE TABLE membership (
    group_sid VARCHAR(184) NOT NULL, member_sid VARCHAR(184) NOT NULL,
    PRIMARY KEY (group_sid, member_sid),
    FOREIGN KEY(group_sid) REFERENCES principal (sid)
);
CREATE INDEX membership_by_member ON membership (member_sid);
INSERT INTO store VALUES (1, 1, 'S-1-5-21-1-2-3', 0, 1001, 66000);
INSERT INTO principal VALUES
    ('S-1-5-32-544', 1, 'Administrators', 'administrators', NULL, NULL, NULL, 0, 1),
    ('S-1-5-21-1-2-3-1000', 0, 'alice', 'alice', 70001, 70001, NULL, 0, 1);
INSERT INTO membership VALUES ('S-1-5-32-544', 'S-1-5-21-1-2-3-1000');
INSERT INTO account_right VALUES
    ('S-1-1-0', 'SeNetworkLogonRight'), ('S-1-5-21-1-2-3-1000', 'SeBackupPrivilege');
"""
ALICE = Sid.from_string(f"{DOMAIN}-1000")


@pytest.fixture
def old(place):
    with sqlite3.connect(place) as connection:
        connection.executescript(VERSION_1)
    connection.close()
    place.chmod(0o600)
    return place


def test_what_an_old_store_held_is_kept_and_passwords_can_be_added(old):
    with Store.open(old) as store:
        alice = store.accounts.account_by_name("alice")
        assert (ALICE, 70001) == (alice.sid, alice.uid)
        [alice] = store.accounts.assignments_of([ALICE]).values()
        assert "Administrators" in [group.name for group in alice.groups]
        assert store.accounts.allocate_luid() >= 66000
        store.credentials.set_password(ALICE, "verifier", changed_at=1)
        assert {} == store.credentials.failures()
        assert 2 == store.accounts.generation()
    with Store.open(old) as store:
        assert "verifier" == store.credentials.password_of(ALICE).verifier


def test_whoever_could_log_on_before_still_can(old):
    defaults = {(sid, right.value) for sid, right in DEFAULT_RIGHTS}
    with Store.open(old) as store:
        assert {*defaults, (ALICE, "SeBackupPrivilege")} == set(
            store.accounts.all_rights()
        )
        store.accounts.remove_right(USERS, "SeInteractiveLogonRight")
    with Store.open(old) as store:  # a right that was taken does not come back
        assigned = store.accounts.assignments_of((USERS, EVERYONE))
        assert () == assigned[USERS].rights
        assert ("SeNetworkLogonRight",) == assigned[EVERYONE].rights


def test_an_upgrade_that_fails_leaves_the_old_store_whole(old):
    with sqlite3.connect(old) as connection:
        connection.execute("CREATE TABLE logon_failure (name_key INTEGER)")
        before = connection.execute("SELECT name FROM sqlite_master").fetchall()
    connection.close()
    with pytest.raises(StoreUnavailableError):
        Store.open(old)
    with sqlite3.connect(old) as connection:
        assert before == connection.execute("SELECT name FROM sqlite_master").fetchall()
        assert (1,) == connection.execute("SELECT version FROM store").fetchone()
    connection.close()


@pytest.mark.parametrize("_", range(5))
def test_two_that_open_an_old_store_at_once_upgrade_it_once(old, _):
    opened, start = [], threading.Barrier(4)

    def open_it():
        start.wait(60)
        opened.append(Store.open(old))

    threads = [threading.Thread(target=open_it) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [1] * 4 == [store.accounts.generation() for store in opened]
    for store in opened:
        store.close()


def test_an_old_store_gets_cursors_for_sinks(old):
    with Store.open(old) as store:
        store.open_for_sinks().move("one", Cursor(7, b"seven"))
    with Store.open(old) as store:
        assert Cursor(7, b"seven") == store.open_for_sinks().cursor("one")


def test_an_old_store_learns_of_the_audit_policy(old):
    handles = Subcategory.HANDLE_MANIPULATION
    with Store.open(old) as store:
        assert AuditPolicy() == store.audit_policy.policy()
        store.audit_policy.set_everybody(handles, Auditing.FAILURE)
    with Store.open(old) as store:
        assert Auditing.FAILURE == store.audit_policy.policy().of(handles)


# --- from version 2 -------------------------------------------------------------------

VERSION_2 = """
ALTER TABLE store ADD COLUMN generation BIGINT DEFAULT 1 NOT NULL;
CREATE TABLE password (
    sid VARCHAR(184) NOT NULL, verifier TEXT NOT NULL, changed_at BIGINT NOT NULL,
    PRIMARY KEY (sid), FOREIGN KEY(sid) REFERENCES principal (sid)
);
CREATE TABLE logon_failure (
    name_key TEXT NOT NULL, count BIGINT NOT NULL, first_at BIGINT NOT NULL,
    last_at BIGINT NOT NULL, locked_until BIGINT NOT NULL, PRIMARY KEY (name_key)
);
CREATE INDEX logon_failure_by_age ON logon_failure (locked_until, last_at);
UPDATE store SET version = 2;
"""
BODIES = [b"%d" % number for number in range(5)]


@pytest.fixture
def second(old):
    """Give a store of version 2 with a trail and the object that guards it."""
    descriptor = SecurityDescriptor.from_sddl(
        "O:BAG:BAD:(A;;CCRCSDWDWO;;;BA)(A;;CC;;;S-1-5-80-1-2-3-4-5)"
        "S:(AU;SAFA;CCRCSDWDWO;;;WD)"
    )
    domain = Sid.from_string(DOMAIN).to_bytes()
    with sqlite3.connect(old) as connection:
        connection.executescript(VERSION_2)
        connection.execute(
            "INSERT INTO object VALUES ('stead:trail', 'AuditTrail', ?, NULL, ?, 1)",
            ('{"READ": 1}', descriptor.to_bytes()),
        )
        for entry in seal(None, BODIES, domain):
            row = (entry.sequence, entry.body, entry.digest)
            connection.execute("INSERT INTO entry VALUES (?, ?, ?)", row)
    connection.close()
    return old


def test_the_tree_of_an_old_trail_is_built_from_its_entries(second):
    with Store.open(second) as store:
        tree = CompactRange().extend(map(leaf_hash, BODIES))
        assert tree == store.evidence.tree()
        assert () == store.evidence.seals()
        assert (
            5
            == verify(store.ledger.entries(), Sid.from_string(DOMAIN).to_bytes()).count
        )


def test_whoever_had_every_right_to_the_trail_has_the_new_one(second):
    with Store.open(second) as store:
        found = store.objects.object_by_name("stead:trail")
        assert ({"READ": 1, "CLEAR": 2}, 2) == (found.rights, found.version)
        assert (
            "O:BAG:BAD:(A;;CCDCSDRCWDWO;;;BA)(A;;CC;;;S-1-5-80-1-2-3-4-5)"
            "S:(AU;SAFA;CCDCSDRCWDWO;;;WD)"
        ) == SecurityDescriptor.from_bytes(found.descriptor).to_sddl()
    with ProtectedServer("n", store=second, enforcement=Enforcement.TOKEN) as server:
        assert {"READ": 1, "CLEAR": 2} == server.find_object("stead:trail").kind.rights


def test_a_process_of_the_old_version_appends_and_the_tree_catches_up(second):
    with Store.open(second) as store:
        domain = Sid.from_string(DOMAIN).to_bytes()
        last = store.ledger.last()
        for entry in seal(last, [b"old"], domain):  # as that process does it
            with sqlite3.connect(second) as connection:
                row = (entry.sequence, entry.body, entry.digest)
                connection.execute("INSERT INTO entry VALUES (?, ?, ?)", row)
            connection.close()
        store.ledger.append(lambda last: seal(last, [b"new"], domain))
        tree = CompactRange().extend(map(leaf_hash, [*BODIES, b"old", b"new"]))
        assert tree == store.evidence.tree()


def test_a_trail_with_a_gap_is_not_upgraded(second):
    with sqlite3.connect(second) as connection:
        connection.execute("DELETE FROM entry WHERE sequence = 3")
    connection.close()
    with pytest.raises(StoreUnavailableError, match="record 3 is missing"):
        Store.open(second)


def columns(place):
    """Return the columns of every table: name, whether it is required, key."""
    with sqlite3.connect(place) as connection:
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type='table'")
        found = {
            (table, name, is_required, key)
            for (table,) in tables.fetchall()
            for _, name, _, is_required, _, key in connection.execute(
                f"PRAGMA table_info({table})"
            )
        }
    connection.close()
    return found


def test_an_upgraded_store_has_every_column_of_a_new_one(second, folder):
    Store.open(second).close()
    new = folder / "new.db"
    Store.open(new).close()
    assert columns(new) == columns(second)


def test_accounts_of_an_old_store_log_on_at_any_time(old):
    with Store.open(old) as store:
        alice = store.accounts.account_by_sid(ALICE)
        assert (None, None, False) == (
            alice.expires_at,
            alice.logon_hours,
            alice.password_lasts,
        )


def test_accounts_of_an_old_store_log_on_by_scram_once_their_password_was_shown(second):
    with Store.open(second) as store:
        stage = Stage(store)
        salt = stage.challenge("anybody")
        assert 32 == len(store.credentials.scram_decoys().key)
        account = store.accounts.add_account("zoe", None, None)
        stage.make_logon(None).set_password(account.sid, Secret("tiger"))
        assert stage.failure("zoe")
        assert stage.logon.attempt("zoe", Secret("tiger"), LogonType.NETWORK).require()
        assert "zoe" == stage.talk("zoe").name
    with Store.open(second) as store:  # the secret was made once
        assert salt == Stage(store).challenge("anybody")
