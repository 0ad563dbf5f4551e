"""Harden the calling thread, once and for good, so that it may impersonate.

What threads of one process share is what one client's block could reach of another's:
the working directory, the umask, the session keyring, and above all procfs, through
which every descriptor of the process is a path. A hardened thread has its own of each,
sees no procfs at all, and runs under the filter of ``seccomp``.

Any step that fails is an error that names it. There is no weaker mode.
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
import secrets
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final

from stead.errors import EnforcementUnavailableError
from stead.model.posix_identity import MAXIMUM_ID
from stead.privileged import seccomp, thread_credentials
from stead.privileged.credentials import ServerIdentity
from stead.privileged.syscalls import architecture, call, words_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from stead.privileged.thread_credentials import ThreadCredentials

_CLONE_NEWNS: Final = 0x0002_0000
_CLONE_FS: Final = 0x0000_0200
_JOIN_SESSION_KEYRING: Final = 1
_MS_READ_ONLY_AND_INERT: Final = 0x1 | 0x2 | 0x4 | 0x8  # RDONLY, NOSUID, NODEV, NOEXEC
_MS_REC_SLAVE: Final = 0x4000 | 0x8_0000
_PROC_SUPER_MAGIC: Final = 0x9FA0
_STATFS_WORDS: Final = 15

_NEEDED: Final = {"CAP_SETGID": 6, "CAP_SETUID": 7, "CAP_SYS_ADMIN": 21}


def harden(guard: int) -> ServerIdentity:
    """Harden the calling thread, irrevocably, and return what it comes back to.

    1. The guard is an id, and not root's.
    2. It is not the main thread, whose identity stands for the process's.
    3. It is the server now: root, with the capabilities to switch.
    4. Its own session keyring, so that the server's keys are not the client's.
    5. Its own working directory, umask and mounts; mounts made later still arrive.
    6. Every mounted procfs under an empty file system; the working directory at `/`.
    7. The filter, and a proof that it is in force.

    Args:
        guard: the real uid and gid while impersonating.

    Raises:
        EnforcementUnavailableError: names the step that failed. The thread may be half
            hardened then, and must end.
    """
    own = thread_credentials.read()
    seal = secrets.randbits(64)
    steps: tuple[tuple[str, Callable[[], object], str], ...] = (
        ("the guard", lambda: _require_guard(guard), "choose an id that nobody has"),
        ("the choice of thread", _require_other_thread, "use `server.executor()`"),
        ("its own identity", lambda: _require_root(own), "start it as root"),
        ("the session keyring", _own_keyring, "let the container call keyctl"),
        ("the mount namespace", _unshare, "let the container call unshare and mount"),
        ("hiding procfs", _hide_procfs, "let the container mount a tmpfs"),
        ("the working directory", lambda: os.chdir("/"), ""),
        ("the filter", lambda: _filter(guard, seal), "let it install seccomp filters"),
        ("the proof of the filter", _require_filter, "report this kernel"),
    )
    for name, act, advice in steps:
        _step(name, act, advice)
    return ServerIdentity(own, guard, seal)


def missing_capabilities(effective: int) -> tuple[str, ...]:
    """Return the names of the capabilities that switching and hardening lack."""
    return tuple(name for name, bit in _NEEDED.items() if not effective >> bit & 1)


def procfs_mounts(mountinfo: str) -> tuple[str, ...]:
    """Return where procfs is mounted, the outermost first.

    Args:
        mountinfo: the text of ``/proc/.../mountinfo`` (proc_pid_mountinfo(5)).
    """
    found = set()
    for line in mountinfo.split("\n"):  # a name may hold what splitlines() splits at
        place, _, kind = line.partition(" - ")
        if kind.split(" ", 1)[0] == "proc":
            found.add(_unescaped(place.split(" ")[4]))
    return tuple(sorted(found))


def is_procfs(descriptor: int) -> bool:
    """Say whether an open file lies on a procfs, through which processes are seen."""
    answer = (ctypes.c_uint64 * _STATFS_WORDS)()
    call("fstatfs", descriptor, answer)
    return bool(answer[0] == _PROC_SUPER_MAGIC)


def _step(name: str, act: Callable[[], object], advice: str) -> None:
    try:
        act()
    except OSError as error:
        raise EnforcementUnavailableError(
            f"a thread cannot be hardened at {name}: {words_of(error)}",
            advice=advice,
        ) from error


def _require_guard(guard: int) -> None:
    if not 0 < guard <= MAXIMUM_ID:
        raise OSError(errno.EINVAL, f"`{guard}` cannot be a guard")


def _require_other_thread() -> None:
    if threading.get_native_id() == os.getpid():
        raise OSError(errno.EINVAL, "the main thread is never hardened")


def _require_root(own: ThreadCredentials) -> None:
    if own.uids != (0, 0, 0) or own.gids != (0, 0, 0):
        raise OSError(errno.EPERM, "the thread is not uid 0 and gid 0")
    missing = missing_capabilities(own.effective)
    if missing:
        raise OSError(errno.EPERM, f"it lacks {', '.join(missing)}")


def _own_keyring() -> None:
    call("keyctl", _JOIN_SESSION_KEYRING)


def _unshare() -> None:
    call("unshare", _CLONE_NEWNS | _CLONE_FS)
    # Slaves: what is mounted or unmounted outside later is so here too, and nothing
    # that is done here is seen outside.
    _mount("none", "/", "none", _MS_REC_SLAVE, "")


def _hide_procfs() -> None:
    mountinfo = Path("/proc/thread-self/mountinfo").read_bytes()
    for place in procfs_mounts(os.fsdecode(mountinfo)):
        # One below another is gone with it; one below a later mount has no path left.
        if _shows_procfs(place):
            _mount("none", place, "tmpfs", _MS_READ_ONLY_AND_INERT, "mode=555,size=4k")


def _shows_procfs(place: str) -> bool:
    try:
        descriptor = os.open(place, os.O_PATH | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return False
    try:
        return is_procfs(descriptor)
    finally:
        os.close(descriptor)


def _filter(guard: int, seal: int) -> None:
    table = seccomp.rules(guard, seal, os.getpid())
    seccomp.install(seccomp.assemble(table, architecture(os.uname().machine)))


def _require_filter() -> None:
    # setfsuid never fails by itself: it answers with the present uid. Only a filter
    # makes it an error, and -1 changes nothing if there is none.
    try:
        call("setfsuid", 0xFFFF_FFFF)
    except PermissionError:
        return
    raise OSError(errno.EPERM, "the filter is not in force")


def _mount(source: str, place: str, kind: str, flags: int, options: str) -> None:
    texts = [os.fsencode(text) for text in (source, place, kind, options)]
    call("mount", *texts[:3], flags, texts[3])


def _unescaped(place: str) -> str:
    # The kernel writes blanks, tabs, newlines and backslashes as three octal digits.
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), place)
