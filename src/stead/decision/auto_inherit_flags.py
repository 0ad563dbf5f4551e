"""How a descriptor is made of several (Win32 CreatePrivateObjectSecurityEx, SEF_*)."""

from __future__ import annotations

from enum import KEEP, IntFlag
from typing import Final

from stead.errors import SteadError
from stead.model.ace import MandatoryLabelAce
from stead.model.token import AccessToken


class AutoInheritFlags(IntFlag, boundary=KEEP):
    """Automatic inheritance, checks to leave out, and where defaults come from."""

    NONE = 0
    DACL_AUTO_INHERIT = 0x0001
    SACL_AUTO_INHERIT = 0x0002
    DEFAULT_DESCRIPTOR_FOR_OBJECT = 0x0004
    AVOID_PRIVILEGE_CHECK = 0x0008
    AVOID_OWNER_CHECK = 0x0010
    DEFAULT_OWNER_FROM_PARENT = 0x0020
    DEFAULT_GROUP_FROM_PARENT = 0x0040
    MACL_NO_WRITE_UP = 0x0100
    MACL_NO_READ_UP = 0x0200
    MACL_NO_EXECUTE_UP = 0x0400
    AVOID_OWNER_RESTRICTION = 0x1000


_F = AutoInheritFlags
_KNOWN: Final = sum(AutoInheritFlags)
_MACL: Final = _F.MACL_NO_WRITE_UP | _F.MACL_NO_READ_UP | _F.MACL_NO_EXECUTE_UP
_MACL_SHIFT: Final = 8  # SEF_MACL_* are the label's own policy bits, moved up


def require_flags(flags: int) -> AutoInheritFlags:
    """Return flags as such.

    Raises:
        SteadError: one is unknown.
    """
    if flags & ~_KNOWN:
        raise SteadError(f"`{flags:#x}` holds unknown flags of inheritance")
    return AutoInheritFlags(flags)


def token_label(token: AccessToken, flags: int) -> MandatoryLabelAce | None:
    """Return the label that MACL flags ask for, at the token's integrity; or None."""
    policy = int(flags & _MACL)
    if not policy:
        return None
    return MandatoryLabelAce(token.integrity, policy >> _MACL_SHIFT)
