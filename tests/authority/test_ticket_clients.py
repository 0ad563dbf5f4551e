"""What a verified ticket says of its client, and what no ticket may say."""

import json
from pathlib import Path

import pytest

from stead.authority.ticket_clients import (
    actors_of,
    asserted_by,
    is_verified_by_service,
)
from stead.codec.pac import read_pac
from stead.errors import EvidenceRefusedError
from stead.model import well_known
from stead.model.delegation_info import DelegationInfo
from stead.model.pac import LogonInfo, Pac
from stead.model.sid import Sid
from stead.model.token import TokenGroup
from stead.model.well_known import (
    AUTHORITY_ASSERTED_IDENTITY,
    SERVICE_ASSERTED_IDENTITY,
)

VECTORS = Path(__file__).parents[1] / "vectors" / "pac" / "samba.json"
RECORDED = {
    case["id"].removeprefix("samba-"): read_pac(bytes.fromhex(case["input"]))
    for case in json.loads(VECTORS.read_text("utf-8"))
}
ALICE = Sid.from_string("S-1-5-21-1-2-3-1104")


def test_the_account_and_all_its_groups_of_domains_are_asserted():
    pac = RECORDED["alice"]
    said = asserted_by(pac)
    assert pac.user_sid == said.user
    assert pac.logon.primary_group == said.primary_group
    assert set(pac.group_sids) == {group.sid for group in said.groups}
    assert said == asserted_by(pac)
    assert said != asserted_by(RECORDED["bob"])


@pytest.mark.parametrize("text", ["S-1-5-18", "S-1-5-32-544", "S-1-22-1-0", "S-1-1-0"])
def test_nobody_is_the_machine_s_own_by_a_ticket(text):
    sid = Sid.from_string(text)
    for _ in range(3):
        with pytest.raises(EvidenceRefusedError):
            asserted_by(Pac(LogonInfo(sid)))
    said = asserted_by(Pac(LogonInfo(ALICE, groups=(TokenGroup(sid),))))
    assert () == said.groups


def test_how_a_client_came_by_its_ticket_is_told():
    vouched = {
        name
        for name, pac in RECORDED.items()
        if is_verified_by_service(pac.group_sids, pac.delegation)
    }
    assert {"self", "proxy"} == vouched
    passed_on = {name for name, pac in RECORDED.items() if actors_of(pac.delegation)}
    assert {"proxy", "evidence"} == passed_on
    assert ("front@AD.STEAD.TEST",) == actors_of(RECORDED["evidence"].delegation)
    assert well_known.SERVICE_ASSERTED_IDENTITY in RECORDED["self"].group_sids


def test_who_was_sent_on_counts_as_vouched_for_unless_the_domain_says_otherwise():
    sent = DelegationInfo("HTTP/back", ("HTTP/front@R",))
    shown, vouched = AUTHORITY_ASSERTED_IDENTITY, SERVICE_ASSERTED_IDENTITY
    assert is_verified_by_service((), sent)
    assert not is_verified_by_service((), None)
    assert not is_verified_by_service((shown,), sent)
    # A group whose SID says otherwise takes nothing back.
    assert is_verified_by_service((shown, vouched), sent)
    assert is_verified_by_service((shown, vouched), None)


def test_a_way_that_is_not_told_whole_is_no_evidence():
    assert () == actors_of(None)
    with pytest.raises(EvidenceRefusedError) as caught:
        actors_of(DelegationInfo("HTTP/back"))
    assert "fewer services" in caught.value.advice
