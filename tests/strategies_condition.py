"""Random conditions and claims, for property tests of their codecs and evaluation."""

from __future__ import annotations

from typing import Final

from hypothesis import strategies as st
from tests.strategies import any_sids, sids

from stead.codec.condition_words import EXISTENCE, LOGICAL, OPERATORS
from stead.model.claim import Claim, ClaimFlags, ClaimType
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

_BINARY: Final = tuple(
    item for item in Operator if item not in UNARY_OPERATORS | LOGICAL
)
_MEMBER: Final = tuple(UNARY_OPERATORS - LOGICAL - EXISTENCE)
_PREFIXED: Final = (
    AttributeSource.USER,
    AttributeSource.DEVICE,
    AttributeSource.RESOURCE,
)
_LARGEST: Final = 1 << 63


def unicode_text(min_size: int = 0) -> st.SearchStrategy[str]:
    """Any text that UTF-16 has, without null characters."""
    return st.text(
        st.characters(exclude_categories=("Cs",), exclude_characters="\0"),
        min_size=min_size,
        max_size=12,
    )


def attributes(*sources: AttributeSource) -> st.SearchStrategy[Attribute]:
    """Attributes of short, plain names mostly, of any name now and then."""
    names = st.one_of(
        st.sampled_from(("Title", "title", "Level", "Project")), unicode_text(1)
    )
    return st.builds(
        Attribute,
        st.sampled_from(sources or tuple(AttributeSource)),
        names.filter(lambda name: name.lower() not in OPERATORS),
    )


def integers() -> st.SearchStrategy[Integer]:
    """Integers as text spells them: 64 bits wide."""

    def spell(value: int, *, plus: bool, base: IntegerBase) -> Integer:
        positive = IntegerSign.PLUS if plus else IntegerSign.NONE
        sign = IntegerSign.MINUS if value < 0 else positive
        return Integer(value, IntegerWidth.INT64, sign, base)

    values = st.one_of(st.integers(-3, 3), st.integers(-_LARGEST, _LARGEST - 1))
    return st.builds(
        spell, values, plus=st.booleans(), base=st.sampled_from(IntegerBase)
    )


def scalars() -> st.SearchStrategy[Literal]:
    """Literals that are no composites."""
    return st.one_of(
        integers(),
        st.builds(String, st.one_of(st.sampled_from(("a", "A", "b")), unicode_text())),
        st.builds(OctetString, st.binary(max_size=6)),
        st.builds(SidLiteral, sids()),
    )


def literals() -> st.SearchStrategy[Literal]:
    """Literals, composites among them."""
    composites = st.lists(scalars(), max_size=4).map(
        lambda items: Composite(tuple(items))
    )
    return st.one_of(scalars(), composites)


def grammatical() -> st.SearchStrategy[Condition]:
    """Conditions that SDDL can spell and read again."""
    values = st.one_of(literals(), attributes(*_PREFIXED))
    compared = st.builds(Binary, st.sampled_from(_BINARY), attributes(), values)
    terms = st.one_of(
        attributes(),
        compared,
        st.builds(Binary, st.sampled_from(_BINARY), compared, values),
        st.builds(Unary, st.sampled_from(tuple(EXISTENCE)), attributes()),
        st.builds(Unary, st.sampled_from(_MEMBER), literals()),
    )
    return st.recursive(
        terms,
        lambda inner: st.one_of(
            st.builds(
                Binary, st.sampled_from((Operator.AND, Operator.OR)), inner, inner
            ),
            st.builds(Unary, st.just(Operator.NOT), inner),
        ),
        max_leaves=8,
    )


def any_shape() -> st.SearchStrategy[Condition]:
    """Conditions that bytes can hold, whether or not they mean anything."""
    unary = st.sampled_from(tuple(UNARY_OPERATORS))
    binary = st.sampled_from(tuple(set(Operator) - UNARY_OPERATORS))
    return st.recursive(
        st.one_of(attributes(), literals()),
        lambda inner: st.one_of(
            st.builds(Unary, unary, inner), st.builds(Binary, binary, inner, inner)
        ),
        max_leaves=8,
    )


def claims() -> st.SearchStrategy[Claim]:
    """Claims of every type, without a value twice."""
    small = st.integers(0, 3)
    words = st.one_of(st.sampled_from(("a", "A", "b")), unicode_text())
    values = {
        ClaimType.INT64: st.one_of(small, st.integers(-_LARGEST, _LARGEST - 1)),
        ClaimType.UINT64: st.one_of(small, st.integers(0, 2 * _LARGEST - 1)),
        ClaimType.STRING: words,
        ClaimType.SID: any_sids(),
        ClaimType.BOOLEAN: st.booleans(),
        ClaimType.OCTET_STRING: st.binary(max_size=6),
    }
    names = st.one_of(
        st.sampled_from(("Title", "TITLE", "Level", "Project")), unicode_text(1)
    )
    flags = st.one_of(st.sampled_from((0, 2, 4, 16)), st.integers(0, 2**32 - 1))
    return st.sampled_from(ClaimType).flatmap(
        lambda kind: st.builds(
            Claim,
            names,
            st.just(kind),
            st.lists(values[kind], max_size=4, unique=True).map(tuple),
            flags.map(ClaimFlags),
        )
    )
