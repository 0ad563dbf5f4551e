"""AppContainers: the package needs an entry of its own, for everything."""

from __future__ import annotations

import pytest
from tests.decision.cases import (
    ALICE,
    INTERNS,
    MAPPING,
    MAXIMUM,
    READ,
    READ_CONTROL,
    RUN,
    SYSTEM_SECURITY,
    WRITE,
    WRITE_OWNER,
    allow,
    check,
    deny,
    guarded,
    label,
    token,
)

from stead.decision.access_check import access_check
from stead.model.ace import AccessAllowedObjectAce
from stead.model.acl import NULL_DACL, Acl
from stead.model.claim import Claim, ClaimType
from stead.model.privilege import Privilege
from stead.model.sid import Sid
from stead.model.token import GroupAttributes, TokenGroup
from stead.model.well_known import (
    ALL_APPLICATION_PACKAGES,
    ALL_RESTRICTED_APPLICATION_PACKAGES,
    HIGH_LEVEL,
    LOW_LEVEL,
    MEDIUM_LEVEL,
)

PACKAGE = Sid.from_string("S-1-15-2-1-2-3")
OTHER = Sid.from_string("S-1-15-2-1-2-4")
CAMERA = Sid.from_string("S-1-15-3-1")
NO_ALL_PACKAGES = Claim("WIN://NOALLAPPPKG", ClaimType.UINT64, (1,))


def contained(*groups, capabilities=(), **fields):
    fields.setdefault("integrity", LOW_LEVEL)
    held = tuple(
        c if isinstance(c, TokenGroup) else TokenGroup(c) for c in capabilities
    )
    return token(*groups, package=PACKAGE, capabilities=held, **fields)


def test_what_the_user_alone_is_granted_is_refused():
    assert not check(contained(), guarded(allow(ALICE, READ)), READ)


def test_what_the_package_alone_is_granted_is_refused():
    assert not check(contained(), guarded(allow(PACKAGE, READ)), READ)


@pytest.mark.parametrize(
    "trustee",
    [PACKAGE, CAMERA, ALL_APPLICATION_PACKAGES, ALL_RESTRICTED_APPLICATION_PACKAGES],
)
def test_what_user_and_package_are_granted_is_granted(trustee):
    what = guarded(allow(ALICE, READ | RUN), allow(trustee, READ | WRITE))
    assert check(contained(capabilities=(CAMERA,)), what, READ)
    assert READ == check(contained(capabilities=(CAMERA,)), what, MAXIMUM).granted


def test_another_package_is_another_one():
    what = guarded(allow(ALICE, READ), allow(OTHER, READ), allow(CAMERA, READ))
    assert not check(contained(), what, READ)


def test_a_less_privileged_container_is_not_among_all_packages():
    what = guarded(allow(ALICE, READ), allow(ALL_APPLICATION_PACKAGES, READ))
    assert not check(contained(local_claims=(NO_ALL_PACKAGES,)), what, READ)
    what = guarded(allow(ALICE, READ), allow(ALL_RESTRICTED_APPLICATION_PACKAGES, READ))
    assert check(contained(local_claims=(NO_ALL_PACKAGES,)), what, READ)


def test_a_capability_that_is_disabled_grants_nothing():
    what = guarded(allow(ALICE, READ), allow(CAMERA, READ))
    held = TokenGroup(CAMERA, GroupAttributes.NONE)
    assert not check(contained(capabilities=(held,)), what, READ)


def test_a_capability_that_stands_twice_is_the_deny_only_one():
    what = guarded(allow(ALICE, READ), allow(CAMERA, READ))
    twice = (CAMERA, TokenGroup(CAMERA, GroupAttributes.USE_FOR_DENY_ONLY))
    assert not check(contained(capabilities=twice), what, READ)


def test_a_deny_entry_about_the_package_denies():
    what = guarded(deny(PACKAGE, READ), allow(ALICE, READ), allow(PACKAGE, READ))
    assert not check(contained(), what, READ)


@pytest.mark.parametrize(
    "attributes", [GroupAttributes.ENABLED, GroupAttributes.USE_FOR_DENY_ONLY]
)
def test_a_deny_entry_about_a_capability_denies(attributes):
    what = guarded(deny(CAMERA, READ), allow(ALICE, READ), allow(PACKAGE, READ))
    assert check(contained(), what, READ)
    held = TokenGroup(CAMERA, attributes)
    assert not check(contained(capabilities=(held,)), what, READ)


def test_a_null_dacl_opens_nothing_to_a_package():
    assert not check(contained(), guarded(dacl=NULL_DACL), READ)


def test_ownership_is_the_user_s_and_not_the_package_s():
    assert not check(contained(), guarded(owner=ALICE), READ_CONTROL)
    what = guarded(allow(PACKAGE, READ_CONTROL), owner=ALICE)
    assert check(contained(), what, READ_CONTROL)


def test_a_privilege_does_not_open_what_the_package_is_not_granted():
    who = contained(
        integrity=MEDIUM_LEVEL,
        privileges=[Privilege.TAKE_OWNERSHIP, Privilege.SECURITY],
    )
    assert not check(who, guarded(), WRITE_OWNER)
    assert check(who, guarded(allow(PACKAGE, WRITE_OWNER)), WRITE_OWNER)
    assert not check(who, guarded(allow(PACKAGE, SYSTEM_SECURITY)), SYSTEM_SECURITY)


def test_relabeling_reaches_past_a_label_where_the_package_is_granted_the_right():
    who = contained(privileges=[Privilege.RELABEL])
    above = Acl((label(HIGH_LEVEL, 1),))
    assert not check(who, guarded(sacl=above), WRITE_OWNER)
    assert check(who, guarded(allow(PACKAGE, WRITE_OWNER), sacl=above), WRITE_OWNER)


def test_object_entries_never_mean_a_package():
    what = guarded(allow(ALICE, READ), AccessAllowedObjectAce(PACKAGE, READ))
    assert not check(contained(), what, READ)


def test_integrity_binds_a_container_above_medium_only():
    entries = (allow(ALICE, WRITE), allow(PACKAGE, WRITE))
    assert check(contained(), guarded(*entries), WRITE)
    high = guarded(*entries, sacl=Acl((label(HIGH_LEVEL, 1),)))
    assert not check(contained(), high, WRITE)


def test_a_restricted_container_needs_all_three():
    who = contained(restricting_sids=(INTERNS,))
    entries = [allow(ALICE, READ), allow(PACKAGE, READ)]
    assert not access_check(who, guarded(*entries), READ, MAPPING)
    assert access_check(who, guarded(*entries, allow(INTERNS, READ)), READ, MAPPING)
