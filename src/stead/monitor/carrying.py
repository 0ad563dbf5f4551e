"""Handing an identity on, on purpose: to another thread, an executor, a task.

Copies that contexts make of an identity give it to nobody. `carry` does, for one
function: wherever the carried one is called, the function runs as the client, in a
block of its own.

    pool.submit(client.carry(read_notes), "alice.txt")     # a thread's block
    await asyncio.to_thread(client.carry(read_notes), "alice.txt")
    task = asyncio.create_task(client.carry(fetch)())       # step by step, token only

A carried function runs once, or many times if that is said. It holds the client's
session until it has run or is dropped. Each run is recorded, durably and before, under
the chain of everybody in whose blocks it was carried away. What was carried out of a
block by `stead.carry` ends with that block; a client's own `carry` ends with its
session.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator
from contextvars import Context
from dataclasses import replace
from functools import partial, update_wrapper, wraps
from typing import Any, Generic, NoReturn, ParamSpec, TypeVar, cast

from stead.errors import (
    InvalidRequestError,
    LoopThreadError,
    NoThreadTokenError,
    NotPlainDataError,
    RevertOrderError,
    StrangerIdentityError,
)
from stead.model.arguments import require_callable
from stead.model.audit_record import Principal
from stead.monitor import context, loops
from stead.monitor.context import Frame
from stead.monitor.frames import FrameKind
from stead.monitor.guard import Guard
from stead.monitor.holding import Hold
from stead.monitor.impersonation import Block
from stead.monitor.ports import Subject
from stead.monitor.stepping import Aside, run_in_steps

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Lease:
    """What a carried function may still do, and the session that it holds for that.

    Attributes:
        subject: the client, with everybody through whom it came here.
        guard: the server's guard; None outside any server.
        where: where it was carried away, for errors and records.
    """

    __slots__ = ("_hold", "_keep", "_many", "_origin", "_uses", "guard", "subject",
                 "where")  # fmt: skip

    def __init__(
        self,
        subject: Subject,
        guard: Guard | None,
        *,
        origin: Frame | None,
        many: bool,
        where: str,
        keep: object = None,
    ) -> None:
        """Hold the client's session.

        Args:
            subject: the client.
            guard: judges and records; None outside any server.
            origin: the frame whose end ends it; None if only the session's does.
            many: whether it may be taken more than once.
            where: file and line.
            keep: what must live as long as it does.

        Raises:
            LogonSessionEndedError: the session has ended.
        """
        self.subject = subject
        self.guard = guard
        self.where = where
        self._origin = origin
        self._many = many
        self._keep = keep
        self._uses = [None]
        self._hold = None if guard is None else Hold(guard.liveness, subject.token)
        if self._hold is not None:
            self._hold.retain()

    def take(self) -> None:
        """Begin a run.

        Raises:
            StrangerIdentityError: the block that it was carried out of has ended.
            RevertOrderError: it runs once, and has.
        """
        if self._origin is not None and self._origin.has_ended():
            raise StrangerIdentityError(
                f"the block entered at {self._origin.where} has ended, and with it "
                f"what was carried out of it at {self.where}",
                advice="carry it by the client, `client.carry(function)`, which lasts "
                "as long as the client's session",
            )
        if self._many:
            return
        try:
            self._uses.pop()
        except IndexError:
            raise RevertOrderError(
                f"what was carried at {self.where} runs once, and has run",
                advice="carry it with `many=True`",
            ) from None

    def done(self) -> None:
        """End a run; what runs once holds the session no more."""
        if not self._many:
            self.drop()

    def drop(self) -> None:
        """Let go of the session; again does nothing."""
        if self._hold is not None:
            self._hold.release()

    def __del__(self) -> None:
        if getattr(self, "_hold", None) is not None:
            self.drop()


class Carried(Generic[_P, _T]):
    """A plain function that runs as the client on whatever thread calls it."""

    def __init__(self, function: Callable[_P, _T], lease: Lease) -> None:
        update_wrapper(self, function, updated=())
        vars(self).pop("__wrapped__")  # it would lead round the block
        self._function = function
        self._lease = lease

    def __call__(self, *arguments: _P.args, **named: _P.kwargs) -> _T:
        """Run the function in a block of the client's, and return its value.

        Raises:
            LoopThreadError: an event loop runs on this thread.
            StrangerIdentityError, RevertOrderError: its time is over, or it has run.
            SteadError: as entering a block does; it counts as its run.
        """
        lease = self._lease
        if loops.is_loop_thread():
            raise LoopThreadError(
                f"what was carried at {lease.where} waits for its record, and an event "
                "loop runs on this thread",
                advice="call it on a thread, `await asyncio.to_thread(carried)`, or "
                "carry a coroutine function and make a task of it",
            )
        lease.take()
        try:
            with Block(
                FrameKind.CLIENT, lease.subject, lease.guard, keep=self, at=lease.where
            ):
                return _whole(self._function(*arguments, **named))
        finally:
            lease.done()

    def __repr__(self) -> str:
        name = self._lease.subject.principal.name
        return f"<carried at {self._lease.where} for {name!r}>"

    def __reduce__(self) -> NoReturn:
        raise NotPlainDataError(
            "an identity cannot be carried to another process",
            advice="use `client.run(function, *arguments)`",
        )


def carry(function: Callable[_P, _T], *, many: bool = False) -> Callable[_P, _T]:
    """Return `function` as one that runs as who this thread or task is now.

    It runs once, or as often as is asked with `many`, on any thread, or as a task if it
    is a coroutine function, and no longer than the block that is in force here. A
    client in hand is carried by itself: `client.carry`.

    Raises:
        NoThreadTokenError: this is nobody's block.
        StrangerIdentityError: what was found here is not this thread's or task's own.
        InvalidRequestError: it is a generator function, which runs later by itself.
        LogonSessionEndedError: the client's session has ended.
    """
    frame = context.current_frame()
    if frame is None or frame.subject is None:
        raise NoThreadTokenError(
            "there is no client here to carry",
            advice="carry a client that you have: `client.carry(function)`",
        )
    subject = replace(frame.subject, through=_through(frame.outer, frame.subject))
    lease = Lease(subject, frame.guard, origin=frame, many=many, where=context.caller())
    return carried(function, lease, run_aside)


def carried(function: Callable[_P, _T], lease: Lease, aside: Aside) -> Callable[_P, _T]:
    """Return `function` as one that runs under a lease.

    Args:
        function: a plain function or a coroutine function.
        lease: who it runs as, and how long.
        aside: does what waits, such as a record, off an event loop's thread.

    Raises:
        InvalidRequestError: it is a generator function, which runs later by itself.
    """
    require_callable("function", function, "a function, which is not yet called")
    kind = _called_as(function)
    if inspect.isgeneratorfunction(kind) or inspect.isasyncgenfunction(kind):
        raise InvalidRequestError(
            "a generator cannot be carried: it runs in whoever takes its steps",
            advice="carry a function that takes the steps itself",
        )
    if inspect.iscoroutinefunction(kind):
        made = cast("Callable[_P, Coroutine[Any, Any, Any]]", function)
        return cast("Callable[_P, _T]", _carried_coroutine(made, lease, aside))
    return Carried(function, lease)


def carried_by(subject: Subject, guard: Guard, *, many: bool, keep: object) -> Lease:
    """Return the lease of a client in hand; it names whose blocks are open here."""
    frame = context.live_outer(context.raw_frame())
    if frame is not None and frame.subject is not None:
        # In the client's own block nobody stands between.
        is_own = frame.subject.principal == subject.principal
        frame = frame.outer if is_own else frame
    return Lease(
        replace(subject, through=_through(frame, subject)),
        guard,
        origin=None,
        many=many,
        where=context.caller(),
        keep=keep,
    )


def _carried_coroutine(
    function: Callable[_P, Coroutine[Any, Any, _T]], lease: Lease, aside: Aside
) -> Callable[_P, Coroutine[Any, Any, _T]]:
    @wraps(function)
    async def run(*arguments: _P.args, **named: _P.kwargs) -> _T:
        lease.take()
        try:
            return await run_in_steps(
                lambda: function(*arguments, **named),
                lease.subject,
                lease.guard,
                where=lease.where,
                aside=aside,
            )
        finally:
            lease.done()

    del run.__wrapped__  # it would lead round the steps
    return run


def _through(frame: Frame | None, subject: Subject) -> tuple[Principal, ...]:
    """Return who is open from `frame` outward on this thread, the outermost first."""
    found: list[Principal] = list(reversed(subject.through))
    frame = context.live_outer(frame)
    while frame is not None:
        other = frame.subject
        if other is not None and frame.is_mine():
            found += (other.principal, *reversed(other.through))
        frame = context.live_outer(frame.outer)
    return tuple(reversed(found))


def _called_as(function: Callable[..., object]) -> Callable[..., object]:
    """Return what says how the function is called: of an object, its `__call__`."""
    while isinstance(function, partial):
        function = function.func
    if inspect.isroutine(function) or not callable(function):
        return function
    return cast("Callable[..., object]", getattr(function, "__call__", function))  # noqa: B004 - what kind it is, not whether


def _whole(value: _T) -> _T:
    """Return a value that is one; what has still to run would run as somebody else.

    Raises:
        InvalidRequestError: it is a coroutine or a generator.
    """
    if isinstance(value, Coroutine | Generator):
        value.close()
    elif not isinstance(value, AsyncGenerator):
        return value
    raise InvalidRequestError(
        "what was carried returned what has still to run, and would run as somebody "
        "else",
        advice="carry the coroutine function itself",
    )


def run_aside(act: Callable[[], None]) -> Awaitable[None]:
    """Have something done on a thread of the loop's executor, as nobody there."""
    return asyncio.get_running_loop().run_in_executor(None, Context().run, act)
