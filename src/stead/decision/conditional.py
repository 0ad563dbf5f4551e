"""Evaluates conditional expressions: true, false or unknown ([MS-DTYP] 2.5.3.1.5).

An allowing entry counts where its condition is true, a denying one unless it is false.
The operators follow [MS-DTYP] 2.4.4.17.6 and .7, and what was recorded from Windows
where that differs:

- `Contains {}` is false whatever the claim, even if there is none;
- `Any_of` with one literal that is no composite is unknown;
- a claim that has a value twice ends the whole check;
- `!` before an attribute by itself, where the operand to its left is an attribute by
  itself too and not yet combined (`a || !(b)`), makes the whole expression unknown.

What an operator cannot use (a result, a literal where a claim belongs, values of
another type) makes the whole expression unknown; a claim that is missing or has no
values only makes the term unknown.

>>> evaluate(Attribute(AttributeSource.USER, "Title"), ConditionContext())
<Truth.UNKNOWN: -1>
"""

from __future__ import annotations

import operator as compare
from collections.abc import Callable
from enum import Enum
from typing import Final, TypeAlias

from stead.codec.condition_tree import in_postfix_order
from stead.decision.condition_context import (
    ConditionContext,
    Found,
    Key,
    Kind,
    key_of,
)
from stead.model.condition import (
    Attribute,
    Binary,
    Composite,
    Condition,
    Integer,
    Literal,
    OctetString,
    Operator,
    SidLiteral,
    String,
    Unary,
)
from stead.model.sid import Sid

__all__ = ["ConditionContext", "Truth", "evaluate"]


class Truth(Enum):
    """What a condition is; only TRUE is true where Python asks."""

    TRUE = 1
    FALSE = 0
    UNKNOWN = -1

    def __bool__(self) -> bool:
        return self is Truth.TRUE


_Item: TypeAlias = "Truth | Attribute | Literal"
_INVERSE: Final = {
    Truth.TRUE: Truth.FALSE,
    Truth.FALSE: Truth.TRUE,
    Truth.UNKNOWN: Truth.UNKNOWN,
}
_POSITIVE: Final = {
    Operator.NOT_EQUAL: Operator.EQUAL,
    Operator.NOT_CONTAINS: Operator.CONTAINS,
    Operator.NOT_ANY_OF: Operator.ANY_OF,
    Operator.NOT_EXISTS: Operator.EXISTS,
    Operator.NOT_MEMBER_OF: Operator.MEMBER_OF,
    Operator.NOT_DEVICE_MEMBER_OF: Operator.DEVICE_MEMBER_OF,
    Operator.NOT_MEMBER_OF_ANY: Operator.MEMBER_OF_ANY,
    Operator.NOT_DEVICE_MEMBER_OF_ANY: Operator.DEVICE_MEMBER_OF_ANY,
}
_ORDERINGS: Final[dict[Operator, Callable[[Key, Key], bool]]] = {
    Operator.LESS: compare.lt,
    Operator.LESS_OR_EQUAL: compare.le,
    Operator.GREATER: compare.gt,
    Operator.GREATER_OR_EQUAL: compare.ge,
}
_ORDERED: Final = frozenset({Kind.NUMBER, Kind.STRING, Kind.OCTETS})
_OF_DEVICE: Final = frozenset(
    {Operator.DEVICE_MEMBER_OF, Operator.DEVICE_MEMBER_OF_ANY}
)
_OF_ALL: Final = frozenset({Operator.MEMBER_OF, Operator.DEVICE_MEMBER_OF})


class _UnusableError(Exception):
    """An operand that its operator cannot use: the whole expression is unknown."""


def evaluate(condition: Condition, context: ConditionContext) -> Truth:
    """Evaluate a condition.

    Args:
        condition: the expression.
        context: the claims and SIDs it is about.

    Raises:
        InvalidClaimError: a claim that it names has a value twice.
        InvalidConditionError: it is too deep or too large.
    """
    order = in_postfix_order(condition)
    if _negates_beside_an_attribute(order):
        return Truth.UNKNOWN
    stack: list[_Item] = []
    try:
        for node in order:
            if isinstance(node, Binary):
                right, left = stack.pop(), stack.pop()
                stack.append(_binary(node.operator, left, right, context=context))
            elif isinstance(node, Unary):
                stack.append(_unary(node.operator, stack.pop(), context))
            else:
                stack.append(node)
        return _logical_value(stack[0], context)
    except _UnusableError:
        return Truth.UNKNOWN


def _negates_beside_an_attribute(order: list[Condition]) -> bool:
    """Tell whether `!` meets an attribute while another one waits on the stack."""
    are_attributes: list[bool] = []
    for node in order:
        if isinstance(node, Binary):
            are_attributes[-2:] = [False]
        elif isinstance(node, Unary):
            if node.operator is Operator.NOT and are_attributes[-2:] == [True, True]:
                return True
            are_attributes[-1] = False
        else:
            are_attributes.append(isinstance(node, Attribute))
    return False


def _unary(operator: Operator, operand: _Item, context: ConditionContext) -> Truth:
    positive = _POSITIVE.get(operator)
    if positive is not None:
        return _INVERSE[_unary(positive, operand, context)]
    if operator is Operator.NOT:
        return _INVERSE[_logical_value(operand, context)]
    if operator is Operator.EXISTS:
        return _exists(operand, context)
    return _member(operator, operand, context)


def _binary(
    operator: Operator, left: _Item, right: _Item, *, context: ConditionContext
) -> Truth:
    if operator is Operator.AND:
        return _and(_logical_value(left, context), _logical_value(right, context))
    if operator is Operator.OR:
        # Not, and, not: De Morgan's law holds for three values too.
        refuted = _and(
            _INVERSE[_logical_value(left, context)],
            _INVERSE[_logical_value(right, context)],
        )
        return _INVERSE[refuted]
    positive = _POSITIVE.get(operator)
    if positive is not None:
        return _INVERSE[_relation(positive, left, right, context=context)]
    return _relation(operator, left, right, context=context)


# --- logical operators ([MS-DTYP] 2.4.4.17.7) ---------------------------------------


def _and(left: Truth, right: Truth) -> Truth:
    if Truth.FALSE in (left, right):
        return Truth.FALSE
    return Truth.UNKNOWN if Truth.UNKNOWN in (left, right) else Truth.TRUE


def _logical_value(item: _Item, context: ConditionContext) -> Truth:
    if isinstance(item, Truth):
        return item
    if not isinstance(item, Attribute):
        raise _UnusableError
    found = context.find(item)
    if not found:
        return Truth.UNKNOWN
    if found.kind in (Kind.SID, Kind.OCTETS):
        # No source says when one of these is true.
        raise _UnusableError
    return _truth(any(found.keys(case_sensitive=True)))


def _exists(operand: _Item, context: ConditionContext) -> Truth:
    if not isinstance(operand, Attribute):
        raise _UnusableError
    found = context.find(operand)
    if found is None:
        return Truth.FALSE
    # Recorded: a claim without values is neither there nor not.
    return Truth.TRUE if found else Truth.UNKNOWN


def _truth(answer: bool) -> Truth:  # noqa: FBT001  # it is the thing converted
    return Truth.TRUE if answer else Truth.FALSE


# --- relational operators ([MS-DTYP] 2.4.4.17.6) ------------------------------------


def _member(operator: Operator, operand: _Item, context: ConditionContext) -> Truth:
    wanted = _sids_of(operand)
    if not wanted:
        # All of none and any of none: nobody meant that, so nothing rests on it.
        return Truth.UNKNOWN
    held = context.device_sids if operator in _OF_DEVICE else context.sids
    return _truth(
        wanted <= held if operator in _OF_ALL else not wanted.isdisjoint(held)
    )


def _sids_of(operand: _Item) -> frozenset[Sid]:
    items = operand.items if isinstance(operand, Composite) else (operand,)
    sids = [item.value for item in items if isinstance(item, SidLiteral)]
    if len(sids) != len(items):
        raise _UnusableError
    return frozenset(sids)


def _relation(
    operator: Operator, left: _Item, right: _Item, *, context: ConditionContext
) -> Truth:
    if not isinstance(left, Attribute) or isinstance(right, Truth):
        raise _UnusableError
    if operator is Operator.CONTAINS and right == Composite(()):
        return Truth.FALSE
    if operator is Operator.ANY_OF and not isinstance(right, Attribute | Composite):
        raise _UnusableError
    found = context.find(left)
    other = context.find(right) if isinstance(right, Attribute) else right
    if not found or not other:
        return Truth.UNKNOWN
    return _compare(operator, found, other)


def _compare(operator: Operator, left: Found, right: Found | Literal) -> Truth:
    case_sensitive = left.is_case_sensitive or (
        isinstance(right, Found) and right.is_case_sensitive
    )
    ours = left.keys(case_sensitive=case_sensitive)
    if isinstance(right, Found):
        kinds = frozenset({right.kind})
        theirs = right.keys(case_sensitive=case_sensitive)
    else:
        kinds, theirs = _literal_keys(right, case_sensitive=case_sensitive)
    if not kinds <= {left.kind}:
        _require_truth_values(operator, ours | theirs)
    if operator is Operator.EQUAL:
        return _truth(ours == theirs)
    if operator is Operator.CONTAINS:
        return _truth(theirs <= ours)
    if operator is Operator.ANY_OF:
        return _truth(not ours.isdisjoint(theirs))
    if left.kind not in _ORDERED:
        raise _UnusableError
    if isinstance(right, Composite) or len(ours) != 1 or len(theirs) != 1:
        return Truth.UNKNOWN
    (our,), (their,) = ours, theirs
    return _truth(_ORDERINGS[operator](our, their))


def _require_truth_values(operator: Operator, keys: frozenset[Key]) -> None:
    """Refuse to compare different kinds, but for equality of booleans with 0 and 1."""
    # Only booleans and numbers have such keys.
    if operator is not Operator.EQUAL or not keys <= {0, 1}:
        raise _UnusableError


def _literal_keys(
    literal: Literal, *, case_sensitive: bool
) -> tuple[frozenset[Kind], frozenset[Key]]:
    items = literal.items if isinstance(literal, Composite) else (literal,)
    kinds: set[Kind] = set()
    keys: set[Key] = set()
    for item in items:
        if isinstance(item, Composite):
            raise _UnusableError
        kinds.add(_LITERAL_KINDS[type(item)])
        keys.add(key_of(item.value, case_sensitive=case_sensitive))
    return frozenset(kinds), frozenset(keys)


_LITERAL_KINDS: Final[dict[type[Literal], Kind]] = {
    Integer: Kind.NUMBER,
    String: Kind.STRING,
    OctetString: Kind.OCTETS,
    SidLiteral: Kind.SID,
}
