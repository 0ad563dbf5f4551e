"""Refusing to start, and stopping so that nobody is left without an answer."""

import os
import threading
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path

import pytest

from stead.errors import ServerClosedError, ServerUnavailableError
from stead.model.audit_record import AuditEvent

pytestmark = [pytest.mark.root, pytest.mark.slow]


@contextmanager
def changed(place, mode=None, owner=None):
    """Give a file or folder another mode or owner for a while."""
    status = place.stat()
    place.chmod(status.st_mode & 0o7777 if mode is None else mode)
    os.chown(place, status.st_uid if owner is None else owner, status.st_gid)
    yield
    os.chown(place, status.st_uid, status.st_gid)
    place.chmod(status.st_mode & 0o7777)


def unsafe_modes(world):
    """Yield what is wrong, having made it so; it is undone afterwards."""
    store, folder = world.store, world.store.parent
    for mode in (0o602, 0o640):
        with changed(store, mode=mode):
            yield f"others may read or write `{store}` (mode {mode:04o})"
    for place, mode in ((folder, 0o720), (folder, 0o1777), (world.folder, 0o777)):
        with changed(place, mode=mode):
            yield f"others may write in the folder `{place}`"


def unsafe_owners(world):
    """Yield what is wrong, having made it so; it is undone afterwards."""
    store, alice = world.store, world.uids["alice"]
    companion = store.with_name("notes.db-wal")
    companion.touch(mode=0o600)
    for place in (store, store.parent, companion):
        with changed(place, owner=alice):
            yield f"`{place}` belongs to uid {alice}, who may change it"
    companion.unlink()
    store.rename(store.with_name("kept.db"))
    store.symlink_to(store.with_name("kept.db"))
    yield f"`{store}` is not a regular file"


def test_a_store_that_others_may_write_is_a_refusal_to_start(world, start, stead):
    assert 0 == start().stop()
    for fault in chain(unsafe_modes(world), unsafe_owners(world)):
        done = stead("serve", "--store", world.store, "--pipe", world.pipe)
        first, _, rest = done.stderr.partition("\n")
        assert (1, "", f"stead: {fault}") == (done.returncode, done.stdout, first)
        assert rest.startswith("  what to do: ")
        assert 1 == rest.count("\n")
        assert not world.pipe.exists()


def test_a_pipe_that_others_could_take_over_is_a_refusal_to_start(world, stead):
    for mode in (0o777, 0o775):
        world.pipe.parent.chmod(mode)
        done = stead("serve", "--store", world.store, "--pipe", world.pipe)
        assert (1, "") == (done.returncode, done.stdout)
        fault = f"others may write `{world.pipe.parent}`"
        assert f"stead: {fault}" in done.stderr.splitlines()
        assert "Traceback" not in done.stderr


def test_a_second_server_takes_nothing_from_the_first(server, world, stead, ask):
    done = stead("serve", "--store", world.store, "--pipe", world.pipe)
    assert 1 == done.returncode
    assert "Traceback" not in done.stderr
    assert "x" == ask(world.uids["alice"], "echo", text="x")


def test_a_server_that_is_told_to_stop_answers_what_it_began(
    server, world, begin, asker, poll, ends
):
    fifo = world.store.parent / "fifo"
    os.mkfifo(fifo, mode=0o600)
    ours, theirs = ends

    def waits():
        return asker("waits").ask("wait", fifo=str(fifo))

    def comes_later():
        me = asker("later")
        theirs.send(b".")
        poll(lambda: not world.pipe.exists())
        try:
            return me.ask("echo", text="x")
        except (ServerClosedError, ServerUnavailableError):
            return "refused"

    later = begin(world.uids["bob"], comes_later)
    waiting = begin(world.uids["alice"], waits)
    ours.recv(1)
    release = threading.Thread(target=answer, args=(fifo, server, poll, world))
    release.start()
    assert "answered" == waiting.result()
    assert "refused" == later.result()
    release.join()
    assert 0 == server.process.wait(60)
    assert not world.pipe.exists()
    assert [] == [p.name for p in world.pipe.parent.iterdir()]
    records = [record for _, record in world.trail()]
    assert AuditEvent.TRAIL_STOPPED is records[-1].event
    ended = [r for r in records if r.correlation.endswith("waits.1")]
    assert AuditEvent.OPERATION_ENDED is ended[-1].event


def answer(fifo, server, poll, world):
    """Stop the server once it waits, and answer once it has closed its door."""
    descriptor = os.open(fifo, os.O_WRONLY)  # returns when the server reads it
    server.process.terminate()
    poll(lambda: not world.pipe.exists())
    os.write(descriptor, b"answered")
    os.close(descriptor)


def test_a_server_that_answered_much_has_not_grown_and_is_still_root(
    server, world, as_uid, asker
):
    def ask_all(count):
        def act():
            me = asker()
            own = str(world.file_of("alice"))
            for _ in range(count):
                me.ask("read", path=own)
                me.ask("read_block", path=own)
                me.ask("write", path=own + ".new", text="x")
                me.ask("read", path="/etc/shadow")
                me.ask("read_plan")

        as_uid(world.uids["alice"], act)

    for _ in range(2):
        ask_all(20)
    before = usage_of(server)
    for _ in range(5):
        ask_all(20)
    after = usage_of(server)
    assert {"0 0 0 0"} == before["ids"] == after["ids"]
    # The index of the trail is opened some time after the start, with its companions.
    assert after["descriptors"] <= before["descriptors"] + 2 + 3
    assert after["threads"] <= before["threads"] + 2
    assert after["kilobytes"] <= before["kilobytes"] * 1.25
    assert after["children"] == before["children"] == ""


def usage_of(server):
    """Return what the kernel says of the server's process, every thread's ids."""
    place = Path(f"/proc/{server.pid}")
    tasks = []
    for status in place.glob("task/*/status"):
        with suppress(FileNotFoundError, ProcessLookupError):  # the thread has ended
            lines = status.read_text().splitlines()
            tasks.append(dict(line.split(":\t", 1) for line in lines if ":\t" in line))
    return {
        "ids": {" ".join(t[kind].split()) for t in tasks for kind in ("Uid", "Gid")},
        "descriptors": len(list((place / "fd").iterdir())),
        "threads": len(tasks),
        "kilobytes": int(tasks[0]["VmRSS"].split()[0]),
        "children": (place / "task" / place.name / "children").read_text(),
    }
