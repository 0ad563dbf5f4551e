"""Databases that stop in the middle, fall silent, or go without a word."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from types import SimpleNamespace

import psycopg
import pytest
from psycopg import pq
from psycopg.conninfo import conninfo_to_dict
from tests.adapters.outbound.between import Between
from tests.adapters.outbound.test_postgres import dsn, eventually

from stead.adapters.outbound import (
    libpq,
    libpq_asking,
    libpq_waiting,
    postgres_connection,
    postgres_leaving,
)
from stead.adapters.outbound import postgres as module
from stead.adapters.patience import Patience
from stead.errors import LogonSessionEndedError, ServerUnavailableError
from stead.model.delegation_policy import NetworkTarget


@pytest.fixture
def between(database):
    with Between(database.port) as made:
        yield made


def by_way_of(between):
    return dsn(SimpleNamespace(port=between.port))


def ask(hop):
    with hop.connection() as connection:
        return connection.execute("select 1").fetchone()


def came_of(act):
    """Begin something; return its thread, and the list of what comes of it."""
    came = []

    def work():
        try:
            came.append(act())
        except Exception as error:
            came.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread, came


def naive_asked(made, text, _patience):
    """As libpq does by itself."""
    return made.exec_(text)


ANSWERS_THAT_LET_IN = 3
ACTIVE = pq.TransactionStatus.ACTIVE


def test_a_database_that_lets_in_and_then_says_nothing_is_given_up(
    sessions, between, monkeypatch
):
    monkeypatch.setattr(libpq, "_SECONDS", 4.0)
    hop = sessions["alice"].postgres(by_way_of(between))
    with monkeypatch.context() as patch:
        patch.setattr(libpq, "asked", naive_asked)
        between.freeze(ANSWERS_THAT_LET_IN)
        thread, came = came_of(hop.connect)
        thread.join(8)
        assert thread.is_alive()
        between.cut()
        thread.join(60)
        assert isinstance(came[0], ServerUnavailableError)
        between.thaw()
    between.freeze(ANSWERS_THAT_LET_IN)
    with pytest.raises(ServerUnavailableError, match="in time"):
        hop.connect()
    assert sessions["alice"].client._hop.way().line.is_idle


def test_a_session_that_ends_while_a_database_is_silent_is_why(sessions, between):
    hop = sessions["alice"].postgres(by_way_of(between))
    line = sessions["alice"].client._hop.way().line
    between.freeze(ANSWERS_THAT_LET_IN)
    thread, came = came_of(hop.connect)
    eventually(lambda: not line.is_idle)
    sessions["alice"].log_off()
    thread.join(60)
    assert isinstance(came[0], LogonSessionEndedError)


ENDINGS = {
    "it restarts": lambda _database, between: between.cut(),
    "its machine does": lambda _database, between: between.reset(),
    "it is told to": lambda database, _between: database.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'alice'"
    ),
}


def naive_is_idle(made):
    return made.transaction_status == pq.TransactionStatus.IDLE


def has_heard(hop):
    """Tell whether the kernel knows by now that the pool's connection was ended."""
    (idle,) = hop._pool._idle.values()
    return not libpq_asking.is_idle(idle[0].pgconn)


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_connection_that_ended_in_the_pool_is_nobodys_next(
    sessions, database, between, monkeypatch, ending
):
    hop = sessions["alice"].postgres(by_way_of(between))
    with monkeypatch.context() as patch:
        patch.setattr(module, "is_idle", naive_is_idle)
        assert (1,) == ask(hop)
        ENDINGS[ending](database, between)
        eventually(lambda: has_heard(hop))
        with pytest.raises(psycopg.OperationalError):
            ask(hop)
    assert (1,) == ask(hop)
    ENDINGS[ending](database, between)
    eventually(lambda: has_heard(hop))
    assert (1,) == ask(hop)


def test_asyncio_s_pool_lends_nothing_that_has_ended_either(sessions, between):
    async def ask_async(hop):
        async with hop.connection() as connection:
            return await (await connection.execute("select 1")).fetchone()

    async def work():
        async with await sessions["alice"].aio.postgres(by_way_of(between)) as hop:
            first = await ask_async(hop)
            between.cut()
            (idle,) = hop._idle
            await asyncio.to_thread(
                eventually, lambda: not libpq_asking.is_idle(idle.pgconn)
            )
            return first, await ask_async(hop)

    assert ((1,), (1,)) == asyncio.run(work())


def test_what_a_pooled_connection_is_told_meanwhile_is_kept(sessions, database):
    """A notification is no end: it is there for whoever listens next."""
    hop = sessions["alice"].postgres(dsn(database))
    with hop.connection() as connection:
        connection.execute("listen news")
        pid = connection.info.backend_pid
    database.execute("notify news, 'spring'")
    with hop.connection() as connection:
        assert pid == connection.info.backend_pid
        (heard,) = connection.notifies(timeout=60, stop_after=1)
    assert "spring" == heard.payload


@pytest.mark.parametrize("where", ["in a query", "between two"])
def test_a_task_that_is_cancelled_does_not_wait_for_a_silent_database(
    sessions, between, monkeypatch, where
):
    monkeypatch.setattr(postgres_leaving, "_SECONDS", 0.5)

    def wait_for_ever(_patience, _whom, act):
        act()

    async def use(hop, is_open):
        async with hop.connection() as connection:
            await connection.execute("select 1")
            between.freeze()
            is_open.set()
            if where == "in a query":
                await connection.execute("select 2")
            await asyncio.sleep(600)

    async def ends(hop, seconds):
        """Cancel it; tell whether it ends by itself."""
        is_open = asyncio.Event()
        task = asyncio.ensure_future(use(hop, is_open))
        await is_open.wait()
        await asyncio.sleep(0.2)
        task.cancel()
        ended, _ = await asyncio.wait([task], timeout=seconds)
        between.thaw()
        with suppress(asyncio.CancelledError):
            await task
        return bool(ended)

    async def work(seconds):
        async with await sessions["alice"].aio.postgres(by_way_of(between)) as hop:
            return await ends(hop, seconds), len(hop._idle)

    hops = sessions["alice"].client._hop._hops
    monkeypatch.setattr(hops, "patience", Patience(0.5))
    with monkeypatch.context() as patch:
        patch.setattr(module, "_in_time", wait_for_ever)
        assert not asyncio.run(work(10))[0]
    assert (True, 0) == asyncio.run(work(60))
    assert sessions["alice"].client._hop.way().line.is_idle


class StandsStill:
    """What only another thread of this process ends; or, after seconds, a program.

    Attributes:
        waits: that thread begins to look when this is set.
    """

    def __init__(self, stop, go_on):
        self._stop, self._go_on = stop, go_on
        self.waits, self._is_over = threading.Event(), threading.Event()
        self._went_on = False

    def goes_on(self, act, seconds):
        """Do something; tell whether it was this process that ended its waiting."""
        self._stop()
        thread = threading.Thread(target=self._work)
        rescuer = subprocess.Popen(
            ["/bin/sh", "-c", f"sleep {seconds}; {self._go_on}"], start_new_session=True
        )
        thread.start()
        try:
            act()
        finally:
            self._is_over.set()
            self.waits.set()
            thread.join(60)
            os.killpg(rescuer.pid, signal.SIGKILL)
            rescuer.wait(60)
            subprocess.run(["/bin/sh", "-c", self._go_on], check=True)
        return self._went_on

    def _work(self):
        self.waits.wait(60)
        # For longer than who acts is about to: it takes a whole second to be over.
        if not self._is_over.wait(1):
            self._went_on = True
            subprocess.run(["/bin/sh", "-c", self._go_on], check=True)


@pytest.mark.parametrize(("way", "ends"), [("naive", False), ("ours", True)])
def test_a_commit_that_a_silent_database_holds_can_be_interrupted(
    sessions, between, monkeypatch, way, ends
):
    """libpq itself waits on, and so would whoever pressed Ctrl-C."""
    is_over, was_helped, used = threading.Event(), threading.Event(), []

    def press():
        eventually(lambda: used[0].pgconn.transaction_status == ACTIVE)
        os.kill(os.getpid(), signal.SIGINT)
        if not is_over.wait(60 if ends else 3):
            was_helped.set()
            between.thaw()

    def write(hop):
        with hop.connection() as connection:
            connection.execute("select 1")
            used.append(connection)
            between.freeze()
            thread.start()

    if not ends:
        monkeypatch.setattr(postgres_connection, "asked", naive_asked)
    hop = sessions["alice"].postgres(by_way_of(between))
    thread = threading.Thread(target=press)
    with pytest.raises(KeyboardInterrupt):
        write(hop)
    is_over.set()
    thread.join(120)
    between.thaw()
    assert ends is not was_helped.is_set()
    assert ends is used[0].closed  # nobody knows what it is at
    assert (1,) == ask(hop)


def naive_roll_back(connection):
    """As psycopg does."""
    connection.rollback()


def test_an_error_does_not_wait_for_a_silent_database(sessions, between, monkeypatch):
    monkeypatch.setattr(postgres_leaving, "_SECONDS", 0.5)

    def fail(hop):
        with hop.connection() as connection:
            connection.execute("select 1")
            between.freeze()
            raise ZeroDivisionError

    hop = sessions["alice"].postgres(by_way_of(between))
    with monkeypatch.context() as patch:
        patch.setattr(module, "roll_back", naive_roll_back)
        thread, came = came_of(lambda: fail(hop))
        thread.join(5)
        assert thread.is_alive()
        between.thaw()
        thread.join(60)
        assert isinstance(came[0], ZeroDivisionError)
    with pytest.raises(ZeroDivisionError):
        fail(hop)
    between.thaw()
    assert (1,) == ask(hop)


def test_a_silent_database_stops_no_thread_but_who_cancels(
    sessions, database, monkeypatch
):
    pid = int((database.folder / "data/postmaster.pid").read_text().split()[0])

    def still():
        return StandsStill(lambda: os.kill(pid, signal.SIGSTOP), f"kill -CONT {pid}")

    stands, ours = still(), still()

    def naive_canceller(made):
        cancel = made.get_cancel().cancel
        return lambda: (stands.waits.set(), cancel())

    with sessions["alice"].postgres(dsn(database)).connection() as connection:
        with monkeypatch.context() as patch:
            patch.setattr(postgres_connection, "canceller", naive_canceller)
            assert not stands.goes_on(connection.cancel, seconds=3)
        ours.waits.set()
        assert ours.goes_on(connection.cancel, seconds=60)
        assert (1,) == connection.execute("select 1").fetchone()


NAMES = """\
import fcntl, socket, struct, sys, threading
from stead.adapters.outbound import libpq
from stead.adapters.outbound.lifeline import Lifeline
from stead.errors import ServerUnavailableError
from stead.model.delegation_policy import NetworkTarget

if sys.argv[1] == "naive":
    libpq.with_addresses = lambda text, to: text
names = socket.socket(type=socket.SOCK_DGRAM)
fcntl.ioctl(names, 0x8914, struct.pack("16sh22x", b"lo", 1))  # SIOCSIFFLAGS: up
names.bind(("127.0.0.1", 53))

def answer():  # as a thread of the same process, and the first name server was silent
    while True:
        asked, whose = names.recvfrom(512)
        end = asked.index(0, 12) + 5
        is_address = asked[end - 4:end - 2] == b"\\0\\1"
        found = b"\\xc0\\x0c\\0\\1\\0\\1\\0\\0\\0\\0\\0\\4\\x7f\\0\\0\\1" * is_address
        head = asked[:2] + b"\\x81\\x80\\0\\1\\0" + bytes([is_address]) + bytes(4)
        names.sendto(head + asked[12:end] + found, whose)

threading.Thread(target=answer, daemon=True).start()
to = NetworkTarget("postgres", "db.example", 1)
try:
    libpq.connect("host=db.example port=1 sslmode=disable", to, Lifeline(lambda: None))
except ServerUnavailableError as error:
    print(error)
"""
IN_A_NETWORK_OF_ITS_OWN = """\
mount --bind "$1" /etc/resolv.conf && shift && exec "$@"
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="makes a network of its own")
def test_a_slow_name_server_stops_no_thread_but_who_connects(tmp_path):
    conf = tmp_path / "resolv.conf"
    conf.write_text("nameserver 127.0.0.1\noptions timeout:3 attempts:1\n")

    def said(way):
        done = subprocess.run(
            ["unshare", "-mn", "sh", "-c", IN_A_NETWORK_OF_ITS_OWN, "sh", conf,
             sys.executable, "-c", NAMES, way],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        return done.stdout

    assert "could not translate" in said("naive")
    assert "refused" in said("ours")


def test_a_name_that_nobody_knows_is_said_to_be_none():
    to = NetworkTarget("postgres", "nowhere.invalid", 5432)
    with pytest.raises(ServerUnavailableError, match=r"nowhere\.invalid"):
        libpq_waiting.with_addresses("host=nowhere.invalid", to)


def test_each_address_of_a_name_is_tried(database):
    """`localhost` may be two, of which a database listens on one."""
    to = NetworkTarget("postgres", "localhost", database.port)
    said = conninfo_to_dict(libpq_waiting.with_addresses("host=localhost", to))
    count = len(said["hostaddr"].split(","))
    assert ["localhost"] * count == said["host"].split(",")


def test_a_database_whose_machine_is_gone_is_given_up_by_the_kernel(sessions, database):
    """The naive one waits a quarter of an hour, and for hours where it only reads."""

    def kept(connection):
        with socket.socket(fileno=os.dup(connection.pgconn.socket)) as inside:
            return [
                inside.getsockopt(socket.IPPROTO_TCP, option)
                for option in (socket.TCP_USER_TIMEOUT, socket.TCP_KEEPIDLE)
            ]

    hop = sessions["alice"].postgres(dsn(database))
    with hop.connection() as connection:
        assert [60_000, 30] == kept(connection)
    hop = sessions["alice"].postgres(dsn(database, tcp_user_timeout=5000))
    with hop.connection() as connection:
        assert [5000, 30] == kept(connection)
