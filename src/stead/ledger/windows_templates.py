"""The data of Windows' security events: which names, in which order.

Each event's names are those of its template in Windows, as the documentation of the
events (docs.microsoft.com, "Security auditing", event 4624 and so on) lists them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from stead.ledger.exporting import Numbered, Origin
from stead.ledger.windows_values import value_of

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
    4647: "TargetUserSid TargetUserName TargetDomainName TargetLogonId",
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
    4666: (
        "AppName AppInstance ObjectName ScopeName ClientName ClientDomain "
        "ClientLogonId Role Group OperationName OperationId"
    ),
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
    4717: f"{_SUBJECT} TargetSid AccessGranted",
    4718: f"{_SUBJECT} TargetSid AccessRemoved",
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
    4781: (
        "OldTargetUserName NewTargetUserName TargetDomainName TargetSid "
        f"{_SUBJECT} PrivilegeList"
    ),
    4817: f"{_SUBJECT} ObjectServer ObjectType ObjectName OldSd NewSd",
    4907: f"{_OBJECT} OldSd NewSd {_PROCESS}",
    4912: f"{_SUBJECT} TargetUserSid CategoryId SubcategoryId SubcategoryGuid "
    "AuditPolicyChanges",
}

VERSIONS: Final[dict[int, int]] = {4624: 2, 4656: 1, 4663: 1, 4688: 2}
"""The versions of Windows' templates above, where not 0."""


def template_data(numbered: Numbered, origin: Origin) -> Iterator[tuple[str, str]]:
    """Yield names and values of Windows' template for a record's event, in its order.

    An event that Windows does not have, or that is not known here, has none.
    """
    for name in _NAMES.get(int(numbered.record.event), "").split():
        yield name, value_of(name, numbered, origin)
