"""What of a session is connected elsewhere ends with it."""

from __future__ import annotations

import os
import socket
import ssl

import pytest

from stead.adapters.outbound.lifeline import Lifeline
from stead.errors import LogonSessionEndedError


@pytest.fixture
def line():
    return Lifeline(lambda: None)


@pytest.fixture
def pair():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def test_a_connection_is_cut_when_the_session_ends(line, pair):
    ours, theirs = pair
    line.keep(ours)
    assert not line.is_idle
    line.end()
    assert b"" == theirs.recv(1)
    with pytest.raises(LogonSessionEndedError):
        line.require_live()


def test_what_is_connected_too_late_is_cut_at_once(line, pair):
    ours, theirs = pair
    line.end()
    with pytest.raises(LogonSessionEndedError):
        line.keep(ours)
    assert b"" == theirs.recv(1)


def test_a_closed_connection_is_forgotten(line, pair):
    ours, _ = pair
    line.keep(ours)
    ours.close()
    assert line.is_idle
    line.end()


def test_a_number_is_kept_by_a_copy_and_cuts_nobody_elses(line, pair):
    ours, theirs = pair
    number = ours.fileno()
    forget = line.keep_copy(number)
    # The library closes, and somebody else gets its number.
    os.close(os.dup(number))
    ours.close()
    other, others = socket.socketpair()
    with other, others:
        line.end()
        assert b"" == theirs.recv(1)
        other.send(b"x")
        assert b"x" == others.recv(1)
    forget()
    forget()


def test_a_copy_is_closed_with_what_is_left(line, pair):
    ours, theirs = pair
    line.keep_copy(ours.fileno())
    closed = []
    line.at_end(lambda: closed.append(1))
    line.at_end(lambda: 1 / 0)  # one that fails keeps the others from nothing
    line.at_end(lambda: closed.append(2))
    line.end()
    line.clean()
    line.clean()
    assert [1, 2] == closed
    assert line.is_idle
    assert b"" == theirs.recv(1)


def test_a_copy_that_comes_too_late_is_closed(line, pair):
    ours, theirs = pair
    line.end()
    with pytest.raises(LogonSessionEndedError):
        line.keep_copy(ours.fileno())
    assert b"" == theirs.recv(1)


def test_an_end_says_what_it_broke(line):
    line.require_not_over()
    line.end()
    cause = OSError("broken")
    with pytest.raises(LogonSessionEndedError) as caught:
        line.require_not_over(cause)
    assert cause is caught.value.__cause__


def test_a_session_that_cannot_be_asked_counts_as_none():
    def ask():
        raise LogonSessionEndedError("it has ended elsewhere")

    with pytest.raises(LogonSessionEndedError, match="elsewhere"):
        Lifeline(ask).require_live()


def test_a_tls_connection_is_cut_below_its_tls(line, pair):
    ours, theirs = pair
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    secure = context.wrap_socket(
        ours, server_hostname="files.example", do_handshake_on_connect=False
    )
    with secure:
        line.keep(secure)
        line.end()
        assert b"" == theirs.recv(1)
        # What is read meanwhile is still read as TLS, and not as plain text.
        with pytest.raises((ssl.SSLError, OSError)):
            secure.do_handshake()
