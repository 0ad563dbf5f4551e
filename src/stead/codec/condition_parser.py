"""Reads conditional expressions from text ([MS-DTYP] 2.5.1.1, 2.5.1.3).

Windows was recorded to accept more than the grammar says, and less: operands may stand
in parentheses, `!` may stand before a parenthesis or an attribute alone, an attribute
in simple form may not be a second operand. Comparisons of comparisons are read; they
are never true.
"""

from __future__ import annotations

import re
from typing import Final

from stead.codec.condition_lexer import (
    read_local_name,
    read_number,
    read_octets,
    read_prefixed_name,
    read_string,
    skip_white_space,
)
from stead.codec.condition_tree import MAXIMUM_DEPTH
from stead.codec.condition_words import EXISTENCE, LOGICAL, OPERATORS, PREFIXES
from stead.codec.cursor import Cursor
from stead.codec.sid_text import read_sid_here
from stead.errors import InvalidConditionError
from stead.model.condition import (
    UNARY_OPERATORS,
    Attribute,
    AttributeSource,
    Binary,
    Composite,
    Condition,
    Integer,
    IntegerWidth,
    Literal,
    OctetString,
    Operator,
    SidLiteral,
    String,
    Unary,
)
from stead.model.sid import Sid

_SOURCES: Final[dict[str, AttributeSource]] = {
    prefix: source for source, prefix in PREFIXES.items()
}
_PREFIX: Final = re.compile(r"@(?:user|device|resource)\.", re.IGNORECASE | re.ASCII)
_WORD: Final = re.compile(r"[a-z_]++(?![0-9:./@%])", re.IGNORECASE | re.ASCII)
_BINARY: Final = re.compile(
    r"==|!=|<=|>=|<|>|&&|\|\||[a-z_]++(?![0-9:./@%])", re.IGNORECASE | re.ASCII
)
_SID: Final = re.compile(r"sid\(", re.IGNORECASE | re.ASCII)


class ConditionReader:
    """Reads one condition, with operators that wait on a stack instead of recursion.

    A parenthesis waits as None. Operators of terms never wait: their second operand is
    a value, which is read at once.
    """

    __slots__ = ("_cursor", "_domain", "_operands", "_waiting")

    def __init__(self, cursor: Cursor, domain: Sid | None) -> None:
        self._cursor = cursor
        self._domain = domain
        self._operands: list[tuple[Condition, int]] = []
        self._waiting: list[Operator | None] = [None]

    def read(self) -> Condition:
        """Read up to the parenthesis that ends the condition."""
        self._read_operand()
        while True:
            skip_white_space(self._cursor)
            if self._cursor.take(")"):
                self._reduce(Operator.OR)
                self._waiting.pop()
                if not self._waiting:
                    return self._operands[0][0]
            else:
                self._read_operator()

    def _read_operand(self) -> None:
        """Read parentheses and `!` that open, then an attribute or unary term."""
        cursor = self._cursor
        while True:
            skip_white_space(cursor)
            if cursor.take("("):
                self._wait(None)
            elif self._waiting[-1] is not Operator.NOT and cursor.take("!"):
                self._wait(Operator.NOT)
            else:
                break
        start = cursor.position
        found = cursor.match(_WORD)
        operator = None if found is None else OPERATORS.get(found[0].lower())
        if operator is None:
            cursor.position = start
            self._push(self._attribute())
        elif self._waiting[-1] is Operator.NOT:
            raise cursor.error("expected `(` or an attribute after `!`", at=start)
        elif operator in UNARY_OPERATORS:
            self._push(Unary(operator, self._value(operator)), 1)
        else:
            raise cursor.error("the operator lacks its first operand", at=start)

    def _wait(self, operator: Operator | None) -> None:
        # Twice the depth: parentheses around each operator.
        if len(self._waiting) > 2 * MAXIMUM_DEPTH:
            raise self._cursor.error("the condition is too deep")
        self._waiting.append(operator)

    def _read_operator(self) -> None:
        start = self._cursor.position
        found = self._cursor.match(_BINARY)
        operator = None if found is None else OPERATORS.get(found[0].lower())
        if operator is None or operator in UNARY_OPERATORS:
            raise self._cursor.error("expected an operator or `)`", at=start)
        if operator in LOGICAL:
            self._reduce(operator)
            self._wait(operator)
            self._read_operand()
            return
        left, depth = self._operands.pop()
        if not _is_comparable(left):
            raise self._cursor.error("the operator compares no attribute", at=start)
        self._push(Binary(operator, left, self._value(operator)), depth + 1)

    def _reduce(self, incoming: Operator) -> None:
        """Apply what waits since the last parenthesis and binds no less than this."""
        while (operator := self._waiting[-1]) is not None:
            if incoming is Operator.AND and operator is Operator.OR:
                return
            self._waiting.pop()
            right, depth = self._operands.pop()
            if operator is Operator.NOT:
                self._push(Unary(operator, right), depth + 1)
                continue
            left, left_depth = self._operands.pop()
            made = Binary(operator, left, right)
            self._push(made, max(depth, left_depth) + 1)

    def _push(self, condition: Condition, depth: int = 0) -> None:
        if depth > MAXIMUM_DEPTH:
            raise self._cursor.error("the condition is too deep")
        self._operands.append((condition, depth))

    # Values.

    def _value(self, operator: Operator) -> Condition:
        """Read an operator's last operand, which may stand in parentheses."""
        cursor = self._cursor
        skip_white_space(cursor)
        opened = 0
        while cursor.take("("):
            opened += 1
            skip_white_space(cursor)
        value = self._operand_of(operator)
        for _ in range(opened):
            skip_white_space(cursor)
            cursor.expect(")", "expected `)` after the operand")
        return value

    def _operand_of(self, operator: Operator) -> Condition:
        cursor = self._cursor
        if operator in EXISTENCE:
            return self._attribute()
        if operator not in UNARY_OPERATORS and cursor.text.startswith(
            "@", cursor.position
        ):
            return self._attribute()
        return self._composite() if cursor.take("{") else self._literal()

    def _attribute(self) -> Attribute:
        cursor = self._cursor
        prefix = cursor.match(_PREFIX)
        if prefix is None:
            name = read_local_name(cursor)
            source = AttributeSource.LOCAL
        else:
            name = read_prefixed_name(cursor)
            source = _SOURCES[prefix[0].upper()]
        if name is None:
            raise cursor.error("expected an attribute")
        return Attribute(source, name)

    def _composite(self) -> Composite:
        cursor = self._cursor
        items: list[Literal] = []
        skip_white_space(cursor)
        if cursor.take("}"):
            return Composite(())
        while True:
            items.append(self._literal())
            skip_white_space(cursor)
            if cursor.take("}"):
                return Composite(tuple(items))
            cursor.expect(",", "expected `,` or `}`")
            skip_white_space(cursor)

    def _literal(self) -> Literal:
        cursor = self._cursor
        if cursor.match(_SID) is not None:
            return self._sid()
        start = cursor.position
        if (number := read_number(cursor)) is not None:
            try:
                return Integer(
                    number.value, IntegerWidth.INT64, number.sign, number.base
                )
            except InvalidConditionError as error:
                raise cursor.error(str(error), at=start) from error
        if (text := read_string(cursor)) is not None:
            return String(text)
        if (octets := read_octets(cursor)) is not None:
            return OctetString(octets)
        raise cursor.error("expected a value")

    def _sid(self) -> SidLiteral:
        skip_white_space(self._cursor)
        sid = read_sid_here(self._cursor, self._domain)
        skip_white_space(self._cursor)
        self._cursor.expect(")", "expected `)` after the sid")
        return SidLiteral(sid)


def _is_comparable(left: Condition) -> bool:
    """Tell whether a first operand is an attribute, or a comparison of one."""
    return isinstance(left, Attribute) or (
        isinstance(left, Binary) and left.operator not in LOGICAL
    )
