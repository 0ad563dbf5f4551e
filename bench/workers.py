"""A client's worker beside a bare pool of one process: the same function, in turn."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from bench import Bench

from stead.model.luid import Luid
from stead.model.posix_identity import PosixIdentity
from stead.model.sid import Sid
from stead.model.token import AccessToken
from stead.privileged.launching import Launcher
from stead.privileged.system_uids import DEFAULT_GUARD_UID
from stead.privileged.watch import Watch
from stead.server.workers.workers import WorkerLimits, Workers

_UID = 70_001
_SECONDS = 60.0
_LARGE = "x" * 1_000_000


def measure(bench: Bench, folder: Path) -> None:
    """Measure round trips of a warm worker, and its opening of a file."""
    note = folder / "worker's note.txt"
    note.write_text("a note\n", encoding="utf-8")
    os.chown(note, _UID, _UID)
    watch = Watch("bench-watch")
    launcher = Launcher(
        "bench", watch, guard=DEFAULT_GUARD_UID, preload=("stead.server.workers.start",)
    )
    workers = Workers(
        launcher,
        watch,
        identity=lambda _: PosixIdentity(_UID, _UID),
        environment=lambda _: (),
        limits=WorkerLimits(),
    )
    try:
        with ProcessPoolExecutor(1) as bare:
            _measure(bench, workers, bare, note)
    finally:
        workers.close()
        launcher.close()
        watch.close()


def _measure(
    bench: Bench, workers: Workers, bare: ProcessPoolExecutor, note: Path
) -> None:
    token = AccessToken(Sid.from_string(f"S-1-22-1-{_UID}"), logon_id=Luid(1))

    def ours(function: Callable[..., Any], *args: Any) -> Callable[[], Any]:
        return lambda: workers.run(token, function, args, seconds=_SECONDS).result()

    def theirs(function: Callable[..., Any], *args: Any) -> Callable[[], Any]:
        return lambda: bare.submit(function, *args).result()

    pool = "bare ProcessPoolExecutor"

    def opened() -> None:
        future = workers.open(token, str(note), os.O_RDONLY, seconds=_SECONDS)
        os.close(future.result())

    small, text = (os.getpid,), (os.fspath, _LARGE)
    for start in (ours(*small), theirs(*small), opened):
        start()  # a process each, which is not what is measured
    bench.compare("worker, round trip", ours(*small), to=(pool, theirs(*small)))
    bench.compare("worker, 1 MB there and back", ours(*text), to=(pool, theirs(*text)))

    bench.compare(
        "worker, opens a file", opened, to=("round trip of a pool", theirs(*small))
    )
