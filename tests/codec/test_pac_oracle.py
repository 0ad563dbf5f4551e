"""PACs of a real domain controller, and what is made of them: beside impacket."""

import json
import random
from pathlib import Path

import pytest
from tests.codec.pac_oracle import Said, read

from stead.codec.pac import read_pac
from stead.errors import InvalidPacError
from stead.model.sid import Sid

VECTORS = Path(__file__).parents[1] / "vectors" / "pac" / "samba.json"
CASES = {each["id"]: each for each in json.loads(VECTORS.read_text("utf-8"))}
MUTANTS = 600


def ours(binary):
    found = read_pac(binary)
    return Said(
        user=str(found.user_sid),
        primary_group=str(found.logon.primary_group),
        groups={str(group.sid): int(group.attributes) for group in found.groups},
        resource_groups={
            str(group.sid): int(group.attributes) for group in found.resource_groups
        },
        account_name=found.logon.account_name,
    )


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_both_read_one_client_in_a_pac_of_a_domain_controller(case):
    binary = bytes.fromhex(case["input"])
    assert read(binary) == ours(binary)
    assert Sid.from_string(case["expected"]) == read_pac(binary).user_sid


def test_nested_and_local_groups_come_along_and_how_the_client_was_verified():
    groups = {name: set(_groups(name)) for name in ("alice", "self", "proxy", "bob")}
    assert groups["alice"] - groups["self"] == {"S-1-18-1"}
    assert groups["self"] - groups["alice"] == {"S-1-18-2"}
    assert groups["self"] == groups["proxy"]
    assert 3 == len(groups["alice"] - groups["bob"])  # inner, outer, local


def _groups(name):
    return ours(bytes.fromhex(CASES[f"samba-{name}"]["input"])).groups


def test_who_took_an_identity_on_stands_in_it():
    for name in ("proxy", "evidence"):
        delegation = read_pac(bytes.fromhex(CASES[f"samba-{name}"]["input"])).delegation
        assert ("front@AD.STEAD.TEST",) == delegation.transited
        assert "HTTP/back.ad.stead.test" == delegation.target


def mutant(choose, binary):
    """Change a few bytes, or cut or remove some."""
    changed = bytearray(binary)
    for _ in range(choose.choice((1, 1, 2, 4))):
        at = choose.randrange(len(changed))
        kind = choose.randrange(8)
        if kind < 3:
            changed[at] ^= 1 << choose.randrange(8)
        elif kind < 5:
            changed[at] = choose.choice((0, 1, 127, 128, 255))
        elif kind < 7:
            word = choose.choice((b"\0" * 4, b"\xff" * 4, b"\1\0\0\0"))
            changed[at : at + 4] = word
        else:
            del changed[at : at + choose.choice((1, 4, 8, 400))]
    return bytes(changed)


def test_what_both_read_of_a_changed_pac_is_one_client():
    choose, agreed, refused = random.Random(7), 0, 0  # noqa: S311 - the same each time
    real = [bytes.fromhex(case["input"]) for case in CASES.values()]
    for number in range(MUTANTS):
        binary = mutant(choose, choose.choice(real))
        try:
            found = ours(binary)
        except InvalidPacError:  # any other would end the test
            refused += 1
            continue
        try:
            other = read(binary)
        except Exception:  # noqa: S112 - it fails in its own ways
            continue
        assert other == found, (number, binary.hex())
        agreed += 1
    assert agreed > MUTANTS // 10
    assert refused > MUTANTS // 10
