"""The laws of the access check, over random questions."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tests.decision.cases import (
    ALICE,
    MAPPING,
    MAXIMUM,
    SYSTEM_SECURITY,
    WRITE_OWNER,
    label,
)
from tests.strategies import aces, acls, descriptors, desires, sids, tokens

from stead.decision.access_check import access_check
from stead.errors import SteadError
from stead.model.ace import AccessAllowedAce, AccessDeniedAce, AceFlags, SystemAuditAce
from stead.model.acl import NULL_SACL, Acl
from stead.model.security_descriptor import SecurityDescriptor
from stead.model.well_known import HIGH_LEVEL, OWNER_RIGHTS

law = settings(max_examples=100, deadline=None)


def answered(who, what, desired):
    """The decision; the laws are about questions that can be asked."""
    try:
        return access_check(who, what, desired, MAPPING)
    except SteadError:
        assume(False)
        raise


def with_dacl(what: SecurityDescriptor, *entries) -> SecurityDescriptor:
    return replace(what, dacl=Acl(tuple(entries)))


deniers = aces(AccessDeniedAce)
plain = acls(AccessAllowedAce, AccessDeniedAce)


@law
@given(tokens(), descriptors(dacl=plain), desires(), deniers, st.integers(0, 6))
def test_adding_a_deny_never_grants(who, what, desired, entry, place):
    # An entry for OWNER RIGHTS does more than deny: it ends the owner's own rights,
    # which is less for the owner still.
    before = answered(who, what, desired)
    entries = list(what.dacl)
    entries.insert(place, entry)
    after = answered(who, with_dacl(what, *entries), desired)
    assert 0 == after.granted & ~before.granted


@law
@given(
    tokens(),
    descriptors(dacl=plain),
    desires(),
    aces(AccessAllowedAce),
    st.integers(0, 6),
)
def test_adding_an_allow_never_takes(who, what, desired, entry, place):
    assume(entry.trustee != OWNER_RIGHTS)
    before = answered(who, what, desired)
    entries = list(what.dacl)
    entries.insert(place, entry)
    after = answered(who, with_dacl(what, *entries), desired)
    assert 0 == before.granted & ~after.granted


@law
@given(tokens(), descriptors(dacl=plain), desires())
def test_without_maximum_allowed_all_is_granted_or_nothing(who, what, desired):
    assume(not desired & MAXIMUM)
    decision = answered(who, what, desired)
    assert decision.granted == (desired if decision else 0)


@law
@given(tokens(), descriptors(dacl=plain), desires())
def test_the_maximum_holds_whatever_can_be_asked_for_alone(who, what, desired):
    asked = desired & ~(MAXIMUM | WRITE_OWNER | SYSTEM_SECURITY)
    assume(asked)
    decision = answered(who, what, asked)
    most = answered(who, what, MAXIMUM)
    assert decision.allowed == (asked & ~most.granted == 0)


@law
@given(tokens(), descriptors(dacl=plain), desires())
def test_what_is_granted_together_is_granted_one_by_one(who, what, desired):
    decision = answered(who, what, desired)
    for number in range(32):
        if decision.granted & 1 << number:
            asked = 1 << number
            assert asked == answered(who, what, asked).granted


@law
@given(tokens(), descriptors(dacl=plain), desires(), sids())
def test_losing_a_group_that_no_deny_names_never_grants(who, what, desired, sid):
    assume(all(ace.trustee != sid for ace in what.dacl if ace.type == 1))
    assume(sid not in (what.owner, who.user))
    fewer = replace(who, groups=tuple(g for g in who.groups if g.sid != sid))
    before, after = answered(who, what, desired), answered(fewer, what, desired)
    assert 0 == after.granted & ~before.granted


@law
@given(tokens(), descriptors(dacl=plain), desires())
def test_a_privilege_never_takes_a_right(who, what, desired):
    before = answered(replace(who, privileges=()), what, desired)
    assert 0 == before.granted & ~answered(who, what, desired).granted


@law
@given(tokens(), descriptors(), desires())
def test_audit_entries_decide_nothing(who, what, desired):
    audited = Acl((SystemAuditAce(ALICE, 0xFFFFFFFF, AceFlags(0xC0)),))
    bare, watched = replace(what, sacl=NULL_SACL), replace(what, sacl=audited)
    expected = answered(who, bare, desired)
    assert expected.granted == answered(who, watched, desired).granted


@law
@given(tokens(), descriptors(), desires())
def test_a_label_never_grants(who, what, desired):
    # Of medium integrity and NO_WRITE_UP is what an object without a label is.
    bare = replace(what, sacl=NULL_SACL)
    high = replace(what, sacl=Acl((label(HIGH_LEVEL, 1),)))
    before, after = answered(who, bare, desired), answered(who, high, desired)
    assert 0 == after.granted & ~before.granted
