"""SIDs that mean the same everywhere ([MS-DTYP] 2.4.2.4), and the names we print."""

from __future__ import annotations

from typing import Final

from stead.model.posix_identity import MAXIMUM_ID
from stead.model.sid import Sid

_S = Sid.from_string

NULL_SID: Final = _S("S-1-0-0")
EVERYONE: Final = _S("S-1-1-0")
LOCAL: Final = _S("S-1-2-0")
CREATOR_OWNER: Final = _S("S-1-3-0")
CREATOR_GROUP: Final = _S("S-1-3-1")
OWNER_RIGHTS: Final = _S("S-1-3-4")
NETWORK: Final = _S("S-1-5-2")
BATCH: Final = _S("S-1-5-3")
INTERACTIVE: Final = _S("S-1-5-4")
SERVICE: Final = _S("S-1-5-6")
ANONYMOUS_LOGON: Final = _S("S-1-5-7")
PRINCIPAL_SELF: Final = _S("S-1-5-10")
AUTHENTICATED_USERS: Final = _S("S-1-5-11")
RESTRICTED_CODE: Final = _S("S-1-5-12")
LOCAL_SYSTEM: Final = _S("S-1-5-18")
LOCAL_SERVICE: Final = _S("S-1-5-19")
NETWORK_SERVICE: Final = _S("S-1-5-20")
BUILTIN: Final = _S("S-1-5-32")
ADMINISTRATORS: Final = _S("S-1-5-32-544")
USERS: Final = _S("S-1-5-32-545")
GUESTS: Final = _S("S-1-5-32-546")
BACKUP_OPERATORS: Final = _S("S-1-5-32-551")

AUTHORITY_ASSERTED_IDENTITY: Final = _S("S-1-18-1")
SERVICE_ASSERTED_IDENTITY: Final = _S("S-1-18-2")

ALL_APPLICATION_PACKAGES: Final = _S("S-1-15-2-1")
ALL_RESTRICTED_APPLICATION_PACKAGES: Final = _S("S-1-15-2-2")
WRITE_RESTRICTED_CODE: Final = _S("S-1-5-33")
UNTRUSTED_LEVEL: Final = _S("S-1-16-0")
LOW_LEVEL: Final = _S("S-1-16-4096")
MEDIUM_LEVEL: Final = _S("S-1-16-8192")
HIGH_LEVEL: Final = _S("S-1-16-12288")
SYSTEM_LEVEL: Final = _S("S-1-16-16384")

MANDATORY_AUTHORITY: Final = 16
_PACKAGE_AUTHORITY: Final = 15
_PACKAGE_RID: Final = 2
_PACKAGE_PARTS: Final = 3
_TRUST_AUTHORITY: Final = 19
_TRUST_PARTS: Final = 2
UNIX_USERS: Final = _S("S-1-22-1")
UNIX_GROUPS: Final = _S("S-1-22-2")
_NT_AUTHORITY: Final = 5
_LOGON_ID_RID: Final = 5
_SERVICE_RID: Final = 80

NAMES: Final[dict[Sid, str]] = {
    NULL_SID: "NULL SID",
    EVERYONE: "Everyone",
    LOCAL: "LOCAL",
    CREATOR_OWNER: "CREATOR OWNER",
    CREATOR_GROUP: "CREATOR GROUP",
    OWNER_RIGHTS: "OWNER RIGHTS",
    NETWORK: "NETWORK",
    BATCH: "BATCH",
    INTERACTIVE: "INTERACTIVE",
    SERVICE: "SERVICE",
    ANONYMOUS_LOGON: "ANONYMOUS LOGON",
    PRINCIPAL_SELF: "SELF",
    AUTHENTICATED_USERS: "Authenticated Users",
    RESTRICTED_CODE: "RESTRICTED",
    LOCAL_SYSTEM: "SYSTEM",
    AUTHORITY_ASSERTED_IDENTITY: "Authentication authority asserted identity",
    SERVICE_ASSERTED_IDENTITY: "Service asserted identity",
    LOCAL_SERVICE: "LOCAL SERVICE",
    NETWORK_SERVICE: "NETWORK SERVICE",
    ADMINISTRATORS: "Administrators",
    USERS: "Users",
    GUESTS: "Guests",
    BACKUP_OPERATORS: "Backup Operators",
    WRITE_RESTRICTED_CODE: "WRITE RESTRICTED",
    ALL_APPLICATION_PACKAGES: "ALL APPLICATION PACKAGES",
    ALL_RESTRICTED_APPLICATION_PACKAGES: "ALL RESTRICTED APPLICATION PACKAGES",
    UNTRUSTED_LEVEL: "Untrusted Mandatory Level",
    LOW_LEVEL: "Low Mandatory Level",
    MEDIUM_LEVEL: "Medium Mandatory Level",
    HIGH_LEVEL: "High Mandatory Level",
    SYSTEM_LEVEL: "System Mandatory Level",
}


def unix_user(uid: int) -> Sid:
    """Return the SID of a bare uid of this host: `S-1-22-1-<uid>`."""
    return UNIX_USERS.with_rid(uid)


def unix_group(gid: int) -> Sid:
    """Return the SID of a bare gid of this host: `S-1-22-2-<gid>`."""
    return UNIX_GROUPS.with_rid(gid)


def uid_of(sid: Sid) -> int | None:
    """Return the uid of a bare Unix user's SID, or None."""
    return sid.rid if sid.is_within(UNIX_USERS) and sid.rid <= MAXIMUM_ID else None


def gid_of(sid: Sid) -> int | None:
    """Return the gid of a bare Unix group's SID, or None."""
    return sid.rid if sid.is_within(UNIX_GROUPS) and sid.rid <= MAXIMUM_ID else None


def logon_sid(high: int, low: int) -> Sid:
    """Return the SID that only one logon session's tokens hold: `S-1-5-5-x-y`."""
    return Sid.from_parts(_NT_AUTHORITY, (_LOGON_ID_RID, high, low))


def service_sid(digest: tuple[int, int, int, int, int]) -> Sid:
    """Return a service's SID, `S-1-5-80-...`, of the five words of its name's hash."""
    return Sid.from_parts(_NT_AUTHORITY, (_SERVICE_RID, *digest))


def integrity_level(sid: Sid) -> int:
    """Return the number of an integrity SID (`S-1-16-8192` is 8192)."""
    return sid.rid


def is_integrity_level(sid: Sid) -> bool:
    """Tell whether a SID is a mandatory label's: `S-1-16-<level>`."""
    return sid.authority == MANDATORY_AUTHORITY and len(sid.sub_authorities) == 1


def is_package(sid: Sid) -> bool:
    """Tell whether a SID is one AppContainer's: `S-1-15-2-...`.

    `S-1-15-2-1` and `S-1-15-2-2` stand for many.
    """
    parts = sid.sub_authorities
    return (
        sid.authority == _PACKAGE_AUTHORITY
        and parts[0] == _PACKAGE_RID
        and len(parts) >= _PACKAGE_PARTS
    )


def is_trust_level(sid: Sid) -> bool:
    """Tell whether a SID is a process trust level's: `S-1-19-<type>-<level>`."""
    return sid.authority == _TRUST_AUTHORITY and (
        len(sid.sub_authorities) == _TRUST_PARTS
    )
