"""Access control entries ([MS-DTYP] 2.4.4), and how people write them by name.

`allow`, `deny` and `audit` are for people who will never write SDDL. They make an
`ExplicitAccess` (Win32's EXPLICIT_ACCESS: a trustee that may still be a name); a server
resolves the names and gets ACEs.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import KEEP, IntEnum, IntFlag
from typing import ClassVar, Final

from stead.errors import InvalidAccessMaskError, InvalidAclError, InvalidNameError
from stead.model.access_mask import VALID_MASK, AccessMask
from stead.model.sid import Sid


class AceType(IntEnum):
    """The kinds of entry that Stead reads and judges ([MS-DTYP] 2.4.4.1)."""

    ACCESS_ALLOWED = 0x00
    ACCESS_DENIED = 0x01
    SYSTEM_AUDIT = 0x02
    SYSTEM_MANDATORY_LABEL = 0x11


class AceFlags(IntFlag, boundary=KEEP):
    """Inheritance and audit flags of an entry ([MS-DTYP] 2.4.4.1)."""

    NONE = 0
    OBJECT_INHERIT = 0x01
    CONTAINER_INHERIT = 0x02
    NO_PROPAGATE_INHERIT = 0x04
    INHERIT_ONLY = 0x08
    INHERITED = 0x10
    CRITICAL = 0x20
    SUCCESSFUL_ACCESS = 0x40
    FAILED_ACCESS = 0x80


class MandatoryLabelPolicy(IntFlag, boundary=KEEP):
    """What a label forbids callers of lower integrity ([MS-DTYP] 2.4.4.13)."""

    NO_WRITE_UP = 0x1
    NO_READ_UP = 0x2
    NO_EXECUTE_UP = 0x4


@dataclass(frozen=True, slots=True)
class Ace:
    """What every entry has: a trustee, a mask, flags.

    Attributes:
        trustee: whom the entry is about.
        mask: the rights, 32 bits; for a label its `MandatoryLabelPolicy`.
        flags: inheritance and audit flags.
    """

    type: ClassVar[AceType]

    trustee: Sid
    mask: int
    flags: AceFlags = AceFlags.NONE

    def __post_init__(self) -> None:
        if type(self) is Ace:
            raise InvalidAclError("an ace is of one kind, such as `AccessAllowedAce`")
        if not isinstance(self.trustee, Sid):
            raise InvalidAclError("an ace's trustee is a `Sid`")
        object.__setattr__(self, "mask", require_mask(self.mask))
        if not 0 <= self.flags <= 0xFF:  # noqa: PLR2004 - one byte on the wire
            raise InvalidAclError(f"ace flags `{self.flags:#x}` do not fit a byte")
        object.__setattr__(self, "flags", AceFlags(self.flags))

    @property
    def is_inherit_only(self) -> bool:
        """Whether the entry only shapes children and decides nothing here."""
        return bool(self.flags & AceFlags.INHERIT_ONLY)


class AccessAllowedAce(Ace):
    """Grants its mask to its trustee ([MS-DTYP] 2.4.4.2)."""

    __slots__ = ()
    type = AceType.ACCESS_ALLOWED


class AccessDeniedAce(Ace):
    """Denies its mask to its trustee ([MS-DTYP] 2.4.4.4)."""

    __slots__ = ()
    type = AceType.ACCESS_DENIED


class SystemAuditAce(Ace):
    """Asks for a record of success or failure ([MS-DTYP] 2.4.4.10)."""

    __slots__ = ()
    type = AceType.SYSTEM_AUDIT


class MandatoryLabelAce(Ace):
    """Gives the object its integrity level ([MS-DTYP] 2.4.4.13)."""

    __slots__ = ()
    type = AceType.SYSTEM_MANDATORY_LABEL


ACE_CLASSES: Final[dict[AceType, type[Ace]]] = {
    kind.type: kind
    for kind in (AccessAllowedAce, AccessDeniedAce, SystemAuditAce, MandatoryLabelAce)
}


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


def require_mask(mask: int) -> int:
    """Return `mask` as a plain int; raise `InvalidAccessMaskError` past 32 bits."""
    if not isinstance(mask, int) or not 0 <= mask <= VALID_MASK:
        raise InvalidAccessMaskError(f"`{mask}` is not an access mask of 32 bits")
    return int(mask)


ANY_ACCESS: Final = int(AccessMask.GENERIC_ALL)
