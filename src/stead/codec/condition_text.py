"""Conditional expressions as SDDL spells them ([MS-DTYP] 2.5.1.1, 2.5.1.3).

Reading follows what Windows was recorded to accept, printing what it prints. What an
operator cannot use, such as a number after `Member_of`, is only found out where it is
evaluated.

>>> condition_to_sddl(read_condition_text('(@User.Title=="VP" && a)'))
'((@USER.Title == "VP") && (a))'
"""

from __future__ import annotations

from dataclasses import replace

from stead.codec.condition_lexer import (
    integer_to_sddl,
    local_name_to_sddl,
    prefixed_name_to_sddl,
    skip_white_space,
    string_to_sddl,
)
from stead.codec.condition_parser import ConditionReader
from stead.codec.condition_words import LOGICAL, PREFIXES, SPELLINGS
from stead.codec.cursor import Cursor
from stead.codec.sid_aliases import sid_to_sddl
from stead.errors import InvalidConditionError, InvalidSddlError
from stead.model.condition import (
    Attribute,
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

# --- reading ----------------------------------------------------------------------


def read_condition_text(text: str, *, domain: Sid | None = None) -> Condition:
    """Read a condition in its parentheses that is a whole text.

    Args:
        text: `(@User.Title == "VP")`.
        domain: the domain that aliases such as `DA` are relative to.

    Raises:
        InvalidSddlError: the text is wrong; it says where and why.
    """
    cursor = Cursor(text)
    condition = read_condition_here(cursor, domain)
    skip_white_space(cursor)
    if not cursor.at_end:
        raise cursor.error("a condition ends here")
    return condition


def read_condition_here(cursor: Cursor, domain: Sid | None) -> Condition:
    """Read the condition whose parenthesis stands at the cursor.

    Raises:
        InvalidSddlError: the text is wrong; it says where and why.
    """
    skip_white_space(cursor)
    cursor.expect("(", "expected `(` before a condition")
    return ConditionReader(cursor, domain).read()


# --- printing ---------------------------------------------------------------------


def condition_to_sddl(condition: Condition, *, domain: Sid | None = None) -> str:
    """Print a condition with its parentheses, as Windows does.

    Args:
        condition: the tree.
        domain: the domain whose RIDs are printed as aliases; None for none.

    Raises:
        InvalidConditionError: it holds what has no spelling, such as an empty name, or
            its text would be read as another condition: bytes can put a literal where
            text has an attribute's name.
    """
    text = _spelled(condition, domain)
    try:
        again = read_condition_text(text, domain=domain)
    except InvalidSddlError as error:
        raise InvalidConditionError("the condition has no spelling") from error
    if _without_widths(again) != _without_widths(condition):
        raise InvalidConditionError("the condition's text would mean another one")
    return text


def _without_widths(condition: Condition) -> Condition:
    """Return a condition with every integer as wide as text makes it."""
    if isinstance(condition, Integer):
        return _of_full_width(condition)
    if isinstance(condition, Composite):
        return Composite(tuple(_of_full_width(item) for item in condition.items))
    if isinstance(condition, Unary):
        return Unary(condition.operator, _without_widths(condition.operand))
    if isinstance(condition, Binary):
        left, right = _without_widths(condition.left), _without_widths(condition.right)
        return Binary(condition.operator, left, right)
    return condition


def _of_full_width(literal: Literal) -> Literal:
    if isinstance(literal, Integer):
        return replace(literal, width=IntegerWidth.INT64)
    return literal


def _spelled(condition: Condition, domain: Sid | None) -> str:
    parts: list[str] = []
    waiting: list[Condition | str] = [")", condition, "("]
    while waiting:
        item = waiting.pop()
        if isinstance(item, str):
            parts.append(item)
        elif isinstance(item, Unary | Binary):
            waiting.extend(reversed(_spread(item)))
        else:
            parts.append(_operand_to_sddl(item, domain))
    return "".join(parts)


def _spread(node: Unary | Binary) -> list[Condition | str]:
    """Return what an operator's term is printed as, piece by piece."""
    spelling = SPELLINGS[node.operator]
    if isinstance(node, Binary):
        always = node.operator in LOGICAL
        left = _enclosed(node.left, always=always)
        return [*left, f" {spelling} ", *_enclosed(node.right, always=always)]
    if node.operator is Operator.NOT:
        return [spelling, *_enclosed(node.operand, always=True)]
    return [f"{spelling} ", *_enclosed(node.operand, always=False)]


def _enclosed(operand: Condition, *, always: bool) -> list[Condition | str]:
    if always or isinstance(operand, Unary | Binary):
        return ["(", operand, ")"]
    return [operand]


def _operand_to_sddl(operand: Attribute | Literal, domain: Sid | None) -> str:
    if isinstance(operand, Attribute):
        prefix = PREFIXES.get(operand.source)
        if prefix is None:
            return local_name_to_sddl(operand.name)
        return prefix + prefixed_name_to_sddl(operand.name)
    if isinstance(operand, Composite):
        items = (_scalar_to_sddl(item, domain) for item in operand.items)
        return "{" + ", ".join(items) + "}"
    return _scalar_to_sddl(operand, domain)


def _scalar_to_sddl(literal: Literal, domain: Sid | None) -> str:
    if isinstance(literal, Integer):
        return integer_to_sddl(literal)
    if isinstance(literal, String):
        return string_to_sddl(literal.value)
    if isinstance(literal, OctetString):
        return f"#{literal.value.hex()}"
    if isinstance(literal, SidLiteral):
        return f"SID({sid_to_sddl(literal.value, domain=domain)})"
    raise InvalidConditionError("a composite holds no composite")
