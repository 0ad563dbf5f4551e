"""Privileges and account rights (Win32 privilege constants, account rights constants).

A privilege sits in a token, enabled or disabled, and lets its holder do one thing that
descriptors do not govern. An account right (`LogonRight`) says how an account may log
on and never appears in a token.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import KEEP, Enum, IntFlag
from typing import Final

from stead.model.luid import Luid


class Privilege(Enum):
    """The 36 privileges; each value is the Win32 name, `luid` the Windows number."""

    CREATE_TOKEN = "SeCreateTokenPrivilege"  # noqa: S105 - a name
    ASSIGN_PRIMARY_TOKEN = "SeAssignPrimaryTokenPrivilege"  # noqa: S105 - a name
    LOCK_MEMORY = "SeLockMemoryPrivilege"
    INCREASE_QUOTA = "SeIncreaseQuotaPrivilege"
    UNSOLICITED_INPUT = "SeUnsolicitedInputPrivilege"
    MACHINE_ACCOUNT = "SeMachineAccountPrivilege"
    TCB = "SeTcbPrivilege"
    SECURITY = "SeSecurityPrivilege"
    TAKE_OWNERSHIP = "SeTakeOwnershipPrivilege"
    LOAD_DRIVER = "SeLoadDriverPrivilege"
    SYSTEM_PROFILE = "SeSystemProfilePrivilege"
    SYSTEMTIME = "SeSystemtimePrivilege"
    PROFILE_SINGLE_PROCESS = "SeProfileSingleProcessPrivilege"
    INCREASE_BASE_PRIORITY = "SeIncreaseBasePriorityPrivilege"
    CREATE_PAGEFILE = "SeCreatePagefilePrivilege"
    CREATE_PERMANENT = "SeCreatePermanentPrivilege"
    BACKUP = "SeBackupPrivilege"
    RESTORE = "SeRestorePrivilege"
    SHUTDOWN = "SeShutdownPrivilege"
    DEBUG = "SeDebugPrivilege"
    AUDIT = "SeAuditPrivilege"
    SYSTEM_ENVIRONMENT = "SeSystemEnvironmentPrivilege"
    CHANGE_NOTIFY = "SeChangeNotifyPrivilege"
    REMOTE_SHUTDOWN = "SeRemoteShutdownPrivilege"
    UNDOCK = "SeUndockPrivilege"
    SYNC_AGENT = "SeSyncAgentPrivilege"
    ENABLE_DELEGATION = "SeEnableDelegationPrivilege"
    MANAGE_VOLUME = "SeManageVolumePrivilege"
    IMPERSONATE = "SeImpersonatePrivilege"
    CREATE_GLOBAL = "SeCreateGlobalPrivilege"
    TRUSTED_CREDMAN_ACCESS = "SeTrustedCredManAccessPrivilege"
    RELABEL = "SeRelabelPrivilege"
    INCREASE_WORKING_SET = "SeIncreaseWorkingSetPrivilege"
    TIME_ZONE = "SeTimeZonePrivilege"
    CREATE_SYMBOLIC_LINK = "SeCreateSymbolicLinkPrivilege"
    DELEGATE_SESSION_USER_IMPERSONATE = "SeDelegateSessionUserImpersonatePrivilege"

    @property
    def win32_name(self) -> str:
        """The Win32 name, for output and grep."""
        return self.value

    @property
    def luid(self) -> Luid:
        """The number Windows gives it (an obsolete one shares its successor's)."""
        return _LUIDS[self]


_LUIDS: Final[dict[Privilege, Luid]] = {
    **{
        privilege: Luid(number)
        for number, privilege in enumerate(
            (p for p in Privilege if p is not Privilege.UNSOLICITED_INPUT), start=2
        )
    },
    Privilege.UNSOLICITED_INPUT: Luid(6),
}


class PrivilegeAttributes(IntFlag, boundary=KEEP):
    """How a token holds a privilege (SE_PRIVILEGE_*)."""

    NONE = 0
    ENABLED_BY_DEFAULT = 0x1
    ENABLED = 0x2
    REMOVED = 0x4
    USED_FOR_ACCESS = 0x8000_0000


ENABLED_PRIVILEGE: Final = (
    PrivilegeAttributes.ENABLED | PrivilegeAttributes.ENABLED_BY_DEFAULT
)

# Asked of each privilege of each token: the flags' own `&` makes another flag.
_and: Final = int.__and__
_ENABLED: Final = int(PrivilegeAttributes.ENABLED)
_REMOVED: Final = int(PrivilegeAttributes.REMOVED)


@dataclass(frozen=True, slots=True)
class TokenPrivilege:
    """One privilege in a token (Win32: LUID_AND_ATTRIBUTES)."""

    privilege: Privilege
    attributes: PrivilegeAttributes = ENABLED_PRIVILEGE

    @property
    def is_enabled(self) -> bool:
        """Whether it may be used now."""
        return _and(self.attributes, _ENABLED | _REMOVED) == _ENABLED


SENSITIVE: Final = frozenset({
    Privilege.ASSIGN_PRIMARY_TOKEN, Privilege.AUDIT, Privilege.BACKUP,
    Privilege.CREATE_TOKEN, Privilege.DEBUG,
    Privilege.DELEGATE_SESSION_USER_IMPERSONATE, Privilege.ENABLE_DELEGATION,
    Privilege.IMPERSONATE, Privilege.LOAD_DRIVER, Privilege.RESTORE,
    Privilege.SECURITY, Privilege.SYSTEM_ENVIRONMENT, Privilege.TAKE_OWNERSHIP,
    Privilege.TCB,
})  # fmt: skip
"""Privileges whose holder's logon is recorded as special (Windows event 4672)."""


class LogonRight(Enum):
    """How an account may, or must never, log on (Win32 account rights constants)."""

    INTERACTIVE = "SeInteractiveLogonRight"
    NETWORK = "SeNetworkLogonRight"
    BATCH = "SeBatchLogonRight"
    SERVICE = "SeServiceLogonRight"
    REMOTE_INTERACTIVE = "SeRemoteInteractiveLogonRight"
    DENY_INTERACTIVE = "SeDenyInteractiveLogonRight"
    DENY_NETWORK = "SeDenyNetworkLogonRight"
    DENY_BATCH = "SeDenyBatchLogonRight"
    DENY_SERVICE = "SeDenyServiceLogonRight"
    DENY_REMOTE_INTERACTIVE = "SeDenyRemoteInteractiveLogonRight"
