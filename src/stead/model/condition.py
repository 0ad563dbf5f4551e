"""Conditional expressions as trees ([MS-DTYP] 2.4.4.17).

A condition is an operator over operands; operands are attributes, literals, composites
of literals, or conditions. What only bytes and text differ in (the width and base of an
integer) is kept in the literal, so that a tree can be written again as it was read.

>>> Binary(Operator.EQUAL, Attribute(AttributeSource.USER, "Title"), String("PM"))
Binary(operator=<Operator.EQUAL: 128>, left=Attribute(...), right=String(value='PM'))
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final, TypeAlias

from stead.errors import InvalidConditionError
from stead.model.sid import Sid


class Operator(IntEnum):
    """Operators by the byte that stands for them ([MS-DTYP] 2.4.4.17.6, .7)."""

    EQUAL = 0x80
    NOT_EQUAL = 0x81
    LESS = 0x82
    LESS_OR_EQUAL = 0x83
    GREATER = 0x84
    GREATER_OR_EQUAL = 0x85
    CONTAINS = 0x86
    EXISTS = 0x87
    ANY_OF = 0x88
    MEMBER_OF = 0x89
    DEVICE_MEMBER_OF = 0x8A
    MEMBER_OF_ANY = 0x8B
    DEVICE_MEMBER_OF_ANY = 0x8C
    NOT_EXISTS = 0x8D
    NOT_CONTAINS = 0x8E
    NOT_ANY_OF = 0x8F
    NOT_MEMBER_OF = 0x90
    NOT_DEVICE_MEMBER_OF = 0x91
    NOT_MEMBER_OF_ANY = 0x92
    NOT_DEVICE_MEMBER_OF_ANY = 0x93
    AND = 0xA0
    OR = 0xA1
    NOT = 0xA2


UNARY_OPERATORS: Final = frozenset({
    Operator.EXISTS, Operator.NOT_EXISTS, Operator.NOT,
    Operator.MEMBER_OF, Operator.DEVICE_MEMBER_OF,
    Operator.MEMBER_OF_ANY, Operator.DEVICE_MEMBER_OF_ANY,
    Operator.NOT_MEMBER_OF, Operator.NOT_DEVICE_MEMBER_OF,
    Operator.NOT_MEMBER_OF_ANY, Operator.NOT_DEVICE_MEMBER_OF_ANY,
})  # fmt: skip
"""Those that take one operand; the others take two."""


class AttributeSource(IntEnum):
    """Whose attribute is meant, by its byte ([MS-DTYP] 2.4.4.17.8)."""

    LOCAL = 0xF8
    USER = 0xF9
    RESOURCE = 0xFA
    DEVICE = 0xFB


class IntegerWidth(IntEnum):
    """How wide an integer literal is, by its byte ([MS-DTYP] 2.4.4.17.5)."""

    INT8 = 0x01
    INT16 = 0x02
    INT32 = 0x03
    INT64 = 0x04


class IntegerSign(IntEnum):
    """Which sign an integer literal is printed with."""

    PLUS = 0x01
    MINUS = 0x02
    NONE = 0x03


class IntegerBase(IntEnum):
    """Which base an integer literal is printed in."""

    OCTAL = 0x01
    DECIMAL = 0x02
    HEXADECIMAL = 0x03


@dataclass(frozen=True, slots=True)
class Integer:
    """A 64-bit integer literal, and how it is spelled.

    It is signed, but for hexadecimal ones without a sign: `0xffffffffffffffff` is the
    largest number of 64 bits.
    """

    value: int
    width: IntegerWidth = IntegerWidth.INT64
    sign: IntegerSign = IntegerSign.NONE
    base: IntegerBase = IntegerBase.DECIMAL

    def __post_init__(self) -> None:
        if not -(1 << 63) <= self.value < 1 << (64 if self.is_unsigned else 63):
            raise InvalidConditionError(f"`{self.value}` does not fit 64 bits")

    @property
    def is_unsigned(self) -> bool:
        """Whether its highest bit is one of its value's."""
        return (self.width, self.sign, self.base) == (
            IntegerWidth.INT64,
            IntegerSign.NONE,
            IntegerBase.HEXADECIMAL,
        )


@dataclass(frozen=True, slots=True)
class String:
    """A Unicode string literal."""

    value: str


@dataclass(frozen=True, slots=True)
class OctetString:
    """A literal of bytes."""

    value: bytes


@dataclass(frozen=True, slots=True)
class SidLiteral:
    """A SID literal."""

    value: Sid


@dataclass(frozen=True, slots=True)
class Composite:
    """A list of literals."""

    items: tuple[Literal, ...]


@dataclass(frozen=True, slots=True)
class Attribute:
    """An attribute by name; its value is looked up where it is evaluated."""

    source: AttributeSource
    name: str


@dataclass(frozen=True, slots=True)
class Unary:
    """An operator over one operand."""

    operator: Operator
    operand: Condition

    def __post_init__(self) -> None:
        if self.operator not in UNARY_OPERATORS:
            raise InvalidConditionError(
                f"operator `{self.operator.name}` takes two operands"
            )


@dataclass(frozen=True, slots=True)
class Binary:
    """An operator over two operands."""

    operator: Operator
    left: Condition
    right: Condition

    def __post_init__(self) -> None:
        if self.operator in UNARY_OPERATORS:
            raise InvalidConditionError(
                f"operator `{self.operator.name}` takes one operand"
            )


Literal: TypeAlias = "Integer | String | OctetString | SidLiteral | Composite"
Condition: TypeAlias = "Unary | Binary | Attribute | Literal"
