"""What a worker does with requests, seen from the server's end of its socket.

It runs on a thread here, as nobody else; as a client it runs in the other tests.
"""

from __future__ import annotations

import os
import pickle
import socket
import threading

import pytest

from stead.errors import (
    KernelRefusedError,
    NotARegularFileError,
    NotPlainDataError,
    WorkerFailedError,
)
from stead.server.workers.answers import function_outcome, opened_file
from stead.server.workers.channel import WorkerChannel
from stead.server.workers.plain_data import write_plain
from stead.server.workers.start import open_files, run_functions
from stead.server.workers.wire import Kind, to_open

SECONDS = 60
LARGEST = 1000


@pytest.fixture
def begin():
    """Give what begins a worker's body, and returns what asks it."""
    begun = []

    def start(body, *, takes_descriptor=False):
        ours, theirs = socket.socketpair()
        channel = WorkerChannel(
            ours, largest=1 << 20, takes_descriptor=takes_descriptor
        )
        statuses = []
        descriptor = theirs.detach()
        thread = threading.Thread(target=lambda: statuses.append(body(descriptor)))
        thread.start()
        begun.append((channel, thread))

        def ask(number, request):
            channel.ask(number, request)
            ours.setblocking(True)
            ours.settimeout(SECONDS)
            while (reply := channel.read()) is None:
                assert not channel.is_hung_up
            return reply

        def end():
            ours.shutdown(socket.SHUT_WR)
            thread.join(SECONDS)
            return statuses

        ask.end = end
        return ask

    yield start
    for channel, thread in begun:
        channel.close()
        thread.join(SECONDS)


def request(module, qualname, *args, pickled=None, is_main=False):
    arguments = pickle.dumps(args) if pickled is None else pickled
    return write_plain((module, qualname, is_main, arguments, LARGEST))


def outcome(reply):
    return function_outcome("f", reply, LARGEST)


def test_a_function_is_imported_and_called(begin):
    ask = begin(run_functions)
    reply = ask(1, request("posixpath", "join", "/a", "b"))
    assert (1, Kind.RETURNED, "/a/b") == (reply.number, reply.kind, outcome(reply))
    # A process with other threads is never asked again.
    assert not reply.may_go_on
    assert [1] == ask.end()


def test_a_worker_ends_when_the_server_hangs_up(begin):
    assert [0] == begin(run_functions).end()
    assert [0] == begin(open_files).end()


@pytest.mark.parametrize(
    ("asked", "error", "words"),
    [
        (request("no_such_module", "f"), WorkerFailedError, "cannot import `f`"),
        (request("os", "no_such"), WorkerFailedError, "cannot import `f`"),
        (request("os", "listdir", pickled=b"x"), WorkerFailedError, "cannot import"),
        (request("operator", "getitem", {}, "k"), KeyError, "k"),
        (request("os", "stat", "/no/such"), FileNotFoundError, "/no/such"),
        (request("builtins", "object"), NotPlainDataError, "`object` does not cross"),
        (request("operator", "mul", "x", 2 * LARGEST), NotPlainDataError, "1000 bytes"),
        (request("json", "loads", "{"), WorkerFailedError, "json.decoder"),
        (request("sys", "exit", 1), WorkerFailedError, "builtins.SystemExit"),
        (request("builtins", "next", iter(())), WorkerFailedError, "StopIteration"),
    ],
)
def test_what_goes_wrong_is_told(begin, asked, error, words):
    with pytest.raises(error, match=words):
        outcome(begin(run_functions)(1, asked))


def test_a_large_request_lies_in_memory(begin):
    reply = begin(run_functions)(1, request("builtins", "len", b"x" * 3_000_000))
    assert 3_000_000 == outcome(reply)


def test_files_are_opened_and_refused(begin, tmp_path):
    ask = begin(open_files, takes_descriptor=True)
    (tmp_path / "note").write_text("secret")

    def opened(number, path):
        body = to_open(os.fsencode(path), os.O_RDONLY, b"")
        return opened_file(str(path), os.O_RDONLY, ask(number, body))

    with os.fdopen(opened(1, tmp_path / "note")) as file:
        assert "secret" == file.read()
    with pytest.raises(KernelRefusedError, match="no such file"):
        opened(2, tmp_path / "none")
    with pytest.raises(NotARegularFileError):
        opened(3, "/dev/null")
    assert [0] == ask.end()
