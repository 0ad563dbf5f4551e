"""Whom the policy refuses before the kernel is asked."""

import pytest

from stead.errors import ImpersonationRefusedError
from stead.model.posix_identity import PosixIdentity
from stead.privileged.system_uids import (
    DEFAULT_GUARD_UID,
    refuse_system_uid,
)


@pytest.mark.parametrize("uid", [1000, 60000, 65536, 70001, 2**32 - 2])
def test_a_persons_uid_is_not_refused(uid):
    refuse_system_uid(PosixIdentity(uid, uid, (27, 100)))


@pytest.mark.parametrize("uid", [1, 33, 999, 60001, 65519, 65534, 65535])
def test_a_system_uid_is_refused_unless_it_is_named(uid):
    identity = PosixIdentity(uid, uid)
    with pytest.raises(ImpersonationRefusedError, match="no policy names it"):
        refuse_system_uid(identity)
    refuse_system_uid(identity, allowed={uid})


@pytest.mark.parametrize(
    "identity",
    [
        PosixIdentity(0, 70001),
        PosixIdentity(DEFAULT_GUARD_UID, 70001),
        PosixIdentity(70001, DEFAULT_GUARD_UID),
        PosixIdentity(70001, 70001, (DEFAULT_GUARD_UID,)),
    ],
)
def test_root_and_the_guard_are_refused_even_if_named(identity):
    with pytest.raises(ImpersonationRefusedError, match="never impersonated"):
        refuse_system_uid(identity, allowed={identity.uid})


@pytest.mark.parametrize(
    "identity", [PosixIdentity(70001, 0), PosixIdentity(70001, 70001, (0,))]
)
def test_a_member_of_group_0_is_refused_unless_named(identity):
    with pytest.raises(ImpersonationRefusedError, match="a member of group 0"):
        refuse_system_uid(identity)
    refuse_system_uid(identity, allowed={70001})


def test_another_guard_is_refused_too():
    with pytest.raises(ImpersonationRefusedError, match="uid 70009"):
        refuse_system_uid(PosixIdentity(70009, 70009), guard=70009)
