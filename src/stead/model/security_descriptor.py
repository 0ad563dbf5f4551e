"""Security descriptors ([MS-DTYP] 2.4.6).

>>> SecurityDescriptor.from_sddl("O:BAG:BAD:(A;;GR;;;WD)").to_sddl()
'O:BAG:BAD:(A;;GR;;;WD)'
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import KEEP, IntFlag
from typing import Final

from stead.errors import InvalidSecurityDescriptorError
from stead.model.ace import (
    AccessAllowedAce,
    AccessDeniedAce,
    Ace,
    MandatoryLabelAce,
    SystemAuditAce,
)
from stead.model.acl import ABSENT_SACL, Acl, NoAcl
from stead.model.sid import Sid


class ControlFlags(IntFlag, boundary=KEEP):
    """The control bits ([MS-DTYP] 2.4.6)."""

    NONE = 0
    OWNER_DEFAULTED = 0x0001
    GROUP_DEFAULTED = 0x0002
    DACL_PRESENT = 0x0004
    DACL_DEFAULTED = 0x0008
    SACL_PRESENT = 0x0010
    SACL_DEFAULTED = 0x0020
    DACL_TRUSTED = 0x0040
    SERVER_SECURITY = 0x0080
    DACL_AUTO_INHERIT_REQ = 0x0100
    SACL_AUTO_INHERIT_REQ = 0x0200
    DACL_AUTO_INHERITED = 0x0400
    SACL_AUTO_INHERITED = 0x0800
    DACL_PROTECTED = 0x1000
    SACL_PROTECTED = 0x2000
    RM_CONTROL_VALID = 0x4000
    SELF_RELATIVE = 0x8000


DACL_KINDS: Final = (AccessAllowedAce, AccessDeniedAce)
SACL_KINDS: Final = (SystemAuditAce, MandatoryLabelAce)
"""In the other list an entry would decide nothing, and look as if it did."""

_DERIVED: Final = (
    ControlFlags.DACL_PRESENT | ControlFlags.SACL_PRESENT | ControlFlags.SELF_RELATIVE
)
_CONTROL_BITS: Final = 0xFFFF
_LARGEST_BYTE: Final = 0xFF


@dataclass(frozen=True, slots=True)
class SecurityDescriptor:
    """Who owns an object, who may do what with it, and what is recorded.

    Attributes:
        dacl: the discretionary list, `NULL_DACL` or `ABSENT_DACL`; it has no default.
        owner: the owner, or None where the descriptor names none.
        group: the primary group, or None.
        sacl: the system list (audit entries, label), or `ABSENT_SACL`, `NULL_SACL`.
        control: the control bits; those that merely say whether a part is present or
            how bytes are laid out are kept true by this class, whatever is passed.
        resource_manager_control: the byte beside the revision (Sbz1), 0 to 255;
            meaningful with RM_CONTROL_VALID only.
    """

    dacl: Acl | NoAcl
    owner: Sid | None = None
    group: Sid | None = None
    sacl: Acl | NoAcl = ABSENT_SACL
    control: ControlFlags = ControlFlags.NONE
    resource_manager_control: int = 0

    def __post_init__(self) -> None:
        _require_list(self.dacl, "dacl", misplaced=SACL_KINDS)
        _require_list(self.sacl, "sacl", misplaced=DACL_KINDS)
        for sid in (self.owner, self.group):
            if not isinstance(sid, Sid | None):
                raise InvalidSecurityDescriptorError("owner and group are a `Sid`")
        if not 0 <= self.control <= _CONTROL_BITS:
            raise InvalidSecurityDescriptorError(
                f"control bits `{self.control:#x}` do not fit 16 bits"
            )
        if not 0 <= self.resource_manager_control <= _LARGEST_BYTE:
            raise InvalidSecurityDescriptorError(
                f"`{self.resource_manager_control}` is not a byte"
            )
        control = ControlFlags(self.control) & ~_DERIVED | ControlFlags.SELF_RELATIVE
        if self.dacl is not NoAcl.ABSENT:
            control |= ControlFlags.DACL_PRESENT
        if self.sacl is not NoAcl.ABSENT:
            control |= ControlFlags.SACL_PRESENT
        object.__setattr__(self, "control", control)

    # The four doors below are the noun's own spelling of what the codec room does:
    # the one upward import of the house, inside the functions (see the ADR).

    @staticmethod
    def from_sddl(text: str, *, domain: Sid | None = None) -> SecurityDescriptor:
        """Read SDDL ([MS-DTYP] 2.5.1).

        Args:
            text: the descriptor's text.
            domain: the domain that aliases such as `DA` are relative to.

        Raises:
            InvalidSddlError: the text is wrong; it says where and why.
        """
        from stead.codec.sddl import read_sddl  # noqa: PLC0415

        return read_sddl(text, domain=domain)

    def to_sddl(self, *, domain: Sid | None = None) -> str:
        """Print SDDL as Windows prints it ([MS-DTYP] 2.5.1)."""
        from stead.codec.sddl import write_sddl  # noqa: PLC0415

        return write_sddl(self, domain=domain)

    @staticmethod
    def from_bytes(binary: bytes) -> SecurityDescriptor:
        """Read the self-relative form ([MS-DTYP] 2.4.6).

        Raises:
            InvalidSecurityDescriptorError: sizes or offsets lie, or parts overlap.
            InvalidAclError: a list or an entry lies, or is of a kind not supported.
            InvalidSidError: the owner or group is no SID.
        """
        from stead.codec.binary import read_security_descriptor  # noqa: PLC0415

        return read_security_descriptor(binary)

    def to_bytes(self) -> bytes:
        """Write the self-relative form, laid out as Windows lays it out."""
        from stead.codec.binary import write_security_descriptor  # noqa: PLC0415

        return write_security_descriptor(self)


def _require_list(
    part: Acl | NoAcl, name: str, *, misplaced: tuple[type[Ace], ...]
) -> None:
    if not isinstance(part, Acl | NoAcl):
        raise InvalidSecurityDescriptorError(
            f"a {name} is an `Acl`, or NULL or ABSENT by name"
        )
    if isinstance(part, Acl):
        for ace in part:
            if isinstance(ace, misplaced):
                raise InvalidSecurityDescriptorError(
                    f"an entry of type `{ace.type.name}` has no place in a {name}"
                )
