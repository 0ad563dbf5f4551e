"""The project's own vectors, and the tables of constants that they hold."""

import json
from pathlib import Path

import pytest
from tests.codec.forgetting import forget

from stead import errors
from stead.codec.ace_binary import read_ace, write_ace
from stead.codec.ace_types import CONDITIONAL, KINDS, LETTERS, has_object_types
from stead.codec.binary import (
    read_acl,
    read_security_descriptor,
    write_security_descriptor,
)
from stead.codec.condition_binary import read_condition, write_condition
from stead.codec.condition_text import condition_to_sddl, read_condition_text
from stead.codec.condition_words import SPELLINGS
from stead.codec.sddl import ace_to_sddl, read_sddl, write_sddl
from stead.codec.sid_aliases import ALIASES, DOMAIN_RIDS, sid_to_sddl
from stead.codec.sid_text import read_sid
from stead.decision.auto_inherit_flags import AutoInheritFlags
from stead.errors import InvalidAclError, InvalidSddlError, SteadError
from stead.model import ace as ace_kinds
from stead.model import claim, condition, pac
from stead.model.ace import AccessAllowedAce, AceFlags, AceType, ObjectAce, Place
from stead.model.ace_kinds import ACE_CLASSES
from stead.model.acl import Acl
from stead.model.security_descriptor import ControlFlags, SecurityDescriptor
from stead.model.sid import Sid
from stead.model.well_known import EVERYONE

VECTORS = Path(__file__).parent.parent / "vectors"
DOMAIN = "S-1-5-21-1-2-3"


def cases(name):
    read = json.loads((VECTORS / name).read_text("utf-8"))
    return [pytest.param(case, id=case["id"]) for case in read]


def rows(name):
    return json.loads((VECTORS / name).read_text("utf-8"))


@pytest.mark.parametrize("case", cases("sddl/valid/descriptors.json"))
def test_good_sddl_is_read_and_printed_as_windows_prints_it(case):
    assert case["expected"] == write_sddl(read_sddl(case["input"]))


@pytest.mark.parametrize("case", cases("sddl/invalid/descriptors.json"))
def test_bad_sddl_is_refused_at_its_position(case):
    with pytest.raises(InvalidSddlError) as caught:
        read_sddl(case["input"])
    assert case["expected"] == caught.value.position


@pytest.mark.parametrize("case", cases("security_descriptor/valid/self_relative.json"))
def test_good_bytes_are_read(case):
    read = read_security_descriptor(bytes.fromhex(case["input"]))
    assert case["expected"]["sddl"] == write_sddl(read)


@pytest.mark.parametrize("case", cases("security_descriptor/valid/self_relative.json"))
def test_what_was_read_is_written_in_the_layout_of_windows(case):
    read = read_security_descriptor(bytes.fromhex(case["input"]))
    written = write_security_descriptor(read)
    assert case["expected"]["canonical"] == (case["input"] == written.hex())
    assert read == read_security_descriptor(written)


@pytest.mark.parametrize(
    "case", cases("security_descriptor/invalid/self_relative.json")
)
def test_lying_bytes_are_refused(case):
    with pytest.raises(SteadError) as caught:
        read_security_descriptor(bytes.fromhex(case["input"]))
    assert getattr(errors, case["expected"]) is type(caught.value)


@pytest.mark.parametrize("case", cases("ace/valid/entries.json"))
def test_a_good_entry_is_read_and_written_byte_for_byte(case):
    binary = bytes.fromhex(case["input"])
    read = read_ace(binary)
    assert getattr(ace_kinds, case["expected"]["kind"]) is type(read)
    assert binary == write_ace(read)
    assert len(binary) == read.size


@pytest.mark.parametrize("case", cases("ace/valid/entries.json"))
def test_an_entry_is_printed_if_sddl_has_words_for_it(case):
    read = read_ace(bytes.fromhex(case["input"]))
    if case["expected"]["sddl"] is not None:
        assert case["expected"]["sddl"] == ace_to_sddl(read)
        return
    with pytest.raises(SteadError):
        ace_to_sddl(read)


def test_the_good_entries_are_of_every_kind():
    kinds = {case["expected"]["kind"] for case in rows("ace/valid/entries.json")}
    known = {kind.__name__ for kind in ACE_CLASSES.values()}
    assert known | {"OpaqueAce"} == kinds


@pytest.mark.parametrize("case", cases("ace/invalid/entries.json"))
def test_a_lying_entry_is_refused_with_the_reason(case):
    with pytest.raises(InvalidAclError) as caught:
        read_ace(bytes.fromhex(case["input"]))
    assert case["expected"] == str(caught.value)


@pytest.mark.parametrize("case", cases("ace/valid/entries.json"))
def test_an_entry_is_the_same_in_a_list_as_alone(case):
    binary = bytes.fromhex(case["input"])
    alone = read_ace(binary)
    forget()
    assert Acl((alone, alone), 4) == read_acl(list_of(binary, binary))


@pytest.mark.parametrize("case", cases("ace/invalid/entries.json"))
def test_a_lying_entry_makes_its_list_a_lie(case):
    forget()
    with pytest.raises(InvalidAclError):
        read_acl(list_of(bytes.fromhex(case["input"])))


def list_of(*aces):
    """Return a list of entries that are bytes already."""
    body = b"".join(aces)
    size = (8 + len(body)).to_bytes(2, "little")
    return b"\4\0" + size + len(aces).to_bytes(2, "little") + b"\0\0" + body


@pytest.mark.parametrize("case", cases("condition/valid/literals.json"))
def test_a_literal_has_its_bytes_and_its_spelling(case):
    compared = bytes.fromhex(f"61727478f8020000006100{case['input']}80")
    padded = compared + bytes(-len(compared) % 4)
    assert f"(a == {case['expected']})" == condition_to_sddl(read_condition(padded))
    assert padded == write_condition(read_condition(padded))


@pytest.mark.parametrize("case", cases("sid/valid/sddl.json"))
def test_sddl_reads_more_spellings_of_a_sid(case):
    assert case["expected"] == str(read_sid(case["input"]))


def test_every_number_of_an_ace_type_is_known():
    table = rows("constants/ace_types.json")
    reserved = {row["input"] for row in table if not row["expected"]["supported"]}
    assert {0x04} == reserved
    for row in table:
        if row["input"] not in reserved:
            assert row["id"] == AceType(row["input"]).name
    assert len(table) == len(AceType) + len(reserved)


def test_every_letter_of_an_ace_type_is_known():
    for row in rows("constants/ace_types.json"):
        letters = row["expected"]["sddl"]
        if row["expected"]["supported"]:
            assert letters == LETTERS.get(AceType(row["input"]))
            assert letters is None or KINDS[letters].type == row["input"]


def test_letters_and_kinds_are_two_sides_of_one_table():
    assert {kind.type: letters for letters, kind in KINDS.items()} == LETTERS


@pytest.mark.parametrize("letters", KINDS)
def test_letters_are_read_and_printed_as_their_kind(letters):
    kind = KINDS[letters]
    part = "D:" if kind.place is Place.DACL else "S:"
    seventh = {"RA": ';("a",TI,0x0,1)'}.get(letters, "")
    if letters in CONDITIONAL:
        seventh = ";(a)"
    mask = {"ML": "NW", "RA": "", "SP": ""}.get(letters, "CC")
    text = f"{part}({letters};;{mask};;;WD{seventh})"
    read = read_sddl(text)
    acl = read.dacl if kind.place is Place.DACL else read.sacl
    assert isinstance(acl, Acl)
    assert kind is type(acl.aces[0])
    assert text == write_sddl(read)
    assert read == read_sddl(text.replace(f"({letters};", f"({letters.lower()};"))
    assert issubclass(kind, ObjectAce) is has_object_types(kind)


@pytest.mark.parametrize(
    ("table", "module", "kinds"),
    [
        ("claims", claim, (claim.ClaimType, claim.ClaimFlags)),
        (
            "conditions",
            condition,
            (
                condition.Operator,
                condition.AttributeSource,
                condition.IntegerWidth,
                condition.IntegerSign,
                condition.IntegerBase,
            ),
        ),
        ("pac", pac, (pac.PacBufferType, pac.UserFlags, pac.PacAttributes)),
    ],
)
def test_every_constant_of_a_table_is_the_specification_s(table, module, kinds):
    listed = set()
    for row in rows(f"constants/{table}.json"):
        kind, name = row["expected"]
        found = getattr(module, kind)[name]
        assert row["input"] == found
        listed.add(found)
    assert {member for kind in kinds for member in kind} == listed


def test_every_operator_is_written_as_its_byte():
    for row in rows("constants/conditions.json"):
        kind, name = row["expected"]
        if kind == "Operator":
            operator = condition.Operator[name]
            binary = write_condition(read_condition_text(with_operator(operator)))
            assert row["input"] == binary.rstrip(b"\0")[-1]


def with_operator(operator):
    """Return a condition whose last operator is this one."""
    spelling = SPELLINGS[operator]
    if operator in {condition.Operator.AND, condition.Operator.OR}:
        return f"(a {spelling} b)"
    if operator is condition.Operator.NOT:
        return "(!(a))"
    if "Exists" in spelling:
        return f"({spelling} a)"
    if "ember_of" in spelling:
        return f"({spelling} {{SID(BA)}})"
    return f"(a {spelling} 1)"


def test_every_source_of_an_attribute_is_written_as_its_byte():
    prefixes = {"LOCAL": "", "USER": "@User.", "RESOURCE": "@Resource."}
    for row in rows("constants/conditions.json"):
        kind, name = row["expected"]
        if kind == "AttributeSource":
            text = f"({prefixes.get(name, '@Device.')}a)"
            assert row["input"] == write_condition(read_condition_text(text))[4]


def test_every_flag_of_automatic_inheritance_has_its_bit():
    table = rows("constants/auto_inherit_flags.json")
    for row in table:
        assert row["input"] == AutoInheritFlags[row["expected"]]
    assert len(table) == len(AutoInheritFlags)


def test_every_ace_flag_has_its_bit_and_its_letters():
    table = rows("constants/ace_flags.json")
    for row in table:
        flag = AceFlags[row["id"]]
        assert row["input"] == flag
        read = read_sddl(f"D:(A;{row['expected']};GR;;;WD)")
        assert Acl((AccessAllowedAce(EVERYONE, 0x8000_0000, flag),)) == read.dacl
    assert len(table) == len(AceFlags)


def test_every_control_flag_has_its_bit():
    table = rows("constants/control_flags.json")
    for row in table:
        assert row["input"] == ControlFlags[row["id"]]
    assert len(table) == len(ControlFlags)


def test_every_name_of_a_right_has_its_mask():
    for row in rows("constants/access_rights.json"):
        read = read_sddl(f"D:(A;;{row['input']};;;WD)")
        assert isinstance(read.dacl, Acl)
        assert row["expected"] == read.dacl.aces[0].mask


def test_every_alias_means_its_sid_and_is_printed_for_it():
    domain = Sid.from_string(DOMAIN)
    table = rows("constants/sid_aliases.json")
    for row in table:
        sid = Sid.from_string(row["expected"].replace("{domain}", DOMAIN))
        assert sid == read_sid(row["input"], domain=domain)
        assert row["input"] == sid_to_sddl(sid, domain=domain)
    assert len(table) == len(ALIASES) + len(DOMAIN_RIDS)


def test_the_descriptor_s_own_doors_are_the_codec_s():
    text = "O:BAG:SYD:P(A;;FA;;;BA)"
    read = SecurityDescriptor.from_sddl(text)
    assert text == read.to_sddl()
    assert read == SecurityDescriptor.from_bytes(read.to_bytes())
