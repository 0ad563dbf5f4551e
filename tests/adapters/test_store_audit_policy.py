"""The audit policy in a store: what is kept is read back, and nonsense is refused."""

from __future__ import annotations

import sqlite3

import pytest

from stead.adapters.store import Store
from stead.errors import StoreUnavailableError
from stead.model.ace import AceFlags, SystemAuditAce
from stead.model.acl import Acl
from stead.model.audit_policy import (
    EVERYTHING,
    AccountAuditing,
    Auditing,
    AuditPolicy,
    Subcategory,
)
from stead.model.audit_record import AuditEvent
from stead.model.sid import Sid
from stead.model.well_known import EVERYONE

ALICE = Sid.from_string("S-1-5-21-1-2-3-1000")
HANDLES = Subcategory.HANDLE_MANIPULATION
SACL = Acl((SystemAuditAce(EVERYONE, 1, AceFlags.SUCCESSFUL_ACCESS),))


def test_what_is_kept_is_read_back_and_taken_back(store):
    kept, own = store.audit_policy, AccountAuditing(Auditing.NONE, Auditing.SUCCESS)
    kept.set_everybody(HANDLES, Auditing.FAILURE)
    kept.set_account(ALICE, HANDLES, own)
    kept.set_global_sacl("Doc", SACL)
    kept.set_losable({AuditEvent.HANDLE_CLOSED, AuditEvent.OBJECT_ACCESS})
    assert kept.policy() == AuditPolicy(
        {HANDLES: Auditing.FAILURE},
        {(ALICE, HANDLES): own},
        {"Doc": SACL},
        frozenset({AuditEvent.HANDLE_CLOSED, AuditEvent.OBJECT_ACCESS}),
    )
    kept.set_everybody(HANDLES, EVERYTHING)
    kept.set_account(ALICE, HANDLES, AccountAuditing())
    kept.set_global_sacl("Doc", None)
    kept.set_losable(())
    assert AuditPolicy() == kept.policy()


@pytest.mark.parametrize(
    "nonsense",
    [
        "INSERT INTO audit_setting VALUES ('', 'Nothing', 1, 0)",
        "INSERT INTO audit_setting VALUES ('mallory', 'Logon', 1, 0)",
        "INSERT INTO audit_losable VALUES (1)",
        "INSERT INTO global_sacl VALUES ('Doc', x'00')",
    ],
)
def test_a_policy_that_nobody_understands_is_no_policy(place, nonsense):
    Store.open(place).close()
    with sqlite3.connect(place) as connection:
        connection.execute(nonsense)
    connection.close()
    with Store.open(place) as store, pytest.raises(StoreUnavailableError, match="not"):
        store.audit_policy.policy()
