"""Run a command in a container: `container.py FOLDER MAPS COMMAND...`.

It has user, mount, process, network, IPC and host-name namespaces of its own, a procfs
of its own, and everything is read-only but FOLDER. MAPS are `first:count` ids, divided
by commas, which are called the same inside; `-` keeps the host's user namespace; a map
that ends in `!` lets nobody set groups. SIGTERM is passed on, and the status too.
"""

import ctypes
import os
import signal
import sys
from pathlib import Path

NEW_MOUNTS, NEW_NAMES, NEW_IPC = 0x0002_0000, 0x0400_0000, 0x0800_0000
NEW_USERS, NEW_PROCESSES, NEW_NETWORK = 0x1000_0000, 0x2000_0000, 0x4000_0000
OTHERS = NEW_MOUNTS | NEW_NAMES | NEW_IPC | NEW_PROCESSES | NEW_NETWORK
BIND, REMOUNT, READ_ONLY, PRIVATE = 0x1000, 0x20, 0x1, 0x4_4000

libc = ctypes.CDLL(None, use_errno=True)


def done(result, what):
    if result != 0:
        raise OSError(ctypes.get_errno(), f"the container has no {what}")


def mount(source, target, kind, flags):
    done(libc.mount(source, target, kind, flags, None), f"mount at {target!r}")


def map_ids(pid, maps):
    place = Path(f"/proc/{pid}")
    if maps.endswith("!"):
        (place / "setgroups").write_text("deny")
    lines = [each.split(":") for each in maps.rstrip("!").split(",")]
    text = "".join(f"{first} {first} {count}\n" for first, count in lines)
    for name in ("uid_map", "gid_map"):
        (place / name).write_text(text)


def furnish(folder):
    """Make everything read-only but the folder, and show its own processes alone."""
    mount(b"none", b"/", None, PRIVATE)
    mount(b"proc", b"/proc", b"proc", 0)
    mount(os.fsencode(folder), os.fsencode(folder), None, BIND)
    mount(None, b"/", None, BIND | REMOUNT | READ_ONLY)


def pass_on(pid):
    """Wait for a process, pass SIGTERM on to it, and end as it does."""
    signal.signal(signal.SIGTERM, lambda *_: os.kill(pid, signal.SIGTERM))
    while True:
        ended, status = os.wait()
        if ended == pid:
            os._exit(os.waitstatus_to_exitcode(status) & 0xFF)


def within(folder, command):
    """Be the container's first process; all of it ends with that."""
    libc.prctl(1, signal.SIGKILL)
    furnish(folder)
    pid = os.fork()
    if not pid:
        os.execv(command[0], command)  # noqa: S606 - without a shell, on purpose
    pass_on(pid)


def main(folder, maps, command):
    has_users = maps != "-"
    ready, mapped = os.pipe(), os.pipe()
    pid = os.fork()
    if not pid:
        libc.prctl(1, signal.SIGKILL)  # it ends with whoever started it
        if has_users:
            done(libc.unshare(NEW_USERS), "user namespace")
            os.write(ready[1], b".")
            os.read(mapped[0], 1)
            os.setresgid(0, 0, 0)
            os.setresuid(0, 0, 0)
            libc.prctl(1, signal.SIGKILL)
        done(libc.unshare(OTHERS), "namespaces")
        first = os.fork()
        if not first:
            within(folder, command)
        pass_on(first)
    if has_users:
        os.read(ready[0], 1)
        map_ids(pid, maps)
        os.write(mapped[1], b".")
    pass_on(pid)


main(sys.argv[1], sys.argv[2], sys.argv[3:])
