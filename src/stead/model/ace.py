"""Access control entries ([MS-DTYP] 2.4.4): one class for each kind.

People who will never write SDDL write entries with `stead.model.explicit_access`.

>>> AccessDeniedAce(NULL_SID, 0x1).type
<AceType.ACCESS_DENIED: 1>
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import KEEP, Enum, IntEnum, IntFlag
from typing import ClassVar, Final

from stead.errors import InvalidAclError
from stead.model.access_mask import require_mask
from stead.model.guid import Guid
from stead.model.sid import Sid
from stead.model.well_known import NULL_SID


class AceType(IntEnum):
    """The kinds of entry that Stead reads and judges ([MS-DTYP] 2.4.4.1).

    0x04 (compound) and what is above 0x15 are reserved: see `OpaqueAce`.
    """

    ACCESS_ALLOWED = 0x00
    ACCESS_DENIED = 0x01
    SYSTEM_AUDIT = 0x02
    SYSTEM_ALARM = 0x03
    ACCESS_ALLOWED_OBJECT = 0x05
    ACCESS_DENIED_OBJECT = 0x06
    SYSTEM_AUDIT_OBJECT = 0x07
    SYSTEM_ALARM_OBJECT = 0x08
    ACCESS_ALLOWED_CALLBACK = 0x09
    ACCESS_DENIED_CALLBACK = 0x0A
    ACCESS_ALLOWED_CALLBACK_OBJECT = 0x0B
    ACCESS_DENIED_CALLBACK_OBJECT = 0x0C
    SYSTEM_AUDIT_CALLBACK = 0x0D
    SYSTEM_ALARM_CALLBACK = 0x0E
    SYSTEM_AUDIT_CALLBACK_OBJECT = 0x0F
    SYSTEM_ALARM_CALLBACK_OBJECT = 0x10
    SYSTEM_MANDATORY_LABEL = 0x11
    SYSTEM_RESOURCE_ATTRIBUTE = 0x12
    SYSTEM_SCOPED_POLICY_ID = 0x13
    SYSTEM_PROCESS_TRUST_LABEL = 0x14
    SYSTEM_ACCESS_FILTER = 0x15


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


INHERITANCE: Final = (
    AceFlags.OBJECT_INHERIT
    | AceFlags.CONTAINER_INHERIT
    | AceFlags.NO_PROPAGATE_INHERIT
    | AceFlags.INHERIT_ONLY
)


class MandatoryLabelPolicy(IntFlag, boundary=KEEP):
    """What a label forbids callers of lower integrity ([MS-DTYP] 2.4.4.13)."""

    NO_WRITE_UP = 0x1
    NO_READ_UP = 0x2
    NO_EXECUTE_UP = 0x4


CONDITION_SIGNATURE: Final = b"artx"
"""What a callback entry's data begins with if it is a condition (2.4.4.17.4)."""
MAXIMUM_ACE_SIZE: Final = 0xFFFC
_HEADER_SIZE: Final = 8  # type, flags, size, mask
_INHERIT_ONLY: Final = int(AceFlags.INHERIT_ONLY)
_LARGEST_BYTE: Final = 0xFF


class Place(Enum):
    """The list that an entry's kind belongs into; in the other it decides nothing."""

    DACL = "dacl"
    SACL = "sacl"
    EITHER = "either"


@dataclass(frozen=True, slots=True)
class Ace:
    """What every entry has: a trustee, a mask, flags, and data of its kind.

    Attributes:
        trustee: whom the entry is about.
        mask: the rights, 32 bits; for a label its `MandatoryLabelPolicy`.
        flags: inheritance and audit flags.
        application_data: the bytes after the trustee: a condition, a resource
            attribute, or what an application put there; kept as they are, and padded
            with zeros to a multiple of four.
    """

    type: ClassVar[AceType]
    place: ClassVar[Place]

    trustee: Sid
    mask: int
    flags: AceFlags = AceFlags.NONE
    application_data: bytes = b""

    def __post_init__(self) -> None:
        if not hasattr(self, "place"):
            raise InvalidAclError("an ace is of one kind, such as `AccessAllowedAce`")
        if not isinstance(self.trustee, Sid):
            raise InvalidAclError("an ace's trustee is a `Sid`")
        object.__setattr__(self, "mask", require_mask(self.mask))
        if not 0 <= self.flags <= _LARGEST_BYTE:
            raise InvalidAclError(f"ace flags `{self.flags:#x}` do not fit a byte")
        object.__setattr__(self, "flags", AceFlags(self.flags))
        data = self.application_data
        if type(data) is not bytes:
            raise InvalidAclError("an ace's data is bytes")
        if data:
            object.__setattr__(self, "application_data", data + bytes(-len(data) % 4))
        if self.size > MAXIMUM_ACE_SIZE:
            raise InvalidAclError(f"an ace of {self.size} bytes does not fit 64 KiB")

    @property
    def number(self) -> int:
        """The kind's byte."""
        return int(self.type)

    @property
    def size(self) -> int:
        """How many bytes the entry has."""
        return _HEADER_SIZE + len(self.trustee) + len(self.application_data)

    @property
    def is_inherit_only(self) -> bool:
        """Whether the entry only shapes children and decides nothing here."""
        return bool(self.flags & _INHERIT_ONLY)

    @property
    def is_conditional(self) -> bool:
        """Whether its data is a condition."""
        return self.application_data.startswith(CONDITION_SIGNATURE)


@dataclass(frozen=True, slots=True)
class ObjectAce(Ace):
    """An entry about one property, property set, extended right or kind of child.

    Attributes:
        object_type: what it is about; None for the whole object.
        inherited_object_type: the kind of child that inherits it; None for any.
    """

    object_type: Guid | None = None
    inherited_object_type: Guid | None = None

    def __post_init__(self) -> None:
        for guid in (self.object_type, self.inherited_object_type):
            if not isinstance(guid, Guid | None):
                raise InvalidAclError("an object ace's types are `Guid`s")
        # Not super(): `slots=True` makes a new class, and super() knows the old one.
        Ace.__post_init__(self)

    @property
    def size(self) -> int:
        """How many bytes the entry has."""
        guids = (self.object_type, self.inherited_object_type)
        return (
            _HEADER_SIZE
            + 4
            + sum(len(guid) for guid in guids if guid is not None)
            + len(self.trustee)
            + len(self.application_data)
        )


class AccessAllowedAce(Ace):
    """Grants its mask to its trustee ([MS-DTYP] 2.4.4.2)."""

    __slots__ = ()
    type = AceType.ACCESS_ALLOWED
    place = Place.DACL


class AccessDeniedAce(Ace):
    """Denies its mask to its trustee ([MS-DTYP] 2.4.4.4)."""

    __slots__ = ()
    type = AceType.ACCESS_DENIED
    place = Place.DACL


class AccessAllowedObjectAce(ObjectAce):
    """Grants its mask on what its type names ([MS-DTYP] 2.4.4.3)."""

    __slots__ = ()
    type = AceType.ACCESS_ALLOWED_OBJECT
    place = Place.DACL


class AccessDeniedObjectAce(ObjectAce):
    """Denies its mask on what its type names ([MS-DTYP] 2.4.4.5)."""

    __slots__ = ()
    type = AceType.ACCESS_DENIED_OBJECT
    place = Place.DACL


class AccessAllowedCallbackAce(Ace):
    """Grants its mask where its condition is true ([MS-DTYP] 2.4.4.6)."""

    __slots__ = ()
    type = AceType.ACCESS_ALLOWED_CALLBACK
    place = Place.DACL


class AccessDeniedCallbackAce(Ace):
    """Denies its mask unless its condition is false ([MS-DTYP] 2.4.4.7)."""

    __slots__ = ()
    type = AceType.ACCESS_DENIED_CALLBACK
    place = Place.DACL


class AccessAllowedCallbackObjectAce(ObjectAce):
    """Grants on what its type names, on a condition ([MS-DTYP] 2.4.4.8)."""

    __slots__ = ()
    type = AceType.ACCESS_ALLOWED_CALLBACK_OBJECT
    place = Place.DACL


class AccessDeniedCallbackObjectAce(ObjectAce):
    """Denies on what its type names, on a condition ([MS-DTYP] 2.4.4.9)."""

    __slots__ = ()
    type = AceType.ACCESS_DENIED_CALLBACK_OBJECT
    place = Place.DACL


class SystemAuditAce(Ace):
    """Asks for a record of success or failure ([MS-DTYP] 2.4.4.10)."""

    __slots__ = ()
    type = AceType.SYSTEM_AUDIT
    place = Place.SACL


class SystemAuditObjectAce(ObjectAce):
    """Asks for a record about what its type names ([MS-DTYP] 2.4.4.11)."""

    __slots__ = ()
    type = AceType.SYSTEM_AUDIT_OBJECT
    place = Place.SACL


class SystemAuditCallbackAce(Ace):
    """Asks for a record where its condition holds ([MS-DTYP] 2.4.4.12)."""

    __slots__ = ()
    type = AceType.SYSTEM_AUDIT_CALLBACK
    place = Place.SACL


class SystemAuditCallbackObjectAce(ObjectAce):
    """Asks on a condition, about what its type names ([MS-DTYP] 2.4.4.14)."""

    __slots__ = ()
    type = AceType.SYSTEM_AUDIT_CALLBACK_OBJECT
    place = Place.SACL


class SystemAlarmAce(Ace):
    """Reserved for alarms, which nothing raises ([MS-DTYP] 2.4.4.1)."""

    __slots__ = ()
    type = AceType.SYSTEM_ALARM
    place = Place.SACL


class SystemAlarmObjectAce(ObjectAce):
    """Reserved for alarms, which nothing raises ([MS-DTYP] 2.4.4.1)."""

    __slots__ = ()
    type = AceType.SYSTEM_ALARM_OBJECT
    place = Place.SACL


class SystemAlarmCallbackAce(Ace):
    """Reserved for alarms, which nothing raises ([MS-DTYP] 2.4.4.1)."""

    __slots__ = ()
    type = AceType.SYSTEM_ALARM_CALLBACK
    place = Place.SACL


class SystemAlarmCallbackObjectAce(ObjectAce):
    """Reserved for alarms, which nothing raises ([MS-DTYP] 2.4.4.1)."""

    __slots__ = ()
    type = AceType.SYSTEM_ALARM_CALLBACK_OBJECT
    place = Place.SACL


class MandatoryLabelAce(Ace):
    """Gives the object its integrity level ([MS-DTYP] 2.4.4.13)."""

    __slots__ = ()
    type = AceType.SYSTEM_MANDATORY_LABEL
    place = Place.SACL


class ResourceAttributeAce(Ace):
    """Gives the object an attribute for conditions ([MS-DTYP] 2.4.4.15).

    Its data is a CLAIM_SECURITY_ATTRIBUTE_RELATIVE_V1 (`stead.codec.claims`).
    """

    __slots__ = ()
    type = AceType.SYSTEM_RESOURCE_ATTRIBUTE
    place = Place.SACL


class ScopedPolicyIdAce(Ace):
    """Names the central access policy of the object ([MS-DTYP] 2.4.4.16)."""

    __slots__ = ()
    type = AceType.SYSTEM_SCOPED_POLICY_ID
    place = Place.SACL


class ProcessTrustLabelAce(Ace):
    """Leaves its mask to whoever is below its trust level (winnt.h)."""

    __slots__ = ()
    type = AceType.SYSTEM_PROCESS_TRUST_LABEL
    place = Place.SACL


class AccessFilterAce(Ace):
    """Leaves its mask to whoever its condition is not true for (winnt.h)."""

    __slots__ = ()
    type = AceType.SYSTEM_ACCESS_FILTER
    place = Place.SACL


@dataclass(frozen=True, slots=True)
class OpaqueAce(Ace):
    """An entry of a kind that nobody here can judge; it keeps all of its bytes.

    It is about nobody by name: its trustee is the null SID and its mask empty. What it
    means for a decision is that whatever it could have refused is refused.

    Attributes:
        type_number: the kind's byte, one that no `AceType` has.
        body: everything after the header's four bytes.
    """

    place = Place.EITHER

    trustee: Sid = NULL_SID
    mask: int = 0
    flags: AceFlags = AceFlags.NONE
    application_data: bytes = b""
    type_number: int = 0x04
    body: bytes = b""

    def __post_init__(self) -> None:
        if self.type_number in _NUMBERS or not 0 <= self.type_number <= _LARGEST_BYTE:
            raise InvalidAclError(f"`{self.type_number:#x}` is no unknown type of ace")
        if self.trustee != NULL_SID or self.mask or self.application_data:
            raise InvalidAclError("an opaque ace is about nobody that has a name")
        if type(self.body) is not bytes or len(self.body) % 4:
            raise InvalidAclError("an ace's size is a multiple of four")
        Ace.__post_init__(self)

    @property
    def number(self) -> int:
        """The kind's byte."""
        return self.type_number

    @property
    def size(self) -> int:
        """How many bytes the entry has."""
        return 4 + len(self.body)


_NUMBERS: Final = frozenset(int(number) for number in AceType)

_ALL_FLAGS: Final = tuple(AceFlags(number) for number in range(_LARGEST_BYTE + 1))
_set_trustee, _set_mask, _set_flags, _set_data = (
    vars(Ace)[name].__set__ for name in ("trustee", "mask", "flags", "application_data")
)
_new: Final = object.__new__


def checked_ace(
    kind: type[Ace], trustee: Sid, mask: int, flags: int, data: bytes = b""
) -> Ace:
    """Make an entry of parts that the caller has checked already; for the codec.

    Reading descriptors is a hot path, and a dataclass checks in its own time.

    Args:
        kind: a class that has no fields of its own.
        trustee: the SID.
        mask: 32 bits.
        flags: 8 bits.
        data: padded to a multiple of four; the entry fits `MAXIMUM_ACE_SIZE`.
    """
    made = _new(kind)
    _set_trustee(made, trustee)
    _set_mask(made, mask)
    _set_flags(made, _ALL_FLAGS[flags])
    _set_data(made, data)
    return made
