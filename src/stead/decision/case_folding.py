"""How Windows compares the strings of conditions: by code unit, without regard to case.

Each UTF-16 code unit is put in upper case on its own by a table that Windows has kept
since Unicode 5.1, and the results are ordered as numbers. So pairs that Unicode got
later differ here, and characters outside the basic plane have no case.

>>> fold("straße") == fold("STRASSE"), fold("straße") == fold("STRAßE")
(False, True)
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

# Capitals that have had a small form only since after Unicode 5.1.
_LATER: Final[tuple[range, ...]] = (
    range(0x037F, 0x0380),
    range(0x0524, 0x0530),
    range(0x10C7, 0x10CE),
    range(0x13A0, 0x13F6),
    range(0x1C89, 0x1CC0),
    range(0x2C2F, 0x2C30),
    range(0x2C70, 0x2C71),
    range(0x2C7E, 0x2C80),
    range(0x2CEB, 0x2CF3),
    range(0xA660, 0xA661),
    range(0xA698, 0xA69B),
    range(0xA78D, 0xA800),
)
_FINAL_SIGMA: Final = "\u03c2"
_LAST_OF_BASIC_PLANE: Final = "\uffff"


def fold(text: str) -> str:
    """Return a text in Windows' upper case."""
    return text.upper() if text.isascii() else "".join(map(_upper, text))


def order_key(text: str) -> bytes:
    """Return what orders texts as Windows does: UTF-16 code units as numbers."""
    return text.encode("utf-16-be", "surrogatepass")


@lru_cache(maxsize=1024)
def _upper(character: str) -> str:
    if character > _LAST_OF_BASIC_PLANE:
        return character
    upper = character.upper()
    if len(upper) > 1:
        # Where the full mapping is longer, the simple one is that of titles, if any.
        upper = character.title()
    if len(upper) > 1 or any(ord(upper) in later for later in _LATER):
        return character
    # Windows folds only what has a way back, and the final sigma.
    if upper.lower() != character and character != _FINAL_SIGMA:
        return character
    return upper
