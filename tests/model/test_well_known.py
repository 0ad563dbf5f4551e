"""SIDs that mean the same everywhere."""

import json
from pathlib import Path

import pytest

from stead.errors import InvalidSidError
from stead.model.sid import Sid
from stead.model.well_known import (
    ALL_APPLICATION_PACKAGES,
    ALL_RESTRICTED_APPLICATION_PACKAGES,
    EVERYONE,
    HIGH_LEVEL,
    MEDIUM_LEVEL,
    NAMES,
    gid_of,
    integrity_level,
    is_integrity_level,
    is_package,
    is_trust_level,
    logon_sid,
    service_sid,
    uid_of,
    unix_group,
    unix_user,
)
from stead.model.well_known_types import well_known_sid

CONSTANTS = Path(__file__).parent.parent / "vectors" / "constants"
DOMAIN = Sid.from_string("S-1-5-21-1-2-3")
TYPES = json.loads((CONSTANTS / "well_known_sid_types.json").read_text("utf-8"))


@pytest.mark.parametrize(
    "row", [pytest.param(row, id=row["id"]) for row in TYPES if row["expected"]]
)
def test_a_number_of_windows_has_its_sid(row):
    made = well_known_sid(row["input"], domain=DOMAIN)
    assert row["expected"].replace("{domain}", str(DOMAIN)) == str(made)


@pytest.mark.parametrize(
    "number", [row["input"] for row in TYPES if not row["expected"]] + [-1, 120]
)
def test_a_number_without_a_sid_is_refused(number):
    with pytest.raises(InvalidSidError, match="no well-known sid"):
        well_known_sid(number, domain=DOMAIN)


@pytest.mark.parametrize(
    "row",
    [
        pytest.param(row, id=row["id"])
        for row in TYPES
        if row["expected"] and "{domain}" in row["expected"]
    ],
)
@pytest.mark.parametrize(
    "domain",
    [None, "S-1-5-32", "S-1-5-21-1-2", "S-1-5-20-1-2-3", "S-1-6-21-1-2-3"],
)
def test_a_domain_s_number_needs_a_domain(row, domain):
    sid = None if domain is None else Sid.from_string(domain)
    with pytest.raises(InvalidSidError, match="needs a domain"):
        well_known_sid(row["input"], domain=sid)


def test_windows_does_not_count_the_parts_of_a_domain():
    longer = Sid.from_string("S-1-5-21-12-23-34-45-56")
    assert "S-1-5-21-12-23-34-45-56-571" == str(well_known_sid(72, domain=longer))


def test_no_room_for_a_rid_is_an_error_of_ours():
    full = Sid.from_string("S-1-5-21" + "-1" * 14)
    with pytest.raises(InvalidSidError, match="one to fifteen"):
        well_known_sid(41, domain=full)


def test_every_sid_has_a_name_of_its_own():
    assert "Everyone" == NAMES[EVERYONE]
    assert len(NAMES) == len(set(NAMES.values()))


@pytest.mark.parametrize("number", [0, 1000, 0xFFFF_FFFE])
def test_bare_ids_of_the_host_have_sids(number):
    assert f"S-1-22-1-{number}" == str(unix_user(number))
    assert f"S-1-22-2-{number}" == str(unix_group(number))
    assert number == uid_of(unix_user(number))
    assert number == gid_of(unix_group(number))


def test_a_sid_of_another_kind_is_no_id():
    assert None is uid_of(unix_group(5))
    assert None is gid_of(unix_user(5))
    assert None is uid_of(EVERYONE)


def test_the_number_that_changes_nothing_is_no_id():
    assert None is uid_of(unix_user(0xFFFF_FFFF))
    assert None is gid_of(unix_group(0xFFFF_FFFF))


def test_a_session_s_and_a_service_s_sid():
    assert "S-1-5-5-1-2" == str(logon_sid(1, 2))
    assert "S-1-5-80-1-2-3-4-5" == str(service_sid((1, 2, 3, 4, 5)))


def test_integrity_levels_are_numbers():
    assert 0x2000 == integrity_level(MEDIUM_LEVEL)
    assert is_integrity_level(HIGH_LEVEL)
    assert not is_integrity_level(EVERYONE)
    assert not is_integrity_level(Sid.from_string("S-1-16-1-2"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("S-1-15-2-1-2", True),
        ("S-1-15-2-1-2-3-4-5-6-7", True),
        ("S-1-15-3-1", False),
        ("S-1-16-2-1", False),
        ("S-1-5-15-2", False),
    ],
)
def test_a_package_s_sid_begins_with_its_authority_and_number(text, expected):
    assert expected is is_package(Sid.from_string(text))


def test_the_groups_of_all_packages_are_no_package():
    assert not is_package(ALL_APPLICATION_PACKAGES)
    assert not is_package(ALL_RESTRICTED_APPLICATION_PACKAGES)
    assert not is_package(Sid.from_string("S-1-15-2"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("S-1-19-512-4096", True),
        ("S-1-19-0-0", True),
        ("S-1-19-512", False),
        ("S-1-19-512-4096-1", False),
        ("S-1-16-512-4096", False),
    ],
)
def test_a_trust_level_has_a_type_and_a_level(text, expected):
    assert expected is is_trust_level(Sid.from_string(text))
