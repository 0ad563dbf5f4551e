"""Which kinds of entry there are, and what each group of them does."""

from __future__ import annotations

from typing import Final

from stead.model.ace import (
    AccessAllowedAce,
    AccessAllowedCallbackAce,
    AccessAllowedCallbackObjectAce,
    AccessAllowedObjectAce,
    AccessDeniedAce,
    AccessDeniedCallbackAce,
    AccessDeniedCallbackObjectAce,
    AccessDeniedObjectAce,
    AccessFilterAce,
    Ace,
    AceType,
    MandatoryLabelAce,
    Place,
    ProcessTrustLabelAce,
    ResourceAttributeAce,
    ScopedPolicyIdAce,
    SystemAlarmAce,
    SystemAlarmCallbackAce,
    SystemAlarmCallbackObjectAce,
    SystemAlarmObjectAce,
    SystemAuditAce,
    SystemAuditCallbackAce,
    SystemAuditCallbackObjectAce,
    SystemAuditObjectAce,
)

ACE_CLASSES: Final[dict[AceType, type[Ace]]] = {
    kind.type: kind
    for kind in (
        AccessAllowedAce, AccessDeniedAce, SystemAuditAce, SystemAlarmAce,
        AccessAllowedObjectAce, AccessDeniedObjectAce,
        SystemAuditObjectAce, SystemAlarmObjectAce,
        AccessAllowedCallbackAce, AccessDeniedCallbackAce,
        AccessAllowedCallbackObjectAce, AccessDeniedCallbackObjectAce,
        SystemAuditCallbackAce, SystemAlarmCallbackAce,
        SystemAuditCallbackObjectAce, SystemAlarmCallbackObjectAce,
        MandatoryLabelAce, ResourceAttributeAce, ScopedPolicyIdAce,
        ProcessTrustLabelAce, AccessFilterAce,
    )
}  # fmt: skip
ALLOW_KINDS: Final = frozenset({
    AccessAllowedAce, AccessAllowedObjectAce,
    AccessAllowedCallbackAce, AccessAllowedCallbackObjectAce,
})  # fmt: skip
DENY_KINDS: Final = frozenset({
    AccessDeniedAce, AccessDeniedObjectAce,
    AccessDeniedCallbackAce, AccessDeniedCallbackObjectAce,
})  # fmt: skip
CALLBACK_KINDS: Final = frozenset({
    AccessAllowedCallbackAce, AccessAllowedCallbackObjectAce,
    AccessDeniedCallbackAce, AccessDeniedCallbackObjectAce,
    SystemAuditCallbackAce, SystemAuditCallbackObjectAce,
    SystemAlarmCallbackAce, SystemAlarmCallbackObjectAce,
})  # fmt: skip
DACL_KINDS: Final = ALLOW_KINDS | DENY_KINDS
"""The kinds that the judge knows; entries of others refuse what they could have."""
SACL_KINDS: Final = frozenset(
    kind for kind in ACE_CLASSES.values() if kind.place is Place.SACL
)
AUDIT_KINDS: Final = frozenset({
    SystemAuditAce, SystemAuditObjectAce,
    SystemAuditCallbackAce, SystemAuditCallbackObjectAce,
})  # fmt: skip
