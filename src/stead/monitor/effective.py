"""Which token counts here: the thread's, or else the server's, the primary one.

Which servers are open in this process is known here, since a process of several has no
primary token but where one of them is in force.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from stead.errors import NoProcessTokenError, NoThreadTokenError
from stead.monitor.context import current_frame, raw_frame
from stead.monitor.frames import FrameKind

if TYPE_CHECKING:
    from stead.model.token import AccessToken
    from stead.monitor.guard import Guard

_guards: Final[list[Guard]] = []


def open_guard(guard: Guard) -> None:
    """Say that a server is open in this process."""
    _guards.append(guard)


def close_guard(guard: Guard) -> None:
    """Say that a server is open no more."""
    if guard in _guards:
        _guards.remove(guard)


def current_guard() -> Guard | None:
    """Return the guard in force: the frame's, the only open server's, or None.

    Raises:
        NoProcessTokenError: several servers are open and none of them is in force.
        StrangerIdentityError: what was found here is not this thread's or task's own.
    """
    if raw_frame() is None and not _guards:
        return None
    frame = current_frame()
    if frame is not None and frame.guard is not None:
        return frame.guard
    guards = tuple(_guards)
    if len(guards) > 1:
        raise NoProcessTokenError(
            "several servers are open in this process, and none is in force",
            advice="ask the one that is meant: `server.token`, `client.impersonate()`",
        )
    return guards[0] if guards else None


def process_token() -> AccessToken:
    """Return the primary token of this process (Win32: OpenProcessToken).

    Raises:
        NoProcessTokenError: no server is open here, or several and none is in force.
        StrangerIdentityError: what it found is not its own.
    """
    guard = current_guard()
    if guard is None:
        raise NoProcessTokenError(
            "this process has no primary token", advice="open a `ProtectedServer`"
        )
    return guard.process_token


def thread_token() -> AccessToken:
    """Return the token this thread impersonates with (Win32: OpenThreadToken).

    Raises:
        NoThreadTokenError: it impersonates nobody.
        StrangerIdentityError: what it found is not its own.
    """
    frame = current_frame()
    if frame is None or frame.subject is None:
        raise NoThreadTokenError(
            "this thread impersonates nobody",
            advice="enter `with client.impersonate():` first",
        )
    return frame.subject.token


def effective_token() -> AccessToken:
    """Return the token that checks use: the thread's, else the process's.

    Raises:
        NoThreadTokenError: this is a server's handler and it has not said who it is.
        NoProcessTokenError: there is no thread token and no server.
        StrangerIdentityError: what it found is not its own.
    """
    frame = current_frame()
    if frame is None or (frame.kind is FrameKind.SERVER and frame.subject is None):
        return process_token()
    if frame.subject is None:
        raise NoThreadTokenError(
            "a handler has no identity of its own",
            advice="act for the client with `with client.impersonate():`, or say "
            "`with server.as_server():`, which is written down",
        )
    return frame.subject.token
