"""Conditional expressions as bytes ([MS-DTYP] 2.4.4.17.4 to 2.4.4.17.8).

A signature, then tokens in postfix order, then zeros up to a multiple of four. Bytes
come from strangers: every length is checked, the work is linear, and what is not
exactly one expression is refused. Whether an operator suits its operands is decided
where it is evaluated, as on Windows.

>>> write_condition(Attribute(AttributeSource.LOCAL, "x")).hex()
'61727478f802000000780000'
"""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import Final

from stead.codec.condition_tree import (
    MAXIMUM_TOKENS,
    in_postfix_order,
    require_depth,
    sign_of,
)
from stead.errors import InvalidConditionError, InvalidSidError
from stead.model.ace import CONDITION_SIGNATURE, MAXIMUM_ACE_SIZE
from stead.model.condition import (
    UNARY_OPERATORS,
    Attribute,
    AttributeSource,
    Binary,
    Composite,
    Condition,
    Integer,
    IntegerBase,
    IntegerSign,
    IntegerWidth,
    Literal,
    OctetString,
    Operator,
    SidLiteral,
    String,
    Unary,
)
from stead.model.sid import Sid

_STRING: Final = 0x10
_OCTET_STRING: Final = 0x18
_COMPOSITE: Final = 0x50
_SID: Final = 0x51
_ALIGNMENT: Final = 4
_INTEGER: Final = struct.Struct("<BqBB")
_HEADER: Final = struct.Struct("<BI")
_UNSIGNED: Final = (IntegerWidth.INT64, IntegerSign.NONE, IntegerBase.HEXADECIMAL)
_BITS: Final[dict[int, int]] = {
    IntegerWidth.INT8: 8,
    IntegerWidth.INT16: 16,
    IntegerWidth.INT32: 32,
    IntegerWidth.INT64: 64,
}
_OPERATORS: Final[dict[int, Operator]] = {int(item): item for item in Operator}
_SOURCES: Final[dict[int, AttributeSource]] = {
    int(item): item for item in AttributeSource
}
# Entries of one list mostly hold few, short conditions; long ones are read each time,
# so that strangers cannot fill the memory with trees.
_REMEMBERED: Final = 128
_LONGEST_REMEMBERED: Final = 4096


# --- reading ----------------------------------------------------------------------


def read_condition(binary: bytes) -> Condition:
    """Read a condition with its signature and padding.

    Raises:
        InvalidConditionError: the bytes are not exactly one expression.
    """
    if len(binary) > _LONGEST_REMEMBERED:
        return _read(binary)
    return _read_remembered(bytes(binary))


@lru_cache(maxsize=_REMEMBERED)
def _read_remembered(binary: bytes) -> Condition:
    return _read(binary)


def _read(binary: bytes) -> Condition:
    if len(binary) > MAXIMUM_ACE_SIZE:
        raise InvalidConditionError("the condition does not fit an ace")
    if not binary.startswith(CONDITION_SIGNATURE):
        raise InvalidConditionError("a condition begins with `artx`")
    stack: list[tuple[Condition, int]] = []
    at = len(CONDITION_SIGNATURE)
    while at < len(binary) and binary[at]:
        operator = _OPERATORS.get(binary[at])
        if operator is not None:
            _apply(stack, operator)
            at += 1
        else:
            operand, at = _operand(binary, at)
            stack.append((operand, 0))
    _require_padding(binary, at)
    if len(stack) != 1:
        raise InvalidConditionError(f"the condition leaves {len(stack)} values, not 1")
    return stack[0][0]


def _apply(stack: list[tuple[Condition, int]], operator: Operator) -> None:
    needed = 1 if operator in UNARY_OPERATORS else 2
    if len(stack) < needed:
        raise InvalidConditionError(f"operator `{operator.name}` lacks an operand")
    right, depth = stack.pop()
    if needed == 1:
        made: Condition = Unary(operator, right)
    else:
        left, left_depth = stack.pop()
        depth = max(depth, left_depth)
        made = Binary(operator, left, right)
    require_depth(depth + 1)
    stack.append((made, depth + 1))


def _require_padding(binary: bytes, at: int) -> None:
    padding = binary[at:]
    if any(padding) or len(padding) >= _ALIGNMENT:
        raise InvalidConditionError(f"no token begins at offset `{at}`")


def _operand(binary: bytes, at: int) -> tuple[Attribute | Literal, int]:
    """Return the attribute or literal at an offset, and where it ends."""
    source = _SOURCES.get(binary[at])
    if source is not None:
        content, end = _content(binary, at)
        return Attribute(source, _name(content)), end
    if binary[at] != _COMPOSITE:
        return _scalar(binary, at)
    content, end = _content(binary, at)
    items: list[Literal] = []
    inner = 0
    while inner < len(content):
        item, inner = _scalar(content, inner)
        items.append(item)
    return Composite(tuple(items)), end


def _content(binary: bytes, at: int) -> tuple[bytes, int]:
    """Return the bytes of the token at an offset, and where it ends."""
    begin = at + _HEADER.size
    if begin > len(binary):
        raise InvalidConditionError(f"the token at offset `{at}` is cut off")
    _, size = _HEADER.unpack_from(binary, at)
    if size > len(binary) - begin:
        raise InvalidConditionError(
            f"the token at offset `{at}` claims {size} bytes of {len(binary) - begin}"
        )
    return binary[begin : begin + size], begin + size


def _scalar(binary: bytes, at: int) -> tuple[Literal, int]:
    """Return the literal at an offset, no composite, and where it ends."""
    code = binary[at]
    if code in _BITS:
        return _integer(binary, at)
    if code not in (_STRING, _OCTET_STRING, _SID):
        raise InvalidConditionError(f"`{code:#04x}` begins no literal")
    content, end = _content(binary, at)
    if code == _STRING:
        return String(_text(content)), end
    if code == _OCTET_STRING:
        return OctetString(content), end
    try:
        return SidLiteral(Sid(content)), end
    except InvalidSidError as error:
        raise InvalidConditionError(str(error)) from error


def _integer(binary: bytes, at: int) -> tuple[Integer, int]:
    end = at + _INTEGER.size
    if end > len(binary):
        raise InvalidConditionError(f"the token at offset `{at}` is cut off")
    code, value, sign, base = _INTEGER.unpack_from(binary, at)
    if value < 0 and (code, sign, base) == _UNSIGNED:
        value += 1 << 64
    try:
        literal = Integer(
            value, IntegerWidth(code), IntegerSign(sign), IntegerBase(base)
        )
    except ValueError as error:
        raise InvalidConditionError(
            f"`{sign}`, `{base}` are no sign and base of an integer"
        ) from error
    # The sign byte decides on Windows; where it contradicts the value, neither does.
    if sign_of(literal) is not literal.sign:
        raise InvalidConditionError(f"`{value}` contradicts its sign")
    _require_width(literal)
    return literal, end


def _name(content: bytes) -> str:
    name = _text(content)
    if not name or "\0" in name:
        raise InvalidConditionError("an attribute has a name without a null character")
    return name


def _text(content: bytes) -> str:
    try:
        return content.decode("utf-16-le")
    except UnicodeDecodeError as error:
        raise InvalidConditionError("a string is not utf-16") from error


# --- writing ----------------------------------------------------------------------


def write_condition(condition: Condition) -> bytes:
    """Write a condition as Windows does, with its signature and padding.

    Raises:
        InvalidConditionError: the tree is too large, or has no binary form.
    """
    tokens = [_token(node) for node in in_postfix_order(condition)]
    binary = b"".join((CONDITION_SIGNATURE, *tokens))
    if len(binary) > MAXIMUM_TOKENS:
        raise InvalidConditionError("the condition does not fit an ace")
    return binary + bytes(-len(binary) % _ALIGNMENT)


def _token(node: Condition) -> bytes:
    if isinstance(node, Unary | Binary):
        return bytes((node.operator,))
    if isinstance(node, Attribute):
        content = _utf16(node.name)
        _name(content)
        return _with_header(node.source, content)
    if isinstance(node, Composite):
        items = b"".join(map(_scalar_token, node.items))
        return _with_header(_COMPOSITE, items)
    return _scalar_token(node)


def _scalar_token(literal: Literal) -> bytes:
    if isinstance(literal, Integer):
        _require_width(literal)
        value = literal.value - (1 << 64 if literal.value >= 1 << 63 else 0)
        return _INTEGER.pack(literal.width, value, sign_of(literal), literal.base)
    if isinstance(literal, String):
        return _with_header(_STRING, _utf16(literal.value))
    if isinstance(literal, OctetString):
        return _with_header(_OCTET_STRING, literal.value)
    if isinstance(literal, SidLiteral):
        return _with_header(_SID, literal.value)
    raise InvalidConditionError("a composite holds no composite")


def _with_header(code: int, content: bytes) -> bytes:
    return _HEADER.pack(code, len(content)) + content


def _utf16(text: str) -> bytes:
    try:
        return text.encode("utf-16-le")
    except UnicodeEncodeError as error:
        raise InvalidConditionError(f"`{ascii(text)[1:-1]}` is not unicode") from error


def _require_width(literal: Integer) -> None:
    """Refuse a value that its width has no room for."""
    if literal.is_unsigned:
        return  # it was made to fit
    limit = 1 << (_BITS[literal.width] - 1)
    if not -limit <= literal.value < limit:
        raise InvalidConditionError(
            f"`{literal.value}` does not fit `{literal.width.name}`"
        )
