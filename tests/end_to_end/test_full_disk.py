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


def writes_till_it_is_full(me, world, mark="meanwhile"):
    """Create files until eleven in a row are refused: no odd page is left.

    Now and then one is again: the server's own threads fold what is written.
    """
    heard = []
    while len(heard) < MOST and heard[-11:].count(UNAVAILABLE) < 11:
        heard += writes(me, world, f"{mark}-{len(heard)}", 1)
    return heard


def connects(asker, mark):
    """Connect, and ask once; return what was heard."""
    try:
        me = asker(mark)
    except RemoteError as error:
        return f"refused: {error}"
    with me.link:
        return me.ask("echo", text="x")


def connects_till_it_is_full(asker, mark):
    """Connect and ask until that is refused; return whose request that was."""
    for number in range(MOST):
        heard = connects(asker, f"{mark}-{number}")
        if heard == UNAVAILABLE:
            return f"{mark}-{number}.1"
        assert "x" == heard
    raise AssertionError("nobody is refused")


def requests(world):
    """Return which requests the trail knows."""
    return {record.correlation.rpartition(" ")[2] for _, record in world.trail()}


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
                heard.append(connects_till_it_is_full(asker, "anew"))
        return heard

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
    assert 0 == server.stop()
    assert_only_the_recorded_ran(world, meanwhile)
    assert anew not in requests(world)


@pytest.mark.parametrize("reserve", [0, 256 << 10])
def test_an_administrator_has_room_where_nobody_else_has(
    reserve, small_disk, world, start, begin, as_uid, asker, ends
):
    server = start(trail_reserve=reserve)
    ours, theirs = ends

    def as_alice():
        me, heard = asker(), []
        for mark in ("meanwhile", "again"):
            theirs.send(b".")
            theirs.recv(1)
            heard.append(writes_till_it_is_full(me, world, mark)[-11:])
        return heard

    alice = begin(world.uids["alice"], as_alice)
    ours.recv(1)
    fill(small_disk)
    ours.send(b".")
    ours.recv(1)
    if reserve:
        assert "x" == connects(asker, "root")
    else:
        refused = connects_till_it_is_full(asker, "root")
    ours.send(b".")
    assert [[UNAVAILABLE] * 11] * 2 == alice.result()
    (small_disk / "ballast").unlink()
    assert 0 == server.stop()
    asked = requests(world)
    assert "root.1" in asked if reserve else refused not in asked
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
