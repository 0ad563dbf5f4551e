"""Frames: lengths are judged before bodies are kept."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stead.errors import InvalidMessageError, RemoteProtocolError
from stead.gates.pipe.frames import FrameReader, write_frame


def taken(reader: FrameReader, limit: int = 64) -> list[bytes]:
    bodies = []
    while (body := reader.take(limit)) is not None:
        bodies.append(body)
    return bodies


@given(bodies=st.lists(st.binary(min_size=1, max_size=64), max_size=8), data=st.data())
def test_bodies_come_out_as_they_went_in_however_they_are_cut(bodies, data):
    stream = b"".join(write_frame(body, 64) for body in bodies)
    reader = FrameReader()
    out = []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        reader.feed(stream[:size])
        stream = stream[size:]
        out += taken(reader)
    assert bodies == out
    assert len(reader) == 0


def test_a_length_above_the_limit_is_refused_before_its_body_comes():
    reader = FrameReader()
    reader.feed((65).to_bytes(4, "big"))
    with pytest.raises(RemoteProtocolError, match="65 bytes, 64 are allowed"):
        reader.take(64)


def test_an_empty_frame_is_refused():
    reader = FrameReader()
    reader.feed(bytes(4))
    with pytest.raises(RemoteProtocolError):
        reader.take(64)


@pytest.mark.parametrize("body", [b"", b"x" * 65])
def test_a_body_that_does_not_fit_is_not_written(body):
    with pytest.raises(InvalidMessageError):
        write_frame(body, 64)


def test_what_is_cleared_is_gone():
    reader = FrameReader()
    reader.feed(b"\0\0\0\5hel")
    reader.clear()
    assert len(reader) == 0
