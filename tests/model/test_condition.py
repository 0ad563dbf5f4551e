"""Conditions as trees."""

import pytest

from stead.errors import InvalidConditionError
from stead.model.condition import (
    UNARY_OPERATORS,
    Attribute,
    AttributeSource,
    Binary,
    Integer,
    Operator,
    Unary,
)

LEAF = Attribute(AttributeSource.USER, "a")


@pytest.mark.parametrize("operator", Operator)
def test_an_operator_has_one_operand_or_two(operator):
    if operator in UNARY_OPERATORS:
        assert LEAF is Unary(operator, LEAF).operand
        with pytest.raises(InvalidConditionError, match=f"{operator.name}. takes one"):
            Binary(operator, LEAF, LEAF)
    else:
        assert LEAF is Binary(operator, LEAF, LEAF).right
        with pytest.raises(InvalidConditionError, match=f"{operator.name}. takes two"):
            Unary(operator, LEAF)


@pytest.mark.parametrize("value", [-(1 << 63), 0, (1 << 63) - 1])
def test_an_integer_has_64_bits(value):
    assert value == Integer(value).value


@pytest.mark.parametrize("value", [-(1 << 63) - 1, 1 << 63])
def test_a_larger_integer_is_refused(value):
    with pytest.raises(InvalidConditionError, match="does not fit 64 bits"):
        Integer(value)
