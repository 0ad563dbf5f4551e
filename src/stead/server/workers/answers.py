"""What a client's worker answered, as a value, a descriptor or an error.

Nothing of it is believed. Bytes are read as plain data and nothing else; a descriptor
must be what was asked for; only Python's own errors are made again. Whatever does not
fit is `WorkerLostError`: who breaks the protocol is not spoken to again.
"""

from __future__ import annotations

import _thread
import ctypes
import fcntl
import os
import stat
import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from stead.errors import (
    KernelRefusedError,
    NotARegularFileError,
    NotPlainDataError,
    SteadError,
    WorkerFailedError,
    WorkerLostError,
)
from stead.privileged.syscalls import call_waiting, words_of
from stead.server.workers.plain_data import read_plain
from stead.server.workers.wire import RAISABLE, Kind

_LONGEST_NAME: Final = 200
_LONGEST_TEXT: Final = 65_536
_LONGEST_ERRNO: Final = 4095  # MAX_ERRNO
_AT_EMPTY_PATH: Final = 0x1000
_AT_STATX_DONT_SYNC: Final = 0x4000
_STATX_TYPE: Final = 0x1
_STATX_SIZE: Final = 256
# Of struct statx: its mask, block size, mode and the file system's major number.
_STATX: Final = struct.Struct("=II20xH106xI116x")
_PROCFS_BLOCK: Final = 1024
# What of the flags asked for must be, and what must not be, in those of the descriptor.
_CHECKED_FLAGS: Final = (
    os.O_ACCMODE | os.O_APPEND | os.O_SYNC | os.O_DSYNC | os.O_PATH | os.O_DIRECT
    | os.O_ASYNC | os.O_NOATIME
)  # fmt: skip


class _WorkerTraceback(Exception):  # noqa: N818 - never raised: it is shown as a cause
    """The traceback of the process that raised, as the cause of what is raised here."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f"\n\nin the client's worker:\n{self.text}"


class ReceivedDescriptor:
    """A descriptor that came from a worker, until somebody takes it."""

    __slots__ = ("_number",)

    def __init__(self, number: int) -> None:
        self._number = number

    def fileno(self) -> int:
        """Return its number; it stays here."""
        return self._number

    def take(self) -> int:
        """Return its number; whoever takes it closes it."""
        number, self._number = self._number, -1
        return number

    def close(self) -> None:
        """Close it, if nobody took it.

        That may wait for whoever serves its file system: a client, perhaps.
        """
        if self._number >= 0:
            _close(self.take())

    def __del__(self) -> None:
        if self._number >= 0:
            close_aside(self.take())


def close_aside(descriptor: int) -> None:
    """Close a client's descriptor where nobody waits for its file system."""
    # Not `Thread`: its locks may be held where this is called, which is anywhere.
    _thread.start_new_thread(_close, (descriptor,))


def _close(descriptor: int) -> None:
    with suppress(OSError):  # it is closed, whatever its file system says
        os.close(descriptor)


@dataclass(frozen=True, slots=True, eq=False)
class Reply:
    """An answer as it came, not looked into.

    Attributes:
        number: of the request that it says it answers.
        kind: a `Kind`, or what is none.
        body: what should be plain data.
        may_go_on: whether the worker says that it may be asked again.
        descriptor: what came with it, if anything did.
    """

    number: int
    kind: int
    body: bytes = field(repr=False)
    may_go_on: bool
    descriptor: ReceivedDescriptor | None = None


def function_outcome(function: str, reply: Reply, largest: int) -> Any:
    """Return what a function returned, or raise what it raised.

    Args:
        function: its name, for messages.
        reply: the worker's.
        largest: how many bytes were allowed.

    Raises:
        WorkerFailedError: it raised an exception that is not one of Python's own, or
            could not be imported.
        NotPlainDataError: it returned what does not cross between processes.
        WorkerLostError: the reply makes no sense.
        Exception: one of Python's own, that it raised.
    """
    if reply.kind == Kind.TOO_LARGE:
        raise NotPlainDataError(
            f"`{function}` returned more than the {largest} bytes that are allowed",
            advice="return less, or write it to a file for `client.open`",
        )
    makers: dict[int, Callable[[str, Any], BaseException]] = {
        Kind.RAISED: _raised,
        Kind.FAILED: _failed,
        Kind.NOT_PLAIN: _not_plain,
        Kind.NOT_FOUND: _not_found,
    }
    value = _read(reply)
    if reply.kind == Kind.RETURNED:
        return value
    make = makers.get(reply.kind)
    if make is None:
        raise nonsense()
    raise _made(make, function, value)


def opened_file(path: str, flags: int, reply: Reply) -> int:
    """Return the descriptor of an opened file, or raise why there is none.

    Args:
        path: what was to be opened, for messages.
        flags: those it was to be opened with.
        reply: the worker's.

    Raises:
        KernelRefusedError: the kernel refused the client.
        NotARegularFileError: the path names neither a file nor a directory, or a
            directory that was not asked for.
        WorkerLostError: the reply makes no sense.
    """
    if reply.kind == Kind.OPENED and reply.descriptor is not None:
        return checked(path, flags, reply.descriptor)
    if reply.descriptor is not None:
        raise nonsense()
    if reply.kind == Kind.NO_FILE:
        raise NotARegularFileError(
            f"`{path}` is neither a file nor a directory of the client's world",
            object_name=path,
        )
    if reply.kind == Kind.DIRECTORY:
        raise NotARegularFileError(f"`{path}` is a directory", object_name=path)
    number = _read(reply) if reply.kind == Kind.REFUSED else None
    if type(number) is not int or not 0 < number <= _LONGEST_ERRNO:
        raise nonsense()
    words = words_of(OSError(number, os.strerror(number)))
    raise KernelRefusedError(
        f"the kernel refused `{path}`: {words}", errno=number, object_name=path
    )


def nonsense(why: str = "its answer makes no sense") -> WorkerLostError:
    """Make the error of a worker that broke the protocol."""
    return WorkerLostError(
        f"the client's worker is ended: {why}",
        advice="code of the client's may have changed it; the next call has a new one",
    )


# --- functions ----------------------------------------------------------------------


def _read(reply: Reply) -> Any:
    try:
        return read_plain(reply.body)
    except NotPlainDataError as error:
        raise nonsense() from error


def _made(
    make: Callable[[str, Any], BaseException], function: str, value: Any
) -> BaseException:
    """Make an error of what a worker says about it."""
    try:
        return make(function, value)
    except SteadError:
        raise
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise nonsense() from error


def _raised(function: str, value: Any) -> BaseException:
    del function
    name, arguments, text = _texts_of(value, str, tuple, str)
    error = RAISABLE[name](*arguments)
    error.__cause__ = _WorkerTraceback(_shown(text))
    return error


def _failed(function: str, value: Any) -> WorkerFailedError:
    name, text = _texts_of(value, str, str)
    shown = _shown(name, line=True)
    return _worker_failed(f"`{function}` raised `{shown}`", shown, text)


def _not_found(function: str, value: Any) -> WorkerFailedError:
    name, text = _texts_of(value, str, str)
    return _worker_failed(
        f"the client's worker cannot import `{function}`, or what its arguments need",
        _shown(name, line=True),
        text,
        advice="name its module in `ProtectedServer(..., worker_modules=...)`: then it "
        "is loaded before the worker becomes the client, who may not read it",
    )


def _worker_failed(
    message: str, name: str, text: str, *, advice: str = ""
) -> WorkerFailedError:
    shown = _shown(text)
    error = WorkerFailedError(
        message, type_name=name, remote_traceback=shown, advice=advice
    )
    error.__cause__ = _WorkerTraceback(shown)
    return error


def _not_plain(function: str, value: Any) -> NotPlainDataError:
    (why,) = _texts_of((value,), str)
    return NotPlainDataError(f"`{function}` returned: {_shown(why, line=True)}")


def _texts_of(value: Any, *types: type) -> tuple[Any, ...]:
    if type(value) is not tuple or tuple(map(type, value)) != types:
        raise nonsense()
    return value


def _shown(text: str, *, line: bool = False) -> str:
    """Return a worker's words so that they change nothing but what they stand in.

    A terminal would obey control characters, and a log would take a line for its own.
    They are cut before that: each letter may become ten.
    """
    kept, longest = ("", _LONGEST_NAME) if line else ("\n", _LONGEST_TEXT)
    escaped = "".join(
        letter if letter.isprintable() or letter in kept else ascii(letter)[1:-1]
        for letter in text[:longest]
    )
    return escaped[:longest]


# --- files --------------------------------------------------------------------------


def checked(path: str, flags: int, descriptor: ReceivedDescriptor) -> int:
    """Return a descriptor of a file or directory that is open as was asked.

    Nothing here asks the file system, which may be the client's and never answer.
    """
    number = descriptor.fileno()
    try:
        kind = _plain_kind(number)
    except OSError as error:
        # A FUSE file system without `allow_other` shows itself to its owner alone.
        raise KernelRefusedError(
            f"the kernel shows the server nothing of `{path}`: {words_of(error)}",
            errno=error.errno or 0,
            object_name=path,
        ) from error
    if kind is None:
        raise nonsense("what it opened is neither a file nor a directory")
    if kind == stat.S_IFDIR and not flags & os.O_DIRECTORY:
        raise nonsense("what it opened is a directory that nobody asked for")
    found = fcntl.fcntl(number, fcntl.F_GETFL)
    if (found ^ flags) & _CHECKED_FLAGS:
        raise nonsense("what it opened is open in another way than was asked")
    if (found ^ flags) & os.O_NONBLOCK:
        os.set_blocking(number, not flags & os.O_NONBLOCK)
    return descriptor.take()


def _plain_kind(number: int) -> int | None:
    """Return the kind of a regular file or directory; None if it is of procfs, or else.

    A file of procfs does things when the server reads or writes it, as the server: who
    wrote `oom_score_adj` is asked then, not when it was opened. fstatfs(2) would name
    the file system, but asks a FUSE one's process; statx(2) need not. No other file
    system without a device has blocks of 1024 bytes.
    """
    found = (ctypes.c_char * _STATX_SIZE)()
    how = _AT_EMPTY_PATH | _AT_STATX_DONT_SYNC
    call_waiting("statx", number, b"", how, _STATX_TYPE, found)
    mask, block, mode, major = _STATX.unpack(found.raw)
    is_procfs = major == 0 and block == _PROCFS_BLOCK
    kind = stat.S_IFMT(mode)
    is_plain = kind in {stat.S_IFREG, stat.S_IFDIR} and mask & _STATX_TYPE
    return kind if is_plain and not is_procfs else None
