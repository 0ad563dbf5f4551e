"""Blocks that an operation enters again and again: judged once, counted, told together.

A handler may become its client a thousand times, at the same line. The first of these
blocks is judged and recorded by itself, and so is one in each tenth of a second. What
was found then is kept as a *pass*: the others are entered on it, and counted. One
record tells of all, at the latest when the next one is judged or the operation ends,
before that is answered (docs/adr/0102).

A pass is for one operation, client, thread and line alone, in blocks inside nobody
else's. It is asked each time, and is good for nothing as soon as the operation has
ended, the session or its lease has, or the trail cannot be written: then the block is
judged as any other.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from stead.errors import SteadError
from stead.model.audit_record import AuditEvent
from stead.monitor.covering import Cover, current_cover
from stead.monitor.frames import FrameKind, PassFields, where
from stead.monitor.holding import Hold, SharedHold

if TYPE_CHECKING:
    from stead.monitor.context import Frame
    from stead.monitor.guard import Guard
    from stead.monitor.ports import Entered, Standing, Subject

UNTOLD: Final = 100_000_000
"""Nanoseconds for which blocks are counted before something is recorded again."""

MOST_PASSES: Final = 64
"""Of how many lines and threads an operation counts; what is more, is recorded."""


class Pass(PassFields):
    """What is known of the blocks that one line of an operation enters on one thread.

    `stead.monitor.frames` says what of it is looked at each time.
    """

    __slots__ = ("_beside", "_lock", "_since", "_told_entered", "_told_left")

    def __init__(
        self, frame: Frame, cover: Cover, guard: Guard, subject: Subject, good: Standing
    ) -> None:
        """Begin with no block; it is good for nothing until `renew`."""
        self.cover, self.subject, self.guard = cover, subject, guard
        self.at, self.code, self.last = frame.at, frame.code, frame.last
        self.is_kernel, self.look = frame.is_kernel, frame.look
        self.hold = _shared(guard, subject)
        self.entered = self.left = 0
        self._standing = good
        self._is_well = cover.sink.is_well
        self._lock = threading.Lock()
        self._beside = frame.place.passes
        self._told_entered = self._told_left = 0
        self._until = self._since = 0

    def _enter(self) -> Entered | None:
        """Do what `enter` says."""
        now = self._standing.good_at()
        if not 0 < now < self._until or self.cover.is_over or not self._is_well():
            self.tell()
            return None
        self.entered += 1
        try:
            return self._again()
        except BaseException as error:
            self._came_to_nothing(error)
            raise

    def _came_to_nothing(self, error: BaseException) -> None:
        """Take note that the kernel did not follow."""
        self.left += 1
        if isinstance(error, SteadError):
            self.guard.blocks.tell_refused(self.subject, error)

    def _leave(self) -> None:
        """Do what `leave` says."""
        self.left += 1
        if self.cover.is_over:
            self.tell()

    def renew(self, again: Callable[[], Entered]) -> None:
        """Take note that a block was judged and recorded by itself just now.

        Args:
            again: enters the same identity once more.
        """
        self._again = again
        now = self._standing.good_at()
        self._until = now + UNTOLD if now else 0
        self._since = self.guard.clock()

    def tell(self) -> None:
        """Have the trail say how many there were since it said so last."""
        with self._lock:
            entered, left = self.entered, self.left
            news = (
                (AuditEvent.IMPERSONATION_ENTERED, entered - self._told_entered),
                (AuditEvent.IMPERSONATION_LEFT, left - self._told_left),
            )
            self._told_entered, self._told_left = entered, left
        for event, many in news:
            if many:
                self.guard.blocks.announce_many(
                    event,
                    self.subject,
                    where=self.at or where(self.code, self.last),
                    many=many,
                    since=self._since,
                )

    def close(self) -> None:
        """Tell of what is untold; the session is held by open blocks alone."""
        self.hold = None
        with suppress(ValueError):
            self._beside.remove(self)
        self.tell()

    def is_of(self, frame: Frame, cover: Cover) -> bool:
        """Tell whether it is about a frame's client, thread and line, and operation."""
        return (
            self.cover is cover
            and self.subject is frame.subject
            and self.guard is frame.guard
            and self.code is frame.code
            and self.last == frame.last
            and self.at == frame.at
        )


def pass_of(frame: Frame) -> Pass | None:
    """Return the pass on which a new frame may be entered, if there is one."""
    passes = frame.place.passes
    if not passes or not _stands_alone(frame):
        return None
    cover = current_cover()
    if cover is None:
        return None
    for known in passes:
        if known.is_of(frame, cover):
            return known
    return None


def keep_pass(frame: Frame, again: Callable[[], Entered] | None) -> None:
    """Take note that a frame was judged, and its record covered, for those to come.

    Args:
        frame: was entered just now.
        again: enters the same identity once more; None if that is to be asked anew.
    """
    known = None if again is None else pass_of(frame) or _made(frame)
    if known is not None and again is not None:
        known.renew(again)
        if known.cover.is_over:
            known.close()  # it ended meanwhile, and nobody else will


def _made(frame: Frame) -> Pass | None:
    """Make a pass for blocks like this one, unless they cannot have one."""
    guard, subject, cover = frame.guard, frame.subject, current_cover()
    if guard is None or subject is None or cover is None or not _stands_alone(frame):
        return None
    standing = guard.liveness.standing(subject.token)
    if standing is None or len(cover.passes) >= MOST_PASSES:
        return None
    made = Pass(frame, cover, guard, subject, standing)
    cover.passes.append(made)
    frame.place.passes.append(made)
    return made


def _stands_alone(frame: Frame) -> bool:
    """Tell whether it is inside nobody's block: its chain is the client's own."""
    return frame.outer is None or frame.outer.kind is FrameKind.HANDLER


def _shared(guard: Guard, subject: Subject) -> SharedHold:
    hold = Hold(guard.liveness, subject.token)
    hold.retain()  # this thread may be the client by now: nothing is asked of the store
    return SharedHold(hold)
