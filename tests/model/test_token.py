"""Tokens as values."""

import copy
import json
import pickle
from dataclasses import replace
from pathlib import Path

import pytest

from stead.errors import SteadError
from stead.model import privilege, token
from stead.model.acl import ABSENT_DACL, Acl
from stead.model.claim import Claim, ClaimType
from stead.model.privilege import Privilege, PrivilegeAttributes, TokenPrivilege
from stead.model.security_descriptor import SecurityDescriptor
from stead.model.sid import Sid
from stead.model.token import (
    AccessToken,
    ElevationType,
    GroupAttributes,
    ImpersonationLevel,
    MandatoryPolicy,
    TokenGroup,
    TokenSource,
    TokenType,
)
from stead.model.well_known import (
    ADMINISTRATORS,
    EVERYONE,
    LOCAL_SYSTEM,
    MEDIUM_LEVEL,
    USERS,
)

PACKAGE = Sid.from_string("S-1-15-2-1-2-3-4-5-6-7")
CAPABILITY = TokenGroup(Sid.from_string("S-1-15-3-1"))
TRUST = Sid.from_string("S-1-19-512-4096")
CLAIM = Claim("Title", ClaimType.STRING, ("PM",))
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
        ElevationType,
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


def test_a_token_that_says_no_more_is_ordinary():
    made = AccessToken(USERS)
    assert MEDIUM_LEVEL == made.integrity
    assert ABSENT_DACL is made.default_dacl
    assert not made.is_restricted
    assert not made.is_write_restricted
    assert not made.is_sandbox_inert
    assert None is made.package
    assert None is made.trust
    assert None is made.security
    assert ElevationType.DEFAULT is made.elevation
    assert () == made.user_claims + made.device_claims + made.local_claims
    assert () == made.device_groups + made.capabilities


def test_restricting_sids_make_a_token_restricted():
    assert AccessToken(USERS, restricting_sids=(EVERYONE,)).is_restricted
    made = AccessToken(USERS, restricting_sids=(EVERYONE,), is_write_restricted=True)
    assert made.is_write_restricted


def test_restricting_sids_match_no_entry_for_the_token_itself():
    made = AccessToken(USERS, restricting_sids=(EVERYONE,))
    assert {USERS} == made.enabled_sids
    assert {USERS} == made.deny_sids


def test_a_write_restricted_token_has_restricting_sids():
    with pytest.raises(SteadError, match="has restricting sids"):
        AccessToken(USERS, is_write_restricted=True)


def test_an_appcontainer_s_token_has_a_package_and_capabilities():
    made = AccessToken(USERS, package=PACKAGE, capabilities=[CAPABILITY])
    assert PACKAGE is made.package
    assert (CAPABILITY,) == made.capabilities
    assert {USERS} == made.enabled_sids


def test_capabilities_without_a_package_are_refused():
    with pytest.raises(SteadError, match="only an appcontainer"):
        AccessToken(USERS, capabilities=(CAPABILITY,))


@pytest.mark.parametrize("field", ["package", "trust", "integrity"])
def test_a_sid_of_the_wrong_kind_is_refused_in_a_place_that_has_one(field):
    with pytest.raises(SteadError, match="`S-1-1-0` is not a"):
        AccessToken(USERS, **{field: EVERYONE})


def test_a_process_trust_level_is_kept():
    assert TRUST is AccessToken(USERS, trust=TRUST).trust


@pytest.mark.parametrize("field", ["package", "trust", "restricting_sids"])
@pytest.mark.parametrize("wrong", ["S-1-15-2-1", bytes(PACKAGE)])
def test_every_identity_is_a_sid(field, wrong):
    value = (wrong,) if field == "restricting_sids" else wrong
    with pytest.raises(SteadError, match="each identity as a `Sid`"):
        AccessToken(USERS, **{field: value})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("restricting_sids", EVERYONE),
        ("device_groups", TokenGroup(EVERYONE)),
        ("user_claims", CLAIM),
        ("device_claims", CLAIM),
        ("local_claims", CLAIM),
    ],
)
def test_every_list_is_kept_as_a_tuple(field, value):
    assert (value,) == getattr(AccessToken(USERS, **{field: [value]}), field)


def test_a_token_s_own_descriptor_is_kept():
    security = SecurityDescriptor(Acl(), owner=USERS)
    assert security is AccessToken(USERS, security=security).security


def test_what_was_worked_out_is_no_part_of_the_value():
    first, second = (AccessToken(USERS, (TokenGroup(EVERYONE),)) for _ in range(2))
    object.__setattr__(first, "kept_standing", object())
    assert second == first
    assert hash(second) == hash(first)
    assert repr(second) == repr(first)
    changed = replace(first, user=LOCAL_SYSTEM)
    assert None is changed.kept_standing
    assert {LOCAL_SYSTEM, EVERYONE} == changed.enabled_sids


@pytest.mark.parametrize(
    "again",
    [copy.copy, copy.deepcopy, lambda token: pickle.loads(pickle.dumps(token))],  # noqa: S301
    ids=["copy", "deepcopy", "pickle"],
)
def test_what_is_kept_stays_behind_when_a_token_is_copied(again):
    made = AccessToken(USERS, (TokenGroup(EVERYONE),), user_claims=(CLAIM,))
    object.__setattr__(made, "kept_standing", object())
    copied = again(made)
    assert made == copied
    assert None is copied.kept_standing
    assert made.enabled_sids == copied.enabled_sids


@pytest.mark.parametrize(
    "fields",
    [
        {"groups": (EVERYONE,)},
        {"device_groups": (EVERYONE,)},
        {"package": Sid.from_string("S-1-15-2-1-2"), "capabilities": (EVERYONE,)},
    ],
)
def test_what_is_no_group_is_none_of_a_token_s(fields):
    with pytest.raises(SteadError, match="`TokenGroup`"):
        AccessToken(USERS, **fields)


@pytest.mark.parametrize("name", ["user_claims", "device_claims", "local_claims"])
def test_what_is_no_claim_is_none_of_a_token_s(name):
    with pytest.raises(SteadError, match="`Claim`"):
        AccessToken(USERS, **{name: {"dept": "sales"}})


def test_lists_become_tuples():
    made = AccessToken(USERS, groups=[TokenGroup(EVERYONE)], restricting_sids=[USERS])
    assert ((TokenGroup(EVERYONE),), (USERS,)) == (made.groups, made.restricting_sids)
