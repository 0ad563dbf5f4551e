"""What the binary and the text form of a condition share ([MS-DTYP] 2.4.4.17).

The bounds of a tree, its order for a stack machine, and the sign an integer is written
with. Everything that walks a tree does so without recursion, because conditions come
from strangers.

>>> sign_of(Integer(-1))
<IntegerSign.MINUS: 2>
"""

from __future__ import annotations

from typing import Final

from stead.errors import InvalidConditionError
from stead.model.condition import Binary, Condition, Integer, IntegerSign, Unary

MAXIMUM_DEPTH: Final = 160
"""Operators within one another; what is deeper could not be compared or printed."""
MAXIMUM_TOKENS: Final = 0xFFFF
"""Operators and operands; an entry of 64 KiB has no room for more."""


def in_postfix_order(condition: Condition) -> list[Condition]:
    """List a tree's nodes as its bytes do: operands first, then their operator.

    Raises:
        InvalidConditionError: the tree is too deep or too large.
    """
    order: list[Condition] = []
    waiting: list[tuple[Condition, int]] = [(condition, 0)]
    while waiting:
        node, depth = waiting.pop()
        require_depth(depth)
        if len(order) == MAXIMUM_TOKENS:
            raise InvalidConditionError("the condition does not fit an ace")
        order.append(node)
        if isinstance(node, Binary):
            waiting += ((node.left, depth + 1), (node.right, depth + 1))
        elif isinstance(node, Unary):
            waiting.append((node.operand, depth + 1))
    order.reverse()
    return order


def require_depth(depth: int) -> None:
    """Raise `InvalidConditionError` if so many operators are within one another."""
    if depth > MAXIMUM_DEPTH:
        raise InvalidConditionError(
            f"the condition has more than {MAXIMUM_DEPTH} operators within one another"
        )


def sign_of(literal: Integer) -> IntegerSign:
    """Return the sign a literal is written with: a negative one always has its minus.

    Raises:
        InvalidConditionError: it is positive and would be spelled with a minus.
    """
    if literal.value < 0:
        return IntegerSign.MINUS
    if literal.value and literal.sign is IntegerSign.MINUS:
        raise InvalidConditionError(f"`{literal.value}` is spelled with a minus sign")
    return literal.sign
