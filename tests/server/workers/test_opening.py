"""Files opened by a process of the client's own: as whom, which, and how."""

from __future__ import annotations

import errno
import gc
import importlib
import os
import socket
import threading
from contextlib import suppress
from pathlib import Path

import pytest
from tests.lives import long_enough

from stead.errors import (
    InvalidNameError,
    InvalidRequestError,
    KernelRefusedError,
    NotARegularFileError,
    ProcessTimeoutError,
)

pytestmark = pytest.mark.root

SECONDS = 60
WRITE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC


@pytest.fixture
def opened(workers, registrar):
    """Give what opens as a client, and returns the descriptor."""

    def result(path, flags=os.O_RDONLY, *, uid=70001):
        future = workers.open(registrar.token(uid), str(path), flags, seconds=SECONDS)
        return future.result(SECONDS)

    return result


def descriptors():
    return {entry.name for entry in Path("/proc/self/fd").iterdir()}


def links_of(pid):
    found = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            found.add(str(link.readlink()))
    return found


@pytest.fixture
def note(home):
    path = home / "note"
    path.write_text("secret")
    os.chown(path, 70001, 70001)
    path.chmod(0o600)
    return path


def test_the_kernel_judges_as_the_client(opened, note):
    with os.fdopen(opened(note)) as file:
        assert "secret" == file.read()
    with pytest.raises(KernelRefusedError, match=f"refused `{note}`: permission") as no:
        opened(note, uid=70002)
    assert (errno.EACCES, str(note)) == (no.value.errno, no.value.object_name)
    with pytest.raises(KernelRefusedError) as missing:
        opened(note.with_name("none"))
    assert errno.ENOENT == missing.value.errno


def test_what_is_made_is_the_clients_own(opened, home):
    with os.fdopen(opened(home / "made", WRITE), "w") as file:
        file.write("hers")
    found = (home / "made").stat()
    assert (70001, 70001, 0o600) == (found.st_uid, found.st_gid, found.st_mode & 0o777)
    with os.fdopen(opened(home / "made", os.O_WRONLY | os.O_APPEND), "a") as file:
        file.write(" too")
    assert "hers too" == (home / "made").read_text()


def test_the_descriptor_waits_is_not_inherited_and_is_the_only_one(
    opened, workers, note, until
):
    descriptor = opened(note)
    try:
        assert os.get_blocking(descriptor)
        assert not os.get_inheritable(descriptor)
        (worker,) = workers._pool._places._workers()
        pid = worker.child.started.result(SECONDS)
        until(lambda: str(note) not in links_of(pid))
    finally:
        os.close(descriptor)


def test_who_asks_not_to_wait_gets_a_descriptor_that_does_not(opened, note):
    descriptor = opened(note, os.O_RDONLY | os.O_NONBLOCK)
    assert not os.get_blocking(descriptor)
    os.close(descriptor)


def test_a_directory_opens_too(opened, home, note):
    descriptor = opened(home, os.O_RDONLY | os.O_DIRECTORY)
    assert note.stat().st_ino == os.stat(note.name, dir_fd=descriptor).st_ino
    os.close(descriptor)


def test_a_directory_that_nobody_asked_for_is_none(opened, home, note):
    with pytest.raises(NotARegularFileError, match=f"`{home}` is a directory"):
        opened(home)
    os.close(opened(note))


@pytest.mark.parametrize("kind", ["fifo", "socket", "device", "procfs"])
def test_what_is_no_file_is_refused(opened, home, kind):
    path = home / "special"
    if kind == "fifo":
        os.mkfifo(path)
        path.chmod(0o666)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(str(path))
    else:
        path = {"device": Path("/dev/null"), "procfs": Path("/proc/self/stat")}[kind]
    with pytest.raises(NotARegularFileError, match="neither a file nor a directory"):
        opened(path)


@pytest.mark.parametrize(
    ("path", "flags", "error"),
    [
        ("relative", os.O_RDONLY, InvalidNameError),
        ("/a\0b", os.O_RDONLY, InvalidNameError),
        ("/a", os.O_RDONLY | os.O_PATH, InvalidRequestError),
        ("/a", os.O_RDWR | os.O_WRONLY, InvalidRequestError),
    ],
)
def test_what_means_nothing_is_refused_before_anything_is_sent(
    workers, registrar, path, flags, error
):
    with pytest.raises(error):
        workers.open(registrar.token(70001), path, flags, seconds=SECONDS)
    assert 0 == registrar.asked


def test_functions_and_files_never_share_a_worker(workers, opened, run, jobs, note):
    os.close(opened(note))
    run(jobs.whoami)
    kinds = sorted(worker.key.kind for worker in workers._pool._places._workers())
    assert [
        "stead.server.workers.start:open_files",
        "stead.server.workers.start:run_functions",
    ] == kinds


def test_a_descriptor_that_nobody_takes_is_closed(workers, registrar, note, until):
    future = workers.open(
        registrar.token(70001), str(note), os.O_RDONLY, seconds=SECONDS
    )
    assert future.exception(SECONDS) is None
    taken = future.result()
    assert taken == future.result()
    os.close(taken)
    before = descriptors()
    done = threading.Event()
    future = workers.open(
        registrar.token(70001), str(note), os.O_RDONLY, seconds=SECONDS
    )
    future.add_done_callback(lambda _: done.set())
    assert done.wait(SECONDS)
    del future
    gc.collect()
    until(lambda: descriptors() <= before)


# --- file systems of a client's -------------------------------------------------------


@pytest.fixture
def file_system(home, monkeypatch):
    """Give what mounts a client's file system, which answers what it is told to."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    client_fuse = importlib.import_module("client_fuse")
    mounted = []

    def mount(answered, options=""):
        folder = home / "mounted"
        folder.mkdir()
        os.chown(folder, 70001, 70001)
        mounted.append(client_fuse.FileSystem(folder, 70001, answered, options))
        return mounted[-1]

    yield mount
    for one in mounted:
        one.close()


@pytest.mark.parametrize("is_taken", [False, True])
def test_a_file_system_that_never_answers_keeps_its_own_client_waiting_only(
    workers, registrar, opened, file_system, note, until, is_taken
):
    silent = file_system({"GETATTR"} if is_taken else set())

    def others_go_on(seconds):
        path = str(silent.folder / "x")
        future = workers.open(
            registrar.token(70001), path, os.O_RDONLY, seconds=seconds
        )
        # A request that its server has taken cannot even be killed.
        until(lambda: "LOOKUP" in silent.asked if is_taken else silent.is_asked())
        for _ in range(5):
            os.close(opened("/etc/passwd", uid=70002))
        return future if not future.done() else future.result()

    future = long_enough(others_go_on, seconds=6.0, late=ProcessTimeoutError)
    os.close(opened(note))
    with pytest.raises(ProcessTimeoutError):
        future.result(SECONDS)
    os.close(opened("/etc/passwd", uid=70002))


def test_closing_what_nobody_wants_keeps_nobody_waiting(
    workers, registrar, opened, file_system, until
):
    # It lets itself be opened, and does not answer whoever closes.
    sly = file_system({"GETATTR", "LOOKUP", "OPEN", "STATFS", "ACCESS"})
    path = str(sly.folder / "x")
    future = workers.open(registrar.token(70001), path, os.O_RDONLY, seconds=SECONDS)
    with pytest.raises(KernelRefusedError, match="shows the server nothing of") as no:
        future.result(SECONDS)
    assert errno.EACCES == no.value.errno
    until(lambda: "FLUSH" in sly.asked)
    os.close(opened("/etc/passwd", uid=70002))
    places = workers._pool._places
    # The client's place is taken for as long as the closing takes.
    assert [70001, 70002] == sorted(one.identity.uid for one in places._workers())
    sly.close()
    until(lambda: [70002] == [one.identity.uid for one in places._workers()])


def test_a_file_system_that_lets_others_in_is_opened(
    workers, registrar, file_system, opened
):
    shared = file_system(
        {"GETATTR", "LOOKUP", "OPEN", "STATFS", "ACCESS", "FLUSH"}, ",allow_other"
    )
    os.close(opened(shared.folder / "x"))
