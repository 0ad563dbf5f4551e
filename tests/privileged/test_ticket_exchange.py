"""What is said about a ticket, and what binds it."""

import socket
import threading
import time

import pytest

from stead.errors import RemoteProtocolError
from stead.privileged.ticket_exchange import (
    ADMITTED,
    BLOB,
    LONGEST,
    binding,
    frame,
    read_frame,
    send_frame,
)


@pytest.fixture
def pair():
    with (ends := socket.socketpair())[0], ends[1]:
        yield ends


def soon():
    return time.monotonic() + 60


def test_frames_come_as_they_went_and_not_a_byte_more_is_read(pair):
    ours, theirs = pair
    send_frame(ours, frame(BLOB, b"ticket") + frame(ADMITTED) + b"hello", soon())
    assert (BLOB, b"ticket") == read_frame(theirs, soon())
    assert (ADMITTED, b"") == read_frame(theirs, soon())
    assert b"hello" == theirs.recv(100)


def test_a_frame_may_come_byte_by_byte(pair):
    ours, theirs = pair

    def trickle():
        for byte in frame(BLOB, b"slow"):
            ours.sendall(bytes([byte]))

    thread = threading.Thread(target=trickle)
    thread.start()
    assert (BLOB, b"slow") == read_frame(theirs, soon())
    thread.join()


@pytest.mark.parametrize("data", [b"", b"B", b"B\0\0\0\5abc"])
def test_a_frame_that_is_cut_off_is_none(pair, data):
    ours, theirs = pair
    ours.sendall(data)
    ours.shutdown(socket.SHUT_WR)
    with pytest.raises(RemoteProtocolError, match="hung up"):
        read_frame(theirs, soon())


def test_a_frame_that_is_too_long_is_not_waited_for(pair):
    ours, theirs = pair
    ours.sendall(BLOB + (LONGEST + 1).to_bytes(4, "big"))
    with pytest.raises(RemoteProtocolError, match="too long"):
        read_frame(theirs, soon())


@pytest.mark.parametrize("late", [-1.0, 0.02])
def test_what_does_not_come_in_time_is_given_up(pair, late):
    ours, theirs = pair
    ours.sendall(b"B\0")
    with pytest.raises(TimeoutError):
        read_frame(theirs, time.monotonic() + late)


def test_a_binding_is_another_one_for_whatever_differs():
    parts = (b"n" * 32, "/run/notes", b"\0stead/x", 70_001)
    found = {
        binding(*parts),
        binding(b"m" * 32, *parts[1:]),
        binding(parts[0], "/run/note", b"s\0stead/x", 70_001),
        binding(*parts[:2], b"\0stead/y", 70_001),
        binding(*parts[:3], 70_002),
        binding(*parts[:2], b"\0stead/x7", 1),
    }
    assert 6 == len(found)
    assert binding(*parts) == binding(parts[0], b"/run/notes", "\0stead/x", 70_001)
