"""Conditions evaluated: three values, comparisons, members, flags of claims."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.spec.naive_condition import negates_beside_an_attribute
from tests.strategies import sids
from tests.strategies_condition import any_shape, claims, grammatical

from stead.codec.condition_text import read_condition_text
from stead.codec.condition_tree import MAXIMUM_DEPTH
from stead.decision.conditional import ConditionContext, Truth, evaluate
from stead.errors import InvalidClaimError, InvalidConditionError
from stead.model.claim import Claim, ClaimFlags, ClaimType
from stead.model.condition import (
    Attribute,
    AttributeSource,
    Binary,
    Composite,
    Integer,
    Operator,
    SidLiteral,
    String,
    Unary,
)
from stead.model.sid import Sid
from stead.model.well_known import ADMINISTRATORS, EVERYONE, LOCAL_SYSTEM

TRUE, FALSE, UNKNOWN = Truth.TRUE, Truth.FALSE, Truth.UNKNOWN

CONTEXT = ConditionContext(
    user_claims=(
        Claim("Title", ClaimType.STRING, ("PM",)),
        Claim("Exact", ClaimType.STRING, ("PM",), ClaimFlags.VALUE_CASE_SENSITIVE),
        Claim("Lower", ClaimType.STRING, ("pm",)),
        Claim("Projects", ClaimType.STRING, ("Alpha", "Beta")),
        Claim("Level", ClaimType.INT64, (5,)),
        Claim("Big", ClaimType.UINT64, (2**64 - 1,)),
        Claim("Five", ClaimType.UINT64, (5,)),
        Claim("Levels", ClaimType.INT64, (0, 1, 2)),
        Claim("Zero", ClaimType.INT64, (0,)),
        Claim("Yes", ClaimType.BOOLEAN, (True,)),
        Claim("No", ClaimType.BOOLEAN, (False,)),
        Claim("Blank", ClaimType.STRING, ("",)),
        Claim("Blob", ClaimType.OCTET_STRING, (b"\x01\x02",)),
        Claim("Boss", ClaimType.SID, (LOCAL_SYSTEM,)),
        Claim("None", ClaimType.STRING),
        Claim("Twice", ClaimType.STRING, ("a", "A")),
        Claim("TwiceExact", ClaimType.STRING, ("a", "A"), ClaimFlags(2)),
    ),
    device_claims=(Claim("Zone", ClaimType.STRING, ("secure",)),),
    local_claims=(Claim("Here", ClaimType.INT64, (1,)),),
    resource_claims=(
        Claim("Level", ClaimType.INT64, (3,)),
        Claim("Project", ClaimType.STRING, ("BETA",)),
        Claim("level", ClaimType.INT64, (9,)),
    ),
    sids=frozenset({ADMINISTRATORS, EVERYONE}),
    device_sids=frozenset({LOCAL_SYSTEM}),
)


def truth(text, context=CONTEXT):
    return evaluate(read_condition_text(f"({text})"), context)


def user(*user_claims, deny=False):
    return ConditionContext(user_claims=user_claims, deny=deny)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('@User.Title == "PM"', TRUE),
        ('@USER.tItLe == "pm"', TRUE),
        ('@User.Title != "PM"', FALSE),
        ('@User.Title == "Dev"', FALSE),
        ('@User.Title != "Dev"', TRUE),
        ('@User.Title == {"pm"}', TRUE),
        ('@User.Title == {"pm", "PM"}', TRUE),
        ("@User.Title == {}", FALSE),
        ("@User.Title != {}", TRUE),
        ('@User.Exact == "PM"', TRUE),
        ('@User.Exact == "pm"', FALSE),
        ("@User.Title == @User.Exact", TRUE),
        ("@User.Lower == @User.Title", TRUE),
        ("@User.Lower == @User.Exact", FALSE),
        ("@User.Exact == @User.Lower", FALSE),
        ("@User.Title == @User.Missing", UNKNOWN),
        ("@User.Missing == @User.Title", UNKNOWN),
        ("@User.Title == @User.None", UNKNOWN),
        ("@User.None != @User.Title", UNKNOWN),
        ('@User.Projects == {"beta", "alpha"}', TRUE),
        ('@User.Projects == "alpha"', FALSE),
        ("@User.Level == 5", TRUE),
        ("@User.Level == 0x5", TRUE),
        ("@User.Level == @User.Five", TRUE),
        ("@User.Level < @User.Big", TRUE),
        ("@User.Level >= @Resource.Level", TRUE),
        ("@User.Blob == #0102", TRUE),
        ("@User.Blob != #0103", TRUE),
        ("@User.Boss == SID(SY)", TRUE),
        ("@User.Boss == SID(BA)", FALSE),
        ('@Device.Zone == "SECURE"', TRUE),
        ("Here == 1", TRUE),
        ("@Resource.Level == 3", TRUE),
        ("@Resource.Level == 9", FALSE),
    ],
)
def test_equality_is_of_sets_and_without_regard_to_case(text, expected):
    assert expected is truth(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("@User.Yes == 1", TRUE),
        ("@User.No == 0", TRUE),
        ("@User.Yes != 0", TRUE),
        ("@User.Yes == 0", FALSE),
        ("@User.Zero == @User.No", TRUE),
        ("@User.Yes == 2", UNKNOWN),
        ("@User.Yes == {0, 2}", UNKNOWN),
        ("@User.Yes < 2", UNKNOWN),
        ("@User.Yes > @User.No", UNKNOWN),
        ("@User.Yes Contains 1", UNKNOWN),
        ("@User.Yes Contains @User.Yes", TRUE),
    ],
)
def test_booleans_are_equal_to_zero_and_one_and_not_ordered(text, expected):
    assert expected is truth(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("@User.Level < 6", TRUE),
        ("@User.Level < 5", FALSE),
        ("@User.Level <= 5", TRUE),
        ("@User.Level > 4", TRUE),
        ("@User.Level > 5", FALSE),
        ("@User.Level >= 5", TRUE),
        ("@User.Level > -1", TRUE),
        ('@User.Title < "PMO"', TRUE),
        ('@User.Title < "_"', TRUE),
        ("@User.Blob < #02", TRUE),
        ("@User.Levels < 5", UNKNOWN),
        ("@User.Level < @User.Levels", UNKNOWN),
        ("@User.Level < {6}", UNKNOWN),
        ("@User.Level < {6} || @User.Yes", TRUE),
        ("@User.Boss < SID(BA)", UNKNOWN),
    ],
)
def test_only_single_values_are_ordered(text, expected):
    assert expected is truth(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('@User.Projects Contains "ALPHA"', TRUE),
        ('@User.Projects Contains {"alpha", "beta", "beta"}', TRUE),
        ('@User.Projects Contains {"alpha", "gamma"}', FALSE),
        ("@User.Projects Contains @Resource.Project", TRUE),
        ('@User.Projects Not_Contains "gamma"', TRUE),
        ("@User.Projects Contains {}", FALSE),
        ("@User.Missing Contains {}", FALSE),
        ("@User.Missing Not_Contains {}", TRUE),
        ('@User.Missing Contains "x"', UNKNOWN),
        ("@User.Projects Contains {1}", UNKNOWN),
        ('@User.Projects Contains {"alpha", 1}', UNKNOWN),
        ('@User.Projects Any_of {"beta", "gamma"}', TRUE),
        ('@User.Projects Any_of {"gamma"}', FALSE),
        ('@User.Projects Not_Any_of {"gamma"}', TRUE),
        ("@User.Projects Any_of @Resource.Project", TRUE),
        ("@User.Projects Any_of {}", FALSE),
        ("@User.Projects Not_Any_of {}", TRUE),
        ("@User.Missing Any_of {}", UNKNOWN),
        ('@User.Projects Any_of "alpha"', UNKNOWN),
        ('@User.Projects Not_Any_of "gamma"', UNKNOWN),
    ],
)
def test_contains_and_any_of_compare_sets(text, expected):
    assert expected is truth(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Member_of {SID(BA)}", TRUE),
        ("Member_of SID(BA)", TRUE),
        ("Member_of {SID(BA), SID(WD)}", TRUE),
        ("Member_of {SID(BA), SID(SY)}", FALSE),
        ("Not_Member_of {SID(BA), SID(SY)}", TRUE),
        ("Not_Member_of {SID(BA)}", FALSE),
        ("Member_of_Any {SID(BA), SID(SY)}", TRUE),
        ("Member_of_Any {SID(SY)}", FALSE),
        ("Not_Member_of_Any {SID(SY)}", TRUE),
        ("Device_Member_of {SID(SY)}", TRUE),
        ("Device_Member_of {SID(BA)}", FALSE),
        ("Device_Member_of {SID(SY), SID(BA)}", FALSE),
        ("Not_Device_Member_of {SID(BA)}", TRUE),
        ("Not_Device_Member_of {SID(SY), SID(AN)}", TRUE),
        ("Not_Device_Member_of {SID(SY)}", FALSE),
        ("Device_Member_of_Any {SID(BA), SID(SY)}", TRUE),
        ("Not_Device_Member_of_Any {SID(BA)}", TRUE),
        ("Not_Device_Member_of_Any {SID(SY), SID(BA)}", FALSE),
        ("Member_of {}", UNKNOWN),
        ("Not_Member_of_Any {}", UNKNOWN),
        ("Member_of 3", UNKNOWN),
        ("Member_of {SID(BA), 3}", UNKNOWN),
    ],
)
def test_members_are_looked_up_among_the_sids(text, expected):
    assert expected is truth(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("@User.Yes", TRUE),
        ("@User.No", FALSE),
        ("@User.Level", TRUE),
        ("@User.Zero", FALSE),
        ("@User.Levels", TRUE),
        ("@User.Title", TRUE),
        ("@User.Blank", FALSE),
        ("@User.None", UNKNOWN),
        ("@User.Missing", UNKNOWN),
        ("@User.Boss", UNKNOWN),
        ("@User.Blob", UNKNOWN),
        ("!(@User.Yes)", FALSE),
        ("@User.Yes && @User.No", FALSE),
        ("@User.No || @User.Yes", TRUE),
    ],
)
def test_an_attribute_alone_is_true_if_it_is_neither_zero_nor_empty(text, expected):
    assert expected is truth(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("@User.Yes || !(@User.Yes)", UNKNOWN),
        ("@User.Yes && !(@User.No)", UNKNOWN),
        ("@User.No && !@User.Missing", UNKNOWN),
        ("@User.Yes || (!(@User.Yes) && @User.Yes)", UNKNOWN),
        ("@User.Yes || !(!(@User.No))", UNKNOWN),
        ("(@User.Level == 5) || (@User.Yes || !(@User.Yes))", UNKNOWN),
        ("!(@User.Yes) || @User.Yes", TRUE),
        ("!(@User.No) || !(@User.No)", TRUE),
        ("!(!(!(!(@User.No))))", FALSE),
        ("@User.Yes && !(@User.No || @User.No)", TRUE),
        ("@User.Yes || (@User.Yes || @User.Yes)", TRUE),
        ("(@User.Level == 5) && !(@User.No)", TRUE),
        ("@User.Yes && !(@User.Level == 6)", TRUE),
        ("(@User.Yes || @User.Yes) && !(@User.No)", TRUE),
    ],
)
def test_a_negated_attribute_beside_a_bare_one_is_unknown_as_on_windows(text, expected):
    assert expected is truth(text)


def test_a_hexadecimal_number_without_a_sign_is_none_below_zero():
    text = "@User.a == 0xffffffffffffffff"
    assert TRUE is truth(text, user(Claim("a", ClaimType.UINT64, (2**64 - 1,))))
    assert FALSE is truth(text, user(Claim("a", ClaimType.INT64, (-1,))))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Exists @User.Title", TRUE),
        ("Exists @User.Zero", TRUE),
        ("Exists @User.Missing", FALSE),
        ("Exists @User.None", UNKNOWN),
        ("Not_Exists @Resource.Missing", TRUE),
        ("Not_Exists @Resource.Level", FALSE),
        ("Exists Here", TRUE),
    ],
)
def test_existence_is_of_claims_with_values(text, expected):
    assert expected is truth(text)


VALUES = {TRUE: "@User.Yes", FALSE: "@User.No", UNKNOWN: "@User.Missing == 1"}


@pytest.mark.parametrize("left", VALUES)
@pytest.mark.parametrize("right", VALUES)
def test_logic_has_three_values(left, right):
    both, either = (
        f"{VALUES[left]} && {VALUES[right]}",
        f"{VALUES[left]} || {VALUES[right]}",
    )
    weakest = min((left, right), key=lambda t: {FALSE: 0, UNKNOWN: 1, TRUE: 2}[t])
    strongest = max((left, right), key=lambda t: {FALSE: 0, UNKNOWN: 1, TRUE: 2}[t])
    assert weakest is truth(both)
    assert strongest is truth(either)


@pytest.mark.parametrize(
    "text",
    [
        '@User.Level == "5"',
        "@User.Title == 5",
        '@User.Level < "9"',
        "@User.Title == #01",
        "@User.Title == @User.Level",
        "@User.Title Any_of @User.Level",
        "@User.Level == @User.Yes",
        "@User.Yes == @User.Level",
        "@User.Title == @User.Level == 1",
        "Member_of 3",
    ],
)
def test_what_an_operator_cannot_use_makes_the_whole_expression_unknown(text):
    assert UNKNOWN is truth(f"({text}) || @User.Yes")
    assert UNKNOWN is truth(f"({text}) && @User.No")


@pytest.mark.parametrize(
    "condition",
    [
        Integer(1),
        Unary(Operator.NOT, String("x")),
        Unary(Operator.EXISTS, Integer(1)),
        Unary(
            Operator.EXISTS, Unary(Operator.NOT, Attribute(AttributeSource.USER, "a"))
        ),
        Binary(Operator.EQUAL, Integer(1), Integer(1)),
        Binary(
            Operator.EQUAL,
            Attribute(AttributeSource.USER, "Level"),
            Unary(Operator.MEMBER_OF, SidLiteral(EVERYONE)),
        ),
        Binary(
            Operator.CONTAINS,
            Attribute(AttributeSource.USER, "Level"),
            Composite((Composite(()),)),
        ),
    ],
)
def test_trees_that_only_bytes_can_hold_are_unknown(condition):
    assert UNKNOWN is evaluate(condition, CONTEXT)


def test_a_local_attribute_may_be_the_second_operand_in_bytes():
    condition = Binary(
        Operator.GREATER,
        Attribute(AttributeSource.USER, "Level"),
        Attribute(AttributeSource.LOCAL, "Here"),
    )
    assert TRUE is evaluate(condition, CONTEXT)


def test_a_claim_with_a_value_twice_ends_the_check():
    for text in ("@User.Twice", "@User.Twice == @User.Twice", "Exists @User.Twice"):
        with pytest.raises(InvalidClaimError, match="twice"):
            truth(text)


def test_values_that_differ_in_case_are_two_where_case_counts():
    assert TRUE is truth('@User.TwiceExact == {"a", "A"}')


def test_a_claim_that_nobody_names_may_be_wrong():
    assert TRUE is truth("@User.Yes")


def test_of_claims_with_one_name_the_last_counts_and_of_attributes_the_first():
    first, second = (Claim("a", ClaimType.INT64, (n,)) for n in (1, 2))
    tokens = ConditionContext(
        user_claims=(first, second),
        device_claims=(first, second),
        local_claims=(first, second),
        resource_claims=(first, second),
    )
    assert TRUE is truth("@User.A == 2 && @Device.A == 2 && A == 2", tokens)
    assert TRUE is truth("@Resource.A == 1", tokens)


def test_a_context_that_says_nothing_of_denying_is_an_allowing_one():
    claim = Claim("Title", ClaimType.STRING, ("PM",), ClaimFlags.USE_FOR_DENY_ONLY)
    context = ConditionContext(user_claims=(claim,))
    assert UNKNOWN is truth('@User.Title == "PM"', context)


def test_a_claim_that_has_a_value_twice_is_named():
    with pytest.raises(InvalidClaimError, match=r"^claim `Twice` has a value twice$"):
        truth("@User.Twice")


def test_a_disabled_claim_is_absent():
    claim = Claim("a", ClaimType.INT64, (1,), ClaimFlags.DISABLED)
    assert FALSE is truth("Exists @User.a", user(claim, deny=True))


def test_a_disabled_claim_hides_no_other():
    enabled = Claim("a", ClaimType.INT64, (1,))
    disabled = Claim("a", ClaimType.INT64, (2,), ClaimFlags.DISABLED)
    assert TRUE is truth("@User.a == 1", user(enabled, disabled))


def test_a_deny_only_claim_is_seen_by_denying_entries_alone():
    claim = Claim("a", ClaimType.INT64, (1,), ClaimFlags.USE_FOR_DENY_ONLY)
    assert UNKNOWN is truth("@User.a == 1", user(claim))
    assert TRUE is truth("@User.a == 1", user(claim, deny=True))


@pytest.mark.parametrize(
    ("left", "operator", "right"),
    [
        ("straße", "==", "STRAßE"),
        ("straße", "!=", "STRASSE"),
        ("ÿ", "==", "Ÿ"),
        ("ς", "==", "Σ"),
        ("ᾳ", "==", "ᾼ"),
        ("ⴀ", "==", "Ⴀ"),
        # No way back, so no fold.
        ("\u017f", "!=", "S"),
        ("µ", "!=", "\u039c"),
        ("\u0131", "!=", "I"),
        # Pairs that Unicode got after Windows' table.
        ("ა", "!=", "Ა"),
        ("ꭰ", "!=", "\u13a0"),
        ("ⳮ", "!=", "Ⳮ"),
        ("ꟁ", "!=", "Ꟁ"),
        # No case beyond the basic plane, and order by code unit.
        ("𐐨", "!=", "𐐀"),
        ("𐐀", "<", "ﬁ"),
    ],
)
def test_strings_are_folded_and_ordered_as_windows_does(left, operator, right):
    context = user(
        Claim("a", ClaimType.STRING, (left,)), Claim("b", ClaimType.STRING, (right,))
    )
    assert TRUE is truth(f"@User.a {operator} @User.b", context)


def test_only_true_is_true_in_python():
    assert [True, False, False] == [bool(item) for item in (TRUE, FALSE, UNKNOWN)]


def test_a_tree_too_deep_is_refused():
    condition = Attribute(AttributeSource.USER, "a")
    for _ in range(MAXIMUM_DEPTH + 1):
        condition = Unary(Operator.NOT, condition)
    with pytest.raises(InvalidConditionError):
        evaluate(condition, CONTEXT)


def test_contexts_are_equal_whatever_they_have_looked_up():
    fresh, used = (ConditionContext(sids=frozenset({EVERYONE})) for _ in range(2))
    truth("@User.a", used)
    assert fresh == used
    assert hash(fresh) == hash(used)


@st.composite
def contexts(draw):
    lists = [tuple(draw(st.lists(claims(), max_size=3))) for _ in range(4)]
    held = frozenset(draw(st.lists(sids(), max_size=3)))
    return ConditionContext(
        *lists, sids=held, device_sids=held, deny=draw(st.booleans())
    )


def outcome(condition, context):
    try:
        return evaluate(condition, context)
    except InvalidClaimError:
        return None


@given(any_shape(), contexts())
def test_every_tree_has_a_value_or_names_a_wrong_claim(condition, context):
    assert outcome(condition, context) in {*Truth, None}


@given(grammatical(), contexts())
def test_not_not_changes_nothing(condition, context):
    twice = Unary(Operator.NOT, Unary(Operator.NOT, condition))
    assert outcome(condition, context) is outcome(twice, context)


@given(grammatical(), grammatical(), contexts())
def test_logical_operators_do_not_mind_the_order(left, right, context):
    for operator in (Operator.AND, Operator.OR):
        both = Binary(operator, left, right), Binary(operator, right, left)
        if any(negates_beside_an_attribute(each, None) for each in both):
            continue  # on Windows they do
        forwards, backwards = (outcome(each, context) for each in both)
        assert forwards is backwards or None in (
            outcome(left, context),
            outcome(right, context),
        )


def test_the_value_of_a_sid_claim_is_not_an_octet_string():
    claim = Claim("a", ClaimType.SID, (Sid(ADMINISTRATORS),))
    octets = ADMINISTRATORS.hex()
    assert UNKNOWN is truth(f"@User.a == #{octets}", user(claim))
