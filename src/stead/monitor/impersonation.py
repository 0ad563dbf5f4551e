"""Entering and leaving identities on this thread (Win32: client impersonation).

The ways in are `impersonate` and a server's own `client.impersonate` and `as_server`
(blocks) and, in this low module only, `set_thread_token`, which `revert_to_self`
undoes. Blocks nest and always restore what was around them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Self, TypeGuard

from stead.errors import (
    BadImpersonationLevelError,
    LoopThreadError,
    NoThreadTokenError,
    RevertOrderError,
    SteadError,
)
from stead.model.arguments import wrong_kind
from stead.model.audit_record import Principal
from stead.model.sid import Sid
from stead.model.token import AccessToken, ImpersonationLevel
from stead.monitor import context, effective, loops, tripwire
from stead.monitor.context import Frame
from stead.monitor.covering import found_cover
from stead.monitor.frames import TWIN, Door, Exit, FrameKind, spot
from stead.monitor.holding import Hold
from stead.monitor.passing import keep_pass, pass_of
from stead.monitor.ports import Subject

if TYPE_CHECKING:
    from stead.monitor.guard import Guard

_CLIENT: Final = FrameKind.CLIENT
_ADVICE: Final = "a client has `client.impersonate()`, and a token, `client.token`"
_HANDLER: Final = FrameKind.HANDLER
_NEEDED: Final = ImpersonationLevel.IMPERSONATION
MOST_SUBJECTS: Final = 1_024
"""Of how many users it is remembered for whom their last bare token speaks."""

_subjects: Final[dict[Sid, Subject]] = {}  # an intern table: a subject says no more


class Block(Door):
    """A ``with`` block in which this thread is somebody; used once.

    Entering either makes the thread that identity or raises, and then nothing in the
    block runs. Leaving restores what was around the block. A block left out of order,
    twice, or on another thread raises `RevertOrderError` and makes nobody anybody:
    whatever was entered last stays in force until it is left itself. While a block is
    in force it holds the client's session: closing the client ends it only afterwards.

    An interrupt at any moment, KeyboardInterrupt too, finds the thread as it was before
    the block or in it, never between.
    """

    __slots__ = ()

    __exit__ = Exit()

    def _enter(self) -> Self:
        """Become the identity: what `with` does first.

        1. It may be entered here: a block is used once; never on a loop's thread.
        2. The token may be acted for: level, and a session that lives and is held.
        3. The record is durable, or that of the client's operation is.
        4. The kernel follows, where it can; the tripwire stands where it cannot.
        5. This context says so.

        Raises:
            LoopThreadError: an event loop runs on this thread.
            BadImpersonationLevelError: the client allows less than this.
            LogonSessionEndedError: the client's session has ended.
            LedgerUnavailableError: it could not be written down.
            ImpersonationRefusedError: the kernel cannot become this client.
            RevertOrderError: the kernel judges this thread by a block that was entered
                in another context, such as a greenlet's.
        """
        if self._frame is not None:
            raise RevertOrderError(f"the block entered at {self._frame.where} is used")
        if self._kind is _CLIENT:
            self._require_may_enter()
        elif self._kind is not _HANDLER and context.makes_others_too():
            raise LoopThreadError(
                "other tasks run on this thread, and would be the server too",
                advice="do it on a thread of its own, such as by "
                "`await trio.to_thread.run_sync(work)`",
            )
        if self._guard is not None and self._kind is not _HANDLER:
            require_none_hidden()  # a handler's context is another one on purpose
        tripwire.install()
        frame = self._new_frame()
        try:
            self._become(frame)
        except BaseException:
            self._undo(frame)
            raise
        return self

    def _new_frame(self) -> Frame:
        # No statement is at work that holds one: it is entered by hand.
        grip = None if self._grip is None or self._grip() is None else self._grip
        code, last = (None, 0) if self._at else spot()
        return Frame(
            kind=self._kind,
            subject=self._subject,
            guard=self._guard,
            outer=context.still_around(context.raw_frame()),
            place=context.here(),
            task=loops.running_task(),
            grip=grip,
            at=self._at,
            code=code,
            last=last,
        )

    def _become(self, frame: Frame) -> None:
        """Take steps 2 to 5; whatever stops it, `_undo` puts back."""
        guard = self._guard
        if guard is not None and not self._is_passed(frame):
            self._take_hold(guard)
            is_covered = guard.blocks.announce(self._kind, self._subject, at=self._at)
            self._is_announced = True
            is_client = self._kind is _CLIENT
            entered = guard.blocks.enter(self._subject if is_client else None)
            self._entered = entered
            frame.is_kernel, frame.look = entered.is_kernel, entered.look
            if is_covered:
                keep_pass(frame, entered.again)
        self._frame = frame
        context.enter_frame(frame)

    def _is_passed(self, frame: Frame) -> bool:
        """Take steps 2 to 4 on what was found before, if there is such a thing."""
        known = pass_of(frame) if self._kind is _CLIENT else None
        held = None if known is None else known.hold
        entered = None if known is None or held is None else known.enter()
        if entered is None:
            return False
        self._entered = entered
        self._pass, self._hold, self._is_announced = known, held, True
        frame.is_kernel, frame.look = entered.is_kernel, entered.look
        return True

    def _undo(self, frame: Frame) -> None:
        """Make the thread what it was, and let the block be tried again."""
        entered, self._entered = self._entered, None
        try:
            if entered is not None:
                entered.leave()
        finally:
            context.leave_frame(frame)
            frame.is_closed = True
            self._frame = None
            if self._is_announced:
                self._is_announced = False
                self._announce_left(frame, None)
            self._pass = None
            self._release()

    def _take_hold(self, guard: Guard) -> None:
        if self._subject is None:
            return
        self._hold = Hold(guard.liveness, self._subject.token)
        try:
            self._hold.take()
        except SteadError:
            guard.blocks.announce(
                self._kind, self._subject, at=self._at
            )  # refuses, recorded
            raise

    def _release(self) -> None:
        if self._hold is not None:
            self._hold.release()  # interrupted before the next line, it is done again
            self._hold = None

    def _forgotten(self) -> None:
        # Nobody can leave it any more: an interrupt kept `leave` from its work, or it
        # was entered by hand and forgotten.
        frame = None if self._is_told else self._frame
        if frame is not None and self._kind is not _HANDLER:
            self._announce_left(frame, _forgotten(frame))
            for watch in context.watches():
                watch.forgotten(frame)
        self._release()

    def _tell_end(self, frame: Frame, disorder: RevertOrderError | None) -> None:
        self._is_told = True
        self._announce_left(frame, disorder)
        if disorder is not None:
            for watch in context.watches():
                watch.strayed(frame, f"was not left in order: {disorder}")

    def _announce_left(self, frame: Frame, disorder: RevertOrderError | None) -> None:
        if self._pass is not None and disorder is None:
            self._pass.leave()
        elif self._guard is not None:
            self._guard.blocks.announce_left(frame, disorder)

    def _require_may_enter(self) -> None:
        if loops.is_loop_thread():
            raise LoopThreadError(
                "an event loop runs on this thread, so it cannot impersonate",
                advice="run the block on a thread: "
                "`await loop.run_in_executor(server.executor(), work)`, or "
                "`await trio.to_thread.run_sync(work)`",
            )
        if self._subject is None:
            raise NoThreadTokenError("there is nobody to impersonate")
        require_level(self._subject, self._guard)

    def leave(
        self,
        kind: type[BaseException] | None = None,  # noqa: ARG002 - what `with` passes
        error: BaseException | None = None,
        traceback: object = None,  # noqa: ARG002 - likewise
    ) -> None:
        """Restore what was around the block; the `with` statement does, at its end.

        Raises:
            RevertOrderError: it was not entered, was left already, or something that
                was entered inside it is still open, or another thread leaves it.
            KernelRefusedError: in place of the `PermissionError` that ends the block
                where the kernel judges it; recorded.
        """
        frame = self._leavable()
        try:
            disorder = self._leave(frame)
            self._tell_end(frame, disorder)
        finally:
            self._release()
        if disorder is not None:
            raise disorder
        if self._guard is not None and _is_kernels_no(error, frame):
            raise self._guard.files.refused_by_kernel(frame, error) from error

    def _leavable(self) -> Frame:
        """Return the frame, if it may be left here and now."""
        frame = self._frame
        if frame is None or frame.is_left or frame.is_let_go():
            raise RevertOrderError("the block is not entered, or was left already")
        if not frame.is_mine():
            frame.is_closed = True  # who it was meant for is nobody until it is left
            disorder = RevertOrderError(
                f"the block entered at {frame.where} is left by another thread or task",
                advice="leave a block where it was entered; a generator that holds "
                "one must be closed by the thread that runs it",
            )
            self._tell_end(frame, disorder)
            raise disorder
        return frame

    def _leave(self, frame: Frame) -> RevertOrderError | None:
        """Leave the frame on its own thread; return what was out of order, if so.

        INVARIANT: this thread is always the innermost identity still open; a block
        left early never makes the code of an inner one somebody else.
        """
        was_closed = frame.is_closed
        try:
            if self._entered is not None:
                self._entered.leave()
        except RevertOrderError as error:
            return error
        finally:
            is_innermost = context.leave_frame(frame)
            frame.is_closed = frame.is_left = True
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


def _forgotten(frame: Frame) -> RevertOrderError | None:
    """Return what is wrong about a block that nobody can leave, unless it ended."""
    if frame.has_ended():
        return None
    return RevertOrderError(
        f"the block entered at {frame.where} was never left, and nobody can any more"
    )


def require_level(subject: Subject, guard: Guard | None) -> None:
    """Return if the client lets itself be impersonated; recorded where it does not.

    Raises:
        BadImpersonationLevelError: it allows less.
    """
    act = "impersonating"
    if guard is not None:
        guard.require_level(subject, _NEEDED, act=act)
    elif subject.token.level < _NEEDED:
        raise BadImpersonationLevelError(subject.token.level, _NEEDED, act=act)


def require_none_hidden() -> None:
    """Return if this context holds the block by which the kernel judges the thread.

    A greenlet that became somebody here would make the code of another one that very
    somebody, when the thread goes on with it.

    Raises:
        RevertOrderError: it does not.
    """
    hidden = context.hidden_frame()
    if hidden is not None:
        raise RevertOrderError(
            f"the block entered at {hidden.where} is open on this thread in another "
            "context, such as a greenlet's: the kernel knows threads alone",
            advice="leave a block before anything else runs on its thread",
        )


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
    """Return the subject a bare token speaks for, by the name that the guard knows.

    Outside any server a subject says what its token says, and is remembered with it.
    """
    if not isinstance(token, AccessToken):
        raise wrong_kind("token", token, _ADVICE)
    if guard is not None:
        return _subject(token, guard.names(token.user))
    known = _subjects.get(token.user)
    if known is not None and known.token is token:
        return known
    if len(_subjects) >= MOST_SUBJECTS:
        _subjects.clear()
    made = _subjects[token.user] = _subject(token, str(token.user))
    return made


def _subject(token: AccessToken, name: str) -> Subject:
    return Subject(token, Principal(token.user, name, token.logon_id))


def impersonate(token: AccessToken) -> Block:
    """Return a block in which this thread impersonates `token`.

    With one server open in this process its guard judges and records the act.
    Without, nothing guards anything: the block only says whom checks are about, and
    raw opens, processes and sockets are refused inside it.

    Args:
        token: an impersonation or primary token at level Impersonation or above.

    Raises:
        InvalidRequestError: it is no token.
        NoProcessTokenError: several servers are open and none of them is in force.
        StrangerIdentityError: what was found here is not this thread's or task's own.
    """
    guard = effective.current_guard()
    return Block(_CLIENT, subject_of(token, guard), guard)


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
        frame.revert = block.leave


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


if TWIN is not None:
    context.connect(TWIN, tripwire.ImportGuard, _NEEDED, found_cover)
