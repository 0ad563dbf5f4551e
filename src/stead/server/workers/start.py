"""What a client's worker does, once its process has become the client for good.

It is loaded by name in a process that has nothing of the server's but one socket. There
it waits for requests, does each as the client, and answers with plain data. A worker
that opens files does nothing else; no code of the application's runs in it.

Whatever happens to this process is the client's own matter: the server believes none of
it (see ``workers``).
"""

from __future__ import annotations

import array
import os
import pickle
import socket
import stat
import sys
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from stead.errors import KernelRefusedError, NotARegularFileError, NotPlainDataError
from stead.privileged.opening import open_beneath, open_here
from stead.server.workers.importable import resolve
from stead.server.workers.plain_data import read_plain, write_plain
from stead.server.workers.wire import (
    ANSWER,
    ONE_DESCRIPTOR,
    RAISABLE,
    REQUEST,
    Kind,
    what_to_open,
)

_PIECE: Final = 65_536
_UMASK: Final = 0o022
_LONGEST_TRACEBACK: Final = 65_536


@dataclass(frozen=True, slots=True)
class _Answer:
    """What comes of a request.

    Attributes:
        kind: which of its kinds.
        body: plain data.
        is_last: whether the worker ends with it.
    """

    kind: Kind
    body: bytes
    is_last: bool = False


def run_functions(descriptor: int) -> int:
    """Run functions until the server hangs up; return the process's exit status."""
    own = os.getpid()
    with socket.socket(fileno=descriptor) as channel:
        channel.set_inheritable(False)
        for number, body in _requests(channel):
            answer = _run(body)
            if os.getpid() != own:
                return 0  # a child that the function forked came back here with it
            may_go_on = not answer.is_last and _is_alone()
            _send(channel, number, answer, may_go_on=may_go_on)
            if not may_go_on:
                return 1
            _tidy()
    return 0


def open_files(descriptor: int) -> int:
    """Open files until the server hangs up; return the process's exit status."""
    with socket.socket(fileno=descriptor) as channel:
        channel.set_inheritable(False)
        for number, body in _requests(channel):
            _open(channel, number, body)
    return 0


# --- the wire ---------------------------------------------------------------------


def _requests(channel: socket.socket) -> Iterator[tuple[int, bytes]]:
    """Yield each request's number and body until there are no more."""
    while True:
        # The server asks again only when it is answered: what comes is one request.
        data, rights, _, _ = channel.recvmsg(
            _PIECE, ONE_DESCRIPTOR, socket.MSG_CMSG_CLOEXEC
        )
        if not data:
            return
        data += _exactly(channel, REQUEST.size - len(data))
        number, size, in_memory = REQUEST.unpack_from(data)
        body = data[REQUEST.size :]
        if in_memory:
            (memory,) = array.array("i", rights[0][2])
            with os.fdopen(memory, "rb") as file:
                yield number, file.read()
        else:
            yield number, body + _exactly(channel, size - len(body))


def _exactly(channel: socket.socket, size: int) -> bytes:
    parts = []
    while size > 0:
        part = channel.recv(min(size, _PIECE))
        if not part:
            raise ConnectionResetError("the server hung up in the middle")
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _send(
    channel: socket.socket, number: int, answer: _Answer, *, may_go_on: bool
) -> None:
    body = answer.body
    channel.sendall(ANSWER.pack(number, len(body), answer.kind, may_go_on) + body)


# --- functions ----------------------------------------------------------------------


def _run(request: bytes) -> _Answer:
    """Run the function that a request names, and put what came of it into words."""
    module, qualname, is_main, pickled, largest = read_plain(request)
    try:
        function = resolve(module, qualname)
        if is_main:
            # Arguments of classes of the running program are pickled as of `__main__`.
            sys.modules["__main__"] = sys.modules[module]
        arguments = pickle.loads(pickled)  # noqa: S301 - the server's, who is trusted
    except Exception as error:  # noqa: BLE001 - a module may raise anything
        return _Answer(Kind.NOT_FOUND, write_plain(_described(error)))
    try:
        value = function(*arguments)
    except Exception as error:  # noqa: BLE001 - so may a function
        return _raised(error)
    except BaseException as error:  # noqa: BLE001 - SystemExit ends this process only
        return _Answer(Kind.FAILED, write_plain(_described(error)), is_last=True)
    return _returned(value, largest)


def _returned(value: object, largest: int) -> _Answer:
    try:
        body = write_plain(value)
    except NotPlainDataError as error:
        return _Answer(Kind.NOT_PLAIN, write_plain(str(error)))
    if len(body) > largest:
        return _Answer(Kind.TOO_LARGE, b"")
    return _Answer(Kind.RETURNED, body)


def _raised(error: Exception) -> _Answer:
    name, text = _described(error)
    if RAISABLE.get(type(error).__name__) is type(error):
        try:
            body = write_plain((type(error).__name__, _arguments_of(error), text))
        except NotPlainDataError:
            pass  # told in words, as any other class's
        else:
            if len(body) <= 2 * _LONGEST_TRACEBACK:
                return _Answer(Kind.RAISED, body)
    return _Answer(Kind.FAILED, write_plain((name, text)))


def _arguments_of(error: Exception) -> tuple[Any, ...]:
    if isinstance(error, OSError) and error.filename is not None:
        # Its `args` leave the names out.
        names = (error.filename, None, error.filename2)
        return (error.errno, error.strerror, *names)
    return error.args


def _described(error: BaseException) -> tuple[str, str]:
    """Return the name of an exception's class, and its traceback without our frames."""
    kind = type(error)
    place = error.__traceback__ and error.__traceback__.tb_next
    try:
        text = "".join(traceback.format_exception(kind, error, place))
    except Exception:  # noqa: BLE001 - a class may spell itself in any way
        text = f"{kind.__qualname__}: its traceback cannot be printed\n"
    return f"{kind.__module__}.{kind.__qualname__}", text[-_LONGEST_TRACEBACK:]


def _is_alone() -> bool:
    """Say whether the function left no thread and no child behind."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return _count_threads() == 1
    return False


def _count_threads() -> int:
    try:
        return len(os.listdir("/proc/self/task"))  # noqa: PTH208 - names only
    except PermissionError:
        return 0  # nobody knows: it is confined, and so used once


def _tidy() -> None:
    """Take back what the next function would be surprised by."""
    os.chdir("/")
    os.umask(_UMASK)


# --- files --------------------------------------------------------------------------


def _open(channel: socket.socket, number: int, request: bytes) -> None:
    """Open the file that a request names, and send its descriptor or why there is none.

    The descriptor is closed here as soon as it is sent: the server's is the only one.
    """
    name, flags, root = what_to_open(request)
    try:
        if root:
            opened = open_beneath(root, name, flags | os.O_NONBLOCK)
        else:
            opened = open_here(name, flags | os.O_NONBLOCK)
    except KernelRefusedError as error:
        answer = _Answer(Kind.REFUSED, write_plain(error.errno))
        _send(channel, number, answer, may_go_on=True)
        return
    except NotARegularFileError:
        _send(channel, number, _Answer(Kind.NO_FILE, b""), may_go_on=True)
        return
    try:
        is_directory = stat.S_ISDIR(os.fstat(opened).st_mode)
        if is_directory and not flags & os.O_DIRECTORY:
            answer = _Answer(Kind.DIRECTORY, b"")
            _send(channel, number, answer, may_go_on=True)
            return
        if flags & os.O_APPEND:
            # As `open` does; the server's copy of the descriptor has the same place.
            os.lseek(opened, 0, os.SEEK_END)
        rights = array.array("i", [opened])
        head = ANSWER.pack(number, 0, Kind.OPENED, True)  # noqa: FBT003 - a header
        channel.sendmsg([head], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
    finally:
        os.close(opened)
