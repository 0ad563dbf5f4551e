"""What tests have listen leaves no thread behind that takes what is another's."""

from __future__ import annotations

import os
import signal
import socket
import threading
from contextlib import suppress
from pathlib import Path

import pytest
from tests.listening import Listener, Relay
from tests.receivers import eventually


@pytest.fixture
def signalled():
    """Have a thread go on where it was, as when the whole process was stopped."""
    before = signal.signal(signal.SIGUSR1, lambda *_: None)
    signal.siginterrupt(signal.SIGUSR1, False)
    yield lambda thread: signal.pthread_kill(thread.ident, signal.SIGUSR1)
    signal.signal(signal.SIGUSR1, before)


def waits_for(thread, number):
    """Tell whether a thread is in a call of the kernel's on this descriptor."""
    status = Path(f"/proc/self/task/{thread.native_id}/syscall").read_text().split()
    return status[1:2] == [hex(number)]


def test_a_thread_whose_listener_is_closed_under_it_takes_another_s_clients(signalled):
    """So the naive one does; ours has ended by then."""
    naive, taken = socket.create_server(("127.0.0.1", 0)), []

    def serve():
        with suppress(OSError):
            taken.append(naive.accept()[0])

    thread = threading.Thread(target=serve)
    thread.start()
    number = naive.fileno()
    eventually(lambda: waits_for(thread, number))
    naive.close()
    with socket.create_server(("127.0.0.1", 0)) as other:
        if other.fileno() != number:
            os.dup2(other.fileno(), number)
        signalled(thread)
        with socket.create_connection(other.getsockname()) as client:
            thread.join(60)
            assert taken[0].getpeername() == client.getsockname()
        taken[0].close()
        if other.fileno() != number:
            os.close(number)


def test_no_thread_of_a_listener_outlives_it():
    before, came = set(threading.enumerate()), threading.Event()

    def talk(taken):
        came.set()
        taken.recv(1)

    with Listener(talk) as listener, Relay(("127.0.0.1", listener.port)) as relay:
        client = socket.create_connection(("127.0.0.1", relay.port))
        assert came.wait(60)
        assert set(threading.enumerate()) - before
    assert not set(threading.enumerate()) - before
    assert b"" == client.recv(1)
    client.close()


def test_a_relay_carries_what_both_say_and_ends_with_either():
    class Louder(Relay):
        def changed(self, content, *, is_answer):
            return content.upper() if is_answer else content

    with (
        Listener(lambda taken: taken.sendall(taken.recv(100))) as echo,
        Louder(("127.0.0.1", echo.port)) as relay,
        socket.create_connection(("127.0.0.1", relay.port)) as client,
    ):
        client.sendall(b"hello")
        assert b"HELLO" == client.recv(100)
        assert b"" == client.recv(100)
