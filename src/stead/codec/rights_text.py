"""Access masks as SDDL spells them ([MS-DTYP] 2.5.1.1).

A mask is letters (`GRGX`) or a number, and is printed as Windows prints it. Numbers are
read as the C library reads them, which is what Windows does: hexadecimal, octal or
decimal, a sign wraps, and what is too large becomes the largest.
"""

from __future__ import annotations

import re
from typing import Final

from stead.codec.cursor import Cursor
from stead.model.access_mask import VALID_MASK
from stead.model.ace import AceType

_MOST_DIGITS: Final = 24  # octal needs 11; a longer number is too large

# In the order of their bits, which is the order Windows prints them in.
_BITS: Final[dict[str, int]] = {
    "CC": 0x0000_0001,
    "DC": 0x0000_0002,
    "LC": 0x0000_0004,
    "SW": 0x0000_0008,
    "RP": 0x0000_0010,
    "WP": 0x0000_0020,
    "DT": 0x0000_0040,
    "LO": 0x0000_0080,
    "CR": 0x0000_0100,
    "SD": 0x0001_0000,
    "RC": 0x0002_0000,
    "WD": 0x0004_0000,
    "WO": 0x0008_0000,
    "GA": 0x1000_0000,
    "GX": 0x2000_0000,
    "GW": 0x4000_0000,
    "GR": 0x8000_0000,
}
# Printed only for the whole mask. KX equals KR, which is the one printed.
_WHOLE: Final[dict[str, int]] = {
    "FA": 0x001F_01FF,
    "FR": 0x0012_0089,
    "FW": 0x0012_0116,
    "FX": 0x0012_00A0,
    "KA": 0x000F_003F,
    "KR": 0x0002_0019,
    "KW": 0x0002_0006,
}
_LABEL: Final[dict[str, int]] = {"NW": 0x1, "NR": 0x2, "NX": 0x4}
_RIGHTS: Final[dict[str, int]] = {**_BITS, **_WHOLE, "KX": 0x0002_0019}
_WHOLE_NAMES: Final[dict[int, str]] = {mask: name for name, mask in _WHOLE.items()}

_NUMBER: Final = re.compile(
    r"(-?)(?:0x([0-9a-f]+)|(0[0-7]*)|([1-9][0-9]*))(?=;)", re.IGNORECASE | re.ASCII
)
_PAIR: Final = re.compile(r"[a-z]{2}", re.IGNORECASE | re.ASCII)


def read_mask_here(cursor: Cursor, kind: AceType) -> int:
    """Read the mask that stands at the cursor, up to its semicolon.

    Args:
        cursor: where the mask begins, after spaces.
        kind: the kind of ACE: a label's mask has letters of its own.

    Raises:
        InvalidSddlError: the mask is neither letters nor a number.
    """
    found = cursor.match(_NUMBER)
    if found is not None:
        return _from_number(found)
    names = _LABEL if kind is AceType.SYSTEM_MANDATORY_LABEL else _RIGHTS
    mask = 0
    while not cursor.take(";"):
        mask |= _right_here(cursor, names)
    cursor.position -= 1
    return mask


def _right_here(cursor: Cursor, names: dict[str, int]) -> int:
    cursor.skip_spaces()
    start = cursor.position
    found = cursor.match(_PAIR)
    bits = None if found is None else names.get(found[0].upper())
    if bits is None:
        raise cursor.error("expected a right or a number", at=start)
    return bits


def _from_number(found: re.Match[str]) -> int:
    sign, hexadecimal, octal, decimal = found.groups()
    base, digits = (
        (16, hexadecimal) if hexadecimal else (8, octal) if octal else (10, decimal)
    )
    digits = digits.lstrip("0") or "0"
    value = VALID_MASK if len(digits) > _MOST_DIGITS else int(digits, base)
    value = min(value, VALID_MASK)
    return -value & VALID_MASK if sign else value


def mask_to_sddl(mask: int, kind: AceType) -> str:
    """Print a mask as Windows does: a name for the whole, letters, or hexadecimal.

    Args:
        mask: the rights, 32 bits.
        kind: the kind of ACE: a label's mask has letters of its own.
    """
    label = kind is AceType.SYSTEM_MANDATORY_LABEL
    if not label and mask in _WHOLE_NAMES:
        return _WHOLE_NAMES[mask]
    letters, left = [], mask
    for name, bit in (_LABEL if label else _BITS).items():
        if mask & bit:
            letters.append(name)
            left &= ~bit
    return f"{mask:#x}" if left else "".join(letters)
