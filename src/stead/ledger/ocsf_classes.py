"""Which OCSF class and activity each event is, and what that class asks for.

Numbers are those of OCSF 1.5.0: a class's `uid` is its category times 1000 and more, an
activity's meaning belongs to its class, and 99 is one that OCSF has no number for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

from stead.ledger.exporting import (
    address_of,
    event_name,
    of_detail,
    seen,
    visible,
)
from stead.model.audit_record import AuditEvent, AuditRecord, Principal

OTHER: Final = 99
_LARGEST_CODE: Final = (1 << 31) - 1
_FILE: Final = "File"

Values = dict[str, Any]
UserOf = Callable[[Principal], Values]


@dataclass(frozen=True, slots=True)
class OcsfClass:
    """A class of OCSF, and one of its activities.

    Attributes:
        uid: the class.
        name: its caption.
        category: the category it belongs to.
        activity: what was done, in the class's own numbers.
        activity_name: its caption; empty for an event's own name.
    """

    uid: int
    name: str
    category: int
    activity: int = OTHER
    activity_name: str = ""

    def doing(self, activity: int, name: str) -> OcsfClass:
        """Return the class with an activity that it has a number for."""
        return replace(self, activity=activity, activity_name=name)


BASE: Final = OcsfClass(0, "Base Event", 0)
FILE: Final = OcsfClass(1001, "File System Activity", 1)
PROCESS: Final = OcsfClass(1007, "Process Activity", 1)
ACCOUNT: Final = OcsfClass(3001, "Account Change", 3)
AUTHENTICATION: Final = OcsfClass(3002, "Authentication", 3)
SESSION: Final = OcsfClass(3003, "Authorize Session", 3)
ENTITY: Final = OcsfClass(3004, "Entity Management", 3)
USER_ACCESS: Final = OcsfClass(3005, "User Access Management", 3)
GROUP: Final = OcsfClass(3006, "Group Management", 3)
LIFECYCLE: Final = OcsfClass(6002, "Application Lifecycle", 6)
API: Final = OcsfClass(6003, "API Activity", 6)

# By number: Windows' events among them that this version does not record itself.
_CLASSES: Final[dict[int, OcsfClass]] = {
    1102: ENTITY.doing(4, "Delete"),
    4608: LIFECYCLE.doing(3, "Start"),
    4609: LIFECYCLE.doing(4, "Stop"),
    4624: AUTHENTICATION.doing(1, "Logon"),
    4625: AUTHENTICATION.doing(1, "Logon"),
    4634: AUTHENTICATION.doing(2, "Logoff"),
    4647: AUTHENTICATION.doing(2, "Logoff"),
    4648: AUTHENTICATION,
    4656: API,
    4658: API,
    4660: ENTITY.doing(4, "Delete"),
    4663: API,
    4666: API,
    4670: ENTITY.doing(3, "Update"),
    4672: SESSION.doing(1, "Assign Privileges"),
    4673: API,
    4674: API,
    4688: PROCESS.doing(1, "Launch"),
    4689: PROCESS.doing(2, "Terminate"),
    4703: SESSION.doing(1, "Assign Privileges"),
    4704: USER_ACCESS.doing(1, "Assign Privileges"),
    4705: USER_ACCESS.doing(2, "Revoke Privileges"),
    4717: USER_ACCESS.doing(1, "Assign Privileges"),
    4718: USER_ACCESS.doing(2, "Revoke Privileges"),
    4719: ENTITY.doing(3, "Update"),
    4720: ACCOUNT.doing(1, "Create"),
    4722: ACCOUNT.doing(2, "Enable"),
    4723: ACCOUNT.doing(3, "Password Change"),
    4724: ACCOUNT.doing(4, "Password Reset"),
    4725: ACCOUNT.doing(5, "Disable"),
    4726: ACCOUNT.doing(6, "Delete"),
    4731: GROUP.doing(6, "Create"),
    4732: GROUP.doing(3, "Add User"),
    4733: GROUP.doing(4, "Remove User"),
    4734: GROUP.doing(5, "Delete"),
    4735: GROUP,
    4738: ACCOUNT,
    4740: ACCOUNT.doing(9, "Lock"),
    4767: ACCOUNT.doing(12, "Unlock"),
    4781: ACCOUNT,
    4817: ENTITY.doing(3, "Update"),
    4907: ENTITY.doing(3, "Update"),
    4912: ENTITY.doing(3, "Update"),
    AuditEvent.IMPERSONATION_ENTERED: AUTHENTICATION,
    AuditEvent.IMPERSONATION_LEFT: AUTHENTICATION,
    AuditEvent.IMPERSONATION_REFUSED: AUTHENTICATION,
    AuditEvent.ACTED_AS_SERVER: AUTHENTICATION,
    AuditEvent.OPERATION_REQUESTED: API,
    AuditEvent.OPERATION_ENDED: API,
    AuditEvent.FILE_OPENED: FILE.doing(14, "Open"),
    AuditEvent.IDENTITY_LEAKED: BASE,
    AuditEvent.TRAIL_READ: API.doing(2, "Read"),
    AuditEvent.OBJECT_CREATED: ENTITY.doing(1, "Create"),
    AuditEvent.DECISION_EXPLAINED: API.doing(2, "Read"),
    AuditEvent.RECORDS_LOST: BASE,
    AuditEvent.RAW_ACT_REFUSED: API,
    AuditEvent.CLIENTS_TURNED_AWAY: AUTHENTICATION.doing(1, "Logon"),
    AuditEvent.FUNCTION_RUN: API,
    AuditEvent.FUNCTION_ENDED: API,
    AuditEvent.CONVERSATION_STARTED: API,
    AuditEvent.CONVERSATION_ENDED: API,
    AuditEvent.ADVISE_ENDED: API,
    AuditEvent.WORKER_STARTED: PROCESS.doing(1, "Launch"),
    AuditEvent.WORKER_ENDED: PROCESS.doing(2, "Terminate"),
    AuditEvent.BROKER_ASKED: API,
    AuditEvent.DELEGATED: API,
    AuditEvent.VERIFIER_RENEWED: ACCOUNT,
    AuditEvent.GRANT_USED: API,
    AuditEvent.GRANT_EXPIRED: API.doing(4, "Delete"),
    AuditEvent.GRANT_MADE: API.doing(1, "Create"),
    AuditEvent.GRANT_ENDED: API.doing(4, "Delete"),
}

# What the same events are where the object is a file.
_OF_FILES: Final[dict[int, OcsfClass]] = {
    4656: FILE.doing(14, "Open"),
    4658: FILE,
    4660: FILE.doing(4, "Delete"),
    4663: FILE,
    4670: FILE.doing(7, "Set Security"),
    4907: FILE.doing(7, "Set Security"),
    AuditEvent.OBJECT_CREATED: FILE.doing(1, "Create"),
    AuditEvent.RAW_ACT_REFUSED: FILE.doing(14, "Open"),
}

# [MS-LSAD]: logon types, in OCSF's numbers, which are Windows'.
_LOGON_TYPES: Final = {
    "interactive": (2, "Interactive"),
    "network": (3, "Network"),
    "batch": (4, "Batch"),
    "service": (5, "OS Service"),
    "unlock": (7, "Unlock"),
    "network_cleartext": (8, "Network Cleartext"),
    "new_credentials": (9, "New Credentials"),
}


def class_of(record: AuditRecord) -> OcsfClass:
    """Return the class and activity of a record; `BASE` for what is not known."""
    number = int(record.event)
    if record.object_type == _FILE and number in _OF_FILES:
        return _OF_FILES[number]
    return _CLASSES.get(number, BASE)


def fill(kind: OcsfClass, record: AuditRecord, user_of: UserOf) -> Values:
    """Return what a class asks for beside what every event has."""
    return _FILLERS[kind.uid](record, user_of)


def _nothing(*_: object) -> Values:
    return {}


def _file(record: AuditRecord, _: UserOf) -> Values:
    path = visible(record.object_name)
    name = path.rpartition("/")[2] or path
    return {"file": {"name": name, "path": path, "type_id": 0, "type": "Unknown"}}


def _process(record: AuditRecord, user_of: UserOf) -> Values:
    process: Values = {"uid": visible(record.object_name or "unknown")}
    if record.object_name:
        path = visible(record.object_name)
        process["name"] = path.rpartition("/")[2] or path
        process["path"] = path
    pid = _number(of_detail(record, "pid"))
    if pid is not None:
        process["pid"] = pid
    process["user"] = user_of(seen(record))
    code = _number(of_detail(record, "exit code"))
    return {"process": process} | ({} if code is None else {"exit_code": code})


def _account(record: AuditRecord, _: UserOf) -> Values:
    return {"user": _named(record.object_name, of_detail(record, "sid"))}


def _authentication(record: AuditRecord, user_of: UserOf) -> Values:
    values: Values = {
        "user": _whose_logon(record, user_of),
        "service": {
            "name": visible(record.server.name or "unknown"),
            "uid": str(record.server.sid),
        },
        "is_remote": record.gate not in {"", "pipe", "local"},
    }
    number, caption = _LOGON_TYPES.get(of_detail(record, "logon type"), (0, ""))
    if number:
        values |= {"logon_type_id": number, "logon_type": caption}
    if record.client is not None and record.client.logon_id:
        values["session"] = {"uid": str(record.client.logon_id)}
    package = of_detail(record, "package", "authenticated by")
    if package:
        values |= {"auth_protocol_id": OTHER, "auth_protocol": visible(package)}
    count = _number(of_detail(record, "count"))
    return values | _endpoint(record) | ({} if count is None else {"count": count})


def _whose_logon(record: AuditRecord, user_of: UserOf) -> Values:
    """Return who is logged on or off: who acts, or whom they name."""
    if record.event == AuditEvent.EXPLICIT_CREDENTIALS and record.object_name:
        return _named(record.object_name, "")
    account = of_detail(record, "account")
    if record.event == AuditEvent.LOGOFF_ASKED and account:
        return _named(account, of_detail(record, "sid"))
    return user_of(seen(record))


def _session(record: AuditRecord, user_of: UserOf) -> Values:
    values: Values = {"user": user_of(seen(record)), "privileges": _privileges(record)}
    if record.client is not None and record.client.logon_id:
        values["session"] = {"uid": str(record.client.logon_id)}
    return values


def _entity(record: AuditRecord, _: UserOf) -> Values:
    entity: Values = {"name": visible(record.object_name or event_name(record))}
    kind = visible(record.object_type)
    entity |= {"type_id": OTHER, "type": kind} if kind else {"type_id": 0}
    values: Values = {"entity": entity}
    old, new = of_detail(record, "old"), of_detail(record, "new")
    if old or new:
        values["comment"] = visible(f"old: {old}; new: {new}")
    return values


def _user_access(record: AuditRecord, user_of: UserOf) -> Values:
    return _account(record, user_of) | {"privileges": _privileges(record)}


def _group(record: AuditRecord, _: UserOf) -> Values:
    group = {"name": visible(record.object_name or "unknown")}
    sid = of_detail(record, "sid")
    values: Values = {"group": group | ({"uid": visible(sid)} if sid else {})}
    member = of_detail(record, "member")
    if member:
        values["user"] = _named(member, of_detail(record, "member sid"))
    return values


def _lifecycle(record: AuditRecord, _: UserOf) -> Values:
    name = visible(record.server.name or "unknown")
    return {"app": {"name": name, "uid": str(record.server.sid), "vendor_name": "-"}}


def _api(record: AuditRecord, _: UserOf) -> Values:
    operation = visible(record.operation) or event_name(record)
    values: Values = {
        "api": {
            "operation": operation,
            "service": {
                "name": visible(record.server.name or "unknown"),
                "uid": str(record.server.sid),
            },
        },
        **_endpoint(record),
    }
    if record.object_name:
        resource = {"name": visible(record.object_name)}
        kind = {"type": visible(record.object_type)} if record.object_type else {}
        values["resources"] = [resource | kind]
    return values


def _endpoint(record: AuditRecord) -> Values:
    """Return where a request came from, as far as the gate knows."""
    name = record.peer or record.gate or "local"
    service: Values = {"svc_name": visible(record.gate)} if record.gate else {}
    address = address_of(record)
    if address is not None:
        service |= {"ip": address[0], "port": address[1]}
    return {"src_endpoint": {"name": visible(name), **service}}


def _named(name: str, sid: str) -> Values:
    shown = visible(name or "unknown")
    uid = visible(sid or name or "unknown")
    account = {"name": shown, "uid": uid, "type_id": OTHER, "type": "Stead"}
    return {"name": shown, "uid": uid, "type_id": 0, "account": account}


def _privileges(record: AuditRecord) -> list[str]:
    named = record.privileges or of_detail(record, "right").split()
    return [visible(name) for name in named] or ["unknown"]


def _number(text: str) -> int | None:
    """Return a number that OCSF's 32 bits hold; None for anything else."""
    if not (text.isascii() and text.isdigit() and len(text) <= len(f"{1 << 31}")):
        return None
    return number if (number := int(text)) <= _LARGEST_CODE else None


_FILLERS: Final[dict[int, Callable[[AuditRecord, UserOf], Values]]] = {
    BASE.uid: _nothing,
    FILE.uid: _file,
    PROCESS.uid: _process,
    ACCOUNT.uid: _account,
    AUTHENTICATION.uid: _authentication,
    SESSION.uid: _session,
    ENTITY.uid: _entity,
    USER_ACCESS.uid: _user_access,
    GROUP.uid: _group,
    LIFECYCLE.uid: _lifecycle,
    API.uid: _api,
}
