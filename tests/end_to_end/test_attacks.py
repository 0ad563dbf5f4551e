"""A client with a uid of its own against the thread that is acting as it."""

import ctypes
import fcntl
import os
import signal
import threading
from pathlib import Path

import pytest

pytestmark = [pytest.mark.root, pytest.mark.slow]

DENIED = "refused: access is denied"
PTRACE_ATTACH, PTRACE_SEIZE = 16, 0x4206


def outcome_of(act):
    try:
        act()
    except PermissionError:
        return "not permitted"
    return "done"


def ptrace(request, thread):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.ptrace(request, thread, None, None) == -1:
        raise OSError(ctypes.get_errno(), "ptrace")


def acts_against(pid, thread):
    """Return what somebody might do to a thread that the kernel takes for them."""
    place = Path(f"/proc/{pid}/task/{thread}")
    return {
        "signal the process": lambda: os.kill(pid, signal.SIGKILL),
        "signal the thread": lambda: os.kill(thread, signal.SIGKILL),
        "attach to it": lambda: ptrace(PTRACE_ATTACH, thread),
        "seize it": lambda: ptrace(PTRACE_SEIZE, thread),
        "read its memory": (place / "mem").read_bytes,
        "read its environment": (place / "environ").read_bytes,
        "list its descriptors": lambda: list((place / "fd").iterdir()),
        "follow its root": (place / "root").readlink,
        "rename it": lambda: (place / "comm").write_text("x"),
        "have it killed first": lambda: (place / "oom_score_adj").write_text("1000"),
        "make it nice": lambda: os.setpriority(os.PRIO_PROCESS, thread, 19),
        "pin it": lambda: os.sched_setaffinity(thread, {0}),
        "make it idle": lambda: os.sched_setscheduler(
            thread, os.SCHED_IDLE, os.sched_param(0)
        ),
    }


def test_a_client_cannot_touch_the_thread_that_is_acting_as_it(
    server, world, as_uid, asker
):
    def as_alice():
        me = asker()
        told = me.ask("stay", path=str(world.file_of("alice")))
        acts = acts_against(server.pid, told["thread"])
        heard = {name: outcome_of(act) for name, act in acts.items()}
        me.ask("release")
        return heard

    heard = as_uid(world.uids["alice"], as_alice)
    assert dict.fromkeys(acts_against(0, 0), "not permitted") == heard
    assert server.process.poll() is None


def test_a_lease_on_a_clients_file_makes_nobody_wait(server, world, as_uid, asker, ask):
    """An open that breaks a lease waits for its holder, 45 seconds as a rule."""

    def as_alice():
        signal.signal(signal.SIGIO, signal.SIG_IGN)
        me, own = asker(), world.file_of("alice")
        with own.open("r+") as file:
            fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
            return [me.ask("read", path=str(own)) for _ in range(8)]

    assert [DENIED] * 8 == as_uid(world.uids["alice"], as_alice)
    own = str(world.file_of("bob"))
    assert "bob's own\n" == ask(world.uids["bob"], "read", path=own)


def test_a_path_that_changes_under_the_server_leads_nowhere_else(
    server, world, as_uid, asker
):
    """alice's own file, dave's, a FIFO, a device and the store take turns at a name."""

    def as_alice():
        home = world.home_of("alice")
        os.mkfifo(home / "fifo")
        targets = (
            world.file_of("alice"), world.file_of("dave"), home / "fifo",
            Path("/dev/zero"), world.store, Path("/proc/self/environ"),
        )  # fmt: skip
        over = threading.Event()
        turning = threading.Thread(target=turns, args=(home, targets, over))
        turning.start()
        me = asker()
        heard = {me.ask("read", path=str(home / "turning")) for _ in range(300)}
        over.set()
        turning.join()
        return sorted(heard)

    def turns(home, targets, over):
        while not over.is_set():
            for target in targets:
                (home / "next").symlink_to(target)
                (home / "next").rename(home / "turning")

    heard = as_uid(world.uids["alice"], as_alice)
    assert {"alice's own\n", DENIED} >= set(heard)
    assert DENIED in heard
