"""Random values of the model, for property tests of every room.

Values are mostly valid and drawn from small pools, so that tokens and entries meet:
two SIDs drawn at random from all SIDs would never be the same one.
"""

from __future__ import annotations

from typing import Final

from hypothesis import strategies as st

from stead.model.access_mask import FILE_MAPPING, GenericMapping
from stead.model.ace import (
    AccessAllowedAce,
    AccessDeniedAce,
    Ace,
    AceFlags,
    MandatoryLabelAce,
    SystemAuditAce,
)
from stead.model.acl import ABSENT_DACL, ABSENT_SACL, NULL_DACL, NULL_SACL, Acl, NoAcl
from stead.model.luid import Luid
from stead.model.privilege import Privilege, PrivilegeAttributes, TokenPrivilege
from stead.model.security_descriptor import SecurityDescriptor
from stead.model.sid import Sid
from stead.model.token import (
    AccessToken,
    GroupAttributes,
    ImpersonationLevel,
    MandatoryPolicy,
    TokenGroup,
    TokenType,
)
from stead.model.well_known import (
    ADMINISTRATORS,
    EVERYONE,
    HIGH_LEVEL,
    LOCAL_SYSTEM,
    LOW_LEVEL,
    MEDIUM_LEVEL,
    OWNER_RIGHTS,
    SYSTEM_LEVEL,
    UNTRUSTED_LEVEL,
)

DOMAIN: Final = Sid.from_string("S-1-5-21-1-2-3")
PEOPLE: Final = tuple(DOMAIN.with_rid(rid) for rid in range(1001, 1005))
GROUPS: Final = (*(DOMAIN.with_rid(rid) for rid in range(2001, 2004)), ADMINISTRATORS)
LEVELS: Final = (
    UNTRUSTED_LEVEL,
    LOW_LEVEL,
    Sid.from_string("S-1-16-8191"),
    MEDIUM_LEVEL,
    Sid.from_string("S-1-16-8448"),
    HIGH_LEVEL,
    SYSTEM_LEVEL,
)
SMALL_MAPPING: Final = GenericMapping(
    read=0x20001, write=0x20002, execute=4, all=0xF0007
)
_CHECKED_PRIVILEGES: Final = (
    Privilege.SECURITY,
    Privilege.TAKE_OWNERSHIP,
    Privilege.RELABEL,
    Privilege.RESTORE,
    Privilege.DEBUG,
)


def sids() -> st.SearchStrategy[Sid]:
    """People and groups of one domain and well-known SIDs; seldom any SID at all."""
    known = st.sampled_from(
        (*PEOPLE, *GROUPS, EVERYONE, LOCAL_SYSTEM, OWNER_RIGHTS, MEDIUM_LEVEL)
    )
    return st.one_of(known, known, known, any_sids())


def any_sids() -> st.SearchStrategy[Sid]:
    """Any SID that there can be."""
    return st.builds(
        Sid.from_parts,
        st.integers(0, 2**48 - 1),
        st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=15).map(tuple),
    )


def masks() -> st.SearchStrategy[int]:
    """Rights of an entry: a few bits mostly, generic ones now and then, or any."""
    few = st.sampled_from((1, 2, 3, 4, 7, 0x10000, 0x20000, 0x40000, 0x60000, 0x80000))
    special = st.sampled_from(
        (0, 0x1000000, 0x2000000, 1 << 28, 1 << 29, 1 << 30, 1 << 31, 0x1F01FF)
    )
    return st.one_of(few, few, special, st.integers(0, 2**32 - 1))


def desires() -> st.SearchStrategy[int]:
    """Questions: a few bits mostly; MAXIMUM_ALLOWED, nothing and generic bits too."""
    high = st.sampled_from(
        (0, 0, 0x10000, 0x20000, 0x40000, 0x80000, 0x1000000, 0xE0000)
    )
    few = st.builds(int.__or__, st.integers(0, 7), high)
    return st.one_of(
        few, few, few.map(lambda mask: mask | 0x2000000), st.integers(0, 2**32 - 1)
    )


def mappings() -> st.SearchStrategy[GenericMapping]:
    """Generic mappings: of files, of a small object, or any."""
    bits = st.integers(0, 0x001F_FFFF)
    return st.one_of(
        st.sampled_from((SMALL_MAPPING, FILE_MAPPING)),
        st.builds(GenericMapping, read=bits, write=bits, execute=bits, all=bits),
    )


def flags() -> st.SearchStrategy[AceFlags]:
    """Flags of an entry: none mostly."""
    return st.one_of(st.just(0), st.just(0), st.integers(0, 255)).map(AceFlags)


def aces(
    *kinds: type[Ace],
) -> st.SearchStrategy[Ace]:
    """Entries of these kinds; of all kinds if none is given."""
    chosen = kinds or (
        AccessAllowedAce,
        AccessDeniedAce,
        SystemAuditAce,
        MandatoryLabelAce,
    )
    return st.one_of(
        *(
            labels()
            if kind is MandatoryLabelAce
            else st.builds(kind, sids(), masks(), flags())
            for kind in chosen
        )
    )


def labels() -> st.SearchStrategy[MandatoryLabelAce]:
    """Mandatory labels."""
    return st.builds(
        MandatoryLabelAce, st.sampled_from(LEVELS), st.integers(0, 7), flags()
    )


def acls(*kinds: type[Ace], max_size: int = 6) -> st.SearchStrategy[Acl]:
    """Lists of entries of these kinds; of all kinds if none is given."""
    return st.lists(aces(*kinds), max_size=max_size).map(lambda some: Acl(tuple(some)))


def dacls() -> st.SearchStrategy[Acl | NoAcl]:
    """Discretionary lists; seldom NULL or absent."""
    some = acls(AccessAllowedAce, AccessDeniedAce)
    return st.one_of(some, some, some, st.sampled_from((NULL_DACL, ABSENT_DACL)))


def sacls() -> st.SearchStrategy[Acl | NoAcl]:
    """System lists: absent mostly."""
    none = st.sampled_from((ABSENT_SACL, ABSENT_SACL, NULL_SACL))
    return st.one_of(none, acls(SystemAuditAce, MandatoryLabelAce, max_size=4))


def descriptors(
    *,
    dacl: st.SearchStrategy[Acl | NoAcl] | None = None,
    sacl: st.SearchStrategy[Acl | NoAcl] | None = None,
) -> st.SearchStrategy[SecurityDescriptor]:
    """Descriptors that can be judged: they name an owner and a group."""
    return st.builds(
        SecurityDescriptor,
        dacl=dacls() if dacl is None else dacl,
        owner=sids(),
        group=sids(),
        sacl=sacls() if sacl is None else sacl,
    )


def groups() -> st.SearchStrategy[TokenGroup]:
    """Groups of a token: enabled mostly, else disabled, deny-only or anything."""
    enabled = int(GroupAttributes.MANDATORY | GroupAttributes.ENABLED)
    deny_only = int(GroupAttributes.USE_FOR_DENY_ONLY)
    attributes = st.sampled_from(
        (enabled, enabled, enabled | int(GroupAttributes.OWNER), 0, deny_only, 0x14)
    )
    members = st.sampled_from((*GROUPS, *GROUPS, EVERYONE, *PEOPLE, OWNER_RIGHTS))
    return st.builds(TokenGroup, members, attributes.map(GroupAttributes))


def privileges() -> st.SearchStrategy[TokenPrivilege]:
    """Privileges of a token, those that the judge looks at mostly."""
    attributes = st.sampled_from((3, 2, 0, 1, 4, 6)).map(PrivilegeAttributes)
    kinds = st.one_of(st.sampled_from(_CHECKED_PRIVILEGES), st.sampled_from(Privilege))
    return st.builds(TokenPrivilege, kinds, attributes)


def tokens(
    *, levels: st.SearchStrategy[ImpersonationLevel] | None = None
) -> st.SearchStrategy[AccessToken]:
    """Tokens of people, of medium integrity mostly, at any level but anonymous."""
    usual = st.sampled_from(
        (
            ImpersonationLevel.IDENTIFICATION,
            ImpersonationLevel.IMPERSONATION,
            ImpersonationLevel.DELEGATION,
        )
    )
    impersonation = _tokens(
        st.just(TokenType.IMPERSONATION), usual if levels is None else levels
    )
    primary = _tokens(
        st.just(TokenType.PRIMARY), st.just(ImpersonationLevel.IMPERSONATION)
    )
    return st.one_of(impersonation, impersonation, primary)


def _tokens(
    types: st.SearchStrategy[TokenType], levels: st.SearchStrategy[ImpersonationLevel]
) -> st.SearchStrategy[AccessToken]:
    policies = st.sampled_from((1, 1, 1, 3, 0, 2)).map(MandatoryPolicy)
    medium = st.just(MEDIUM_LEVEL)
    return st.builds(
        AccessToken,
        user=st.sampled_from(PEOPLE),
        groups=st.lists(groups(), max_size=5).map(tuple),
        privileges=st.lists(privileges(), max_size=3).map(tuple),
        type=types,
        level=levels,
        token_id=st.integers(0, 2**64 - 1).map(Luid),
        default_dacl=dacls(),
        integrity=st.one_of(medium, medium, st.sampled_from(LEVELS)),
        mandatory_policy=policies,
        user_is_deny_only=st.sampled_from((False, False, False, True)),
    )
