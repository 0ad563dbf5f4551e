"""Opening as a client: who judges, what is opened, and what never is."""

import errno
import os
import socket
import stat
import threading
from pathlib import Path

import pytest
from tests.privileged.conftest import open_descriptors

from stead.errors import (
    EnforcementUnavailableError,
    ImpersonationRefusedError,
    InvalidNameError,
    InvalidRequestError,
    KernelRefusedError,
    NotARegularFileError,
)
from stead.model.posix_identity import PosixIdentity
from stead.privileged import opening
from stead.privileged.hardened_thread import KernelBlock
from stead.privileged.opening import look, open_as

pytestmark = pytest.mark.root

ALICE = PosixIdentity(70001, 70001)


@pytest.fixture
def open_alice(executor):
    """Give what opens as Alice and returns the descriptor."""

    def opened(path, flags=os.O_RDONLY, **options):
        return executor.submit(open_as, ALICE, path, flags, **options).result(
            timeout=60
        )

    return opened


@pytest.fixture
def home(world):
    folder = world / "home"
    folder.mkdir()
    os.chown(folder, 70001, 70001)
    return folder


def test_her_own_file_is_read_by_another_thread(open_alice, file_of):
    descriptor = open_alice(file_of("mine", 70001))
    with os.fdopen(descriptor) as file:
        assert "secret" == file.read()


def test_another_clients_file_is_refused_by_the_kernel(open_alice, file_of):
    path = file_of("theirs", 70002)
    with pytest.raises(KernelRefusedError) as refused:
        open_alice(path)
    assert errno.EACCES == refused.value.errno
    assert str(path) == refused.value.object_name
    assert f"the kernel refused `{path}`: permission denied" == str(refused.value)


def test_a_folder_that_she_may_not_pass_hides_a_file_that_all_may_read(
    open_alice, home, file_of
):
    path = file_of("home/readable", 70002, 0o644)
    os.close(open_alice(path))
    os.chown(home, 70002, 70002)
    home.chmod(0o700)
    with pytest.raises(KernelRefusedError, match="permission denied"):
        open_alice(path)


def test_a_group_of_hers_opens_what_the_group_may_read(executor, file_of):
    path = file_of("shared", 70009, 0o640)
    member = PosixIdentity(70001, 70001, (70009,))
    os.close(executor.submit(open_as, member, path, os.O_RDONLY).result())
    with pytest.raises(KernelRefusedError):
        executor.submit(open_as, ALICE, path, os.O_RDONLY).result()


def test_a_file_that_she_creates_is_hers(open_alice, home):
    path = home / "new"
    os.close(open_alice(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, mode=0o640))
    found = path.stat()
    assert (70001, 70001, 0o640) == (
        found.st_uid,
        found.st_gid,
        stat.S_IMODE(found.st_mode) | 0o040,
    )


def test_a_file_that_is_not_there_is_refused_as_such(open_alice, home):
    with pytest.raises(KernelRefusedError, match="no such file") as refused:
        open_alice(home / "missing")
    assert errno.ENOENT == refused.value.errno


def test_a_file_that_exists_is_not_created_again(open_alice, file_of):
    path = file_of("mine", 70001)
    with pytest.raises(KernelRefusedError) as refused:
        open_alice(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    assert errno.EEXIST == refused.value.errno


def test_a_directory_opens_for_listing(open_alice, home):
    descriptor = open_alice(home, os.O_RDONLY | os.O_DIRECTORY)
    with os.scandir(descriptor) as entries:
        assert [] == list(entries)
    os.close(descriptor)


def test_the_descriptor_waits_and_is_not_inherited(open_alice, file_of):
    descriptor = open_alice(file_of("mine", 70001))
    assert os.get_blocking(descriptor)
    assert not os.get_inheritable(descriptor)
    os.close(descriptor)


def test_the_descriptor_does_not_wait_if_asked_not_to(open_alice, file_of):
    descriptor = open_alice(file_of("mine", 70001), os.O_RDONLY | os.O_NONBLOCK)
    assert not os.get_blocking(descriptor)
    os.close(descriptor)


def test_a_fifo_blocks_a_naive_open_and_is_refused_by_ours(open_alice, home):
    path = home / "fifo"
    os.mkfifo(path, 0o666)
    os.chown(path, 70001, 70001)
    for flags in (os.O_RDONLY, os.O_WRONLY, os.O_RDWR):
        with pytest.raises(NotARegularFileError):
            open_alice(path, flags)
    returned = threading.Event()

    def naive():
        os.close(os.open(path, os.O_RDONLY))
        returned.set()

    thread = threading.Thread(target=naive)
    thread.start()
    waiting = Path(f"/proc/self/task/{thread.native_id}/wchan")
    while waiting.read_text() in {"", "0"} and not returned.is_set():
        os.sched_yield()
    # It came no further, and does now that somebody writes.
    assert not returned.is_set()
    os.close(os.open(path, os.O_WRONLY))
    thread.join()
    assert returned.is_set()


def test_a_device_is_opened_by_a_naive_open_and_refused_by_ours(open_alice, home):
    path = home / "device"
    os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    path.chmod(0o666)
    naive = os.open(path, os.O_RDWR)
    assert stat.S_ISCHR(os.fstat(naive).st_mode)
    os.close(naive)
    with pytest.raises(NotARegularFileError):
        open_alice(path, os.O_RDWR)


def test_a_socket_is_refused(open_alice, home):
    path = home / "socket"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        path.chmod(0o666)
        with pytest.raises(NotARegularFileError):
            open_alice(path)


def test_a_special_file_that_appears_between_the_looks_is_closed(
    open_alice, home, monkeypatch
):
    """The client replaces the file after the first look, and gains nothing."""

    path = home / "swapped"
    path.write_text("a file at first")
    os.chown(path, 70001, 70001)
    look = opening._look

    def swap(name, flags, way):
        look(name, flags, way)
        path.unlink()
        os.mkfifo(path)

    monkeypatch.setattr(opening, "_look", swap)
    before = open_descriptors()
    with pytest.raises(NotARegularFileError):
        open_alice(path)
    assert set() == open_descriptors() - before


def test_a_symbolic_link_is_judged_where_it_leads(open_alice, home, file_of):
    link = home / "link"
    link.symlink_to(file_of("mine", 70001))
    os.close(open_alice(link))
    with pytest.raises(NotARegularFileError):
        open_alice(link, os.O_RDONLY | os.O_NOFOLLOW)


def test_procfs_is_not_there(open_alice):
    for path in ("/proc/self/environ", "/proc/self/fd/0", "/dev/fd/0", "/dev/stdin"):
        with pytest.raises(KernelRefusedError) as refused:
            open_alice(path)
        assert errno.ENOENT == refused.value.errno


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("notes.txt", "`notes.txt` is not absolute"),
        ("", "`` is not absolute"),
        ("/srv/a\0b", "holds a NUL"),
        ("/srv/\ud800", "what no file name can"),
    ],
)
def test_a_path_that_means_nothing_is_refused(path, message, open_alice):
    with pytest.raises(InvalidNameError, match=message):
        open_alice(path)


def test_bytes_are_a_path_too(open_alice, file_of):
    os.close(open_alice(bytes(file_of("mine", 70001))))


@pytest.mark.parametrize("flags", [os.O_PATH, os.O_TMPFILE, os.O_ACCMODE, os.O_ASYNC])
def test_a_flag_that_is_not_offered_is_refused(flags, open_alice):
    with pytest.raises(InvalidRequestError, match="not offered"):
        open_alice("/etc/passwd", flags)


def test_a_mode_that_is_none_is_refused(open_alice, home):
    with pytest.raises(InvalidRequestError, match="not a file mode"):
        open_alice(home / "new", os.O_WRONLY | os.O_CREAT, mode=0o100600)


def test_on_a_plain_thread_nothing_is_opened(file_of):
    with pytest.raises(EnforcementUnavailableError):
        open_as(ALICE, file_of("mine", 70001), os.O_RDONLY)


def test_root_is_not_opened_as(executor, file_of):
    with pytest.raises(ImpersonationRefusedError):
        executor.submit(
            open_as, PosixIdentity(0, 0), file_of("secret", 0), os.O_RDONLY
        ).result()


@pytest.fixture
def look_as_alice(executor):
    """Give what looks as Alice, in a block."""

    def looked(path, **options):
        def act():
            with KernelBlock(ALICE):
                look(path, **options)

        before = open_descriptors()
        try:
            executor.submit(act).result(timeout=60)
        finally:
            assert set() == open_descriptors() - before

    return looked


@pytest.mark.parametrize("kind", [stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFCHR])
@pytest.mark.parametrize("follow", [True, False])
def test_a_look_refuses_what_blocks_or_acts_when_it_is_opened(
    kind, follow, look_as_alice, home
):
    path = home / "special"
    os.mknod(path, 0o666 | kind, os.makedev(1, 3))
    for form in (path, str(path), bytes(path), str(path)[1:]):
        with pytest.raises(NotARegularFileError, match="special` is neither"):
            look_as_alice(form, follow=follow)


def test_a_look_follows_links_as_the_open_will(look_as_alice, home):
    os.mkfifo(home / "fifo")
    (home / "link").symlink_to("fifo")
    with pytest.raises(NotARegularFileError):
        look_as_alice(home / "link")
    look_as_alice(home / "link", follow=False)


def test_a_look_lets_files_and_directories_pass(look_as_alice, file_of, home):
    look_as_alice(file_of("mine", 70001))
    look_as_alice(home, follow=False)
    look_as_alice("")
    look_as_alice("tmp")


@pytest.mark.parametrize(
    "path", ["missing", "theirs/file", "circle", "a\0b", "\ud800", "n" * 300]
)
def test_a_look_leaves_what_it_cannot_see_to_the_open(path, look_as_alice, home):
    (home / "theirs").mkdir(mode=0o700)
    (home / "circle").symlink_to("circle")
    look_as_alice(f"{home}/{path}")


def test_a_look_refuses_a_procfs_that_came_later_and_its_magic_links(world, outcome_of):
    place = world / "proc"
    place.mkdir()
    assert ["NotARegularFileError"] * 3 == outcome_of("look_at_procfs.py", place)


# --- beneath a root -------------------------------------------------------------------


@pytest.mark.root
def test_beneath_a_root_no_link_leads_out(world):
    (world / "root" / "in").mkdir(parents=True)
    (world / "root" / "in" / "file").write_text("in")
    (world / "secret").write_text("secret")
    (world / "root" / "out").symlink_to(world / "secret")
    (world / "root" / "up").symlink_to("../secret")
    (world / "root" / "absolute").symlink_to(world / "root" / "in" / "file")
    (world / "root" / "inside").symlink_to("in/file")
    root = bytes(world / "root")

    def read(name):
        descriptor = opening.open_beneath(root, root + name, os.O_RDONLY)
        with os.fdopen(descriptor) as file:
            return file.read()

    assert "in" == read(b"/in/file") == read(b"/inside")
    for name in (b"/out", b"/up", b"/absolute", b"/missing", b"/../secret"):
        plain = opening.openat2(root + name, os.O_PATH, 0) if b"m" not in name else -1
        if plain >= 0:
            os.close(plain)  # where links are followed, it opens
        with pytest.raises(KernelRefusedError):
            read(name)
    with pytest.raises(KernelRefusedError):
        opening.open_beneath(root + b"/out", root + b"/out/x", os.O_RDONLY)


@pytest.mark.root
def test_a_root_that_is_a_file_is_opened_through_no_link(world):
    (world / "file").write_text("text")
    (world / "link").symlink_to(world / "file")
    (world / "fifo").touch()
    (world / "fifo").unlink()
    os.mkfifo(world / "fifo")
    name = bytes(world / "file")
    os.close(opening.open_beneath(name, name, os.O_RDONLY))
    name = bytes(world / "link")
    with pytest.raises(KernelRefusedError):
        opening.open_beneath(name, name, os.O_RDONLY)
    with pytest.raises(NotARegularFileError):
        opening.open_beneath(bytes(world), bytes(world / "fifo"), os.O_RDONLY)
