"""Tokens that may do less: restricted ones, the elevation pair, low integrity.

Win32 CreateRestrictedToken, TokenLinkedToken and TokenIntegrityLevel. Each function
returns a new token; none adds a SID, a privilege or a level, and what is taken stays
taken: a deny-only SID never grants again. Restricting a restricted token leaves the
restricting SIDs of both lists, as on Windows.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from stead.decision.mandatory import dominates
from stead.decision.token_ops import duplicate_token
from stead.errors import PrivilegeNotHeldError, SteadError
from stead.model.luid import NO_LUID, Luid
from stead.model.privilege import Privilege
from stead.model.sid import Sid
from stead.model.token import (
    AccessToken,
    ElevationType,
    GroupAttributes,
    ImpersonationLevel,
    TokenGroup,
    TokenType,
)
from stead.model.well_known import (
    ADMINISTRATORS,
    BACKUP_OPERATORS,
    MEDIUM_LEVEL,
    NULL_SID,
)

_DENY_ONLY_CLEARS: Final = (
    GroupAttributes.MANDATORY
    | GroupAttributes.ENABLED_BY_DEFAULT
    | GroupAttributes.ENABLED
)
FILTERED_RIDS: Final = frozenset({498, 512, 516, 517, 518, 519, 520, 521})
"""Domain groups that a limited token holds for deny entries only: domain admins, domain
controllers, certificate publishers, schema and enterprise admins, policy owners."""
FILTERED_GROUPS: Final = frozenset(
    {
        ADMINISTRATORS,
        BACKUP_OPERATORS,
        *(Sid.from_string(f"S-1-5-32-{rid}") for rid in (547, 548, 549, 550, 552, 554)),
        *(Sid.from_string(f"S-1-5-32-{rid}") for rid in (556, 569)),
    }
)
"""Groups of the machine that a limited token holds for deny entries only."""
LIMITED_PRIVILEGES: Final = frozenset({
    Privilege.CHANGE_NOTIFY, Privilege.SHUTDOWN, Privilege.UNDOCK,
    Privilege.INCREASE_WORKING_SET, Privilege.TIME_ZONE,
})  # fmt: skip
"""The privileges that a limited token keeps; every other one is removed."""


def restrict_token(
    token: AccessToken,
    *,
    deny_only: Iterable[Sid] = (),
    delete_privileges: Iterable[Privilege] = (),
    restricting_sids: Iterable[Sid] = (),
    disable_max_privilege: bool = False,
    write_restricted: bool = False,
    sandbox_inert: bool = False,
    token_id: Luid = NO_LUID,
) -> AccessToken:
    """Make a token that may do less (Win32 CreateRestrictedToken).

    Args:
        token: what is restricted.
        deny_only: the user's or groups' SIDs that shall match deny entries only; one
            that the token lacks changes nothing.
        delete_privileges: privileges to remove; one that it lacks changes nothing.
        restricting_sids: what is granted must be granted to these as well. A token
            that has some already keeps those that stand in both; where none does, it
            keeps the null SID, which stands for nobody, and is granted nothing.
        disable_max_privilege: remove every privilege but SeChangeNotifyPrivilege.
        write_restricted: ask the restricting SIDs about writing only.
        sandbox_inert: note that it was asked for; nothing here asks for it.
        token_id: the new token's own number.

    """
    gone = _privileges_to_delete(
        token, delete_privileges, disable_max_privilege=disable_max_privilege
    )
    sids = frozenset(deny_only)
    narrowed = _narrowed_sids(token, tuple(dict.fromkeys(restricting_sids)))
    # A second restriction that asks about less does not undo the first.
    only_writes = write_restricted and (
        token.is_write_restricted or not token.restricting_sids
    )
    return replace(
        token,
        groups=tuple(
            _deny_only(group) if group.sid in sids else group for group in token.groups
        ),
        user_is_deny_only=token.user_is_deny_only or token.user in sids,
        privileges=tuple(
            entry for entry in token.privileges if entry.privilege not in gone
        ),
        restricting_sids=narrowed,
        is_write_restricted=bool(narrowed)
        and (only_writes or (token.is_write_restricted and not restricting_sids)),
        is_sandbox_inert=token.is_sandbox_inert or sandbox_inert,
        owner=_owner_after(token, sids),
        token_id=token_id,
    )


def _privileges_to_delete(
    token: AccessToken,
    named: Iterable[Privilege],
    *,
    disable_max_privilege: bool,
) -> frozenset[Privilege]:
    if not disable_max_privilege:
        return frozenset(named)
    held = {entry.privilege for entry in token.privileges}
    return frozenset(held - {Privilege.CHANGE_NOTIFY})


def _narrowed_sids(token: AccessToken, added: tuple[Sid, ...]) -> tuple[Sid, ...]:
    """Return the restricting SIDs of a token that is restricted once more."""
    if not added or not token.restricting_sids:
        return added or token.restricting_sids
    both = tuple(sid for sid in token.restricting_sids if sid in added)
    # An empty list would read as "not restricted", the opposite of what is meant.
    return both or (NULL_SID,)


def _owner_after(token: AccessToken, sids: frozenset[Sid]) -> Sid | None:
    """Return the default owner: the user, where the group named is deny-only now."""
    return None if token.owner in sids else token.owner


def _deny_only(group: TokenGroup) -> TokenGroup:
    kept = group.attributes & ~_DENY_ONLY_CLEARS
    return replace(group, attributes=kept | GroupAttributes.USE_FOR_DENY_ONLY)


# --- the elevation pair -------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LinkedTokens:
    """An administrator's two tokens of one logon (Win32: TokenLinkedToken).

    Attributes:
        limited: what the administrator's programs run with.
        full: what they run with once they are elevated.
    """

    limited: AccessToken
    full: AccessToken


def split_token(
    token: AccessToken, *, limited_id: Luid = NO_LUID, full_id: Luid = NO_LUID
) -> LinkedTokens | None:
    """Split an administrator's token into a limited and a full one (LUA_TOKEN).

    The limited one holds administrative groups for deny entries only and no privilege
    beyond `LIMITED_PRIVILEGES`, and is of medium integrity.

    Returns:
        the pair; None for a token with nothing to filter, which stays as it is.
    """
    filtered = [
        group.sid for group in token.groups if group.is_enabled and _is_filtered(group)
    ]
    gone = {entry.privilege for entry in token.privileges} - LIMITED_PRIVILEGES
    if not filtered and not gone:
        return None
    limited = restrict_token(token, deny_only=filtered, delete_privileges=gone)
    if dominates(limited.integrity, MEDIUM_LEVEL):
        limited = replace(limited, integrity=MEDIUM_LEVEL)
    return LinkedTokens(
        limited=replace(limited, elevation=ElevationType.LIMITED, token_id=limited_id),
        full=replace(token, elevation=ElevationType.FULL, token_id=full_id),
    )


def linked_token(
    pair: LinkedTokens,
    token: AccessToken,
    *,
    caller: AccessToken,
    token_id: Luid = NO_LUID,
) -> AccessToken:
    """Return the other token of a pair (Win32 GetTokenInformation, TokenLinkedToken).

    Args:
        pair: the two.
        token: one of them, or a copy.
        caller: who asks; without SeTcbPrivilege the answer tells who it is and cannot
            be acted with: a token to impersonate at level identification.
        token_id: the copy's own number.

    Raises:
        SteadError: the token is not one of a pair.
    """
    if token.elevation is ElevationType.DEFAULT:
        raise SteadError("the token is not one of a linked pair")
    is_full = token.elevation is ElevationType.FULL
    other = pair.limited if is_full else pair.full
    if caller.has_privilege(Privilege.TCB):
        return duplicate_token(other, token_id=token_id)
    level = min(other.level, ImpersonationLevel.IDENTIFICATION)
    return duplicate_token(
        other, type=TokenType.IMPERSONATION, level=level, token_id=token_id
    )


def _is_filtered(group: TokenGroup) -> bool:
    if group.sid in FILTERED_GROUPS:
        return True
    parts = group.sid.sub_authorities
    return group.sid.authority == 5 and parts[0] == 21 and parts[-1] in FILTERED_RIDS  # noqa: PLR2004 - S-1-5-21-...


# --- integrity ----------------------------------------------------------------------


def lower_integrity(
    token: AccessToken, level: Sid, *, token_id: Luid = NO_LUID
) -> AccessToken:
    """Lower a token's integrity (Win32 SetTokenInformation, TokenIntegrityLevel).

    Raises:
        PrivilegeNotHeldError: the level is above the token's, which takes
            SeRelabelPrivilege and `raise_integrity`.
        SteadError: the SID is no integrity level.
    """
    changed = replace(token, integrity=level, token_id=token_id)
    if not dominates(token.integrity, level):
        raise PrivilegeNotHeldError((Privilege.RELABEL,))
    return changed


def raise_integrity(
    token: AccessToken,
    level: Sid,
    *,
    caller: AccessToken,
    token_id: Luid = NO_LUID,
) -> AccessToken:
    """Set a token's integrity, above what it is too, for whoever may relabel.

    Raises:
        PrivilegeNotHeldError: the caller lacks SeRelabelPrivilege, or SeTcbPrivilege.
        SteadError: the SID is no integrity level.
    """
    for privilege in (Privilege.RELABEL, Privilege.TCB):
        if caller.has_privilege(privilege):
            return replace(token, integrity=level, token_id=token_id)
    raise PrivilegeNotHeldError((Privilege.RELABEL,))
