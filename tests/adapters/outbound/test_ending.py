"""Whoever waits for another machine keeps nobody's session from ending.

What is left of sessions is closed by one thread, which also looks whether the others
still live: it must wait for no server and no KDC.
"""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager, suppress

import pytest
from tests.adapters.outbound.test_postgres import eventually

from stead.adapters.outbound import by_password, smb
from stead.adapters.outbound.by_password import TicketsByPassword
from stead.adapters.outbound.lifeline import Lifeline
from stead.adapters.outbound.smb_connection import OwnConnection
from stead.adapters.outbound.smb_pool import SmbPool
from stead.adapters.patience import Patience
from stead.authority.password_credentials import PasswordCredentials
from stead.errors import LogonSessionEndedError, SteadError
from stead.model.delegation_policy import NetworkTarget
from stead.model.secret import Secret

FILES = NetworkTarget("smb", "files.example", 445)


class Connected:
    """A connection of the library's, as far as a pool looks at it."""

    def __init__(self):
        self.connected = True
        self.transport = self

    def disconnect(self, close):
        self.connected = close


class NaivePool(SmbPool):
    """As much code does: what is kept and who connects are under one lock."""

    def take(self, target, make):
        with self._lock:
            found = self._open[target] = make()
            return found


class Waiting:
    """Makes something when it is told to."""

    def __init__(self, made):
        self.began, self.may = threading.Event(), threading.Event()
        self.made = made

    def __call__(self, *_):
        self.began.set()
        assert self.may.wait(60)
        return self.made


def in_a_thread(act, *arguments):
    """Begin something; return its thread, and the list of what comes of it."""
    came = []

    def work():
        try:
            came.append(act(*arguments))
        except SteadError as error:
            came.append(type(error))

    thread = threading.Thread(target=work)
    thread.start()
    return thread, came


@pytest.mark.parametrize(("kind", "waits"), [(NaivePool, True), (SmbPool, False)])
def test_a_pool_is_closed_though_a_server_does_not_answer(kind, waits):
    line, connection = Lifeline(lambda: None), Connected()
    pool, make = kind(line), Waiting((OwnConnection("files", connection), None))
    thread, came = in_a_thread(pool.take, FILES, make)
    assert make.began.wait(60)
    line.end()
    cleaning, _ = in_a_thread(line.clean)
    cleaning.join(0.3 if waits else 60)
    assert waits == cleaning.is_alive()
    make.may.set()
    for one in (cleaning, thread):
        one.join(60)
        assert not one.is_alive()
    if not waits:
        assert [LogonSessionEndedError] == came
        assert not connection.connected


def test_a_server_that_does_not_answer_keeps_nobody_from_another():
    pool, make = SmbPool(Lifeline(lambda: None)), Waiting(({}, None))
    thread, _ = in_a_thread(pool.take, FILES, make)
    assert make.began.wait(60)
    other = NetworkTarget("smb", "other.example", 445)
    assert "other" == pool.take(other, lambda: ({}, "other"))[1]
    make.may.set()
    thread.join(60)
    assert not thread.is_alive()


class Tickets:
    """What a KDC gave, as far as it is looked at."""

    expires, is_closed = 1 << 62, False

    def close(self):
        self.is_closed = True


def test_tickets_that_come_after_the_end_are_wiped_and_nobody_waits_for_them(
    monkeypatch,
):
    line, tickets = Lifeline(lambda: None), Tickets()
    ask = Waiting(tickets)
    monkeypatch.setattr(by_password, "_asked", ask)
    held = PasswordCredentials("alice@STEAD.TEST", Secret("alice-pw"))
    known = TicketsByPassword(line, Patience())
    thread, came = in_a_thread(known.of, held, 60, 60)
    assert ask.began.wait(60)
    line.end()
    line.clean()  # this thread would wait for ever
    ask.may.set()
    thread.join(60)
    assert [LogonSessionEndedError] == came
    assert tickets.is_closed
    held.close()


@contextmanager
def silent():
    """A server that takes connections and says nothing; yields port and arrivals."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        arrived = threading.Event()
        taken = []

        def work():
            try:
                taken.append(listening.accept()[0])
            except OSError:
                return
            arrived.set()

        thread = threading.Thread(target=work)
        thread.start()
        try:
            yield listening.getsockname()[1], arrived
        finally:
            for one in taken:
                one.close()
            thread.join(60)


def test_a_lease_that_is_over_is_seen_while_another_session_waits_for_a_server(
    open_server, admit, stage, tmp_path, monkeypatch
):
    # As one whose name is looked up, say: there is no connection yet that can be cut.
    monkeypatch.setattr(smb.SmbHop, "_keep", lambda *_: None)
    stage.realm.add_service("cifs/localhost")
    server = open_server(store=tmp_path / "store.db")
    other = open_server.again(tmp_path / "store.db")
    server.accounts.add_group("readers")
    server.accounts.add_member("readers", "bob")
    with admit(server, "bob") as bob, silent() as (port, arrived):
        alice = admit(server, "alice")
        bobs = bob.client._hop.way().line
        files = alice.smb("localhost", port=port)
        thread, came = in_a_thread(files.listdir, "data")
        assert arrived.wait(60)
        alice.log_off()
        other.accounts.remove_member("readers", "bob")
        eventually(lambda: bobs.is_over)
        assert thread.is_alive()  # and it still waits
    thread.join(60)
    assert not thread.is_alive()
    assert [LogonSessionEndedError] == came


def test_what_cannot_be_looked_at_is_cut_and_keeps_no_other_from_it(
    sessions, web, monkeypatch, caplog
):
    """Of whatever fails there: the next look would be an hour later, at nobody."""
    for session in sessions.values():
        with session.http(web.url) as http:
            http.get("/")
    hops = sessions["alice"].client._hop._hops
    lines = [session.client._hop.way().line for session in sessions.values()]
    fails = RuntimeError("nobody thought of that")

    def naive():
        for reach in list(hops._reaches.values()):
            with suppress(SteadError):
                hops.sessions.require_live(reach.token)

    def fail(_):
        raise fails

    with monkeypatch.context() as patch:
        patch.setattr(hops.sessions, "require_live", fail)
        with pytest.raises(RuntimeError):
            naive()
        assert not any(line.is_over for line in lines)
        hops._look()
    assert all(line.is_over for line in lines)
    assert "cannot be looked at" in caplog.text
