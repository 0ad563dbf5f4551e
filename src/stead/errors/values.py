"""What text, bytes or a value claims to be, and is not."""

from __future__ import annotations

from stead.errors.stead_error import SteadError

__all__ = [
    "GenericNotMappedError",
    "InvalidAccessMaskError",
    "InvalidAclError",
    "InvalidCheckpointError",
    "InvalidClaimError",
    "InvalidConditionError",
    "InvalidGuidError",
    "InvalidNameError",
    "InvalidObjectTypesError",
    "InvalidPacError",
    "InvalidProofError",
    "InvalidRecordError",
    "InvalidSddlError",
    "InvalidSecurityDescriptorError",
    "InvalidSidError",
    "NotPlainDataError",
]


class InvalidSidError(SteadError, ValueError):
    """A SID's text or bytes are not a SID ([MS-DTYP] 2.4.2)."""

    status = 1337
    win32_name = "ERROR_INVALID_SID"
    public = "the security identifier is not valid"


class InvalidAclError(SteadError, ValueError):
    """An ACL or ACE cannot be what it claims to be ([MS-DTYP] 2.4.4, 2.4.5)."""

    status = 1336
    win32_name = "ERROR_INVALID_ACL"
    public = "the access control list is not valid"


class InvalidSecurityDescriptorError(SteadError, ValueError):
    """A security descriptor's bytes or parts do not fit ([MS-DTYP] 2.4.6)."""

    status = 1338
    win32_name = "ERROR_INVALID_SECURITY_DESCR"
    public = "the security descriptor is not valid"


class InvalidSddlError(SteadError, ValueError):
    """SDDL text does not parse ([MS-DTYP] 2.5.1).

    Attributes:
        text: the whole text.
        position: the offset in characters at which reading stopped.
        reason: what was expected or wrong there.
    """

    status = 1338
    win32_name = "ERROR_INVALID_SECURITY_DESCR"
    public = "the security descriptor is not valid"

    def __init__(self, text: str, position: int, reason: str) -> None:
        # Escaped: a line break in the text must not become one in a log.
        shown = ascii(text[position : position + 24])[1:-1]
        near = f"near `{shown}`" if shown else "at its end"
        super().__init__(f"sddl is wrong at position {position}, {near}: {reason}")
        self.text = text
        self.position = position
        self.reason = reason


class InvalidGuidError(SteadError, ValueError):
    """Text or bytes are not a GUID ([MS-DTYP] 2.3.4)."""


class InvalidClaimError(SteadError, ValueError):
    """A claim's parts do not fit one another ([MS-DTYP] 2.4.10)."""


class InvalidConditionError(SteadError, ValueError):
    """A conditional expression cannot be what it claims to be ([MS-DTYP] 2.4.4.17)."""

    status = 1336
    win32_name = "ERROR_INVALID_ACL"
    public = "the access control list is not valid"


class InvalidPacError(SteadError, ValueError):
    """Bytes are not the authorization data that they claim to be ([MS-PAC] 2)."""

    status = 13
    win32_name = "ERROR_INVALID_DATA"


class InvalidObjectTypesError(SteadError, ValueError):
    """A list of object types is no tree (Win32 OBJECT_TYPE_LIST)."""


class InvalidAccessMaskError(SteadError, ValueError):
    """A right lies outside the bits it may use ([MS-DTYP] 2.4.3)."""


class GenericNotMappedError(SteadError, ValueError):
    """A question to the judge holds generic bits; whoever asks maps them first."""

    status = 1360
    win32_name = "ERROR_GENERIC_NOT_MAPPED"


class InvalidNameError(SteadError, ValueError):
    """An account, group or object name holds what a name may not."""

    status = 123
    win32_name = "ERROR_INVALID_NAME"
    public = "the name is not valid"


class InvalidRecordError(SteadError, ValueError):
    """An audit record cannot be written as one, or bytes are not a record."""

    status = 13
    win32_name = "ERROR_INVALID_DATA"
    public = "the request failed"


class InvalidProofError(SteadError, ValueError):
    """A proof or the edge of a tree is none, or proves something else."""

    status = 13
    win32_name = "ERROR_INVALID_DATA"


class InvalidCheckpointError(SteadError, ValueError):
    """Text is no checkpoint, or not signed by whom it should be."""

    status = 13
    win32_name = "ERROR_INVALID_DATA"


class NotPlainDataError(SteadError, TypeError):
    """A value that crosses between processes is none that data alone can say."""

    status = 13
    win32_name = "ERROR_INVALID_DATA"
