"""The channel that libpq has connected: read to the byte, and not for ever."""

from __future__ import annotations

import select
import socket
import threading
import time
from types import SimpleNamespace

import pytest
from psycopg import pq

from stead.adapters.outbound.libpq_channel import Patience, PlainChannel, TlsChannel
from stead.adapters.outbound.lifeline import Lifeline
from stead.errors import (
    EnforcementUnavailableError,
    LogonSessionEndedError,
    ServerUnavailableError,
)


@pytest.fixture
def line():
    return Lifeline(lambda: None)


@pytest.fixture
def ends(line):
    """Both ends of a connection: ours as a channel, and the server's."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    patience = Patience(line, "db.example", time.monotonic() + 60)
    channel = PlainChannel(SimpleNamespace(socket=ours.fileno()), patience)
    yield channel, theirs
    channel.close()
    ours.close()
    theirs.close()


def later(act):
    timer = threading.Timer(0.05, act)
    timer.start()
    return timer


def test_what_was_not_asked_for_is_left_where_it_is(ends):
    channel, theirs = ends
    theirs.sendall(b"abcdef")
    assert b"ab" == channel.read(2)
    assert b"cd" == channel.peek(2)
    assert b"cde" == channel.read(3)
    assert b"f" == channel.peek(1)


def test_a_message_that_comes_in_pieces_is_waited_for(ends):
    channel, theirs = ends
    theirs.sendall(b"a")
    timer = later(lambda: theirs.sendall(b"bcd"))
    assert b"ab" == channel.peek(2)
    timer.join()
    timer = later(lambda: theirs.sendall(b"ef"))
    assert b"abcdef" == channel.read(6)
    timer.join()


def test_all_is_sent_however_slowly_it_is_taken(ends):
    channel, theirs = ends
    content, found = bytes(1 << 21), []

    def take():
        while sum(map(len, found)) < len(content):
            found.append(theirs.recv(65536))

    thread = threading.Thread(target=take)
    later(thread.start).join()
    channel.send(content)
    thread.join(60)
    assert content == b"".join(found)


def test_who_hangs_up_is_said_to_have(ends):
    channel, theirs = ends
    theirs.close()
    with pytest.raises(ServerUnavailableError, match="hangs up"):
        channel.read(1)


def test_nobody_waits_for_ever_nor_past_the_session(line):
    one, other = socket.socketpair()
    with one, other:
        with pytest.raises(ServerUnavailableError, match="in time"):
            Patience(line, "db.example", 0).wait(one.fileno(), select.POLLIN)
        line.end()
        with pytest.raises(LogonSessionEndedError):
            Patience(line, "db.example", 0).wait(one.fileno(), select.POLLIN)


def test_a_connection_without_tls_has_none_to_show(line):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        made = pq.PGconn.connect_start(
            f"host=127.0.0.1 port={port} sslmode=disable gssencmode=disable".encode()
        )
        patience = Patience(line, "db.example", 0)
        with pytest.raises(EnforcementUnavailableError, match="show its TLS"):
            TlsChannel(made, patience)
        made.finish()
