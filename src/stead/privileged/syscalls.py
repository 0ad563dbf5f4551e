"""System calls by number, never through libc's wrappers.

libc's ``setresuid`` and its kin change every thread of the process (POSIX asks for
that). The kernel's own calls change the calling thread alone, which is the whole point
here. The numbers are those of the kernel's tables for x86_64 and aarch64.

Two ways to call: `call` keeps the interpreter's lock, so that no other Python thread
runs in the middle of a switch; `call_waiting` releases it, for calls that may take the
disk's or the network's time.

Memory is handed over as it is, never by ``ctypes.addressof``: that is an audited event
(PEP 578), and an audit hook is anybody's code in the middle of a switch.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
import sys
from dataclasses import dataclass
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from stead.errors import EnforcementUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Argument = int | bytes | ctypes.Array[Any]

LEAVE_UNCHANGED: Final = 0xFFFF_FFFF
"""What the set*id calls read as "keep the one you have"; never a uid or gid."""

LAST_KNOWN: Final = 469
"""The newest number this table was checked against (file_setattr, Linux 6.17)."""

AUDIT_ARCHITECTURES: Final = MappingProxyType(
    {"x86_64": 0xC000_003E, "aarch64": 0xC000_00B7},
)
"""What a filter sees as the calling convention: AUDIT_ARCH_* of linux/audit.h."""

# name: (x86_64, aarch64); None where that architecture has no such call.
_TABLE: Final[Mapping[str, tuple[int | None, int | None]]] = MappingProxyType(
    {
        "add_key": (248, 217),
        "bind": (49, 200),
        "bpf": (321, 280),
        "capget": (125, 90),
        "capset": (126, 91),
        "chdir": (80, 49),
        "chmod": (90, None),
        "chown": (92, None),
        "chroot": (161, 51),
        "clone": (56, 220),
        "clone3": (435, 435),
        "close_range": (436, 436),
        "connect": (42, 203),
        "execve": (59, 221),
        "execveat": (322, 281),
        "fanotify_init": (300, 262),
        "fanotify_mark": (301, 263),
        "fchdir": (81, 50),
        "fchmod": (91, 52),
        "fchmodat": (268, 53),
        "fchmodat2": (452, 452),
        "fchown": (93, 55),
        "fchownat": (260, 54),
        "fcntl": (72, 25),
        "file_setattr": (469, 469),
        "fork": (57, None),
        "fremovexattr": (199, 16),
        "fsconfig": (431, 431),
        "fsetxattr": (190, 7),
        "fsmount": (432, 432),
        "fsopen": (430, 430),
        "fspick": (433, 433),
        "fstatfs": (138, 44),
        "futimesat": (261, None),
        "get_robust_list": (274, 100),
        "getgroups": (115, 158),
        "getresgid": (120, 150),
        "getresuid": (118, 148),
        "getxattr": (191, 8),
        "getxattrat": (464, 464),
        "inotify_add_watch": (254, 27),
        "io_uring_enter": (426, 426),
        "io_uring_register": (427, 427),
        "io_uring_setup": (425, 425),
        "ioctl": (16, 29),
        "ioprio_get": (252, 31),
        "ioprio_set": (251, 30),
        "kcmp": (312, 272),
        "keyctl": (250, 219),
        "kill": (62, 129),
        "landlock_add_rule": (445, 445),
        "landlock_create_ruleset": (444, 444),
        "landlock_restrict_self": (446, 446),
        "lchown": (94, None),
        "lgetxattr": (192, 9),
        "listen": (50, 201),
        "listxattr": (194, 11),
        "listxattrat": (465, 465),
        "llistxattr": (195, 12),
        "lremovexattr": (198, 15),
        "lsetxattr": (189, 6),
        "lsm_set_self_attr": (460, 460),
        "migrate_pages": (256, 238),
        "mount": (165, 40),
        "mount_setattr": (442, 442),
        "move_mount": (429, 429),
        "move_pages": (279, 239),
        "mq_open": (240, 180),
        "mq_unlink": (241, 181),
        "msgctl": (71, 187),
        "msgget": (68, 186),
        "msgrcv": (70, 188),
        "msgsnd": (69, 189),
        "name_to_handle_at": (303, 264),
        "open_by_handle_at": (304, 265),
        "open_tree": (428, 428),
        "open_tree_attr": (467, 467),
        "openat2": (437, 437),
        "perf_event_open": (298, 241),
        "personality": (135, 92),
        "pidfd_getfd": (438, 438),
        "pidfd_send_signal": (424, 424),
        "pivot_root": (155, 41),
        "prctl": (157, 167),
        "prlimit64": (302, 261),
        "process_madvise": (440, 440),
        "process_mrelease": (448, 448),
        "process_vm_readv": (310, 270),
        "process_vm_writev": (311, 271),
        "ptrace": (101, 117),
        "quotactl": (179, 60),
        "removexattr": (197, 14),
        "removexattrat": (466, 466),
        "request_key": (249, 218),
        "rt_sigqueueinfo": (129, 138),
        "rt_tgsigqueueinfo": (297, 240),
        "sched_setaffinity": (203, 122),
        "sched_setattr": (314, 274),
        "sched_setparam": (142, 118),
        "sched_setscheduler": (144, 119),
        "seccomp": (317, 277),
        "semctl": (66, 191),
        "semget": (64, 190),
        "semop": (65, 193),
        "semtimedop": (220, 192),
        "setfsgid": (123, 152),
        "setfsuid": (122, 151),
        "setgid": (106, 144),
        "setgroups": (116, 159),
        "setns": (308, 268),
        "setpriority": (141, 140),
        "setregid": (114, 143),
        "setresgid": (119, 149),
        "setresuid": (117, 147),
        "setreuid": (113, 145),
        "setuid": (105, 146),
        "setxattr": (188, 5),
        "setxattrat": (463, 463),
        "shmat": (30, 196),
        "shmctl": (31, 195),
        "shmget": (29, 194),
        "socket": (41, 198),
        "socketpair": (53, 199),
        "statx": (332, 291),
        "syslog": (103, 116),
        "tgkill": (234, 131),
        "tkill": (200, 130),
        "umount2": (166, 39),
        "unshare": (272, 97),
        "userfaultfd": (323, 282),
        "utime": (132, None),
        "utimensat": (280, 88),
        "utimes": (235, None),
        "vfork": (58, None),
    },
)


@dataclass(frozen=True, slots=True)
class Architecture:
    """One calling convention of the kernel.

    Attributes:
        name: as ``uname -m`` prints it.
        audit_arch: what a seccomp filter sees.
        numbers: the calls that exist here, by name.
    """

    name: str
    audit_arch: int
    numbers: Mapping[str, int]


def architecture(machine: str) -> Architecture:
    """Return the tables of the machine that ``uname -m`` calls `machine`.

    Raises:
        EnforcementUnavailableError: there are none for it, or this interpreter is a
            32-bit one, whose calls have other numbers.
    """
    if machine not in AUDIT_ARCHITECTURES or sys.maxsize < 2**32:
        raise EnforcementUnavailableError(
            f"kernel enforcement knows no system calls for `{machine}`",
            advice="run a 64-bit Python on Linux, on x86_64 or aarch64",
        )
    column = list(AUDIT_ARCHITECTURES).index(machine)
    numbers = {name: row[column] for name, row in _TABLE.items()}
    return Architecture(
        machine,
        AUDIT_ARCHITECTURES[machine],
        MappingProxyType({k: v for k, v in numbers.items() if v is not None}),
    )


def call(name: str, *arguments: Argument) -> int:
    """Make the system call, keeping the interpreter's lock.

    All six argument registers are always written: what the call does not take is zero.
    INVARIANT: so no register keeps a seal (see ``seccomp``) after the next call here.

    Args:
        name: the call, as the kernel's table names it.
        arguments: up to six: a number, bytes that the kernel only reads (a NUL
            follows them), or an array that it may write.

    Returns:
        What the kernel returned.

    Raises:
        OSError: the kernel refused.
    """
    kernel = _kernel()
    return _checked(kernel.holding(*_registers(kernel, name, arguments)))


def call_waiting(name: str, *arguments: Argument) -> int:
    """Make the system call with the interpreter's lock released; see `call`.

    A call that a signal interrupts is made again (PEP 475).
    """
    kernel = _kernel()
    registers = _registers(kernel, name, arguments)
    while True:
        try:
            return _checked(kernel.releasing(*registers))
        except InterruptedError:
            continue


def words_of(error: OSError) -> str:
    """Return the kernel's own words for an error, as our messages begin."""
    words = str(error.strerror)
    return words[:1].lower() + words[1:]


@dataclass(frozen=True, slots=True)
class _Kernel:
    """The two doors to the kernel, and its numbers on this machine.

    A door takes a number and six registers, and returns minus errno if it is refused.
    """

    holding: Callable[..., int]
    releasing: Callable[..., int]
    numbers: Mapping[str, int]


@functools.cache
def _kernel() -> _Kernel:
    """Open the doors once, at the first call and not at import."""
    numbers = architecture(os.uname().machine).numbers
    twin = load()
    if twin is not None:
        return _Kernel(twin.holding, twin.releasing, numbers)
    return _Kernel(
        door_of(ctypes.PyDLL(None, use_errno=True)),
        door_of(ctypes.CDLL(None, use_errno=True)),
        numbers,
    )


def load(name: str = "stead.privileged._switch") -> Any:
    """Return the twin in C (``_switch.c``), or None if it was not built."""
    try:
        return import_module(name)
    except ImportError:
        return None


def door_of(library: ctypes.CDLL) -> Callable[..., int]:
    """Return libc's `syscall` as a door; a PyDLL's keeps the interpreter's lock."""
    libcs = library.syscall
    # A register takes a number as well as an address.
    libcs.argtypes = (ctypes.c_uint64, *(ctypes.c_void_p,) * 6)
    libcs.restype = ctypes.c_long

    def door(*registers: Argument) -> int:
        result: int = libcs(*registers)
        return -ctypes.get_errno() if result == -1 else result

    return door


def _registers(
    kernel: _Kernel, name: str, arguments: tuple[Argument, ...]
) -> tuple[Argument, ...]:
    if name not in kernel.numbers:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    return (kernel.numbers[name], *arguments, *(0,) * (6 - len(arguments)))


def _checked(result: int) -> int:
    if result < 0:
        raise OSError(-result, os.strerror(-result))
    return result
