"""A coroutine that is the client in each of its own steps, and nowhere between.

An event loop's thread cannot be the client from one `await` to the next: other tasks
and callbacks run there meanwhile. So the identity is put in force when the loop resumes
the coroutine, and taken away when it awaits. It is a token's alone, whatever the
server's enforcement: the kernel knows threads, and this one is everybody's. Raw acts in
a step are refused on every machine alike (docs/adr/0054).

INVARIANT: between two steps nothing of the client is in force on the loop's thread. A
task, callback or thread that a step begins finds a copy, and is a stranger.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Generator
from functools import partial
from types import coroutine
from typing import Any, Final, TypeAlias, TypeVar, cast

from stead.errors import LoopThreadError, RevertOrderError
from stead.monitor import context, loops, tripwire
from stead.monitor.context import Frame
from stead.monitor.frames import FrameKind
from stead.monitor.guard import Guard
from stead.monitor.holding import Hold, SharedHold
from stead.monitor.impersonation import require_level
from stead.monitor.passing import Pass, keep_pass, pass_of
from stead.monitor.ports import Entered, Given, Subject

_S = TypeVar("_S")
_T = TypeVar("_T")

Aside: TypeAlias = Callable[[Callable[[], None]], Awaitable[None]]
"""Does something off the loop's thread, to its end whatever becomes of who waits."""


async def run_in_steps(
    make: Callable[[], Coroutine[Any, Any, _T]],
    subject: Subject,
    guard: Guard | None,
    *,
    where: str,
    aside: Aside,
) -> _T:
    """Run a coroutine as a client, in this very task.

    1. This is a task.
    2. The client's session is held; its level suffices; the record is durable, or that
       of the client's operation is.
    3. Each step of the coroutine runs in the client's frame.
    4. That it ended is recorded, however it ended.

    Args:
        make: makes the coroutine, in a step of its own.
        subject: the client.
        guard: judges and records; None outside any server.
        where: file and line that records and errors name.
        aside: does what waits.

    Raises:
        LoopThreadError: no task of asyncio's runs here.
        RevertOrderError: the coroutine left a block open.
        SteadError: as entering a block does.
    """
    task = loops.running_task()
    if task is None:
        raise LoopThreadError(
            f"what was carried at {where} runs in asyncio's tasks, and this is none",
            advice="make one of it: `asyncio.create_task(carried())`",
        )
    tripwire.install()
    frame = Frame(
        kind=FrameKind.CLIENT,
        subject=subject,
        guard=guard,
        outer=context.live_outer(context.raw_frame()),
        place=context.here(),
        task=task,
        grip=None,
        at=where,
        code=None,
        last=0,
    )
    if guard is None:
        require_level(subject, None)
        return await _ended(frame, make, None)
    known, hold = _passed(frame, guard)
    try:
        if known is None and not _is_announced_here(frame, guard):
            await _announced(frame, guard, aside)
        return await _ended(frame, make, known)
    finally:
        frame.is_closed = True
        hold.release()


def _passed(frame: Frame, guard: Guard) -> tuple[Pass | None, Hold | SharedHold]:
    """Return the pass on which a frame is entered, if any, and what holds its session.

    Raises:
        LogonSessionEndedError: the session has ended.
    """
    known = pass_of(frame)
    held = None if known is None else known.hold
    if known is not None and held is not None and known.enter() is not None:
        return known, held
    hold = Hold(guard.liveness, _client(frame).token)
    hold.retain()
    return None, hold


def _is_announced_here(frame: Frame, guard: Guard) -> bool:
    """Have it recorded on this very thread, if nothing of that waits for anybody."""
    subject = _client(frame)
    standing = guard.liveness.standing(subject.token)
    if standing is None or not standing.good_at():
        return False
    is_covered = guard.blocks.announce_at_once(subject, at=frame.where)
    if is_covered:
        keep_pass(frame, _in_tokens_alone)
    return is_covered


def _client(frame: Frame) -> Subject:
    """Return whose the frame is; here it is always a client's."""
    return cast("Subject", frame.subject)


def _in_tokens_alone() -> Entered:
    """Enter a coroutine's identity: the kernel knows nothing of it."""
    return _IN_TOKENS_ALONE


_IN_TOKENS_ALONE: Final = Given(is_kernel=False, leave=lambda: None)


async def _announced(frame: Frame, guard: Guard, aside: Aside) -> None:
    """Have it recorded durably, and if this is cancelled, that it came to nothing."""
    subject = _client(frame)

    def announce() -> None:
        require_level(subject, guard)
        guard.blocks.announce(FrameKind.CLIENT, subject, at=frame.where)

    waiting = asyncio.ensure_future(aside(announce))
    try:
        await asyncio.shield(waiting)
    except asyncio.CancelledError:
        waiting.add_done_callback(lambda done: _never_ran(frame, done))
        raise


def _never_ran(frame: Frame, done: asyncio.Future[None]) -> None:
    if not done.cancelled() and done.exception() is None and frame.guard is not None:
        frame.guard.blocks.announce_left(frame, None)


async def _ended(
    frame: Frame, make: Callable[[], Coroutine[Any, Any, _T]], known: Pass | None
) -> _T:
    """Run all steps, and have it told that they ended."""
    disorder: RevertOrderError | None = None
    steps = _Steps(frame)
    try:
        answer = await steps.run(make)
    finally:
        frame.is_closed = True
        if context.live_outer(steps.inner) is not context.live_outer(frame.outer):
            disorder = RevertOrderError(
                f"what was carried at {frame.where} left a block open"
            )
        if known is not None and disorder is None:
            known.leave()
        elif frame.guard is not None:
            frame.guard.blocks.announce_left(frame, disorder)
    if disorder is not None:
        raise disorder
    return answer


class _Steps:
    """Drives one coroutine as `yield from` would (PEP 380), each step in its frame.

    Attributes:
        inner: what was in force when the last step ended.
    """

    __slots__ = ("_frame", "inner")

    def __init__(self, frame: Frame) -> None:
        self._frame = frame
        self.inner: Frame | None = frame

    @coroutine
    def run(
        self, make: Callable[[], Coroutine[Any, Any, _T]]
    ) -> Generator[Any, Any, _T]:
        """Take step after step, and hand what each waits for to the loop."""
        steps = self._step(make)
        step: Callable[[], Any] = partial(steps.send, None)
        while True:
            try:
                awaited = self._step(step)
            except StopIteration as ended:
                return cast("_T", ended.value)
            try:
                sent = yield awaited
            except GeneratorExit:
                self._step(steps.close)
                raise
            except BaseException as error:  # noqa: BLE001 - it is the coroutine's
                step = partial(steps.throw, error)
            else:
                step = partial(steps.send, sent)

    def _step(self, step: Callable[[], _S]) -> _S:
        """Take one step in the frame, which is a stranger's in any other task."""
        frame = self._frame
        around = context.begin_step(frame, self.inner)
        try:
            return step()
        finally:
            self.inner = context.end_step(frame, around)
