"""Taking a pipe's name safely, and giving it back.

1. The folder, and every folder above it, is nobody else's to change.
2. A lock beside the name says that a server lives, and dies with it.
3. What stands at the name may go only if it is a socket of ours that nobody answers.
4. The socket is made under another name and moved into place once it listens with its
   final mode: a client finds the old server, the new one, or none; never half of one.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import socket
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from stead.errors import InvalidNameError, PipeBusyError, UnsafePipeError

_BACKLOG: Final = 128
_LONGEST_NAME: Final = 107  # sun_path is 108 bytes with its final NUL
_LOCK_ATTEMPTS: Final = 8


@dataclass(frozen=True, slots=True)
class Binding:
    """A name that is taken: its listening socket and what has to be given back.

    Attributes:
        path: the name, its folder resolved.
        listener: the listening socket, non-blocking.
    """

    path: Path
    listener: socket.socket
    _lock: int
    _inode: tuple[int, int]

    def release(self) -> None:
        """Stop listening and remove what is still ours."""
        self.listener.close()
        if _inode_at(self.path) == self._inode:
            self.path.unlink()
        _unlock(self.path, self._lock)


def bind(
    path: Path, mode: int, kind: socket.SocketKind = socket.SOCK_STREAM
) -> Binding:
    """Take a name and listen there.

    Args:
        path: where; absolute.
        mode: who may connect, as permission bits of the socket.
        kind: of the socket.

    Raises:
        InvalidNameError: the path is relative, too long, or holds a NUL.
        UnsafePipeError: the folder, or what stands at the name, cannot be trusted.
        PipeBusyError: a server answers there.
        OSError: the kernel refuses.
    """
    place = _checked_place(path)
    lock = _lock(place)
    try:
        _refuse_occupied(place, kind)
        listener = _listen(place, mode, kind)
    except BaseException:
        _unlock(place, lock)
        raise
    inode = _inode_at(place)
    if inode is None:  # nobody but us or root could have removed it
        listener.close()
        _unlock(place, lock)
        raise UnsafePipeError(f"somebody removed `{place}` while it was being made")
    return Binding(place, listener, lock, inode)


def _checked_place(path: Path) -> Path:
    if not path.is_absolute() or not path.name or "\0" in str(path):
        raise InvalidNameError(f"`{path}` is not an absolute path of a pipe")
    folder = path.parent.resolve()
    place = folder / path.name
    beside = folder / _name_beside()
    if max(len(os.fsencode(name)) for name in (place, beside)) > _LONGEST_NAME:
        raise InvalidNameError(
            f"`{place}` is longer than the {_LONGEST_NAME} bytes of a socket's name"
        )
    for ancestor in (folder, *folder.parents):
        _refuse_open_to_others(ancestor)
    return place


def _refuse_open_to_others(folder: Path) -> None:
    """Refuse a folder in which somebody else could replace what is ours."""
    try:
        status = folder.lstat()
    except OSError as error:
        raise UnsafePipeError(
            f"the pipe's folder `{folder}` cannot be looked at: {error.strerror}",
            advice="make the folder first, owned by the server",
        ) from error
    if not stat.S_ISDIR(status.st_mode):
        raise UnsafePipeError(f"`{folder}` is not a folder")
    if status.st_uid not in {0, os.geteuid()}:
        raise UnsafePipeError(
            f"`{folder}` belongs to uid {status.st_uid}",
            advice="put the pipe where only root or the server owns the folders",
        )
    # In a sticky folder others may add names, but neither move nor remove ours.
    others_write = status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    if others_write and not status.st_mode & stat.S_ISVTX:
        raise UnsafePipeError(
            f"others may write `{folder}`", advice=f"chmod go-w {folder}"
        )


def _lock_path(place: Path) -> Path:
    return place.with_name(f"{place.name}.lock")


def _lock(place: Path) -> int:
    """Hold the lock beside the name.

    Whoever stops removes the lock's file, so one that was opened just before may be
    the wrong file by the time it is locked: then it is opened again.
    """
    path = _lock_path(place)
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    for _ in range(_LOCK_ATTEMPTS):
        try:
            lock = os.open(path, flags, 0o600)
        except OSError as error:
            raise UnsafePipeError(
                f"the lock `{path}` cannot be opened: {error.strerror}"
            ) from error
        try:
            _hold(path, lock)
        except BaseException:
            os.close(lock)
            raise
        status = os.fstat(lock)
        if _inode_at(path) == (status.st_dev, status.st_ino):
            return lock
        os.close(lock)
    raise PipeBusyError(f"servers come and go at `{place}`")


def _hold(path: Path, lock: int) -> None:
    status = os.fstat(lock)
    if status.st_uid != os.geteuid() or not stat.S_ISREG(status.st_mode):
        raise UnsafePipeError(
            f"the lock `{path}` belongs to uid {status.st_uid}",
            advice="find out who made it; remove it if no server runs there",
        )
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise PipeBusyError(
            f"another server holds `{path}`",
            advice="stop the other server, or choose another path",
        ) from error


def _unlock(place: Path, lock: int) -> None:
    """Give the lock back: its file first, so that nobody can hold a removed one."""
    _lock_path(place).unlink(missing_ok=True)
    # A forked child may share the descriptor: closing ours alone would not unlock.
    fcntl.flock(lock, fcntl.LOCK_UN)
    os.close(lock)


def _refuse_occupied(place: Path, kind: socket.SocketKind) -> None:
    """Let a name pass that is free, or held by a dead server of ours."""
    try:
        status = place.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(status.st_mode) or status.st_uid != os.geteuid():
        raise UnsafePipeError(
            f"`{place}` is taken by something that is not ours",
            advice="find out who made it before you remove it",
        )
    with socket.socket(socket.AF_UNIX, kind) as probe:
        probe.settimeout(0.0)
        answer = probe.connect_ex(os.fspath(place))
    if answer not in {errno.ECONNREFUSED, errno.ENOENT}:
        raise PipeBusyError(
            f"another server answers at `{place}`",
            advice="stop the other server, or choose another path",
        )


def _listen(place: Path, mode: int, kind: socket.SocketKind) -> socket.socket:
    """Make the socket beside its place and move it there."""
    beside = place.with_name(_name_beside())
    listener = socket.socket(socket.AF_UNIX, kind)
    try:
        listener.settimeout(0.0)
        listener.bind(os.fspath(beside))
        try:
            beside.chmod(mode)
            listener.listen(_BACKLOG)
            beside.rename(place)
        except BaseException:
            beside.unlink()
            raise
    except BaseException:
        listener.close()
        raise
    return listener


def _name_beside() -> str:
    return f".{secrets.token_hex(4)}"


def _inode_at(path: Path) -> tuple[int, int] | None:
    try:
        status = path.lstat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino
