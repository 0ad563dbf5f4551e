"""Claims as SDDL: what is read, what is refused, what is printed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.strategies_condition import claims

from stead.codec.claim_text import claim_to_sddl, read_claim_here
from stead.codec.cursor import Cursor
from stead.errors import InvalidClaimError, InvalidSddlError
from stead.model.claim import Claim, ClaimFlags, ClaimType
from stead.model.sid import Sid
from stead.model.well_known import ADMINISTRATORS, EVERYONE

DOMAIN = Sid.from_string("S-1-5-21-10-20-30")


def read(text, domain=None):
    cursor = Cursor(text)
    claim = read_claim_here(cursor, domain)
    assert cursor.at_end
    return claim


@pytest.mark.parametrize(
    ("text", "claim", "printed"),
    [
        ('("x",TI,0x0)', Claim("x", ClaimType.INT64), None),
        (
            '( "x" , ti , 0 , -0x10, 010,+1 )',
            Claim("x", ClaimType.INT64, (-16, 8, 1)),
            '("x",TI,0x0,-16,8,1)',
        ),
        (
            f'("x",TU,0x0,{2**64 - 1})',
            Claim("x", ClaimType.UINT64, (2**64 - 1,)),
            None,
        ),
        (
            '("x",TS,0x2,"a","")',
            Claim("x", ClaimType.STRING, ("a", ""), ClaimFlags.VALUE_CASE_SENSITIVE),
            None,
        ),
        (
            '("x",TB,0x30000,1,0)',
            Claim(
                "x",
                ClaimType.BOOLEAN,
                (True, False),
                ClaimFlags.MANUAL | ClaimFlags.POLICY_DERIVED,
            ),
            None,
        ),
        (
            '("x",TD,0x0,BA,sid(WD))',
            Claim("x", ClaimType.SID, (ADMINISTRATORS, EVERYONE)),
            '("x",TD,0x0,BA,WD)',
        ),
        (
            '("x",TX,0x0,00ff,#0102,#,,abc)',
            Claim(
                "x",
                ClaimType.OCTET_STRING,
                (b"\x00\xff", b"\x01\x02", b"", b"", b"\x0a\xbc"),
            ),
            '("x",TX,0x0,00ff,0102,,,0abc)',
        ),
        (
            '("a%0020bé",TI,0x0)',
            Claim("a bé", ClaimType.INT64),
            '("a%0020b%00e9",TI,0x0)',
        ),
    ],
)
def test_a_claim_is_printed_as_windows_does(text, claim, printed):
    assert claim == read(text)
    assert (printed or text) == claim_to_sddl(claim)
    assert claim == read(printed or text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        '"x",TI,0',
        "()",
        "(x,TI,0)",
        '("",TI,0)',
        '("a b",TI,0)',
        '("x,TI,0)',
        '("x"TI,0)',
        '("x",TZ,0)',
        '("x",TI)',
        '("x",TI,)',
        '("x",TI,-1)',
        '("x",TI,0x100000000)',
        '("x",TI,0,)',
        '("x",TI,0,1',
        '("x",TI,0 1)',
        '("x",TI,0,"1")',
        f'("x",TI,0,{2**63})',
        '("x",TU,0,-1)',
        f'("x",TU,0,{2**64})',
        '("x",TB,0,2)',
        '("x",TS,0,1)',
        '("x",TD,0,1)',
        '("x",TD,0,SID(BA)',
        '("x",TD,0,SID(BA,1)',
        '("x",TD,0,DA)',
        '("x",TX,0,"1")',
        '("x",TX,0,12g)',
    ],
)
def test_what_is_wrong_is_refused(text):
    with pytest.raises(InvalidSddlError):
        read(text)


def test_aliases_of_a_domain_need_one():
    claim = read('("x",TD,0,DA)', DOMAIN)
    assert '("x",TD,0x0,DA)' == claim_to_sddl(claim, domain=DOMAIN)
    assert '("x",TD,0x0,S-1-5-21-10-20-30-512)' == claim_to_sddl(claim)


def test_a_claim_ends_at_its_parenthesis():
    cursor = Cursor('("x",TI,0))')
    assert Claim("x", ClaimType.INT64) == read_claim_here(cursor, None)
    assert 10 == cursor.position


def test_a_name_without_a_spelling_is_not_printed():
    with pytest.raises(InvalidClaimError):
        claim_to_sddl(Claim("a\0b", ClaimType.INT64))


@given(claims())
def test_what_is_printed_reads_back(claim):
    assert claim == read(claim_to_sddl(claim))


PIECES = (
    '"x"',
    ",",
    "TI",
    "TS",
    "TX",
    "TD",
    "0",
    "0x1",
    '"a"',
    "BA",
    " ",
    ")",
    "#",
    "-",
)


@given(st.one_of(st.text(max_size=40), st.lists(st.sampled_from(PIECES)).map("".join)))
def test_arbitrary_text_raises_our_error_alone(text):
    try:
        claim = read_claim_here(Cursor(f"({text})"), None)
    except InvalidSddlError:
        return
    assert claim == read(claim_to_sddl(claim))
