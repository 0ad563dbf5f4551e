"""File servers that stop in the middle, and fall silent."""

from __future__ import annotations

import gc
import socket
import threading
import uuid
from contextlib import suppress
from functools import partial

import pytest
from smbprotocol.connection import Connection
from smbprotocol.exceptions import SMBException
from tests.adapters.outbound.between import Between
from tests.adapters.outbound.test_half_dead_database import came_of
from tests.adapters.outbound.test_ntlm_files import HOST, explicit, files  # noqa: F401
from tests.adapters.outbound.test_postgres import eventually

from stead.adapters.outbound import smb as module
from stead.adapters.outbound import smb_connection
from stead.adapters.outbound.lifeline import Lifeline
from stead.adapters.outbound.smb_pool import SmbPool
from stead.errors import LogonSessionEndedError, ServerUnavailableError
from stead.model.delegation_policy import NetworkTarget

MORE_THAN_SOCKETS_HOLD = bytes(30_000_000)


@pytest.fixture
def hop_by(open_server, admit):
    """Return what reaches a file server by way of somebody, as a client's account."""
    opened = []

    def make(between):
        server = open_server(delegation=[f"smb+ntlm://{HOST}:{between.port}"])
        session = admit(server, "bob")
        shown = explicit(session.client, between.port)
        opened.extend([session, shown])
        return shown.__enter__().smb(HOST, port=between.port)

    yield make
    for each in reversed(opened):
        each.__exit__(None, None, None)


def readers():
    """Return the threads in which the library reads."""
    return [each for each in threading.enumerate() if "msg_worker" in each.name]


def test_of_a_server_that_says_nothing_nothing_is_kept(hop_by, monkeypatch):
    monkeypatch.setattr(module, "_SECONDS", 1)
    with Between(None) as between:
        before = set(readers())
        naive = Connection(uuid.uuid4(), HOST, between.port)
        with pytest.raises(SMBException, match="timeout"):
            naive.connect(timeout=1)
        (left,) = {*readers()} - before
        hop = hop_by(between)
        with pytest.raises(ServerUnavailableError):
            hop.listdir("data")
        eventually(lambda: {left} == {*readers()} - before)
        naive.disconnect(close=False)


@pytest.mark.parametrize("is_ours", [False, True])
def test_who_waits_for_a_server_that_says_nothing_hears_that_the_session_ended(
    open_server, admit, monkeypatch, is_ours
):
    """It was cut once the server had answered; the naive way, until it does."""
    if not is_ours:
        monkeypatch.setattr(module.SmbHop, "_keep", lambda *_: None)
    with Between(None) as between:
        server = open_server(delegation=[f"smb+ntlm://{HOST}:{between.port}"])
        session = admit(server, "bob")
        with explicit(session.client, between.port) as shown:
            before = len(readers())
            hop = shown.smb(HOST, port=between.port)
            thread, came = came_of(partial(hop.listdir, "data"))
            eventually(lambda: len(readers()) > before)
            session.log_off()
            thread.join(60 if is_ours else 2)
            assert is_ours != thread.is_alive()
            between.cut()
            thread.join(60)
        assert [LogonSessionEndedError] == [type(error) for error in came]
        eventually(lambda: len(readers()) == before)


@pytest.mark.parametrize("is_ours", [False, True])
def test_a_message_that_nobody_takes_is_given_up(monkeypatch, is_ours):
    monkeypatch.setattr(smb_connection, "SILENCE", 1)
    near, far = socket.socketpair()
    with near, far:
        if is_ours:
            smb_connection.give_up_sending(near)

        def send():
            with suppress(BrokenPipeError):
                near.sendall(MORE_THAN_SOCKETS_HOLD)

        thread, came = came_of(send)
        thread.join(60 if is_ours else 4)
        assert is_ours != thread.is_alive()
        far.shutdown(socket.SHUT_RDWR)
        thread.join(60)
        assert is_ours == isinstance(came[0], BlockingIOError)


def soon(connected):
    """Do as `give_up_sending`, and wait for a second only."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(smb_connection, "SILENCE", 1)
        return smb_connection.give_up_sending(connected)


# As the library warns: it cannot close what its server does not.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_server_that_takes_nothing_is_given_up(
    hop_by,
    files,  # noqa: F811 - the fixture
    monkeypatch,
):
    with Between(files.port) as between:
        monkeypatch.setattr(module, "give_up_sending", soon)
        hop = hop_by(between)
        file = hop.open("data/ours", "wb")
        between.freeze()
        with monkeypatch.context() as patch:
            patch.setattr(smb_connection, "SILENCE", 1)
            with pytest.raises(ServerUnavailableError, match="does not answer"):
                file.write(MORE_THAN_SOCKETS_HOLD)
        between.thaw()
        assert "ours" in hop.listdir("data")  # by another connection
        file.raw.close()  # which is answered by now
        del file
        gc.collect()


class NaivePool(SmbPool):
    """Each who waits tries for itself, when its turn comes."""

    def take(self, target, make):
        with self._lock:
            turn = self._turns.setdefault(target, threading.Lock())
        with turn:
            return make()


class Turn:
    """A lock that tells who has come for it."""

    def __init__(self):
        self.lock, self.came = threading.Lock(), []

    def __enter__(self):
        self.came.append(threading.current_thread())
        self.lock.acquire()

    def __exit__(self, *_):
        self.lock.release()


@pytest.mark.parametrize(("kind", "tries"), [(NaivePool, 4), (SmbPool, 1)])
def test_those_who_wait_for_a_silent_server_wait_once(kind, tries):
    may, made = threading.Event(), []
    pool = kind(Lifeline(lambda: None))
    files_at = NetworkTarget("smb", "files.example", 445)
    turn = pool._turns[files_at] = Turn()

    def make():
        made.append(1)
        assert may.wait(60)
        raise ServerUnavailableError("it does not answer")

    begun = [came_of(lambda: pool.take(files_at, make)) for _ in range(4)]
    eventually(lambda: made and len(turn.came) == len(begun))
    may.set()
    for thread, came in begun:
        thread.join(60)
        assert isinstance(came[0], ServerUnavailableError)
    assert tries == len(made)
    with pytest.raises(ServerUnavailableError):
        pool.take(files_at, make)  # who comes later tries anew
    assert tries + 1 == len(made)


class NaiveConnection(smb_connection.ProtectedConnection):
    """Fails where nothing more may be asked just now, as the library does."""

    def _wait_for_credits(self, _messages):
        pass


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_threads_of_one_session_write_at_the_same_time(
    hop_by,
    files,  # noqa: F811 - the fixture
    monkeypatch,
):
    def write(file):
        with file:
            return file.write(bytes(8_000_000))

    def opened_by(hop):
        return [hop.open(f"data/large-{number}", "wb") for number in range(16)]

    def came(begun):
        for thread, _ in begun:
            thread.join(60)
        return [one[0] for _, one in begun]

    with Between(files.port) as between:
        with monkeypatch.context() as patch:
            patch.setattr(module, "ProtectedConnection", NaiveConnection)
            opened = opened_by(hop_by(between))
            with between.unanswered():  # all of them ask, and nobody has an answer yet
                begun = [came_of(partial(write, each)) for each in opened]
                eventually(lambda: any(one for _, one in begun))
            assert any(isinstance(one, SMBException) for one in came(begun))
            del opened, begun
        gc.collect()
        begun = [came_of(partial(write, e)) for e in opened_by(hop_by(between))]
        assert [8_000_000] * 16 == came(begun)
