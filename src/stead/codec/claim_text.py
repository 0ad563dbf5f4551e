"""Claims as SDDL spells them in resource attribute entries ([MS-DTYP] 2.5.1.1).

Windows prints octet strings as bare digits, which the grammar does not have; both
spellings are read. SIDs are printed bare.

>>> claim_to_sddl(Claim("Secret", ClaimType.BOOLEAN, (True,)))
'("Secret",TB,0x0,1)'
"""

from __future__ import annotations

import re
from typing import Final

from stead.codec.condition_lexer import (
    prefixed_name_to_sddl,
    read_bare_octets,
    read_number,
    read_prefixed_name,
    read_string,
    skip_white_space,
    string_to_sddl,
)
from stead.codec.cursor import Cursor
from stead.codec.sid_aliases import sid_to_sddl
from stead.codec.sid_text import read_sid_here
from stead.errors import InvalidClaimError, InvalidConditionError
from stead.model.claim import Claim, ClaimFlags, ClaimType, ClaimValue
from stead.model.sid import Sid

_SPELLINGS: Final[dict[ClaimType, str]] = {
    ClaimType.INT64: "TI",
    ClaimType.UINT64: "TU",
    ClaimType.STRING: "TS",
    ClaimType.SID: "TD",
    ClaimType.BOOLEAN: "TB",
    ClaimType.OCTET_STRING: "TX",
}
_TYPES: Final[dict[str, ClaimType]] = {
    spelling: kind for kind, spelling in _SPELLINGS.items()
}
_TYPE: Final = re.compile(r"t[iusdbx]", re.IGNORECASE | re.ASCII)
_SID: Final = re.compile(r"sid\(", re.IGNORECASE | re.ASCII)
_RANGES: Final[dict[ClaimType, range]] = {
    ClaimType.INT64: range(-(1 << 63), 1 << 63),
    ClaimType.UINT64: range(1 << 64),
    ClaimType.BOOLEAN: range(2),
}
_FLAGS: Final = range(1 << 32)


# --- reading ----------------------------------------------------------------------


def read_claim_here(cursor: Cursor, domain: Sid | None) -> Claim:
    """Read the claim whose parenthesis stands at the cursor: `("Name",TI,0x0,1,2)`.

    Raises:
        InvalidSddlError: the text is wrong; it says where and why.
    """
    skip_white_space(cursor)
    cursor.expect("(", "expected `(` before a resource attribute")
    name = _read_name(cursor)
    _expect_comma(cursor)
    found = cursor.match(_TYPE)
    if found is None:
        raise cursor.error("expected `TI`, `TU`, `TS`, `TD`, `TB` or `TX`")
    kind = _TYPES[found[0].upper()]
    _expect_comma(cursor)
    flags = _read_number_in(cursor, _FLAGS)
    values: list[ClaimValue] = []
    skip_white_space(cursor)
    while not cursor.take(")"):
        _expect_comma(cursor)
        values.append(_read_value(cursor, kind, domain))
        skip_white_space(cursor)
    return Claim(name, kind, tuple(values), ClaimFlags(flags))


def _read_name(cursor: Cursor) -> str:
    skip_white_space(cursor)
    cursor.expect('"', "expected a name in quotation marks")
    name = read_prefixed_name(cursor)
    if name is None:
        raise cursor.error("expected a name")
    cursor.expect('"', 'expected `"` after the name')
    return name


def _expect_comma(cursor: Cursor) -> None:
    skip_white_space(cursor)
    cursor.expect(",", "expected `,`")
    skip_white_space(cursor)


def _read_number_in(cursor: Cursor, numbers: range) -> int:
    start = cursor.position
    number = read_number(cursor)
    if number is None or number.value not in numbers:
        raise cursor.error(
            f"expected a number from {numbers[0]} to {numbers[-1]}", at=start
        )
    return number.value


def _read_value(cursor: Cursor, kind: ClaimType, domain: Sid | None) -> ClaimValue:
    if kind is ClaimType.SID:
        return _read_sid(cursor, domain)
    if kind is ClaimType.OCTET_STRING:
        # A first `#` is a digit zero to the reader of digits: not wanted here.
        cursor.take("#")
        return read_bare_octets(cursor)
    if kind is ClaimType.STRING:
        text = read_string(cursor)
        if text is None:
            raise cursor.error("expected a string in quotation marks")
        return text
    number = _read_number_in(cursor, _RANGES[kind])
    return bool(number) if kind is ClaimType.BOOLEAN else number


def _read_sid(cursor: Cursor, domain: Sid | None) -> Sid:
    enclosed = cursor.match(_SID) is not None
    sid = read_sid_here(cursor, domain)
    if enclosed:
        cursor.expect(")", "expected `)` after the sid")
    return sid


# --- printing ---------------------------------------------------------------------


def claim_to_sddl(claim: Claim, *, domain: Sid | None = None) -> str:
    """Print a claim with its parentheses, as Windows does.

    Args:
        claim: the claim.
        domain: the domain whose RIDs are printed as aliases; None for none.

    Raises:
        InvalidClaimError: its name has no spelling.
    """
    try:
        name = prefixed_name_to_sddl(claim.name)
    except InvalidConditionError as error:
        raise InvalidClaimError(str(error)) from error
    values = (_value_to_sddl(value, domain) for value in claim.values)
    head = (f'"{name}"', _SPELLINGS[claim.type], f"{claim.flags:#x}")
    return f"({','.join((*head, *values))})"


def _value_to_sddl(value: ClaimValue, domain: Sid | None) -> str:
    if isinstance(value, Sid):
        return sid_to_sddl(value, domain=domain)
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, str):
        return string_to_sddl(value)
    return str(int(value))
