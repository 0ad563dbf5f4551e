"""What stops code that acts as the server by mistake, in a block or in a handler.

Three parts, put up when the first block is entered and never taken down (Python has no
way to): an audit hook ([PEP 578]) that refuses raw opens, processes and sockets which
the kernel would judge as the *server*; an event for the one way of the standard library
to start a process that raises none, by which `multiprocessing` does; and a finder that
refuses first imports in a client's block. A handler is nobody until it says who, so the
same raw acts are refused there outside any block; only its imports pass. A tripwire and
no wall: it does not see `os.stat`, `os.mkfifo`, nor what C code does by itself.

A refusal names what to use instead, and only what this server has.
"""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Callable, Sequence
from functools import wraps
from importlib import import_module
from importlib.abc import MetaPathFinder
from types import ModuleType
from typing import Any, Final

from stead.errors import AccessDeniedError, LateImportError
from stead.monitor import context, frames
from stead.monitor.context import Frame
from stead.monitor.frames import FrameKind

_FILES: Final = frozenset({
    "open", "os.listdir", "os.scandir", "os.remove", "os.rename", "os.rmdir",
    "os.mkdir", "os.link", "os.symlink", "os.truncate", "os.chmod", "os.chown",
    "os.chflags", "os.utime", "os.chdir", "os.setxattr", "os.getxattr",
    "os.listxattr", "os.removexattr", "sqlite3.connect", "ctypes.dlopen",
    "os.add_dll_directory",
})  # fmt: skip
_STARTS: Final = frozenset({
    "subprocess.Popen", "os.fork", "os.forkpty", "os.exec", "os.posix_spawn",
    "os.spawn", "os.system", "pty.spawn", "_posixsubprocess.fork_exec",
})  # fmt: skip
_STARTER: Final = "_posixsubprocess"
_FORK_EXEC: Final = f"{_STARTER}.fork_exec"
_PROCESSES: Final = _STARTS | {"os.kill", "os.killpg", "signal.pthread_kill"}
_SOCKETS: Final = frozenset({
    "socket.connect", "socket.bind", "socket.sendto", "socket.sendmsg",
    "socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr",
    "socket.getnameinfo",
})  # fmt: skip
_OF_TWO_PATHS: Final = frozenset({"os.link", "os.rename", "os.symlink"})
_GUARDED: Final = _FILES | _PROCESSES | _SOCKETS
_IMPORTING: Final = "<frozen importlib"
_put_up: Final = threading.Lock()


class ImportGuard(MetaPathFinder):
    """Refuses first imports in a client's block; while it is there, the hook is too."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,  # noqa: ARG002 - the protocol's shape
        target: ModuleType | None = None,  # noqa: ARG002 - the protocol's shape
    ) -> None:
        """Refuse, or leave it to the finders behind."""
        if context.client_frame() is not None:
            # Not an `ImportError`: Python would remember that the module is missing.
            raise LateImportError(
                f"module `{fullname}` is imported for the first time inside an "
                "impersonation block",
                advice=f"import `{fullname}` when the server starts",
            )


def install() -> None:
    """Put the tripwire up, once for this process."""
    if _is_up():
        return
    with _put_up:
        if not _is_up():
            # The finder last: an interrupt before it must not leave the others out.
            frames.add_hook(_GUARDED, _on_event)
            _have_starts_told()
            sys.meta_path.insert(0, ImportGuard())


def _is_up() -> bool:
    # Others may have put finders of theirs before it.
    return any(type(finder) is ImportGuard for finder in sys.meta_path)


def _have_starts_told() -> None:
    """Have `_posixsubprocess.fork_exec` raise an event, as `subprocess.Popen` does.

    `subprocess` has a reference of its own to it, and an event of its own.
    """
    try:
        module = import_module(_STARTER)
    except ImportError:
        return  # another system's Python
    start: Callable[..., int] = module.fork_exec
    if getattr(start, "is_told", False):
        return

    @wraps(start)
    def fork_exec(*arguments: Any) -> int:
        program = next(iter(arguments[1]), b"") if len(arguments) > 1 else b""
        sys.audit(_FORK_EXEC, program)
        return start(*arguments)

    vars(fork_exec)["is_told"] = True
    vars(module)["fork_exec"] = fork_exec


def _on_event(event: str, arguments: tuple[object, ...]) -> None:
    # Without the twin every audited event comes here: the common ways out are first.
    if event not in _GUARDED:
        return
    frame = context.watched_frame()
    if frame is None:
        return
    if event == "open" and arguments and isinstance(arguments[0], int):
        return  # a descriptor, judged when it was opened
    if frame.kind is FrameKind.HANDLER and _is_importing():
        return
    if _is_judged(frame, event, arguments):
        _note(frame, event, arguments, None)
        if event == "open" and frame.look is not None:
            frame.look(arguments[0])  # a FIFO would keep this thread for ever
        return
    error = _refusal(frame, event)
    _note(frame, event, arguments, error)
    raise error


def _is_importing() -> bool:
    """Tell whether the act in progress is the import system's own."""
    acting = sys._getframe(2)  # noqa: SLF001 - the code that the event is about
    return acting.f_code.co_filename.startswith(_IMPORTING)


def _refusal(frame: Frame, event: str) -> AccessDeniedError:
    if frame.kind is FrameKind.HANDLER:
        return AccessDeniedError(
            f"`{event}` is refused in a handler that has not said who it is: it would "
            "be done as the server",
            advice=_advice(frame, event, "say who acts"),
        )
    if frame.kind is FrameKind.SERVER:
        return AccessDeniedError(
            f"`{event}` is refused: the server's token entered at {frame.where} is of "
            "a level that only identifies",
            advice="enter `impersonate_self()` at level impersonation",
        )
    if frame.has_ended() or not frame.is_mine():
        # Code that was begun in the block and runs elsewhere, or after it, believes
        # to be the client; done now it would be done as the server.
        return AccessDeniedError(
            f"`{event}` is refused: this thread or task holds a copy of the identity "
            f"entered at {frame.where}, and is nobody",
            advice="pass the client on explicitly and enter `client.impersonate()` "
            "where the work is done",
        )
    if context.hidden_frame() is not None:
        return AccessDeniedError(
            f"`{event}` is refused: the block entered at {frame.where} is open on this "
            "thread in another context, such as a greenlet's, and the kernel would "
            "judge by it",
            advice="leave a block before anything else runs on its thread",
        )
    return AccessDeniedError(
        f"`{event}` is refused inside the impersonation block entered at "
        f"{frame.where}: the kernel would judge the server, not the client",
        advice=_advice(frame, event, "do it outside the block"),
    )


def _note(
    frame: Frame,
    event: str,
    arguments: tuple[object, ...],
    error: AccessDeniedError | None,
) -> None:
    """Have the trail name what a block asks of the machine."""
    if frame.guard is not None:
        path = " -> ".join(_paths(event, arguments))
        frame.guard.files.note_raw(frame.subject, event, path, error=error)


def _paths(event: str, arguments: tuple[object, ...]) -> tuple[str, ...]:
    """Return what an event is about, as far as it says so by path."""
    names = arguments[: 2 if event in _OF_TWO_PATHS else 1]
    return tuple(
        name if isinstance(name, str) else name.decode("utf-8", "surrogateescape")
        for name in names
        if isinstance(name, str | bytes)
    )


def _is_judged(frame: Frame, event: str, arguments: tuple[object, ...]) -> bool:
    """Tell whether the kernel judges this very act as the client."""
    if not frame.is_judged_here() or event in _PROCESSES:
        return False
    if context.raw_frame() is None:
        return False  # found on the thread alone: what runs here is not inside of it
    if event in _SOCKETS:
        # The network does not see uids; only local sockets are judged by them.
        peer = arguments[0] if arguments else None
        return isinstance(peer, socket.socket) and peer.family == socket.AF_UNIX
    return True


def _advice(frame: Frame, event: str, otherwise: str) -> str:
    verbs = () if frame.guard is None else frame.guard.verbs
    as_server = "say `with server.as_server():`, which is written down"
    if event in _FILES and "client.open" in verbs:
        return (
            "use `client.open(path)`, or run a block on a thread of `server.executor()`"
        )
    if event in _STARTS and "client.start" in verbs:
        return (
            "use `client.start(argv)`; if the server's own token is meant, " + as_server
        )
    return f"{otherwise}, or {as_server}"
