"""A server that starts processes for a client, says their numbers, and is killed.

usage: abandoned.py UID [copy]

With "copy" a process that was forked from it lives on, with a copy of everything that
it had open.
"""

import os
import signal
import sys

from stead.model.posix_identity import PosixIdentity
from stead.privileged.launching import Launcher
from stead.privileged.orders import Order
from stead.privileged.system_uids import DEFAULT_GUARD_UID
from stead.privileged.watch import Watch

uid = int(sys.argv[1])
watch = Watch("watch")
launcher = Launcher("test", watch, guard=DEFAULT_GUARD_UID)
null = os.open(os.devnull, os.O_RDWR)
script = b"( setsid sleep 600 & ) ; exec sleep 600"
order = Order(
    PosixIdentity(uid, uid),
    (b"sh", b"-c", script),
    environment=((b"PATH", b"/usr/bin:/bin"),),
)
children = [
    launcher.start(order, (null, null, null), on_end=lambda _: None) for _ in range(3)
]
for child in children:
    child.started.result(60)
if sys.argv[2:] == ["copy"] and os.fork() == 0:
    sys.stdin.read()  # until the test ends it
    os._exit(0)
print(os.getpid(), flush=True)
signal.pause()
