"""The privilege check (Win32 PrivilegeCheck; [MS-DTYP] 2.5.2): enabled ones only.

A privilege that the token holds disabled counts as not held: enabling it first, with
`stead.decision.token_ops.adjust_privileges`, is how its holder says that it means to.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from stead.decision.limiting import is_over
from stead.errors import BadImpersonationLevelError
from stead.model.privilege import Privilege
from stead.model.token import AccessToken, ImpersonationLevel


@dataclass(frozen=True, slots=True)
class PrivilegeDecision:
    """Whether a token holds what was asked for; its truth is `held`.

    Attributes:
        held: whether all that was asked for, or any of it, is held enabled.
        used: the privileges asked for and held, in the order asked.
        missing: those asked for and not held.
    """

    held: bool
    used: tuple[Privilege, ...]
    missing: tuple[Privilege, ...]

    def __bool__(self) -> bool:
        return self.held


def privilege_check(
    token: AccessToken,
    privileges: Iterable[Privilege],
    *,
    any_of: bool = False,
    time: int | None = None,
) -> PrivilegeDecision:
    """Check whether a token holds privileges, and holds them enabled.

    Args:
        token: whose privileges.
        privileges: which ones; a question about none is refused.
        any_of: whether one of them is enough.
        time: nanoseconds since the epoch, UTC; a token with limits holds nothing where
            nobody says it, or it has expired.

    Raises:
        BadImpersonationLevelError: the token's level is anonymous.
    """
    if token.level < ImpersonationLevel.IDENTIFICATION:
        raise BadImpersonationLevelError(
            token.level, ImpersonationLevel.IDENTIFICATION, act="a privilege check"
        )
    asked = tuple(privileges)
    held_now = () if is_over(token, time) else asked
    used = tuple(p for p in held_now if token.has_privilege(p))
    missing = tuple(p for p in asked if p not in used)
    held = bool(used) and (any_of or not missing)
    return PrivilegeDecision(held, used, missing)
