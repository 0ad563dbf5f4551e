"""SDDL where a vector cannot say it: domains, limits, messages."""

import pytest
from tests.codec.forgetting import forget, forget_wholes

from stead.codec import sddl
from stead.codec.ace_types import KINDS
from stead.codec.claim_binary import write_claim
from stead.codec.condition_binary import write_condition
from stead.codec.sddl import ace_to_sddl, read_sddl, spelled, write_sddl
from stead.codec.sid_text import read_sid
from stead.errors import (
    InvalidAclError,
    InvalidClaimError,
    InvalidConditionError,
    InvalidSddlError,
)
from stead.model.ace import (
    AccessAllowedAce,
    AccessAllowedCallbackAce,
    AccessAllowedObjectAce,
    AccessDeniedAce,
    AccessDeniedObjectAce,
    AceFlags,
    MandatoryLabelAce,
    ObjectAce,
    OpaqueAce,
    ResourceAttributeAce,
)
from stead.model.ace_kinds import ACE_CLASSES
from stead.model.acl import ABSENT_DACL, NULL_DACL, Acl
from stead.model.claim import Claim, ClaimType
from stead.model.condition import (
    Attribute,
    AttributeSource,
    Operator,
    SidLiteral,
    Unary,
)
from stead.model.guid import Guid
from stead.model.security_descriptor import ControlFlags, SecurityDescriptor
from stead.model.sid import Sid
from stead.model.well_known import ADMINISTRATORS, EVERYONE, HIGH_LEVEL

DOMAIN = Sid.from_string("S-1-5-21-10-20-30")
OTHER = Sid.from_string("S-1-5-21-10-20-31")


def refused(text, **kwargs):
    with pytest.raises(InvalidSddlError) as caught:
        read_sddl(text, **kwargs)
    return caught.value


def test_an_alias_of_a_domain_is_a_rid_within_it():
    read = read_sddl("O:DA", domain=DOMAIN)
    assert DOMAIN.with_rid(512) == read.owner


def test_an_alias_of_a_domain_is_printed_for_that_domain_alone():
    read = read_sddl("O:LAG:DU", domain=DOMAIN)
    assert "O:LAG:DU" == write_sddl(read, domain=DOMAIN)
    assert f"O:{DOMAIN}-500G:{DOMAIN}-513" == write_sddl(read, domain=OTHER)
    assert f"O:{DOMAIN}-500G:{DOMAIN}-513" == write_sddl(read)


def test_a_rid_without_an_alias_is_printed_whole():
    sd = SecurityDescriptor(ABSENT_DACL, owner=DOMAIN.with_rid(1000))
    assert f"O:{DOMAIN}-1000" == write_sddl(sd, domain=DOMAIN)


def test_an_alias_without_a_domain_says_what_is_missing():
    assert "alias `DA` is relative to a domain" == refused("O:DA").reason


def test_a_domain_that_has_no_room_for_a_rid_is_refused():
    full = Sid.from_parts(5, tuple(range(15)))
    error = refused("G:SYO:DA", domain=full)
    assert 6 == error.position
    assert "is no domain" in error.reason


def test_absent_null_and_empty_lists_stay_apart():
    assert ABSENT_DACL is read_sddl("O:BA").dacl
    assert NULL_DACL is read_sddl("D:NO_ACCESS_CONTROL").dacl
    assert Acl() == read_sddl("D:").dacl


def test_an_absent_list_prints_nothing_though_its_control_bits_are_set():
    sd = SecurityDescriptor(ABSENT_DACL, control=ControlFlags.DACL_PROTECTED)
    assert "" == write_sddl(sd)


def test_one_entry_is_printed_with_its_parentheses():
    ace = AccessDeniedAce(ADMINISTRATORS, 0x1_0000, AceFlags.CONTAINER_INHERIT)
    assert "(D;CI;SD;;;BA)" == ace_to_sddl(ace)
    mine = AccessDeniedAce(DOMAIN.with_rid(512), 0x1_0000)
    assert "(D;;SD;;;DA)" == ace_to_sddl(mine, domain=DOMAIN)


def test_a_label_that_is_as_wide_as_a_file_right_keeps_its_number():
    label = MandatoryLabelAce(HIGH_LEVEL, 0x1F_01FF)
    assert "(ML;;0x1f01ff;;;HI)" == ace_to_sddl(label)


def test_a_kind_that_does_not_exist_is_named_too():
    assert "`BOGUS` is no type of ace" == refused("D:(bogus;;GR;;;WD)").reason


def test_a_list_past_64_kib_is_refused_at_its_beginning():
    error = refused("O:BAD:" + "(A;;GR;;;WD)" * 4000)
    assert 6 == error.position
    assert "does not fit 64 KiB" in error.reason


@pytest.mark.parametrize(
    ("mask", "printed"),
    [
        ("9" * 10_000, "0xffffffff"),
        ("0x" + "f" * 10_000, "0xffffffff"),
        ("0" * 10_000, ""),
        ("-" + "9" * 10_000, "CC"),
    ],
    ids=["decimal", "hexadecimal", "zeros", "negative"],
)
def test_a_mask_of_ten_thousand_digits_is_read(mask, printed):
    assert f"D:(A;;{printed};;;WD)" == write_sddl(read_sddl(f"D:(A;;{mask};;;WD)"))


def test_a_sid_of_ten_thousand_digits_is_read_or_refused():
    assert "S-1-5-4294967295" == str(read_sid("S-1-5-" + "9" * 10_000))
    assert "S-1-5-0" == str(read_sid("S-1-5-" + "0" * 10_000))
    with pytest.raises(InvalidSddlError, match="does not fit 48 bits"):
        read_sid("S-1-" + "9" * 10_000 + "-1")


def test_a_sid_alone_ends_where_the_text_ends():
    with pytest.raises(InvalidSddlError) as caught:
        read_sid("BA ")
    assert 2 == caught.value.position


def test_the_same_text_reads_to_equal_values():
    assert read_sddl("D:(A;;GR;;;WD)") == read_sddl("D:(A;;0x80000000;;;S-1-1-0)")


def test_an_everyone_entry_is_everyone():
    read = read_sddl("D:(A;;GR;;;WD)")
    assert isinstance(read.dacl, Acl)
    assert EVERYONE is read.dacl.aces[0].trustee


USER_CLASS = Guid.from_string("bf967aba-0de6-11d0-a285-00aa003049e2")
OTHER_CLASS = Guid.from_string("bf967a86-0de6-11d0-a285-00aa003049e2")
NO_LETTERS = [kind for kind in ACE_CLASSES.values() if kind not in KINDS.values()]


def only_ace(text, **kwargs):
    """Return the one entry of a text."""
    read = read_sddl(text, **kwargs)
    (ace,) = read.sacl if read.dacl is ABSENT_DACL else read.dacl
    return ace


@pytest.mark.parametrize(
    ("fields", "object_type", "inherited_object_type"),
    [
        (";", None, None),
        (f"{USER_CLASS};", USER_CLASS, None),
        (f";{OTHER_CLASS}", None, OTHER_CLASS),
        (f"{USER_CLASS};{OTHER_CLASS}", USER_CLASS, OTHER_CLASS),
    ],
)
def test_an_object_entry_names_its_types_in_two_fields(
    fields, object_type, inherited_object_type
):
    text = f"(OD;;CC;{fields};WD)"
    expected = AccessDeniedObjectAce(
        EVERYONE,
        1,
        object_type=object_type,
        inherited_object_type=inherited_object_type,
    )
    assert expected == only_ace("D:" + text)
    assert text == ace_to_sddl(expected)


def test_a_guid_is_read_in_any_case_after_spaces():
    text = f"D:(OA; ; CC; {str(USER_CLASS).upper()}; ; WD)"
    assert AccessAllowedObjectAce(EVERYONE, 1, object_type=USER_CLASS) == only_ace(text)


@pytest.mark.parametrize(
    ("text", "position", "reason"),
    [
        ("D:(OA;;CC;bf967aba;;WD)", 10, "expected a guid, the object type, or `;`"),
        (
            f"D:(OA;;CC;;{{{USER_CLASS}}};WD)",
            11,
            "expected a guid, the inherited object type, or `;`",
        ),
        (
            f"D:(OA;;CC;{USER_CLASS} ;;WD)",
            46,
            "expected `;` after the object type",
        ),
        (
            f"D:(OA;;CC;;{USER_CLASS})",
            47,
            "expected `;` after the inherited object type",
        ),
        (
            f"D:(A;;CC;{USER_CLASS};;WD)",
            9,
            "an ace of type `A` has no object type",
        ),
        (
            f"D:(XA;;CC;;{USER_CLASS};WD;(a))",
            11,
            "an ace of type `XA` has no inherited object type",
        ),
        ("D:(A;;CC;;;WD;)", 13, "expected `)` after the last field"),
        ("D:(ZA;;CC;;;WD)", 14, "an ace of type `ZA` goes on after its trustee"),
        ("S:(RA;;;;;WD)", 12, "an ace of type `RA` goes on after its trustee"),
        ("S:(RA;;;;;WD;)", 13, "expected `(` before a resource attribute"),
        ("D:(XA;;CC;;;WD;)", 15, "expected `(` before a condition"),
        ("D:(XA;;CC;;;WD;(a)", 18, "expected `)` after the last field"),
        ("S:(A;;CC;;;WD)", 3, "aces of type `A` have no place here"),
        ("D:(SP;;;;;S-1-17-1)", 3, "aces of type `SP` have no place here"),
        ("D:(;;CC;;;WD)", 3, "expected a type of ace"),
        ("D:(A,;CC;;;WD)", 4, "expected `;` after the type"),
        ("D:(A;XX;CC;;;WD)", 5, "expected a flag or `;`"),
        ("D:(A;;CC)", 8, "expected a right or a number"),
        ("D:(A;;0x1,;;;WD)", 6, "expected a right or a number"),
    ],
)
def test_an_error_says_where_and_what_was_expected(text, position, reason):
    error = refused(text)
    assert (position, reason) == (error.position, error.reason)


def test_conditions_and_attributes_are_kept_as_their_bytes():
    condition = Attribute(AttributeSource.USER, "a")
    ace = only_ace("D:(XA;;CC;;;WD;(@User.a))")
    assert write_condition(condition) == ace.application_data
    claim = Claim("a", ClaimType.UINT64, (3,))
    assert ResourceAttributeAce(
        EVERYONE, 0, application_data=write_claim(claim)
    ) == only_ace('S:(RA;;;;;WD;("a",TU,0x0,3))')


def test_a_domain_s_aliases_are_known_in_conditions_and_attributes():
    admins = DOMAIN.with_rid(512)
    ace = only_ace("D:(XA;;CC;;;WD;(Member_of SID(DA)))", domain=DOMAIN)
    member = Unary(Operator.MEMBER_OF, SidLiteral(admins))
    assert write_condition(member) == ace.application_data
    assert "(XA;;CC;;;WD;(Member_of SID(DA)))" == ace_to_sddl(ace, domain=DOMAIN)
    attribute = only_ace('S:(RA;;;;;WD;("a",TD,0x0,DA))', domain=DOMAIN)
    claim = Claim("a", ClaimType.SID, (admins,))
    assert write_claim(claim) == attribute.application_data
    assert "DA" in ace_to_sddl(attribute, domain=DOMAIN)
    assert f"{DOMAIN}-512" in ace_to_sddl(attribute)


@pytest.mark.parametrize("kind", NO_LETTERS)
def test_a_kind_without_letters_cannot_be_printed(kind):
    ace = kind(EVERYONE, 1)
    with pytest.raises(InvalidAclError, match=f"type {kind.type:#04x}"):
        ace_to_sddl(ace)


def test_the_kinds_without_letters_are_alarms_and_conditional_object_entries():
    assert {
        "AccessDeniedCallbackObjectAce",
        "SystemAlarmCallbackAce",
        "SystemAuditCallbackObjectAce",
        "SystemAlarmCallbackObjectAce",
    } == {kind.__name__ for kind in NO_LETTERS}


def test_a_descriptor_with_an_unknown_entry_cannot_be_printed():
    sd = SecurityDescriptor(Acl((OpaqueAce(type_number=0x16),)))
    for _ in range(2):
        with pytest.raises(InvalidAclError, match="sddl has no words for an ace of"):
            write_sddl(sd)


def test_data_that_is_no_condition_cannot_be_printed():
    with pytest.raises(InvalidConditionError):
        ace_to_sddl(AccessAllowedCallbackAce(EVERYONE, 1, application_data=b"mine"))


def test_data_that_is_no_attribute_cannot_be_printed():
    with pytest.raises(InvalidClaimError):
        ace_to_sddl(ResourceAttributeAce(EVERYONE, 0, application_data=b"mine"))


def test_data_of_a_plain_kind_has_no_words():
    ace = AccessAllowedAce(EVERYONE, 1, application_data=b"mine")
    assert "(A;;CC;;;WD)" == ace_to_sddl(ace)


def test_a_condition_that_fits_no_entry_is_refused_where_it_begins():
    long = "a" * 40_000
    error = refused(f'D:(XA;;CC;;;WD; (a == "{long}"))')
    assert 16 == error.position
    assert "the condition does not fit an ace" == error.reason


def test_an_attribute_that_fits_no_entry_is_refused_where_it_begins():
    error = refused(f'S:(RA;;;;;WD;("a",TS,0x0,"{"a" * 40_000}"))')
    assert 13 == error.position
    assert "does not fit" in error.reason


def test_a_condition_that_fits_an_entry_of_its_own_alone_is_refused_at_its_end():
    # The condition has just 64 KiB and the entry has a header and a trustee besides.
    condition = f'(a == "{"a" * 32_755}")'
    error = refused(f"D:(XA;;CC;;;WD;{condition})")
    assert 15 + len(condition) == error.position
    assert "bytes does not fit 64 KiB" in error.reason


def test_object_entries_raise_the_revision_of_their_list():
    assert 4 == read_sddl("D:(A;;CC;;;WD)(OA;;CC;;;WD)").dacl.revision
    assert 2 == read_sddl("D:(A;;CC;;;WD)").dacl.revision


@pytest.mark.parametrize("part", ["D:", "S:"])
def test_a_list_that_stands_twice_is_refused(part):
    error = refused(f"{part}O:BA{part}")
    assert 6 == error.position
    assert f"`{part}` stands here a second time" == error.reason


def test_what_was_read_lately_is_the_same_object():
    text = "D:(A;;0x1;;;WD)"
    _, second, third = [read_sddl(text) for _ in range(3)]
    assert second is third
    assert read_sddl("O:DA", domain=DOMAIN) is not read_sddl("O:DA", domain=OTHER)
    assert OTHER.with_rid(512) == read_sddl("O:DA", domain=OTHER).owner


def test_what_is_long_is_not_kept():
    text = "D:" + " " * sddl._KEPT_TEXT_SIZE
    assert read_sddl(text) == read_sddl(text)
    assert read_sddl(text) is not read_sddl(text)


def test_object_types_are_printed_for_no_other_kind():
    for letters, kind in KINDS.items():
        assert (letters in {"OA", "OD", "OU", "OL", "ZA"}) is issubclass(
            kind, ObjectAce
        )


@pytest.mark.parametrize(
    "ace",
    [
        OpaqueAce(type_number=0x16),
        AccessAllowedCallbackAce(EVERYONE, 1, application_data=b"mine"),
    ],
)
def test_a_record_spells_what_sddl_has_no_words_for_as_bytes(ace):
    sd = SecurityDescriptor(Acl((ace,)))
    assert sd == SecurityDescriptor.from_bytes(bytes.fromhex(spelled(sd)))


def test_a_record_spells_an_attribute_that_is_none_as_bytes():
    attribute = ResourceAttributeAce(EVERYONE, 0, application_data=b"mine")
    sd = SecurityDescriptor(Acl(), sacl=Acl((attribute,)))
    assert sd.to_bytes().hex() == spelled(sd)


def test_a_record_spells_everything_else_as_sddl():
    assert "D:(A;;CC;;;WD)" == spelled(read_sddl("D:(A;;CC;;;WD)"))


@pytest.mark.parametrize(
    "text",
    [
        "D:(A;;CC;;;WD)(A;;CC;;;WD)",
        "D:(A;;CC;;;WD) (A;;CC;;;WD)",
        "D: (A;;CC;;;WD)  (D;OI;0x1;;;S-1-5-18) ",
        "D:(A;;CC;;;WD) S:(AU;SA;GA;;;WD) (AU;SA;GA;;;WD)",
        "D:(A;;CC;;;WD)(OA;;CC;;;WD) (A;;CC;;;WD)(XA;;CC;;;WD;(a)) (A;;CC;;;WD)",
        "D:(A;;CC;;;WD)(A;;CC;;;S-1-5-99999999999)(A;;CC;;;S-1-5-0018)",
        "D:(A;;CC;;;WD)(A;;CC;;;S-1-4294967295-4294967296)",
        "D:(A;;CC;;;WD)(a;;cc;;;wd)(A;;CC;;;da)(A;OIOI;CCCC;;;DA)",
        "S:(AU;SA;GA;;;WD)(ML;;NW;;;HI) (AU;SA;GA;;;WD)",
    ],
)
def test_a_text_reads_the_same_whatever_was_read_before(text):
    forget()
    first = read_sddl(text, domain=DOMAIN)
    forget_wholes()
    assert first == read_sddl(text, domain=DOMAIN)
    assert first == read_sddl(write_sddl(first))


@pytest.mark.parametrize(
    "text",
    [
        "D:(A;;CC;;;WD)(A;;CC;;;DA)",
        "D:(A;;CC;;;WD)(AU;;CC;;;WD)",
        "S:(AU;;CC;;;WD)(A;;CC;;;WD)",
        "D:(A;;CC;;;WD)(A;;CC;;;ZZ)",
        "D:(A;;CC;;;WD)(A;;CC;;;WD",
        "D:(A;;CC;;;WD) x",
        "D:(A;;CC;;;WD)(A;;CC;;;S-1-5-1-2-3-4-5-6-7-8-9-10-11-12-13-14-15-16)",
        "D:(A;;CC;;;WD)D:(A;;CC;;;WD)",
        "D:" + "(A;;CC;;;WD)" * 4000,
    ],
)
def test_a_text_is_refused_alike_whatever_was_read_before(text):
    forget()
    first = refused(text)
    forget_wholes()
    second = refused(text)
    assert (first.position, first.reason) == (second.position, second.reason)
