"""Entries as people write them, by name (Win32: EXPLICIT_ACCESS).

`allow`, `deny` and `audit` are for people who will never write SDDL. They make an
`ExplicitAccess`, whose trustee may still be a name; a server resolves the names and
gets ACEs.

>>> allow("alice", 0x1).kind.__name__
'AccessAllowedAce'
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from stead.errors import InvalidAccessMaskError, InvalidNameError
from stead.model.access_mask import AccessMask, require_mask
from stead.model.ace import (
    AccessAllowedAce,
    AccessDeniedAce,
    Ace,
    AceFlags,
    SystemAuditAce,
)
from stead.model.sid import Sid

ANY_ACCESS: Final = int(AccessMask.GENERIC_ALL)


@dataclass(frozen=True, slots=True)
class ExplicitAccess:
    """An entry whose trustee may still be a name (Win32: EXPLICIT_ACCESS).

    Attributes:
        kind: the class of ACE it becomes.
        trustee: a `Sid`, or a name that the server's authority knows.
        mask: the rights.
        flags: inheritance and audit flags.
    """

    kind: type[Ace]
    trustee: Sid | str
    mask: int
    flags: AceFlags = AceFlags.NONE

    def __post_init__(self) -> None:
        if not isinstance(self.trustee, Sid | str) or not self.trustee:
            raise InvalidNameError("a trustee is a `Sid` or a name")
        if require_mask(self.mask) == 0:
            raise InvalidAccessMaskError("an entry without rights says nothing")

    def resolve(self, trustee: Sid) -> Ace:
        """Return the ACE, now that the trustee's SID is known."""
        return self.kind(trustee, self.mask, self.flags)


def allow(
    trustee: Sid | str, rights: int, *, flags: AceFlags = AceFlags.NONE
) -> ExplicitAccess:
    """Grant `rights` to a trustee, by SID or by name."""
    return ExplicitAccess(AccessAllowedAce, trustee, rights, flags)


def deny(
    trustee: Sid | str, rights: int, *, flags: AceFlags = AceFlags.NONE
) -> ExplicitAccess:
    """Deny `rights` to a trustee, by SID or by name."""
    return ExplicitAccess(AccessDeniedAce, trustee, rights, flags)


def audit(
    trustee: Sid | str,
    rights: int,
    *,
    success: bool = True,
    failure: bool = True,
) -> ExplicitAccess:
    """Ask for a record whenever `rights` are asked for by a trustee.

    Args:
        trustee: a `Sid` or a name; `Everyone` for all.
        rights: which rights, when asked for, are recorded.
        success: record what was granted.
        failure: record what was refused.

    Raises:
        InvalidAccessMaskError: neither outcome is asked for, or no right.
    """
    flags = AceFlags.NONE
    if success:
        flags |= AceFlags.SUCCESSFUL_ACCESS
    if failure:
        flags |= AceFlags.FAILED_ACCESS
    if not flags:
        raise InvalidAccessMaskError("an audit entry records success, failure or both")
    return ExplicitAccess(SystemAuditAce, trustee, rights, flags)
