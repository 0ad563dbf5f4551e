"""The operators and prefixes of conditions as words ([MS-DTYP] 2.5.1.1).

Printed as Windows prints them; read in any case.
"""

from __future__ import annotations

from typing import Final

from stead.model.condition import AttributeSource, Operator

SPELLINGS: Final[dict[Operator, str]] = {
    Operator.EQUAL: "==",
    Operator.NOT_EQUAL: "!=",
    Operator.LESS: "<",
    Operator.LESS_OR_EQUAL: "<=",
    Operator.GREATER: ">",
    Operator.GREATER_OR_EQUAL: ">=",
    Operator.CONTAINS: "Contains",
    Operator.EXISTS: "Exists",
    Operator.ANY_OF: "Any_of",
    Operator.MEMBER_OF: "Member_of",
    Operator.DEVICE_MEMBER_OF: "Device_Member_of",
    Operator.MEMBER_OF_ANY: "Member_of_any",
    Operator.DEVICE_MEMBER_OF_ANY: "Device_Member_of_any",
    Operator.NOT_EXISTS: "Not_Exists",
    Operator.NOT_CONTAINS: "Not_Contains",
    Operator.NOT_ANY_OF: "Not_Any_of",
    Operator.NOT_MEMBER_OF: "Not_Member_of",
    Operator.NOT_DEVICE_MEMBER_OF: "Not_Device_Member_of",
    Operator.NOT_MEMBER_OF_ANY: "Not_Member_of_any",
    Operator.NOT_DEVICE_MEMBER_OF_ANY: "Not_Device_Member_of_any",
    Operator.AND: "&&",
    Operator.OR: "||",
    Operator.NOT: "!",
}
"""How each operator is printed."""
OPERATORS: Final[dict[str, Operator]] = {
    spelling.lower(): operator for operator, spelling in SPELLINGS.items()
}
"""Operators by their spelling in small letters."""
LOGICAL: Final = frozenset({Operator.AND, Operator.OR, Operator.NOT})
"""Those whose operands are conditions."""
EXISTENCE: Final = frozenset({Operator.EXISTS, Operator.NOT_EXISTS})
"""Those whose operand is an attribute and nothing else."""
PREFIXES: Final[dict[AttributeSource, str]] = {
    AttributeSource.USER: "@USER.",
    AttributeSource.DEVICE: "@DEVICE.",
    AttributeSource.RESOURCE: "@RESOURCE.",
}
"""What stands before an attribute's name; nothing before a local one."""
