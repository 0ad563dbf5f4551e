"""The filter of a confined process: the calls that Landlock does not see.

Landlock says which files may be opened, made, moved and removed. It says nothing about
permissions, owners, times and attributes, nor about sockets in the file system, System
V's shared memory or limits of other processes. What else reaches out of a confinement
is denied here; `stead.privileged.seccomp` turns the table into the kernel's program.
"""

from __future__ import annotations

import errno
from typing import Final

from stead.privileged import seccomp
from stead.privileged.seccomp import Rule
from stead.privileged.syscalls import Architecture

SCOPES_SIGNALS: Final = 6
"""The version of Landlock that keeps signals within a confinement."""

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
# They read what is kept beside a file without opening it; programs that ask for access
# control lists take it that there are none.
UNSUPPORTED: Final = (
    *("getxattr", "lgetxattr", "getxattrat", "listxattr", "llistxattr", "listxattrat"),
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
    if abi < SCOPES_SIGNALS:
        table += map(Rule, _SENDS_SIGNALS)
        table.append(Rule("tgkill", (_word(0, process),)))
        table.append(Rule("fcntl", tuple(_word(1, number) for number in _FCNTLS)))
    return tuple(table)


def program(abi: int, *, machine: Architecture, process: int) -> bytes:
    """Return the filter's program for a machine and process; see `rules`."""
    table = rules(abi, process)
    clone, clone3 = machine.numbers[_CLONE], machine.numbers[_CLONE3]
    before: tuple[seccomp.Instruction, ...] = (
        # Its flags lie in memory that a filter cannot read: libc then takes `clone`.
        (_EQUAL, 0, 1, clone3),
        (_RETURN, 0, 0, seccomp.RETURN_ERRNO | errno.ENOSYS),
        (_EQUAL, 0, 4, clone),
        (_LOAD, 0, 0, _FIRST_ARGUMENT),
        (_ANY_BIT, 0, 1, _CLONE_NEW),
        (_RETURN, 0, 0, seccomp.RETURN_ERRNO | errno.EPERM),
        (_RETURN, 0, 0, _ALLOW),
    )
    refused = (_RETURN, 0, 0, seccomp.RETURN_ERRNO | errno.EOPNOTSUPP)
    for name in UNSUPPORTED:
        before = ((_EQUAL, 0, 1, machine.numbers[name]), refused, *before)
    return seccomp.assemble(table, machine, before=before)


def _word(index: int, value: int) -> tuple[tuple[int, int], ...]:
    # Both architectures are little-endian: the low word comes first.
    return ((_FIRST_ARGUMENT + 8 * index, value & 0xFFFF_FFFF),)


def _high(index: int, value: int) -> tuple[tuple[int, int], ...]:
    return ((_FIRST_ARGUMENT + 8 * index + 4, value),)
