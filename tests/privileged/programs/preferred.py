"""A server that goes before others, and what its clients' processes have of that.

usage: preferred.py [below | refused]

With "below" it comes after others instead. With "refused" the kernel lets nobody change
a scheduling policy any more.
"""

import ctypes
import json
import os
import resource
import struct
import subprocess
import sys
from contextlib import suppress

from stead.errors import LauncherUnavailableError
from stead.model.posix_identity import PosixIdentity
from stead.privileged.launching import Launcher
from stead.privileged.orders import Order
from stead.privileged.syscalls import call
from stead.privileged.system_uids import DEFAULT_GUARD_UID
from stead.privileged.watch import Watch

UID = 70001
REAL_TIME_IO, IDLE_IO = 1 << 13, 3 << 13
# proc_pid_stat(5): nice, real-time priority, policy
SCRIPT = """\
cut -d' ' -f19,40,41 /proc/self/stat
ionice
grep priority /proc/self/limits
"""
LOOK = ("/bin/sh", "-c", SCRIPT)
SET_SCHEDULER = {"x86_64": 144, "aarch64": 119}
NO_NEW_PRIVILEGES, SECCOMP, FILTER = 38, 22, 2


def refuse_schedulers():
    """Have sched_setscheduler(2) fail with EPERM, for this process and its children."""
    number = SET_SCHEDULER[os.uname().machine]
    program = b"".join(
        struct.pack("HBBI", *each)
        for each in (
            (0x20, 0, 0, 0),  # load the number
            (0x15, 0, 1, number),
            (0x06, 0, 0, 0x0005_0001),  # EPERM
            (0x06, 0, 0, 0x7FFF_0000),  # allow
        )
    )
    held = ctypes.create_string_buffer(program)
    header = struct.pack("HxxxxxxP", 4, ctypes.addressof(held))
    call("prctl", NO_NEW_PRIVILEGES, 1)
    call("prctl", SECCOMP, FILTER, header)


def ours():
    watch = Watch("watch")
    launcher = Launcher("test", watch, guard=DEFAULT_GUARD_UID)
    reading, writing = os.pipe()
    order = Order(
        PosixIdentity(UID, UID),
        tuple(map(os.fsencode, LOOK)),
        environment=((b"PATH", b"/usr/bin:/bin"),),
    )
    null = os.open(os.devnull, os.O_RDWR)
    try:
        child = launcher.start(order, (null, writing, 2), on_end=lambda _: None)
        os.close(writing)
        launcher.open()
        child.started.result(60)
        return read(reading)
    except LauncherUnavailableError as error:
        return str(error)
    finally:
        launcher.close()
        watch.close()


def naive():
    done = subprocess.run(
        LOOK, user=UID, group=UID, capture_output=True, check=True, text=True
    )
    return done.stdout.splitlines()


def read(descriptor):
    with os.fdopen(descriptor) as file:
        return file.read().splitlines()


def come_after_others():
    os.setpriority(os.PRIO_PROCESS, 0, 5)
    os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    call("ioprio_set", 1, 0, IDLE_IO)


def go_before_others():
    os.setpriority(os.PRIO_PROCESS, 0, -5)
    os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(5))
    call("ioprio_set", 1, 0, REAL_TIME_IO)
    with suppress(ValueError):  # without CAP_SYS_RESOURCE it has 0 anyway
        resource.setrlimit(resource.RLIMIT_RTPRIO, (9, 9))


def main():
    if sys.argv[1:] == ["below"]:
        come_after_others()
    else:
        go_before_others()
    if sys.argv[1:] == ["refused"]:
        refuse_schedulers()
    print(json.dumps({"naive": naive(), "ours": ours()}))


main()
