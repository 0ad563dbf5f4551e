"""LZ77+Huffman decompression: known bytes, all forms of matches, and bombs."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.codec.pac_builder import END, compress, compress_steps, count_calls, table_of

from stead.codec.xpress_huffman import MAXIMUM_SIZE, decompress
from stead.errors import InvalidPacError

ALPHABET = b"abcdefghijklmnopqrstuvwxyz"


def test_the_specifications_literals_come_out():
    # [MS-XCA] 3.2: `a` to `v` have five bits; `w` to `z` and the mark have four.
    lengths = dict.fromkeys(ALPHABET, 5) | dict.fromkeys(b"wxyz", 4) | {256: 4}
    words = bytes.fromhex("d8523ed794115be9195ff9d67cdf8d0400000000")
    assert ALPHABET == decompress(table_of(lengths) + words, 26)


def test_the_specifications_long_match_comes_out():
    lengths = {ord("a"): 3, ord("b"): 3, ord("c"): 2, 256: 2, 256 + 31: 2}
    words = bytes.fromhex("a8dc0000ff2601")
    assert b"abc" * 100 == decompress(table_of(lengths) + words, 300)


@given(st.binary(min_size=1, max_size=400), st.booleans())
def test_what_was_compressed_comes_out(data, mark_end):
    assert data == decompress(compress(data, mark_end=mark_end), len(data))


@pytest.mark.parametrize("length", [3, 4, 17, 18, 19, 272, 273, 274, 65_535])
def test_matches_of_every_form_come_out(length):
    data = b"a" * (length + 1)
    assert data == decompress(compress_steps([97, (1, length), END]), length + 1)


def test_a_match_longer_than_a_word_comes_out():
    length = 65_536 + 3
    data = compress_steps([97, (1, length), END])
    assert b"a" * (length + 1) == decompress(data, length + 1)


def test_a_match_may_overlap_what_it_makes():
    data = compress_steps([*b"abc", (3, 7), (2, 3), END])
    assert b"abcabcabcacac"[:13] == decompress(data, 13)


def test_a_far_match_comes_out():
    start = bytes(range(256)) * 2
    data = compress_steps([*start, (500, 40), END])
    assert start + start[12:52] == decompress(data, 552)


def test_blocks_follow_one_another():
    first = compress_steps([97, (1, 65_535)])
    second = compress_steps([*b"bc", (3, 4), END])
    whole = b"a" * 65_536 + b"bc" + b"abca"
    assert whole == decompress(first + second, len(whole))


def test_a_block_that_does_not_follow_is_missed():
    with pytest.raises(InvalidPacError):
        decompress(compress_steps([97, (1, 65_535)]), 65_537)


def test_a_whole_block_may_be_all_there_is():
    data = compress_steps([97, (1, 65_535), END])
    assert b"a" * 65_536 == decompress(data, 65_536)


@pytest.mark.parametrize("size", [0, -1, MAXIMUM_SIZE + 1, 0xFFFF_FFFF])
def test_a_size_out_of_bounds_is_refused_before_anything_is_read(size):
    with pytest.raises(InvalidPacError):
        decompress(b"", size)


@pytest.mark.parametrize("size", [3, 5])
def test_another_size_than_announced_is_refused(size):
    with pytest.raises(InvalidPacError):
        decompress(compress(b"abcd"), size)


@pytest.mark.parametrize("cut", [1, 2, 5, 200, 259, 260])
def test_bytes_that_end_too_early_are_refused(cut):
    data = compress(ALPHABET)
    with pytest.raises(InvalidPacError):
        decompress(data[:-cut], 26)


@pytest.mark.parametrize("tail", [b"\0", bytes(2), bytes(300)])
def test_bytes_after_the_end_are_refused(tail):
    with pytest.raises(InvalidPacError):
        decompress(compress(ALPHABET) + tail, 26)


def test_symbols_after_the_end_are_refused():
    with pytest.raises(InvalidPacError):
        decompress(compress_steps([*ALPHABET, *ALPHABET]), 26)


@pytest.mark.parametrize(
    "lengths",
    [{}, {97: 1}, {97: 1, 98: 1, 99: 1}, {97: 1, 98: 2}, dict.fromkeys(range(512), 8)],
)
def test_a_code_that_is_not_complete_is_refused(lengths):
    with pytest.raises(InvalidPacError):
        decompress(table_of(lengths) + bytes(8), 4)


def test_a_match_that_begins_before_everything_is_refused():
    with pytest.raises(InvalidPacError):
        decompress(compress_steps([97, (2, 3), END]), 4)


def test_a_match_that_makes_too_much_is_refused_before_it_is_made():
    bomb = compress_steps([97, (1, 0xFFFF_0000), END])
    assert 300 > len(bomb)
    with pytest.raises(InvalidPacError):
        decompress(bomb, MAXIMUM_SIZE)


def test_a_long_form_of_a_short_match_is_refused():
    data = bytearray(compress_steps([97, (1, 300), END]))
    at = data.index(b"\xff" + (297).to_bytes(2, "little"), 256)
    data[at + 1 : at + 3] = (14).to_bytes(2, "little")
    with pytest.raises(InvalidPacError):
        decompress(bytes(data), 18)


def test_work_grows_with_the_output_and_not_faster():
    def calls(size):
        data = compress(bytes(i * 7 % 251 for i in range(size)))
        return count_calls(lambda: decompress(data, size))

    assert calls(8000) < 4.5 * calls(2000)


@given(st.binary(max_size=300), st.integers(1, 2000))
def test_garbage_is_refused_or_has_the_size(garbage, size):
    table = table_of({97: 2, 98: 2, 99: 2, 300: 3, 271: 3})
    for data in (garbage, table + garbage):
        with suppress(InvalidPacError):
            assert size == len(decompress(data, size))
