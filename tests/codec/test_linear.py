"""Reading costs no more than its input is long: counted, never timed.

Each case is a piece of input for a size. Four times the size may cost six times the
calls (of Python's functions and of C's) and six times the memory at most, whether the
input is accepted or refused in the end.
"""

import struct
import tracemalloc
from contextlib import suppress

import pytest
from tests.codec.forgetting import forget
from tests.codec.pac_builder import count_calls

from stead.codec.ace_binary import read_ace, write_ace
from stead.codec.binary import read_security_descriptor
from stead.codec.claim_binary import read_claim, write_claim
from stead.codec.claim_text import claim_to_sddl
from stead.codec.condition_binary import read_condition, write_condition
from stead.codec.condition_text import condition_to_sddl, read_condition_text
from stead.codec.sddl import read_sddl, write_sddl
from stead.codec.sid_text import read_sid
from stead.errors import SteadError
from stead.model.ace import AccessAllowedAce, OpaqueAce, ResourceAttributeAce
from stead.model.acl import Acl
from stead.model.claim import Claim, ClaimType
from stead.model.condition import Composite, Integer, String
from stead.model.guid import Guid
from stead.model.security_descriptor import SecurityDescriptor
from stead.model.sid import Sid
from stead.model.well_known import EVERYONE

GROWTH = 4
MOST = 6
SMALL_CHANGE = 4096  # bytes: what any call may cost, however small its input

GUID = "bf967aba-0de6-11d0-a285-00aa003049e2"


def text_of(begin, piece, end=""):
    """Return a maker of text: a piece, as often as the size says, between two ends."""
    return lambda size: begin + piece * size + end


def numbered(begin, piece, end=""):
    """Return a maker of text whose pieces are all different."""
    return lambda size: begin + "".join(piece % n for n in range(size)) + end


def nested(size):
    """Return a condition that is a balanced tree of about so many leaves."""
    level = ["(a == 1)"]
    while len(level) * 2 <= size:
        level = [f"({level[0]} && {level[0]})"] * (len(level) * 2)
    return level[0]


SDDL = {
    "entries": numbered("D:", "(A;;%#x;;;WD)"),
    "entries-then-garbage": numbered("D:", "(A;;%#x;;;WD)", "x"),
    "more-entries-than-fit": text_of("D:", "(A;;;;;WD)" * 16),
    "object-entries": numbered("D:", f"(OA;;%#x;{GUID};;WD)"),
    "conditional-entries": numbered("D:", "(XA;;%#x;;;WD;(@User.a == 1))"),
    "attributes": numbered("S:", '(RA;;;;;WD;("a",TI,0x0,%d))'),
    "filters": numbered("S:", "(FL;;%#x;;;WD;(Exists a))"),
    "entries-with-sids": numbered("D:", "(A;;;;;S-1-5-21-1-2-3-%d)"),
    "letters-of-rights": text_of("D:(A;;", "CCDCLC", ";;;WD)"),
    "letters-of-no-right": text_of("D:(A;;", "CCDCLC", "XX"),
    "letters-of-flags": text_of("D:(A;", "OICISA", ";;;;WD)"),
    "letters-of-control": text_of("D:", "PAIAR"),
    "spaces": text_of("D:", " ", "(A;;GA;;;WD)"),
    "spaces-in-an-entry": text_of("D:(A; ", " ", ";GA;;;WD)"),
    "spaces-between-rights": text_of("D:(A;;GA", " ", "GR;;;WD)"),
    "spaces-in-a-condition": text_of("D:(XA;;GA;;;WD;(", " ", "a))"),
    "spaces-alone": text_of("", " "),
    "digits-of-a-mask": text_of("D:(A;;", "9", ";;;WD)"),
    "hexadecimal-digits-of-a-mask": text_of("D:(A;;0x", "f", ";;;WD)"),
    "zeros-of-a-mask": text_of("D:(A;;0x", "0", ";;;WD)"),
    "digits-without-an-end": text_of("D:(A;;0x", "0"),
    "digits-of-a-sid": text_of("O:S-1-5-", "9"),
    "hexadecimal-digits-of-a-sid": text_of("O:S-1-5-0x", "d", ":"),
    "parts-of-a-sid": text_of("O:S-1-5", "-1"),
    "hexadecimal-parts-of-a-sid": text_of("O:S-0x1-5", "-d", ":"),
    "digits-of-an-integer": text_of("D:(XA;;GA;;;WD;(a == ", "9", "))"),
    "zeros-of-an-integer": text_of("D:(XA;;GA;;;WD;(a == ", "0", "))"),
    "digits-of-octets": text_of("D:(XA;;GA;;;WD;(a == #", "ab", "))"),
    "hashes-of-octets": text_of("D:(XA;;GA;;;WD;(a == #", "#", "))"),
    "a-long-string": text_of('D:(XA;;GA;;;WD;(a == "', "x", '"))'),
    "a-string-without-an-end": text_of('D:(XA;;GA;;;WD;(a == "', "x"),
    "a-long-name": text_of("D:(XA;;GA;;;WD;(", "x", "))"),
    "a-name-of-escapes": text_of("D:(XA;;GA;;;WD;(", "%0020", "))"),
    "a-long-prefixed-name": text_of("D:(XA;;GA;;;WD;(@User.", "x", "))"),
    "a-composite": text_of("D:(XA;;GA;;;WD;(a == {1", ", 1", "}))"),
    "a-composite-of-sids": text_of(
        "D:(XA;;GA;;;WD;(Member_of {SID(BA)", ", SID(BA)", "}))"
    ),
    "parentheses": text_of("D:(XA;;GA;;;WD;", "("),
    "operators-not": text_of("D:(XA;;GA;;;WD;(", "!"),
    "a-chain": text_of("D:(XA;;GA;;;WD;(a", " && a", "))"),
    "values-of-an-attribute": numbered(
        'S:(RA;;;;;WD;("a",TI,0x0', ", %d", "))"
    ),
    "an-attribute-s-long-name": text_of('S:(RA;;;;;WD;("', "x", '",TI,0x0))'),
    "an-attribute-s-long-string": text_of('S:(RA;;;;;WD;("a",TS,0x0,"', "x", '"))'),
    "letters-of-a-type": text_of("D:(", "X", ";;GA;;;WD)"),
    "colons": text_of("O:", ":"),
}  # fmt: skip


def aces_of(make):
    """Return a maker of a descriptor that holds so many entries, as bytes."""
    return lambda size: write_list(b"".join(write_ace(make(n)) for n in range(size)))


def write_list(body, *, count=0xFFFF):
    """Return a descriptor with a system list of these bytes, which may lie."""
    acl = struct.pack("<BBHHH", 2, 0, 8 + len(body), count, 0) + body
    return struct.pack("<BBHIIII", 1, 0, 0x8010, 0, 0, 20, 0) + acl


def good_list(make):
    """Return a maker of a descriptor that tells the truth."""
    return lambda size: SecurityDescriptor(
        Acl(), sacl=Acl(tuple(make(n) for n in range(size)))
    ).to_bytes()


def opaque(number):
    return OpaqueAce(type_number=0x16, body=number.to_bytes(8, "little"))


def attribute(number):
    claim = Claim("a", ClaimType.INT64, (number, 7))
    return ResourceAttributeAce(EVERYONE, 0, application_data=write_claim(claim))


DESCRIPTORS = {
    "opaque-entries": good_list(opaque),
    "one-opaque-entry": good_list(lambda _: OpaqueAce(body=bytes(8))),
    "attributes": good_list(attribute),
    "fewer-entries-than-claimed": aces_of(opaque),
    "entries-of-the-other-list": aces_of(lambda n: AccessAllowedAce(EVERYONE, n)),
    "bare-headers": lambda size: write_list(b"\x16\0\4\0" * size, count=size),
    "headers-without-size": lambda size: write_list(b"\x16\0\0\0" * size),
    "noise": lambda size: b"\x01" * size,
}


def claim_of(kind, value):
    """Return a maker of a claim with so many values."""
    return lambda size: write_claim(Claim("a", kind, (value,) * size))


CLAIMS = {
    "integers": claim_of(ClaimType.INT64, 7),
    "strings": claim_of(ClaimType.STRING, "x"),
    "sids": claim_of(ClaimType.SID, EVERYONE),
    "octets": claim_of(ClaimType.OCTET_STRING, b"abc"),
    "one-long-string": lambda size: write_claim(
        Claim("a", ClaimType.STRING, ("x" * size,))
    ),
    # Each offset names the same long string, which has an end only at the end.
    "offsets-of-one-string": lambda size: (
        struct.pack("<IHHII", 20 + 4 * size, 3, 0, 0, size)
        + struct.pack("<I", 20 + 4 * size) * size
        + b"x\0" * size
        + b"\0\0"
    ),
    # No pair of zeros here stands where a character begins.
    "a-string-without-an-end": lambda size: (
        struct.pack("<IHHII", 20, 3, 0, 0, 0) + b"x" + b"\0\0x\0" * size
    ),
    "zeros-beside-the-characters": lambda size: (
        struct.pack("<IHHII", 20, 3, 0, 0, 0) + b"\1" + b"\0\0\1\1" * size
    ),
}


def token(code, content):
    return struct.pack("<BI", code, len(content)) + content


NAME = token(0xF8, b"a\0")
CONDITIONS = {
    "operands": lambda size: b"artx" + NAME * size,
    "operators-not": lambda size: b"artx" + NAME + b"\xa2" * size,
    "a-chain": lambda size: b"artx" + NAME + (NAME + b"\xa0") * size,
    "operators-alone": lambda size: b"artx" + b"\xa0" * size,
    "a-composite": lambda size: write_condition(Composite((Integer(1),) * size)),
    "a-composite-of-noise": lambda size: b"artx" + token(0x50, b"\x50" * size),
    "a-long-string": lambda size: write_condition(String("x" * size)),
    "padding": lambda size: b"artx" + NAME + bytes(size),
    "a-balanced-tree": lambda size: write_condition(read_condition_text(nested(size))),
}


def sizes(cases, small):
    """Return cases with the smaller of the two sizes that are compared."""
    return [pytest.param(make, small, id=name) for name, make in cases.items()]


def require_linear(read, make, small):
    """Assert that reading grows no faster than what is read."""
    make_both = make(small), make(GROWTH * small)
    ratio = max(1.0, len(make_both[1]) / len(make_both[0]))
    assert ratio <= GROWTH + 1

    def attempt(data):
        with suppress(SteadError):
            look_at(read(data))

    calls, memory = [], []
    for data in make_both:
        forget()
        calls.append(count_calls(lambda data=data: attempt(data)))
        forget()
        memory.append(peak(attempt, data))
    assert calls[1] <= MOST * calls[0]
    assert memory[1] <= MOST * memory[0] + SMALL_CHANGE


def look_at(read):
    """Make what is made when somebody looks: entries, if it is a descriptor."""
    if isinstance(read, SecurityDescriptor):
        assert read == SecurityDescriptor(
            read.dacl, read.owner, read.group, read.sacl, read.control
        )


def peak(read, data):
    """Return the most memory that reading holds at once, in bytes."""
    tracemalloc.start()
    try:
        read(data)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(("make", "small"), sizes(SDDL, 250))
def test_reading_sddl_is_linear(make, small):
    require_linear(read_sddl, make, small)


@pytest.mark.parametrize(("make", "small"), sizes(DESCRIPTORS, 250))
def test_reading_a_binary_descriptor_is_linear(make, small):
    require_linear(read_security_descriptor, make, small)


@pytest.mark.parametrize(("make", "small"), sizes(CLAIMS, 250))
def test_reading_a_binary_claim_is_linear(make, small):
    require_linear(read_claim, make, small)


@pytest.mark.parametrize(("make", "small"), sizes(CONDITIONS, 256))
def test_reading_a_binary_condition_is_linear(make, small):
    require_linear(read_condition, make, small)


@pytest.mark.parametrize("read", [Sid.from_string, read_sid])
@pytest.mark.parametrize(
    "make",
    [
        text_of("S-1-5", "-1"),
        text_of("S-1-5-", "9"),
        text_of("S-1-0x", "f"),
        text_of("S-1-5-0x", "f", "-"),
        text_of("S-", "0", "1-5-18"),
        text_of("", "S-1-5-18"),
        text_of("", " "),
    ],
)
def test_reading_a_sid_s_text_is_linear(read, make):
    require_linear(read, make, 1000)


@pytest.mark.parametrize("read", [Sid, Guid, read_ace])
def test_bytes_too_long_cost_nothing(read):
    require_linear(read, lambda size: b"\1" * size, 10_000)


def test_text_too_long_for_a_guid_costs_nothing():
    require_linear(Guid.from_string, text_of(GUID, "0"), 10_000)


@pytest.mark.parametrize("write", [SecurityDescriptor.to_bytes, write_sddl])
def test_writing_a_descriptor_is_linear(write):
    def make(size):
        return Acl(tuple(AccessAllowedAce(EVERYONE, n) for n in range(size)))

    require_linear(lambda acl: write(SecurityDescriptor(acl)), make, 700)


def test_printing_a_condition_is_linear():
    conditions = {
        size: read_condition_text(nested(size)) for size in (256, GROWTH * 256)
    }
    calls = [
        count_calls(lambda tree=tree: condition_to_sddl(tree))
        for tree in conditions.values()
    ]
    assert calls[1] <= MOST * calls[0]


def test_printing_a_claim_is_linear():
    def make(size):
        return tuple(range(size))

    require_linear(
        lambda values: claim_to_sddl(Claim("a", ClaimType.INT64, values)), make, 500
    )
