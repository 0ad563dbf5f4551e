"""What Windows' events say of the audit policy: categories, tasks, what was changed.

Windows names them by parameter messages (`%%8274` is Object Access), which whoever
shows events to people looks up. The numbers are those of the documentation of events
4719 and 4912, and of Windows' own list of messages (msobjs.dll).
"""

from __future__ import annotations

from typing import Final

from stead.ledger.exporting import Origin, of_detail
from stead.model.audit_policy import Category, Subcategory, subcategory_of
from stead.model.audit_record import AuditRecord

# Parameter messages of categories, and the tasks of subcategories, whose messages have
# the same numbers.
_CATEGORIES: Final = {
    Category.SYSTEM: 8272,
    Category.LOGON_LOGOFF: 8273,
    Category.OBJECT_ACCESS: 8274,
    Category.PRIVILEGE_USE: 8275,
    Category.DETAILED_TRACKING: 8276,
    Category.POLICY_CHANGE: 8277,
    Category.ACCOUNT_MANAGEMENT: 8278,
}
_TASKS: Final = {
    Subcategory.SECURITY_STATE_CHANGE: 12288,
    Subcategory.SYSTEM_INTEGRITY: 12290,
    Subcategory.LOGON: 12544,
    Subcategory.LOGOFF: 12545,
    Subcategory.SPECIAL_LOGON: 12548,
    Subcategory.OTHER_LOGON: 12551,
    Subcategory.FILE_SYSTEM: 12800,
    Subcategory.OTHER_OBJECT_ACCESS: 12804,
    Subcategory.APPLICATION_GENERATED: 12806,
    Subcategory.HANDLE_MANIPULATION: 12807,
    Subcategory.SENSITIVE_PRIVILEGE_USE: 13056,
    Subcategory.PROCESS_CREATION: 13312,
    Subcategory.PROCESS_TERMINATION: 13313,
    Subcategory.RPC_EVENTS: 13315,
    Subcategory.TOKEN_RIGHT_ADJUSTED: 13317,
    Subcategory.AUDIT_POLICY_CHANGE: 13568,
    Subcategory.AUTHENTICATION_POLICY_CHANGE: 13569,
    Subcategory.AUTHORIZATION_POLICY_CHANGE: 13570,
    Subcategory.USER_ACCOUNT_MANAGEMENT: 13824,
    Subcategory.SECURITY_GROUP_MANAGEMENT: 13826,
}
# Parameter messages of changes: taken from a setting, and the next one given to it.
_CHANGED: Final = {"success": 8448, "failure": 8450}
_CHANGED_OF_ACCOUNT: Final = {
    ("include", "success"): 8452,
    ("exclude", "success"): 8454,
    ("include", "failure"): 8456,
    ("exclude", "failure"): 8458,
}


def task_of(record: AuditRecord) -> int:
    """Return the task that Windows has for an event: its subcategory; 0 for none."""
    try:
        return _TASKS[subcategory_of(record.event)]
    except KeyError:
        return 0


def _subcategory(record: AuditRecord) -> Subcategory | None:
    """Return which setting of the audit policy a record is about."""
    try:
        return Subcategory(record.object_name)
    except ValueError:
        return None


def category_id(record: AuditRecord, _: Origin) -> str:
    """Return the category whose setting is changed."""
    which = _subcategory(record)
    return "" if which is None else f"%%{_CATEGORIES[which.category]}"


def subcategory_id(record: AuditRecord, _: Origin) -> str:
    """Return the subcategory whose setting is changed."""
    which = _subcategory(record)
    return "" if which is None else f"%%{_TASKS[which]}"


def subcategory_guid(record: AuditRecord, _: Origin) -> str:
    """Return its GUID."""
    which = _subcategory(record)
    return "" if which is None else f"{{{which.guid}}}"


def policy_changes(record: AuditRecord, _: Origin) -> str:
    """Return what of a setting was given and taken; what may be lost, as it is now."""
    old, new = of_detail(record, "old"), of_detail(record, "new")
    if _subcategory(record) is None:
        return new
    changes = [
        first + (flag in new) for flag, first in _CHANGED.items()
        if (flag in old) != (flag in new)
    ]  # fmt: skip
    return ", ".join(f"%%{number}" for number in changes)


def account_changes(record: AuditRecord, _: Origin) -> str:
    """Return what of one account's setting was given and taken."""
    old, new = (_settings(of_detail(record, name)) for name in ("old", "new"))
    changes = [
        first + (flag in new[kind])
        for (kind, flag), first in _CHANGED_OF_ACCOUNT.items()
        if (flag in old[kind]) != (flag in new[kind])
    ]
    return ", ".join(f"%%{number}" for number in changes)


def _settings(text: str) -> dict[str, str]:
    """Return the two halves of `include success, exclude nothing`."""
    included, _, excluded = text.partition(", exclude ")
    return {"include": included, "exclude": excluded}
