"""Tokens as text, and back: what the judge asks of them, and nothing guessed."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stead.codec.token_text import (
    DIGEST,
    TEXT,
    described,
    read_token_text,
    token_detail,
    token_digest,
    write_token,
)
from stead.errors import InvalidRecordError
from stead.model import well_known
from stead.model.claim import Claim, ClaimType
from stead.model.limits import ANY_NAME, TokenLimits
from stead.model.luid import Luid
from stead.model.privilege import Privilege, PrivilegeAttributes, TokenPrivilege
from stead.model.sid import Sid
from stead.model.token import (
    AccessToken,
    GroupAttributes,
    MandatoryPolicy,
    TokenGroup,
)

DOMAIN = Sid.from_string("S-1-5-21-1-2-3")
ALICE = DOMAIN.with_rid(1001)
PACKAGE = Sid.from_string("S-1-15-2-1-2-3-4-5-6-7")
CLAIM = Claim("title", ClaimType.STRING, ("VP\0\udcff",))


def sids():
    parts = st.lists(st.integers(0, (1 << 32) - 1), min_size=1, max_size=6)
    made = st.builds(Sid.from_parts, st.integers(0, (1 << 48) - 1), parts.map(tuple))
    return made | st.integers(0, (1 << 32) - 1).map(DOMAIN.with_rid)


def groups():
    flags = st.integers(0, (1 << 32) - 1).map(GroupAttributes)
    return st.lists(st.builds(TokenGroup, sids(), flags), max_size=4).map(tuple)


def tokens():
    flags = st.integers(0, 7).map(PrivilegeAttributes)
    held = st.builds(TokenPrivilege, st.sampled_from(Privilege), flags)
    return st.builds(
        AccessToken,
        user=sids(),
        user_is_deny_only=st.booleans(),
        groups=groups(),
        device_groups=groups(),
        privileges=st.lists(held, max_size=4).map(tuple),
        integrity=st.sampled_from([well_known.LOW_LEVEL, well_known.HIGH_LEVEL]),
        mandatory_policy=st.sampled_from([MandatoryPolicy.OFF, MandatoryPolicy(3)]),
        restricting_sids=st.lists(sids(), max_size=3).map(tuple),
        package=st.just(PACKAGE),
        capabilities=groups(),
        trust=st.none() | st.just(Sid.from_string("S-1-19-512-4096")),
    )


@given(tokens())
def test_what_the_judge_asks_comes_back_as_it_was(token):
    told = read_token_text(write_token(token))
    assert replace(token) == told.token
    assert () == told.lacks
    assert token == described(token_detail(token)).token


def test_a_text_is_short_and_plain():
    token = AccessToken(
        ALICE,
        groups=(
            TokenGroup(well_known.EVERYONE),
            TokenGroup(DOMAIN.with_rid(1005), GroupAttributes.USE_FOR_DENY_ONLY),
        ),
        privileges=(TokenPrivilege(Privilege.BACKUP, PrivilegeAttributes.NONE),),
        restricting_sids=(ALICE,),
        is_write_restricted=True,
    )
    assert (
        "user=S-1-5-21-1-2-3-1001 groups=S-1-1-0,~1005:10 "
        "privileges=SeBackupPrivilege:0 integrity=S-1-16-8192 policy=1 "
        "restricting=~1001 writing=restricted"
    ) == write_token(token)
    assert token == read_token_text(write_token(token)).token


@pytest.mark.parametrize("place", ["user_claims", "device_claims", "local_claims"])
def test_claims_are_told_by_a_digest_and_lacking(place):
    token = AccessToken(ALICE, **{place: (CLAIM,)})
    told = read_token_text(write_token(token))
    assert AccessToken(ALICE) == told.token
    assert ("claims",) == told.lacks
    other = AccessToken(ALICE, **{place: (replace(CLAIM, name="rank"),)})
    assert 3 == len({token_digest(one) for one in (token, other, AccessToken(ALICE))})


def test_limits_are_lacking():
    limits = TokenLimits(expires=1, objects=(ANY_NAME,), purpose="a report")
    limits = replace(limits, grant=Luid(7))
    told = read_token_text(write_token(AccessToken(ALICE, limits=limits)))
    assert ("limits",) == told.lacks


def test_a_digest_is_kept_with_the_token_and_with_no_copy():
    token = AccessToken(ALICE)
    assert "" == token.kept_digest
    assert token_digest(token) == token.kept_digest
    other = replace(token, integrity=well_known.LOW_LEVEL)
    assert token_digest(token) != token_digest(other)


def test_a_record_that_describes_none_says_so():
    assert described({}) is None
    assert described({DIGEST: "00"}) is None


def test_a_long_text_goes_on_in_more_details():
    token = AccessToken(
        ALICE, groups=tuple(TokenGroup(DOMAIN.with_rid(n)) for n in range(1000, 2500))
    )
    detail = token_detail(token)
    assert f"{TEXT} 2" in detail
    assert all(len(text) <= 2048 for text in detail.values())
    assert token == described(detail).token


def test_one_with_more_groups_than_a_record_holds_is_told_by_its_digest():
    token = AccessToken(
        ALICE, groups=tuple(TokenGroup(DOMAIN.with_rid(n)) for n in range(10_000))
    )
    assert {DIGEST: token_digest(token)} == token_detail(token)


def test_a_text_that_is_not_the_one_its_digest_names_is_refused():
    detail = token_detail(AccessToken(ALICE))
    detail[TEXT] = detail[TEXT].replace("8192", "16384")
    with pytest.raises(InvalidRecordError):
        described(detail)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "groups=S-1-1-0",
        "user=alice",
        "user=S-1-1-0:maybe",
        "user=S-1-1-0 user=S-1-1-1",
        "user=S-1-1-0 fame=1",
        "user=S-1-1-0 groups=~5",
        "user=S-1-5-21-1-2-3-4 groups=~x",
        "user=S-1-5-21-1-2-3-4 groups=~99999999999",
        "user=S-1-1-0 groups=S-1-1-0:x",
        "user=S-1-1-0 privileges=SeFlyPrivilege",
        "user=S-1-1-0 integrity=S-1-1-0",
        "user=S-1-1-0 policy=zz",
    ],
)
def test_what_is_no_tokens_text_is_refused(text):
    with pytest.raises(InvalidRecordError):
        read_token_text(text)
