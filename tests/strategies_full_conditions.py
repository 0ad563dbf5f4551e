"""Random claims and conditions about them, of few names and few values."""

from __future__ import annotations

from typing import Final

from hypothesis import strategies as st
from tests import strategies as plain
from tests.strategies_full_choice import either, mostly_from, named

from stead.codec.condition_binary import write_condition
from stead.model.claim import Claim, ClaimFlags, ClaimType
from stead.model.condition import (
    Attribute,
    AttributeSource,
    Binary,
    Composite,
    Condition,
    Integer,
    IntegerSign,
    Literal,
    OctetString,
    Operator,
    SidLiteral,
    String,
    Unary,
)
from stead.model.well_known import EVERYONE

NAMES: Final = ("Title", "TITLE", "Level", "Tags", "Flag", "Ring")
STRINGS: Final = ("a", "A", "b", "ab", "_", "", "\u00e9", "\u00c9", "\ufb01", "z\u0301")


@named
def claims() -> st.SearchStrategy[Claim]:
    """Claims of few names, with one or two values mostly."""
    return st.sampled_from(ClaimType).flatmap(_claims_of)


@named
def _claims_of(kind: ClaimType) -> st.SearchStrategy[Claim]:
    values = _VALUES[kind]
    some = st.lists(values, min_size=1, max_size=2, unique=True)
    anything = st.lists(values, max_size=3)
    flags = st.sampled_from((0, 0, 0, 0, 2, 4, 0x10)).map(ClaimFlags)
    return st.builds(
        Claim,
        st.sampled_from(NAMES),
        st.just(kind),
        either(some, some, some, anything).map(tuple),
        flags,
    )


@named
def claim_lists() -> st.SearchStrategy[tuple[Claim, ...]]:
    return st.lists(claims(), max_size=4).map(tuple)


@named
def _integers() -> st.SearchStrategy[Integer]:
    def spelled(value: int) -> Integer:
        sign = IntegerSign.MINUS if value < 0 else IntegerSign.NONE
        return Integer(value, sign=sign)

    return st.integers(-1, 3).map(spelled)


@named
def literals() -> st.SearchStrategy[Literal]:
    """Single literals and lists; lists are of one kind mostly."""
    kinds = (
        _integers(),
        st.sampled_from(STRINGS).map(String),
        st.sampled_from((b"", b"\x01", b"\x01\x02")).map(OctetString),
        _sid_literals(),
    )
    lists = [
        st.lists(kind, max_size=3).map(lambda some: Composite(tuple(some)))
        for kind in (*kinds, either(*kinds))
    ]
    return either(*kinds, *lists)


@named
def _sid_literals() -> st.SearchStrategy[SidLiteral]:
    return st.sampled_from((*plain.PEOPLE, *plain.GROUPS, EVERYONE)).map(SidLiteral)


@named
def attributes() -> st.SearchStrategy[Attribute]:
    return st.builds(
        Attribute, st.sampled_from(AttributeSource), st.sampled_from(NAMES)
    )


@named
def conditions(depth: int = 3) -> st.SearchStrategy[Condition]:
    """Conditions that mean something mostly."""
    return either(_relations(), _memberships(), _logical(depth), _relations())


@named
def _relations() -> st.SearchStrategy[Condition]:
    return st.builds(
        Binary,
        st.sampled_from(_COMPARISONS),
        mostly_from(attributes(), literals()),
        either(literals(), literals(), attributes()),
    )


@named
def _memberships() -> st.SearchStrategy[Condition]:
    sids = st.lists(_sid_literals(), max_size=2).map(
        lambda some: Composite(tuple(some))
    )
    operands = mostly_from(either(_sid_literals(), sids), literals())
    return st.builds(Unary, st.sampled_from(_MEMBERSHIPS), operands)


@named
def _logical(depth: int) -> st.SearchStrategy[Condition]:
    exists = st.sampled_from((Operator.EXISTS, Operator.NOT_EXISTS))
    leaves = either(
        attributes(), st.builds(Unary, exists, mostly_from(attributes(), literals()))
    )
    if not depth:
        return mostly_from(leaves, literals(), 15)
    parts = conditions(depth - 1)
    both = st.sampled_from((Operator.AND, Operator.OR))
    return either(
        leaves,
        st.builds(Unary, st.just(Operator.NOT), parts),
        st.builds(Binary, both, parts, parts),
    )


_COMPARISONS: Final = (
    Operator.EQUAL, Operator.EQUAL, Operator.NOT_EQUAL,
    Operator.LESS, Operator.LESS_OR_EQUAL, Operator.GREATER, Operator.GREATER_OR_EQUAL,
    Operator.CONTAINS, Operator.NOT_CONTAINS, Operator.ANY_OF, Operator.NOT_ANY_OF,
)  # fmt: skip
_MEMBERSHIPS: Final = tuple(op for op in Operator if "MEMBER_OF" in op.name)
_VALUES: Final[dict[ClaimType, st.SearchStrategy[object]]] = {
    ClaimType.INT64: st.integers(-1, 3),
    ClaimType.UINT64: st.integers(0, 3),
    ClaimType.STRING: st.sampled_from(STRINGS),
    ClaimType.SID: st.sampled_from((*plain.PEOPLE, *plain.GROUPS, EVERYONE)),
    ClaimType.BOOLEAN: st.booleans(),
    ClaimType.OCTET_STRING: st.sampled_from((b"", b"\x01", b"\x01\x02")),
}


@named
def condition_data() -> st.SearchStrategy[bytes]:
    """What a callback entry carries: a condition mostly, else what is none."""
    readable = conditions().map(write_condition)
    broken = st.sampled_from((b"artx", b"artx\x80", b"artx\x01\x02", b"artx\xff\xff"))
    return either(readable, readable, readable, broken, st.binary(max_size=8))
