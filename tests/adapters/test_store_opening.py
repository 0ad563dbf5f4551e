"""Opening a store, and refusing one that is not the server's alone."""

from __future__ import annotations

import os
import sqlite3
import stat
import struct
from pathlib import Path

import pytest
from sqlalchemy import select

from stead.adapters.store import Store
from stead.adapters.store.schema import STORE
from stead.errors import StoreUnavailableError, UnsafeStoreError
from stead.model.sid import Sid

STRANGER = 70_001
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def _refusal(place):
    with pytest.raises(UnsafeStoreError) as caught:
        Store.open(place)
    return str(caught.value)


@pytest.fixture
def made(place):
    Store.open(place).close()
    return place


def _modes(folder):
    return {path.name: stat.S_IMODE(path.lstat().st_mode) for path in folder.iterdir()}


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
def test_a_new_store_is_its_owners_alone_whatever_the_umask(folder, place, umask):
    before = os.umask(umask)
    try:
        with Store.open(place) as store:
            store.accounts.add_account("alice", None, None)
            private = {"store.db": 0o600, "store.db-wal": 0o600, "store.db-shm": 0o600}
            assert private == _modes(folder)
    finally:
        os.umask(before)
    assert {"store.db": 0o600} == _modes(folder)


def test_a_store_keeps_its_domain_and_founder(place):
    with Store.open(place) as store:
        domain, founder = store.accounts.domain(), store.accounts.founder()
    with Store.open(place, create=False) as store:
        assert domain == store.accounts.domain()
        assert founder == store.accounts.founder() == os.geteuid()


def test_the_domain_is_made_of_the_entropy_that_is_handed_in(place):
    with Store.open(place, entropy=lambda size: bytes(range(size))) as store:
        words = "50462976-117835012-185207048"
        assert Sid.from_string(f"S-1-5-21-{words}") == store.accounts.domain()


def test_two_stores_have_different_domains():
    with Store.open(":memory:") as one, Store.open(":memory:") as other:
        assert one.accounts.domain() != other.accounts.domain()


def test_a_url_names_the_same_file_as_its_path(place):
    with Store.open(f"sqlite:///{place}") as store:
        domain = store.accounts.domain()
    with Store.open(str(place)) as store:
        assert domain == store.accounts.domain()
    for url in ("sqlite://", "sqlite:///:memory:"):
        with Store.open(url) as store:
            assert domain != store.accounts.domain()


def test_a_relative_path_is_taken_from_the_current_folder(place, monkeypatch):
    monkeypatch.chdir(place.parent)
    with Store.open("store.db"):
        assert place.exists()


@pytest.mark.parametrize("name", ["a?mode=memory", "a#b", "a%41b", "ä b", "\udcff"])
def test_a_file_name_is_taken_as_it_is(folder, name):
    with Store.open(folder / name) as store:
        store.accounts.allocate_luid()
        assert (folder / name).exists()


@pytest.mark.parametrize("name", ["/", "..", "a\0b"])
def test_a_name_that_is_no_files_is_refused(name):
    with pytest.raises(StoreUnavailableError, match="names no file"):
        Store.open(name)


@pytest.mark.parametrize(
    "url", ["postgresql://host/db", "sqlite://host/x", "sqlite:///x?mode=ro", "://"]
)
def test_a_kind_of_store_that_does_not_exist_is_refused(url):
    with pytest.raises(StoreUnavailableError):
        Store.open(url)


def test_nothing_is_created_unless_wanted(place):
    with pytest.raises(StoreUnavailableError, match="cannot be opened"):
        Store.open(place, create=False)
    assert not place.exists()


def test_a_file_that_is_no_database_is_refused(place):
    place.write_bytes(b"not a database, but as long as one could be" * 100)
    place.chmod(0o600)
    with pytest.raises(StoreUnavailableError, match="not a database"):
        Store.open(place)


def test_an_empty_file_is_refused_and_left_alone(place):
    place.touch(mode=0o600)
    with pytest.raises(StoreUnavailableError, match="is not a store"):
        Store.open(place)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE store SET version = 5",
        "UPDATE store SET version = 0",
        "DELETE FROM store",
    ],
)
def test_a_store_of_another_version_is_refused(made, change):
    with sqlite3.connect(made) as connection:
        connection.execute(change)
    connection.close()
    with pytest.raises(StoreUnavailableError, match="schema version"):
        Store.open(made)


@pytest.mark.parametrize("mode", [0o604, 0o602, 0o640, 0o620, 0o601])
@pytest.mark.parametrize("tail", ["", "-wal", "-shm", "-journal"])
def test_a_file_that_others_may_read_or_write_is_refused(made, mode, tail):
    file = made.with_name(made.name + tail)
    file.touch()
    file.chmod(mode)
    assert f"others may read or write `{file}`" in _refusal(made)


@pytest.mark.parametrize("mode", [0o720, 0o702, 0o1777])
def test_a_folder_that_others_may_write_is_refused(folder, place, mode):
    folder.chmod(mode)
    assert f"others may write in the folder `{folder}`" == _refusal(place)
    assert not place.exists()


@pytest.mark.parametrize("mode", [0o720, 0o702])
def test_a_folder_above_that_others_may_write_is_refused(folder, mode):
    inner = folder / "inner"
    inner.mkdir(mode=0o700)
    folder.chmod(mode)
    assert f"others may write in the folder `{folder}`" == _refusal(inner / "store.db")


def test_a_sticky_folder_above_is_no_danger(folder):
    inner = folder / "inner"
    inner.mkdir(mode=0o700)
    folder.chmod(0o1777)
    with Store.open(inner / "store.db") as store:
        assert () == store.accounts.accounts()


def test_a_folder_that_is_not_there_is_named(folder):
    assert "cannot be examined" in _refusal(folder / "absent" / "store.db")
    (folder / "file").touch()
    assert "folder" in _refusal(folder / "file" / "store.db")


def test_a_link_to_a_store_is_refused(folder, made):
    (folder / "link.db").symlink_to(made)
    assert "is not a regular file" in _refusal(folder / "link.db")
    (folder / "dangling.db").symlink_to(folder / "absent.db")
    assert "is not a regular file" in _refusal(folder / "dangling.db")
    assert not (folder / "absent.db").exists()


def test_what_is_no_file_is_refused(folder):
    os.mkfifo(folder / "fifo.db", 0o600)
    assert "is not a regular file" in _refusal(folder / "fifo.db")
    (folder / "folder.db").mkdir()
    assert "is not a regular file" in _refusal(folder / "folder.db")


def test_a_linked_folder_is_followed_and_both_are_judged(folder):
    real = folder / "real"
    real.mkdir(mode=0o700)
    (folder / "link").symlink_to("real")
    with Store.open(folder / "link" / "store.db"):
        assert (real / "store.db").exists()
    (folder / "absolute").symlink_to(real)
    with Store.open(folder / "absolute" / ".." / "link" / "store.db"):
        assert (real / "store.db").exists()
    real.chmod(0o777)
    assert f"others may write in the folder `{real}`" == _refusal(
        folder / "link" / "store.db"
    )


def test_a_link_that_lies_where_others_may_write_is_refused(folder):
    real, open_to_all = folder / "real", folder / "open"
    real.mkdir(mode=0o700)
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    (open_to_all / "link").symlink_to(real)
    assert f"others may write in the folder `{open_to_all}`" == _refusal(
        open_to_all / "link" / "store.db"
    )


def test_links_that_lead_in_a_circle_end(folder):
    (folder / "a").symlink_to("b")
    (folder / "b").symlink_to("a")
    assert "too many symbolic links" in _refusal(folder / "a" / "store.db")


@pytest.mark.root
@needs_root
def test_a_file_or_folder_of_somebody_else_is_refused(folder, made):
    os.chown(made, STRANGER, STRANGER)
    assert f"`{made}` belongs to uid {STRANGER}" in _refusal(made)
    os.chown(made, 0, 0)
    os.chown(folder, STRANGER, STRANGER)
    assert f"`{folder}` belongs to uid {STRANGER}" in _refusal(made)


@pytest.mark.root
@needs_root
def test_a_strangers_link_in_a_sticky_folder_is_refused(folder):
    real, shared = folder / "real", folder / "shared"
    real.mkdir(mode=0o700)
    shared.mkdir()
    shared.chmod(0o1777)
    (shared / "link").symlink_to(real)
    with Store.open(shared / "link" / "store.db"):
        pass
    os.lchown(shared / "link", STRANGER, STRANGER)
    assert f"belongs to uid {STRANGER}" in _refusal(shared / "link" / "store.db")


def test_a_posix_access_list_shows_in_the_mode(made):
    # Owner rw, one named user rw, group none, mask rw, others none: acl(5).
    nobody = 0xFFFF_FFFF
    entries = [(1, 6, nobody), (2, 6, STRANGER), (4, 0, nobody), (16, 6, nobody)]
    packed = [struct.pack("<HHI", *entry) for entry in [*entries, (32, 0, nobody)]]
    os.setxattr(made, "system.posix_acl_access", b"".join([b"\2\0\0\0", *packed]))
    assert "others may read or write" in _refusal(made)


IMPERSONATE = """
import ctypes, sys, threading
from stead.adapters.store import Store
from stead.authority.ports import StoredObject
from stead.ledger.ports import Entry

store = Store.open(sys.argv[1])
answers = []

def client():
    ctypes.CDLL(None).setfsuid(70001)  # this thread's alone
    try:
        open(sys.argv[1])
    except PermissionError:
        answers.append("judged")
    for number in range(1500):
        store.accounts.allocate_luid()
    store.accounts.add_account("alice", None, None)
    store.objects.add_object(StoredObject("plan", "Doc", {}, bytes(8_000_000)))
    store.ledger.append(lambda last: [Entry(1, b"", b"")])
    answers.append(store.accounts.account_by_name("alice").name)
    answers.append(len(store.objects.objects()[0].descriptor))

thread = threading.Thread(target=client)
thread.start()
thread.join()
store.close()
print(*answers)
"""


@pytest.mark.root
@needs_root
def test_a_thread_that_the_kernel_judges_as_a_client_still_reaches_the_store(
    folder, place, run_program
):
    answers, errors = run_program(IMPERSONATE, place).communicate(timeout=120)
    assert ("judged alice 8000000\n", "") == (answers, errors)
    assert {"store.db": 0o600} == _modes(folder)


OPEN = """
import sys
from stead.adapters.store import Store
print("ready", flush=True)
sys.stdin.readline()
with Store.open(sys.argv[1]) as store:
    print(store.accounts.domain(), store.accounts.allocate_luid())
"""


def test_processes_that_create_a_store_at_once_share_one(folder, place, run_program):
    opening = [run_program(OPEN, place, stdin=-1) for _ in range(4)]
    for process in opening:
        assert "ready\n" == process.stdout.readline()
    for process in opening:
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = [process.communicate(timeout=120)[0].split() for process in opening]
    domains, luids = zip(*answers, strict=True)
    assert 1 == len(set(domains))
    assert 4 == len(set(luids))
    assert {"store.db"} == set(_modes(folder))


def test_a_creation_that_fails_leaves_nothing(folder, place):
    def no_entropy(size):
        if size == 12:
            raise OSError(5, "no entropy")
        return bytes(size)

    with pytest.raises(StoreUnavailableError, match="no entropy"):
        Store.open(place, entropy=no_entropy)
    assert [] == list(folder.iterdir())


def test_what_only_the_database_library_finds_wrong_is_a_stores_error(made):
    with (
        Store.open(made) as store,
        pytest.raises(StoreUnavailableError, match="not available"),
        store._databases[0].reading() as connection,
    ):
        connection.execute(select(STORE).where(STORE.c.id == 2)).one()


def test_a_name_that_is_too_long_is_refused(folder):
    with pytest.raises(StoreUnavailableError, match="cannot be created"):
        Store.open(folder / ("x" * 300))
    with pytest.raises(UnsafeStoreError, match="cannot be examined"):
        Store.open(folder / ("x" * 300), create=False)


@pytest.mark.root
@needs_root
@pytest.mark.slow
def test_on_a_nearly_full_disk_a_store_is_created_whole_or_not_at_all(small_disk):
    created = []
    for pages in range(8, 200, 6):
        ballast = small_disk / "ballast"
        ballast.write_bytes(bytes((1 << 20) - 4096 * pages))
        place = small_disk / "store.db"
        try:
            Store.open(place).close()
        except StoreUnavailableError:
            created.append(False)
            assert {"ballast"} == set(_modes(small_disk))
        else:
            created.append(True)
            ballast.unlink()
            with Store.open(place, create=False) as store:
                assert 3 == len(store.accounts.groups())
        place.unlink(missing_ok=True)
    assert {True, False} == set(created)


def test_a_store_opened_twice_in_one_process_keeps_its_locks(made):
    with Store.open(made) as one:
        Store.open(made).close()
        with one._databases[0].writing():
            other = sqlite3.connect(made, timeout=0, isolation_level=None)
            with pytest.raises(sqlite3.OperationalError, match="locked"):
                other.execute("BEGIN IMMEDIATE")
            other.close()


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_is_refused_and_disturbs_nobody(made):
    with Store.open(made) as store:
        store.accounts.allocate_luid()
        child = os.fork()
        if child == 0:
            refused = 0
            try:
                for use in (
                    store.accounts.allocate_luid,
                    store.accounts.accounts,
                    store.objects.objects,
                ):
                    try:
                        use()
                    except StoreUnavailableError as error:
                        refused += "forks" in str(error)
                store.close()
            finally:
                os._exit(refused)
        assert 3 == os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert "alice" == store.accounts.add_account("alice", None, None).name


def test_the_folder_that_is_judged_is_the_one_that_is_opened(folder):
    inner = folder / "inner"
    inner.mkdir(mode=0o700)
    place = Path(f"{inner}/../inner/store.db")
    with Store.open(place):
        assert (inner / "store.db").exists()
