"""Lists, and what is not a list."""

import pytest

from stead.errors import InvalidAclError
from stead.model.ace import AccessAllowedAce, AccessDeniedAce, allow
from stead.model.acl import ABSENT_DACL, ABSENT_SACL, NULL_DACL, NULL_SACL, Acl, NoAcl
from stead.model.well_known import EVERYONE

ALLOW = AccessAllowedAce(EVERYONE, 1)
DENY = AccessDeniedAce(EVERYONE, 1)


def test_a_list_keeps_its_order():
    acl = Acl([DENY, ALLOW])
    assert [DENY, ALLOW] == list(acl)
    assert (DENY, ALLOW) == acl.aces
    assert 2 == len(acl)


def test_an_empty_list_is_a_list_and_true():
    assert Acl()
    assert 0 == len(Acl())


def test_what_is_not_a_list_is_neither_absent_nor_null_by_accident():
    assert NoAcl.NULL is NULL_DACL
    assert NoAcl.ABSENT is ABSENT_DACL
    assert NULL_DACL is not ABSENT_DACL
    assert NULL_DACL is NULL_SACL
    assert ABSENT_DACL is ABSENT_SACL
    assert "NULL_ACL" == repr(NULL_DACL)


def test_a_name_is_resolved_before_it_is_listed():
    with pytest.raises(InvalidAclError, match="resolve names first"):
        Acl((allow("Users", 1),))


@pytest.mark.parametrize("revision", [0, 1, 3, 5])
def test_an_unknown_revision_is_refused(revision):
    with pytest.raises(InvalidAclError, match="revision"):
        Acl((), revision)


def test_a_list_holds_just_64_kib():
    assert 3276 == len(Acl((ALLOW,) * 3276))
    with pytest.raises(InvalidAclError, match="64 KiB"):
        Acl((ALLOW,) * 3277)
