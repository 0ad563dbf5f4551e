"""What this machine and process give to kernel enforcement, and why not more.

Nothing is guessed that can be tried: a thread that is thrown away afterwards is
hardened and switched, as the executor would. The questions asked beside it say which
of the many reasons a refusal has, and what an operator can do.
"""

from __future__ import annotations

import os
import re
import socket
import stat
import sys
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from stead.errors import SteadError
from stead.model.posix_identity import PosixIdentity
from stead.privileged import seccomp, thread_credentials
from stead.privileged.confining import LEAST_ABI, landlock_abi
from stead.privileged.hardened_thread import HardenedThread
from stead.privileged.hardening import missing_capabilities
from stead.privileged.namespaces import own_namespace
from stead.privileged.opening import open_as, openat2
from stead.privileged.syscalls import architecture, call
from stead.privileged.system_uids import DEFAULT_GUARD_UID

if sys.platform != "win32":  # which has neither, and where nobody comes this far
    import grp
    import pwd

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

OLDEST_KERNEL: Final = (5, 10)

_RESERVED: Final = "stead-guard"  # the account that keeps the id free for it
_NAMED: Final = 3  # of the processes that run as the guard
_SO_PEERPIDFD: Final = 77
_SECCOMP_GET_ACTION_AVAIL: Final = 2


@dataclass(frozen=True, slots=True)
class KernelSupport:
    """What was found.

    Attributes:
        guard: the uid that was asked about.
        has_openat2: paths can be opened without following magic links.
        has_seccomp: the kernel takes filters.
        has_peer_pidfd: a local peer can be held by a descriptor of its process.
        reasons: why kernel enforcement is not available; each one line that says what
            to do. Empty if it is.
        warnings: what works, but not for everything that a client may ask.
        landlock: the version of Landlock; 0 for none.
    """

    guard: int
    has_openat2: bool
    has_seccomp: bool
    has_peer_pidfd: bool
    reasons: tuple[str, ...]
    warnings: tuple[str, ...]
    landlock: int = 0

    @property
    def is_available(self) -> bool:
        """Whether threads can impersonate here, judged by the kernel."""
        return not self.reasons


def probe(guard: int = DEFAULT_GUARD_UID) -> KernelSupport:
    """Find out what this process can do here.

    Args:
        guard: the uid and gid that would stand as the real ones.

    Returns:
        The findings; nothing is changed by looking.
    """
    if sys.platform != "linux":
        return _nothing(guard, f"`{sys.platform}` is not Linux: use token enforcement")
    return _probe_linux(guard, os.uname().machine, os.uname().release)


def machine_reasons(machine: str, release: str) -> Iterator[str]:
    """Say why this kind of machine cannot enforce.

    Args:
        machine: as ``uname -m`` prints it.
        release: as ``uname -r`` prints it.
    """
    try:
        architecture(machine)
    except SteadError as error:
        yield f"{error}: {error.advice}"
    found = re.match(r"(\d+)\.(\d+)", release)
    if found is None or (int(found[1]), int(found[2])) < OLDEST_KERNEL:
        oldest = ".".join(str(part) for part in OLDEST_KERNEL)
        yield f"Linux `{release}` is too old: run {oldest} or newer"


def guard_reasons(guard: int, processes: Path = Path("/proc")) -> Iterator[str]:
    """Say who else uses the guard, and could signal the server through it.

    An account `stead-guard` is no such use: it keeps the id from being given away.

    Args:
        guard: the uid and gid.
        processes: where procfs is mounted.
    """
    accounts = (
        _name(lambda: pwd.getpwuid(guard).pw_name),
        _name(lambda: grp.getgrgid(guard).gr_name),
    )
    if any(name not in {None, _RESERVED} for name in accounts):
        yield f"an account or group has the guard's id {guard}: choose another guard"
    found = [
        status.parent.name
        for status in processes.glob("[0-9]*/status")
        if guard in _ids_of(status)
    ]
    for name in found[:_NAMED]:
        yield f"process {name} runs as the guard {guard}: choose another guard"
    if found[_NAMED:]:
        yield f"{len(found) - _NAMED} more processes run as the guard {guard}"


def import_warnings(paths: Iterable[Path]) -> Iterator[str]:
    """Name the folders above the interpreter and Stead that clients cannot pass.

    Nothing can be imported or executed from there by a client's process.
    """
    folders = {folder for path in paths for folder in path.resolve().parents}
    for folder in sorted(folders):
        if _is_closed(folder):
            yield (
                f"`{folder}` is closed to other users, who can run and import nothing "
                "below it: preload what blocks need, or install Python elsewhere"
            )


def confining_warnings(abi: int) -> Iterator[str]:
    """Say what this kernel keeps from limited clients.

    Args:
        abi: the version of Landlock; 0 for none.
    """
    if abi < LEAST_ABI:
        yield (
            f"Landlock is of version {abi} here, so limited clients open, run and "
            f"start nothing: run Linux 6.2 or newer (version {LEAST_ABI}) with "
            "`landlock` among the kernel's `lsm=`"
        )


def _is_closed(folder: Path) -> bool:
    try:
        return not folder.stat().st_mode & stat.S_IXOTH
    except PermissionError:
        return False  # one above it is closed, and is named


def _nothing(guard: int, *reasons: str) -> KernelSupport:
    return KernelSupport(
        guard=guard,
        has_openat2=False,
        has_seccomp=False,
        has_peer_pidfd=False,
        reasons=reasons,
        warnings=(),
    )


def _probe_linux(guard: int, machine: str, release: str) -> KernelSupport:
    # Each question makes sense only if the ones before it found nothing.
    reasons = tuple(machine_reasons(machine, release))
    if reasons:
        return _nothing(guard, *reasons)
    namespace = own_namespace()
    needed = (("the guard", guard), ("the uid beside it", guard ^ 1))
    reasons = (
        *_own_reasons(),
        *namespace.reasons(needed),
        *guard_reasons(guard),
    )
    reasons = reasons or tuple(_trial_reasons(guard))
    return KernelSupport(
        guard=guard,
        has_openat2=_has_openat2(),
        has_seccomp=_has_seccomp(),
        has_peer_pidfd=_has_peer_pidfd(),
        reasons=reasons,
        warnings=(
            *import_warnings(_code()),
            *confining_warnings(landlock_abi()),
            *namespace.warnings(),
        ),
        landlock=landlock_abi(),
    )


def _own_reasons() -> Iterator[str]:
    own = thread_credentials.read()
    if own.uids != (0, 0, 0) or own.gids != (0, 0, 0):
        yield f"the process is uid {own.uids[1]}, gid {own.gids[1]}: start it as root"
        return
    missing = missing_capabilities(own.effective)
    if missing:
        names = ", ".join(missing)
        yield f"root lacks {names} here: give them to the container or the service"


def _trial_reasons(guard: int) -> Iterator[str]:
    """Harden a thread, become somebody on it, open a file, come back."""
    outcome: Future[None] = Future()
    # The uid beside the guard: its range is nobody's either.
    somebody = PosixIdentity(guard ^ 1, guard ^ 1)

    def switch(_thread: HardenedThread) -> None:
        try:
            os.close(open_as(somebody, "/", os.O_RDONLY | os.O_DIRECTORY))
            outcome.set_result(None)
        except BaseException as error:  # noqa: BLE001  # who waits gets it
            outcome.set_exception(error)

    thread = HardenedThread(switch, guard=guard, name="stead-probe")
    thread.start()
    try:
        thread.ready.result()
        outcome.result()
    except SteadError as error:
        yield f"{error}: {error.advice or 'this kernel or container forbids it'}"
    finally:
        thread.join()


def _code() -> tuple[Path, ...]:
    return (Path(sys.executable), Path(os.__file__), Path(__file__))


def _has_openat2() -> bool:
    try:
        os.close(openat2(b"/", os.O_PATH | os.O_CLOEXEC, 0))
    except OSError:
        return False
    return True


def _has_seccomp() -> bool:
    action = seccomp.RETURN_ERRNO.to_bytes(4, sys.byteorder)
    try:
        call("seccomp", _SECCOMP_GET_ACTION_AVAIL, 0, action)
    except OSError:
        return False
    return True


def _has_peer_pidfd() -> bool:
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    with ours, theirs:
        try:
            os.close(ours.getsockopt(socket.SOL_SOCKET, _SO_PEERPIDFD))
        except OSError:
            return False
    return True


def _ids_of(status: Path) -> set[int]:
    try:
        text = status.read_text(errors="replace")
    except OSError:
        return set()  # the process has ended meanwhile
    fields = re.findall(r"^(?:Uid|Gid|Groups):(.*)$", text, re.MULTILINE)
    return {int(number) for field in fields for number in field.split()}


def _name(look_up: Callable[[], str]) -> str | None:
    try:
        return look_up()
    except KeyError:
        return None
