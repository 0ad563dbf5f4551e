"""A full disk under the ledger: nothing runs unrecorded, and it passes."""

import subprocess
from pathlib import Path

import pytest

from stead.errors import RemoteError
from stead.model.audit_record import AuditEvent

pytestmark = [pytest.mark.root, pytest.mark.slow]

UNAVAILABLE = "refused: the server is not available"
MOST = 400


@pytest.fixture
def small_disk(world):
    """A disk of three megabytes, on which the store lies."""
    folder = world.store.parent
    mount = ["mount", "-t", "tmpfs", "-o", "size=3m,mode=700", "tmpfs", str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"this machine mounts nothing: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(disk: Path) -> Path:
    """Leave not one byte free."""
    ballast = disk / "ballast"
    for size in (1 << 16, 1):
        with pytest.raises(OSError, match="No space left"):
            append_for_ever(ballast, b"x" * size)
    return ballast


def append_for_ever(path, data):
    with path.open("ab", buffering=0) as file:
        while file.write(data):
            pass


def writes(me, world, mark, count):
    """Create so many files; return what was heard of each."""
    return [
        me.ask("write", path=str(file_of(world, mark, number)), text="x")
        for number in range(count)
    ]


def writes_till_it_is_full(me, world):
    """Create files until eleven in a row are refused: no odd page is left."""
    heard = []
    while len(heard) < MOST and heard[-11:].count(UNAVAILABLE) < 11:
        heard += writes(me, world, f"meanwhile-{len(heard)}", 1)
    return heard


def file_of(world, mark, number):
    return world.home_of("alice") / f"{mark}-{number}"


def test_nothing_runs_that_a_full_disk_keeps_from_being_recorded(
    small_disk, world, start, begin, as_uid, asker, ends
):
    server = start()
    ours, theirs = ends

    def as_alice():
        me = asker()
        heard = [writes(me, world, "before", 3)]
        for work in (writes_till_it_is_full, lambda *_: writes(me, world, "after", 3)):
            theirs.send(b".")
            theirs.recv(1)
            heard.append(work(me, world))
            if len(heard) == 2:
                heard.append(connects_anew())
        return heard

    def connects_anew():
        try:
            return asker().ask("echo", text="x")
        except RemoteError as error:
            return f"refused: {error}"

    alice = begin(world.uids["alice"], as_alice)
    ours.recv(1)
    ballast = fill(small_disk)
    ours.send(b".")
    ours.recv(1)
    assert server.process.poll() is None
    ballast.unlink()
    ours.send(b".")
    before, meanwhile, anew, after = alice.result()
    assert [None] * 3 == before == after
    assert [UNAVAILABLE] * 11 == meanwhile[-11:]
    assert {None, UNAVAILABLE} >= set(meanwhile)
    assert UNAVAILABLE == anew
    assert 0 == server.stop()
    assert_only_the_recorded_ran(world, meanwhile)


@pytest.mark.parametrize("reserve", [0, 256 << 10])
def test_an_administrator_has_room_where_nobody_else_has(
    reserve, small_disk, world, start, begin, as_uid, asker, ends
):
    server = start(trail_reserve=reserve)
    ours, theirs = ends

    def as_alice():
        me, heard = asker(), []
        for work in (writes_till_it_is_full, lambda *_: writes(me, world, "again", 11)):
            theirs.send(b".")
            theirs.recv(1)
            heard.append(work(me, world)[-11:])
        return heard

    alice = begin(world.uids["alice"], as_alice)
    ours.recv(1)
    fill(small_disk)
    ours.send(b".")
    ours.recv(1)
    if reserve:
        root = asker("root")
        assert "pong" == root.ask("echo", text="pong")
        root.link.close()
    else:
        with pytest.raises(RemoteError, match="not available"):
            asker("root").ask("echo", text="pong")
    ours.send(b".")
    assert [[UNAVAILABLE] * 11] * 2 == alice.result()
    (small_disk / "ballast").unlink()
    assert 0 == server.stop()
    asked = {record.correlation.rpartition(" ")[2] for _, record in world.trail()}
    assert bool(reserve) is ("root.1" in asked)
    assert AuditEvent.TRAIL_FULL in {record.event for _, record in world.trail()}


def assert_only_the_recorded_ran(world, meanwhile):
    asked = {
        record.object_name
        for _, record in world.trail()
        if record.event is AuditEvent.HANDLE_REQUESTED
    }
    made = set(map(str, world.home_of("alice").glob("*-*")))
    places = [str(file_of(world, f"meanwhile-{n}", 0)) for n in range(len(meanwhile))]
    answered = {p for p, heard in zip(places, meanwhile, strict=True) if heard is None}
    assert answered <= made <= asked
    assert made.isdisjoint(places[-10:])


def test_a_server_refuses_to_start_on_a_full_disk_and_starts_on_a_free_one(
    small_disk, world, start, stead
):
    ballast = fill(small_disk)
    where = ("--store", world.store, "--pipe", world.pipe)
    arguments = ("serve", *where, "--trail-reserve", "0")
    done = stead(*arguments)
    assert 1 == done.returncode
    assert done.stderr.startswith("stead: ")
    assert "Traceback" not in done.stderr
    ballast.unlink()
    assert 0 == start().stop()
    assert AuditEvent.TRAIL_STOPPED is world.trail()[-1][1].event
