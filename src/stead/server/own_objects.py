"""The objects that guard the server itself: their names, and the rights to them."""

from __future__ import annotations

from typing import Final

from stead.model.access_mask import Rights


class AccountDatabase(Rights):
    """Rights to the store's accounts, groups, rights and live sessions."""

    READ = 0x1
    WRITE = 0x2


class AuditTrail(Rights):
    """Rights to the audit trail."""

    READ = 0x1
    CLEAR = 0x2


class AuditSettings(Rights):
    """Rights to the audit policy (Win32: AUDIT_QUERY_..., AUDIT_SET_SYSTEM_POLICY)."""

    READ = 0x1
    WRITE = 0x2


ACCOUNTS: Final = "stead:accounts"
TRAIL: Final = "stead:trail"
AUDIT_POLICY: Final = "stead:audit policy"
OWN: Final = "stead:"
"""What their names begin with; what is called so is never deleted."""

OWN_OBJECTS: Final[dict[str, type[Rights]]] = {
    ACCOUNTS: AccountDatabase,
    TRAIL: AuditTrail,
    AUDIT_POLICY: AuditSettings,
}
