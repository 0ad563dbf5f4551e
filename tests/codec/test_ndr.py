"""The reader of Network Data Representation: what it reads and what it refuses."""

import struct

import pytest
from tests.codec.pac_builder import HEADERS, NdrWriter, serialize

from stead.codec.ndr import ArrayHeader, NdrReader, decode_text
from stead.errors import InvalidPacError, InvalidSidError
from stead.model.sid import Sid


def varying(maximum, offset, actual, text=""):
    return struct.pack("<III", maximum, offset, actual) + text.encode("utf-16-le")


def test_numbers_are_aligned_to_their_size():
    reader = NdrReader(
        bytes.fromhex("01 ff 0200 05 ffffff 03000000 ffffffff 0400000000000080")
    )
    assert 1 == reader.u8()
    assert 2 == reader.u16()
    assert 5 == reader.u8()
    assert 3 == reader.u32()
    assert (-(1 << 63) + 4,) == reader.hypers(1, signed=True)
    assert 0 == reader.remaining


def test_no_hyper_aligns_nothing():
    reader = NdrReader(bytes(12))
    reader.u32()
    assert () == reader.hypers(0, signed=False)
    assert 4 == reader.position


@pytest.mark.parametrize("size", [1, 2, 4])
def test_a_number_that_does_not_fit_is_refused(size):
    reader = NdrReader(bytes(size - 1))
    with pytest.raises(InvalidPacError):
        {1: reader.u8, 2: reader.u16, 4: reader.u32}[size]()


def test_serialized_data_is_what_its_header_says():
    reader = NdrReader.from_serialized(serialize(struct.pack("<II", 7, 8)) + bytes(7))
    assert (7, 8, 0) == (reader.u32(), reader.u32(), reader.remaining)


@pytest.mark.parametrize(
    "binary",
    [
        b"",
        HEADERS + bytes(7),
        b"\x02" + serialize(bytes(8))[1:],
        b"\x01\x00" + serialize(bytes(8))[2:],
        b"\x01\x10\x09" + serialize(bytes(8))[3:],
        HEADERS + struct.pack("<II", 9, 0) + bytes(8),
        HEADERS + struct.pack("<II", 0, 0) + bytes(8),
    ],
)
def test_a_header_that_lies_is_refused(binary):
    with pytest.raises(InvalidPacError):
        NdrReader.from_serialized(binary)


def test_only_padding_may_be_left():
    NdrReader(bytes(7)).finish()
    with pytest.raises(InvalidPacError):
        NdrReader(bytes(8)).finish()


def test_any_referent_id_but_zero_points_at_something():
    reader = NdrReader(struct.pack("<III", 0, 0x20000, 1))
    assert [False, True, True] == [reader.pointer() for _ in range(3)]


def test_an_array_has_the_length_that_was_announced():
    reader = NdrReader(struct.pack("<IIIII", 2, 0x20000, 2, 5, 6))
    elements = reader.array(reader.array_header(), size=4)
    assert [5, 6] == [reader.u32() for _ in elements]


def test_an_array_of_nothing_needs_no_pointer():
    assert 0 == len(NdrReader(b"").array(ArrayHeader(0, is_present=False), size=4))


@pytest.mark.parametrize(
    ("header", "conformance"),
    [
        (ArrayHeader(1, is_present=False), 1),
        (ArrayHeader(1, is_present=True), 2),
        (ArrayHeader(0, is_present=True), 1),
        (ArrayHeader(0x4000_0000, is_present=True), 0x4000_0000),
        (ArrayHeader(3, is_present=True), 3),
    ],
)
def test_counts_that_contradict_each_other_or_the_bytes_are_refused(
    header, conformance
):
    with pytest.raises(InvalidPacError):
        NdrReader(struct.pack("<I", conformance) + bytes(8)).array(header, size=4)


def test_octets_are_an_array_of_bytes():
    reader = NdrReader(struct.pack("<I", 3) + b"abc")
    assert b"abc" == reader.octets(ArrayHeader(3, is_present=True))


def test_a_unicode_string_follows_its_header():
    writer = NdrWriter()
    writer.unicode("naïve")
    writer.flush()
    reader = NdrReader(bytes(writer.binary))
    header = reader.take(8)
    assert (10, 10) == struct.unpack("<HH4x", header)
    assert "naïve" == reader.unicode_text(header)


def test_a_unicode_string_may_have_room_to_spare():
    reader = NdrReader(varying(4, 0, 2, "ab"))
    assert "ab" == reader.unicode_text(struct.pack("<HHI", 4, 8, 1))


def test_a_unicode_string_that_is_not_there_is_empty():
    assert "" == NdrReader(b"").unicode_text(struct.pack("<HHI", 0, 2, 0))


@pytest.mark.parametrize(
    "lengths", [(1, 2, 1), (4, 2, 1), (2, 2, 0)], ids=["odd", "long", "null"]
)
def test_a_unicode_header_that_contradicts_itself_is_refused(lengths):
    with pytest.raises(InvalidPacError):
        NdrReader(varying(2, 0, 1, "a")).unicode_text(struct.pack("<HHI", *lengths))


@pytest.mark.parametrize(
    "counts", [(3, 0, 2), (2, 0, 1), (2, 1, 2), (1, 0, 2), (2, 0, 3)]
)
def test_counts_of_a_unicode_string_agree_with_its_header(counts):
    reader = NdrReader(varying(*counts, "abcd"))
    with pytest.raises(InvalidPacError):
        reader.unicode_text(struct.pack("<HHI", 4, 4, 1))


def test_a_terminated_string_loses_its_nul():
    assert "abc" == NdrReader(varying(4, 0, 4, "abc\0")).terminated_text()


@pytest.mark.parametrize(
    "binary",
    [
        varying(0, 0, 0),
        varying(3, 0, 3, "abc"),
        varying(4, 0, 4, "a\0c\0"),
        varying(3, 0, 4, "abc\0"),
        varying(4, 1, 3, "ab\0"),
        varying(4, 0, 4, "abc"),
        varying(0x8000_0000, 0, 0x8000_0000, "abc\0"),
    ],
)
def test_a_terminated_string_that_does_not_end_once_is_refused(binary):
    with pytest.raises(InvalidPacError):
        NdrReader(binary).terminated_text()


def test_a_sid_follows_its_count():
    sid = Sid.from_string("S-1-5-32-544")
    assert sid == NdrReader(struct.pack("<I", 2) + sid).sid()


@pytest.mark.parametrize(
    ("count", "error"),
    [(16, InvalidPacError), (1, InvalidSidError), (3, InvalidPacError)],
)
def test_a_sid_of_another_count_is_refused(count, error):
    sid = Sid.from_string("S-1-5-32-544")
    with pytest.raises(error):
        NdrReader(struct.pack("<I", count) + sid).sid()


@pytest.mark.parametrize("binary", [b"a", b"\x00\xd8", b"\x00\xd8a\x00", b"a\0\0\0"])
def test_text_is_whole_characters_without_nuls(binary):
    with pytest.raises(InvalidPacError):
        decode_text(binary)
