"""What a confined process reaches, as a value, and what that is to Landlock.

Landlock (landlock(7)) knows accesses to what lies beneath a place. A confinement says
`FileRights` beneath roots; what every process needs to run at all comes with it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from stead.model.access_mask import AccessMask, FileRights

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
REMOVE_DIR, REMOVE_FILE, MAKE_DIR, MAKE_REG = 1 << 4, 1 << 5, 1 << 7, 1 << 8
REFER, TRUNCATE = 1 << 13, 1 << 14
_READ: Final = READ_FILE | READ_DIR
_WRITE: Final = WRITE_FILE | TRUNCATE | MAKE_REG
_REMOVE: Final = REMOVE_FILE | REMOVE_DIR


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


def accesses(rights: int) -> int:
    """Return Landlock's accesses that `FileRights` beneath a root stand for.

    To append without writing is nothing that Landlock knows, so it is nothing. Links,
    sockets, FIFOs and devices are never made.
    """
    found = 0
    if rights & FileRights.READ_DATA:
        found |= _READ
    if rights & FileRights.EXECUTE:
        found |= EXECUTE
    if rights & FileRights.WRITE_DATA:
        found |= _WRITE
    if rights & FileRights.APPEND_DATA:  # ADD_SUBDIRECTORY of directories
        found |= MAKE_DIR
    if rights & (FileRights.DELETE_CHILD | AccessMask.DELETE):
        found |= _REMOVE
    if found & WRITE_FILE and found & REMOVE_FILE:
        found |= REFER  # moved from one directory to another, within the roots
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
    yield "/etc/ld.so.cache", READ_FILE
    yield "/dev/null", READ_FILE | WRITE_FILE
    yield "/dev/zero", READ_FILE
    yield "/dev/urandom", READ_FILE
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
        yield loader, READ_FILE | EXECUTE
    yield sys.executable, READ_FILE | EXECUTE
    yield f"{Path(sys.executable).parents[1]}/pyvenv.cfg", READ_FILE
    major, minor = sys.version_info[:2]
    for name in (f"libpython{major}.{minor}.so.1.0", f"libpython{major}.so"):
        yield f"{sys.base_prefix}/lib/{name}", READ_FILE
