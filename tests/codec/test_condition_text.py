"""Conditions as SDDL: what is read, what is refused and where, what is printed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.strategies_condition import any_shape, grammatical

from stead.codec.condition_text import (
    condition_to_sddl,
    read_condition_here,
    read_condition_text,
)
from stead.codec.condition_tree import MAXIMUM_DEPTH
from stead.codec.cursor import Cursor
from stead.errors import InvalidConditionError, InvalidSddlError
from stead.model.condition import (
    Attribute,
    AttributeSource,
    Binary,
    Composite,
    Integer,
    IntegerBase,
    IntegerSign,
    IntegerWidth,
    OctetString,
    Operator,
    SidLiteral,
    String,
    Unary,
)
from stead.model.sid import Sid
from stead.model.well_known import ADMINISTRATORS, EVERYONE

DOMAIN = Sid.from_string("S-1-5-21-10-20-30")
USER_A = Attribute(AttributeSource.USER, "a")
LOCAL_A = Attribute(AttributeSource.LOCAL, "a")


def value_of(text):
    """Return the second operand of a comparison with a text."""
    read = read_condition_text(f"(@User.a == {text})")
    assert isinstance(read, Binary)
    return read.right


def refused(text):
    with pytest.raises(InvalidSddlError) as caught:
        read_condition_text(text)
    return caught.value


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("(@user.a)", "(@USER.a)"),
        ("( @Device.a==@resource.b )", "(@DEVICE.a == @RESOURCE.b)"),
        ("(a!=1)", "(a != 1)"),
        ("(a<1&&b<=2)", "((a < 1) && (b <= 2))"),
        ("(a>1||b>=2)", "((a > 1) || (b >= 2))"),
        ("(a || b && c)", "((a) || ((b) && (c)))"),
        ("(a && b || c)", "(((a) && (b)) || (c))"),
        ("(a || b || c)", "(((a) || (b)) || (c))"),
        ("((a || b) && c)", "(((a) || (b)) && (c))"),
        ("(!a == 1 && b)", "((!(a == 1)) && (b))"),
        ("(!(!(a)))", "(!(!(a)))"),
        ("(!@user.a)", "(!(@USER.a))"),
        ("(!(Exists a))", "(!(Exists a))"),
        ("(a == 0xffffffffffffffff)", "(a == 0xffffffffffffffff)"),
        ("(a == 0x8000000000000000)", "(a == 0x8000000000000000)"),
        ("((((a))))", "(a)"),
        ("((a) == 1)", "(a == 1)"),
        ("(a == @user.b == @resource.c)", "((a == @USER.b) == @RESOURCE.c)"),
        ("(exists a)", "(Exists a)"),
        ("(not_exists(@user.a))", "(Not_Exists @USER.a)"),
        ("(a contains(1))", "(a Contains 1)"),
        ("(a Not_Contains{1,2})", "(a Not_Contains {1, 2})"),
        ("(a ANY_OF { } )", "(a Any_of {})"),
        ('(a not_any_of "x")', '(a Not_Any_of "x")'),
        ("(member_of{sid(ba)})", "(Member_of {SID(BA)})"),
        ("(Member_of_Any\t( ( SID( BA ) ) ))", "(Member_of_any SID(BA))"),
        ("(Not_Member_of 3)", "(Not_Member_of 3)"),
        ("(NOT_MEMBER_OF_ANY {})", "(Not_Member_of_any {})"),
        ("(Device_Member_of{1,#02})", "(Device_Member_of {1, #02})"),
        ("(Device_Member_of_Any{})", "(Device_Member_of_any {})"),
        ("(Not_Device_Member_of{})", "(Not_Device_Member_of {})"),
        ("(Not_Device_Member_of_Any{})", "(Not_Device_Member_of_any {})"),
        ("(7 == @user.7)", "(7 == @USER.7)"),
        ("(Exists2 == 1)", "(Exists2 == 1)"),
        (" (a) ", "(a)"),
    ],
)
def test_a_condition_is_printed_as_windows_does(text, printed):
    read = read_condition_text(text)
    assert printed == condition_to_sddl(read)
    assert read == read_condition_text(printed)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        "a == 1",
        "()",
        "(a",
        "(a))",
        "(a) b",
        "(a b)",
        "(a Exists b)",
        "(!)",
        "(!!(a))",
        "(!Member_of {SID(BA)})",
        "(! Exists a)",
        "((a) || !Not_Member_of {SID(BA)})",
        "(a !(b))",
        "(a ==)",
        "(a == b)",
        "(a == (b == 1))",
        "(a == (1)",
        "(a == 1a)",
        "(a == #1g)",
        "(a == 08)",
        "(a == --1)",
        '(a == "x)',
        "(a == SID())",
        "(a == SID(ZZ))",
        "(a == SID(BA)",
        "(a == {1,})",
        "(a == {,})",
        "(a == {1 2})",
        "(a == {@user.b})",
        "(a == {{1}})",
        '("x" == 1)',
        "(== 1)",
        "(Contains 1)",
        "((a && b) == 1)",
        "(Exists a == 1)",
        "(Exists 1x!)",
        '(Exists "x")',
        "(Exists !(a))",
        "(Member_of @user.a)",
        "(Member_of_AnySID(BA))",
        "(@User. == 1)",
        "(@Local.a)",
        "(@User.%002f)",
        "(@User.%0041)",
        "(@User.%0040)",
        "(@User.%0000)",
        "(@User.%d800)",
        "(@User.%12)",
        '(@User.a == "\ud800")',
        "(a-b)",
        "(%0061)",
    ],
)
def test_what_windows_cannot_mean_is_refused(text):
    assert text == refused(text).text


def test_an_error_says_where():
    assert 6 == refused("(a == b)").position
    assert 6 == refused("(a == 08)").position
    assert 7 == refused("(@User.%0041)").position


@pytest.mark.parametrize(
    ("text", "value", "sign", "base"),
    [
        ("0", 0, IntegerSign.NONE, IntegerBase.DECIMAL),
        ("00", 0, IntegerSign.NONE, IntegerBase.OCTAL),
        ("+12", 12, IntegerSign.PLUS, IntegerBase.DECIMAL),
        ("-017", -15, IntegerSign.MINUS, IntegerBase.OCTAL),
        ("-0x0", 0, IntegerSign.MINUS, IntegerBase.HEXADECIMAL),
        ("0xff", 255, IntegerSign.NONE, IntegerBase.HEXADECIMAL),
        (str(2**63 - 1), 2**63 - 1, IntegerSign.NONE, IntegerBase.DECIMAL),
        (str(-(2**63)), -(2**63), IntegerSign.MINUS, IntegerBase.DECIMAL),
    ],
)
def test_an_integer_keeps_its_sign_and_base(text, value, sign, base):
    literal = Integer(value, IntegerWidth.INT64, sign, base)
    assert literal == value_of(text)
    assert f"(@USER.a == {text})" == condition_to_sddl(
        Binary(Operator.EQUAL, USER_A, literal)
    )


@pytest.mark.parametrize("text", [str(2**63), str(-(2**63) - 1), "9" * 5000])
def test_an_integer_fits_64_bits(text):
    assert "64 bits" in str(refused(f"(a == {text})"))


def test_leading_zeros_do_not_make_a_number_too_long():
    octal_one = Integer(1, base=IntegerBase.OCTAL)
    assert octal_one == value_of("0" * 5000 + "1")


@pytest.mark.parametrize(
    ("text", "octets"),
    [
        ("#", b""),
        ("#0aF0", b"\x0a\xf0"),
        ("#abc", b"\x0a\xbc"),
        ("#4#", b"\x40"),
        ("##1#2", b"\x01\x02"),
    ],
)
def test_octets_are_read_as_windows_does(text, octets):
    assert OctetString(octets) == value_of(text)


@pytest.mark.parametrize(
    "value", ["", "100%", 'say "x"', "%0022", '%"', "%0025%0022", "a\nb", "\U0001f600"]
)
def test_a_string_survives_whatever_it_holds(value):
    condition = Binary(Operator.EQUAL, LOCAL_A, String(value))
    printed = condition_to_sddl(condition)
    assert 2 == printed.count('"')
    assert condition == read_condition_text(printed)


@pytest.mark.parametrize(
    ("name", "printed"),
    [
        ("a b", "@USER.a%0020b"),
        ("%&()<>=|!,", "@USER.%0025%0026%0028%0029%003c%003e%003d%007c%0021%002c"),
        ("#$'*+-./:;?@[\\]^_`{}~", "@USER.#$'*+-./:;?@[\\]^_`{}~"),
        ("Straße", "@USER.Stra%00dfe"),
        ("\U0001f600", "@USER.%d83d%de00"),
    ],
)
def test_a_name_is_printed_with_escapes_and_read_with_or_without(name, printed):
    attribute = Attribute(AttributeSource.USER, name)
    assert f"({printed})" == condition_to_sddl(attribute)
    assert attribute == read_condition_text(f"({printed})")


def test_a_name_beyond_ascii_is_read_as_it_is():
    read = read_condition_text("(@User.Straße\x7f,)")
    assert Attribute(AttributeSource.USER, "Straße\x7f,") == read


def test_a_simple_name_that_the_grammar_lacks_is_escaped():
    attribute = Attribute(AttributeSource.LOCAL, "@a-b@c")
    assert "(%0040a%002db@c)" == condition_to_sddl(attribute)
    assert attribute == read_condition_text("(%0040a%002db@c)")


def test_aliases_of_a_domain_need_one():
    refused("(Member_of{SID(DA)})")
    read = read_condition_text("(Member_of SID(DA))", domain=DOMAIN)
    admins = SidLiteral(DOMAIN.with_rid(512))
    assert Unary(Operator.MEMBER_OF, admins) == read
    assert "(Member_of SID(DA))" == condition_to_sddl(read, domain=DOMAIN)
    assert "(Member_of SID(S-1-5-21-10-20-30-512))" == condition_to_sddl(read)


def test_a_composite_keeps_its_order():
    composite = Composite(
        (SidLiteral(EVERYONE), String("x"), Integer(1), SidLiteral(ADMINISTRATORS))
    )
    assert composite == value_of('{SID(WD) , "x",1,SID(BA)}')


def test_a_condition_ends_at_its_parenthesis():
    cursor = Cursor("XA;(a) rest")
    cursor.position = 3
    assert LOCAL_A == read_condition_here(cursor, None)
    assert 6 == cursor.position


def test_the_deepest_condition_is_read():
    text = "(" + "!(" * MAXIMUM_DEPTH + "a" + ")" * MAXIMUM_DEPTH + ")"
    assert text == condition_to_sddl(read_condition_text(text))


@pytest.mark.parametrize(
    "text",
    [
        "(" * 10_000,
        "(!" * 10_000,
        "(a" + " && a" * (MAXIMUM_DEPTH + 1) + ")",
        "(a" + " == 1" * (MAXIMUM_DEPTH + 1) + ")",
    ],
)
def test_a_deeper_condition_is_refused(text):
    assert "too deep" in str(refused(text))


@pytest.mark.parametrize(
    "condition",
    [
        Attribute(AttributeSource.LOCAL, ""),
        Attribute(AttributeSource.USER, "a\0b"),
        Composite((Composite(()),)),
        Integer(5, IntegerWidth.INT64, IntegerSign.MINUS),
    ],
)
def test_what_has_no_spelling_is_not_printed(condition):
    with pytest.raises(InvalidConditionError):
        condition_to_sddl(condition)


@pytest.mark.parametrize(
    "tree",
    [
        Binary(
            Operator.OR,
            Integer(5),
            Binary(Operator.EQUAL, Attribute(AttributeSource.USER, "x"), Integer(123)),
        ),
        Binary(
            Operator.EQUAL,
            Attribute(AttributeSource.USER, "x"),
            Attribute(AttributeSource.LOCAL, "123"),
        ),
        Binary(Operator.EQUAL, Integer(5), Integer(1)),
        Unary(Operator.NOT, Integer(1)),
        Unary(Operator.EXISTS, Integer(5)),
    ],
)
def test_a_tree_whose_text_would_be_another_condition_is_not_printed(tree):
    # Read again, a literal would be an attribute's name, and the entry might grant.
    with pytest.raises(InvalidConditionError, match="another one"):
        condition_to_sddl(tree)


def test_integers_of_every_width_are_printed_alike():
    claim = Attribute(AttributeSource.USER, "x")
    narrow = Binary(
        Operator.ANY_OF, claim, Composite((Integer(5, IntegerWidth.INT8), String("a")))
    )
    negated = Unary(Operator.NOT, narrow)
    assert '(!(@USER.x Any_of {5, "a"}))' == condition_to_sddl(negated)


@given(grammatical())
def test_what_is_printed_reads_back(condition):
    assert condition == read_condition_text(condition_to_sddl(condition))


@given(any_shape())
def test_every_tree_is_printed_as_what_it_is_or_not_at_all(condition):
    try:
        text = condition_to_sddl(condition)
    except InvalidConditionError:
        return
    assert text == condition_to_sddl(read_condition_text(text))


PIECES = (
    *"(){}!,<>= ",
    "==",
    "&&",
    "||",
    "a",
    "@User.a",
    '"x"',
    "#1",
    "1",
    "SID(BA)",
    "Exists ",
    "Member_of",
    " Contains ",
    "%0020",
)


@given(st.one_of(st.text(max_size=40), st.lists(st.sampled_from(PIECES)).map("".join)))
def test_arbitrary_text_raises_our_error_alone(text):
    try:
        read = read_condition_text(f"({text})")
    except InvalidSddlError:
        return
    assert read == read_condition_text(condition_to_sddl(read))
