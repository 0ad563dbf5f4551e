"""Conditions, evaluated slowly and by another hand ([MS-DTYP] 2.4.4.17, 2.5.3.1.5).

A condition comes out as one of three letters, "T", "F" or "U", or as "E": something
in it that [MS-DTYP] calls an error (an operand of the wrong kind, values of another
type, a claim that says one value twice). The specification turns every error into
UNKNOWN for the whole condition, whatever stands beside it; "E" is that UNKNOWN, kept
apart from the one of an attribute that is missing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.spec.naive_letters import fold, units

from stead.model.claim import Claim, ClaimType
from stead.model.condition import (
    Attribute,
    AttributeSource,
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
from stead.model.token import AccessToken, TokenGroup

NEGATION = {"T": "F", "F": "T", "U": "U"}
KINDS = {
    ClaimType.INT64: "integer",
    ClaimType.UINT64: "integer",
    ClaimType.STRING: "string",
    ClaimType.SID: "sid",
    ClaimType.BOOLEAN: "boolean",
    ClaimType.OCTET_STRING: "octets",
}
OPPOSITES = {
    Operator.NOT_EQUAL: Operator.EQUAL,
    Operator.NOT_EXISTS: Operator.EXISTS,
    Operator.NOT_CONTAINS: Operator.CONTAINS,
    Operator.NOT_ANY_OF: Operator.ANY_OF,
    Operator.NOT_MEMBER_OF: Operator.MEMBER_OF,
    Operator.NOT_MEMBER_OF_ANY: Operator.MEMBER_OF_ANY,
    Operator.NOT_DEVICE_MEMBER_OF: Operator.DEVICE_MEMBER_OF,
    Operator.NOT_DEVICE_MEMBER_OF_ANY: Operator.DEVICE_MEMBER_OF_ANY,
}
MEMBERSHIPS = (
    Operator.MEMBER_OF,
    Operator.MEMBER_OF_ANY,
    Operator.DEVICE_MEMBER_OF,
    Operator.DEVICE_MEMBER_OF_ANY,
)
DEVICE_MEMBERSHIPS = (Operator.DEVICE_MEMBER_OF, Operator.DEVICE_MEMBER_OF_ANY)
ANY_MEMBERSHIPS = (Operator.MEMBER_OF_ANY, Operator.DEVICE_MEMBER_OF_ANY)
DISABLED, DENY_ONLY, CASE_SENSITIVE = 0x10, 0x04, 0x02
GROUP_ENABLED, GROUP_DENY_ONLY = 0x04, 0x10


class _NonsenseError(Exception):
    """Something that makes the whole condition UNKNOWN."""


class _UnreadableError(_NonsenseError):
    """What the condition asks about cannot be read."""


@dataclass(frozen=True)
class Facts:
    """What a condition may look at.

    Attributes:
        token: whose attributes and groups.
        resource: the object's attributes; None where they cannot be read, and then no
            condition that names one can be evaluated.
        for_deny: whether the entry denies, and sees what is there for deny only.
        by_restriction: whether the restricting SIDs are asked, and are its members.
    """

    token: AccessToken
    resource: tuple[Claim, ...] | None = ()
    for_deny: bool = False
    by_restriction: bool = False


@dataclass(frozen=True)
class Values:
    """What an operand of a comparison holds.

    Attributes:
        items: kind and value of each.
        is_literal: whether the condition itself says them.
        is_list: whether they stand in braces, however many there are.
        case_sensitive: whether strings differ by case.
    """

    items: tuple[tuple[str, object], ...]
    is_literal: bool = False
    is_list: bool = False
    case_sensitive: bool = False


def evaluate(condition: Condition, facts: Facts) -> str:
    """Return "T", "F", "U"; "E" for UNKNOWN because of an error in the condition.

    "X" is where the condition is well and what it asks about is not: an attribute of
    the object that cannot be read, a claim that says one value twice.
    """
    if facts.resource is None and names_the_resource(condition):
        return "X"
    if negates_beside_an_attribute(condition, None):
        return "E"
    try:
        return _logical(condition, facts)
    except _UnreadableError:
        return "X"
    except _NonsenseError:
        return "E"


def negates_beside_an_attribute(condition: Condition, before: Condition | None) -> bool:
    """Tell whether `!` stands between two bare attributes: recorded on Windows.

    In the order in which operators are applied, `before` is the operand that waits for
    its operator when this condition begins.
    """
    if isinstance(condition, Unary):
        if condition.operator == Operator.NOT:
            operand = condition.operand
            if isinstance(operand, Attribute) and isinstance(before, Attribute):
                return True
        return negates_beside_an_attribute(condition.operand, before)
    if isinstance(condition, Binary):
        return negates_beside_an_attribute(
            condition.left, before
        ) or negates_beside_an_attribute(condition.right, condition.left)
    return False


def names_the_resource(condition: Condition) -> bool:
    if isinstance(condition, Attribute):
        return condition.source == AttributeSource.RESOURCE
    if isinstance(condition, Unary):
        return names_the_resource(condition.operand)
    if isinstance(condition, Binary):
        sides = (condition.left, condition.right)
        return any(names_the_resource(side) for side in sides)
    return False


# --- what has a truth (2.4.4.17.7) ---


def _logical(condition: Condition, facts: Facts) -> str:
    if isinstance(condition, Attribute):
        return _truth_of_attribute(condition, facts)
    if isinstance(condition, Unary):
        return _unary(condition.operator, condition.operand, facts)
    if isinstance(condition, Binary):
        return _binary(condition.operator, condition, facts)
    raise _NonsenseError("a literal has no truth")


def _truth_of_attribute(attribute: Attribute, facts: Facts) -> str:
    claim = _look_up(attribute, facts)
    if claim is None or not claim.values:
        return "U"
    if KINDS[claim.type] in ("sid", "octets"):
        raise _NonsenseError("neither a number nor a string")
    return "T" if any(claim.values) else "F"


def _unary(operator: Operator, operand: Condition, facts: Facts) -> str:
    if operator in OPPOSITES:
        return NEGATION[_unary(OPPOSITES[operator], operand, facts)]
    if operator == Operator.NOT:
        return NEGATION[_logical(operand, facts)]
    if operator == Operator.EXISTS:
        return _exists(operand, facts)
    return _membership(operator, operand, facts)


def _binary(operator: Operator, condition: Binary, facts: Facts) -> str:
    if operator in OPPOSITES:
        return NEGATION[_binary(OPPOSITES[operator], condition, facts)]
    if operator in (Operator.AND, Operator.OR):
        # Both are looked at even where one decides: an error in either is an error.
        both = (_logical(condition.left, facts), _logical(condition.right, facts))
        decides = "F" if operator == Operator.AND else "T"
        if decides in both:
            return decides
        return "U" if "U" in both else NEGATION[decides]
    left = _operand(condition.left, facts, on_the_left=True)
    right = _operand(condition.right, facts, on_the_left=False)
    return _RELATIONS[operator](operator, left, right)


def _exists(operand: Condition, facts: Facts) -> str:
    if not isinstance(operand, Attribute):
        raise _NonsenseError("only attributes exist")
    claim = _look_up(operand, facts)
    if claim is None:
        return "F"
    return "T" if claim.values else "U"


# --- attributes (2.5.3.1.6, 2.5.3.1.7) ---


def _look_up(attribute: Attribute, facts: Facts) -> Claim | None:
    """Return the claim of that name that may be seen.

    Of several the token's last counts, and the object's first.
    """
    lists = {
        AttributeSource.LOCAL: facts.token.local_claims,
        AttributeSource.USER: facts.token.user_claims,
        AttributeSource.DEVICE: facts.token.device_claims,
        AttributeSource.RESOURCE: facts.resource or (),
    }
    claims = lists[attribute.source]
    if attribute.source != AttributeSource.RESOURCE:
        claims = tuple(reversed(claims))
    for claim in claims:
        if fold(claim.name) == fold(attribute.name) and _may_be_seen(claim, facts):
            _require_each_value_once(claim)
            return claim
    return None


def _may_be_seen(claim: Claim, facts: Facts) -> bool:
    if int(claim.flags) & DISABLED:
        return False
    return facts.for_deny or not int(claim.flags) & DENY_ONLY


def _require_each_value_once(claim: Claim) -> None:
    values = _values_of(claim)
    for position, value in enumerate(values.items):
        for other in values.items[position + 1 :]:
            if _same(value, other, case_sensitive=values.case_sensitive):
                raise _UnreadableError("a claim says one value twice")


def _values_of(claim: Claim) -> Values:
    kind = KINDS[claim.type]
    return Values(
        tuple((kind, value) for value in claim.values),
        case_sensitive=bool(int(claim.flags) & CASE_SENSITIVE),
    )


# --- membership (2.4.4.17.6, unary) ---


def _membership(operator: Operator, operand: Condition, facts: Facts) -> str:
    sids = _sids_of(operand)
    if not sids:
        return "U"  # "all of nobody" would let everybody in
    of_device = operator in DEVICE_MEMBERSHIPS
    held = [
        _device_holds(sid, facts) if of_device else _user_holds(sid, facts)
        for sid in sids
    ]
    enough = any(held) if operator in ANY_MEMBERSHIPS else all(held)
    return "T" if enough else "F"


def _sids_of(operand: Condition) -> list[Sid]:
    items = operand.items if isinstance(operand, Composite) else (operand,)
    sids = [item.value for item in items if isinstance(item, SidLiteral)]
    if len(sids) != len(items):
        raise _NonsenseError("membership is asked of sids")
    return sids


def _user_holds(sid: Sid, facts: Facts) -> bool:
    token = facts.token
    if str(sid) in ("S-1-3-4", "S-1-5-10"):
        return False  # OWNER RIGHTS and SELF mean nothing in a token
    if facts.by_restriction:
        return sid in token.restricting_sids
    if _is_deny_only_in(sid, token.groups):
        return facts.for_deny
    if sid == token.user:
        return facts.for_deny or not token.user_is_deny_only
    return _is_enabled_in(sid, token.groups)


def _device_holds(sid: Sid, facts: Facts) -> bool:
    if _is_deny_only_in(sid, facts.token.device_groups):
        return facts.for_deny
    return _is_enabled_in(sid, facts.token.device_groups)


def _is_deny_only_in(sid: Sid, groups: tuple[TokenGroup, ...]) -> bool:
    return any(g.sid == sid and int(g.attributes) & GROUP_DENY_ONLY for g in groups)


def _is_enabled_in(sid: Sid, groups: tuple[TokenGroup, ...]) -> bool:
    return any(g.sid == sid and int(g.attributes) & GROUP_ENABLED for g in groups)


# --- comparisons (2.4.4.17.6, binary) ---


def _operand(operand: Condition, facts: Facts, *, on_the_left: bool) -> Values | None:
    """Return what an operand holds; None where the attribute has no value."""
    if isinstance(operand, Attribute):
        claim = _look_up(operand, facts)
        return _values_of(claim) if claim is not None and claim.values else None
    if on_the_left:
        raise _NonsenseError("an attribute stands on the left")
    if isinstance(operand, Composite):
        items = tuple(_literal(item) for item in operand.items)
        return Values(items, is_literal=True, is_list=True)
    if isinstance(operand, (Unary, Binary)):
        raise _NonsenseError("a result is not compared")
    return Values((_literal(operand),), is_literal=True)


def _literal(literal: Literal) -> tuple[str, object]:
    if isinstance(literal, Integer):
        return "integer", literal.value
    if isinstance(literal, String):
        return "string", literal.value
    if isinstance(literal, OctetString):
        return "octets", literal.value
    if isinstance(literal, SidLiteral):
        return "sid", literal.value
    raise _NonsenseError("a list inside a list")


def _equal(_: Operator, left: Values | None, right: Values | None) -> str:
    if left is None or right is None:
        return "U"
    left, right = _numbers_as_booleans(left, right)
    _require_one_kind(left, right)
    return "T" if _includes(left, right) and _includes(right, left) else "F"


def _ordered(operator: Operator, left: Values | None, right: Values | None) -> str:
    if left is None or right is None:
        return "U"
    if len(left.items) != 1 or len(right.items) != 1 or right.is_list:
        return "U"
    _require_one_kind(left, right)
    (kind, first), (_, second) = left.items[0], right.items[0]
    if kind in ("boolean", "sid"):
        raise _NonsenseError("it has no order")
    if kind == "string":
        exactly = left.case_sensitive or right.case_sensitive
        first = units(str(first)) if exactly else fold(str(first))
        second = units(str(second)) if exactly else fold(str(second))
    return "T" if _ORDERS[operator](first, second) else "F"


def _contains(_: Operator, left: Values | None, right: Values | None) -> str:
    if right is not None and not right.items:
        return "F"  # recorded on Windows, even where the attribute is missing
    if left is None or right is None:
        return "U"
    _require_one_kind(left, right)
    return "T" if _includes(left, right) else "F"


def _any_of(_: Operator, left: Values | None, right: Values | None) -> str:
    if left is None or right is None:
        return "U"
    if right.is_literal and not right.is_list:
        raise _NonsenseError("recorded on Windows: one literal without braces")
    _require_one_kind(left, right)
    return "T" if any(_is_in(item, right, left) for item in left.items) else "F"


def _numbers_as_booleans(left: Values, right: Values) -> tuple[Values, Values]:
    """Read literal 1 and 0 as booleans beside a boolean attribute."""
    beside_boolean = any(kind == "boolean" for kind, _ in left.items)
    if not right.is_literal or not beside_boolean:
        return left, right
    items = tuple(
        ("boolean", value == 1) if kind == "integer" and value in (0, 1) else item
        for item in right.items
        for kind, value in (item,)
    )
    return left, Values(items, is_literal=True, is_list=right.is_list)


def _require_one_kind(left: Values, right: Values) -> None:
    if len({kind for kind, _ in (*left.items, *right.items)}) > 1:
        raise _NonsenseError("values of different types")


def _includes(holder: Values, wanted: Values) -> bool:
    return all(_is_in(item, holder, wanted) for item in wanted.items)


def _is_in(item: tuple[str, object], holder: Values, other: Values) -> bool:
    exactly = holder.case_sensitive or other.case_sensitive
    return any(_same(item, held, case_sensitive=exactly) for held in holder.items)


def _same(
    one: tuple[str, object], other: tuple[str, object], *, case_sensitive: bool
) -> bool:
    if one[0] == "string" and not case_sensitive:
        return fold(str(one[1])) == fold(str(other[1]))
    return one[1] == other[1]


_RELATIONS: dict[Operator, Callable[[Operator, Values | None, Values | None], str]] = {
    Operator.EQUAL: _equal,
    Operator.LESS: _ordered,
    Operator.LESS_OR_EQUAL: _ordered,
    Operator.GREATER: _ordered,
    Operator.GREATER_OR_EQUAL: _ordered,
    Operator.CONTAINS: _contains,
    Operator.ANY_OF: _any_of,
}
_ORDERS: dict[Operator, Callable[..., bool]] = {
    Operator.LESS: lambda one, other: one < other,
    Operator.LESS_OR_EQUAL: lambda one, other: one <= other,
    Operator.GREATER: lambda one, other: one > other,
    Operator.GREATER_OR_EQUAL: lambda one, other: one >= other,
}
