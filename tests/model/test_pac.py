"""A PAC as a value: what it says, and what a token may take from it."""

import pytest

from stead.errors import InvalidPacError
from stead.model.claim import Claim, ClaimType
from stead.model.pac import DeviceInfo, LogonInfo, Pac, TokenParts, UpnInfo
from stead.model.pac_sids import may_cross, ticket_group
from stead.model.sid import Sid
from stead.model.token import (
    ENABLED_GROUP,
    AccessToken,
    GroupAttributes,
    TokenGroup,
)

DOMAIN = Sid.from_string("S-1-5-21-1-2-3")
ALICE = DOMAIN.with_rid(1104)
USERS = TokenGroup(DOMAIN.with_rid(513))
STAFF = TokenGroup(Sid.from_string("S-1-5-21-4-5-6-7000"))
ADMINISTRATORS = TokenGroup(Sid.from_string("S-1-5-32-544"))
MACHINES = TokenGroup(DOMAIN.with_rid(515))
CLAIM = Claim("department", ClaimType.STRING, ("sales",))
LOGON = LogonInfo(
    ALICE,
    groups=(USERS, ADMINISTRATORS),
    resource_groups=(STAFF,),
    primary_group=USERS.sid,
)


def test_a_pac_answers_for_its_parts():
    pac = Pac(
        LOGON,
        names=UpnInfo("alice@example", "EXAMPLE", sam_name="alice"),
        device=DeviceInfo(DOMAIN.with_rid(1300), (MACHINES,)),
    )
    assert ALICE == pac.user_sid
    assert (USERS, ADMINISTRATORS) == pac.groups
    assert (USERS.sid, ADMINISTRATORS.sid) == pac.group_sids
    assert (STAFF,) == pac.resource_groups
    assert (STAFF.sid,) == pac.resource_group_sids
    assert (MACHINES,) == pac.device_groups
    assert ("alice@example", "EXAMPLE") == (pac.upn, pac.dns_domain)
    assert "alice" == pac.sam_name


def test_a_pac_without_device_and_names_has_none():
    pac = Pac(LogonInfo(ALICE))
    assert () == pac.device_groups
    assert (None, None, None) == (pac.upn, pac.dns_domain, pac.sam_name)


def test_a_token_takes_what_a_ticket_may_bring():
    device = TokenGroup(DOMAIN.with_rid(1300))
    pac = Pac(
        LOGON,
        device=DeviceInfo(device.sid, (MACHINES, ADMINISTRATORS)),
        user_claims=(CLAIM,),
        device_claims=(CLAIM, CLAIM),
    )
    expected = TokenParts(
        user=ALICE,
        groups=(USERS, STAFF),
        primary_group=USERS.sid,
        user_claims=(CLAIM,),
        device_groups=(device, MACHINES),
        device_claims=(CLAIM, CLAIM),
    )
    assert expected == pac.token_parts()


def test_the_parts_make_a_token():
    parts = Pac(LOGON).token_parts()
    token = AccessToken(parts.user, parts.groups, primary_group=parts.primary_group)
    assert {ALICE, USERS.sid, STAFF.sid} == token.enabled_sids


def test_sids_of_the_machines_own_domain_are_left_out():
    parts = Pac(LOGON).token_parts(local_domain=Sid.from_string("S-1-5-21-4-5-6"))
    assert (USERS,) == parts.groups


def test_a_primary_group_that_may_not_cross_is_left_out():
    logon = LogonInfo(ALICE, primary_group=ADMINISTRATORS.sid)
    assert None is Pac(logon).token_parts().primary_group
    assert None is Pac(LogonInfo(ALICE)).token_parts().primary_group


@pytest.mark.parametrize("user", ["S-1-5-18", "S-1-5-32-544", "S-1-1-0"])
def test_a_user_that_may_not_cross_is_refused(user):
    with pytest.raises(InvalidPacError, match=user):
        Pac(LogonInfo(Sid.from_string(user))).token_parts()


def test_a_user_of_the_machines_own_domain_is_refused():
    with pytest.raises(InvalidPacError):
        Pac(LOGON).token_parts(local_domain=DOMAIN)


@pytest.mark.parametrize(
    "sid",
    [
        "S-1-5-21-1-2-3-500",
        "S-1-5-21-0-0-0-496",
        "S-1-5-21-0-0-0-497",
        "S-1-5-9",
        "S-1-5-15",
        "S-1-5-1000-1",
        "S-1-4-1",
        "S-1-10-1",
        "S-1-12-1-2-3-4",
        "S-1-18-1",
        "S-1-18-2",
    ],
)
def test_domain_identities_cross(sid):
    assert may_cross(Sid.from_string(sid))


@pytest.mark.parametrize(
    "sid",
    [
        "S-1-0-0",
        "S-1-1-0",
        "S-1-2-0",
        "S-1-3-4",
        "S-1-5-2",
        "S-1-5-5-1-2",
        "S-1-5-11",
        "S-1-5-18",
        "S-1-5-21",
        "S-1-5-21-1-2-3",
        "S-1-5-21-1-2-3-4-5",
        "S-1-5-32-545",
        "S-1-5-64-10",
        "S-1-5-80-1-2-3-4-5",
        "S-1-9-1",
        "S-1-15-2-1",
        "S-1-16-16384",
        "S-1-19-512-4096",
    ],
)
def test_what_is_the_machines_own_does_not_cross(sid):
    assert not may_cross(Sid.from_string(sid))


@pytest.mark.parametrize(
    ("bits", "kept"),
    [
        (7, ENABLED_GROUP),
        (0x2000_0007, ENABLED_GROUP | GroupAttributes.RESOURCE),
        (0xF, ENABLED_GROUP | GroupAttributes.OWNER),
        (0x10, GroupAttributes.USE_FOR_DENY_ONLY),
        (0xC000_0060, GroupAttributes.NONE),
        (0, GroupAttributes.NONE),
    ],
)
def test_a_tickets_group_has_the_bits_a_ticket_has_a_say_in(bits, kept):
    assert TokenGroup(STAFF.sid, kept) == ticket_group(STAFF.sid, bits)
