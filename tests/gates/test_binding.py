"""A pipe's name is taken safely, kept, and given back."""

import asyncio
import os
import socket
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from stead.errors import (
    InvalidNameError,
    PipeBusyError,
    ServerClosedError,
    UnsafePipeError,
)
from stead.gates.pipe.client import PipeClient
from stead.privileged.binding import bind


def leave_a_dead_socket(path):
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
        dead.listen()


def test_a_bound_pipe_has_the_mode_asked_for_and_leaves_nothing_behind(folder):
    binding = bind(folder / "pipe", 0o622)
    status = (folder / "pipe").stat()
    assert stat.S_ISSOCK(status.st_mode)
    assert 0o622 == stat.S_IMODE(status.st_mode)
    binding.release()
    assert [] == list(folder.iterdir())


def test_a_dead_servers_socket_is_replaced(folder):
    leave_a_dead_socket(folder / "pipe")
    binding = bind(folder / "pipe", 0o666)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(folder / "pipe"))
    binding.release()


def test_a_server_that_was_killed_leaves_a_name_that_can_be_taken_again(folder):
    program = (
        "import os, pathlib, sys\n"
        "from stead.privileged.binding import bind\n"
        "bind(pathlib.Path(sys.argv[1]), 0o666)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(folder / "pipe")],
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert -9 == done.returncode
    assert {"pipe", "pipe.lock"} == {entry.name for entry in folder.iterdir()}
    bind(folder / "pipe", 0o666).release()
    assert [] == list(folder.iterdir())


def test_a_live_servers_name_is_not_stolen(folder):
    binding = bind(folder / "pipe", 0o666)
    with pytest.raises(PipeBusyError, match="holds"):
        bind(folder / "pipe", 0o666)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(folder / "pipe"))
    binding.release()


@pytest.mark.parametrize("backlog", [8, 0])
def test_a_live_server_without_our_lock_is_not_stolen_from_either(folder, backlog):
    with (
        socket.socket(socket.AF_UNIX) as other,
        socket.socket(socket.AF_UNIX) as filler,
    ):
        other.bind(str(folder / "pipe"))
        other.listen(backlog)
        filler.connect(str(folder / "pipe"))
        with pytest.raises(PipeBusyError, match="answers"):
            bind(folder / "pipe", 0o666)
        other.settimeout(0)
        other.accept()[0].close()
    assert ["pipe"] == [entry.name for entry in folder.iterdir()]


@pytest.mark.parametrize("mode", [0o777, 0o775, 0o757])
def test_a_folder_that_others_may_write_is_refused(folder, mode):
    folder.chmod(mode)
    with pytest.raises(UnsafePipeError, match="others may write") as caught:
        bind(folder / "pipe", 0o666)
    assert f"chmod go-w {folder}" == caught.value.advice
    assert [] == list(folder.iterdir())


def test_a_folder_above_that_others_may_write_is_refused(folder):
    (folder / "a" / "b").mkdir(parents=True)
    (folder / "a").chmod(0o777)
    with pytest.raises(UnsafePipeError, match="/a`"):
        bind(folder / "a" / "b" / "pipe", 0o666)


def test_a_sticky_folder_will_do(folder):
    folder.chmod(0o1777)
    bind(folder / "pipe", 0o666).release()


def test_a_link_to_a_folder_is_followed_once_and_what_it_names_is_judged(folder):
    (folder / "open").mkdir(mode=0o755)
    (folder / "link").symlink_to(folder / "open")
    binding = bind(folder / "link" / "pipe", 0o666)
    assert folder.resolve() / "open" / "pipe" == binding.path
    binding.release()
    (folder / "open").chmod(0o777)
    with pytest.raises(UnsafePipeError):
        bind(folder / "link" / "pipe", 0o666)


@pytest.mark.root
@pytest.mark.parametrize("what", ["folder", "socket", "lock"])
def test_what_belongs_to_another_uid_is_refused(folder, what):
    place = folder / "mine"
    place.mkdir(mode=0o755)
    leave_a_dead_socket(place / "pipe")
    (place / "pipe.lock").touch(0o600)
    owned = {"folder": "", "socket": "pipe", "lock": "pipe.lock"}[what]
    os.chown(place / owned, 70_001, 70_001)
    with pytest.raises(UnsafePipeError):
        bind(place / "pipe", 0o666)
    assert (place / "pipe").exists()


@pytest.mark.parametrize("kind", ["file", "folder", "link", "fifo"])
def test_what_is_no_socket_is_left_alone(folder, kind):
    path = folder / "pipe"
    make = {
        "file": path.touch,
        "folder": path.mkdir,
        "link": lambda: path.symlink_to("/etc/passwd"),
        "fifo": lambda: os.mkfifo(path),
    }
    make[kind]()
    with pytest.raises(UnsafePipeError, match="not ours"):
        bind(path, 0o666)
    assert ["pipe"] == [entry.name for entry in folder.iterdir()]


def test_a_lock_that_is_a_link_or_fifo_is_refused(folder):
    (folder / "a.lock").symlink_to(folder / "elsewhere")
    os.mkfifo(folder / "b.lock")
    for name in ("a", "b"):
        with pytest.raises(UnsafePipeError, match="lock"):
            bind(folder / name, 0o666)
    assert not (folder / "elsewhere").exists()


def test_paths_that_cannot_be_a_pipes_are_refused(folder):
    for path in ("pipe", "/", "/tmp/nul\0pipe", f"/tmp/{'x' * 108}"):
        with pytest.raises(InvalidNameError):
            bind(type(folder)(path), 0o666)


def test_a_folder_that_is_not_there_or_none_is_refused(folder):
    (folder / "file").touch()
    with pytest.raises(UnsafePipeError, match="looked at"):
        bind(folder / "nowhere" / "pipe", 0o666)
    with pytest.raises(UnsafePipeError, match="not a folder"):
        bind(folder / "file" / "pipe", 0o666)


def test_a_folder_whose_path_leaves_no_room_for_the_new_socket_is_refused(folder):
    deep = folder / ("x" * (104 - len(os.fsencode(folder))))
    deep.mkdir(mode=0o755)
    with pytest.raises(InvalidNameError, match="107 bytes"):
        bind(deep / "y", 0o666)
    assert [] == list(deep.iterdir())


def test_whatever_fails_leaves_nothing_behind(folder):
    with pytest.raises(OverflowError):
        bind(folder / "pipe", 1 << 40)
    assert [] == list(folder.iterdir())


def test_of_servers_that_race_for_a_name_one_at_a_time_has_it(folder):
    holders = []

    def race(_):
        taken = 0
        while taken < 10:
            try:
                binding = bind(folder / "pipe", 0o666)
            except PipeBusyError:
                continue
            holders.append(1)
            assert 1 == len(holders)
            holders.pop()
            binding.release()
            taken += 1
        return taken

    with ThreadPoolExecutor(4) as threads:
        assert [10] * 4 == list(threads.map(race, range(4)))
    assert [] == list(folder.iterdir())


def test_only_our_own_socket_is_removed_at_the_end(folder):
    binding = bind(folder / "pipe", 0o666)
    (folder / "pipe").unlink()
    (folder / "pipe").touch()
    binding.release()
    assert ["pipe"] == [entry.name for entry in folder.iterdir()]


def test_a_name_given_back_can_be_taken_at_once_even_by_a_fork_of_the_holder(folder):
    binding = bind(folder / "pipe", 0o666)
    copy = os.dup(binding._lock)  # as a forked worker would hold it
    binding.release()
    bind(folder / "pipe", 0o666).release()
    os.close(copy)


def test_a_gate_opens_once_and_can_open_again_after_its_end(opened):
    async def scenario():
        async with opened() as (gate, house):
            with pytest.raises(ServerClosedError):
                await gate.start(house.admit)
            await gate.stop()
            await gate.stop()
            await gate.start(house.admit)

            def visit():
                with PipeClient.connect(gate.path) as server:
                    return server.server

            assert "desk" == await asyncio.to_thread(visit)
            await gate.stop()
            assert [] == list(gate.path.parent.iterdir())

    asyncio.run(scenario())
