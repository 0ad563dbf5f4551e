"""Open one file for a server, in a process that is the client and nothing else.

    answer, the server's document, the broker's folders: descriptors 3, 4 and 5

The path must lie beneath a folder that the broker's configuration names. The kernel
walks from that folder and never leaves it (openat2(2), RESOLVE_BENEATH), whatever links
the client puts there meanwhile, and follows no magic link. It judges as the client. A
FIFO, socket or device is not touched; what was opened is looked at again.
"""

from __future__ import annotations

import array
import json
import os
import socket
import stat
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from stead.errors import InvalidRequestError, KernelRefusedError, NotARegularFileError
from stead.privileged import sealing
from stead.privileged.opening import (
    openable,
    openat2,
    require_file_or_directory,
    vetted,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

BODY: Final = "stead.privileged.broker_opening:open_beneath"
"""How this is named in a warrant."""

_RESOLVE: Final = 0x02 | 0x08  # RESOLVE_NO_MAGICLINKS | RESOLVE_BENEATH
_NO_SYMLINKS: Final = 0x04
_LONGEST: Final = 64 * 1024
_NO_REQUEST: Final = (
    *(AttributeError, InvalidRequestError, KeyError, RecursionError),
    *(TypeError, ValueError),
)


def request_document(path: str, flags: int, mode: int, within: str = "") -> bytes:
    """Return what a server says of the file.

    Args:
        path: absolute.
        flags: as of `stead.privileged.opening.open_as`.
        mode: likewise.
        within: a folder above it, or itself, that the server limits the client to.

    Raises:
        InvalidNameError, InvalidRequestError: as `openable` raises.
    """
    name = openable(path, flags, mode=mode).decode("latin-1")
    limit = os.fsencode(within).decode("latin-1")
    asked = {"path": name, "flags": flags, "mode": mode, "within": limit}
    return json.dumps(asked).encode()


def roots_document(roots: Sequence[str]) -> bytes:
    """Return what the broker says of its folders."""
    return json.dumps([os.fsencode(root).decode("latin-1") for root in roots]).encode()


def open_beneath(answer: int) -> int:
    """Open what is asked and send it, or why not; return the exit status.

    Args:
        answer: a socket; the documents are the two descriptors behind it.
    """
    with socket.socket(fileno=answer) as channel:
        try:
            opened = _opened(answer + 1, answer + 2)
        except KernelRefusedError as error:
            _send(channel, {"errno": error.errno})
            return 0
        except NotARegularFileError:
            _send(channel, {"refused": "kind"})
            return 0
        except _NO_REQUEST:
            _send(channel, {"refused": "path"})
            return 0
        _send(channel, {"opened": True}, [opened])
        os.close(opened)
    return 0


def _opened(document: int, folders: int) -> int:
    asked = json.loads(sealing.read_sealed(document, _LONGEST))
    roots = json.loads(sealing.read_sealed(folders, _LONGEST))
    path, flags, mode = asked["path"].encode("latin-1"), asked["flags"], asked["mode"]
    openable(path, flags, mode=mode)
    folders_given = [each.encode("latin-1") for each in roots]
    within = asked["within"].encode("latin-1")
    try:
        with ExitStack() as undo:
            return _open(_way(path, folders_given, within, undo), flags, mode)
    except NotARegularFileError:
        raise  # it is an OSError, too
    except OSError as error:
        raise KernelRefusedError(
            "the kernel refused it", errno=error.errno or 0, object_name=""
        ) from error


@dataclass(frozen=True, slots=True)
class _Way:
    """How a file is walked to: from an open folder, which is never left."""

    folder: int
    name: bytes
    resolve: int = _RESOLVE


def _way(path: bytes, roots: Sequence[bytes], within: bytes, undo: ExitStack) -> _Way:
    """Return the way to a path, beneath a folder that is named and the server's limit.

    The limit itself is reached through no link: somebody may have put it there.

    Raises:
        InvalidRequestError: the path lies beneath no folder that is named.
        OSError: the kernel refused.
    """
    root, rest = _place(path, roots)
    kept = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
    folder = os.open(root, kept)
    undo.callback(os.close, folder)
    before = root.rstrip(b"/") + b"/"
    if not within.startswith(before):
        return _Way(folder, rest)  # there is no limit, or it lies above the folder
    limit = within[len(before) :]
    if limit == rest:
        return _Way(folder, rest, _RESOLVE | _NO_SYMLINKS)
    inner = openat2(limit, kept, 0, resolve=_RESOLVE | _NO_SYMLINKS, at=folder)
    undo.callback(os.close, inner)
    return _Way(inner, rest.removeprefix(limit + b"/"))


def _place(path: bytes, roots: Sequence[bytes]) -> tuple[bytes, bytes]:
    """Return the folder beneath which a path lies, the nearest, and the rest of it.

    Raises:
        InvalidRequestError: it lies beneath none.
    """
    fitting = [root.rstrip(b"/") for root in roots]
    fitting = [root for root in fitting if path.startswith(root + b"/")]
    if not fitting:
        raise InvalidRequestError("the path lies beneath no folder that is named")
    root = max(fitting, key=len)
    rest = path[len(root) :].lstrip(b"/")
    return root or b"/", rest or b"."


def _open(way: _Way, flags: int, mode: int) -> int:
    """Look at what is there, open it, and look at what was opened.

    Raises:
        NotARegularFileError: it is neither a file nor a folder.
        OSError: the kernel refused.
    """
    _look(way, flags)
    kept = flags | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK
    new_mode = mode if flags & os.O_CREAT else 0
    opened = openat2(way.name, kept, new_mode, resolve=way.resolve, at=way.folder)
    opened = vetted(way.name, opened, flags)
    if stat.S_ISDIR(os.fstat(opened).st_mode) and not flags & os.O_DIRECTORY:
        os.close(opened)
        raise NotARegularFileError("a folder was not asked for", object_name="")
    if flags & os.O_APPEND:
        # As `open` does; the server's copy of the descriptor has the same place.
        os.lseek(opened, 0, os.SEEK_END)
    return opened


def _look(way: _Way, flags: int) -> None:
    kept = os.O_PATH | os.O_CLOEXEC | flags & (os.O_NOFOLLOW | os.O_DIRECTORY)
    try:
        seen = openat2(way.name, kept, 0, resolve=way.resolve, at=way.folder)
    except FileNotFoundError:
        return  # it may be about to be created
    try:
        require_file_or_directory(way.name, seen)
    finally:
        os.close(seen)


def _send(
    channel: socket.socket, answer: dict[str, object], opened: Sequence[int] = ()
) -> None:
    """Answer, as the client: whoever listens there is the server's own choice."""
    rights = []
    if opened:
        carried = array.array("i", opened)
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, carried)]
    channel.sendmsg([json.dumps(answer).encode()], rights)
