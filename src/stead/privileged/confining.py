"""Confine a process for good to what limits leave: Landlock, and a filter beside it.

It is done by the process itself, once it is the client for good and before anything of
the client's runs. From then on it and all that it starts reach

- files beneath the confinement's roots, with the rights given there;
- what Python and programs need to run at all, to be read only (`confinement.runtime`);
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
from typing import Final

from stead.errors import KernelRefusedError
from stead.privileged import seccomp
from stead.privileged.confinement import (
    EXECUTE,
    READ_FILE,
    TRUNCATE,
    WRITE_FILE,
    Confinement,
    accesses,
    runtime,
)
from stead.privileged.confinement_filter import SCOPES_SIGNALS, program
from stead.privileged.syscalls import architecture, call, call_waiting, words_of

LEAST_ABI: Final = 3
"""Linux 6.2. Before it, truncating a file is outside Landlock's reach."""
_KNOWS_PORTS: Final = 4
_KNOWS_DEVICES: Final = 5

_EVERY_ACCESS: Final = (1 << 15) - 1
_IOCTL_DEV: Final = 1 << 15
_OF_FILES: Final = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE
_EVERY_PORT: Final = 0b11  # binding, connecting
_EVERY_SCOPE: Final = 0b11  # abstract sockets, signals
_VERSION: Final = 1
_PATH_BENEATH: Final = 1
_PR_SET_NO_NEW_PRIVS: Final = 38
_AT_FDCWD: Final = 2**64 - 100
_RESOLVE_NO_LINKS: Final = 0x04 | 0x02  # symbolic, magic


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
        KernelRefusedError: a root is not there, or lies behind a link.
        OSError: something could not be done. In each case the process must end.
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
            _allow(ruleset, _root(path), accesses(rights))
        for needed, access in runtime(runs_programs=confinement.runs_programs):
            _allow_if_there(ruleset, needed, access)
        call("landlock_restrict_self", ruleset, 0)
    finally:
        os.close(ruleset)
    machine = architecture(os.uname().machine)
    seccomp.install(program(abi, machine=machine, process=os.getpid()))
    _prove()


# --- files: Landlock ----------------------------------------------------------------


def _ruleset(abi: int) -> int:
    files = _EVERY_ACCESS | (_IOCTL_DEV if abi >= _KNOWS_DEVICES else 0)
    attributes = struct.pack("=Q", files)
    if abi >= _KNOWS_PORTS:
        attributes += struct.pack("=Q", _EVERY_PORT)
    if abi >= SCOPES_SIGNALS:
        attributes += struct.pack("=Q", _EVERY_SCOPE)
    return call("landlock_create_ruleset", attributes, len(attributes), 0)


def _root(path: bytes) -> int:
    """Open a root through no link, and say which one if that fails."""
    try:
        return _opened(path, _RESOLVE_NO_LINKS)
    except OSError as error:
        shown = os.fsdecode(path)
        raise KernelRefusedError(
            f"file root `{shown}` cannot be opened: {words_of(error)}",
            errno=error.errno or 0,
            object_name=shown,
        ) from error


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
