"""A thread that is always the server, for what must not happen as a client.

Inside a client's block the kernel may judge this thread as the client: a store's file
would not open, or would be made by the wrong owner. Whatever touches the store from
there is carried to a thread that never impersonates. So is what touches it from any
hardened thread: who that is, the kernel knows better than a context does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Generic, TypeVar, cast

from stead.monitor import context
from stead.privileged.hardened_thread import is_hardened

_T = TypeVar("_T")


class ServiceThread:
    """One thread, started now, as the server."""

    def __init__(self, name: str) -> None:
        self._executor = ThreadPoolExecutor(1, thread_name_prefix=f"{name}-service")
        self._executor.submit(_nothing).result()

    def run(self, act: Callable[[], _T]) -> _T:
        """Run `act` as the server: here, or carried over if this may be a client."""
        if is_hardened() or context.client_frame() is not None:
            return self._executor.submit(act).result()
        return act()

    def close(self) -> None:
        """End the thread."""
        self._executor.shutdown()


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
        nothing = object()
        while True:
            answer = self._thread.run(lambda: next(answers, nothing))
            if answer is nothing:
                return
            yield answer


def carried(target: _T, thread: ServiceThread) -> _T:
    """Return `target` with every method call made as the server."""
    return cast("_T", _Carried(target, thread))


def _nothing() -> None:
    """Start the thread."""
