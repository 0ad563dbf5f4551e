"""Tokens that may do less: what is taken stays taken."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.decision.cases import (
    ALICE,
    INTERNS,
    MAPPING,
    READ,
    STAFF,
    WRITE,
    allow,
    check,
    deny,
    guarded,
    token,
)
from tests.strategies import GROUPS, PEOPLE, descriptors, tokens

from stead.decision.fast import is_granted
from stead.decision.restricting import (
    LIMITED_PRIVILEGES,
    linked_token,
    lower_integrity,
    raise_integrity,
    restrict_token,
    split_token,
)
from stead.decision.token_ops import adjust_privileges
from stead.errors import PrivilegeNotHeldError, SteadError
from stead.model.acl import NoAcl
from stead.model.luid import Luid
from stead.model.privilege import Privilege
from stead.model.sid import Sid
from stead.model.token import (
    ElevationType,
    GroupAttributes,
    ImpersonationLevel,
    TokenGroup,
    TokenType,
)
from stead.model.well_known import (
    ADMINISTRATORS,
    HIGH_LEVEL,
    LOW_LEVEL,
    MEDIUM_LEVEL,
    NULL_SID,
    OWNER_RIGHTS,
)

DOMAIN_ADMINS = Sid.from_string("S-1-5-21-1-2-3-512")


def test_a_group_becomes_deny_only_for_good():
    less = restrict_token(token(INTERNS, STAFF), deny_only=[INTERNS, GROUPS[3]])
    assert less.groups[0].is_deny_only
    assert not less.groups[0].is_enabled
    assert less.groups[1].is_enabled
    assert not check(less, guarded(allow(INTERNS, READ)), READ)
    assert not check(less, guarded(deny(INTERNS, READ), allow(STAFF, READ)), READ)


def test_a_deny_only_group_loses_what_would_enable_it_and_nothing_else():
    kept = GroupAttributes.OWNER | GroupAttributes.RESOURCE
    cleared = (
        GroupAttributes.MANDATORY
        | GroupAttributes.ENABLED_BY_DEFAULT
        | GroupAttributes.ENABLED
    )
    less = restrict_token(token(TokenGroup(STAFF, kept | cleared)), deny_only=[STAFF])
    assert kept | GroupAttributes.USE_FOR_DENY_ONLY == less.groups[0].attributes


def test_the_user_can_become_deny_only_too():
    less = restrict_token(token(STAFF), deny_only=[ALICE])
    assert less.user_is_deny_only
    assert not check(less, guarded(allow(ALICE, READ)), READ)
    assert restrict_token(less).user_is_deny_only


def test_privileges_are_deleted_by_name_or_all_but_one():
    who = token(privileges=[Privilege.CHANGE_NOTIFY, Privilege.BACKUP, Privilege.DEBUG])
    less = restrict_token(who, delete_privileges=[Privilege.BACKUP, Privilege.TCB])
    held = {entry.privilege for entry in less.privileges}
    assert {Privilege.CHANGE_NOTIFY, Privilege.DEBUG} == held
    least = restrict_token(who, disable_max_privilege=True)
    assert [Privilege.CHANGE_NOTIFY] == [e.privilege for e in least.privileges]
    with pytest.raises(PrivilegeNotHeldError):
        adjust_privileges(least, {Privilege.BACKUP: True})


def test_restricting_sids_are_kept_once():
    less = restrict_token(token(), restricting_sids=[INTERNS, STAFF, INTERNS])
    assert (INTERNS, STAFF) == less.restricting_sids
    assert less.is_restricted
    assert not token().is_restricted


def test_restricting_again_leaves_what_stands_in_both():
    once = restrict_token(token(), restricting_sids=[INTERNS, STAFF])
    assert (STAFF,) == restrict_token(once, restricting_sids=[STAFF]).restricting_sids
    assert (INTERNS, STAFF) == restrict_token(once).restricting_sids


def test_restricting_to_nothing_in_common_leaves_nobody():
    once = restrict_token(token(), restricting_sids=[INTERNS])
    none = restrict_token(once, restricting_sids=[STAFF])
    assert (NULL_SID,) == none.restricting_sids
    entries = [allow(sid, READ) for sid in (ALICE, INTERNS, STAFF, NULL_SID)]
    assert not check(none, guarded(*entries), READ)
    again = restrict_token(none, restricting_sids=[INTERNS])
    assert (NULL_SID,) == again.restricting_sids


def test_write_restriction_is_never_a_way_out_of_a_full_one():
    once = restrict_token(token(), restricting_sids=[INTERNS])
    twice = restrict_token(once, restricting_sids=[INTERNS], write_restricted=True)
    assert not twice.is_write_restricted
    assert not restrict_token(once).is_write_restricted


def test_a_write_restricted_token_stays_so_or_becomes_fully_restricted():
    once = restrict_token(token(), restricting_sids=[INTERNS], write_restricted=True)
    assert once.is_write_restricted
    assert restrict_token(once).is_write_restricted
    assert restrict_token(
        once, restricting_sids=[INTERNS], write_restricted=True
    ).is_write_restricted
    assert not restrict_token(once, restricting_sids=[INTERNS]).is_write_restricted


def test_write_restriction_needs_sids_to_restrict_to():
    assert not restrict_token(token(), write_restricted=True).is_write_restricted


def test_a_default_owner_that_became_deny_only_owns_nothing_new():
    who = token(TokenGroup(STAFF, GroupAttributes(0xF)), owner=STAFF)
    assert ALICE == restrict_token(who, deny_only=[STAFF]).default_owner
    assert STAFF == restrict_token(who, deny_only=[ALICE]).default_owner


def test_sandbox_inert_is_noted_and_the_number_is_the_new_token_s_own():
    less = restrict_token(token(), sandbox_inert=True, token_id=Luid(7))
    assert (True, Luid(7)) == (less.is_sandbox_inert, less.token_id)
    assert restrict_token(less).is_sandbox_inert
    assert not restrict_token(token()).is_sandbox_inert


law = settings(max_examples=150, deadline=None)


@law
@given(
    tokens(),
    descriptors(),
    st.lists(st.sampled_from((*PEOPLE, *GROUPS)), max_size=3),
    st.lists(st.sampled_from((*PEOPLE, *GROUPS)), max_size=3),
    st.booleans(),
)
def test_a_restricted_token_is_never_granted_more(who, what, sids, deny_only, writes):
    # A deny-only owner loses what an OWNER RIGHTS entry may deny; left out here.
    if not isinstance(what.dacl, NoAcl) and any(
        ace.trustee == OWNER_RIGHTS for ace in what.dacl
    ):
        return
    less = restrict_token(
        who, restricting_sids=sids, deny_only=deny_only, write_restricted=writes
    )
    for right in (READ, WRITE, 1 << 17, 1 << 18, 1 << 19):
        if who.level and is_granted(less, what, right, MAPPING):
            assert is_granted(who, what, right, MAPPING)


# --- the elevation pair ---------------------------------------------------------------


def administrator():
    return token(
        ADMINISTRATORS,
        DOMAIN_ADMINS,
        STAFF,
        privileges=[Privilege.CHANGE_NOTIFY, Privilege.DEBUG, Privilege.SHUTDOWN],
        integrity=HIGH_LEVEL,
        type=TokenType.PRIMARY,
    )


def test_an_administrator_s_token_splits_in_two():
    pair = split_token(administrator(), limited_id=Luid(1), full_id=Luid(2))
    assert pair is not None
    deny_only = {group.sid for group in pair.limited.groups if group.is_deny_only}
    assert {ADMINISTRATORS, DOMAIN_ADMINS} == deny_only
    assert {e.privilege for e in pair.limited.privileges} <= LIMITED_PRIVILEGES
    assert MEDIUM_LEVEL == pair.limited.integrity
    assert ElevationType.LIMITED is pair.limited.elevation
    assert ElevationType.FULL is pair.full.elevation
    assert (Luid(1), Luid(2)) == (pair.limited.token_id, pair.full.token_id)
    assert administrator().groups == pair.full.groups


@pytest.mark.parametrize(
    "text",
    [
        *(f"S-1-5-32-{rid}" for rid in (544, 547, 548, 549, 550, 551, 552, 554)),
        *(f"S-1-5-32-{rid}" for rid in (556, 569)),
        *(f"S-1-5-21-7-8-9-{rid}" for rid in (498, *range(516, 522), 512)),
    ],
)
def test_a_limited_token_holds_an_administrative_group_for_deny_entries_only(text):
    pair = split_token(token(Sid.from_string(text)))
    assert pair is not None
    assert pair.limited.groups[0].is_deny_only


@pytest.mark.parametrize(
    "text",
    [
        *(f"S-1-5-32-{rid}" for rid in (545, 546, 553, 555, 557, 568, 570)),
        *(f"S-1-5-21-7-8-9-{rid}" for rid in (497, 499, 511, 513, 515, 522)),
        "S-1-5-5-0-512",
        "S-1-18-21-512",
    ],
)
def test_no_other_group_is_reason_to_split(text):
    assert split_token(token(Sid.from_string(text))) is None


def test_a_group_that_grants_nothing_already_is_no_reason_to_split():
    for attributes in (GroupAttributes.USE_FOR_DENY_ONLY, GroupAttributes.NONE):
        assert split_token(token(TokenGroup(ADMINISTRATORS, attributes))) is None


def test_a_limited_token_keeps_five_privileges():
    pair = split_token(token(privileges=Privilege))
    assert pair is not None
    kept = {
        Privilege.CHANGE_NOTIFY,
        Privilege.SHUTDOWN,
        Privilege.UNDOCK,
        Privilege.INCREASE_WORKING_SET,
        Privilege.TIME_ZONE,
    }
    assert kept == {entry.privilege for entry in pair.limited.privileges}


def test_a_limited_token_of_low_integrity_stays_low():
    who = token(ADMINISTRATORS, integrity=LOW_LEVEL)
    pair = split_token(who)
    assert pair is not None
    assert LOW_LEVEL == pair.limited.integrity


def test_a_token_with_nothing_to_filter_is_not_split():
    assert split_token(token(STAFF, privileges=[Privilege.CHANGE_NOTIFY])) is None


def test_a_privilege_alone_is_reason_to_split():
    pair = split_token(token(STAFF, privileges=[Privilege.DEBUG]))
    assert pair is not None
    assert () == pair.limited.privileges


def test_who_may_act_as_the_system_gets_the_linked_token_whole():
    pair = split_token(administrator())
    system = token(privileges=[Privilege.TCB])
    other = linked_token(pair, pair.limited, caller=system, token_id=Luid(5))
    assert TokenType.PRIMARY is other.type
    assert pair.full.groups == other.groups
    assert Luid(5) == other.token_id


@pytest.mark.parametrize("which", ["limited", "full"])
def test_others_get_it_to_look_at_only(which):
    pair = split_token(administrator())
    mine, its = getattr(pair, which), {"limited": pair.full, "full": pair.limited}
    other = linked_token(pair, mine, caller=token(), token_id=Luid(6))
    assert Luid(6) == other.token_id
    assert TokenType.IMPERSONATION is other.type
    assert ImpersonationLevel.IDENTIFICATION is other.level
    assert its[which].groups == other.groups


def test_a_token_of_no_pair_has_no_other():
    pair = split_token(administrator())
    with pytest.raises(SteadError, match="not one of a linked pair"):
        linked_token(pair, token(), caller=token())


# --- integrity ------------------------------------------------------------------------


def test_integrity_can_be_lowered_by_anybody_and_raised_by_few():
    low = lower_integrity(token(), LOW_LEVEL, token_id=Luid(3))
    assert (LOW_LEVEL, Luid(3)) == (low.integrity, low.token_id)
    with pytest.raises(PrivilegeNotHeldError) as caught:
        lower_integrity(low, MEDIUM_LEVEL)
    assert (Privilege.RELABEL,) == caught.value.privileges
    with pytest.raises(PrivilegeNotHeldError) as caught:
        raise_integrity(low, MEDIUM_LEVEL, caller=token())
    assert (Privilege.RELABEL,) == caught.value.privileges
    for privilege in (Privilege.RELABEL, Privilege.TCB):
        caller = token(privileges=[privilege])
        raised = raise_integrity(low, HIGH_LEVEL, caller=caller, token_id=Luid(4))
        assert (HIGH_LEVEL, Luid(4)) == (raised.integrity, raised.token_id)


def test_integrity_is_a_level():
    with pytest.raises(SteadError, match="not an integrity level"):
        lower_integrity(token(), STAFF)
