"""The letters that SDDL has for kinds of ACE ([MS-DTYP] 2.5.1.1, sddl.h).

Some kinds have none, and so no spelling: the alarms of callbacks, conditional deny and
audit entries about object types, and what is unknown.
"""

from __future__ import annotations

from typing import Final

from stead.model.ace import Ace, AceType, ObjectAce
from stead.model.ace_kinds import ACE_CLASSES

LETTERS: Final[dict[AceType, str]] = {
    AceType.ACCESS_ALLOWED: "A",
    AceType.ACCESS_DENIED: "D",
    AceType.SYSTEM_AUDIT: "AU",
    AceType.SYSTEM_ALARM: "AL",
    AceType.ACCESS_ALLOWED_OBJECT: "OA",
    AceType.ACCESS_DENIED_OBJECT: "OD",
    AceType.SYSTEM_AUDIT_OBJECT: "OU",
    AceType.SYSTEM_ALARM_OBJECT: "OL",
    AceType.ACCESS_ALLOWED_CALLBACK: "XA",
    AceType.ACCESS_DENIED_CALLBACK: "XD",
    AceType.ACCESS_ALLOWED_CALLBACK_OBJECT: "ZA",
    AceType.SYSTEM_AUDIT_CALLBACK: "XU",
    AceType.SYSTEM_MANDATORY_LABEL: "ML",
    AceType.SYSTEM_RESOURCE_ATTRIBUTE: "RA",
    AceType.SYSTEM_SCOPED_POLICY_ID: "SP",
    AceType.SYSTEM_PROCESS_TRUST_LABEL: "TL",
    AceType.SYSTEM_ACCESS_FILTER: "FL",
}
KINDS: Final[dict[str, type[Ace]]] = {
    letters: ACE_CLASSES[number] for number, letters in LETTERS.items()
}

CONDITIONAL: Final = frozenset({"XA", "XD", "ZA", "XU", "FL"})
"""Kinds whose last field is a condition."""


def has_object_types(kind: type[Ace]) -> bool:
    """Tell whether entries of a kind may name object types."""
    return issubclass(kind, ObjectAce)


def letters_of(ace: Ace) -> str | None:
    """Return the letters of an entry's kind, or None if it has none."""
    kind = getattr(ace, "type", None)
    return None if kind is None else LETTERS.get(kind)
