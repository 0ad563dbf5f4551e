"""Each part of a descriptor takes its own right, and some take more than rights."""

from __future__ import annotations

import pytest
from tests.decision.making import (
    ALICE,
    BOB,
    EDITORS,
    INTERNS,
    OWNING,
    READ,
    STAFF,
    attribute,
    audit,
    label,
    policy,
    token,
)

from stead.decision.descriptor_parts import (
    SecurityInformation,
    expand_parts,
    part_of,
    require_inherited,
    require_owner,
    require_sacl,
    rights_to_change,
)
from stead.errors import (
    InvalidAclError,
    InvalidOwnerError,
    PrivilegeNotHeldError,
    SteadError,
)
from stead.model.access_mask import AccessMask
from stead.model.ace import (
    AccessFilterAce,
    AceFlags,
    OpaqueAce,
    ProcessTrustLabelAce,
    SystemAlarmAce,
)
from stead.model.acl import ABSENT_SACL, NULL_SACL, Acl
from stead.model.privilege import Privilege
from stead.model.token import GroupAttributes, TokenGroup
from stead.model.well_known import EVERYONE, HIGH_LEVEL, LOW_LEVEL, MEDIUM_LEVEL

DAC = int(AccessMask.WRITE_DAC)
OWNER = int(AccessMask.WRITE_OWNER)
SYSTEM = int(AccessMask.ACCESS_SYSTEM_SECURITY)
DENY_ONLY = GroupAttributes.USE_FOR_DENY_ONLY
Part = SecurityInformation


@pytest.mark.parametrize(
    ("parts", "needed"),
    [
        (Part.NONE, 0),
        (Part.OWNER, OWNER),
        (Part.GROUP, OWNER),
        (Part.DACL, DAC),
        (Part.SACL, SYSTEM),
        (Part.LABEL, OWNER),
        (Part.ATTRIBUTE, DAC),
        (Part.SCOPE, SYSTEM),
        (Part.PROCESS_TRUST_LABEL, DAC | SYSTEM),
        (Part.ACCESS_FILTER, DAC | SYSTEM),
        (Part.BACKUP, DAC | OWNER | SYSTEM),
        (Part.PROTECTED_DACL, DAC),
        (Part.UNPROTECTED_DACL, DAC),
        (Part.PROTECTED_SACL, SYSTEM),
        (Part.UNPROTECTED_SACL, SYSTEM),
        (Part.OWNER | Part.DACL, OWNER | DAC),
    ],
)
def test_each_part_takes_its_own_right(parts, needed):
    assert needed == rights_to_change(parts)


@pytest.mark.parametrize("parts", [0x200, 0x1_0000_0000, -1])
def test_a_part_that_there_is_not_is_refused(parts):
    with pytest.raises(SteadError, match="no descriptor has"):
        rights_to_change(parts)


@pytest.mark.parametrize(
    "parts",
    [
        Part.PROTECTED_DACL | Part.UNPROTECTED_DACL,
        Part.PROTECTED_SACL | Part.UNPROTECTED_SACL,
        Part.DACL | Part.PROTECTED_DACL | Part.UNPROTECTED_DACL,
    ],
)
def test_a_list_cannot_be_protected_and_not(parts):
    with pytest.raises(SteadError, match="protected or it is not"):
        expand_parts(parts)


def test_backup_is_about_every_part():
    asked = expand_parts(Part.BACKUP)
    for part in Part:
        is_a_part = part and not part & 0xF000_0000
        assert bool(is_a_part) == bool(asked & part)


@pytest.mark.parametrize(
    ("ace", "part"),
    [
        (audit(EVERYONE, READ), Part.SACL),
        (SystemAlarmAce(EVERYONE, READ), Part.SACL),
        (OpaqueAce(), Part.SACL),
        (label(), Part.LABEL),
        (attribute(), Part.ATTRIBUTE),
        (policy(), Part.SCOPE),
        (ProcessTrustLabelAce(EVERYONE, 0), Part.PROCESS_TRUST_LABEL),
        (AccessFilterAce(EVERYONE, 0), Part.ACCESS_FILTER),
    ],
)
def test_each_system_entry_belongs_to_one_part(ace, part):
    assert part is part_of(ace)


# --- owners --------------------------------------------------------------------------


def test_a_token_assigns_its_user_and_its_groups_that_may_own():
    who = token(TokenGroup(STAFF, OWNING), INTERNS)
    require_owner(who, ALICE)
    require_owner(who, STAFF)
    for other in (INTERNS, EDITORS, BOB):
        with pytest.raises(InvalidOwnerError):
            require_owner(who, other)


def test_a_group_for_deny_only_does_not_own():
    # The page of SetPrivateObjectSecurityEx says it must be one; Create's says not.
    with pytest.raises(InvalidOwnerError):
        require_owner(token(TokenGroup(STAFF, OWNING | DENY_ONLY)), STAFF)


def test_restore_privilege_assigns_anybody():
    require_owner(token(privileges=[Privilege.RESTORE]), BOB)


# --- system entries ------------------------------------------------------------------


@pytest.mark.parametrize("sacl", [ABSENT_SACL, NULL_SACL, Acl(), Acl((attribute(),))])
def test_attributes_and_nothing_take_no_privilege(sacl):
    require_sacl(token(), sacl)


@pytest.mark.parametrize(
    "ace", [audit(EVERYONE, READ), policy(), OpaqueAce(), AccessFilterAce(EVERYONE, 0)]
)
def test_other_system_entries_take_security_privilege(ace):
    with pytest.raises(PrivilegeNotHeldError) as caught:
        require_sacl(token(privileges=[Privilege.RELABEL]), Acl((attribute(), ace)))
    assert (Privilege.SECURITY,) == caught.value.privileges
    require_sacl(token(privileges=[Privilege.SECURITY]), Acl((ace,)))


@pytest.mark.parametrize("flags", [AceFlags.NONE, AceFlags.INHERIT_ONLY])
def test_a_label_above_the_token_takes_relabel_privilege(flags):
    for level in (LOW_LEVEL, MEDIUM_LEVEL):
        require_sacl(token(), Acl((label(level, flags=flags),)))
    sacl = Acl((label(HIGH_LEVEL, flags=flags),))
    with pytest.raises(PrivilegeNotHeldError) as caught:
        require_sacl(token(privileges=[Privilege.SECURITY]), sacl)
    assert (Privilege.RELABEL,) == caught.value.privileges
    require_sacl(token(privileges=[Privilege.RELABEL]), sacl)


def test_a_label_that_names_no_level_is_refused():
    with pytest.raises(InvalidAclError):
        require_sacl(token(), Acl((label(EVERYONE),)))


# --- what a SACL keeps from an object ------------------------------------------------

ID = AceFlags.INHERITED


def lacking(due, *, own=(), kept=(), held=()):
    """Return the privileges that are asked for and not held."""
    try:
        require_inherited(token(privileges=held), due, own=own, kept=kept)
    except PrivilegeNotHeldError as error:
        return error.privileges
    return ()


@pytest.mark.parametrize(
    "ace", [audit(EVERYONE, READ, 0x80 | ID), AccessFilterAce(BOB, 0)]
)
def test_keeping_an_entry_from_an_object_takes_security_privilege(ace):
    assert (Privilege.SECURITY,) == lacking([ace])
    assert () == lacking([ace], held=[Privilege.SECURITY])
    assert () == lacking([ace], kept=[ace])
    assert () == lacking([ace], own=[audit(EVERYONE, READ), AccessFilterAce(BOB, 0)])


def test_keeping_a_label_above_the_token_away_takes_relabel_privilege_too():
    both = (Privilege.SECURITY, Privilege.RELABEL)
    for level in (HIGH_LEVEL, EVERYONE):
        due = [label(level, flags=ID)]
        assert both == lacking(due)
        assert both == lacking(due, own=[label()])
        assert both[1:] == lacking(due, held=both[:1])
        assert both[:1] == lacking(due, held=both[1:])
        assert () == lacking(due, held=both)
        assert () == lacking(due, kept=due)
    assert both[:1] == lacking([label(MEDIUM_LEVEL)])


def test_a_label_before_one_above_the_token_takes_relabel_privilege():
    due = [label(HIGH_LEVEL, flags=ID)]
    assert (Privilege.RELABEL,) == lacking(due, own=[label()], kept=due)
    assert () == lacking(due, own=[label()], kept=due, held=[Privilege.RELABEL])
    assert () == lacking(due, own=[attribute()], kept=due)
    due = [label(MEDIUM_LEVEL, flags=ID)]
    assert () == lacking(due, own=[label()], kept=due)
