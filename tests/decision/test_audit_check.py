"""Audit entries speak for their trustee, their rights and their outcome."""

from __future__ import annotations

import pytest
from tests.decision.cases import (
    ALICE,
    BOB,
    DENY_ONLY,
    DISABLED,
    INTERNS,
    MAPPING,
    MAXIMUM,
    READ,
    READ_CONTROL,
    RUN,
    WRITE,
    allow,
    check,
    guarded,
    label,
    token,
)

from stead.codec.claim_binary import write_claim
from stead.decision.access_check import access_check
from stead.decision.audit_check import AuditDemand, audit_check
from stead.model.ace import (
    AccessAllowedObjectAce,
    AceFlags,
    ResourceAttributeAce,
    SystemAuditAce,
    SystemAuditObjectAce,
)
from stead.model.acl import ABSENT_SACL, NULL_SACL, Acl
from stead.model.claim import Claim, ClaimType
from stead.model.decision import ObjectType
from stead.model.guid import Guid
from stead.model.token import TokenGroup
from stead.model.well_known import EVERYONE, LOW_LEVEL, OWNER_RIGHTS

SUCCESS, FAILURE = AceFlags.SUCCESSFUL_ACCESS, AceFlags.FAILED_ACCESS
USER, PHONE, FAX, STRANGE = (Guid(bytes((number,)) * 16) for number in range(1, 5))


def audit(trustee, mask, flags):
    return SystemAuditAce(trustee, mask, flags)


def demanded(*entries, who=None, desired=READ, owner=BOB):
    """The audit entries that speak when somebody asks; READ is granted to Alice."""
    what = guarded(allow(ALICE, READ), owner=owner, sacl=Acl(entries))
    return audit_check(check(token() if who is None else who, what, desired)).aces


@pytest.mark.parametrize(
    ("flags", "on_success", "on_failure"),
    [
        (AceFlags.NONE, False, False),
        (SUCCESS, True, False),
        (FAILURE, False, True),
        (SUCCESS | FAILURE, True, True),
    ],
)
def test_the_flags_name_the_outcomes(flags, on_success, on_failure):
    entry = audit(ALICE, READ | WRITE, flags)
    assert (entry,) * on_success == demanded(entry, desired=READ)
    assert (entry,) * on_failure == demanded(entry, desired=WRITE)


def test_entries_of_a_whole_kind_count_beside_an_object_s_own():
    own, whole = audit(ALICE, READ, SUCCESS), audit(EVERYONE, READ, SUCCESS)
    entries = (label(LOW_LEVEL, 1), own), (label(LOW_LEVEL, 1),)
    kind = Acl((audit(BOB, READ, SUCCESS), whole))
    for entry, expected in zip(entries, ((own, whole), (whole,)), strict=True):
        what = guarded(allow(ALICE, READ), owner=BOB, sacl=Acl(entry))
        assert expected == audit_check(check(token(EVERYONE), what, READ), kind).aces
    for none in (ABSENT_SACL, NULL_SACL):
        what = guarded(allow(ALICE, READ), owner=BOB, sacl=none)
        assert (whole,) == audit_check(check(token(EVERYONE), what, READ), kind).aces
        assert AuditDemand() == audit_check(check(token(EVERYONE), what, READ), Acl(()))


def test_an_entry_for_somebody_else_says_nothing():
    assert () == demanded(audit(BOB, READ, SUCCESS), audit(EVERYONE, READ, SUCCESS))


def test_on_success_the_rights_granted_count_and_on_failure_those_asked_for():
    assert () == demanded(audit(ALICE, WRITE, SUCCESS), desired=READ)
    assert () == demanded(audit(ALICE, RUN, FAILURE), desired=WRITE)
    entry = audit(ALICE, READ, FAILURE)
    assert (entry,) == demanded(entry, desired=READ | WRITE)


def test_generic_rights_of_an_entry_are_mapped():
    entry = audit(ALICE, 0x80000000, SUCCESS)
    assert (entry,) == demanded(entry, desired=READ)


def test_a_deny_only_group_is_still_who_came():
    entry = audit(INTERNS, READ, SUCCESS)
    assert (entry,) == demanded(entry, who=token(TokenGroup(INTERNS, DENY_ONLY)))
    assert () == demanded(entry, who=token(TokenGroup(INTERNS, DISABLED)))


def test_an_inherit_only_entry_says_nothing():
    flags = SUCCESS | AceFlags.INHERIT_ONLY | AceFlags.CONTAINER_INHERIT
    assert () == demanded(audit(ALICE, READ, flags))


def test_an_owner_rights_entry_speaks_for_the_owner():
    entry = audit(OWNER_RIGHTS, READ, SUCCESS)
    assert () == demanded(entry)
    what = guarded(allow(ALICE, READ), owner=ALICE, sacl=Acl((entry,)))
    assert audit_check(check(token(), what, READ))


@pytest.mark.parametrize("sacl", [NULL_SACL, ABSENT_SACL, Acl()])
def test_without_entries_nothing_is_demanded(sacl):
    demand = audit_check(check(token(), guarded(allow(ALICE, READ), sacl=sacl), READ))
    assert (AuditDemand(), False) == (demand, bool(demand))


def test_a_label_demands_nothing():
    assert () == demanded(label(LOW_LEVEL, 7, SUCCESS))


def test_only_audit_entries_demand_a_record():
    data = write_claim(Claim("Level", ClaimType.INT64, (3,)))
    assert () == demanded(ResourceAttributeAce(ALICE, READ, SUCCESS, data))


# --- object types ---------------------------------------------------------------------


def parts_demanded(*entries):
    """What speaks when Alice reads and writes a user whose phone alone she may."""
    may = AccessAllowedObjectAce(ALICE, READ | WRITE, object_type=PHONE)
    decision = access_check(
        token(),
        guarded(may, allow(ALICE, RUN), sacl=Acl(entries)),
        READ | WRITE,
        MAPPING,
        object_types=(ObjectType(0, USER), ObjectType(1, PHONE), ObjectType(1, FAX)),
    )
    assert [False, True, False] == [bool(part) for part in decision.object_results]
    return audit_check(decision).aces


def about(kind, mask, flags):
    return SystemAuditObjectAce(ALICE, mask, flags, object_type=kind)


def test_an_entry_about_a_type_speaks_of_what_became_of_that_type():
    succeeded, failed = about(PHONE, READ, SUCCESS), about(USER, WRITE, FAILURE)
    assert (succeeded, failed) == parts_demanded(
        succeeded,
        about(PHONE, READ, FAILURE),
        about(PHONE, RUN, SUCCESS),
        failed,
        about(USER, WRITE, SUCCESS),
        about(None, WRITE, SUCCESS),
    )


def test_an_entry_about_a_type_that_nobody_asked_for_says_nothing():
    assert () == parts_demanded(about(STRANGE, READ, SUCCESS | FAILURE))


def test_where_nobody_asked_about_types_an_entry_about_one_speaks():
    entry = about(PHONE, READ, SUCCESS)
    assert (entry,) == demanded(entry)


# --- the maximum ----------------------------------------------------------------------


def test_a_granted_maximum_is_compared_with_what_was_granted():
    entry = audit(ALICE, READ, SUCCESS)
    assert (entry,) == demanded(
        entry,
        audit(ALICE, WRITE, SUCCESS),
        audit(ALICE, READ, FAILURE),
        desired=MAXIMUM,
    )


def test_a_refused_maximum_meant_every_right():
    entry = audit(BOB, READ_CONTROL, FAILURE)
    what = guarded(allow(ALICE, READ), sacl=Acl((entry,)))
    demand = audit_check(check(token(user=BOB), what, MAXIMUM))
    assert (entry,) == demand.aces


def test_an_unknown_entry_always_demands_a_record():
    class PuzzleAudit(SystemAuditAce):
        __slots__ = ()

    entry = PuzzleAudit(BOB, RUN)
    assert (entry,) == demanded(entry)
