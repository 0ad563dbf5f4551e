"""Privileges and account rights."""

import json
from pathlib import Path

from stead.model.privilege import LogonRight, Privilege

CONSTANTS = Path(__file__).parent.parent / "vectors" / "constants" / "privileges.json"


def test_every_privilege_has_the_name_and_number_of_windows():
    table = json.loads(CONSTANTS.read_text("utf-8"))
    for row in table:
        assert row["expected"] == Privilege(row["input"]).luid
        assert row["input"] == Privilege(row["input"]).win32_name
    assert 36 == len(table) == len(Privilege)


def test_a_logon_right_is_no_privilege():
    names = {privilege.value for privilege in Privilege}
    assert names.isdisjoint(right.value for right in LogonRight)


def test_every_logon_right_can_be_denied():
    for right in LogonRight:
        if not right.name.startswith("DENY_"):
            assert f"SeDeny{right.value[2:]}" == LogonRight[f"DENY_{right.name}"].value
