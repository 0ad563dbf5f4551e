"""Entering and leaving identities on this thread (Win32: client impersonation).

The ways in are `impersonate` and a server's own `client.impersonate` and `as_server`
(blocks) and, in this low module only, `set_thread_token`, which `revert_to_self`
undoes. Blocks nest and always restore what was around them.
"""

from __future__ import annotations

import threading
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeGuard

from stead.errors import (
    BadImpersonationLevelError,
    LoopThreadError,
    NoThreadTokenError,
    RevertOrderError,
    SteadError,
)
from stead.model.audit_record import Principal
from stead.model.token import AccessToken, ImpersonationLevel
from stead.monitor import context, tripwire
from stead.monitor.context import Frame, FrameKind
from stead.monitor.ports import Entered, Subject

if TYPE_CHECKING:
    from stead.monitor.guard import Guard

_NOTHING_TO_LEAVE = Entered(is_kernel=False, leave=lambda: None)


class Block:
    """A ``with`` block in which this thread is somebody; used once.

    Entering either makes the thread that identity or raises, and then nothing in the
    block runs. Leaving restores what was around the block. A block left out of order,
    twice, or on another thread raises `RevertOrderError` and makes nobody anybody:
    whatever was entered last stays in force until it is left itself. While a block is
    in force it holds the client's session: closing the client ends it only afterwards.
    """

    __slots__ = (
        "_entered", "_frame", "_guard", "_holds", "_is_left", "_keep", "_kind",
        "_subject",
    )  # fmt: skip

    def __init__(
        self,
        kind: FrameKind,
        subject: Subject | None,
        guard: Guard | None,
        *,
        keep: object = None,
    ) -> None:
        self._kind = kind
        self._subject = subject
        self._guard = guard
        self._keep = keep  # whose session must live as long as the block does
        self._entered = _NOTHING_TO_LEAVE
        self._frame: Frame | None = None
        self._is_left = False
        self._holds = False

    def __enter__(self) -> Self:
        """Become the identity.

        1. It may be entered here: a block is used once; never on a loop's thread.
        2. The token may be acted for: level, and a session that lives and is held.
        3. The record is durable.
        4. The kernel follows, where it can; the tripwire stands where it cannot.
        5. This context says so.

        Raises:
            LoopThreadError: an event loop runs on this thread.
            BadImpersonationLevelError: the client allows less than this.
            LogonSessionEndedError: the client's session has ended.
            LedgerUnavailableError: it could not be written down.
            ImpersonationRefusedError: the kernel cannot become this client.
        """
        if self._frame is not None:
            raise RevertOrderError(f"the block entered at {self._frame.where} is used")
        if self._kind is FrameKind.CLIENT:
            self._require_may_enter()
        tripwire.install()
        if self._guard is not None:
            self._hold(self._guard)
            try:
                self._guard.announce(self._kind, self._subject)
                is_client = self._kind is FrameKind.CLIENT
                self._entered = self._guard.enter(self._subject if is_client else None)
            except BaseException:
                self._release()
                raise
        self._frame = Frame(
            kind=self._kind,
            subject=self._subject,
            guard=self._guard,
            outer=context.live_outer(context.raw_frame()),
            where=context.caller(),
            thread=threading.current_thread(),
            task=context.running_task(),
            is_kernel=self._entered.is_kernel,
            look=self._entered.look,
        )
        context.enter_frame(self._frame)
        return self

    def _hold(self, guard: Guard) -> None:
        if self._subject is None:
            return
        try:
            guard.liveness.hold(self._subject.token)
        except SteadError:
            guard.announce(self._kind, self._subject)  # which refuses it, recorded
            raise
        self._holds = True

    def _release(self) -> None:
        holds, self._holds = self._holds, False
        if holds and self._guard is not None and self._subject is not None:
            self._guard.liveness.release(self._subject.token.logon_id)

    def __del__(self) -> None:
        # Entered, never left and forgotten: nobody can leave it any more.
        if getattr(self, "_holds", False):
            self._release()

    def _require_may_enter(self) -> None:
        if context.is_loop_thread():
            raise LoopThreadError(
                "an event loop runs on this thread, so it cannot impersonate",
                advice="run the block on a thread: "
                "`await loop.run_in_executor(server.executor(), work)`",
            )
        if self._subject is None:
            raise NoThreadTokenError("there is nobody to impersonate")
        needed, act = ImpersonationLevel.IMPERSONATION, "impersonating"
        level = self._subject.token.level
        if self._guard is not None:
            self._guard.require_level(self._subject, needed, act=act)
        elif level < needed:
            raise BadImpersonationLevelError(level, needed, act=act)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Restore what was around the block.

        Raises:
            RevertOrderError: it was not entered, was left already, or something that
                was entered inside it is still open, or another thread leaves it.
            KernelRefusedError: in place of the `PermissionError` that ends the block
                where the kernel judges it; recorded.
        """
        frame = self._leavable()
        try:
            disorder = self._leave(frame)
            if self._guard is not None:
                self._guard.announce_left(frame, disorder)
        finally:
            self._release()
        if disorder is not None:
            raise disorder
        if self._guard is not None and _is_kernels_no(error, frame):
            raise self._guard.files.refused_by_kernel(frame, error) from error

    def _leavable(self) -> Frame:
        """Return the frame, if it may be left here and now."""
        frame = self._frame
        if frame is None or self._is_left:
            raise RevertOrderError("the block is not entered, or was left already")
        if not frame.is_mine():
            frame.is_closed = True  # who it was meant for is nobody until it is left
            disorder = RevertOrderError(
                f"the block entered at {frame.where} is left by another thread or task",
                advice="leave a block where it was entered; a generator that holds "
                "one must be closed by the thread that runs it",
            )
            if self._guard is not None:
                self._guard.announce_left(frame, disorder)
            raise disorder
        return frame

    def _leave(self, frame: Frame) -> RevertOrderError | None:
        """Leave the frame on its own thread; return what was out of order, if so.

        INVARIANT: this thread is always the innermost identity still open; a block
        left early never makes the code of an inner one somebody else.
        """
        was_closed, frame.is_closed, self._is_left = frame.is_closed, True, True
        try:
            self._entered.leave()
        except RevertOrderError as error:
            return error
        finally:
            is_innermost = context.leave_frame(frame)
        if was_closed:
            return RevertOrderError(
                f"the block entered at {frame.where} was left by another thread or "
                "task before"
            )
        if not is_innermost:
            return RevertOrderError(
                f"the block entered at {frame.where} is left before one inside it, or "
                "in another context",
                advice="the inner one stays in force until it is left itself",
            )
        return None


def _is_kernels_no(
    error: BaseException | None, frame: Frame
) -> TypeGuard[PermissionError]:
    """Tell whether a block ends because the kernel, judging the client, said no."""
    return (
        frame.is_kernel
        and isinstance(error, PermissionError)
        and not isinstance(error, SteadError)
    )


def subject_of(token: AccessToken, guard: Guard | None) -> Subject:
    """Return the subject a bare token speaks for, by the name that the guard knows."""
    name = str(token.user) if guard is None else guard.names(token.user)
    return Subject(token, Principal(token.user, name, token.logon_id))


def impersonate(token: AccessToken) -> Block:
    """Return a block in which this thread impersonates `token`.

    With one server open in this process its guard judges and records the act.
    Without, nothing guards anything: the block only says whom checks are about, and
    raw opens, processes and sockets are refused inside it.

    Args:
        token: an impersonation or primary token at level Impersonation or above.

    Raises:
        NoProcessTokenError: several servers are open and none of them is in force.
        StrangerIdentityError: what was found here is not this thread's or task's own.
    """
    guard = context.current_guard()
    return Block(FrameKind.CLIENT, subject_of(token, guard), guard)


def set_thread_token(token: AccessToken) -> None:
    """Make this thread impersonate `token` until `revert_to_self` (SetThreadToken).

    A block cannot be forgotten and this can: prefer `impersonate`.

    Raises:
        SteadError: as entering a block does.
    """
    block = impersonate(token)
    block.__enter__()
    frame = context.raw_frame()
    if frame is not None:
        frame.revert = lambda: block.__exit__(None, None, None)


def revert_to_self() -> None:
    """Undo the innermost `set_thread_token` of this thread (Win32: RevertToSelf).

    Only that one: an identity around it, entered by somebody else, is restored.

    Raises:
        NoThreadTokenError: this thread impersonates nobody.
        RevertOrderError: the innermost identity is a block's; leave the block.
    """
    frame = context.current_frame()
    if frame is None or frame.kind is not FrameKind.CLIENT:
        raise NoThreadTokenError("this thread impersonates nobody")
    if frame.revert is None:
        raise RevertOrderError(
            f"the identity was entered by the block at {frame.where}",
            advice="it ends where its `with` block ends",
        )
    frame.revert()
