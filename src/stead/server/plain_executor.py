"""`server.executor()` where the kernel judges nothing: ordinary threads, same rules."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from contextvars import Context
from functools import partial
from typing import ParamSpec, TypeVar

from stead.errors import RevertOrderError
from stead.monitor import context
from stead.monitor.leaks import tell_end
from stead.monitor.thread_pool import ThreadPool

_P = ParamSpec("_P")
_T = TypeVar("_T")


class PlainExecutor(ThreadPool):
    """A thread pool whose items each begin as nobody, in a context of their own."""

    def __init__(
        self,
        workers: int,
        *,
        name: str,
        context_factory: Callable[[], Callable[[], Context]],
    ) -> None:
        super().__init__(workers, thread_name_prefix=name)
        self._context_factory = context_factory

    def submit(
        self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs
    ) -> Future[_T]:
        """Queue a call; it runs in a fresh context, as nobody.

        Its future holds RevertOrderError, whatever the call returned or raised, if the
        call left a block open, as it would where the kernel judges.
        """
        made = self._context_factory()()
        return super().submit(lambda: made.run(_settled, partial(fn, *args, **kwargs)))


def _settled(act: Callable[[], _T]) -> _T:
    begun = context.raw_frame()
    try:
        return act()
    finally:
        if context.raw_frame() is not begun:
            tell_end(begun, "was in force when an item of `server.executor()` ended")
            raise RevertOrderError("the call left a block open or out of order")
