"""Audit records: who asked whom for what on whose behalf, and what came of it.

Windows' events keep their numbers and are named after them; what Windows has no event
for has a number of ours, from 100000. Every record names the client, the server and
the whole chain between them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, IntEnum

from stead.model.luid import NO_LUID, Luid
from stead.model.sid import Sid


class AuditEvent(IntEnum):
    """What happened. Below 100000: the Windows security event of that number."""

    TRAIL_CLEARED = 1102
    TRAIL_FULL = 1104
    TRAIL_ARCHIVED = 1105
    TRAIL_FAILED = 1108
    TRAIL_STARTED = 4608
    TRAIL_STOPPED = 4609
    LOGON = 4624
    LOGON_FAILED = 4625
    LOGOFF = 4634
    LOGOFF_ASKED = 4647
    EXPLICIT_CREDENTIALS = 4648
    HANDLE_REQUESTED = 4656
    HANDLE_CLOSED = 4658
    OBJECT_DELETED = 4660
    OBJECT_ACCESS = 4663
    APPLICATION_OPERATION = 4666
    PERMISSIONS_CHANGED = 4670
    SPECIAL_PRIVILEGES = 4672
    PRIVILEGED_SERVICE = 4673
    PRIVILEGED_OBJECT = 4674
    PROCESS_CREATED = 4688
    PROCESS_EXITED = 4689
    PRIVILEGES_ADJUSTED = 4703
    RIGHT_ASSIGNED = 4704
    RIGHT_REMOVED = 4705
    LOGON_RIGHT_GRANTED = 4717
    LOGON_RIGHT_REMOVED = 4718
    AUDIT_POLICY_CHANGED = 4719
    ACCOUNT_CREATED = 4720
    ACCOUNT_ENABLED = 4722
    PASSWORD_CHANGED = 4723
    PASSWORD_RESET = 4724
    ACCOUNT_DISABLED = 4725
    ACCOUNT_DELETED = 4726
    GROUP_CREATED = 4731
    GROUP_MEMBER_ADDED = 4732
    GROUP_MEMBER_REMOVED = 4733
    GROUP_DELETED = 4734
    GROUP_CHANGED = 4735
    ACCOUNT_CHANGED = 4738
    ACCOUNT_LOCKED_OUT = 4740
    ACCOUNT_UNLOCKED = 4767
    ACCOUNT_RENAMED = 4781
    GLOBAL_SACL_CHANGED = 4817
    OBJECT_SACL_CHANGED = 4907
    ACCOUNT_AUDIT_CHANGED = 4912
    IMPERSONATION_ENTERED = 100_001
    IMPERSONATION_LEFT = 100_002
    IMPERSONATION_REFUSED = 100_003
    ACTED_AS_SERVER = 100_004
    OPERATION_REQUESTED = 100_005
    OPERATION_ENDED = 100_006
    FILE_OPENED = 100_007
    IDENTITY_LEAKED = 100_008
    TRAIL_READ = 100_009
    OBJECT_CREATED = 100_010
    DECISION_EXPLAINED = 100_011
    RECORDS_LOST = 100_012
    RAW_ACT_REFUSED = 100_013
    CLIENTS_TURNED_AWAY = 100_014
    FUNCTION_RUN = 100_015
    FUNCTION_ENDED = 100_016
    CONVERSATION_STARTED = 100_017
    CONVERSATION_ENDED = 100_018
    ADVISE_ENDED = 100_019
    GRANT_MADE = 100_030
    GRANT_ENDED = 100_031
    WITNESS_REPORTED = 100_060
    SINK_DOWN = 100_090
    SINK_UP = 100_091
    SINK_BEGAN_ANEW = 100_092
    RECORDS_NOT_SENT = 100_093
    RECORD_UNREADABLE = 100_094
    GRANT_USED = 100_032
    GRANT_EXPIRED = 100_033
    WORKER_STARTED = 100_040
    WORKER_ENDED = 100_041
    BROKER_ASKED = 100_042
    DELEGATED = 100_043
    VERIFIER_RENEWED = 100_044


class Outcome(Enum):
    """How it came out."""

    SUCCESS = "success"
    FAILURE = "failure"


@dataclass(frozen=True, slots=True)
class Principal:
    """Somebody in a record.

    Attributes:
        sid: who.
        name: the name at that time, for people.
        logon_id: their logon session; 0 where there is none.
    """

    sid: Sid
    name: str
    logon_id: Luid = NO_LUID


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRecord:
    """One line of the trail, before the ledger numbers and chains it.

    Attributes:
        event: what happened.
        outcome: how it came out.
        time: nanoseconds since the epoch, UTC.
        server: whose process did it.
        client: on whose behalf; None for acts of the server itself.
        chain: everybody between, from the server to the client, both included.
        gate: how the client came: `pipe`, `http`, `local`; empty if it did not.
        peer: what the gate knows of the other end, such as `uid 1000 pid 42`.
        correlation: the request, as a traceparent of W3C Trace Context, and after a
            space the client's own name for it, if it has one.
        operation: the operation that was asked for, or in which this was done.
        object_type: the kind of object, such as `Doc`.
        object_name: the object, as the server names it.
        desired: rights asked for.
        granted: rights granted.
        privileges: Win32 names of privileges used or missing.
        reasons: why, one sentence each, the deciding entry in SDDL.
        status: the Win32 status of the outcome; 0 for success.
        detail: more, by name; values are text, never a secret.
    """

    event: AuditEvent
    outcome: Outcome
    time: int
    server: Principal
    client: Principal | None = None
    chain: tuple[Principal, ...] = ()
    gate: str = ""
    peer: str = ""
    correlation: str = ""
    operation: str = ""
    object_type: str = ""
    object_name: str = ""
    desired: int = 0
    granted: int = 0
    privileges: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    status: int = 0
    detail: dict[str, str] = field(default_factory=dict)
