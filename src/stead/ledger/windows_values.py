"""What the data of Windows' security events are, of one of our records.

What a record does not say is written as Windows does: `-`, `0x0`, or the SID of nobody.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from stead.ledger.exporting import (
    Numbered,
    Origin,
    address_of,
    bare_name,
    is_failure,
    mask,
    of_detail,
    seen,
)
from stead.ledger.windows_policy import (
    account_changes,
    category_id,
    policy_changes,
    subcategory_guid,
    subcategory_id,
)
from stead.model.audit_record import AuditRecord

_NOTHING: Final = "-"
_NOBODY: Final = "S-1-0-0"
_NO_NUMBER: Final = "0x0"

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
_MOST_DIGITS: Final = 20  # of 64 bits
_OPENED: Final = 4656

_Value = Callable[[AuditRecord, Origin], str]


def value_of(name: str, numbered: Numbered, origin: Origin) -> str:
    """Return what a record has for one name of its event's template.

    A handle is called by the number of the record that opened it.
    """
    record = numbered.record
    number = int(record.event)
    if (number, name) == (_OPENED, "HandleId"):
        return _NO_NUMBER if is_failure(record) else f"{numbered.number:#x}"
    value = _BY_EVENT.get((number, name)) or _VALUES.get(name)
    text = value(record, origin) if value is not None else ""
    return text or _MISSING.get(name, _NOTHING)


def _detail(*names: str) -> _Value:
    return lambda record, _: of_detail(record, *names)


def _hexadecimal(*names: str) -> _Value:
    """Return what writes a number among the details as Windows does: 0x1f."""

    def written(record: AuditRecord, _: Origin) -> str:
        text = of_detail(record, *names)
        is_number = text.isascii() and text.isdigit() and len(text) < _MOST_DIGITS
        return f"{int(text):#x}" if is_number else ""

    return written


def _subject_domain(record: AuditRecord, origin: Origin) -> str:
    return bare_name(seen(record).name)[0] or origin.host


def _target_domain(record: AuditRecord, origin: Origin) -> str:
    return bare_name(_target(record, origin))[0] or origin.host


def _target(record: AuditRecord, _: Origin) -> str:
    """Return whom an act is about: a group or account, or who logs on."""
    return record.object_name or seen(record).name


def _target_sid(record: AuditRecord, _: Origin) -> str:
    return of_detail(record, "sid")


def _session_sid(record: AuditRecord, _: Origin) -> str:
    client = record.client
    told = of_detail(record, "sid")
    return told or (str(client.sid) if client else "")


def _ended_session(record: AuditRecord, _: Origin) -> str:
    """Return the session that somebody ends: another's, or one's own."""
    return record.object_name or str(seen(record).logon_id)


def _ended_user(record: AuditRecord, _: Origin) -> str:
    return bare_name(of_detail(record, "account") or seen(record).name)[1]


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


def _logon_status(record: AuditRecord, origin: Origin) -> str:
    """Return why a logon failed, as an NTSTATUS; what we answer with is none."""
    return of_detail(record, "status") or _status(record, origin)


def _exit_status(record: AuditRecord, origin: Origin) -> str:
    code = _hexadecimal("exit code")(record, origin)
    return code or of_detail(record, "signal")


def _image(record: AuditRecord, _: Origin) -> str:
    return of_detail(record, "image") or record.server.name


def _address(record: AuditRecord, _: Origin) -> str:
    found = address_of(record)
    return "" if found is None else found[0]


def _port(record: AuditRecord, _: Origin) -> str:
    found = address_of(record)
    return "" if found is None else str(found[1])


def _target_server(record: AuditRecord, _: Origin) -> str:
    return of_detail(record, "target server") or record.server.name


def _logon_type(record: AuditRecord, _: Origin) -> str:
    name = of_detail(record, "logon type")
    return _LOGON_TYPES.get(name, name)


def _level(record: AuditRecord, _: Origin) -> str:
    name = of_detail(record, "level")
    return _LEVELS.get(name, name)


def _service(record: AuditRecord, _: Origin) -> str:
    return record.operation or record.object_name


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
    "OldTargetUserName": lambda record, _: record.object_name,
    "NewTargetUserName": _detail("new"),
    "AccessGranted": _detail("right"),
    "AccessRemoved": _detail("right"),
    "AppName": _object_server,
    "ClientName": lambda record, _: bare_name(seen(record).name)[1],
    "ClientDomain": _subject_domain,
    "ClientLogonId": lambda record, _: str(seen(record).logon_id),
    "OperationName": lambda record, _: record.operation,
    "MemberName": _detail("member"),
    "MemberSid": _detail("member sid"),
    "SamAccountName": _target,
    "ObjectServer": _object_server,
    "TargetServerName": _target_server,
    "ObjectType": lambda record, _: record.object_type,
    "ObjectName": lambda record, _: record.object_name,
    "HandleId": _hexadecimal("opened by"),
    "AccessList": _access_list,
    "AccessMask": _access,
    "AccessReason": _reasons,
    "PrivilegeList": _privileges,
    "EnabledPrivilegeList": _privileges,
    "RestrictedSidCount": _detail("restricted sids"),
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
    "IpAddress": _address,
    "IpPort": _port,
    "ImpersonationLevel": _level,
    "ProcessId": _hexadecimal("process id"),
    "NewProcessId": _hexadecimal("pid"),
    "ProcessName": _image,
    "NewProcessName": lambda record, _: record.object_name,
    "ParentProcessName": _object_server,
    "CommandLine": _detail("command line"),
    "CategoryId": category_id,
    "SubcategoryId": subcategory_id,
    "SubcategoryGuid": subcategory_guid,
    "AuditPolicyChanges": policy_changes,
}

# Where one name means something else in one event.
_BY_EVENT: Final[dict[tuple[int, str], _Value]] = {
    (4624, "SubjectUserSid"): lambda record, _: str(record.server.sid),
    (4624, "SubjectUserName"): lambda record, _: record.server.name,
    (4624, "SubjectDomainName"): lambda _, origin: origin.host,
    (4624, "SubjectLogonId"): lambda record, _: str(record.server.logon_id),
    (4624, "TargetUserName"): lambda record, _: bare_name(seen(record).name)[1],
    (4625, "SubjectUserSid"): lambda record, _: str(record.server.sid),
    (4625, "SubjectUserName"): lambda record, _: record.server.name,
    (4625, "SubjectDomainName"): lambda _, origin: origin.host,
    (4625, "SubjectLogonId"): lambda record, _: str(record.server.logon_id),
    (4625, "Status"): _logon_status,
    (4634, "TargetUserName"): lambda record, _: bare_name(seen(record).name)[1],
    (4647, "TargetUserName"): _ended_user,
    (4647, "TargetLogonId"): _ended_session,
    (4688, "TargetUserName"): lambda record, _: bare_name(seen(record).name)[1],
    (4689, "Status"): _exit_status,
    (4689, "ProcessId"): _hexadecimal("pid"),
    (4689, "ProcessName"): lambda record, _: record.object_name,
    (4817, "ObjectType"): lambda *_: "Global SACL",
    (4912, "AuditPolicyChanges"): account_changes,
}
