"""How the server and a client's worker speak, over one stream socket.

The server asks, the worker answers, one after the other. Each side's frame is a fixed
header and then as many bytes of plain data (see `plain_data`) as it says. A large
request lies in a file in memory whose descriptor goes with the header, so that sending
never waits for a worker that does not read.

The worker believes the server: its request holds a pickle of a function's arguments.
The server believes nothing of the worker.
"""

from __future__ import annotations

import builtins
import socket
import struct
from collections.abc import Mapping
from enum import IntEnum
from types import MappingProxyType
from typing import Final

REQUEST: Final = struct.Struct("!QQ?")
"""A request's header: its number, how many bytes follow, and whether in memory."""

ANSWER: Final = struct.Struct("!QIB?")
"""An answer's header: the request's number, how many bytes follow, what kind it is,
and whether the worker may be asked again."""

_TO_OPEN: Final = struct.Struct("!QI")

ONE_DESCRIPTOR: Final = socket.CMSG_LEN(4)
"""Room for one descriptor; CMSG_SPACE has room for two, for the sake of alignment."""

RUN: Final = "stead.server.workers.start:run_functions"
"""What a worker that runs functions does."""

OPEN: Final = "stead.server.workers.start:open_files"
"""What a worker that opens files does; it runs nothing else."""


def to_open(name: bytes, flags: int, root: bytes) -> bytes:
    """Return the request to open a file; the worker believes who sends it.

    Args:
        name: its path.
        flags: as of `stead.privileged.opening.open_as`.
        root: beneath which it must be; empty for anywhere.
    """
    return _TO_OPEN.pack(flags, len(root)) + root + name


def what_to_open(request: bytes) -> tuple[bytes, int, bytes]:
    """Return name, flags and root of such a request."""
    flags, size = _TO_OPEN.unpack_from(request)
    root, name = request[_TO_OPEN.size :][:size], request[_TO_OPEN.size + size :]
    return name, flags, root


class Kind(IntEnum):
    """What a worker answers."""

    RETURNED = 1
    """The function's value."""
    RAISED = 2
    """One of Python's own errors: its name, arguments and traceback."""
    FAILED = 3
    """Any other exception: its class's name and the traceback."""
    NOT_PLAIN = 4
    """The value is no plain data: why."""
    TOO_LARGE = 5
    """The value is larger than was asked for: nothing."""
    NOT_FOUND = 6
    """The function, or what its arguments need, cannot be imported: as FAILED."""
    OPENED = 7
    """The file is open: nothing, and its descriptor."""
    REFUSED = 8
    """The kernel refused: the error number."""
    NO_FILE = 9
    """The path names neither a file nor a directory: nothing."""
    DIRECTORY = 10
    """The path names a directory, which was not asked for: nothing."""


_UNRAISABLE: Final = frozenset({StopIteration, StopAsyncIteration, ExceptionGroup})

RAISABLE: Final[Mapping[str, type[Exception]]] = MappingProxyType(
    {
        name: kind
        for name, kind in vars(builtins).items()
        if isinstance(kind, type)
        and issubclass(kind, Exception)
        and kind.__name__ == name
        and kind not in _UNRAISABLE
    }
)
"""Python's own errors, which mean the same in every process. Those that iteration is
made of are not among them: raised here, they would end a loop of somebody else's."""
