"""The numbers and letters of all kinds of ACE ([MS-DTYP] 2.4.4.1, 2.5.1.1).

`SUPPORTED` kinds are read and judged. The others are known by name, so that a refusal
can say what was found: an entry is never dropped, since a list without its deny entry
grants.
"""

from __future__ import annotations

from typing import Final

from stead.model.ace import AceType

LETTERS: Final[dict[AceType, str]] = {
    AceType.ACCESS_ALLOWED: "A",
    AceType.ACCESS_DENIED: "D",
    AceType.SYSTEM_AUDIT: "AU",
    AceType.SYSTEM_MANDATORY_LABEL: "ML",
}
SUPPORTED: Final[dict[str, AceType]] = {
    letters: kind for kind, letters in LETTERS.items()
}

UNSUPPORTED_NUMBERS: Final[dict[int, str]] = {
    0x03: "SYSTEM_ALARM",
    0x04: "ACCESS_ALLOWED_COMPOUND",
    0x05: "ACCESS_ALLOWED_OBJECT",
    0x06: "ACCESS_DENIED_OBJECT",
    0x07: "SYSTEM_AUDIT_OBJECT",
    0x08: "SYSTEM_ALARM_OBJECT",
    0x09: "ACCESS_ALLOWED_CALLBACK",
    0x0A: "ACCESS_DENIED_CALLBACK",
    0x0B: "ACCESS_ALLOWED_CALLBACK_OBJECT",
    0x0C: "ACCESS_DENIED_CALLBACK_OBJECT",
    0x0D: "SYSTEM_AUDIT_CALLBACK",
    0x0E: "SYSTEM_ALARM_CALLBACK",
    0x0F: "SYSTEM_AUDIT_CALLBACK_OBJECT",
    0x10: "SYSTEM_ALARM_CALLBACK_OBJECT",
    0x12: "SYSTEM_RESOURCE_ATTRIBUTE",
    0x13: "SYSTEM_SCOPED_POLICY_ID",
    0x14: "SYSTEM_PROCESS_TRUST_LABEL",
    0x15: "SYSTEM_ACCESS_FILTER",
}

_UNSUPPORTED_LETTERS: Final[dict[str, int]] = {
    "AL": 0x03,
    "OA": 0x05,
    "OD": 0x06,
    "OU": 0x07,
    "OL": 0x08,
    "XA": 0x09,
    "XD": 0x0A,
    "ZA": 0x0B,
    "XU": 0x0D,
    "RA": 0x12,
    "SP": 0x13,
    "TL": 0x14,
    "FL": 0x15,
}


def name_letters(letters: str) -> str:
    """Say what is wrong with a type's letters that are not `SUPPORTED`."""
    number = _UNSUPPORTED_LETTERS.get(letters)
    if number is None:
        return f"`{letters}` is no type of ace"
    return f"aces of type `{letters}` ({UNSUPPORTED_NUMBERS[number]}) are not supported"


def name_number(number: int) -> str:
    """Say what is wrong with a type's number that is no `AceType`."""
    name = UNSUPPORTED_NUMBERS.get(number)
    if name is None:
        return f"`{number:#04x}` is no type of ace"
    return f"aces of type `{number:#04x}` ({name}) are not supported"
