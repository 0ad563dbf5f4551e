"""Parts of a descriptor are replaced; what was inherited is nobody's to edit."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.decision.making import (
    ADMINS,
    ALICE,
    BOB,
    CI,
    FAILED,
    GENERIC_READ,
    ID,
    INTERNS,
    IO,
    MAPPING,
    NONE,
    READ,
    STAFF,
    WRITE,
    allow,
    attribute,
    audit,
    deny,
    described,
    label,
    policy,
    some_descriptors,
    system,
    token,
)

from stead.decision.auto_inherit_flags import AutoInheritFlags
from stead.decision.descriptor_parts import SACL_PARTS, SecurityInformation
from stead.decision.set_object import set_object_descriptor
from stead.errors import (
    InvalidAclError,
    InvalidOwnerError,
    InvalidSecurityDescriptorError,
    PrivilegeNotHeldError,
)
from stead.model.ace import AccessAllowedAce, MandatoryLabelAce, SystemAuditAce
from stead.model.acl import ABSENT_DACL, ABSENT_SACL, NULL_DACL, NULL_SACL, Acl
from stead.model.privilege import Privilege
from stead.model.security_descriptor import ControlFlags
from stead.model.well_known import (
    CREATOR_GROUP,
    CREATOR_OWNER,
    EVERYONE,
    HIGH_LEVEL,
    MEDIUM_LEVEL,
)

Part, Flag, Control = SecurityInformation, AutoInheritFlags, ControlFlags
AUTO = Flag.DACL_AUTO_INHERIT | Flag.SACL_AUTO_INHERIT
UNCHECKED = Flag.AVOID_OWNER_CHECK | Flag.AVOID_PRIVILEGE_CHECK
SAID_OF_LISTS = (
    Control.DACL_PROTECTED | Control.DACL_AUTO_INHERITED
    | Control.DACL_AUTO_INHERIT_REQ | Control.DACL_DEFAULTED
    | Control.SACL_PROTECTED | Control.SACL_AUTO_INHERITED
    | Control.SACL_AUTO_INHERIT_REQ | Control.SACL_DEFAULTED
)  # fmt: skip
AUDITOR = token(privileges=[Privilege.SECURITY])
ROOT = token(
    privileges=[Privilege.SECURITY, Privilege.RELABEL, Privilege.RESTORE],
    integrity=HIGH_LEVEL,
)


def changed(parts, wanted, current, who=ROOT, **how):
    return set_object_descriptor(
        parts, wanted, current, token=who, mapping=MAPPING, **how
    )


# --- owner and group -----------------------------------------------------------------


def test_only_the_parts_asked_about_change():
    current = described(allow(BOB, READ), sacl=Acl((audit(EVERYONE, READ),)))
    wanted = described(allow(ALICE, WRITE), owner=BOB, group=ADMINS)
    assert current == changed(Part.NONE, wanted, current)
    assert replace(current, owner=BOB) == changed(Part.OWNER, wanted, current)
    assert replace(current, group=ADMINS) == changed(Part.GROUP, wanted, current)
    assert replace(current, dacl=wanted.dacl) == changed(Part.DACL, wanted, current)


def test_an_owner_has_to_be_one_that_the_token_may_assign():
    current, wanted = described(), described(owner=BOB)
    for flags in (Flag.NONE, AUTO):
        with pytest.raises(InvalidOwnerError):
            changed(Part.OWNER, wanted, current, token(), flags=flags)
    for flag in (Flag.AVOID_OWNER_CHECK, Flag.AVOID_PRIVILEGE_CHECK):
        what = changed(Part.OWNER, wanted, current, token(), flags=flag)
        assert BOB == what.owner


def test_a_part_that_is_set_has_to_be_given():
    nothing = described(dacl=ABSENT_DACL, owner=None, group=None)
    with pytest.raises(InvalidOwnerError):
        changed(Part.OWNER, nothing, described())
    for part in (Part.GROUP, Part.DACL):
        with pytest.raises(InvalidSecurityDescriptorError):
            changed(part, nothing, described())


@pytest.mark.parametrize(
    "part",
    [
        Part.PROTECTED_DACL,
        Part.UNPROTECTED_DACL | Part.SACL,
        Part.PROTECTED_SACL | Part.DACL,
        Part.UNPROTECTED_SACL,
    ],
)
def test_a_list_is_protected_or_not_only_when_it_is_set(part):
    with pytest.raises(InvalidSecurityDescriptorError, match="when it is set"):
        changed(part, described(), described())


# --- the DACL, automatically ---------------------------------------------------------

OLD = described(
    deny(BOB, WRITE),
    allow(STAFF, READ, ID),
    deny(INTERNS, READ, ID | CI),
    control=Control.DACL_AUTO_INHERITED,
)


def test_what_was_inherited_stays_and_cannot_be_edited():
    wanted = described(allow(BOB, READ), allow(EVERYONE, WRITE, ID))
    what = changed(Part.DACL, wanted, OLD, flags=AUTO)
    assert (allow(BOB, READ), *OLD.dacl.aces[1:]) == what.dacl.aces
    assert what.control & Control.DACL_AUTO_INHERITED


def test_a_list_that_becomes_protected_is_all_the_objects_own():
    wanted = described(allow(STAFF, READ, ID), control=Control.DACL_PROTECTED)
    for parts, given_list in (
        (Part.DACL, wanted),
        (Part.DACL | Part.PROTECTED_DACL, replace(wanted, control=Control.NONE)),
    ):
        what = changed(parts, given_list, OLD, flags=AUTO)
        assert (allow(STAFF, READ),) == what.dacl.aces
        assert what.control & Control.DACL_PROTECTED
        assert what.control & Control.DACL_AUTO_INHERITED


def test_a_list_that_is_no_longer_protected_is_taken_as_it_is():
    current = replace(OLD, control=Control.DACL_PROTECTED)
    wanted = described(allow(BOB, READ), allow(STAFF, WRITE, ID))
    for parts, control in (
        (Part.DACL, Control.NONE),
        (Part.DACL | Part.UNPROTECTED_DACL, Control.DACL_PROTECTED),
    ):
        what = changed(parts, replace(wanted, control=control), current, flags=AUTO)
        assert wanted.dacl == what.dacl
        assert not what.control & Control.DACL_PROTECTED


def test_an_entry_that_counts_and_is_passed_on_is_split():
    wanted = described(allow(CREATOR_OWNER, GENERIC_READ, CI))
    current = described(owner=BOB)
    what = changed(Part.DACL, wanted, current, flags=AUTO)
    assert (
        allow(BOB, MAPPING.read),
        allow(CREATOR_OWNER, GENERIC_READ, CI | IO),
    ) == what.dacl.aces
    what = changed(Part.DACL, wanted, current, flags=AUTO, is_container=False)
    assert (allow(BOB, MAPPING.read),) == what.dacl.aces
    what = changed(Part.DACL | Part.OWNER, wanted, described(), flags=AUTO)
    assert ALICE == what.dacl.aces[0].trustee


def test_a_null_dacl_leaves_what_was_inherited():
    wanted = described(dacl=NULL_DACL)
    what = changed(Part.DACL, wanted, OLD, flags=AUTO)
    assert OLD.dacl.aces[1:] == what.dacl.aces
    protected = replace(wanted, control=Control.DACL_PROTECTED)
    assert NULL_DACL is changed(Part.DACL, protected, OLD, flags=AUTO).dacl
    opened = changed(Part.DACL, wanted, described(dacl=NULL_DACL), flags=AUTO)
    assert NULL_DACL is opened.dacl


def test_the_servers_own_creator_sids_mean_its_token():
    wanted = described(
        allow(CREATOR_GROUP, READ),
        allow(EVERYONE.from_string("S-1-3-2"), READ),
        allow(EVERYONE.from_string("S-1-3-3"), READ),
    )
    server = token(user=BOB, primary_group=ADMINS)
    what = changed(Part.DACL, wanted, OLD, flags=AUTO, server=server)
    assert [STAFF, BOB, ADMINS] == [ace.trustee for ace in what.dacl.aces[:3]]


def test_each_list_is_automatic_by_its_own_flag():
    claimed = Acl((audit(BOB, READ, FAILED | ID), audit(EVERYONE, READ)))
    wanted = described(allow(STAFF, WRITE, ID), sacl=claimed)
    both = Part.DACL | Part.SACL
    what = changed(both, wanted, described(), flags=Flag.DACL_AUTO_INHERIT)
    assert (Acl(), wanted.sacl) == (what.dacl, what.sacl)
    assert Control.DACL_AUTO_INHERITED == what.control & SAID_OF_LISTS
    what = changed(both, wanted, described(), flags=Flag.SACL_AUTO_INHERIT)
    assert (wanted.dacl, wanted.sacl.aces[1:]) == (what.dacl, what.sacl.aces)
    assert Control.SACL_AUTO_INHERITED == what.control & SAID_OF_LISTS


# --- the DACL, as it is --------------------------------------------------------------


def test_a_list_is_taken_as_it_is_when_nothing_is_automatic():
    wanted = described(allow(CREATOR_OWNER, GENERIC_READ, CI), allow(STAFF, WRITE, ID))
    what = changed(Part.DACL, wanted, OLD)
    assert (
        allow(CREATOR_OWNER, MAPPING.read, CI),
        allow(STAFF, WRITE, ID),
    ) == what.dacl.aces
    assert NULL_DACL is changed(Part.DACL, described(dacl=NULL_DACL), OLD).dacl


REQUIRED = Control.DACL_AUTO_INHERIT_REQ
INHERITED = Control.DACL_AUTO_INHERITED


@pytest.mark.parametrize(
    ("asked", "kept"),
    [
        (Control.NONE, Control.NONE),
        (INHERITED, Control.NONE),
        (REQUIRED, Control.NONE),
        (REQUIRED | INHERITED, INHERITED),
        (Control.DACL_PROTECTED | REQUIRED, Control.DACL_PROTECTED),
        (Control.DACL_DEFAULTED, Control.NONE),
    ],
)
def test_a_list_made_by_hand_says_that_it_inherited_by_two_bits(asked, kept):
    # As file servers answer: either bit alone is dropped, and so is the request.
    bits = Control.DACL_PROTECTED | REQUIRED | INHERITED | Control.DACL_DEFAULTED
    what = changed(Part.DACL, described(control=asked), OLD)
    assert kept == what.control & bits


def test_a_sacl_made_by_hand_says_so_by_its_own_two_bits():
    asked = Control.SACL_AUTO_INHERIT_REQ | Control.SACL_AUTO_INHERITED
    what = changed(Part.SACL, described(control=asked), described())
    assert Control.SACL_AUTO_INHERITED == what.control & SAID_OF_LISTS


def test_what_is_said_of_a_list_changes_when_it_is_set():
    current = described(control=SAID_OF_LISTS | Control.DACL_TRUSTED)
    assert current == changed(Part.OWNER, described(), current)
    what = changed(Part.DACL | Part.SACL, described(), current)
    assert Control.DACL_TRUSTED == what.control & (SAID_OF_LISTS | Control.DACL_TRUSTED)


def test_a_made_up_kind_is_refused():
    class PuzzleAce(AccessAllowedAce):
        __slots__ = ()

    class PuzzleAudit(SystemAuditAce):
        __slots__ = ()

    with pytest.raises(InvalidAclError, match="PuzzleAce"):
        changed(Part.DACL, described(PuzzleAce(BOB, READ)), OLD)
    with pytest.raises(InvalidAclError, match="PuzzleAudit"):
        changed(Part.SACL, system(PuzzleAudit(BOB, READ)), OLD)


# --- the parts of the SACL -----------------------------------------------------------

SYSTEM = system(
    audit(EVERYONE, READ), label(), attribute(), policy(),
    audit(BOB, READ, FAILED | ID), attribute(ID), policy(ID),
    control=Control.SACL_AUTO_INHERITED,
)  # fmt: skip


def test_each_part_of_a_sacl_is_replaced_alone():
    wanted = system(audit(ALICE, WRITE), label(MEDIUM_LEVEL))
    what = changed(Part.LABEL, wanted, SYSTEM, flags=AUTO)
    assert (
        audit(EVERYONE, READ), attribute(), policy(), label(MEDIUM_LEVEL),
        audit(BOB, READ, FAILED | ID), attribute(ID), policy(ID),
    ) == what.sacl.aces  # fmt: skip
    what = changed(Part.SACL, wanted, SYSTEM, flags=AUTO)
    assert (
        label(), attribute(), policy(), audit(ALICE, WRITE),
        attribute(ID), policy(ID), audit(BOB, READ, FAILED | ID),
    ) == what.sacl.aces  # fmt: skip
    what = changed(Part.ATTRIBUTE | Part.SCOPE, wanted, SYSTEM, flags=AUTO)
    assert (
        audit(EVERYONE, READ), label(),
        audit(BOB, READ, FAILED | ID), attribute(ID), policy(ID),
    ) == what.sacl.aces  # fmt: skip


def test_a_sacl_that_is_not_asked_about_keeps_its_order():
    current = system(audit(BOB, READ, FAILED | ID), audit(EVERYONE, READ))
    assert current.sacl == changed(Part.DACL, described(), current, flags=AUTO).sacl


def test_a_label_that_was_inherited_stays_behind_the_one_that_is_set():
    current = system(label(flags=ID), control=Control.SACL_AUTO_INHERITED)
    what = changed(Part.LABEL, system(label(MEDIUM_LEVEL)), current, flags=AUTO)
    assert (label(MEDIUM_LEVEL), label(flags=ID)) == what.sacl.aces


def test_protection_does_not_reach_attributes_and_policies():
    wanted = system(
        audit(BOB, READ, FAILED | ID), policy(ID), control=Control.SACL_PROTECTED
    )
    what = changed(SACL_PARTS, wanted, SYSTEM, flags=AUTO)
    assert (audit(BOB, READ), attribute(ID), policy(ID)) == what.sacl.aces
    assert what.control & Control.SACL_PROTECTED


def test_a_part_alone_leaves_the_protection_of_the_list():
    control = Control.SACL_PROTECTED | Control.SACL_AUTO_INHERITED
    current = replace(SYSTEM, control=control)
    what = changed(Part.LABEL, system(label(MEDIUM_LEVEL)), current, flags=AUTO)
    assert control == what.control & control
    wanted = system(label(MEDIUM_LEVEL, flags=ID))
    assert label(MEDIUM_LEVEL) in changed(Part.LABEL, wanted, current, flags=AUTO).sacl


def test_a_sacl_is_taken_as_it_is_when_nothing_is_automatic():
    wanted = system(audit(ALICE, GENERIC_READ, FAILED | ID), audit(BOB, READ), label())
    what = changed(Part.SACL, wanted, SYSTEM)
    assert (
        label(), attribute(), policy(), attribute(ID), policy(ID),
        audit(ALICE, MAPPING.read, FAILED | ID), audit(BOB, READ),
    ) == what.sacl.aces  # fmt: skip


def test_a_backup_is_put_back_whole():
    wanted = replace(SYSTEM, dacl=Acl((allow(BOB, READ, ID),)), owner=BOB)
    what = changed(Part.BACKUP, wanted, described())
    assert (wanted.owner, wanted.dacl, wanted.sacl) == (
        what.owner, what.dacl, what.sacl,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("parts", "wanted", "current", "left"),
    [
        (Part.SACL, ABSENT_SACL, Acl((audit(BOB, READ),)), ABSENT_SACL),
        (Part.SACL, NULL_SACL, ABSENT_SACL, NULL_SACL),
        (Part.SACL, Acl(), ABSENT_SACL, Acl()),
        (Part.LABEL, Acl(), ABSENT_SACL, ABSENT_SACL),
        (Part.LABEL, ABSENT_SACL, Acl((label(),)), Acl()),
        (Part.LABEL, NULL_SACL, NULL_SACL, NULL_SACL),
    ],
)
def test_an_emptied_sacl_is_what_was_asked_for(parts, wanted, current, left):
    what = changed(parts, described(sacl=wanted), described(sacl=current))
    assert left == what.sacl


@pytest.mark.parametrize("part", [Part.SACL, Part.SCOPE, Part.ACCESS_FILTER])
def test_taking_system_entries_away_takes_the_privilege_as_well(part):
    for flags in (Flag.NONE, AUTO):
        with pytest.raises(PrivilegeNotHeldError) as caught:
            changed(part, described(sacl=Acl()), SYSTEM, token(), flags=flags)
        assert (Privilege.SECURITY,) == caught.value.privileges
    changed(part, described(sacl=Acl()), SYSTEM, token(), flags=UNCHECKED)


def test_labels_and_attributes_take_no_security_privilege():
    changed(Part.LABEL | Part.ATTRIBUTE, system(label(), attribute()), SYSTEM, token())
    with pytest.raises(PrivilegeNotHeldError) as caught:
        changed(Part.LABEL, system(label(HIGH_LEVEL)), SYSTEM, AUDITOR)
    assert (Privilege.RELABEL,) == caught.value.privileges


def test_a_label_of_the_tokens_integrity_stands_for_the_one_given():
    flags = Flag.MACL_NO_READ_UP
    wanted = system(label(), attribute())
    what = changed(Part.LABEL, wanted, described(), token(), flags=flags)
    assert (MandatoryLabelAce(MEDIUM_LEVEL, 2),) == what.sacl.aces
    what = changed(Part.ATTRIBUTE, wanted, described(), token(), flags=flags)
    assert (attribute(),) == what.sacl.aces
    both = Part.LABEL | Part.ATTRIBUTE
    what = changed(both, wanted, described(), token(), flags=flags)
    assert (MandatoryLabelAce(MEDIUM_LEVEL, 2), attribute()) == what.sacl.aces


# --- laws ----------------------------------------------------------------------------

DESCRIPTORS = some_descriptors()


def inherited(acl):
    return [ace for ace in (acl if isinstance(acl, Acl) else ()) if ace.flags & ID]


@settings(max_examples=150, deadline=None)
@given(DESCRIPTORS, DESCRIPTORS, st.sampled_from([0, 3]))
def test_setting_nothing_changes_nothing(current, wanted, flags):
    assert current == changed(Part.NONE, wanted, current, flags=flags)


@settings(max_examples=150, deadline=None)
@given(DESCRIPTORS, DESCRIPTORS)
def test_nobody_edits_what_an_unprotected_list_inherited(current, wanted):
    if wanted.dacl is ABSENT_DACL:
        return
    bits = Control.DACL_PROTECTED | Control.SACL_PROTECTED
    current = replace(current, control=current.control & ~bits)
    wanted = replace(wanted, control=wanted.control & ~bits)
    parts = Part.DACL | SACL_PARTS
    what = changed(parts, wanted, current, flags=AUTO | UNCHECKED)
    assert inherited(current.dacl) == inherited(what.dacl)
    assert inherited(current.sacl) == inherited(what.sacl)


@settings(max_examples=150, deadline=None)
@given(DESCRIPTORS, DESCRIPTORS)
def test_a_list_set_protected_holds_nothing_inherited_but_what_crosses(current, wanted):
    if wanted.dacl is ABSENT_DACL:
        return
    parts = Part.DACL | SACL_PARTS | Part.PROTECTED_DACL | Part.PROTECTED_SACL
    what = changed(parts, wanted, current, flags=AUTO | UNCHECKED)
    assert [] == inherited(what.dacl)
    crossing = {type(attribute()), type(policy())}
    assert {type(ace) for ace in inherited(what.sacl)} <= crossing
    assert NONE == what.control & (Control.DACL_DEFAULTED | Control.SACL_DEFAULTED)
