"""The law of the trail for a store's tables: which record announces which write."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Final

from stead.model.audit_record import AuditEvent

_E = AuditEvent
_ENDS: Final = (_E.ACCOUNT_DELETED, _E.GROUP_DELETED)
_SESSIONS_END: Final = (
    _E.LOGOFF_ASKED, _E.ACCOUNT_DISABLED, _E.ACCOUNT_CHANGED, _E.PASSWORD_CHANGED,
    _E.PASSWORD_RESET, *_ENDS,
)  # fmt: skip
ANNOUNCED: Final[Mapping[tuple[str, str], Collection[AuditEvent]]] = MappingProxyType({
    ("principal", "INSERT"): {_E.ACCOUNT_CREATED, _E.GROUP_CREATED},
    ("principal", "UPDATE"): {
        _E.ACCOUNT_ENABLED, _E.ACCOUNT_DISABLED, _E.ACCOUNT_CHANGED, _E.GROUP_CHANGED,
        _E.ACCOUNT_RENAMED,
    },
    ("principal", "DELETE"): {*_ENDS},
    ("membership", "INSERT"): {_E.GROUP_MEMBER_ADDED},
    ("membership", "DELETE"): {_E.GROUP_MEMBER_REMOVED, *_ENDS},
    ("account_right", "INSERT"): {_E.RIGHT_ASSIGNED, _E.LOGON_RIGHT_GRANTED},
    ("account_right", "DELETE"): {_E.RIGHT_REMOVED, _E.LOGON_RIGHT_REMOVED, *_ENDS},
    ("alias", "INSERT"): {_E.ACCOUNT_CHANGED},
    ("alias", "DELETE"): {_E.ACCOUNT_CHANGED, *_ENDS},
    ("password", "INSERT"): {_E.PASSWORD_CHANGED, _E.PASSWORD_RESET},
    ("password", "UPDATE"): {_E.VERIFIER_RENEWED, _E.ACCOUNT_CHANGED},
    ("password", "DELETE"): {_E.PASSWORD_CHANGED, _E.PASSWORD_RESET, *_ENDS},
    ("session_end", "INSERT"): {*_SESSIONS_END},
    ("session_end", "DELETE"): {*_SESSIONS_END},
    ("scram", "INSERT"): {_E.PASSWORD_CHANGED, _E.PASSWORD_RESET, _E.VERIFIER_RENEWED},
    ("scram", "DELETE"): {_E.PASSWORD_CHANGED, _E.PASSWORD_RESET, _E.VERIFIER_RENEWED},
    ("object", "INSERT"): {_E.OBJECT_CREATED},
    ("object", "UPDATE"): {_E.PERMISSIONS_CHANGED, _E.OBJECT_SACL_CHANGED},
    ("object", "DELETE"): {_E.OBJECT_DELETED},
    ("audit_setting", "INSERT"): {_E.AUDIT_POLICY_CHANGED, _E.ACCOUNT_AUDIT_CHANGED},
    ("audit_setting", "DELETE"): {
        _E.AUDIT_POLICY_CHANGED, _E.ACCOUNT_AUDIT_CHANGED, *_ENDS,
    },
    ("global_sacl", "INSERT"): {_E.GLOBAL_SACL_CHANGED},
    ("global_sacl", "DELETE"): {_E.GLOBAL_SACL_CHANGED},
    ("audit_losable", "INSERT"): {_E.AUDIT_POLICY_CHANGED},
    ("audit_losable", "DELETE"): {_E.AUDIT_POLICY_CHANGED},
})  # fmt: skip
"""By table and statement: the events that announce such a write."""

NAMED: Final = frozenset({("principal", "INSERT"), ("object", "INSERT"),
    ("object", "UPDATE"), ("object", "DELETE"), ("global_sacl", "INSERT")})  # fmt: skip
"""Writes whose parameters name what the record names."""

UNWATCHED: Final[Mapping[str, str]] = MappingProxyType({
    "store": "numbers given out; no right or account is among them",
    "scram_key": "a secret that is made with the store, and gives nobody anything",
    "entry": "the trail itself",
    "tree": "the trail's edge, which each append moves",
    "checkpoint": "what the witness signed; nobody gains by it",
    "segment": "sealing gives nobody anything; archiving and removing look at their "
    "own records",
    "sink": "how far the trail was sent",
    "server_process": "a sign of life of a process; nothing is granted by it",
    "live_session": "a list for people to read; nothing is granted by it",
    "logon_failure": "watched the other way round: its record follows",
})  # fmt: skip
"""Tables that no record announces, and why."""

WATCHED: Final = frozenset(table for table, _ in ANNOUNCED)
"""Tables whose writes are announced."""
