"""What is known of a logon session, as a value ([MS-LSAD] names, LSA logon sessions).

The live session, with its lifetime and its credentials, is the server's; this is what
records and reports carry.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from types import MappingProxyType
from typing import Final

from stead.errors import (
    AccountDisabledError,
    AccountExpiredError,
    AccountLockedOutError,
    LogonHoursError,
    LogonTypeNotGrantedError,
    PasswordExpiredError,
    PasswordMismatchError,
    PasswordMustChangeError,
    SteadError,
    UnknownAccountError,
)
from stead.model.luid import Luid
from stead.model.sid import Sid

LOGON_FAILURE: Final = 0xC000_006D
"""STATUS_LOGON_FAILURE, the status of every failed logon ([MS-ERREF] 2.3)."""
_SUB_STATUS: Final[Mapping[type[SteadError], int]] = MappingProxyType({
    UnknownAccountError: 0xC000_0064,
    PasswordMismatchError: 0xC000_006A,
    AccountLockedOutError: 0xC000_0234,
    AccountDisabledError: 0xC000_0072,
    AccountExpiredError: 0xC000_0193,
    LogonHoursError: 0xC000_006F,
    PasswordExpiredError: 0xC000_0071,
    PasswordMustChangeError: 0xC000_0224,
    LogonTypeNotGrantedError: 0xC000_015B,
})  # fmt: skip


class LogonType(IntEnum):
    """How somebody logged on; the values are Windows' (SECURITY_LOGON_TYPE)."""

    INTERACTIVE = 2
    NETWORK = 3
    BATCH = 4
    SERVICE = 5
    UNLOCK = 7
    NETWORK_CLEARTEXT = 8
    NEW_CREDENTIALS = 9


@dataclass(frozen=True, slots=True)
class LogonRecord:
    """One logon session.

    Attributes:
        logon_id: its number, never used again in its store.
        user: the account's SID.
        name: the account's name, as the store prints it.
        logon_type: how it was opened.
        package: what authenticated the client: `peer` (the kernel vouched for a local
            socket's peer), `asserted` (a trusted server vouches for it) or `password`.
        authenticated_by: who vouches, in words: `kernel`, `oauth`, ...
        opened_at: nanoseconds since the epoch, UTC.
    """

    logon_id: Luid
    user: Sid
    name: str
    logon_type: LogonType
    package: str
    authenticated_by: str
    opened_at: int


def sub_status(error: SteadError) -> int:
    """Return what Windows puts into the record of a failed logon ([MS-ERREF] 2.3)."""
    return _SUB_STATUS.get(type(error), LOGON_FAILURE)
