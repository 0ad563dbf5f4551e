"""What may be done to a token: a copy of another kind or level, privileges, groups.

Tokens are values, so each function returns a new one (Win32: DuplicateTokenEx,
AdjustTokenPrivileges, AdjustTokenGroups). Nothing here gives a token what it lacks: no
level is raised, no privilege or group is added, and what was removed or made deny-only
stays so. Where Windows does a part of what was asked and reports it in the last error,
these functions do all of it or raise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeAlias

from stead.errors import (
    BadImpersonationLevelError,
    GroupNotAdjustableError,
    PrivilegeNotHeldError,
)
from stead.model.luid import NO_LUID, Luid
from stead.model.privilege import Privilege, PrivilegeAttributes, TokenPrivilege
from stead.model.sid import Sid
from stead.model.token import (
    AccessToken,
    GroupAttributes,
    ImpersonationLevel,
    TokenGroup,
    TokenType,
)

PrivilegeChange: TypeAlias = bool | PrivilegeAttributes
"""True enables, False disables; REMOVED removes for good."""


def duplicate_token(
    token: AccessToken,
    *,
    type: TokenType | None = None,  # noqa: A002 - the word of the token's own field
    level: ImpersonationLevel | None = None,
    token_id: Luid = NO_LUID,
) -> AccessToken:
    """Copy a token, perhaps as another type or at a lower level.

    Args:
        token: what is copied; its session, source and everything else stay.
        type: primary or impersonation; the token's own if not given.
        level: the copy's level; the token's own if not given. A primary token may be
            copied at any level, an impersonation token at its own or a lower one.
        token_id: the copy's own number, handed in by whoever numbers tokens.

    Raises:
        BadImpersonationLevelError: the level was to be raised, or a token below level
            impersonation was to become primary.
    """
    type = token.type if type is None else type  # noqa: A001 - see the parameter
    level = token.level if level is None else level
    if token.type is TokenType.IMPERSONATION and level > token.level:
        raise BadImpersonationLevelError(token.level, level, act="a copy at that level")
    if type is TokenType.PRIMARY:
        if level < ImpersonationLevel.IMPERSONATION:
            raise BadImpersonationLevelError(
                level, ImpersonationLevel.IMPERSONATION, act="a primary token"
            )
        level = ImpersonationLevel.IMPERSONATION
    # A copy is an object of its own: who may open the original may not open it too.
    return replace(token, type=type, level=level, token_id=token_id, security=None)


def adjust_privileges(
    token: AccessToken, changes: Mapping[Privilege, PrivilegeChange]
) -> AccessToken:
    """Enable, disable or remove privileges that a token holds.

    Args:
        token: whose privileges.
        changes: True or `PrivilegeAttributes.ENABLED` enables, False or
            `PrivilegeAttributes.NONE` disables, `PrivilegeAttributes.REMOVED` removes
            for good.

    Returns:
        the token with all the changes.

    Raises:
        PrivilegeNotHeldError: the token lacks one of them, or it was removed.
    """
    held = {p.privilege for p in token.privileges if not _is_removed(p)}
    missing = tuple(privilege for privilege in changes if privilege not in held)
    if missing:
        raise PrivilegeNotHeldError(missing)
    return replace(
        token,
        privileges=tuple(
            _adjusted(entry, changes[entry.privilege])
            if entry.privilege in changes
            else entry
            for entry in token.privileges
        ),
    )


def adjust_groups(token: AccessToken, changes: Mapping[Sid, bool]) -> AccessToken:
    """Enable or disable groups that a token holds.

    Args:
        token: whose groups.
        changes: a group's SID to whether it is to be enabled.

    Returns:
        the token with all the changes.

    Raises:
        GroupNotAdjustableError: the token lacks a group, a mandatory one was to be
            disabled, or one held for deny entries only was to be enabled.
    """
    for sid, enable in changes.items():
        _require_adjustable(token, sid, enable=enable)
    return replace(
        token,
        groups=tuple(
            _switched(group, enable=changes[group.sid])
            if group.sid in changes
            else group
            for group in token.groups
        ),
    )


def effective_part(token: AccessToken) -> AccessToken:
    """Return the token with what is enabled and nothing else.

    What a client gives "effective only" (Win32: SECURITY_QUALITY_OF_SERVICE,
    DuplicateToken's EffectiveOnly). Groups that are held for deny entries alone stay:
    without them an entry that denies would not match.
    """
    return replace(
        token,
        groups=tuple(g for g in token.groups if g.is_enabled or g.is_deny_only),
        privileges=tuple(p for p in token.privileges if p.is_enabled),
        security=None,
    )


def _is_removed(entry: TokenPrivilege) -> bool:
    return bool(entry.attributes & PrivilegeAttributes.REMOVED)


def _adjusted(entry: TokenPrivilege, change: PrivilegeChange) -> TokenPrivilege:
    """Return one privilege's entry as it is after a change."""
    if _is_removed(entry):
        return entry
    off = entry.attributes & ~PrivilegeAttributes.ENABLED
    if change is not True and change & PrivilegeAttributes.REMOVED:
        return replace(entry, attributes=off | PrivilegeAttributes.REMOVED)
    if change is True or change & PrivilegeAttributes.ENABLED:
        return replace(entry, attributes=off | PrivilegeAttributes.ENABLED)
    return replace(entry, attributes=off)


def _require_adjustable(token: AccessToken, sid: Sid, *, enable: bool) -> None:
    """Refuse a change to a group that the token must keep as it is."""
    entries = tuple(group for group in token.groups if group.sid == sid)
    if not entries:
        raise GroupNotAdjustableError(f"group `{sid}` is not in the token", group=sid)
    for entry in entries:
        if enable and entry.is_deny_only:
            raise GroupNotAdjustableError(
                f"group `{sid}` is held for deny entries only, for good", group=sid
            )
        if not enable and entry.attributes & GroupAttributes.MANDATORY:
            raise GroupNotAdjustableError(
                f"group `{sid}` is mandatory and stays enabled", group=sid
            )


def _switched(group: TokenGroup, *, enable: bool) -> TokenGroup:
    """Return one group's entry, enabled or disabled."""
    off = group.attributes & ~GroupAttributes.ENABLED
    return replace(group, attributes=off | GroupAttributes.ENABLED if enable else off)
