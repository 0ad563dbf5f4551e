"""Security descriptors ([MS-DTYP] 2.4.6).

>>> SecurityDescriptor.from_sddl("O:BAG:BAD:(A;;GR;;;WD)").to_sddl()
'O:BAG:BAD:(A;;GR;;;WD)'
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import KEEP, IntFlag
from typing import Final

from stead.errors import InvalidSecurityDescriptorError
from stead.model.ace import OpaqueAce, Place
from stead.model.ace_kinds import DACL_KINDS, SACL_KINDS
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


_DACL_PRESENT: Final = int(ControlFlags.DACL_PRESENT)
_SACL_PRESENT: Final = int(ControlFlags.SACL_PRESENT)
_SELF_RELATIVE: Final = int(ControlFlags.SELF_RELATIVE)
_DERIVED: Final = _DACL_PRESENT | _SACL_PRESENT | _SELF_RELATIVE
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
        kept_binary: what writing it gave, kept for the next time; the three that are
            kept are no part of the value, and nobody's to change but theirs who fill
            them: the codec and the judge.
        kept_sddl: what printing it gave, and for which domain.
        kept_index: what the judge worked out about it.
    """

    dacl: Acl | NoAcl
    owner: Sid | None = None
    group: Sid | None = None
    sacl: Acl | NoAcl = ABSENT_SACL
    control: ControlFlags = ControlFlags.NONE
    resource_manager_control: int = 0
    kept_binary: bytes | None = field(
        init=False, repr=False, compare=False, default=None
    )
    kept_sddl: tuple[Sid | None, str] | None = field(
        init=False, repr=False, compare=False, default=None
    )
    kept_index: object = field(init=False, repr=False, compare=False, default=None)

    def __post_init__(self) -> None:
        _require_list(self.dacl, Place.DACL)
        _require_list(self.sacl, Place.SACL)
        for sid in (self.owner, self.group):
            if sid is not None and not isinstance(sid, Sid):
                raise InvalidSecurityDescriptorError("owner and group are a `Sid`")
        # Plain ints until the end: descriptors are read by the thousand.
        control, byte = int(self.control), self.resource_manager_control
        if not 0 <= control <= _CONTROL_BITS:
            raise InvalidSecurityDescriptorError(
                f"control bits `{control:#x}` do not fit 16 bits"
            )
        if not 0 <= byte <= _LARGEST_BYTE:
            raise InvalidSecurityDescriptorError(f"`{byte}` is not a byte")
        control = _true_control(control, self.dacl, self.sacl)
        object.__setattr__(self, "control", control)

    def __reduce__(self) -> tuple[object, ...]:
        # What is kept stays behind: a copy works it out for itself.
        parts = (self.dacl, self.owner, self.group, self.sacl, self.control)
        return type(self), (*parts, self.resource_manager_control)

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


_DACL_KINDS: Final = frozenset({*DACL_KINDS, OpaqueAce})
_SACL_KINDS: Final = frozenset({*SACL_KINDS, OpaqueAce})


def _require_list(part: Acl | NoAcl, place: Place) -> None:
    if part is NoAcl.ABSENT or part is NoAcl.NULL:
        return
    if not isinstance(part, Acl):
        raise InvalidSecurityDescriptorError(
            f"a {place.value} is an `Acl`, or NULL or ABSENT by name"
        )
    if part.kinds <= (_DACL_KINDS if place is Place.DACL else _SACL_KINDS):
        return
    for ace in part.aces:
        # In the other list an entry would decide nothing, and look as if it did.
        if ace.place is not place and ace.place is not Place.EITHER:
            raise InvalidSecurityDescriptorError(
                f"an entry of type `{ace.type.name}` has no place in a {place.value}"
            )


_controls: Final[dict[int, ControlFlags]] = {}
"""Members by number; there are no more than 65,536. Making one anew is slow."""


def _true_control(control: int, dacl: Acl | NoAcl, sacl: Acl | NoAcl) -> ControlFlags:
    """Return control bits that say of the parts what is true."""
    # In one expression: reading descriptors is a hot path.
    control = (
        control & ~_DERIVED
        | _SELF_RELATIVE
        | (dacl is not NoAcl.ABSENT and _DACL_PRESENT)
        | (sacl is not NoAcl.ABSENT and _SACL_PRESENT)
    )
    found = _controls.get(control)
    if found is None:
        found = _controls[control] = ControlFlags(control)
    return found


_set_dacl, _set_owner, _set_group, _set_sacl, _set_control, _set_byte = (
    vars(SecurityDescriptor)[name].__set__
    for name in (
        "dacl", "owner", "group", "sacl", "control", "resource_manager_control",
    )
)  # fmt: skip
_set_kept_binary, _set_kept_sddl, _set_kept_index = (
    vars(SecurityDescriptor)[name].__set__
    for name in ("kept_binary", "kept_sddl", "kept_index")
)


def checked_descriptor(
    dacl: Acl | NoAcl,
    sids: tuple[Sid | None, Sid | None],
    sacl: Acl | NoAcl,
    control: int,
    byte: int,
) -> SecurityDescriptor:
    """Make a descriptor of parts that the caller has checked already; for the codec.

    Reading descriptors is a hot path, and a dataclass checks in its own time. Which
    entries have a place in which list is still looked at.

    Args:
        dacl: the discretionary list.
        sids: the owner and the group.
        sacl: the system list.
        control: 16 bits.
        byte: the resource manager's, 8 bits.
    """
    _require_list(dacl, Place.DACL)
    _require_list(sacl, Place.SACL)
    made = object.__new__(SecurityDescriptor)
    _set_dacl(made, dacl)
    _set_owner(made, sids[0])
    _set_group(made, sids[1])
    _set_sacl(made, sacl)
    _set_control(made, _true_control(control, dacl, sacl))
    _set_byte(made, byte)
    _set_kept_binary(made, None)
    _set_kept_sddl(made, None)
    _set_kept_index(made, None)
    return made
