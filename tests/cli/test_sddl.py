"""`stead sddl`: every kind of entry in words, conversions, order, and mistakes."""

import json
import os
import pty
import subprocess
import sys
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests import strategies_full as full
from typer.testing import CliRunner

from stead.cli import output
from stead.cli.descriptor_words import (
    ace_in_words,
    data_of_descriptor,
    lines_of,
)
from stead.cli.main import app
from stead.cli.right_names import RightsKind, spell_rights
from stead.cli.sddl import pointed_at, read_descriptor
from stead.codec.sddl import read_sddl
from stead.errors import InvalidSddlError, SteadError
from stead.model.access_mask import FileRights
from stead.model.ace import (
    AccessAllowedCallbackAce,
    AceFlags,
    OpaqueAce,
    ResourceAttributeAce,
    SystemAlarmAce,
    SystemAuditCallbackObjectAce,
)
from stead.model.acl import ABSENT_DACL, Acl
from stead.model.security_descriptor import ControlFlags, SecurityDescriptor
from stead.model.well_known import EVERYONE

FILE = "O:BAG:SYD:PAI(D;;FW;;;BU)(A;OICI;FA;;;BA)"
DOMAIN = "S-1-5-21-1-2-3"
EVERYBODY = "Everyone (S-1-1-0)"
ALL_BELOW = "also on objects and containers below"
UNREADABLE = "if a condition that cannot be read"
ANYBODY = "ANONYMOUS LOGON (S-1-5-7)"
USER = "bf967aba-0de6-11d0-a285-00aa003049e2"


@pytest.fixture
def sddl(monkeypatch):
    """Give what runs the verb, without a store."""
    monkeypatch.delenv("STEAD_STORE", raising=False)

    def run(*arguments, stdin=None):
        return CliRunner().invoke(app, ["sddl", *map(str, arguments)], input=stdin)

    return run


# --- in words -------------------------------------------------------------------------


def test_a_descriptor_is_said_part_by_part_and_entry_by_entry(sddl):
    ran = sddl(FILE, "--kind", "file")

    assert 0 == ran.exit_code
    assert [
        "owner    Administrators (S-1-5-32-544)",
        "group    SYSTEM (S-1-5-18)",
        "control  DACL_PRESENT DACL_AUTO_INHERITED DACL_PROTECTED SELF_RELATIVE",
        "DACL     2 entries, in the preferred order",
        "  1. deny Users (S-1-5-32-545): FILE_GENERIC_WRITE",
        f"  2. allow Administrators (S-1-5-32-544): FILE_ALL_ACCESS, {ALL_BELOW}",
        "SACL     absent",
    ] == ran.stdout.splitlines()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "O:BA",
            "DACL     absent: everybody may do everything, unless one is inherited",
        ),
        ("D:NO_ACCESS_CONTROL", "DACL     NULL: everybody may do everything"),
        ("D:", "DACL     empty: nobody may do anything but what owners may"),
        ("D:(A;;GA;;;WD)", "DACL     1 entry, in the preferred order"),
        (
            "D:(A;;GA;;;WD)(D;;GA;;;BU)",
            "DACL     2 entries, not in the preferred order",
        ),
        ("S:NO_ACCESS_CONTROL", "SACL     null"),
        ("S:", "SACL     0 entries"),
        ("O:DA", "owner    DA (S-1-5-21-1-2-3-512)"),
        ("O:S-1-5-21-9-9-9-512", "owner    S-1-5-21-9-9-9-512"),
        ("G:", None),
    ],
)
def test_what_a_part_means_is_said(sddl, text, said):
    ran = sddl(text, "--domain", DOMAIN)

    assert (said is None) == (ran.exit_code == 1)
    assert said is None or said in ran.stdout.splitlines()


def test_the_resource_manager_s_byte_is_shown_if_it_counts(sddl):
    read = SecurityDescriptor(
        ABSENT_DACL,
        control=ControlFlags.RM_CONTROL_VALID,
        resource_manager_control=7,
    )

    assert "resource manager's byte  0x07" in (
        sddl(read.to_bytes().hex()).stdout.splitlines()
    )


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("(A;;0x3;;;WD)", "allow Everyone (S-1-1-0): READ_DATA | WRITE_DATA"),
        ("(A;ID;FR;;;WD)", "allow Everyone (S-1-1-0): FILE_GENERIC_READ, inherited"),
        (
            "(A;OINP;SD;;;WD)",
            "allow Everyone (S-1-1-0): DELETE, also on objects one level below",
        ),
        (
            "(A;CIIO;SD;;;WD)",
            "allow Everyone (S-1-1-0): DELETE, only on containers below",
        ),
        ("(A;IO;SD;;;WD)", "allow Everyone (S-1-1-0): DELETE, on nothing"),
        (
            f"(OA;;SD;{USER};;WD)",
            f"allow Everyone (S-1-1-0): DELETE, on {USER}",
        ),
        (
            f"(OD;CI;SD;;{USER};WD)",
            f"deny {EVERYBODY}: DELETE, inherited by {USER}, also on containers below",
        ),
        (
            '(XA;;SD;;;WD;(@User.Title=="VP"))',
            'allow Everyone (S-1-1-0): DELETE, if (@USER.Title == "VP")',
        ),
    ],
)
def test_entries_of_the_dacl_are_said_in_words(entry, said):
    [ace] = read_sddl(f"D:{entry}").dacl

    assert said == ace_in_words(ace, RightsKind.FILE)


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        (
            "(AU;SAFA;SD;;;WD)",
            "audit success and failure of Everyone (S-1-1-0): DELETE",
        ),
        ("(AU;FACR;SD;;;WD)", "audit failure of Everyone (S-1-1-0): DELETE, critical"),
        ("(AU;;SD;;;WD)", "audit nothing of Everyone (S-1-1-0): DELETE"),
        (
            "(ML;;NWNR;;;HI)",
            "label High Mandatory Level (S-1-16-12288): NO_WRITE_UP | NO_READ_UP",
        ),
        (
            '(RA;;;;;WD;("Secrecy",TU,0,3))',
            'attribute for Everyone (S-1-1-0), ("Secrecy",TU,0x0,3)',
        ),
        ("(SP;;;;;S-1-17-1)", "central access policy S-1-17-1"),
        ("(SP;;SD;;;S-1-17-1)", "central access policy S-1-17-1: DELETE"),
        (
            "(TL;;SD;;;S-1-19-512-4096)",
            "process trust label S-1-19-512-4096: leaves others DELETE",
        ),
        (
            "(FL;;SD;;;WD;(Member_of{SID(BA)}))",
            (
                "filter for Everyone (S-1-1-0): leaves others DELETE, if (Member_of "
                "{SID(BA)})"
            ),
        ),
    ],
)
def test_entries_of_the_sacl_are_said_in_words(entry, said):
    [ace] = read_sddl(f"S:{entry}").sacl

    assert said == ace_in_words(ace, RightsKind.NONE)


@pytest.mark.parametrize(
    ("ace", "said"),
    [
        (
            AccessAllowedCallbackAce(EVERYONE, 1, application_data=b"mine"),
            "allow Everyone (S-1-1-0): READ_DATA, if the application says so (4 bytes)",
        ),
        (
            AccessAllowedCallbackAce(EVERYONE, 1, application_data=b"artx\xee\0\0\0"),
            f"allow {EVERYBODY}: READ_DATA, {UNREADABLE} (8 bytes)",
        ),
        (
            ResourceAttributeAce(EVERYONE, 0, application_data=bytes(4)),
            "attribute for Everyone (S-1-1-0), with 4 bytes of data",
        ),
        (
            SystemAlarmAce(EVERYONE, 1, AceFlags.SUCCESSFUL_ACCESS),
            "alarm success of Everyone (S-1-1-0): READ_DATA",
        ),
        (
            OpaqueAce(type_number=0x04, body=bytes(8)),
            "of unknown type 0x04, 12 bytes: refuses whatever it could have refused",
        ),
    ],
)
def test_what_sddl_has_no_words_for_is_said_too(ace, said):
    assert said == ace_in_words(ace, RightsKind.FILE)


@pytest.mark.parametrize(
    ("kind", "mask", "said"),
    [
        (RightsKind.NONE, 0x1_0003, "DELETE | 0x3"),
        (RightsKind.NONE, 0, "nothing"),
        (RightsKind.FILE, FileRights.ALL_ACCESS, "FILE_ALL_ACCESS"),
        (RightsKind.FILE, 0x12_019F, "FILE_GENERIC_READ | FILE_GENERIC_WRITE"),
        (RightsKind.FILE, 0x12_008B, "FILE_GENERIC_READ | WRITE_DATA"),
        (RightsKind.KEY, 0x2_0019, "KEY_READ"),
        (RightsKind.KEY, 0x22, "SET_VALUE | CREATE_LINK"),
        (RightsKind.DS, 0x130, "READ_PROP | WRITE_PROP | CONTROL_ACCESS"),
        (RightsKind.TOKEN, 0x8 | 0x2000_0000, "QUERY | GENERIC_EXECUTE"),
    ],
)
def test_rights_have_the_names_of_the_kind_of_object(kind, mask, said):
    assert said == spell_rights(int(mask), kind)


# --- conversions ----------------------------------------------------------------------


def test_text_hexadecimal_and_base64_are_read_and_written(sddl):
    binary = sddl(FILE, "--to", "hex").stdout.strip()
    letters = sddl(FILE, "--to", "base64").stdout.strip()

    assert SecurityDescriptor.from_sddl(FILE).to_bytes().hex() == binary
    for form in (FILE, binary, f"0x{binary.upper()}", letters, f"  {FILE}\n"):
        assert FILE == sddl(form, "--to", "sddl").stdout.strip()


def test_a_descriptor_is_read_from_standard_input_with_any_line_breaks(sddl):
    binary = sddl(FILE, "--to", "hex").stdout.strip()

    ran = sddl("-", "--to", "sddl", stdin=f"{binary[:40]}\n{binary[40:]}\n")

    assert FILE == ran.stdout.strip()


def test_aliases_of_a_domain_are_printed_if_it_is_named(sddl):
    text = "O:S-1-5-21-1-2-3-512"

    assert text == sddl(text, "--to", "sddl").stdout.strip()
    assert "O:DA" == sddl(text, "--to", "sddl", "--domain", DOMAIN).stdout.strip()


def test_json_holds_all_of_it(sddl, read_json):
    found = read_json(sddl(f"{FILE}S:(ML;;NW;;;HI)", "--json", "--kind", "file"))

    assert ("S-1-5-32-544", "S-1-5-18", True) == (
        found["owner"], found["group"], found["is_canonical"],
    )  # fmt: skip
    assert f"{FILE}S:(ML;;NW;;;HI)" == found["sddl"]
    assert {
        "words": "deny Users (S-1-5-32-545): FILE_GENERIC_WRITE",
        "type": "ACCESS_DENIED",
        "flags": [],
        "mask": "0x00120116",
        "rights": "FILE_GENERIC_WRITE",
        "trustee": "S-1-5-32-545",
        "name": "Users",
    } == found["dacl"][0]
    assert ["OBJECT_INHERIT", "CONTAINER_INHERIT"] == found["dacl"][1]["flags"]
    assert "NO_WRITE_UP" == found["sacl"][0]["rights"]
    assert found == read_json(
        sddl(FILE + "S:(ML;;NW;;;HI)", "--to", "json", "--kind", "file")
    )


def test_json_tells_a_missing_list_from_a_null_one(sddl, read_json):
    found = read_json(sddl("D:NO_ACCESS_CONTROL", "--json"))

    assert ("null", "absent", None, None) == (
        found["dacl"], found["sacl"], found["owner"], found["group"],
    )  # fmt: skip


def test_json_holds_conditions_attributes_guids_and_bytes(sddl, read_json):
    made = SecurityDescriptor(
        Acl(
            (
                *read_sddl(f"D:(OA;;CC;{USER};;WD)(XA;;CC;;;WD;(a))").dacl,
                AccessAllowedCallbackAce(EVERYONE, 1, application_data=b"mine"),
                OpaqueAce(type_number=0x04, body=bytes(8)),
            )
        ),
        sacl=Acl(
            (
                *read_sddl('S:(RA;;;;;WD;("a",TU,0,3))').sacl,
                SystemAuditCallbackObjectAce(EVERYONE, 1),
            )
        ),
    )

    found = read_json(sddl(made.to_bytes().hex(), "--json"))

    one, two, three, four = found["dacl"]
    assert None is found["sddl"]
    assert (USER, None) == (one["object_type"], one["inherited_object_type"])
    assert ("(a)", b"mine".hex()) == (two["condition"], three["data"])
    assert (4, "00" * 8) == (four["type"], four["body"])
    assert '("a",TU,0x0,3)' == found["sacl"][0]["attribute"]


@pytest.fixture
def read_json():
    """Give what reads the output of a command."""
    return lambda ran: json.loads(ran.stdout)


# --- order ----------------------------------------------------------------------------


def test_the_preferred_order_is_checked_by_status(sddl):
    assert 0 == sddl(FILE, "--canonical", "check").exit_code
    assert 0 == sddl("D:NO_ACCESS_CONTROL", "--canonical", "check").exit_code
    ran = sddl("D:(A;;GA;;;WD)(D;;GA;;;BU)", "--canonical", "check")

    assert 1 == ran.exit_code
    assert "not in the preferred order" in ran.stdout


def test_the_preferred_order_is_made(sddl):
    ran = sddl("D:(A;;GA;;;WD)(D;;GA;;;BU)", "--canonical", "reorder", "--to", "sddl")
    null = sddl("D:NO_ACCESS_CONTROL", "--canonical", "reorder", "--to", "sddl")

    assert "D:(D;;GA;;;BU)(A;;GA;;;WD)" == ran.stdout.strip()
    assert (0, "D:NO_ACCESS_CONTROL") == (null.exit_code, null.stdout.strip())


# --- mistakes -------------------------------------------------------------------------


def test_a_mistake_is_shown_where_it_is(sddl):
    ran = sddl("O:BAD:(A;;GA;;;XX)")

    said, text, caret = ran.stderr.splitlines()
    assert (1, "") == (ran.exit_code, ran.stdout)
    assert said.startswith("stead: sddl is wrong at position 15")
    assert "  O:BAD:(A;;GA;;;XX)" == text
    assert "X" == text[caret.index("^")]


def test_a_long_text_is_shown_around_the_mistake():
    text = f"D:{'(A;;GA;;;WD)' * 20}\n(A;;GA;;;WD)(A;;GA;;;WD)"

    shown, caret = pointed_at(InvalidSddlError(text, 242, "expected something"))

    assert shown.startswith("  ...")
    assert shown.endswith("...")
    assert "\\n" == shown[(at := caret.index("^")) : at + 2]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("tea", "sddl is wrong at position 0"),
        ("AQ==not", "is neither sddl, hexadecimal nor base64"),
        ("0100", "descriptor"),
        ("O:DA", "sddl is wrong at position 2"),
        ("01" * 40, ""),
    ],
)
def test_what_is_no_descriptor_is_refused_in_one_line(sddl, given, said):
    ran = sddl(given)

    assert (1, "") == (ran.exit_code, ran.stdout)
    assert ran.stderr.startswith("stead: ")
    assert said in ran.stderr.splitlines()[0]


def test_a_domain_that_is_no_sid_is_refused(sddl):
    assert 1 == sddl(FILE, "--domain", "example.org").exit_code


def test_what_sddl_has_no_words_for_cannot_be_converted_to_it(sddl):
    made = SecurityDescriptor(Acl((OpaqueAce(type_number=0x04, body=bytes(8)),)))

    ran = sddl(made.to_bytes().hex(), "--to", "sddl")

    assert 1 == ran.exit_code
    assert "sddl has no words for" in ran.stderr


@given(st.text(max_size=40) | st.binary(max_size=40).map(bytes.hex))
def test_whatever_is_given_is_a_descriptor_or_an_error_of_ours(text):
    with suppress(SteadError):
        read = read_descriptor(text, None)
        assert list(lines_of(read, RightsKind.FILE, None))


@given(full.descriptors())
def test_every_descriptor_can_be_said_and_printed(descriptor):
    assert list(lines_of(descriptor, RightsKind.FILE, None))
    assert json.dumps(data_of_descriptor(descriptor, RightsKind.NONE, None))


# --- terminals ------------------------------------------------------------------------

HOSTILE = 'O:SYG:SYD:(XA;;GR;;;WD;(@User.a == "\x1b[2J\u202e"))'


def test_what_a_program_reads_is_as_it_is(sddl):
    printed = sddl("-", "--to", "sddl", stdin=HOSTILE).stdout
    assert "\x1b" in printed
    again = read_descriptor(printed.strip(), None)
    assert read_descriptor(HOSTILE, None) == again


def test_no_control_character_of_a_condition_reaches_a_terminal():
    ours, theirs = pty.openpty()
    data = read_descriptor(HOSTILE, None).to_bytes().hex()
    command = [sys.executable, "-m", "stead", "sddl", data, "--to", "sddl"]
    try:
        subprocess.run(command, stdout=theirs, check=True, timeout=60)
        printed = os.read(ours, 4096).decode()
    finally:
        os.close(ours)
        os.close(theirs)
    assert r"\x1b[2J\u202e" in printed
    assert printed.removesuffix("\r\n").isprintable()


@pytest.mark.parametrize("text", ["", "   ", "\n"])
def test_an_empty_text_is_no_descriptor(sddl, text):
    for ran in (sddl(text), sddl("-", stdin=text)):
        assert 1 == ran.exit_code
        assert "empty" in ran.stderr


def test_what_never_ends_is_not_read_to_its_end(sddl, monkeypatch):
    monkeypatch.setattr(output, "LONGEST_INPUT", 8)
    ran = sddl("-", stdin="D:(A;;GA;;;WD)")
    assert (1, True) == (ran.exit_code, "longer than 8 bytes" in ran.stderr)


def test_bytes_that_are_no_text_are_refused(sddl):
    ran = sddl("-", stdin=b"\xff\xfe")
    assert (1, True) == (ran.exit_code, "no text in UTF-8" in ran.stderr)


def test_json_goes_with_no_other_form(sddl):
    assert 2 == sddl("D:", "--to", "hex", "--json").exit_code
