from __future__ import annotations

import asyncio
import os
import stat
import time
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from stead.errors import (
    AccessDeniedError,
    BadImpersonationLevelError,
    EnforcementUnavailableError,
    InvalidRequestError,
    KernelRefusedError,
    LedgerUnavailableError,
    LogonSessionEndedError,
    LoopThreadError,
    NotARegularFileError,
)
from stead.ledger.query import Query
from stead.model.audit_record import AuditEvent
from stead.model.token import ImpersonationLevel
from stead.server.acting.acting import Acting
from stead.server.acting.called import OpenedFile
from stead.server.acting.file_request import flags_of
from stead.server.client_context import ClientContext


@pytest.fixture
def theirs(kernel_server, client_of):
    return client_of(kernel_server, "alice")


@pytest.fixture
def folder(world):
    """A folder of alice's, closed to everybody else."""
    made = world / "alice"
    made.mkdir(mode=0o700)
    os.chown(made, 70001, 70001)
    return made


def test_a_client_shows_who_it_is(alice):
    assert "ClientContext('alice', impersonation)" == repr(alice)


def test_without_the_kernel_no_file_is_opened(alice, tmp_path):
    with pytest.raises(EnforcementUnavailableError, match="no kernel judges"):
        alice.open(tmp_path / "notes")


def test_a_level_below_impersonation_opens_no_file(server, client_of, tmp_path):
    alice = client_of(server, "alice", level=ImpersonationLevel.IDENTIFICATION)
    with pytest.raises(BadImpersonationLevelError, match="opening a file"):
        alice.open(tmp_path / "notes")


def test_no_file_is_opened_on_a_loops_thread(alice, tmp_path):
    async def request():
        alice.open(tmp_path / "notes")

    with pytest.raises(LoopThreadError, match="waits"):
        asyncio.run(request())


@pytest.mark.parametrize(
    ("mode", "flags"),
    [
        ("r", os.O_RDONLY),
        ("rb", os.O_RDONLY),
        ("r+", os.O_RDWR),
        ("wt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
        ("w+b", os.O_RDWR | os.O_CREAT | os.O_TRUNC),
        ("a", os.O_WRONLY | os.O_CREAT | os.O_APPEND),
        ("x", os.O_WRONLY | os.O_CREAT | os.O_EXCL),
    ],
)
def test_modes_are_those_of_open(mode, flags):
    assert flags == flags_of(mode)


@pytest.mark.parametrize("mode", ["", "b", "rw", "rr", "rbt", "z", "r++", "U"])
def test_what_is_no_mode_is_refused(alice, mode):
    with pytest.raises(InvalidRequestError, match="is no mode"):
        alice.open("/etc/hostname", mode)


@pytest.mark.root
def test_the_kernel_opens_as_the_client(theirs, folder):
    with theirs.open(folder / "notes", "x") as file:
        file.write("hers")
    made = (folder / "notes").stat()
    assert (70001, 70001) == (made.st_uid, made.st_gid)
    with theirs.open(folder / "notes", "ab") as file:
        file.write(b", again")
    with theirs.open(folder / "notes") as file:
        assert "hers, again" == file.read()
        assert not os.get_inheritable(file.fileno())


@pytest.mark.root
def test_the_naive_variant_reads_what_the_kernel_refuses_the_client(
    kernel_server, client_of, folder
):
    (folder / "secret").write_text("alice's")
    os.chown(folder / "secret", 70001, 70001)
    assert "alice's" == (folder / "secret").read_text()  # as the server
    with pytest.raises(KernelRefusedError) as refused:
        client_of(kernel_server, "bob").open(folder / "secret")
    number = refused.value.record
    _, record = next(kernel_server.trail.find(Query(after=number - 1)))
    assert AuditEvent.FILE_OPENED is record.event
    assert str(folder / "secret") == record.object_name
    assert "bob" == record.client.name


@pytest.mark.root
def test_what_is_asked_is_recorded_before_what_comes_of_it(
    kernel_server, theirs, folder
):
    theirs.open(folder / "notes", "w").close()
    mine = [
        record.event for _, record in kernel_server.trail.find(Query(client="alice"))
    ]
    assert [
        AuditEvent.HANDLE_REQUESTED, AuditEvent.WORKER_STARTED, AuditEvent.FILE_OPENED,
    ] == mine[-3:]  # fmt: skip


@pytest.mark.root
def test_what_cannot_be_recorded_is_not_opened(kernel_server, theirs, folder):
    kernel_server._house.guard.sink.close()
    with pytest.raises(LedgerUnavailableError):
        theirs.open(folder / "notes", "w")
    assert [] == list(folder.iterdir())


@pytest.mark.root
def test_an_ended_session_opens_nothing(theirs, folder):
    theirs.close()
    with pytest.raises(LogonSessionEndedError):
        theirs.open(folder / "notes", "w")
    assert [] == list(folder.iterdir())


@pytest.mark.root
def test_what_is_no_file_is_not_opened(theirs, folder):
    os.mkfifo(folder / "fifo")
    os.chown(folder / "fifo", 70001, 70001)
    for path in (folder / "fifo", folder):
        with pytest.raises(NotARegularFileError):
            theirs.open(path)
    assert stat.S_ISFIFO((folder / "fifo").stat().st_mode)


@pytest.mark.root
def test_a_file_is_opened_inside_a_block_too(kernel_server, theirs, folder):
    (folder / "notes").write_text("hers")
    os.chown(folder / "notes", 70001, 70001)

    def work():
        with theirs.impersonate(), theirs.open(folder / "notes") as file:
            return file.read()

    assert "hers" == kernel_server.executor().submit(work).result(30)


@pytest.mark.root
def test_a_client_without_a_uid_opens_nothing(kernel_server, client_of, folder):
    client = client_of(kernel_server, "root of the store")
    with pytest.raises(PermissionError, match="has no uid") as refused:
        client.open(folder / "notes", "w")
    assert not isinstance(refused.value, AccessDeniedError)
    assert [] == list(folder.iterdir())


class FullLater:
    """A sink whose disk fills up once the kernel has been asked."""

    def __init__(self, sink):
        self.sink = sink

    def record(self, record, *, is_reserved=False):
        if record.event is AuditEvent.FILE_OPENED:
            raise LedgerUnavailableError("the disk is full")
        return self.sink.record(record)

    def queue(self, record):
        self.sink.queue(record)


@pytest.fixture
def full_later(theirs, kernel_server):
    """Alice, whose server's disk fills up once the kernel has been asked."""
    guard = kernel_server._house.guard
    failing = replace(guard, sink=FullLater(guard.sink))
    return ClientContext(
        theirs.subject,
        failing,
        acting=acting_over(kernel_server._house.acting, failing),
        end=None,
    )


def acting_over(acting, guard):
    return Acting(guard, acting._sessions, acting._identity, acting._means, acting.hops)


@pytest.mark.root
def test_a_file_whose_opening_cannot_be_recorded_is_closed_again(full_later, folder):
    (folder / "notes").write_text("hers")
    (folder / "notes").chmod(0o644)
    with pytest.raises(LedgerUnavailableError):
        full_later.open(folder / "notes")
    deadline = time.monotonic() + 60
    while descriptors_of(folder / "notes"):  # nobody waits for its file system
        assert time.monotonic() < deadline
        time.sleep(0.01)  # between two looks, not for timing


def descriptors_of(path):
    found = []
    for entry in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # the one by which this is read
            found += [entry] if entry.readlink() == path else []
    return found


def test_what_is_answered_to_nobody_is_recorded_and_cancelled():
    future, told = Future(), []
    OpenedFile(future, told.append).give_up()
    assert future.cancelled()
    assert "nobody waited" in str(told)


@pytest.mark.root
def test_an_encoding_that_is_none_is_refused_before_anything_is_opened(theirs, folder):
    with pytest.raises(InvalidRequestError, match="is no encoding"):
        theirs.open(folder / "notes", "w", encoding="no such encoding")
    assert [] == list(folder.iterdir())


@pytest.mark.root
def test_a_path_longer_than_any_is_refused(theirs):
    with pytest.raises(KernelRefusedError, match="4095"):
        theirs.open("/" + "a" * 5000)
