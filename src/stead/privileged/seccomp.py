"""The filter of a hardened thread: what a mistake on it can no longer do.

A thread that impersonates keeps the saved uid 0, its way back. So every call that
could take that way by mistake, carry it out of the thread, reach past the kernel's
judgment of the client, or leave something behind for the next client, is denied for
the rest of the thread's life. The filter stops mistakes. It does not stop hostile code
inside the server, which can read the seal from memory.

The switching calls themselves pass only with the thread's *seal*, 64 random bits in
the fourth argument, which the kernel ignores and the filter compares. So when another
thread calls ``os.seteuid`` or ``os.setgroups``, whose libc wrappers make every thread
follow, this thread refuses and libc ends the process: it fails closed.

The table is `rules`; `assemble` turns it into a program of the kernel's classic packet
filter (linux/filter.h); `install` attaches that to the calling thread, for good.
"""

from __future__ import annotations

import ctypes
import errno
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from stead.privileged.syscalls import LAST_KNOWN, LEAVE_UNCHANGED, call

if TYPE_CHECKING:
    from stead.privileged.syscalls import Architecture

# Each call stands under the reason why it is denied.
DENIED: Final = (
    # They change who the thread is. The three that we make ourselves are in `rules`.
    *("setuid", "setgid", "setreuid", "setregid", "setfsuid", "setfsgid", "capset"),
    "lsm_set_self_attr",
    # They make a thread or process that inherits the saved uid 0, and so the way back.
    *("fork", "vfork", "clone", "clone3", "execve", "execveat"),
    # They act with credentials that were taken at another time.
    *("io_uring_setup", "io_uring_enter", "io_uring_register"),
    # They reach into processes: as guard, two impersonating threads are one user.
    *("ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "kcmp"),
    *("pidfd_getfd", "pidfd_send_signal", "kill", "tkill"),
    *("rt_sigqueueinfo", "rt_tgsigqueueinfo"),
    # They bring back procfs, or put other files under the names that are judged.
    *("unshare", "setns", "mount", "umount2", "pivot_root", "chroot", "open_tree"),
    *("open_tree_attr", "move_mount", "fsopen", "fsconfig", "fsmount", "fspick"),
    "mount_setattr",
    # They stay with the thread, and the next client would find them.
    *("chdir", "fchdir", "add_key", "request_key", "keyctl", "personality"),
    *("seccomp", "landlock_restrict_self"),
    # They reach past paths, memory and identities, and no client's work needs them.
    *("open_by_handle_at", "bpf", "perf_event_open", "userfaultfd"),
)

# The harmless options of prctl: a thread's name, and malloc's names for memory.
_PR_SET_NAME: Final = 15
_PR_GET_NAME: Final = 16
_PR_SET_VMA: Final = 0x5356_4D41

_SECCOMP_SET_MODE_FILTER: Final = 1
_RETURN_ALLOW: Final = 0x7FFF_0000
RETURN_ERRNO: Final = 0x0005_0000

# Instructions: load a 32-bit word of seccomp_data, compare, return.
_LOAD, _EQUAL, _GREATER, _RETURN = 0x20, 0x15, 0x25, 0x06
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16
_LONGEST_JUMP: Final = 255

Instruction = tuple[int, int, int, int]
Word = tuple[int, int]
"""An offset in seccomp_data, and the 32 bits that must stand there."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What the filter does with one system call.

    Attributes:
        name: the call.
        alternatives: it passes if every word of one of these matches, and is denied
            with EPERM otherwise; with no alternatives it is always denied.
    """

    name: str
    alternatives: tuple[tuple[Word, ...], ...] = ()


def rules(guard: int, seal: int, process: int) -> tuple[Rule, ...]:
    """Return the table for one thread: the calls it may no longer make, or only so.

    Args:
        guard: the real id while impersonating.
        seal: what our own switching calls carry.
        process: this process, the only one the thread may signal (abort needs it).
    """
    sealed = _whole(3, seal)
    keep_saved = _whole(2, LEAVE_UNCHANGED)
    switch = (
        (*_whole(0, guard), *keep_saved, *sealed),
        (*_whole(0, 0), *_whole(1, 0), *keep_saved, *sealed),
    )
    return (
        Rule("setresuid", switch),  # first, because the kernel reads from the top
        Rule("setresgid", switch),
        Rule("setgroups", (sealed,)),
        *(Rule(name) for name in DENIED),
        Rule("tgkill", ((_low(0, process),),)),
        Rule(
            "prctl",
            tuple(
                (_low(0, option),)
                for option in (_PR_SET_NAME, _PR_GET_NAME, _PR_SET_VMA)
            ),
        ),
    )


def assemble(
    table: tuple[Rule, ...],
    architecture: Architecture,
    *,
    before: tuple[Instruction, ...] = (),
) -> bytes:
    """Turn a table of rules into a program for the kernel.

    1. Deny another architecture's calls: their numbers mean something else.
    2. Answer "no such call" above the newest number that the table was checked
       against, which covers the x32 numbers too.
    3. Judge the calls that the table names.
    4. Allow the rest.

    Args:
        table: the rules.
        architecture: whose numbers they become.
        before: what is done before step 3, with the call's number loaded; it must be
            loaded still where that ends.

    Raises:
        ValueError: a rule is longer than a jump can reach.
    """
    program = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUAL, 1, 0, architecture.audit_arch),
        _deny(errno.EPERM),
        (_LOAD, 0, 0, _NUMBER),
        (_GREATER, 0, 1, LAST_KNOWN),
        _deny(errno.ENOSYS),
        *before,
    ]
    for rule in table:
        number = architecture.numbers.get(rule.name)
        if number is not None:  # aarch64 never had fork and vfork
            program += _judge(number, rule)
    program.append((_RETURN, 0, 0, _RETURN_ALLOW))
    return b"".join(struct.pack("=HBBI", *line) for line in program)


def install(program: bytes) -> None:
    """Attach the program to the calling thread, for good.

    Raises:
        OSError: the kernel refused; it asks for CAP_SYS_ADMIN.
    """
    code = ctypes.create_string_buffer(program, len(program))
    # struct sock_fprog: the count of instructions, padding, and their address.
    header = struct.pack("=HxxxxxxQ", len(program) // 8, ctypes.addressof(code))
    call("seccomp", _SECCOMP_SET_MODE_FILTER, 0, header)


def _judge(number: int, rule: Rule) -> list[Instruction]:
    body: list[Instruction] = []
    for alternative in rule.alternatives:
        body += _alternative(alternative)
    body.append(_deny(errno.EPERM))
    return [(_EQUAL, 0, _jump(len(body)), number), *body]


def _alternative(words: tuple[Word, ...]) -> list[Instruction]:
    lines: list[Instruction] = []
    for index, (offset, value) in enumerate(words):
        # A word that differs skips the words that remain, and the "allow" after them.
        skip = _jump(2 * (len(words) - index - 1) + 1)
        lines += [(_LOAD, 0, 0, offset), (_EQUAL, 0, skip, value)]
    return [*lines, (_RETURN, 0, 0, _RETURN_ALLOW)]


def _jump(distance: int) -> int:
    if distance > _LONGEST_JUMP:
        raise ValueError("a rule is longer than a jump of the filter can reach")
    return distance


def _deny(number: int) -> Instruction:
    return (_RETURN, 0, 0, RETURN_ERRNO | number)


def _low(index: int, value: int) -> Word:
    # Both architectures are little-endian: the low word comes first.
    return (_ARGUMENTS + 8 * index, value & 0xFFFF_FFFF)


def _whole(index: int, value: int) -> tuple[Word, Word]:
    return (_low(index, value), (_ARGUMENTS + 8 * index + 4, value >> 32))
