"""Whether a server may act as a client: Windows' three ways, and a policy's rules.

Win32: ImpersonateNamedPipeClient, "Remarks": a level of impersonation or above is
granted if the caller holds SeImpersonatePrivilege, or made the token itself by logging
the client on with explicit credentials, or is the same user. Otherwise the call
succeeds, and the token is of level identification.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from stead.model.impersonation_policy import (
    Act,
    ImpersonationPolicy,
    ImpersonationRule,
)
from stead.model.luid import NO_LUID, Luid
from stead.model.privilege import Privilege
from stead.model.sid import Sid
from stead.model.token import AccessToken, ImpersonationLevel


class Way(Enum):
    """Why a server may act as a client."""

    PRIVILEGE = "it holds SeImpersonatePrivilege"
    CREDENTIALS = "it logged the client on with its credentials"
    SAME_USER = "it is the same user"


def way_to_impersonate(
    server: AccessToken, *, user: Sid, origin: Luid = NO_LUID
) -> Way | None:
    """Return why a server may act as a client; None if it may not.

    Args:
        server: the server's primary token.
        user: the client.
        origin: the logon session that logged the client on with its credentials.
    """
    if server.has_privilege(Privilege.IMPERSONATE):
        return Way.PRIVILEGE
    if origin != NO_LUID and origin == server.logon_id:
        return Way.CREDENTIALS
    return Way.SAME_USER if user == server.user else None


def granted_level(
    stated: ImpersonationLevel,
    server: AccessToken,
    *,
    user: Sid,
    origin: Luid = NO_LUID,
) -> ImpersonationLevel:
    """Return the level at which a server is given a client's token.

    Args:
        stated: the level that the client allows; never exceeded.
        server: the server's primary token.
        user: the client.
        origin: the logon session that logged the client on with its credentials.
    """
    if way_to_impersonate(server, user=user, origin=origin) is None:
        return min(stated, ImpersonationLevel.IDENTIFICATION)
    return stated


@dataclass(frozen=True, slots=True)
class Approach:
    """What a policy is asked about.

    Attributes:
        server: the name of the server that would act.
        token: the client's.
        act: what for.
        gate: how the client came; empty where nobody knows.
        authenticated_by: who vouches for the client; likewise.
    """

    server: str
    token: AccessToken
    act: Act
    gate: str = ""
    authenticated_by: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A policy's answer.

    Attributes:
        allows: whether it may be.
        rule: the rule that says so; None where none is about it.
    """

    allows: bool
    rule: ImpersonationRule | None

    def __bool__(self) -> bool:
        return self.allows


def judge_impersonation(policy: ImpersonationPolicy, approach: Approach) -> Verdict:
    """Answer by the first rule that is about the question, or by the last word."""
    for rule in policy.rules:
        if is_about(rule, approach):
            return Verdict(rule.allows, rule)
    return Verdict(policy.otherwise_allows, None)


def is_about(rule: ImpersonationRule, approach: Approach) -> bool:
    """Tell whether a rule is about a question."""
    token = approach.token
    # As entries of a list: what is held for deny entries alone grants nothing.
    held = token.enabled_sids if rule.allows else token.deny_sids
    return (
        (rule.servers is None or approach.server in rule.servers)
        and (rule.clients is None or not rule.clients.isdisjoint(held))
        and (rule.acts is None or approach.act in rule.acts)
        and _names(rule, rule.gates, approach.gate)
        and _names(rule, rule.authenticated_by, approach.authenticated_by)
    )


def _names(rule: ImpersonationRule, words: frozenset[str] | None, word: str) -> bool:
    """Tell whether a rule names how somebody came; what nobody knows may be forbidden.

    A bare token says neither its gate nor who vouches for it.
    """
    return words is None or word in words or not (word or rule.allows)
