"""Confine a process for good to what limits leave: Landlock, and a filter beside it.

It is done by the process itself, once it is the client for good and before anything of
the client's runs. From then on it and all that it starts reach

- files beneath the confinement's roots, with the rights given there;
- what Python and programs need to run at all, to be read only (`runtime`);
- nothing else by a path; no network, no other process, no new way to either.

Landlock (landlock(7)) says which files may be opened, made, moved and removed. It says
nothing about permissions, owners, times and attributes, nor about sockets in the file
system, System V's shared memory or limits of other processes: `rules` denies those
calls. Where the kernel cannot do all of it, nothing runs; there is no weaker way.

Not hidden is that a file outside is there: its name, size, times and the target of a
link can be asked for, as far as the client may.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from stead.model.access_mask import AccessMask, FileRights
from stead.privileged import seccomp
from stead.privileged.seccomp import Rule
from stead.privileged.syscalls import Architecture, architecture, call, call_waiting

LEAST_ABI: Final = 3
"""Linux 6.2. Before it, truncating a file is outside Landlock's reach."""
_SCOPES_SIGNALS: Final = 6
_KNOWS_PORTS: Final = 4
_KNOWS_DEVICES: Final = 5

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_REMOVE_DIR, _REMOVE_FILE, _MAKE_DIR, _MAKE_REG = 1 << 4, 1 << 5, 1 << 7, 1 << 8
_REFER, _TRUNCATE = 1 << 13, 1 << 14
_EVERY_ACCESS: Final = (1 << 15) - 1
_IOCTL_DEV: Final = 1 << 15
_OF_FILES: Final = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE
_EVERY_PORT: Final = 0b11  # binding, connecting
_EVERY_SCOPE: Final = 0b11  # abstract sockets, signals
_READ: Final = _READ_FILE | _READ_DIR
_WRITE: Final = _WRITE_FILE | _TRUNCATE | _MAKE_REG
_REMOVE: Final = _REMOVE_FILE | _REMOVE_DIR

_VERSION: Final = 1
_PATH_BENEATH: Final = 1
_PR_SET_NO_NEW_PRIVS: Final = 38
_AT_FDCWD: Final = 2**64 - 100
_RESOLVE_NO_LINKS: Final = 0x04 | 0x02  # symbolic, magic


@dataclass(frozen=True, slots=True)
class Confinement:
    """What a confined process reaches.

    Attributes:
        roots: paths and `FileRights` beneath them. None may be reached through a
            symbolic link, or nothing runs: somebody may have put it there.
        runs_programs: whether it executes a program, which takes the interpreter and
            the loader as well.
    """

    roots: tuple[tuple[bytes, int], ...] = ()
    runs_programs: bool = False


def landlock_abi() -> int:
    """Return which version of Landlock this kernel has; 0 for none."""
    if sys.platform != "linux":
        return 0
    try:
        return call("landlock_create_ruleset", 0, 0, _VERSION)
    except OSError:
        return 0


def confine(confinement: Confinement, abi: int | None = None) -> None:
    """Confine this process, and all that it will start, for good.

    1. The kernel can do all that is needed.
    2. No new privileges.
    3. Open the roots, as the client; then what is needed to run.
    4. Restrict what can be opened.
    5. Deny the calls that Landlock does not see.
    6. Prove it.

    Args:
        confinement: what it reaches.
        abi: the version of Landlock to use; the kernel's own if not given.

    Raises:
        OSError: something could not be done; the process must end.
    """
    abi = landlock_abi() if abi is None else abi
    if abi < LEAST_ABI:
        raise OSError(
            errno.ENOSYS, f"Landlock's version is {abi}, {LEAST_ABI} is needed"
        )
    call("prctl", _PR_SET_NO_NEW_PRIVS, 1)
    ruleset = _ruleset(abi)
    try:
        for path, rights in confinement.roots:
            _allow(ruleset, _opened(path, _RESOLVE_NO_LINKS), accesses(rights))
        for needed, access in runtime(runs_programs=confinement.runs_programs):
            _allow_if_there(ruleset, needed, access)
        call("landlock_restrict_self", ruleset, 0)
    finally:
        os.close(ruleset)
    machine = architecture(os.uname().machine)
    seccomp.install(program(abi, machine=machine, process=os.getpid()))
    _prove()


def accesses(rights: int) -> int:
    """Return Landlock's accesses that `FileRights` beneath a root stand for.

    To append without writing is nothing that Landlock knows, so it is nothing. Links,
    sockets, FIFOs and devices are never made.
    """
    found = 0
    if rights & FileRights.READ_DATA:
        found |= _READ
    if rights & FileRights.EXECUTE:
        found |= _EXECUTE
    if rights & FileRights.WRITE_DATA:
        found |= _WRITE
    if rights & FileRights.APPEND_DATA:  # ADD_SUBDIRECTORY of directories
        found |= _MAKE_DIR
    if rights & (FileRights.DELETE_CHILD | AccessMask.DELETE):
        found |= _REMOVE
    if found & _WRITE_FILE and found & _REMOVE_FILE:
        found |= _REFER  # moved from one directory to another, within the roots
    return found


# --- what is needed to run ----------------------------------------------------------


def runtime(*, runs_programs: bool) -> Iterator[tuple[str, int]]:
    """Yield what every confined process may read, and why it is as little as that.

    - the standard library, which Python imports from as it goes;
    - the system's shared libraries and the loader's list of them, which extension
      modules and programs are linked with;
    - `/dev/null`, `/dev/zero` and `/dev/urandom`;
    - for programs: the loader, and this interpreter with its library and `pyvenv.cfg`.

    Modules of an application are not among them: they are loaded beforehand, or lie
    beneath a root.
    """
    yield str(Path(os.__file__).parent), _READ
    for entry in sys.path:
        if entry.endswith("/lib-dynload"):
            yield entry, _READ
    for folder in _library_folders(os.uname().machine):
        yield folder, _READ
    yield "/etc/ld.so.cache", _READ_FILE
    yield "/dev/null", _READ_FILE | _WRITE_FILE
    yield "/dev/zero", _READ_FILE
    yield "/dev/urandom", _READ_FILE
    if runs_programs:
        yield from _of_programs(os.uname().machine)


def _library_folders(machine: str) -> Iterator[str]:
    own = [f"{above}/{machine}-linux-gnu" for above in ("/lib", "/usr/lib")]
    yield from own if any(map(os.path.isdir, own)) else ("/lib", "/usr/lib")
    yield from ("/lib64", "/usr/lib64")


def _of_programs(machine: str) -> Iterator[tuple[str, int]]:
    loaders = {
        "x86_64": ("/lib64/ld-linux-x86-64.so.2", "/lib/ld-musl-x86_64.so.1"),
        "aarch64": ("/lib/ld-linux-aarch64.so.1", "/lib/ld-musl-aarch64.so.1"),
    }
    for loader in loaders.get(machine, ()):
        yield loader, _READ_FILE | _EXECUTE
    yield sys.executable, _READ_FILE | _EXECUTE
    yield f"{Path(sys.executable).parents[1]}/pyvenv.cfg", _READ_FILE
    major, minor = sys.version_info[:2]
    for name in (f"libpython{major}.{minor}.so.1.0", f"libpython{major}.so"):
        yield f"{sys.base_prefix}/lib/{name}", _READ_FILE


# --- files: Landlock ----------------------------------------------------------------


def _ruleset(abi: int) -> int:
    files = _EVERY_ACCESS | (_IOCTL_DEV if abi >= _KNOWS_DEVICES else 0)
    attributes = struct.pack("=Q", files)
    if abi >= _KNOWS_PORTS:
        attributes += struct.pack("=Q", _EVERY_PORT)
    if abi >= _SCOPES_SIGNALS:
        attributes += struct.pack("=Q", _EVERY_SCOPE)
    return call("landlock_create_ruleset", attributes, len(attributes), 0)


def _opened(path: bytes, resolve: int = 0) -> int:
    how = struct.pack("=QQQ", os.O_PATH | os.O_CLOEXEC, 0, resolve)
    return call_waiting("openat2", _AT_FDCWD, path, how, len(how))


def _allow(ruleset: int, place: int, access: int) -> None:
    """Allow accesses at a place and beneath it, and close it."""
    try:
        if not stat.S_ISDIR(os.fstat(place).st_mode):
            access &= _OF_FILES
        if access:
            rule = struct.pack("=Qi", access, place)
            call("landlock_add_rule", ruleset, _PATH_BENEATH, rule, 0)
    finally:
        os.close(place)


def _allow_if_there(ruleset: int, path: str, access: int) -> None:
    try:
        place = _opened(os.fsencode(path))
    except OSError:
        return  # another system's, or closed to the client: then nothing is lost
    _allow(ruleset, place, access)


# --- calls: the filter --------------------------------------------------------------

# Each call stands under the reason why it is denied.
DENIED: Final = (
    # They speak to whom Landlock does not look at: services of the same user behind
    # sockets in the file system, datagrams, queues and memory of System V and POSIX.
    *("socket", "connect", "bind", "listen"),
    *("mq_open", "mq_unlink", "shmget", "shmat", "shmctl", "msgget", "msgsnd"),
    *("msgrcv", "msgctl", "semget", "semop", "semtimedop", "semctl"),
    *("add_key", "request_key", "keyctl"),
    # They change what a file is without opening it.
    *("chmod", "fchmod", "fchmodat", "fchmodat2", "chown", "fchown", "lchown"),
    *("fchownat", "setxattr", "lsetxattr", "fsetxattr", "setxattrat", "removexattr"),
    *("lremovexattr", "fremovexattr", "removexattrat", "utime", "utimes", "futimesat"),
    *("utimensat", "file_setattr", "quotactl"),
    # They watch what is done to files that could not be opened.
    *("inotify_add_watch", "fanotify_init", "fanotify_mark", "name_to_handle_at"),
    "open_by_handle_at",
    # They reach into processes, or act with credentials of another time.
    *("ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "kcmp"),
    *("process_mrelease", "pidfd_getfd", "migrate_pages", "move_pages"),
    "get_robust_list",
    *("io_uring_setup", "io_uring_enter", "io_uring_register"),
    # They make namespaces, in which a process has capabilities, and other views.
    *("unshare", "setns", "mount", "umount2", "pivot_root", "chroot", "open_tree"),
    *("open_tree_attr", "move_mount", "fsopen", "fsconfig", "fsmount", "fspick"),
    "mount_setattr",
    # They are much of the kernel's surface, and no work of a client needs them.
    *("bpf", "perf_event_open", "userfaultfd", "syslog", "lsm_set_self_attr"),
)
# Without a scope for signals: whoever is sent one may be the client's other process.
_SENDS_SIGNALS: Final = (
    *("kill", "tkill", "pidfd_send_signal", "rt_sigqueueinfo", "rt_tgsigqueueinfo"),
)
# What terminals, pipes and copies need: nothing that acts on devices or flags of files.
_IOCTLS: Final = (
    *(0x5401, 0x5402, 0x5403, 0x5404, 0x540F, 0x5410, 0x5413, 0x5414, 0x541B),
    *(0x5421, 0x5429, 0x5450, 0x5451, 0x802C_542A, 0x4004_9409),
)
# All but those by which descriptors send signals, lease and watch.
_FCNTLS: Final = (*range(8), *range(36, 39), *range(1030, 1035))
_OF_ONE_PROCESS: Final = (
    *("prlimit64", "sched_setaffinity", "sched_setscheduler", "sched_setparam"),
    "sched_setattr",
)
_CLONE_NEW: Final = 0x7E02_0080  # every namespace
_CLONE, _CLONE3 = "clone", "clone3"
# Instructions of the kernel's packet filter: load, compare, test bits, return.
_LOAD, _EQUAL, _ANY_BIT, _RETURN = 0x20, 0x15, 0x45, 0x06
_FIRST_ARGUMENT: Final = 16
_ALLOW: Final = 0x7FFF_0000


def rules(abi: int, process: int) -> tuple[Rule, ...]:
    """Return the table: the calls that a confined process may not make, or only so.

    Args:
        abi: the version of Landlock beside it.
        process: this process.
    """
    myself = (*_word(0, 0), *_high(0, 0))
    kinds = [k | flags for k in (1, 5) for flags in (0, 0x800, 0x8_0000, 0x8_0800)]
    table = [
        *map(Rule, DENIED),
        # A pair of datagram sockets could still be sent elsewhere.
        Rule("socketpair", tuple((*_word(0, 1), *_word(1, kind)) for kind in kinds)),
        Rule("ioctl", tuple(_word(1, number) for number in _IOCTLS)),
        Rule("setpriority", ((*_word(0, 0), *_word(1, 0)),)),
        Rule("ioprio_set", ((*_word(0, 1), *_word(1, 0)),)),
    ]
    table += [Rule(name, (myself,)) for name in _OF_ONE_PROCESS]
    if abi < _SCOPES_SIGNALS:
        table += map(Rule, _SENDS_SIGNALS)
        table.append(Rule("tgkill", (_word(0, process),)))
        table.append(Rule("fcntl", tuple(_word(1, number) for number in _FCNTLS)))
    return tuple(table)


def program(abi: int, *, machine: Architecture, process: int) -> bytes:
    """Return the filter's program for a machine and process; see `rules`."""
    table = rules(abi, process)
    clone, clone3 = machine.numbers[_CLONE], machine.numbers[_CLONE3]
    before = (
        # Its flags lie in memory that a filter cannot read: libc then takes `clone`.
        (_EQUAL, 0, 1, clone3),
        (_RETURN, 0, 0, seccomp.RETURN_ERRNO | errno.ENOSYS),
        (_EQUAL, 0, 4, clone),
        (_LOAD, 0, 0, _FIRST_ARGUMENT),
        (_ANY_BIT, 0, 1, _CLONE_NEW),
        (_RETURN, 0, 0, seccomp.RETURN_ERRNO | errno.EPERM),
        (_RETURN, 0, 0, _ALLOW),
    )
    return seccomp.assemble(table, machine, before=before)


def _word(index: int, value: int) -> tuple[tuple[int, int], ...]:
    # Both architectures are little-endian: the low word comes first.
    return ((_FIRST_ARGUMENT + 8 * index, value & 0xFFFF_FFFF),)


def _high(index: int, value: int) -> tuple[tuple[int, int], ...]:
    return ((_FIRST_ARGUMENT + 8 * index + 4, value),)


# --- the proof ----------------------------------------------------------------------


def _prove() -> None:
    """Try what must be refused, and raise if it is not."""
    for attempt in (_read_root, _make_socket):
        try:
            attempt()
        except PermissionError:
            continue
        raise OSError(errno.EPERM, "the process is not confined")


def _read_root() -> None:
    os.close(os.open("/", os.O_RDONLY | os.O_DIRECTORY))


def _make_socket() -> None:
    socket.socket(socket.AF_UNIX, socket.SOCK_STREAM).close()
