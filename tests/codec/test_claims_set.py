"""Claims sets: every type, both encodings, and what is refused."""

import pytest
from tests.codec.pac_builder import (
    BOOLEAN,
    INT64,
    STRING,
    UINT64,
    NdrWriter,
    claims_set,
    compressed_metadata,
    count_calls,
    metadata,
    serialize,
)

from stead.codec.claims_set import read_claims
from stead.errors import InvalidPacError
from stead.model.claim import Claim, ClaimType

ROWS = [
    ("department", STRING, ["sales", "", "ünïcode"]),
    ("level", INT64, [-(1 << 63), 5]),
    ("clearance", UINT64, [(1 << 64) - 1]),
    ("managed", BOOLEAN, [1, 0]),
]
CLAIMS = (
    Claim("department", ClaimType.STRING, ("sales", "", "ünïcode")),
    Claim("level", ClaimType.INT64, (-(1 << 63), 5)),
    Claim("clearance", ClaimType.UINT64, ((1 << 64) - 1,)),
    Claim("managed", ClaimType.BOOLEAN, (True, False)),
)


def read(*sources):
    return read_claims(metadata(claims_set(*sources)))


def test_claims_of_every_type_are_read():
    assert CLAIMS == read((1, ROWS))


def test_compressed_claims_are_read():
    assert CLAIMS == read_claims(compressed_metadata(claims_set((1, ROWS))))


def test_claims_of_directory_and_certificates_are_kept_in_order():
    found = read((1, ROWS[:1]), (2, ROWS[1:2]), (1, ROWS[:1]))
    assert (CLAIMS[0], CLAIMS[1], CLAIMS[0]) == found


@pytest.mark.parametrize("source", [0, 3, 0xFFFF])
def test_claims_of_unknown_sources_are_left_out(source):
    assert (CLAIMS[1],) == read((source, ROWS[:1]), (1, ROWS[1:2]))


@pytest.mark.parametrize("kind", [STRING, INT64, UINT64, BOOLEAN])
@pytest.mark.parametrize("values", [[], None])
def test_a_claim_may_have_no_value(kind, values):
    assert (Claim("none", ClaimType(kind)),) == read((1, [("none", kind, values)]))


@pytest.mark.parametrize(
    "binary",
    [
        b"",
        metadata(None),
        metadata(None, compression=4),
        metadata(claims_set()),
        metadata(serialize(bytes(8))),
        serialize(bytes(8)),
    ],
    ids=["no buffer", "no set", "no compressed set", "no source", "null", "all null"],
)
def test_nothing_claims_nothing(binary):
    assert () == read_claims(binary)


def test_reserved_bytes_are_ignored():
    encoded = claims_set((1, ROWS), reserved=b"later")
    assert CLAIMS == read_claims(metadata(encoded, reserved=b"and now"))


@pytest.mark.parametrize("compression", [1, 2, 3, 5])
def test_other_compressions_are_refused(compression):
    with pytest.raises(InvalidPacError, match=f"`{compression}`"):
        read_claims(metadata(claims_set((1, ROWS)), compression=compression))


@pytest.mark.parametrize("more", [-1, 1])
def test_a_size_that_is_not_the_sets_own_is_refused(more):
    encoded = claims_set((1, ROWS))
    with pytest.raises(InvalidPacError):
        read_claims(metadata(encoded, full_size=len(encoded) + more))


@pytest.mark.parametrize(
    "row",
    [
        (None, STRING, ["a"]),
        ("", STRING, ["a"]),
        ("a", STRING, [None]),
        ("a", STRING, ["a", None, "b"]),
        ("a", STRING, ["nul\0inside"]),
        ("nul\0inside", STRING, ["a"]),
        ("a", BOOLEAN, [2]),
        ("a", 0, []),
        ("a", 5, []),
        ("a", 16, []),
    ],
)
def test_a_claim_that_is_none_is_refused(row):
    with pytest.raises(InvalidPacError):
        read((1, [row]))


def test_a_claim_of_two_types_is_refused():
    encoded = bytearray(claims_set((1, [("a", INT64, [1])])))
    at = encoded.index(bytes.fromhex("01000100"))
    encoded[at] = UINT64
    with pytest.raises(InvalidPacError, match="two types"):
        read_claims(metadata(bytes(encoded)))


def test_more_claims_than_fit_are_refused():
    writer = NdrWriter()
    writer.u32(0x20000, 0x0FFF_FFFF, 0x20004)
    writer.u16(0)
    writer.u32(0, 0, 0x0FFF_FFFF)
    with pytest.raises(InvalidPacError):
        read_claims(metadata(writer.serialized()))


def test_a_bomb_is_refused():
    with pytest.raises(InvalidPacError):
        read_claims(metadata(b"a" * 300, compression=4, full_size=0xFFFF_FFFF))


def test_bytes_after_the_set_are_refused():
    encoded = claims_set((1, ROWS))
    longer = serialize(encoded[16:] + bytes(8))
    with pytest.raises(InvalidPacError):
        read_claims(metadata(longer))


def test_work_grows_with_the_values_and_not_faster():
    def calls(count):
        binary = metadata(claims_set((1, [("n", UINT64, range(count))])))
        return count_calls(lambda: read_claims(binary))

    assert 4.1 * calls(1000) > calls(4000)
