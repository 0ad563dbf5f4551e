"""Who this thread or task is: the one place that holds ambient identity.

A context variable holds the innermost `Frame`. A frame knows the thread and the task
that entered it, as objects (their numbers are used again), and the process. Contexts
are copied freely by asyncio and executors, so a frame may be found by a thread or task
that did not enter it: a stranger. A stranger is told so; it never silently becomes
somebody.

A frame that a `with` statement entered is in force only as long as that statement is at
work: an interrupt can keep Python from running the first line of `__exit__`, and then
nobody is inside the block any more although nobody left it (docs/adr/0055).

This module, the open servers of `stead.monitor.effective` and the bounded intern tables
are the only mutable module state of Stead.
"""

from __future__ import annotations

import asyncio
import threading
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final, Protocol

from stead.errors import RevertOrderError, StrangerIdentityError
from stead.model.token import ImpersonationLevel
from stead.monitor.frames import Fields, FrameKind, Place, process, spot, where
from stead.monitor.loops import in_trio, is_loop_thread, running_task

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType


class Frame(Fields):
    """One entered identity; `stead.monitor.frames` says what is known of it."""

    __slots__ = ()

    @property
    def where(self) -> str:
        """File and line that entered it."""
        return self.at or where(self.code, self.last)

    @property
    def thread(self) -> threading.Thread:
        """The thread that entered it."""
        return self.place.thread

    def is_mine(self) -> bool:
        """Tell whether this very thread and task of this process entered the frame."""
        return (
            self.place is _here.clients
            and self.task is running_task()
            and self.process == process()
        )

    def is_let_go(self) -> bool:
        """Tell whether its `with` statement has ended without leaving it.

        Not where the kernel follows: there it is in force until the thread is settled.
        """
        return self.is_adrift() and not self.is_closed and not self.is_kernel

    def is_behind(self) -> bool:
        """Tell whether the thread that entered it is out of it."""
        if self.is_closed:
            return self.is_left or self.grip is None or self.is_adrift()
        return self.is_let_go()

    def is_adrift(self) -> bool:
        """Tell whether the `with` statement that entered it is at work no more."""
        return self.grip is not None and self.grip() is None

    def has_ended(self) -> bool:
        """Tell whether it makes nobody anything any more."""
        return self.is_closed or self.is_let_go()

    @property
    def may_act(self) -> bool:
        """Whether its token does more than identify."""
        if self.subject is None:
            return True
        return self.subject.token.level >= ImpersonationLevel.IMPERSONATION

    def is_judged_here(self) -> bool:
        """Tell whether the kernel judges this thread as the frame's identity.

        In every task of the thread: the kernel knows threads alone, and goes by what
        was entered last.
        """
        return (
            self.is_kernel
            and not self.is_closed
            and self.place is _here.clients
            and self.process == process()
            and bool(_here.kernels)
            and _here.kernels[-1] is self
        )


class FrameWatch(Protocol):
    """Is told of every frame that is entered and left, on the thread that does."""

    def entered(self, frame: Frame) -> None:
        """Take note of a frame that is in force now."""

    def left(self, frame: Frame) -> None:
        """Take note of a frame that is not in force any more."""

    def strayed(self, frame: Frame, why: str) -> None:
        """Take note of a frame that was left in disorder."""

    def forgotten(self, frame: Frame) -> None:
        """Take note of a frame that nobody can leave any more."""

    def ended(self, begun: Frame | None, moment: str) -> None:
        """Look at what is in force, since `begun`, where something ends."""

    def left_open(self, before: tuple[Frame, ...], moment: str) -> None:
        """Look at this thread's blocks but those before, where something ends."""


class _Here(threading.local):
    """What is open on this thread, whatever its context.

    Attributes:
        clients: the clients' blocks.
        kernels: the blocks that made the kernel follow, and whatever is inside them.
    """

    def __init__(self) -> None:
        self.clients = Place(threading.current_thread())
        self.kernels = self.clients.kernels


_current: Final[ContextVar[Frame | None]] = ContextVar("stead_identity", default=None)
_here: Final = _Here()
_watches: Final[list[FrameWatch]] = []


def connect(
    twin: ModuleType,
    finder: type,
    level: ImpersonationLevel,
    cover: Callable[[], object],
) -> None:
    """Give the twin in C what it asks, in the order in which it takes it.

    Args:
        twin: the twin.
        finder: the kind of finder by which the tripwire is known to be up.
        level: what a client has to allow to be entered.
        cover: returns the operation that this code is a part of.
    """
    twin.connect(
        Frame, _current.get, _current.set, _here, _watches,
        asyncio._get_running_loop, finder,  # noqa: SLF001 - as in `loops`
        FrameKind.CLIENT, FrameKind.HANDLER, level, cover, RevertOrderError, in_trio,
    )  # fmt: skip


def this_process() -> int:
    """Return the number of this process."""
    return process()


def raw_frame() -> Frame | None:
    """Return the innermost frame this context holds, a stranger's or closed too."""
    return _current.get()


def here() -> Place:
    """Return what stands for this thread."""
    return _here.clients


def enter_frame(frame: Frame) -> None:
    """Make `frame` the innermost one of this context."""
    if frame.kind is FrameKind.CLIENT or not frame.may_act:
        _here.clients.append(frame)
    if frame.is_kernel or _here.kernels:
        _here.kernels.append(frame)
    _current.set(frame)
    for watch in _watches:
        watch.entered(frame)


def leave_frame(frame: Frame) -> bool:
    """Take `frame` away, on the thread that entered it.

    Returns:
        whether it was the innermost one of this context; if not, the context stays.
    """
    if frame in _here.clients:
        _here.clients.remove(frame)
    if frame in _here.kernels:
        _here.kernels.remove(frame)
    is_innermost = _without_let_go(frame) is frame
    if is_innermost:
        _current.set(still_around(frame.outer))
    for watch in _watches:
        watch.left(frame)
    return is_innermost


def _without_let_go(leaving: Frame) -> Frame | None:
    """Return the innermost frame; what was let go inside the leaving one is skipped."""
    frame = _current.get()
    while frame is not None and frame is not leaving and frame.is_let_go():
        frame = frame.outer
    return frame


def begin_step(frame: Frame, inner: Frame | None) -> Frame | None:
    """Put `inner` in force for one step of a coroutine that runs as `frame`.

    Returns:
        what was in force, for `end_step`.
    """
    around = _current.get()
    _here.clients.append(frame)
    _current.set(inner)
    return around


def end_step(frame: Frame, around: Frame | None) -> Frame | None:
    """Put back what was in force around a step; return what was in force in it."""
    inner = _current.get()
    _current.set(around)
    if frame in _here.clients:
        _here.clients.remove(frame)
    return inner


def add_watch(watch: FrameWatch) -> None:
    """Tell `watch` of every frame from now on."""
    _watches.append(watch)


def watches() -> tuple[FrameWatch, ...]:
    """Return who watches."""
    return tuple(_watches)


def remove_watch(watch: FrameWatch) -> None:
    """Tell `watch` of no frame any more."""
    if watch in _watches:
        _watches.remove(watch)


def current_frame() -> Frame | None:
    """Return the frame in force here, or None.

    Raises:
        StrangerIdentityError: the frame found here was entered by another thread or
            task, or was left already.
    """
    frame = _innermost()
    if frame is None or frame.kind is FrameKind.HANDLER:
        # A handler's frame gives nobody's identity, so every copy of it is right.
        return frame
    if frame.is_closed or frame.is_adrift() or not frame.is_mine():
        raise StrangerIdentityError(
            f"found a copy of the identity entered at {frame.where}, which is not "
            "this thread's or task's own",
            advice="pass the client on explicitly and enter `client.impersonate()` "
            "where the work is done",
        )
    return frame


def _innermost() -> Frame | None:
    """Return what this context holds, without what was let go on this thread."""
    frame = _current.get()
    while frame is not None and frame.is_let_go() and frame.is_mine():
        leave_frame(frame)
        frame = _current.get()
    return frame


def live_outer(frame: Frame | None) -> Frame | None:
    """Return the innermost frame from `frame` outward that has not been left."""
    while frame is not None and frame.has_ended():
        frame = frame.outer
    return frame


def still_around(frame: Frame | None) -> Frame | None:
    """Return the innermost frame from `frame` outward that this thread is still in.

    As `live_outer`, but one that was left elsewhere while its `with` statement is at
    work here stays: this thread is nobody until that ends, whatever it enters and
    leaves inside, and never the server by mistake.
    """
    while frame is not None and frame.is_behind():
        frame = frame.outer
    return frame


def watched_frame() -> Frame | None:
    """Return the frame that raw acts here are not done as the server in; never raises.

    That is a client's or a handler's. A stranger's copy and a frame that was left
    elsewhere count too, and so does an open block of this thread in a fresh context:
    what begins in a client's block does not become the server's by moving on. None
    where nobody is anybody, and where the server acts on purpose.
    """
    frame = _innermost()
    if frame is not None and frame.kind is FrameKind.SERVER and frame.is_closed:
        # Left elsewhere, or in a fork: what runs here believes to be outside of it.
        frame = live_outer(frame)
    if frame is None:
        return _open_here()
    return None if frame.kind is FrameKind.SERVER and frame.may_act else frame


def _open_here() -> Frame | None:
    """Return the client's block that is open on this thread in another context."""
    clients = _here.clients
    # A task's frame is here only in its steps, and closed only after the last.
    while clients and (
        clients[-1].is_let_go()
        or (clients[-1].task is not None and clients[-1].is_closed)
    ):
        clients.pop()
    return clients[-1] if clients else None


def makes_others_too() -> bool:
    """Tell whether whoever became the server here would make other tasks it as well.

    Nobody tells tasks of trio apart; and the kernel, where it follows, knows no tasks.
    """
    return in_trio() or (bool(_here.kernels) and is_loop_thread())


def hidden_frame() -> Frame | None:
    """Return the block that the kernel goes by on this thread, if nobody here knows it.

    It was entered in another context, such as a greenlet's. What runs here is not
    inside of it, whatever the kernel says.
    """
    if not _here.kernels:
        return None
    innermost, frame = _here.kernels[-1], _current.get()
    while frame is not None and frame is not innermost:
        frame = frame.outer
    return innermost if frame is None and innermost.process == process() else None


def end_work() -> None:
    """Forget what is open on this thread, where its work ends, or the program does.

    A hardened thread is proved to be the server anew.
    """
    left = (*_here.clients, *_here.kernels)
    for frame in left:
        frame.is_closed = True
    _here.clients.clear()
    _here.kernels.clear()


def client_frame() -> Frame | None:
    """Return `watched_frame` if it is a client's, else None; never raises."""
    frame = watched_frame()
    return frame if frame is not None and frame.kind is FrameKind.CLIENT else None


def caller() -> str:
    """Return file and line of the nearest code outside Stead, for error texts."""
    return where(*spot())
