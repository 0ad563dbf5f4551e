"""Tokens as values."""

import json
from pathlib import Path

import pytest

from stead.errors import SteadError
from stead.model import privilege, token
from stead.model.privilege import Privilege, PrivilegeAttributes, TokenPrivilege
from stead.model.token import (
    AccessToken,
    GroupAttributes,
    ImpersonationLevel,
    MandatoryPolicy,
    TokenGroup,
    TokenSource,
    TokenType,
)
from stead.model.well_known import ADMINISTRATORS, EVERYONE, LOCAL_SYSTEM, USERS

DENY_ONLY = GroupAttributes.USE_FOR_DENY_ONLY
ENABLED = GroupAttributes.ENABLED
CONSTANTS = Path(__file__).parent.parent / "vectors" / "constants" / "token.json"


def test_every_constant_of_a_token_is_the_header_s():
    table = json.loads(CONSTANTS.read_text("utf-8"))
    for row in table:
        kind, name = row["expected"]
        found = getattr(token, kind, None) or getattr(privilege, kind)
        assert row["input"] == found[name]
    listed = {tuple(row["expected"]) for row in table}
    for kind in (
        GroupAttributes,
        PrivilegeAttributes,
        TokenType,
        ImpersonationLevel,
        MandatoryPolicy,
    ):
        named = {(kind.__name__, name) for name in kind.__members__}
        assert not {pair for pair in named - listed if "NONE" != pair[1]}


@pytest.mark.parametrize(
    ("attributes", "enabled", "deny_only"),
    [
        (GroupAttributes.NONE, False, False),
        (ENABLED, True, False),
        (DENY_ONLY, False, True),
        (ENABLED | DENY_ONLY, False, True),
    ],
)
def test_a_group_is_enabled_or_for_deny_only(attributes, enabled, deny_only):
    group = TokenGroup(USERS, attributes)
    assert enabled is group.is_enabled
    assert deny_only is group.is_deny_only


def test_the_user_and_enabled_groups_match_both_kinds_of_entry():
    made = AccessToken(LOCAL_SYSTEM, (TokenGroup(USERS),))
    assert {LOCAL_SYSTEM, USERS} == made.enabled_sids
    assert {LOCAL_SYSTEM, USERS} == made.deny_sids


def test_a_disabled_group_matches_nothing():
    made = AccessToken(LOCAL_SYSTEM, (TokenGroup(USERS, GroupAttributes.NONE),))
    assert USERS not in made.enabled_sids
    assert USERS not in made.deny_sids


def test_a_deny_only_group_matches_deny_entries_alone():
    made = AccessToken(LOCAL_SYSTEM, (TokenGroup(ADMINISTRATORS, DENY_ONLY),))
    assert ADMINISTRATORS not in made.enabled_sids
    assert ADMINISTRATORS in made.deny_sids


def test_a_second_mention_does_not_undo_deny_only():
    groups = (TokenGroup(ADMINISTRATORS, DENY_ONLY), TokenGroup(ADMINISTRATORS))
    assert ADMINISTRATORS not in AccessToken(USERS, groups).enabled_sids
    assert (
        LOCAL_SYSTEM
        not in AccessToken(
            LOCAL_SYSTEM, (TokenGroup(LOCAL_SYSTEM, DENY_ONLY),)
        ).enabled_sids
    )


def test_a_user_may_be_for_deny_only():
    made = AccessToken(LOCAL_SYSTEM, user_is_deny_only=True)
    assert frozenset() == made.enabled_sids
    assert {LOCAL_SYSTEM} == made.deny_sids


def test_owner_and_group_default_to_the_user():
    made = AccessToken(LOCAL_SYSTEM)
    assert LOCAL_SYSTEM == made.default_owner
    assert LOCAL_SYSTEM == made.default_group


def test_owner_and_group_are_what_the_token_says():
    made = AccessToken(LOCAL_SYSTEM, owner=ADMINISTRATORS, primary_group=USERS)
    assert ADMINISTRATORS == made.default_owner
    assert USERS == made.default_group


@pytest.mark.parametrize(
    ("attributes", "held"),
    [
        (PrivilegeAttributes.NONE, False),
        (PrivilegeAttributes.ENABLED, True),
        (PrivilegeAttributes.ENABLED | PrivilegeAttributes.REMOVED, False),
    ],
)
def test_a_privilege_counts_only_while_enabled(attributes, held):
    made = AccessToken(
        USERS, privileges=(TokenPrivilege(Privilege.BACKUP, attributes),)
    )
    assert held is made.has_privilege(Privilege.BACKUP)
    assert not made.has_privilege(Privilege.RESTORE)


def test_a_group_s_entry_is_found_or_not():
    group = TokenGroup(USERS)
    made = AccessToken(LOCAL_SYSTEM, (TokenGroup(EVERYONE), group))
    assert group is made.group(USERS)
    assert None is made.group(ADMINISTRATORS)


def test_lists_are_kept_as_tuples():
    made = AccessToken(USERS, [TokenGroup(EVERYONE)], [TokenPrivilege(Privilege.TCB)])
    assert (TokenGroup(EVERYONE),) == made.groups
    assert (TokenPrivilege(Privilege.TCB),) == made.privileges


def test_integrity_is_a_level():
    with pytest.raises(SteadError, match="not an integrity level"):
        AccessToken(USERS, integrity=EVERYONE)


@pytest.mark.parametrize(
    "level", [ImpersonationLevel.ANONYMOUS, ImpersonationLevel.IDENTIFICATION]
)
def test_a_primary_token_is_never_below_impersonation(level):
    with pytest.raises(SteadError, match="never below"):
        AccessToken(USERS, type=TokenType.PRIMARY, level=level)
    assert level is AccessToken(USERS, level=level).level


def test_a_primary_token_is_made():
    assert TokenType.PRIMARY is AccessToken(USERS, type=TokenType.PRIMARY).type


@pytest.mark.parametrize("wrong", ["S-1-5-18", bytes(LOCAL_SYSTEM)])
def test_what_is_no_sid_is_in_no_token(wrong):
    with pytest.raises(SteadError):
        AccessToken(wrong)
    with pytest.raises(SteadError):
        AccessToken(USERS, owner=wrong)
    with pytest.raises(SteadError):
        AccessToken(USERS, primary_group=wrong)
    with pytest.raises(SteadError):
        AccessToken(USERS, integrity=wrong)
    with pytest.raises(SteadError):
        TokenGroup(wrong)


@pytest.mark.parametrize("name", ["", "ninechars"])
def test_a_source_has_one_to_eight_letters(name):
    with pytest.raises(SteadError, match="one to eight"):
        TokenSource(name)


def test_levels_are_ordered_and_named():
    assert ImpersonationLevel.ANONYMOUS < ImpersonationLevel.DELEGATION
    assert "SecurityIdentification" == ImpersonationLevel.IDENTIFICATION.win32_name
