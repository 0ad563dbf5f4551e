"""Small builders for tests of making, changing and handing down descriptors."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from hypothesis import strategies as st
from tests.strategies import GROUPS, PEOPLE, SMALL_MAPPING, masks

from stead.model.ace import (
    AccessAllowedAce,
    AccessAllowedCallbackAce,
    AccessAllowedObjectAce,
    AccessDeniedAce,
    AccessDeniedObjectAce,
    Ace,
    AceFlags,
    MandatoryLabelAce,
    ResourceAttributeAce,
    ScopedPolicyIdAce,
    SystemAuditAce,
)
from stead.model.acl import ABSENT_SACL, Acl, NoAcl
from stead.model.guid import Guid
from stead.model.privilege import Privilege, TokenPrivilege
from stead.model.security_descriptor import ControlFlags, SecurityDescriptor
from stead.model.sid import Sid
from stead.model.token import AccessToken, GroupAttributes, TokenGroup
from stead.model.well_known import CREATOR_GROUP, CREATOR_OWNER, EVERYONE, LOW_LEVEL

ALICE, BOB, CAROL, DAVE = PEOPLE
INTERNS, STAFF, EDITORS, ADMINS = GROUPS
READ, WRITE, RUN = 1, 2, 4
GENERIC_READ, GENERIC_ALL = 1 << 31, 1 << 28
MAPPING: Final = SMALL_MAPPING
OWNING: Final = GroupAttributes.ENABLED | GroupAttributes.OWNER

OI: Final = AceFlags.OBJECT_INHERIT
CI: Final = AceFlags.CONTAINER_INHERIT
NP: Final = AceFlags.NO_PROPAGATE_INHERIT
IO: Final = AceFlags.INHERIT_ONLY
ID: Final = AceFlags.INHERITED
NONE: Final = AceFlags.NONE
FAILED: Final = AceFlags.FAILED_ACCESS

FOLDER: Final = Guid.from_string("00000000-0000-0000-0000-00000000000f")
USER: Final = Guid.from_string("00000000-0000-0000-0000-0000000000aa")
PHONE: Final = Guid.from_string("00000000-0000-0000-0000-0000000000bb")
POLICY: Final = Sid.from_string("S-1-17-1")
CONDITION: Final = b"artx" + bytes(4)


def token(
    *groups: Sid | TokenGroup,
    user: Sid = ALICE,
    privileges: Iterable[Privilege] = (),
    **fields: Any,
) -> AccessToken:
    return AccessToken(
        user,
        tuple(g if isinstance(g, TokenGroup) else TokenGroup(g) for g in groups),
        tuple(TokenPrivilege(privilege) for privilege in privileges),
        **fields,
    )


def allow(trustee: Sid, mask: int, flags: AceFlags = NONE) -> Ace:
    return AccessAllowedAce(trustee, mask, flags)


def deny(trustee: Sid, mask: int, flags: AceFlags = NONE) -> Ace:
    return AccessDeniedAce(trustee, mask, flags)


def audit(trustee: Sid, mask: int, flags: AceFlags = FAILED) -> Ace:
    return SystemAuditAce(trustee, mask, flags)


def label(level: Sid = LOW_LEVEL, policy: int = 1, flags: AceFlags = NONE) -> Ace:
    return MandatoryLabelAce(level, policy, flags)


def policy(flags: AceFlags = NONE, sid: Sid = POLICY) -> Ace:
    return ScopedPolicyIdAce(sid, 0, flags)


def attribute(flags: AceFlags = NONE, *, claim_flags: int = 0) -> Ace:
    """Make an entry whose data has the head of a claim (2.4.10.1) and no values."""
    head = bytes(8) + claim_flags.to_bytes(4, "little") + bytes(4)
    return ResourceAttributeAce(EVERYONE, 0, flags, head)


def described(
    *aces: Ace,
    dacl: Acl | NoAcl | None = None,
    sacl: Acl | NoAcl = ABSENT_SACL,
    owner: Sid | None = ALICE,
    group: Sid | None = STAFF,
    control: ControlFlags = ControlFlags.NONE,
) -> SecurityDescriptor:
    return SecurityDescriptor(
        dacl=Acl(aces) if dacl is None else dacl,
        owner=owner,
        group=group,
        sacl=sacl,
        control=control,
    )


def system(*aces: Ace, **fields: Any) -> SecurityDescriptor:
    """Make a descriptor with a SACL of these entries and an empty DACL."""
    return described(sacl=Acl(aces), **fields)


# --- random ones, for laws -----------------------------------------------------------

_TRUSTEES = st.sampled_from((ALICE, BOB, STAFF, EVERYONE, CREATOR_OWNER, CREATOR_GROUP))
_TYPES = st.sampled_from((None, USER, FOLDER, PHONE))
_MASKS = st.one_of(st.sampled_from((READ, WRITE, READ | WRITE, GENERIC_READ)), masks())


def some_flags(*, kept: int = 0) -> st.SearchStrategy[AceFlags]:
    """Inheritance flags, all of them likely, and bits that are always there."""
    return st.integers(0, 31).map(lambda bits: AceFlags(bits | kept))


def dacl_aces() -> st.SearchStrategy[Ace]:
    plain = st.one_of(
        *(
            st.builds(kind, _TRUSTEES, _MASKS, some_flags())
            for kind in (AccessAllowedAce, AccessDeniedAce)
        )
    )
    typed = st.one_of(
        *(
            st.builds(
                kind,
                _TRUSTEES,
                _MASKS,
                some_flags(),
                object_type=_TYPES,
                inherited_object_type=_TYPES,
            )
            for kind in (AccessAllowedObjectAce, AccessDeniedObjectAce)
        )
    )
    conditional = st.builds(
        AccessAllowedCallbackAce, _TRUSTEES, _MASKS, some_flags(), st.just(CONDITION)
    )
    return st.one_of(plain, plain, typed, conditional)


def sacl_aces(*, crossing: bool = True) -> st.SearchStrategy[Ace]:
    kinds = [
        st.builds(SystemAuditAce, _TRUSTEES, _MASKS, some_flags(kept=0x80)),
        st.builds(
            MandatoryLabelAce, st.just(LOW_LEVEL), st.integers(0, 7), some_flags()
        ),
    ]
    if crossing:
        kinds += [
            st.builds(policy, some_flags()),
            st.builds(attribute, some_flags(), claim_flags=st.integers(0, 1)),
        ]
    return st.one_of(*kinds)


def lists(entries: st.SearchStrategy[Ace]) -> st.SearchStrategy[Acl | NoAcl]:
    acls = st.lists(entries, max_size=5).map(lambda some: Acl(tuple(some)))
    return st.one_of(acls, acls, acls, st.sampled_from(NoAcl))


def some_descriptors(*, crossing: bool = True) -> st.SearchStrategy[SecurityDescriptor]:
    protection = st.sampled_from((0, 0, 0x1000, 0x2000, 0x3000)).map(ControlFlags)
    return st.builds(
        SecurityDescriptor,
        dacl=lists(dacl_aces()),
        owner=st.sampled_from((ALICE, BOB, None)),
        group=st.sampled_from((STAFF, None)),
        sacl=lists(sacl_aces(crossing=crossing)),
        control=protection,
    )
