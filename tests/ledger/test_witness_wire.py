"""Frames between server and witness: whole, torn, too long, and none at all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stead.errors import RemoteProtocolError
from stead.ledger.tree import LARGEST
from stead.ledger.witness_wire import (
    LARGEST_FRAME,
    MOST_LEAVES,
    Ask,
    Extend,
    Frames,
    Kind,
    Proof,
    ProveConsistency,
    ProveInclusion,
    Refusal,
    Standing,
    Why,
    read_answer,
    read_question,
    write_frame,
)

NUMBERS = st.integers(0, LARGEST)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=50)
HASHES = st.lists(st.binary(min_size=32, max_size=32), max_size=5).map(tuple)
QUESTIONS = st.one_of(
    st.builds(Ask, TEXTS),
    st.builds(Extend, TEXTS, NUMBERS, HASHES),
    st.builds(ProveInclusion, TEXTS, NUMBERS, NUMBERS),
    st.builds(ProveConsistency, TEXTS, NUMBERS, NUMBERS),
)
ANSWERS = st.one_of(
    st.builds(Standing, NUMBERS, TEXTS),
    st.builds(Proof, HASHES),
    st.builds(Refusal, st.sampled_from(Why), NUMBERS, TEXTS),
)


@given(st.lists(st.one_of(QUESTIONS, ANSWERS)), st.integers(1, 40))
def test_messages_arrive_whole_however_they_are_cut(messages, size):
    stream = b"".join(map(write_frame, messages))
    frames, found = Frames(), []
    for at in range(0, len(stream), size):
        found += frames.feed(stream[at : at + size])
    assert found == list(Frames().feed(stream))
    assert messages == [
        (read_question if frame[0] < Kind.STANDING else read_answer)(frame)
        for frame in found
    ]
    assert not frames.is_amid


@given(st.binary(max_size=80))
def test_bytes_are_a_message_that_is_written_the_same_or_refused(frame):
    for read in (read_question, read_answer):
        try:
            message = read(frame)
        except RemoteProtocolError:
            continue
        assert frame == write_frame(message)[4:]


def test_a_question_is_no_answer_and_an_answer_no_question():
    with pytest.raises(RemoteProtocolError):
        read_answer(write_frame(Ask("a"))[4:])
    with pytest.raises(RemoteProtocolError):
        read_question(write_frame(Proof(()))[4:])


@pytest.mark.parametrize("size", [0, LARGEST_FRAME + 1, 0xFFFF_FFFF])
def test_a_length_that_no_frame_has_is_refused_before_anything_is_kept(size):
    with pytest.raises(RemoteProtocolError):
        list(Frames().feed(size.to_bytes(4, "big")))


def test_the_most_leaves_fit_a_frame_and_one_more_is_refused():
    leaves = (bytes(32),) * MOST_LEAVES
    whole = write_frame(Extend("x" * 200, 0, leaves))
    assert len(whole) - 4 <= LARGEST_FRAME
    assert leaves == read_question(whole[4:]).leaves
    with pytest.raises(RemoteProtocolError):
        read_question(write_frame(Extend("x", 0, (*leaves, bytes(32))))[4:])


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"\x01",
        b"\x01\x00\x05abc",
        b"\x01\x00\x01\xff",
        b"\x01\x00\x01ab",
        b"\x01\x00\xc9" + b"a" * 201,
        b"\x02\x00\x01a" + b"\xff" * 8,
        b"\x02\x00\x01a" + bytes(8) + bytes(31),
        b"\x43" + (9).to_bytes(8, "big") + bytes(8) + b"\x00\x00",
        b"\xff",
    ],
)
def test_frames_that_say_nothing_are_refused(frame):
    for read in (read_question, read_answer):
        with pytest.raises(RemoteProtocolError):
            read(frame)
