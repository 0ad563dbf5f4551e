"""Open a file as the client, on a hardened thread, and hand back the descriptor.

The kernel judges the whole path as the client. What is opened is a regular file or a
directory, never a FIFO, socket or device: those block, or act when they are opened.

The path is looked at first by a descriptor that opens nothing (O_PATH), so that a
special file is not touched. Then it is opened, never waiting, and what was opened is
looked at again: between the two the client may put something else there. It gains
nothing by that: the second look refuses a special file, and until then it was opened
with the client's own rights and O_NONBLOCK. No magic link of procfs is followed.

`look` is the first of these looks alone, for code that opens by itself in a block.

What can still make the call wait is the file system itself: a FUSE mount of the
client's, a network server, an automount. Where that matters, use the client's own
process.
"""

from __future__ import annotations

import errno
import os
import stat
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from stead.errors import (
    InvalidNameError,
    InvalidRequestError,
    KernelRefusedError,
    NotARegularFileError,
)
from stead.privileged.hardened_thread import KernelBlock
from stead.privileged.hardening import is_procfs
from stead.privileged.syscalls import call_waiting, words_of

if TYPE_CHECKING:
    from stead.model.posix_identity import PosixIdentity

_AT_FDCWD: Final = 2**64 - 100
_RESOLVE_NO_MAGICLINKS: Final = 0x02
_RESOLVE_NO_LINKS: Final = 0x04 | _RESOLVE_NO_MAGICLINKS
_RESOLVE_BENEATH: Final = 0x08 | _RESOLVE_NO_MAGICLINKS
_MODE_BITS: Final = 0o7777
_OFFERED: Final = (
    os.O_ACCMODE | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_TRUNC | os.O_CLOEXEC
    | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_SYNC | os.O_DSYNC | os.O_NONBLOCK
)  # fmt: skip
_OWN_FILE: Final = 0o600


def open_as(
    identity: PosixIdentity,
    path: str | bytes | os.PathLike[str],
    flags: int,
    *,
    mode: int = 0o600,
) -> int:
    """Open `path` as the client and return the descriptor, which the caller closes.

    1. Refuse a path that means nothing on its own, and flags that do not belong here.
    2. Become the client.
    3. Look at the path without opening it; refuse what is no file or directory.
    4. Open it without waiting, and look at what was opened.
    5. Become whoever it was before.

    Args:
        identity: the client.
        path: absolute.
        flags: as of ``os.open``: access mode, O_APPEND, O_CREAT, O_EXCL, O_TRUNC,
            O_DIRECTORY, O_NOFOLLOW, O_SYNC, O_DSYNC. The descriptor is never inherited
            by programs, and waits in reads and writes like any other.
        mode: the permissions of a file that is created, less the server's umask.

    Raises:
        EnforcementUnavailableError: the thread is not hardened.
        ImpersonationRefusedError: the thread cannot become the client.
        InvalidNameError: the path is not absolute, or holds a NUL.
        InvalidRequestError: a flag or mode does not belong here.
        KernelRefusedError: the kernel refused; holds its `errno`.
        NotARegularFileError: the path names something else.
    """
    name = openable(path, flags, mode=mode)
    with KernelBlock(identity):
        return open_here(name, flags, mode=mode)


def openable(
    path: str | bytes | os.PathLike[str], flags: int, *, mode: int = 0o600
) -> bytes:
    """Take step 1 of `open_as`, and return the path as the kernel takes it.

    Raises:
        InvalidNameError: the path is not absolute, or holds a NUL.
        InvalidRequestError: a flag or mode does not belong here.
    """
    name = _absolute(path)
    _require_flags(flags, mode)
    return name


def open_here(name: bytes, flags: int, *, mode: int = 0o600) -> int:
    """Take steps 3 and 4 of `open_as`, in a thread or process that is the client.

    Args:
        name: as `openable` returned it, for the same flags and mode.
        flags: as of `open_as`.
        mode: as of `open_as`.

    Raises:
        KernelRefusedError: the kernel refused; holds its `errno`.
        NotARegularFileError: the path names something else.
    """
    way = _Way()
    _look(name, flags, way)
    return _open(name, flags, mode, way)


def open_beneath(root: bytes, name: bytes, flags: int) -> int:
    """Take steps 3 and 4 of `open_as` without ever leaving a root.

    Whatever links the path holds, they are followed beneath the root only. The root
    itself is reached through none: somebody may have put it there.

    Args:
        root: absolute; a directory, or the one file itself.
        name: the root, or a path beneath it, as it is spelled.
        flags: as of `open_as`.

    Raises:
        KernelRefusedError: the kernel refused, or a link leads outside.
        NotARegularFileError: the path names something else.
    """
    if name == root:
        way = _Way(resolve=_RESOLVE_NO_LINKS)
        _look(name, flags, way)
        return _open(name, flags, _OWN_FILE, way)
    try:
        own = os.O_PATH | os.O_CLOEXEC | os.O_DIRECTORY
        place = openat2(root, own, 0, resolve=_RESOLVE_NO_LINKS)
    except OSError as error:
        raise _refusal(root, error) from error
    try:
        way = _Way(place, name[len(root) + 1 :], _RESOLVE_BENEATH)
        _look(name, flags, way)
        return _open(name, flags, _OWN_FILE, way)
    finally:
        os.close(place)


def look(path: str | bytes | os.PathLike[str], *, follow: bool = True) -> None:
    """Refuse what must not be opened, before an ordinary ``open`` of this thread does.

    It opens nothing and waits for nobody but the file system, and raises no audit event
    that is about files. Whatever cannot be looked at is left to the ``open``, which the
    kernel will refuse with its own words.

    It does not see what the client puts there afterwards: only `open_as` looks again.

    Args:
        path: what will be opened; if it is not absolute, below the thread's own working
            directory.
        follow: whether the ``open`` will follow a symbolic link at the end.

    Raises:
        NotARegularFileError: it is a FIFO, a socket or a device; or it lies on a procfs
            or behind one of its magic links, which `open_as` refuses too.
    """
    try:
        name = os.fsencode(path)
    except UnicodeEncodeError:
        return
    if b"\0" in name:
        return
    try:
        descriptor = _place_of(name, 0 if follow else os.O_NOFOLLOW)
    except OSError as error:
        if error.errno == errno.ELOOP and _is_behind_magic(name):
            raise _not_a_file(name) from error
        return
    try:
        is_link = stat.S_ISLNK(os.fstat(descriptor).st_mode)
        if not is_link:
            require_file_or_directory(name, descriptor)
    finally:
        os.close(descriptor)


def _is_behind_magic(name: bytes) -> bool:
    try:
        os.close(_place_of(name, 0, resolve=0))
    except OSError:
        return False  # a circle of ordinary links
    return True


def _absolute(path: str | bytes | os.PathLike[str]) -> bytes:
    try:
        name = os.fsencode(path)
    except UnicodeEncodeError as error:
        raise InvalidNameError("the path holds what no file name can") from error
    if b"\0" in name:
        raise InvalidNameError("the path holds a NUL")
    if not name.startswith(b"/"):
        raise InvalidNameError(
            f"the path `{os.fsdecode(name)}` is not absolute",
            advice="the server's working directory means nothing to its clients",
        )
    return name


def _require_flags(flags: int, mode: int) -> None:
    # The access mode 3 is the kernel's "neither read nor write, but ioctl".
    if flags & ~_OFFERED or flags & os.O_ACCMODE == os.O_ACCMODE:
        raise InvalidRequestError(f"the open flags {flags:#x} are not offered")
    if mode & ~_MODE_BITS:
        raise InvalidRequestError(f"`{mode:#o}` is not a file mode")


@dataclass(frozen=True, slots=True)
class _Way:
    """From where a path is followed, which part of it, and how."""

    at: int = _AT_FDCWD
    rest: bytes = b""
    resolve: int = _RESOLVE_NO_MAGICLINKS

    def open(self, name: bytes, flags: int, mode: int) -> int:
        """Open a path this way; raises `OSError` if the kernel refuses."""
        path = self.rest or name
        return openat2(path, flags, mode, resolve=self.resolve, at=self.at)


def _look(name: bytes, flags: int, way: _Way) -> None:
    """Refuse a special file before it is touched; leave what is missing to `_open`."""
    kept = flags & (os.O_NOFOLLOW | os.O_DIRECTORY)
    try:
        descriptor = way.open(name, os.O_PATH | os.O_CLOEXEC | kept, 0)
    except FileNotFoundError:
        return  # it may be about to be created
    except OSError as error:
        raise _refusal(name, error) from error
    try:
        require_file_or_directory(name, descriptor)
    finally:
        os.close(descriptor)


def _open(name: bytes, flags: int, mode: int, way: _Way) -> int:
    own = flags | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK
    try:
        descriptor = way.open(name, own, mode if flags & os.O_CREAT else 0)
    except OSError as error:
        raise _refusal(name, error) from error
    return vetted(name, descriptor, flags)


def vetted(name: bytes, descriptor: int, flags: int) -> int:
    """Return what was opened without waiting, as it was meant; or close it and raise.

    Args:
        name: the path, for the error.
        descriptor: opened with O_NONBLOCK, whatever was asked.
        flags: as they were asked.

    Raises:
        NotARegularFileError: it is neither a file nor a directory.
    """
    try:
        require_file_or_directory(name, descriptor)
        if not flags & os.O_NONBLOCK:
            os.set_blocking(descriptor, True)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _place_of(name: bytes, flags: int, *, resolve: int = _RESOLVE_NO_MAGICLINKS) -> int:
    # O_PATH opens nothing: the descriptor says only what is there.
    return openat2(name, os.O_PATH | os.O_CLOEXEC | flags, 0, resolve=resolve)


def require_file_or_directory(name: bytes, descriptor: int) -> None:
    """Refuse what is neither, or what lies on a procfs.

    Raises:
        NotARegularFileError: it is.
    """
    found = os.fstat(descriptor)
    is_plain = stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)
    # A procfs that was mounted after the thread was hardened would show the server. It
    # has no device, whose major number would be 0.
    if not is_plain or (not os.major(found.st_dev) and is_procfs(descriptor)):
        raise _not_a_file(name)


def _not_a_file(name: bytes) -> NotARegularFileError:
    shown = os.fsdecode(name)
    return NotARegularFileError(
        f"`{shown}` is neither a file nor a directory of the client's world",
        object_name=shown,
    )


def _refusal(name: bytes, error: OSError) -> KernelRefusedError:
    shown = os.fsdecode(name)
    return KernelRefusedError(
        f"the kernel refused `{shown}`: {words_of(error)}",
        errno=error.errno or 0,
        object_name=shown,
    )


def openat2(
    name: bytes,
    flags: int,
    mode: int,
    *,
    resolve: int = _RESOLVE_NO_MAGICLINKS,
    at: int = _AT_FDCWD,
) -> int:
    """Open a path as whoever the thread is, following no magic link unless told so.

    Raises:
        OSError: the kernel refused.
    """
    how = struct.pack("=QQQ", flags, mode, resolve)
    return call_waiting("openat2", at, name, how, len(how))
