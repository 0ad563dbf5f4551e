"""What is recorded beyond what always is (Windows: the audit policy).

Categories and subcategories are Windows' own (`auditpol /list`, [MS-GPAC] 2.2.1.2), as
far as Stead has events of them. An account may be included or excluded beside what is
said for everybody (`auditpol /set /user`); to be excluded means nothing for members of
Administrators.

Windows can switch off nearly everything. Here the law of the trail comes first: no act
for a client, no change of security state and no refusal lacks its record, whatever the
policy says. So a setting is taken only where there is something that it can leave out
(`OPTIONAL`), and what is left out is what somebody asks for twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum, IntFlag
from types import MappingProxyType
from typing import Final

from stead.errors import InvalidRequestError
from stead.model.acl import Acl
from stead.model.audit_record import AuditEvent, Outcome
from stead.model.guid import Guid
from stead.model.sid import Sid


class Auditing(IntFlag):
    """Which outcomes are recorded; the values are Windows' (POLICY_AUDIT_EVENT_*)."""

    NONE = 0
    SUCCESS = 1
    FAILURE = 2


EVERYTHING: Final = Auditing.SUCCESS | Auditing.FAILURE


class Category(Enum):
    """Windows' categories of events."""

    SYSTEM = "System"
    LOGON_LOGOFF = "Logon/Logoff"
    OBJECT_ACCESS = "Object Access"
    PRIVILEGE_USE = "Privilege Use"
    DETAILED_TRACKING = "Detailed Tracking"
    POLICY_CHANGE = "Policy Change"
    ACCOUNT_MANAGEMENT = "Account Management"


class Subcategory(Enum):
    """Windows' subcategories, by name."""

    SECURITY_STATE_CHANGE = "Security State Change"
    SYSTEM_INTEGRITY = "System Integrity"
    LOGON = "Logon"
    LOGOFF = "Logoff"
    SPECIAL_LOGON = "Special Logon"
    OTHER_LOGON = "Other Logon/Logoff Events"
    FILE_SYSTEM = "File System"
    APPLICATION_GENERATED = "Application Generated"
    HANDLE_MANIPULATION = "Handle Manipulation"
    OTHER_OBJECT_ACCESS = "Other Object Access Events"
    SENSITIVE_PRIVILEGE_USE = "Sensitive Privilege Use"
    PROCESS_CREATION = "Process Creation"
    PROCESS_TERMINATION = "Process Termination"
    RPC_EVENTS = "RPC Events"
    TOKEN_RIGHT_ADJUSTED = "Token Right Adjusted Events"  # noqa: S105 - a name
    AUDIT_POLICY_CHANGE = "Audit Policy Change"
    AUTHENTICATION_POLICY_CHANGE = "Authentication Policy Change"
    AUTHORIZATION_POLICY_CHANGE = "Authorization Policy Change"
    USER_ACCOUNT_MANAGEMENT = "User Account Management"
    SECURITY_GROUP_MANAGEMENT = "Security Group Management"

    @property
    def category(self) -> Category:
        """The category that it is part of."""
        return _OF[self][0]

    @property
    def guid(self) -> Guid:
        """The GUID by which Windows' tools know it."""
        return Guid.from_string(f"0CCE{_OF[self][1]:04X}-{_GUID_TAIL}")

    @property
    def events(self) -> tuple[AuditEvent, ...]:
        """The events that belong to it."""
        return _EVENTS[self]


_GUID_TAIL: Final = "69AE-11D9-BED3-505054503030"
_C, _S, _E = Category, Subcategory, AuditEvent
_OF: Final[Mapping[Subcategory, tuple[Category, int]]] = MappingProxyType({
    _S.SECURITY_STATE_CHANGE: (_C.SYSTEM, 0x9210),
    _S.SYSTEM_INTEGRITY: (_C.SYSTEM, 0x9212),
    _S.LOGON: (_C.LOGON_LOGOFF, 0x9215),
    _S.LOGOFF: (_C.LOGON_LOGOFF, 0x9216),
    _S.SPECIAL_LOGON: (_C.LOGON_LOGOFF, 0x921B),
    _S.OTHER_LOGON: (_C.LOGON_LOGOFF, 0x921C),
    _S.FILE_SYSTEM: (_C.OBJECT_ACCESS, 0x921D),
    _S.APPLICATION_GENERATED: (_C.OBJECT_ACCESS, 0x9222),
    _S.HANDLE_MANIPULATION: (_C.OBJECT_ACCESS, 0x9223),
    _S.OTHER_OBJECT_ACCESS: (_C.OBJECT_ACCESS, 0x9227),
    _S.SENSITIVE_PRIVILEGE_USE: (_C.PRIVILEGE_USE, 0x9228),
    _S.PROCESS_CREATION: (_C.DETAILED_TRACKING, 0x922B),
    _S.PROCESS_TERMINATION: (_C.DETAILED_TRACKING, 0x922C),
    _S.RPC_EVENTS: (_C.DETAILED_TRACKING, 0x922E),
    _S.TOKEN_RIGHT_ADJUSTED: (_C.DETAILED_TRACKING, 0x924A),
    _S.AUDIT_POLICY_CHANGE: (_C.POLICY_CHANGE, 0x922F),
    _S.AUTHENTICATION_POLICY_CHANGE: (_C.POLICY_CHANGE, 0x9230),
    _S.AUTHORIZATION_POLICY_CHANGE: (_C.POLICY_CHANGE, 0x9231),
    _S.USER_ACCOUNT_MANAGEMENT: (_C.ACCOUNT_MANAGEMENT, 0x9235),
    _S.SECURITY_GROUP_MANAGEMENT: (_C.ACCOUNT_MANAGEMENT, 0x9237),
})  # fmt: skip
_EVENTS: Final[Mapping[Subcategory, tuple[AuditEvent, ...]]] = MappingProxyType({
    _S.SECURITY_STATE_CHANGE: (_E.TRAIL_STARTED, _E.TRAIL_STOPPED),
    _S.SYSTEM_INTEGRITY: (
        _E.RECORDS_LOST, _E.IDENTITY_LEAKED, _E.CLIENTS_TURNED_AWAY,
        _E.TRAIL_CLEARED, _E.TRAIL_FULL, _E.TRAIL_ARCHIVED, _E.TRAIL_FAILED,
        _E.WITNESS_REPORTED, _E.SINK_DOWN, _E.SINK_UP, _E.SINK_BEGAN_ANEW,
        _E.RECORDS_NOT_SENT, _E.RECORD_UNREADABLE,
    ),
    _S.LOGON: (_E.LOGON, _E.LOGON_FAILED, _E.EXPLICIT_CREDENTIALS),
    _S.LOGOFF: (_E.LOGOFF, _E.LOGOFF_ASKED),
    _S.SPECIAL_LOGON: (_E.SPECIAL_PRIVILEGES,),
    _S.OTHER_LOGON: (
        _E.CONVERSATION_STARTED, _E.CONVERSATION_ENDED,
        _E.ADVISE_ENDED, _E.IMPERSONATION_ENTERED, _E.IMPERSONATION_LEFT,
        _E.IMPERSONATION_REFUSED, _E.ACTED_AS_SERVER, _E.GRANT_MADE, _E.GRANT_USED,
        _E.GRANT_ENDED, _E.GRANT_EXPIRED, _E.DELEGATED, _E.BROKER_ASKED,
    ),
    _S.FILE_SYSTEM: (_E.FILE_OPENED, _E.RAW_ACT_REFUSED),
    _S.APPLICATION_GENERATED: (
        _E.OBJECT_ACCESS, _E.APPLICATION_OPERATION, _E.OBJECT_CREATED,
        _E.OBJECT_DELETED, _E.DECISION_EXPLAINED,
    ),
    _S.HANDLE_MANIPULATION: (_E.HANDLE_REQUESTED, _E.HANDLE_CLOSED),
    _S.OTHER_OBJECT_ACCESS: (_E.TRAIL_READ,),
    _S.SENSITIVE_PRIVILEGE_USE: (_E.PRIVILEGED_SERVICE, _E.PRIVILEGED_OBJECT),
    _S.PROCESS_CREATION: (_E.PROCESS_CREATED, _E.WORKER_STARTED),
    _S.PROCESS_TERMINATION: (_E.PROCESS_EXITED, _E.WORKER_ENDED),
    _S.RPC_EVENTS: (
        _E.OPERATION_REQUESTED, _E.OPERATION_ENDED, _E.FUNCTION_RUN, _E.FUNCTION_ENDED,
    ),
    _S.TOKEN_RIGHT_ADJUSTED: (_E.PRIVILEGES_ADJUSTED,),
    _S.AUDIT_POLICY_CHANGE: (
        _E.AUDIT_POLICY_CHANGED, _E.ACCOUNT_AUDIT_CHANGED, _E.GLOBAL_SACL_CHANGED,
        _E.OBJECT_SACL_CHANGED,
    ),
    _S.AUTHENTICATION_POLICY_CHANGE: (_E.LOGON_RIGHT_GRANTED, _E.LOGON_RIGHT_REMOVED),
    _S.AUTHORIZATION_POLICY_CHANGE: (
        _E.PERMISSIONS_CHANGED, _E.RIGHT_ASSIGNED, _E.RIGHT_REMOVED,
    ),
    _S.USER_ACCOUNT_MANAGEMENT: (
        _E.ACCOUNT_CREATED, _E.ACCOUNT_ENABLED, _E.PASSWORD_CHANGED, _E.PASSWORD_RESET,
        _E.ACCOUNT_DISABLED, _E.ACCOUNT_DELETED, _E.ACCOUNT_CHANGED,
        _E.ACCOUNT_LOCKED_OUT, _E.ACCOUNT_UNLOCKED, _E.ACCOUNT_RENAMED,
        _E.VERIFIER_RENEWED,
    ),
    _S.SECURITY_GROUP_MANAGEMENT: (
        _E.GROUP_CREATED, _E.GROUP_MEMBER_ADDED, _E.GROUP_MEMBER_REMOVED,
        _E.GROUP_DELETED, _E.GROUP_CHANGED,
    ),
})  # fmt: skip
_SUBCATEGORY: Final[Mapping[AuditEvent, Subcategory]] = MappingProxyType(
    {event: sub for sub, events in _EVENTS.items() for event in events}
)

OPTIONAL: Final[Mapping[AuditEvent, Auditing]] = MappingProxyType({
    _E.OBJECT_ACCESS: EVERYTHING,
    _E.HANDLE_CLOSED: Auditing.SUCCESS,
    _E.IMPERSONATION_LEFT: Auditing.SUCCESS,
    _E.CONVERSATION_ENDED: Auditing.SUCCESS,
    _E.ADVISE_ENDED: Auditing.SUCCESS,
    _E.SPECIAL_PRIVILEGES: Auditing.SUCCESS,
    _E.TRAIL_READ: Auditing.SUCCESS,
})  # fmt: skip
"""What the policy may leave out, where whoever records it says that it may.

Of OBJECT_ACCESS that is what a SACL alone asks for: answers of `server.check`, which
does nothing, and uses of a handle whose opening is recorded. The others tell the end of
what was announced, or repeat it.
"""

BY_ACCOUNT_ONLY: Final = frozenset({_E.TRAIL_READ})
"""What can be left out for a named account (whoever collects the trail), and never for
everybody. That the trail's object was opened is recorded all the same."""

LOSABLE: Final = frozenset({
    _E.HANDLE_REQUESTED, _E.HANDLE_CLOSED, _E.OBJECT_ACCESS, _E.FILE_OPENED,
    _E.OPERATION_REQUESTED, _E.OPERATION_ENDED, _E.APPLICATION_OPERATION,
    _E.IMPERSONATION_ENTERED, _E.IMPERSONATION_LEFT, _E.CONVERSATION_STARTED,
    _E.CONVERSATION_ENDED, _E.ADVISE_ENDED, _E.TRAIL_READ, _E.DECISION_EXPLAINED,
    _E.GRANT_USED,
})  # fmt: skip
"""What an administrator may put availability before: while the trail cannot be written,
these may be lost, counted and reported. No change of security state is among them, no
logon, and nothing that starts a process."""


@dataclass(frozen=True, slots=True)
class AccountAuditing:
    """What is recorded of one account beside, or in spite of, what is of everybody.

    Attributes:
        included: outcomes that are recorded of it.
        excluded: outcomes that are not.
    """

    included: Auditing = Auditing.NONE
    excluded: Auditing = Auditing.NONE


def subcategory_of(event: AuditEvent) -> Subcategory:
    """Return the subcategory that an event belongs to."""
    return _SUBCATEGORY[event]


def can_leave_out(subcategory: Subcategory, *, of_account: bool) -> Auditing:
    """Return the outcomes of which a subcategory's setting can leave anything out.

    Args:
        subcategory: which.
        of_account: whether the setting is one account's.
    """
    found = Auditing.NONE
    for event in subcategory.events:
        if of_account or event not in BY_ACCOUNT_ONLY:
            found |= OPTIONAL.get(event, Auditing.NONE)
    return found


@dataclass(frozen=True, slots=True)
class AuditPolicy:
    """A store's audit policy; what is not said is recorded.

    Attributes:
        settings: what is recorded of everybody, by subcategory, where it is not all.
        accounts: what is recorded of single accounts.
        global_sacls: by kind of object, the audit entries that count as if they stood
            in the SACL of each object of the kind (Global Object Access Auditing).
        losable: events that may be lost while the trail cannot be written.
    """

    settings: Mapping[Subcategory, Auditing] = field(default_factory=dict)
    accounts: Mapping[tuple[Sid, Subcategory], AccountAuditing] = field(
        default_factory=dict
    )
    global_sacls: Mapping[str, Acl] = field(default_factory=dict)
    losable: frozenset[AuditEvent] = frozenset()

    @property
    def leaves_nothing_out(self) -> bool:
        """Whether everything is recorded, of everybody."""
        return not self.settings and not self.accounts

    def of(self, subcategory: Subcategory) -> Auditing:
        """Return what is recorded of everybody."""
        return self.settings.get(subcategory, EVERYTHING)

    def of_account(self, sid: Sid, subcategory: Subcategory) -> AccountAuditing:
        """Return what is said for one account."""
        return self.accounts.get((sid, subcategory), AccountAuditing())

    def wants(
        self, event: AuditEvent, outcome: Outcome, user: Sid, *, is_administrator: bool
    ) -> bool:
        """Tell whether something that may be left out is to be recorded.

        Args:
            event: what happened.
            outcome: how it came out.
            user: on whose behalf.
            is_administrator: whether it is a member of Administrators, for whom to be
                excluded means nothing.
        """
        if self.leaves_nothing_out:
            return True
        flag = Auditing.SUCCESS if outcome is Outcome.SUCCESS else Auditing.FAILURE
        if not OPTIONAL.get(event, Auditing.NONE) & flag:
            return True
        subcategory = subcategory_of(event)
        everybody = EVERYTHING if event in BY_ACCOUNT_ONLY else self.of(subcategory)
        own = self.of_account(user, subcategory)
        excluded = Auditing.NONE if is_administrator else own.excluded
        return bool((everybody & ~excluded | own.included) & flag)

    def with_setting(self, subcategory: Subcategory, wanted: Auditing) -> AuditPolicy:
        """Return the policy with another setting for everybody.

        Raises:
            InvalidRequestError: it would leave out what is always recorded.
        """
        _require_optional(subcategory, EVERYTHING & ~wanted, of_account=False)
        return replace(self, settings={**self.settings, subcategory: wanted})

    def with_account(
        self, sid: Sid, subcategory: Subcategory, wanted: AccountAuditing
    ) -> AuditPolicy:
        """Return the policy with another setting for one account.

        Raises:
            InvalidRequestError: it would leave out what is always recorded, or both
                includes and excludes the same.
        """
        _require_optional(subcategory, wanted.excluded, of_account=True)
        if wanted.included & wanted.excluded:
            raise InvalidRequestError("what is included cannot be excluded too")
        kept = {**self.accounts, (sid, subcategory): wanted}
        if wanted == AccountAuditing():
            del kept[sid, subcategory]
        return replace(self, accounts=kept)

    def with_losable(self, events: frozenset[AuditEvent]) -> AuditPolicy:
        """Return the policy with other events that may be lost.

        Raises:
            InvalidRequestError: one of them never may.
        """
        for event in sorted(events - LOSABLE):
            raise InvalidRequestError(
                f"event {event.name.lower()} is never lost",
                advice="what changes security, logs on or starts something waits for "
                "its record",
            )
        return replace(self, losable=events)


def _require_optional(
    subcategory: Subcategory, left_out: Auditing, *, of_account: bool
) -> None:
    may = can_leave_out(subcategory, of_account=of_account)
    if left_out & ~may:
        words = " and ".join(
            flag.name.lower()
            for flag in Auditing
            if flag & left_out & ~may and flag.name
        )
        raise InvalidRequestError(
            f"{words} of `{subcategory.value}` is always recorded",
            advice="acts for clients, changes of security and refusals have their "
            "record, whatever the policy says; see docs/trail.md",
        )
