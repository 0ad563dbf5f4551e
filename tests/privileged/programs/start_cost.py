"""Time the start of a program as a client in a server with a heap of 500 MB.

Printed: medians in microseconds, all of one run in turn, so that their ratios mean
something: by the launcher, by bare ``posix_spawn`` as the server, and by
``subprocess`` as the client.
"""

import json
import os
import statistics
import subprocess
import time

from stead.model.posix_identity import PosixIdentity
from stead.privileged.launching import Launcher
from stead.privileged.orders import Order
from stead.privileged.system_uids import DEFAULT_GUARD_UID
from stead.privileged.watch import Watch

UID = 70001
PROGRAM = "/bin/true"

heap = bytearray(500 << 20)
heap[::4096] = b"x" * len(heap[::4096])
watch = Watch("watch")
launcher = Launcher("ours", watch, guard=DEFAULT_GUARD_UID)
launcher.open()
null = os.open(os.devnull, os.O_RDWR)
order = Order(PosixIdentity(UID, UID), (PROGRAM.encode(),))


def ours():
    child = launcher.start(order, (null, null, null), on_end=lambda _: None)
    child.ended.result(60)


def bare():
    os.waitpid(os.posix_spawn(PROGRAM, [PROGRAM], {}), 0)


def naive():
    subprocess.run([PROGRAM], user=UID, group=UID, extra_groups=[], check=True)


def microseconds(act):
    before = time.perf_counter()
    act()
    return (time.perf_counter() - before) * 1e6


ways = {"ours": ours, "bare": bare, "naive": naive}
times = {name: [] for name in ways}
for _ in range(40):
    for name, act in ways.items():
        times[name].append(microseconds(act))
launcher.close()
watch.close()
print(json.dumps({name: statistics.median(each) for name, each in times.items()}))
