"""Starting a program as the client: by the launcher, bare, and as people write it.

The bare thing is ``posix_spawn`` of the same program, as the server itself: it changes
no ids, checks nothing and shares the server's memory until the program is there. Each
is measured until the end of the program is known, with the server as it is and with a
heap of 500 MB.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from contextlib import closing

from bench import Bench

from stead.model.posix_identity import PosixIdentity
from stead.privileged.launching import Launcher
from stead.privileged.orders import Order
from stead.privileged.system_uids import DEFAULT_GUARD_UID
from stead.privileged.watch import Watch

_UID = 70_001
_PROGRAM = "/bin/true"
_HEAP = 500 << 20
_PAGE = 4096


def measure(bench: Bench) -> None:
    """Measure both, with a small heap and a large one."""
    with closing(Watch("bench")) as watch:
        launcher = Launcher("bench", watch, guard=DEFAULT_GUARD_UID)
        with closing(launcher), open(os.devnull, "r+b") as null:  # noqa: PTH123
            start = _by(launcher, null.fileno())
            _measure(bench, start, "")
            heap = bytearray(_HEAP)
            heap[::_PAGE] = b"x" * len(heap[::_PAGE])
            _measure(bench, start, ", heap of 500 MB")
            del heap


def _measure(bench: Bench, start: Callable[[], object], when: str) -> None:
    bench.compare(f"start{when}", start, to=("posix_spawn as the server", _bare))
    bench.compare(f"Popen(user=){when}", _popen)


def _by(launcher: Launcher, null: int) -> Callable[[], object]:
    order = Order(PosixIdentity(_UID, _UID), (os.fsencode(_PROGRAM),))

    def start() -> object:
        child = launcher.start(order, (null, null, null), on_end=lambda _: None)
        return child.ended.result(60)

    return start


def _bare() -> None:
    os.waitpid(os.posix_spawn(_PROGRAM, [_PROGRAM], {}), 0)


def _popen() -> None:
    subprocess.run(
        [_PROGRAM], user=_UID, group=_UID, extra_groups=[], env={}, check=True
    )
