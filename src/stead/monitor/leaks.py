"""Finding identities that stay in force after the work they were entered for.

A leak is an identity that is in force when an item of a thread pool, a task, a handler
or a thread ends, or when a pooled connection is handed back; one that was left by
somebody else; one that was dropped and that nobody can leave any more. Each is told
once for each place that entered it, and names that place. A carried function that never
ran is none, nor is a copy of an identity in a task that lives longer: it is nobody's.

Nothing is watched until a `LeakWatch` is begun, and no more than a list is looked at
then. A watch wraps `ThreadPoolExecutor.submit` while it lasts, and
`anyio.to_thread.run_sync` if that was imported, since the threads of a pool keep what
one item leaves for the next.

    with LeakWatch(print):
        ...
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context
from dataclasses import dataclass
from functools import partial, wraps
from types import TracebackType
from typing import Any, Final, Self, TypeVar
from weakref import WeakSet, ref

from stead.monitor import context
from stead.monitor.context import Frame
from stead.monitor.frames import FrameKind
from stead.monitor.guard import Guard
from stead.monitor.ports import Subject

_T = TypeVar("_T")

_FORGOTTEN: Final = "was dropped, and nobody can leave it any more"

_ITEM: Final = "was in force when an item of a thread pool ended"

MOST_PLACES: Final = 1_000
"""Of how many places leaks are told; a program that has more has one fault."""


@dataclass(frozen=True, slots=True)
class Leak:
    """One identity that outlived its work.

    Attributes:
        where: file and line that entered it.
        moment: what ended, or how it was found.
        subject: the client; None for the server's own identity, or if nobody knows.
        guard: the server's guard; None outside any server.
        is_recorded: whether the trail has it already.
    """

    where: str
    moment: str
    subject: Subject | None = None
    guard: Guard | None = None
    is_recorded: bool = False

    def __str__(self) -> str:
        who = "the server" if self.subject is None else self.subject.principal.name
        return f"the identity of `{who}` entered at {self.where} {self.moment}"


@dataclass(frozen=True, slots=True)
class _Open:
    """What is known of a frame that is in force; the frame itself may be forgotten."""

    frame: ref[Frame]
    leak: Leak


class LeakWatch:
    """Watches every identity of this process while it is open (a context manager)."""

    def __init__(self, tell: Callable[[Leak], object]) -> None:
        """Take over whom to tell.

        Args:
            tell: is handed each leak, on the thread that finds it, which may be a
                finalizer's: it waits for nothing.
        """
        self._tell = tell
        self._open: dict[int, _Open] = {}
        self._places: set[str] = set()
        self._tasks: WeakSet[asyncio.Task[object]] = WeakSet()
        self._turns: Counter[int | None] = Counter()

    def __enter__(self) -> Self:
        _wrap_pools()
        context.add_watch(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        context.remove_watch(self)
        if not context.watches():
            _unwrap_pools()
        self._open.clear()

    # --- what the context tells ------------------------------------------------------

    def entered(self, frame: Frame) -> None:
        """Take note of a frame that is in force now."""
        if frame.kind is FrameKind.HANDLER:
            return  # nobody's
        key = id(frame)
        if frame.is_kernel:
            self._turns[frame.thread.native_id] += 1
        leak = Leak(frame.where, "", frame.subject, frame.guard)
        self._open[key] = _Open(ref(frame, partial(self._is_gone, key)), leak)
        task = frame.task
        if task is not None and task not in self._tasks:
            self._tasks.add(task)
            # Not in a copy of this context, which would keep the frame itself.
            task.add_done_callback(self._task_ended, context=Context())

    def left(self, frame: Frame) -> None:
        """Take note of a frame that is not in force any more."""
        self._open.pop(id(frame), None)
        if frame.is_kernel:
            self._turns[frame.thread.native_id] += 1

    def strayed(self, frame: Frame, why: str) -> None:
        """Take note of a frame that was left in disorder, which is recorded already."""
        self._open.pop(id(frame), None)
        if frame.kind is FrameKind.HANDLER:
            return  # told of whatever was left open in it
        self._say(Leak(frame.where, why, frame.subject, frame.guard, is_recorded=True))

    def forgotten(self, frame: Frame) -> None:
        """Take note of a frame that nobody can leave any more, unless it is told of."""
        self._found(id(frame), _FORGOTTEN)

    def ended(self, begun: Frame | None, moment: str) -> None:
        """Look at what is in force where something ends on this thread.

        Args:
            begun: what was in force when it began.
            moment: what ends, as the rest of a sentence.
        """
        frame = context.live_outer(context.raw_frame())
        while frame is not None and frame is not begun:
            if frame.is_mine():
                self._found(id(frame), moment)
            frame = context.live_outer(frame.outer)

    def left_open(self, before: tuple[Frame, ...], moment: str) -> None:
        """Look at the blocks of this thread, in whatever context, where something ends.

        Args:
            before: those that were open when it began.
            moment: what ends, as the rest of a sentence.
        """
        for frame in tuple(context.here()):
            if frame.is_mine() and not any(frame is one for one in before):
                self._found(id(frame), moment)

    # --- looking ----------------------------------------------------------------------

    def sweep(self) -> None:
        """Look for identities whose thread or task has ended."""
        for key, item in self._open.copy().items():
            frame = item.frame()
            if frame is None or frame.has_ended() or not _is_ours(frame):
                self._open.pop(key, None)
            elif frame.task is not None and frame.task.done():
                self._found(key, "was in force when its task ended")
            elif not frame.thread.is_alive():
                self._found(key, "was in force when its thread ended")

    def frames(self) -> tuple[Frame, ...]:
        """Return every frame that is in force in this process."""
        frames = (item.frame() for item in self._open.copy().values())
        return tuple(frame for frame in frames if frame is not None)

    def turns(self, thread: int) -> int:
        """Return how often a thread, by its native number, became somebody else."""
        return self._turns[thread]

    def say(self, leak: Leak) -> None:
        """Tell of a leak that was found elsewhere, once for each place."""
        self._say(leak)

    def _task_ended(self, task: asyncio.Task[object]) -> None:
        for key, item in self._open.copy().items():
            frame = item.frame()
            if frame is not None and frame.task is task:
                self._found(key, "was in force when its task ended")

    def _is_gone(self, key: int, frame: ref[Frame]) -> None:
        item = self._open.get(key)
        if item is not None and item.frame is frame:  # and not one with its number
            self._found(key, _FORGOTTEN)

    def _found(self, key: int, moment: str) -> None:
        item = self._open.pop(key, None)
        if item is None:
            return
        frame = item.frame()
        if frame is not None and frame.has_ended():
            return  # its `with` statement was interrupted: it makes nobody anything
        leak = item.leak
        self._say(Leak(leak.where, moment, leak.subject, leak.guard))

    def _say(self, leak: Leak) -> None:
        if leak.where in self._places or len(self._places) >= MOST_PLACES:
            return
        self._places.add(leak.where)
        self._tell(leak)


def tell_end(begun: Frame | None, moment: str) -> None:
    """Have every watch look at what is in force where something ends here.

    Args:
        begun: what was in force when it began, as `context.raw_frame` said then.
        moment: what ends, as the rest of a sentence.
    """
    for watch in context.watches():
        watch.ended(begun, moment)


def _pools() -> Iterator[tuple[Any, str, Callable[..., Callable[..., Any]]]]:
    """Yield who hands work to threads that keep what one item leaves, and by what."""
    yield ThreadPoolExecutor, "submit", _submitting
    anyio = sys.modules.get("anyio.to_thread")  # of FastAPI's plain endpoints
    if anyio is not None:
        yield anyio, "run_sync", _running


def _wrap_pools() -> None:
    """Have every watch look where an item ends; once, however many there are."""
    for owner, verb, wrapper in _pools():
        before = getattr(owner, verb)
        if not _is_wrapper(before):
            made = wrapper(before)
            # Others that wrap this one copy what it holds: then `itself` is another.
            vars(made).update(itself=made, before=before)
            setattr(owner, verb, made)


def _unwrap_pools() -> None:
    for owner, verb, _ in _pools():
        made = getattr(owner, verb)
        if _is_wrapper(made):
            setattr(owner, verb, made.before)


def _is_wrapper(verb: Callable[..., Any]) -> bool:
    return getattr(verb, "itself", None) is verb


def _submitting(submit: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(submit)
    def watched(
        self: ThreadPoolExecutor, fn: Callable[..., Any], /, *args: Any, **kwargs: Any
    ) -> Any:
        return submit(self, partial(_item, fn), *args, **kwargs)

    return watched


def _running(run_sync: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(run_sync)
    async def watched(func: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return await run_sync(partial(_item, func), *args, **kwargs)

    return watched


def _item(act: Callable[..., _T], /, *args: Any, **kwargs: Any) -> _T:
    begun, open_before = context.raw_frame(), tuple(context.here())
    try:
        return act(*args, **kwargs)
    finally:
        for watch in context.watches():
            watch.ended(begun, _ITEM)
            # What it entered in a copy of its context, as `asyncio.to_thread` has it.
            watch.left_open(open_before, _ITEM)


def _is_ours(frame: Frame) -> bool:
    """Tell whether a frame is this process's, and not one copied by a fork."""
    return frame.process == context.this_process()
