"""Plain lists: what an ordinary token is granted by allow and deny entries alone.

Most questions are about a token that is nothing special and a descriptor whose DACL
holds allow and deny entries and nothing else, and whose SACL has nothing to say. There
[MS-DTYP] 2.5.3.2 comes down to one loop: each right belongs to the first entry that
names it for the token. For such a pair there is one mask of all rights that are granted
to whoever names them, worked out by `plain_mask`; everything else is the whole judge's
(`stead.decision.judgement`).

Two things are kept: a descriptor keeps an index of its list, a token what about it
matters here. Both are of values that never change, so nothing kept can go stale.

What stands here is the reference. Where the twin in C was built, that answers instead
(`stead.decision.twin`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

from stead.decision.judgement import NEVER_BY_ENTRY, OWNERS_RIGHTS
from stead.decision.privilege_rights import (
    ACCESS_SYSTEM_SECURITY,
    MAXIMUM_ALLOWED,
    WRITE_OWNER,
)
from stead.model.access_mask import GENERIC_RIGHTS, VALID_MASK, GenericMapping
from stead.model.ace import AccessAllowedAce, AccessDeniedAce, Ace, ResourceAttributeAce
from stead.model.ace_kinds import AUDIT_KINDS
from stead.model.acl import Acl, NoAcl
from stead.model.privilege import Privilege
from stead.model.security_descriptor import SecurityDescriptor
from stead.model.sid import Sid
from stead.model.token import AccessToken, ImpersonationLevel, MandatoryPolicy
from stead.model.well_known import (
    MEDIUM_LEVEL,
    OWNER_RIGHTS,
    PRINCIPAL_SELF,
    integrity_level,
)

EVERY_NAMED_RIGHT: Final = VALID_MASK & ~(GENERIC_RIGHTS | MAXIMUM_ALLOWED)
PRIVILEGES: Final = frozenset(
    (Privilege.SECURITY, Privilege.TAKE_OWNERSHIP, Privilege.RELABEL)
)
"""Those that grant rights without anybody's saying what for."""
_LARGEST_SPECIFIC: Final = VALID_MASK & ~GENERIC_RIGHTS
_PLAIN: Final = frozenset({AccessAllowedAce, AccessDeniedAce})
_HARMLESS: Final = AUDIT_KINDS | {ResourceAttributeAce}
_MEDIUM: Final = integrity_level(MEDIUM_LEVEL)

Entry: TypeAlias = tuple[int, int, bool, Sid]
"""Where it stands, its mask, whether it grants that, and its trustee."""


class Index:
    """What is kept of a descriptor.

    Attributes:
        is_plain: whether its list alone decides, entry by entry.
        trustees: whom a plain list is about.
        about: of each trustee the entries, in their order.
        owner: the owner.
        owner_speaks: whether an entry is about OWNER RIGHTS.
        answer: the last token, mapping and mask of all rights granted.
    """

    __slots__ = (
        "about", "answer", "is_plain", "owner", "owner_speaks", "trustees",
    )  # fmt: skip

    def __init__(self, descriptor: SecurityDescriptor) -> None:
        self.answer: tuple[AccessToken | None, GenericMapping | None, int]
        self.answer = (None, None, 0)
        self.owner = descriptor.owner
        self.is_plain = is_plain(descriptor)
        self.about: dict[Sid, list[Entry]] = {}
        aces = own_entries(descriptor) if self.is_plain else []
        for position, ace in enumerate(aces):
            who, grants = ace.trustee, type(ace) is AccessAllowedAce
            entry = (position, ace.mask, grants, who)
            self.about.setdefault(who, []).append(entry)
        self.trustees = frozenset(self.about)
        self.owner_speaks = OWNER_RIGHTS in self.trustees

    def keep(self, token: AccessToken, mapping: GenericMapping, granted: int) -> None:
        """Keep an answer: all rights that are granted to a token that names them."""
        self.answer = (token, mapping, granted)


@dataclass(frozen=True, slots=True)
class Standing:
    """What is kept of a token.

    Attributes:
        is_ordinary: whether its SIDs and `by_privilege` alone decide, where the object
            has no label.
        by_privilege: the rights that its privileges grant to whoever names them.
    """

    is_ordinary: bool
    by_privilege: int


def plain_mask(
    token: AccessToken, descriptor: SecurityDescriptor, mapping: GenericMapping
) -> int | None:
    """Return all rights that are granted to whoever names them, if that is plain.

    Args:
        token: who would ask.
        descriptor: the object's descriptor.
        mapping: what generic rights mean on this kind of object.

    Returns:
        the mask, ACCESS_SYSTEM_SECURITY and WRITE_OWNER by privilege included; None
        where only the whole judge can tell.
    """
    # Written out in one piece: a call costs more than most of what is done here.
    index, standing = descriptor.kept_index, token.kept_standing
    if type(index) is not Index or type(standing) is not Standing:
        index, standing = index_of(descriptor), standing_of(token)
    if not (standing.is_ordinary and index.is_plain):
        return None
    withheld, granted = NEVER_BY_ENTRY, standing.by_privilege
    if index.owner in token.deny_sids:
        if index.owner_speaks:
            return None
        if index.owner in token.enabled_sids:
            granted |= OWNERS_RIGHTS
    for _, mask, grants, trustee in _about(index, token.deny_sids):
        if mask > _LARGEST_SPECIFIC:
            mask = mapping.map(mask)  # noqa: PLW2901 - what it means here
        if not grants:
            withheld |= mask
        elif trustee in token.enabled_sids:
            granted |= mask & ~withheld
    return granted


def index_of(descriptor: SecurityDescriptor) -> Index:
    """Return what is kept of a descriptor, worked out at the first call."""
    index = descriptor.kept_index
    if type(index) is not Index:
        index = Index(descriptor)
        object.__setattr__(descriptor, "kept_index", index)
    return index


def standing_of(token: AccessToken) -> Standing:
    """Return what is kept of a token, worked out at the first call."""
    standing = token.kept_standing
    if type(standing) is not Standing:
        standing = work_out_standing(token)
        object.__setattr__(token, "kept_standing", standing)
    return standing


def own_entries(descriptor: SecurityDescriptor) -> list[Ace]:
    """Return a list's entries that are about the object itself."""
    dacl = descriptor.dacl
    aces = dacl.aces if isinstance(dacl, Acl) else ()
    return [ace for ace in aces if not ace.is_inherit_only]


def is_plain(descriptor: SecurityDescriptor) -> bool:
    """Tell whether a descriptor's list alone decides, entry by entry."""
    dacl = descriptor.dacl
    return (
        isinstance(dacl, Acl)
        and dacl.kinds <= _PLAIN
        and _is_harmless(descriptor.sacl)
        and descriptor.owner is not None
        and descriptor.group is not None
    )


def work_out_standing(token: AccessToken) -> Standing:
    """Work out what about a token matters here."""
    by_privilege = 0
    if token.has_privilege(Privilege.SECURITY):
        by_privilege |= ACCESS_SYSTEM_SECURITY
    if token.has_privilege(Privilege.TAKE_OWNERSHIP) or token.has_privilege(
        Privilege.RELABEL
    ):
        by_privilege |= WRITE_OWNER
    bound = int(token.mandatory_policy) & int(MandatoryPolicy.NO_WRITE_UP)
    return Standing(
        is_ordinary=token.level >= ImpersonationLevel.IDENTIFICATION
        and token.limits is None
        and not token.restricting_sids
        and token.package is None
        and token.deny_sids.isdisjoint((OWNER_RIGHTS, PRINCIPAL_SELF))
        and (not bound or integrity_level(token.integrity) >= _MEDIUM),
        by_privilege=by_privilege,
    )


# --- inside -------------------------------------------------------------------------


def _about(index: Index, sids: frozenset[Sid]) -> list[Entry]:
    """Return the entries that are about any of some SIDs, in their order."""
    hits = index.trustees & sids
    if len(hits) == 1:
        [sid] = hits
        return index.about[sid]
    entries: list[Entry] = []
    for sid in hits:
        entries += index.about[sid]
    entries.sort()  # no two stand at the same place, so that nothing else is compared
    return entries


def _is_harmless(sacl: Acl | NoAcl) -> bool:
    """Tell whether a SACL has nothing to say about who may do what."""
    return not isinstance(sacl, Acl) or sacl.kinds <= _HARMLESS
