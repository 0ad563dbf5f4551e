"""Names and values as conditions and resource attributes spell them.

Reading follows [MS-DTYP] 2.5.1.1 and what Windows was recorded to accept beyond it:
`#` as a digit of an octet string, octets with an odd number of digits. Every reader
here stands at a cursor, and returns None if what it reads does not begin there.

One spelling is ours, because the grammar has none: a quotation mark within a string is
`%0022`, and a percent sign that could be taken for the start of that is `%0025`.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from stead.codec.condition_tree import sign_of
from stead.codec.cursor import Cursor
from stead.errors import InvalidConditionError
from stead.model.condition import (
    Integer,
    IntegerBase,
    IntegerSign,
)

_SPACE: Final = re.compile(r"[\t-\r ]*")
_NO_NAME_FOLLOWS: Final = r"(?![a-z0-9:./_@%])"
_NUMBER: Final = re.compile(
    rf"([+-]?)(0x[0-9a-f]+|[0-9]+){_NO_NAME_FOLLOWS}", re.IGNORECASE | re.ASCII
)
_OCTETS: Final = re.compile(rf"[0-9a-f#]*+{_NO_NAME_FOLLOWS}", re.IGNORECASE | re.ASCII)
_STRING: Final = re.compile(r'"([^"]*)"')
_ESCAPE: Final = re.compile(r"%([0-9a-f]{4})", re.IGNORECASE | re.ASCII)
_LOCAL_NAME: Final = re.compile(
    r"(?:[a-z0-9:./_]|%[0-9a-f]{4})(?:[a-z0-9:./_@]++|%[0-9a-f]{4})*+",
    re.IGNORECASE | re.ASCII,
)
_PREFIXED_NAME: Final = re.compile(
    r"""(?:[^\0\t-\r !"%&()<=>|]++|%[0-9a-f]{4})++""", re.IGNORECASE | re.ASCII
)
# What Windows prints as it is; all else becomes an escape for each UTF-16 code unit.
_LOCAL_ESCAPED: Final = re.compile(r"^@|[^A-Za-z0-9:./_@]")
_PREFIXED_ESCAPED: Final = re.compile(r"[^A-Za-z0-9#$'*+\-./:;?@\[\\\]^_`{}~]")
_QUOTE_ESCAPE: Final = re.compile("%002([25])")
_QUOTE_ESCAPED: Final = re.compile('"|%(?=002[25])')
_MOST_DIGITS: Final = 22  # of 64 bits in base eight
_SIGNS: Final[dict[str, IntegerSign]] = {
    "": IntegerSign.NONE,
    "+": IntegerSign.PLUS,
    "-": IntegerSign.MINUS,
}
_RADIX: Final[dict[IntegerBase, int]] = {
    IntegerBase.OCTAL: 8,
    IntegerBase.DECIMAL: 10,
    IntegerBase.HEXADECIMAL: 16,
}


class Number(NamedTuple):
    """A number, and how it is spelled."""

    value: int
    sign: IntegerSign
    base: IntegerBase


def skip_white_space(cursor: Cursor) -> None:
    """Step over white space (wspace); lists of entries know only the space."""
    cursor.match(_SPACE)


# --- names ------------------------------------------------------------------------


def read_local_name(cursor: Cursor) -> str | None:
    """Read an attribute's simple name ([MS-DTYP] 2.5.1.2.1)."""
    return _read_name(cursor, _LOCAL_NAME, _LOCAL_ESCAPED)


def read_prefixed_name(cursor: Cursor) -> str | None:
    """Read an attribute's name after its prefix, or a claim's ([MS-DTYP] 2.5.1.2.2)."""
    return _read_name(cursor, _PREFIXED_NAME, _PREFIXED_ESCAPED)


def _read_name(
    cursor: Cursor, pattern: re.Pattern[str], escaped: re.Pattern[str]
) -> str | None:
    start = cursor.position
    found = cursor.match(pattern)
    if found is None:
        return None
    for escape in _ESCAPE.finditer(found[0]):
        character = chr(int(escape[1], 16))
        if character == "\0" or escaped.fullmatch(character) is None:
            # Windows has one spelling of each name.
            raise cursor.error(
                f"`{escape[0]}` is no escape of a name", at=start + escape.start()
            )
    units = _ESCAPE.sub(lambda escape: chr(int(escape[1], 16)), found[0])
    return _require_unicode(cursor, units, at=start)


def _require_unicode(cursor: Cursor, units: str, *, at: int) -> str:
    """Join surrogates that stand in pairs; refuse those that stand alone."""
    try:
        return units.encode("utf-16-le", "surrogatepass").decode("utf-16-le")
    except UnicodeDecodeError as error:
        raise cursor.error("half of a surrogate pair stands alone", at=at) from error


def local_name_to_sddl(name: str) -> str:
    """Print a simple name."""
    return _name_to_sddl(name, _LOCAL_ESCAPED)


def prefixed_name_to_sddl(name: str) -> str:
    """Print the name after a prefix, or a claim's."""
    return _name_to_sddl(name, _PREFIXED_ESCAPED)


def _name_to_sddl(name: str, escaped: re.Pattern[str]) -> str:
    if not name or "\0" in name:
        raise InvalidConditionError("an attribute has a name without a null character")
    return escaped.sub(lambda found: _escape(found[0]), name)


def _escape(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"%{units[at : at + 4]}" for at in range(0, len(units), 4))


# --- values -----------------------------------------------------------------------


def read_number(cursor: Cursor) -> Number | None:
    """Read a number in base eight, ten or sixteen; its range is for the caller."""
    start = cursor.position
    found = cursor.match(_NUMBER)
    if found is None:
        return None
    base, digits = _split_base(found[2])
    if base is IntegerBase.OCTAL and not set(digits) <= set("01234567"):
        raise cursor.error(f"`{found[2][:_MOST_DIGITS]}` is no octal number", at=start)
    significant = digits.lstrip("0") or "0"
    if len(significant) > _MOST_DIGITS:
        raise cursor.error("the number does not fit 64 bits", at=start)
    value = int(significant, _RADIX[base])
    sign = _SIGNS[found[1]]
    return Number(-value if sign is IntegerSign.MINUS else value, sign, base)


def _split_base(text: str) -> tuple[IntegerBase, str]:
    if text[:2] in ("0x", "0X"):
        return IntegerBase.HEXADECIMAL, text[2:]
    if text.startswith("0") and len(text) > 1:
        return IntegerBase.OCTAL, text[1:]
    return IntegerBase.DECIMAL, text


def integer_to_sddl(literal: Integer) -> str:
    """Print a number with the sign and base it was read with."""
    sign = {IntegerSign.MINUS: "-", IntegerSign.PLUS: "+"}.get(sign_of(literal), "")
    value = abs(literal.value)
    if literal.base is IntegerBase.HEXADECIMAL:
        return f"{sign}{value:#x}"
    if literal.base is IntegerBase.OCTAL:
        return f"{sign}0{value:o}"
    return f"{sign}{value}"


def read_string(cursor: Cursor) -> str | None:
    """Read a string in quotation marks."""
    start = cursor.position
    found = cursor.match(_STRING)
    if found is None:
        return None
    value = _QUOTE_ESCAPE.sub(lambda escape: '"' if escape[1] == "2" else "%", found[1])
    return _require_unicode(cursor, value, at=start)


def string_to_sddl(value: str) -> str:
    """Print a string in quotation marks."""
    return f'"{_QUOTE_ESCAPED.sub(lambda found: _escape(found[0]), value)}"'


def read_octets(cursor: Cursor) -> bytes | None:
    """Read an octet string: `#`, then digits."""
    return read_bare_octets(cursor) if cursor.take("#") else None


def read_bare_octets(cursor: Cursor) -> bytes:
    """Read hexadecimal digits; `#` is a zero, and so is a first digit left out."""
    found = cursor.match(_OCTETS)
    if found is None:
        raise cursor.error("expected hexadecimal digits")
    digits = found[0].replace("#", "0")
    return bytes.fromhex("0" * (len(digits) % 2) + digits)
