"""The data of Windows' security events: which names, in which order, and what of ours.

Each event's names are those of its template in Windows, as the documentation of the
events (docs.microsoft.com, "Security auditing", event 4624 and so on) lists them. What
a record does not say is written as Windows does: `-`, `0x0`, or the SID of nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from stead.ledger.exporting import Origin, bare_name, mask, of_detail, seen
from stead.model.audit_record import AuditRecord

_NOTHING: Final = "-"
_NOBODY: Final = "S-1-0-0"
_NO_NUMBER: Final = "0x0"

# Windows' words for lists of names, in the order of its templates.
_SUBJECT: Final = "SubjectUserSid SubjectUserName SubjectDomainName SubjectLogonId"
_ACCOUNT: Final = f"TargetUserName TargetDomainName TargetSid {_SUBJECT}"
_MEMBER: Final = f"MemberName MemberSid {_ACCOUNT} PrivilegeList"
_OBJECT: Final = f"{_SUBJECT} ObjectServer ObjectType ObjectName HandleId"
_PROCESS: Final = "ProcessId ProcessName"
_LOGON_END: Final = (
    "LogonType LogonProcessName AuthenticationPackageName WorkstationName"
)
_SAM: Final = (
    "SamAccountName DisplayName UserPrincipalName HomeDirectory HomePath ScriptPath "
    "ProfilePath UserWorkstations PasswordLastSet AccountExpires PrimaryGroupId "
    "AllowedToDelegateTo OldUacValue NewUacValue UserAccountControl UserParameters "
    "SidHistory LogonHours"
)

_NAMES: Final[dict[int, str]] = {
    1102: _SUBJECT,
    4608: "",
    4609: "",
    4624: (
        f"{_SUBJECT} TargetUserSid TargetUserName TargetDomainName TargetLogonId "
        f"{_LOGON_END} LogonGuid TransmittedServices LmPackageName KeyLength "
        f"{_PROCESS} IpAddress IpPort ImpersonationLevel RestrictedAdminMode "
        "TargetOutboundUserName TargetOutboundDomainName VirtualAccount "
        "TargetLinkedLogonId ElevatedToken"
    ),
    4625: (
        f"{_SUBJECT} TargetUserSid TargetUserName TargetDomainName Status "
        f"FailureReason SubStatus {_LOGON_END} TransmittedServices LmPackageName "
        f"KeyLength {_PROCESS} IpAddress IpPort"
    ),
    4634: "TargetUserSid TargetUserName TargetDomainName TargetLogonId LogonType",
    4648: (
        f"{_SUBJECT} LogonGuid TargetUserName TargetDomainName TargetLogonGuid "
        f"TargetServerName TargetInfo {_PROCESS} IpAddress IpPort"
    ),
    4656: (
        f"{_OBJECT} TransactionId AccessList AccessReason AccessMask PrivilegeList "
        f"RestrictedSidCount {_PROCESS} ResourceAttributes"
    ),
    4658: f"{_SUBJECT} ObjectServer HandleId {_PROCESS}",
    4660: f"{_SUBJECT} ObjectServer HandleId {_PROCESS} TransactionId",
    4663: f"{_OBJECT} AccessList AccessMask {_PROCESS} ResourceAttributes",
    4670: f"{_OBJECT} OldSd NewSd {_PROCESS}",
    4672: f"{_SUBJECT} PrivilegeList",
    4673: f"{_SUBJECT} ObjectServer Service PrivilegeList {_PROCESS}",
    4674: f"{_OBJECT} AccessMask PrivilegeList {_PROCESS}",
    4688: (
        f"{_SUBJECT} NewProcessId NewProcessName TokenElevationType ProcessId "
        "CommandLine TargetUserSid TargetUserName TargetDomainName TargetLogonId "
        "ParentProcessName MandatoryLabel"
    ),
    4689: f"{_SUBJECT} Status {_PROCESS}",
    4703: (
        f"{_SUBJECT} TargetUserSid TargetUserName TargetDomainName TargetLogonId "
        "ProcessName ProcessId EnabledPrivilegeList DisabledPrivilegeList"
    ),
    4704: f"{_SUBJECT} TargetSid PrivilegeList",
    4705: f"{_SUBJECT} TargetSid PrivilegeList",
    4719: (f"{_SUBJECT} CategoryId SubcategoryId SubcategoryGuid AuditPolicyChanges"),
    4720: f"{_ACCOUNT} PrivilegeList {_SAM}",
    4722: _ACCOUNT,
    4723: f"{_ACCOUNT} PrivilegeList",
    4724: _ACCOUNT,
    4725: _ACCOUNT,
    4726: f"{_ACCOUNT} PrivilegeList",
    4731: f"{_ACCOUNT} PrivilegeList SamAccountName SidHistory",
    4732: _MEMBER,
    4733: _MEMBER,
    4734: f"{_ACCOUNT} PrivilegeList",
    4735: f"{_ACCOUNT} PrivilegeList SamAccountName SidHistory",
    4738: f"Dummy {_ACCOUNT} PrivilegeList {_SAM}",
    4740: f"TargetUserName TargetDomainName TargetSid {_SUBJECT}",
    4767: _ACCOUNT,
    4817: f"{_SUBJECT} ObjectServer ObjectType ObjectName OldSd NewSd",
    4907: f"{_OBJECT} OldSd NewSd {_PROCESS}",
    4912: f"{_SUBJECT} TargetUserSid CategoryId SubcategoryId SubcategoryGuid "
    "AuditPolicyChanges",
}

VERSIONS: Final[dict[int, int]] = {4624: 2, 4656: 1, 4663: 1, 4688: 2}
"""The versions of Windows' templates above, where not 0."""

# [MS-LSAD] and winbase.h: the numbers of logon types, by the names of ours.
_LOGON_TYPES: Final = {
    "interactive": "2",
    "network": "3",
    "batch": "4",
    "service": "5",
    "unlock": "7",
    "network_cleartext": "8",
    "new_credentials": "9",
}
# Parameter messages, as Windows writes levels of impersonation.
_LEVELS: Final = {
    "anonymous": "%%1831",
    "identification": "%%1832",
    "impersonation": "%%1833",
    "delegation": "%%1840",
}

# Parameter messages of rights, by bit: DELETE to SYNCHRONIZE, ACCESS_SYSTEM_SECURITY,
# MAXIMUM_ALLOWED. Rights that belong to one kind of object follow on a first number.
_STANDARD_RIGHTS: Final = {
    16: 1537,
    17: 1538,
    18: 1539,
    19: 1540,
    20: 1541,
    24: 1542,
    25: 1543,
}
_FIRST_STANDARD: Final = 16
_FIRST_RIGHT: Final = 1552
_FIRST_FILE_RIGHT: Final = 4416
_BITS: Final = 32

_Value = Callable[[AuditRecord, Origin], str]


def template_data(record: AuditRecord, origin: Origin) -> Iterator[tuple[str, str]]:
    """Yield names and values of Windows' template for a record's event, in its order.

    An event that Windows does not have, or that is not known here, has none.
    """
    number = int(record.event)
    for name in _NAMES.get(number, "").split():
        value = _BY_EVENT.get((number, name)) or _VALUES.get(name)
        text = value(record, origin) if value is not None else ""
        yield name, text or _MISSING.get(name, _NOTHING)


def _detail(*names: str) -> _Value:
    return lambda record, _: of_detail(record, *names)


def _subject_domain(record: AuditRecord, origin: Origin) -> str:
    return bare_name(seen(record).name)[0] or origin.host


def _target_domain(record: AuditRecord, origin: Origin) -> str:
    return bare_name(_target(record, origin))[0] or origin.host


def _target(record: AuditRecord, _: Origin) -> str:
    """Return whom an act is about: a group or account, or who logs on."""
    return of_detail(record, "target") or record.object_name or seen(record).name


def _target_sid(record: AuditRecord, _: Origin) -> str:
    return of_detail(record, "target sid", "sid")


def _session_sid(record: AuditRecord, _: Origin) -> str:
    client = record.client
    return of_detail(record, "target sid") or (str(client.sid) if client else "")


def _object_server(record: AuditRecord, _: Origin) -> str:
    return record.server.name


def _privileges(record: AuditRecord, _: Origin) -> str:
    """Return privileges as Windows lists them, one a line, tabs before the others."""
    named = record.privileges or tuple(of_detail(record, "right").split())
    return "\n\t\t\t".join(named)


def _access(record: AuditRecord, _: Origin) -> str:
    return mask(record.granted or record.desired)


def _access_list(record: AuditRecord, _: Origin) -> str:
    """Return the rights as Windows' parameter messages, one for each bit."""
    first = _FIRST_FILE_RIGHT if record.object_type == "File" else _FIRST_RIGHT
    rights = record.granted or record.desired
    numbers = [
        _STANDARD_RIGHTS.get(bit, first + bit)
        for bit in range(_BITS)
        if rights >> bit & 1 and (bit < _FIRST_STANDARD or bit in _STANDARD_RIGHTS)
    ]
    return "\n\t\t\t\t".join(f"%%{number}" for number in numbers)


def _reasons(record: AuditRecord, _: Origin) -> str:
    return "\n\t\t\t\t".join(record.reasons)


def _status(record: AuditRecord, _: Origin) -> str:
    return f"0x{record.status & 0xFFFFFFFF:08x}"


def _exit_status(record: AuditRecord, _: Origin) -> str:
    code = of_detail(record, "exit code")
    is_number = code.isascii() and code.isdigit() and len(code) < len("4294967296")
    return f"{int(code):#x}" if is_number else of_detail(record, "signal")


def _pid(record: AuditRecord, _: Origin) -> str:
    pid = of_detail(record, "pid")
    is_number = pid.isascii() and pid.isdigit() and len(pid) < len("4294967296")
    return f"{int(pid):#x}" if is_number else ""


def _command(record: AuditRecord, _: Origin) -> str:
    return of_detail(record, "arguments", "command line") or record.operation


def _logon_type(record: AuditRecord, _: Origin) -> str:
    name = of_detail(record, "logon type")
    return _LOGON_TYPES.get(name, name)


def _level(record: AuditRecord, _: Origin) -> str:
    name = of_detail(record, "level")
    return _LEVELS.get(name, name)


def _service(record: AuditRecord, _: Origin) -> str:
    return record.operation or record.object_name


def _policy_changes(record: AuditRecord, _: Origin) -> str:
    return of_detail(record, "changes", "new")


_MISSING: Final = {
    "SubjectUserSid": _NOBODY,
    "TargetUserSid": _NOBODY,
    "TargetSid": _NOBODY,
    "MemberSid": _NOBODY,
    "MandatoryLabel": _NOBODY,
    "SubjectLogonId": _NO_NUMBER,
    "TargetLogonId": _NO_NUMBER,
    "TargetLinkedLogonId": _NO_NUMBER,
    "HandleId": _NO_NUMBER,
    "ProcessId": _NO_NUMBER,
    "NewProcessId": _NO_NUMBER,
    "SubStatus": "0x00000000",
    "KeyLength": "0",
    "RestrictedSidCount": "0",
    "LogonType": "0",
    "LogonGuid": "{00000000-0000-0000-0000-000000000000}",
    "TargetLogonGuid": "{00000000-0000-0000-0000-000000000000}",
    "TransactionId": "{00000000-0000-0000-0000-000000000000}",
}

_VALUES: Final[dict[str, _Value]] = {
    "SubjectUserSid": lambda record, _: str(seen(record).sid),
    "SubjectUserName": lambda record, _: bare_name(seen(record).name)[1],
    "SubjectDomainName": _subject_domain,
    "SubjectLogonId": lambda record, _: str(seen(record).logon_id),
    "TargetUserSid": _session_sid,
    "TargetUserName": lambda record, origin: bare_name(_target(record, origin))[1],
    "TargetDomainName": _target_domain,
    "TargetSid": _target_sid,
    "TargetLogonId": lambda record, _: str(seen(record).logon_id),
    "MemberName": _detail("member"),
    "MemberSid": _detail("member sid"),
    "SamAccountName": _target,
    "ObjectServer": _object_server,
    "TargetServerName": _object_server,
    "ObjectType": lambda record, _: record.object_type,
    "ObjectName": lambda record, _: record.object_name,
    "HandleId": _detail("handle", "handle id", "opened by"),
    "AccessList": _access_list,
    "AccessMask": _access,
    "AccessReason": _reasons,
    "PrivilegeList": _privileges,
    "EnabledPrivilegeList": _detail("enabled"),
    "DisabledPrivilegeList": _detail("disabled"),
    "Service": _service,
    "OldSd": _detail("old", "old sddl"),
    "NewSd": _detail("new", "new sddl"),
    "Status": _status,
    "SubStatus": _detail("sub status"),
    "FailureReason": _reasons,
    "LogonType": _logon_type,
    "LogonProcessName": _object_server,
    "AuthenticationPackageName": _detail("package", "authenticated by"),
    "WorkstationName": lambda record, _: record.peer,
    "IpAddress": _detail("address"),
    "IpPort": _detail("port"),
    "ImpersonationLevel": _level,
    "ProcessId": _pid,
    "NewProcessId": _pid,
    "ProcessName": lambda record, _: record.server.name,
    "NewProcessName": lambda record, _: record.object_name,
    "ParentProcessName": _object_server,
    "CommandLine": _command,
    "CategoryId": _detail("category"),
    "SubcategoryId": _detail("subcategory"),
    "AuditPolicyChanges": _policy_changes,
}

# Where one name means something else in one event.
_BY_EVENT: Final[dict[tuple[int, str], _Value]] = {
    (4624, "SubjectUserSid"): lambda record, _: str(record.server.sid),
    (4624, "SubjectUserName"): lambda record, _: record.server.name,
    (4624, "SubjectDomainName"): lambda _, origin: origin.host,
    (4624, "SubjectLogonId"): lambda record, _: str(record.server.logon_id),
    (4624, "ProcessId"): lambda *_: "",
    (4624, "TargetUserName"): lambda record, _: bare_name(seen(record).name)[1],
    (4625, "SubjectUserSid"): lambda record, _: str(record.server.sid),
    (4625, "SubjectUserName"): lambda record, _: record.server.name,
    (4625, "SubjectDomainName"): lambda _, origin: origin.host,
    (4625, "SubjectLogonId"): lambda record, _: str(record.server.logon_id),
    (4634, "TargetUserName"): lambda record, _: bare_name(seen(record).name)[1],
    (4688, "ProcessId"): lambda *_: "",
    (4688, "TargetUserName"): lambda record, _: bare_name(seen(record).name)[1],
    (4689, "Status"): _exit_status,
    (4689, "ProcessName"): lambda record, _: record.object_name,
}
