"""A thread that is always the server, for what must not happen as a client.

Inside a client's block the kernel may judge this thread as the client: a store's file
would not open, or would be made by the wrong owner. Whatever touches the store from
there is carried to a thread that never impersonates. So is what touches it from any
hardened thread: who that is, the kernel knows better than a context does. So, too, from
the main thread: a signal may end anything there with KeyboardInterrupt, in the middle
of a transaction or with a lock of the library's held, and all others would wait for it.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from contextvars import Context
from functools import partial
from itertools import islice
from queue import Empty, SimpleQueue
from typing import Any, Final, Generic, TypeVar, cast

from stead.errors import ServerClosedError, ServerUnavailableError
from stead.monitor import context
from stead.privileged.hardened_thread import is_hardened

_T = TypeVar("_T")
_LOOK_AGAIN: Final = 0.5  # seconds
_MOST_AT_ONCE: Final = 512  # answers that are read on demand


class _Order(Generic[_T]):
    """Something that is to be done, and where its outcome goes."""

    __slots__ = ("_act", "answers", "is_apart")

    def __init__(self, act: Callable[[], _T], *, is_apart: bool) -> None:
        self._act = act
        self.is_apart = is_apart
        self.answers: SimpleQueue[Future[_T] | BaseException] = SimpleQueue()

    def do(self) -> None:
        self.answers.put(_outcome(self._act))

    def answer(self, seconds: float) -> _T:
        """Wait for the outcome; raises `Empty` if there is none by then."""
        found = self.answers.get(timeout=seconds)
        if isinstance(found, BaseException):
            raise found
        return found.result()


class ServiceThread:
    """One thread, started now, as the server.

    No executor: handing it work takes locks in Python code, where an interrupt can
    leave them held. A `SimpleQueue` is one step.
    """

    def __init__(self, name: str) -> None:
        self._orders: SimpleQueue[_Order[Any] | None] = SimpleQueue()
        self._has_ended = False
        self._process = os.getpid()
        # A daemon: a program that forgets to close its server ends all the same.
        self._thread = threading.Thread(
            target=self._work, name=f"{name}-service", daemon=True
        )
        self._thread.start()

    def run(self, act: Callable[[], _T]) -> _T:
        """Run `act` as the server: here, or carried over if this may be a client.

        Raises:
            ServerClosedError: it would be carried over, and the thread has ended.
        """
        if is_hardened() or _may_be_interrupted() or context.client_frame() is not None:
            return self._away(act)
        return act()

    def run_apart(self, act: Callable[[], _T]) -> _T:
        """As `run`, for what may take long, or never end: it holds up nobody else.

        What would be carried over is done on a thread of its own, which is started by
        one that is the server. What has not ended by then keeps no server from closing.

        Raises:
            ServerClosedError: as `run`.
            ServerUnavailableError: no thread can be started for it.
        """
        if is_hardened() or _may_be_interrupted() or context.client_frame() is not None:
            return self._away(act, is_apart=True)
        return act()

    def _away(self, act: Callable[[], _T], *, is_apart: bool = False) -> _T:
        """Have it done on the thread, in a context in which nobody is anybody."""
        if threading.current_thread() is self._thread:
            return act()
        order = _Order(act, is_apart=is_apart)
        self._orders.put(order)
        # It ends with the server, and a process that was forked has none. (To ask
        # whether a thread is alive is nothing that can be interrupted, either.)
        while not self._has_ended and os.getpid() == self._process:
            with suppress(Empty):
                return order.answer(_LOOK_AGAIN)
        with suppress(Empty):
            return order.answer(0.0)
        raise ServerClosedError("the server is closed, or belongs to another process")

    def _work(self) -> None:
        while (order := self._orders.get()) is not None:
            try:
                if order.is_apart:
                    _begin_apart(order)
                else:
                    Context().run(order.do)
            except BaseException as error:  # noqa: BLE001 - without memory, even that
                order.answers.put(error)
            del order  # nothing of it outlives it here
        self._has_ended = True

    def close(self) -> None:
        """End the thread when it has done what it was given."""
        self._orders.put(None)
        self._thread.join()


class _Carried(Generic[_T]):
    def __init__(self, target: _T, thread: ServiceThread) -> None:
        self._target = target
        self._thread = thread

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._target, name)

        def carried(*arguments: Any, **named: Any) -> Any:
            answer = self._thread.run(lambda: method(*arguments, **named))
            # What is read on demand is read as the server too.
            return self._each(answer) if isinstance(answer, Iterator) else answer

        return carried

    def _each(self, answers: Iterator[Any]) -> Iterator[Any]:
        """Read ahead, the further the longer it goes on: each errand takes its time."""
        count = 1
        while True:
            part, error = self._thread.run(partial(_take, answers, count))
            yield from part
            if error is not None:
                raise error
            if len(part) < count:
                return
            count = min(2 * count, _MOST_AT_ONCE)


def _take(answers: Iterator[_T], count: int) -> tuple[list[_T], BaseException | None]:
    """Return the next answers, and the error that came after them, if one did."""
    part: list[_T] = []
    try:
        part.extend(islice(answers, count))
    except BaseException as error:  # noqa: BLE001 - it belongs to who reads
        return part, error
    return part, None


def carried(target: _T, thread: ServiceThread) -> _T:
    """Return `target` with every method call made as the server."""
    return cast("_T", _Carried(target, thread))


def _begin_apart(order: _Order[Any]) -> None:
    """Have an order done on a thread of its own; raises `ServerUnavailableError`."""
    try:
        threading.Thread(
            target=Context().run, args=(order.do,), name="stead-apart", daemon=True
        ).start()
    except RuntimeError as error:
        raise ServerUnavailableError(
            f"nothing can be asked now: {error}",
            advice="see to the limits of tasks that the server runs under",
        ) from error


def _may_be_interrupted() -> bool:
    """Tell whether KeyboardInterrupt arrives here: amid a transaction, in a lock."""
    return threading.current_thread() is threading.main_thread()


def _outcome(act: Callable[[], _T]) -> Future[_T]:
    done: Future[_T] = Future()
    try:
        done.set_result(act())
    except BaseException as error:  # noqa: BLE001 - it belongs to who waits
        done.set_exception(error)
    return done
