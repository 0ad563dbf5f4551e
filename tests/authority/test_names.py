from __future__ import annotations

import pytest

from stead.authority.names import name_key, require_name
from stead.errors import InvalidNameError, InvalidSidError, UnknownAccountError
from stead.model import well_known
from stead.model.sid import Sid

STRANGER = Sid.from_string("S-1-5-21-9-9-9-1001")


@pytest.mark.parametrize(
    "name",
    ["alice", "Alice Liddell", "a.b-c_d", "élodie", "李", "x" * 64, "s-1", "7up"],
)
def test_names_of_people_and_services_are_kept_as_they_are(name):
    assert name == require_name(name)


def test_names_are_kept_composed():
    assert "\u00e9lodie" == require_name("e\u0301lodie")


@pytest.mark.parametrize(
    "name",
    ["", " ", " alice", "alice ", "x" * 65, ".", ". .", "a\nb", "a\0b", "a\u200bb"],
    ids=ascii,
)
def test_what_is_no_name_is_refused(name):
    with pytest.raises(InvalidNameError):
        require_name(name)


@pytest.mark.parametrize("letter", '"/\\[]:;|=,+*?<>@`')
def test_letters_that_something_could_misread_are_refused(letter):
    with pytest.raises(InvalidNameError, match="may not hold"):
        require_name(f"a{letter}b")


@pytest.mark.parametrize("letter", ["\uff20", "\uff0f", "\u2100", "\ufe55"], ids=ascii)
def test_letters_that_stand_for_such_letters_are_refused(letter):
    with pytest.raises(InvalidNameError, match="may not hold"):
        require_name(f"a{letter}b")


@pytest.mark.parametrize(
    "letter", ["\u034f", "\u115f", "\u3164", "\u2800", "\ufe0f"], ids=ascii
)
def test_letters_that_nobody_sees_are_refused(letter):
    with pytest.raises(InvalidNameError, match="may not hold"):
        require_name(f"ali{letter}ce")


@pytest.mark.parametrize(
    "name",
    [
        "S-1-5-32-544",
        "s-1-x",
        "1000",
        "\uff11\uff12",
        "uid 0",
        "UID 70001",
        "gid 5",
        "uid7",
        "\uff55\uff49\uff44 0",
    ],
    ids=ascii,
)
def test_names_that_would_be_read_as_a_sid_or_number_are_refused(name):
    with pytest.raises(InvalidNameError, match="read as something else"):
        require_name(name)


@pytest.mark.parametrize(
    "name", ["Administrators", "EVERYONE", "system", "\uff33elf", "Anonymous Logon"]
)
def test_well_known_names_are_refused(name):
    with pytest.raises(InvalidNameError, match="well-known"):
        require_name(name)


def test_names_compare_without_case_and_compatibility_forms():
    assert name_key("Alice") == name_key("\uff21LICE")
    assert name_key("stra\u00dfe") == name_key("STRASSE")
    assert name_key("alice") != name_key("alicia")


def test_a_name_is_found_both_ways(store, names):
    alice = store.add_account("Alice", 70001, 70001)
    staff = store.add_group("staff", None)
    assert alice.sid == names.find("aLICE") == names.find(str(alice.sid))
    assert staff.sid == names.find("STAFF")
    assert ["Alice", "staff"] == [names(alice.sid), names(staff.sid)]
    assert "Alice" == names(alice.sid)  # remembered


def test_a_sid_stands_for_itself(names):
    assert STRANGER is names.find(STRANGER)
    assert STRANGER == names.find("s-1-5-21-9-9-9-1001")
    assert str(STRANGER) == names(STRANGER)


def test_well_known_names_are_found_both_ways(names):
    assert well_known.EVERYONE == names.find("everyone")
    assert "Everyone" == names(well_known.EVERYONE)


def test_bare_uids_and_gids_are_found_both_ways(names):
    assert well_known.unix_user(70001) == names.find("uid 70001")
    assert well_known.unix_group(50) == names.find("gid 50")
    assert "uid 70001" == names(well_known.unix_user(70001))
    assert "gid 50" == names(well_known.unix_group(50))


@pytest.mark.parametrize(
    "name", ["mallory", "uid", "uid x", "uid -1", "uid 4294967296", "pid 1", "uid ²"]
)
def test_nobody_is_an_error(names, name):
    with pytest.raises(UnknownAccountError):
        names.find(name)


def test_what_begins_like_a_sid_is_read_as_one(names):
    with pytest.raises(InvalidSidError):
        names.find("S-1-alice")


def test_an_error_does_not_repeat_a_name_without_end(names):
    with pytest.raises(UnknownAccountError) as refused:
        names.find("x" * 100_000)
    assert len(str(refused.value)) < 200
