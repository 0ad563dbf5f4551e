"""What a session allows its tokens to be: the one it began with, or less.

Tokens are values that anybody in the process can copy and change. A token counts if it
could have been made of the one with which its session began (docs/adr/0031).
"""

from __future__ import annotations

from stead.decision.principals import sids_of
from stead.model.token import AccessToken, GroupAttributes, TokenGroup
from stead.model.well_known import NULL_SID, integrity_level


def is_within(token: AccessToken, begun: AccessToken) -> bool:
    """Tell whether a token could be made of the one that its session began with.

    Copies may be lowered; a group cannot be left out, since that might grant.
    """
    return token is begun or (
        token.user == begun.user
        and token.origin == begun.origin
        and token.level <= begun.level
        and integrity_level(token.integrity) <= integrity_level(begun.integrity)
        and not begun.mandatory_policy & ~token.mandatory_policy
        and _are_within(token.groups, begun.groups)
        and _limits_are_kept(token, begun)
        and _has_the_same_attributes(token, begun)
        and {entry.privilege for entry in token.privileges}
        <= {entry.privilege for entry in begun.privileges}
        and token.default_owner in (begun.default_owner, begun.user)
        and token.default_group == begun.default_group
        and token.default_dacl == begun.default_dacl
    )


def _limits_are_kept(token: AccessToken, begun: AccessToken) -> bool:
    """Tell whether a token is restricted wherever it began so, and contained alike.

    A package is not only a limit: integrity binds its tokens less.
    """
    restricted = not begun.restricting_sids or (
        bool(token.restricting_sids)
        and set(token.restricting_sids) <= {*begun.restricting_sids, NULL_SID}
        and begun.is_write_restricted >= token.is_write_restricted
    )
    return (
        restricted
        and token.package == begun.package
        and _are_within(token.capabilities, begun.capabilities)
        and token.user_is_deny_only >= begun.user_is_deny_only
        and token.trust in (None, begun.trust)
        and _grant_is_kept(token, begun)
    )


def _grant_is_kept(token: AccessToken, begun: AccessToken) -> bool:
    """Tell whether a token has all the limits that it began with, and maybe more."""
    if begun.limits is None:
        return True
    return token.limits is not None and begun.limits in token.limits.layers()


def _has_the_same_attributes(token: AccessToken, begun: AccessToken) -> bool:
    """Tell whether conditions see the same: a claim left out might grant as well."""
    return (
        token.user_claims == begun.user_claims
        and token.device_claims == begun.device_claims
        and token.local_claims == begun.local_claims
        and token.device_groups == begun.device_groups
    )


def _are_within(held: tuple[TokenGroup, ...], begun: tuple[TokenGroup, ...]) -> bool:
    """Tell whether groups are those that a token began with, and none in a better way.

    None is left out, since deny entries may name it: what was mandatory or deny-only
    still matches them. What was enabled may be deny-only now.
    """
    enabled, present = sids_of(held)
    enabled_before, present_before = sids_of(begun)
    bound = {
        group.sid
        for group in begun
        if group.sid in present_before
        and (
            group.sid not in enabled_before
            or group.attributes & GroupAttributes.MANDATORY
        )
    }
    owners = {g.sid for g in begun if g.attributes & GroupAttributes.OWNER}
    return (
        {group.sid for group in held} == {group.sid for group in begun}
        and enabled <= enabled_before
        and bound <= present
        and all(
            group.sid in owners
            for group in held
            if group.attributes & GroupAttributes.OWNER
        )
    )
