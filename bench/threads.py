"""Becoming somebody and back: on a hardened thread, and to open a file."""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path

from bench import Bench

from stead import ClientContext, Enforcement, ProtectedServer
from stead.model.posix_identity import PosixIdentity
from stead.monitor.covering import covering
from stead.privileged.executor import KernelExecutor
from stead.privileged.hardened_thread import (
    KernelBlock,
    current_hardened_thread,
    is_hardened,
)
from stead.privileged.syscalls import architecture
from stead.privileged.system_uids import DEFAULT_GUARD_UID

_UID = 70_001
_KEEP = 0xFFFF_FFFF
_AT_ONCE = 200
_IN_AN_OPERATION = 2_000


def measure_kernel(bench: Bench, folder: Path) -> None:
    """Measure hardened threads beside the bare system calls, and `client.open`."""
    try:
        stays = _built(folder)
    except (OSError, subprocess.CalledProcessError) as error:
        bench.leave_out("kernel blocks", f"the bare calls cannot be built: {error}")
    else:
        for groups in (0, 16, 64):
            _measure_switch(bench, groups, stays)
        _measure_operations(bench, folder, stays)
    _measure_open(bench, folder)


def _built(folder: Path) -> ctypes.PyDLL:
    """Return the bare calls made from C, built now; the interpreter's lock is kept."""
    source, target = Path(__file__).with_name("raw_switch.c"), folder / "raw_switch.so"
    compiler = os.environ.get("CC", "cc")
    options = ["-std=c11", "-O3", "-shared", "-fPIC", str(source), "-o", str(target)]
    subprocess.run([compiler, *options], check=True, capture_output=True)
    return ctypes.PyDLL(str(target))


def _measure_switch(bench: Bench, groups: int, stays: ctypes.PyDLL) -> None:
    """Measure a block, entered, left and verified, with no record of its own."""
    gids = tuple(range(71_000, 71_000 + groups))
    identity = PosixIdentity(_UID, _UID, gids)

    def block() -> None:
        with KernelBlock(identity):
            pass

    with KernelExecutor(1) as executor, ThreadPoolExecutor(1) as plain:
        bench.compare_all(
            f"kernel block, verified, {groups} groups",
            _on(executor, block),
            {
                "system calls from C, bare": _from_c(plain, stays, gids),
                "the same on a hardened thread": _from_c(executor, stays, gids),
                "the same by ctypes, plain thread": _on(plain, _raw_switch(gids)),
            },
            each=_AT_ONCE,
        )


def _on(
    executor: Executor, act: Callable[[], object], times: int = _AT_ONCE
) -> Callable[[], object]:
    """Return what does it often on another thread, so that handing over is small."""

    def many() -> None:
        for _ in range(times):
            act()

    return lambda: executor.submit(many).result()


def _from_c(
    executor: Executor,
    stays: ctypes.PyDLL,
    gids: tuple[int, ...],
    times: int = _AT_ONCE,
) -> Callable[[], object]:
    """Return what has C make the calls often, on a thread of an executor."""
    theirs = (ctypes.c_uint32 * max(1, len(gids)))(*gids)
    own = os.getgroups()
    ours = (ctypes.c_uint32 * max(1, len(own)))(*own)

    def many() -> None:
        seal = current_hardened_thread().server.seal if is_hardened() else 0
        failed = stays.stays(
            times, ctypes.c_ulong(seal), ctypes.c_uint32(DEFAULT_GUARD_UID),
            ctypes.c_uint32(_UID), len(gids), theirs, len(own), ours,
        )  # fmt: skip
        if failed:
            raise OSError("a bare switch failed")

    return lambda: executor.submit(many).result()


def _raw_switch(gids: tuple[int, ...]) -> Callable[[], object]:
    """Return the six system calls there and back, read back by nobody."""
    numbers = architecture(os.uname().machine).numbers
    syscall = ctypes.PyDLL(None).syscall
    theirs = (ctypes.c_uint32 * max(1, len(gids)))(*gids)
    own = os.getgroups()
    ours = (ctypes.c_uint32 * max(1, len(own)))(*own)
    guard = DEFAULT_GUARD_UID

    def switch() -> None:
        syscall(numbers["setgroups"], len(gids), theirs)
        syscall(numbers["setresgid"], guard, _UID, _KEEP)
        syscall(numbers["setresuid"], guard, _UID, _KEEP)
        syscall(numbers["setresuid"], 0, 0, 0)
        syscall(numbers["setresgid"], 0, 0, 0)
        syscall(numbers["setgroups"], len(own), ours)

    return switch


def _measure_operations(bench: Bench, folder: Path, stays: ctypes.PyDLL) -> None:
    """Measure a client's blocks with all that a server asks and records of them."""
    place = folder / "operations"
    place.mkdir(mode=0o700)
    with (
        ProtectedServer("bench", place / "a.db", enforcement=Enforcement.KERNEL) as one,
        ThreadPoolExecutor(1) as plain,
    ):
        one.accounts.add("alice", uid=_UID)
        with one.client_for("alice", authenticated_by="bench") as client:
            _measure_operation(bench, one, client, plain, stays)


def _measure_operation(
    bench: Bench,
    server: ProtectedServer,
    client: ClientContext,
    plain: Executor,
    stays: ctypes.PyDLL,
) -> None:
    """Measure a client's blocks at one line: in its operation, and outside of one."""
    sink, executor = server._house.guard.sink, server.executor()  # noqa: SLF001 - as the dispatcher does

    def block() -> None:
        with client.impersonate():
            pass

    def operation() -> None:
        with covering(client.subject, sink):
            for _ in range(_IN_AN_OPERATION):
                block()

    def identity() -> None:
        with KernelBlock(PosixIdentity(_UID, _UID)):
            pass

    many = _IN_AN_OPERATION
    bench.compare_all(
        "client's block in its operation",
        _on(executor, operation, 1),
        {
            "system calls from C, bare": _from_c(plain, stays, (), many),
            "the same on a hardened thread": _from_c(executor, stays, (), many),
            "kernel block, verified": _on(executor, identity, many),
        },
        each=many,
    )
    bench.compare(
        "client's block, token only, in its operation",
        _on(plain, operation, 1),
        to=("system calls from C, bare", _from_c(plain, stays, (), many)),
        each=many,
    )
    bench.compare(
        "client's block outside, waiting for its record", _on(executor, block), each=200
    )


def _measure_open(bench: Bench, folder: Path) -> None:
    note = folder / "note.txt"
    note.write_text("a note\n", encoding="utf-8")
    os.chown(note, _UID, _UID)
    place = folder / "opens"
    place.mkdir(mode=0o700)
    with (
        ProtectedServer("bench", place / "a.db", enforcement=Enforcement.KERNEL) as one,
        ThreadPoolExecutor(4) as pool,
    ):
        one.accounts.add("alice", uid=_UID)
        client = one.client_for("alice", authenticated_by="bench")
        bench.compare(
            "client.open, two durable records",
            lambda: client.open(note).close(),
            to=(
                "open in a thread pool",
                lambda: pool.submit(open, note).result().close(),
            ),
        )
        client.close()
