"""SIDs as SDDL spells them ([MS-DTYP] 2.4.2.1, 2.5.1.1), read as Windows reads them.

Windows reads more than the specification's grammar: any case, leading zeros,
hexadecimal numbers, a hexadecimal revision that makes all later numbers hexadecimal,
sub-authorities too large, which become the largest one, and spaces before the revision
and the authority. Recorded behavior is
followed here, where text was written for Windows; `Sid.from_string` is the strict
door for everything else.
"""

from __future__ import annotations

import re
import struct
from typing import Final

from stead.codec.cursor import Cursor
from stead.codec.sid_aliases import ALIASES, DOMAIN_RIDS
from stead.errors import InvalidSidError
from stead.model.sid import MAXIMUM_SUB_AUTHORITIES, Sid, checked_sid

_LARGEST_SUB_AUTHORITY: Final = 0xFFFF_FFFF
_PACKED: Final = tuple(
    struct.Struct(f"<BB6s{count}I") for count in range(MAXIMUM_SUB_AUTHORITIES + 1)
)
_AUTHORITIES: Final = {str(number): number.to_bytes(6, "big") for number in range(32)}
_MOST_DIGITS: Final = 20  # of any number that matters; a longer one is too large

# A `D` before a colon begins the next part of the descriptor: `O:S-1-2-0x20D:`.
_HEXADECIMAL: Final = r"(?:0x)?[0-9a-f]+(?!:)"
_EITHER: Final = r"(?:0x[0-9a-f]+(?!:)|[0-9]+)"
_DECIMAL_SID: Final = re.compile(
    r"S-1-([0-9]{1,10}+)((?:-[0-9]{1,10}+){1,15}+)(?![0-9xX-])"
)
"""Most SIDs; what it finds the two patterns below find alike."""
_ALIAS: Final = re.compile(r"[a-z]{2}", re.IGNORECASE | re.ASCII)
_HEXADECIMAL_SID: Final = re.compile(
    rf"s-0x0*1-({_HEXADECIMAL})((?:-{_HEXADECIMAL})+)", re.IGNORECASE | re.ASCII
)
# Spaces may stand before the first two numbers, if these are decimal.
_SID: Final = re.compile(
    rf"s- *0*1-(?: +(?!0x))?({_EITHER})((?:-{_EITHER})+)", re.IGNORECASE | re.ASCII
)


def read_sid(text: str, *, domain: Sid | None = None) -> Sid:
    """Read a SID or a two-letter alias, as SDDL spells it.

    Args:
        text: `S-1-5-18`, `SY`.
        domain: the domain that aliases such as `DA` are relative to.

    Raises:
        InvalidSddlError: the text is neither, or its alias needs a domain.
    """
    cursor = Cursor(text)
    sid = read_sid_here(cursor, domain)
    if not cursor.at_end:
        raise cursor.error("a sid ends here")
    return sid


def read_sid_here(cursor: Cursor, domain: Sid | None) -> Sid:
    """Read the SID or alias that stands at the cursor; raise `InvalidSddlError`."""
    start = cursor.position
    found = _DECIMAL_SID.match(cursor.text, start)
    sid = None if found is None else sid_of_numbers(found[1], found[2])
    if found is not None and sid is not None:
        cursor.position = found.end()
        return sid
    found = cursor.match(_HEXADECIMAL_SID)
    if found is not None:
        return _from_numbers(cursor, found, base=16)
    found = cursor.match(_SID)
    if found is not None:
        return _from_numbers(cursor, found, base=10)
    found = cursor.match(_ALIAS)
    if found is None:
        raise cursor.error("expected a sid")
    return _from_alias(cursor, found[0].upper(), domain, at=start)


def sid_of_numbers(authority: str, numbers: str) -> Sid | None:
    """Make a SID of decimal numbers that a pattern has found; None if one is too large.

    Args:
        authority: up to ten digits.
        numbers: one to fifteen numbers of up to ten digits, a hyphen before each.
    """
    parts = list(map(int, numbers[1:].split("-")))
    known = _AUTHORITIES.get(authority) or int(authority).to_bytes(6, "big")
    try:
        return checked_sid(_PACKED[len(parts)].pack(1, len(parts), known, *parts))
    except struct.error:
        return None


def _from_alias(cursor: Cursor, alias: str, domain: Sid | None, *, at: int) -> Sid:
    known = ALIASES.get(alias)
    if known is not None:
        return known
    rid = DOMAIN_RIDS.get(alias)
    if rid is None:
        raise cursor.error(f"`{alias}` is no alias of a sid", at=at)
    if domain is None:
        raise cursor.error(f"alias `{alias}` is relative to a domain", at=at)
    return _within(cursor, domain, rid, at=at)


def _within(cursor: Cursor, domain: Sid, rid: int, *, at: int) -> Sid:
    try:
        return domain.with_rid(rid)
    except InvalidSidError as error:
        raise cursor.error(f"`{domain}` is no domain: {error}", at=at) from error


def _from_numbers(cursor: Cursor, found: re.Match[str], *, base: int) -> Sid:
    authority = _number(found[1], base)
    parts = tuple(
        min(_number(part, base), _LARGEST_SUB_AUTHORITY)
        for part in found[2][1:].split("-")
    )
    try:
        return Sid.from_parts(authority, parts)
    except InvalidSidError as error:
        raise cursor.error(str(error), at=found.start()) from error


def _number(text: str, base: int) -> int:
    if text[:2] in ("0x", "0X"):
        base, text = 16, text[2:]
    digits = text.lstrip("0")
    if len(digits) > _MOST_DIGITS:
        return 1 << 64
    return int(digits or "0", base)
