"""Who this thread or task is: the one place that holds ambient identity.

A context variable holds the innermost `Frame`. A frame knows the thread and the task
that entered it, as objects (their numbers are used again). Contexts are copied freely
by asyncio and executors, so a frame may be found by a thread or task that did not enter
it: a stranger. A stranger is told so; it never silently becomes somebody.

This module and the bounded intern tables are the only mutable module state of Stead.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

from stead.errors import (
    NoProcessTokenError,
    NoThreadTokenError,
    StrangerIdentityError,
)
from stead.model.token import AccessToken, ImpersonationLevel

if TYPE_CHECKING:
    from stead.monitor.guard import Guard
    from stead.monitor.ports import Subject


class FrameKind(Enum):
    """What a frame makes of its thread."""

    HANDLER = "a server's handler, which is nobody until it says who"
    CLIENT = "the client"
    SERVER = "the server, on purpose"


@dataclass(slots=True, eq=False)
class Frame:
    """One entered identity.

    Attributes:
        kind: what it makes of the thread.
        subject: the client, for a CLIENT frame; for a SERVER one its own token's copy,
            or None for the token itself.
        guard: the server's guard, or None for a bare token outside any server.
        outer: the frame around this one.
        where: file and line that entered it.
        is_kernel: whether the kernel judges this thread as the client.
        look: refuses a path that must not be opened, where the kernel judges.
        revert: how `revert_to_self` leaves it; None for a block's frame.
        is_closed: left, wherever that happened; it makes nobody anything any more.
        thread: the thread that entered it.
        task: the asyncio task that entered it, or None.
    """

    kind: FrameKind
    subject: Subject | None
    guard: Guard | None
    outer: Frame | None
    where: str
    thread: threading.Thread
    task: asyncio.Task[object] | None
    is_kernel: bool = False
    look: Callable[[object], None] | None = None
    revert: Callable[[], None] | None = None
    is_closed: bool = False

    def is_mine(self) -> bool:
        """Tell whether this very thread and task entered the frame."""
        return self.thread is threading.current_thread() and self.task is running_task()

    @property
    def may_act(self) -> bool:
        """Whether its token does more than identify."""
        if self.subject is None:
            return True
        return self.subject.token.level >= ImpersonationLevel.IMPERSONATION

    def is_judged_here(self) -> bool:
        """Tell whether the kernel judges this thread as the frame's identity.

        In every task of the thread: the kernel knows threads alone.
        """
        return (
            self.is_kernel
            and not self.is_closed
            and self.thread is threading.current_thread()
        )


class _Here(threading.local):
    """The clients' blocks that are open on this thread, whatever its context."""

    def __init__(self) -> None:
        self.clients: list[Frame] = []


_current: Final[ContextVar[Frame | None]] = ContextVar("stead_identity", default=None)
_here: Final = _Here()
_guards: Final[list[Guard]] = []
_PACKAGE: Final = __name__.partition(".")[0]


def running_task() -> asyncio.Task[object] | None:
    """Return the asyncio task that runs on this thread, or None."""
    if asyncio._get_running_loop() is None:  # noqa: SLF001 - the cheap documented probe
        return None
    return asyncio.current_task()


def is_loop_thread() -> bool:
    """Tell whether an event loop runs on this thread right now."""
    return asyncio._get_running_loop() is not None  # noqa: SLF001 - as above


def raw_frame() -> Frame | None:
    """Return the innermost frame this context holds, a stranger's or closed too."""
    return _current.get()


def enter_frame(frame: Frame) -> None:
    """Make `frame` the innermost one of this context."""
    if frame.kind is FrameKind.CLIENT:
        _here.clients.append(frame)
    _current.set(frame)


def leave_frame(frame: Frame) -> bool:
    """Take `frame` away, on the thread that entered it.

    Returns:
        whether it was the innermost one of this context; if not, the context stays.
    """
    if frame in _here.clients:
        _here.clients.remove(frame)
    is_innermost = _current.get() is frame
    if is_innermost:
        _current.set(live_outer(frame.outer))
    return is_innermost


def current_frame() -> Frame | None:
    """Return the frame in force here, or None.

    Raises:
        StrangerIdentityError: the frame found here was entered by another thread or
            task, or was left already.
    """
    frame = _current.get()
    if frame is None or frame.kind is FrameKind.HANDLER:
        # A handler's frame gives nobody's identity, so every copy of it is right.
        return frame
    if frame.is_closed or not frame.is_mine():
        raise StrangerIdentityError(
            f"found a copy of the identity entered at {frame.where}, which is not "
            "this thread's or task's own",
            advice="pass the client on explicitly and enter `client.impersonate()` "
            "where the work is done",
        )
    return frame


def live_outer(frame: Frame | None) -> Frame | None:
    """Return the innermost frame from `frame` outward that has not been left."""
    while frame is not None and frame.is_closed:
        frame = frame.outer
    return frame


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


def watched_frame() -> Frame | None:
    """Return the frame that raw acts here are not done as the server in; never raises.

    That is a client's or a handler's. A stranger's copy and a frame that was left
    elsewhere count too, and so does an open block of this thread in a fresh context:
    what begins in a client's block does not become the server's by moving on. None
    where nobody is anybody, and where the server acts on purpose.
    """
    frame = _current.get()
    if frame is None:
        return _here.clients[-1] if _here.clients else None
    return None if frame.kind is FrameKind.SERVER and frame.may_act else frame


def client_frame() -> Frame | None:
    """Return `watched_frame` if it is a client's, else None; never raises."""
    frame = watched_frame()
    return frame if frame is not None and frame.kind is FrameKind.CLIENT else None


def caller() -> str:
    """Return file and line of the nearest code outside Stead, for error texts."""
    frame = sys._getframe(1)  # noqa: SLF001 - the only way to name the caller cheaply
    while frame.f_back is not None and (
        frame.f_globals.get("__name__", "").partition(".")[0]
        in (_PACKAGE, "contextlib")
    ):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"
