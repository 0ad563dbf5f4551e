"""Threads that do what they were given, or say that they will not, and keep to that.

`ThreadPoolExecutor` queues a call before it starts a thread for it. Where no thread can
be started (at the limit of a service's tasks), whoever asked is told so by an error;
and when there is a thread again, the call is made all the same. What was refused would
be done then, as its client, for nobody; and twice, if it was asked for again.

So clients' work is given to this pool, whose futures are its own: a call that was
refused is cancelled before anybody is told. What does nothing for a client, such as
computing a handshake, or has all its threads from the start, may have Python's.

    threads = ThreadPool(16, thread_name_prefix="notes")
    threads.submit(save, "plan").result()
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

from stead.errors import ServerUnavailableError

_P = ParamSpec("_P")
_T = TypeVar("_T")


class ThreadPool(ThreadPoolExecutor):
    """A pool of threads of which none does what was refused."""

    def submit(
        self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs
    ) -> Future[_T]:
        """Queue a call.

        Raises:
            ServerUnavailableError: no thread can be started for it.
            RuntimeError: the pool was shut down. In each case it is never made.
        """
        made: Future[_T] = Future()
        try:
            queued = super().submit(make, made, partial(fn, *args, **kwargs))
        except RuntimeError as error:
            if not made.cancel():
                return made  # another thread has begun with it
            if self._shutdown:
                raise
            raise ServerUnavailableError(
                f"nothing can be done here now: {error}",
                advice="see to the limits of tasks that the server runs under; on a "
                "thread that the kernel judges as a client, none can be started",
            ) from error
        except BaseException:
            made.cancel()
            raise
        queued.add_done_callback(lambda done: done.cancelled() and made.cancel())
        return made


def make(made: Future[_T], call: Callable[[], _T]) -> None:
    """Make a call that nobody has given up, and tell its future."""
    if not made.set_running_or_notify_cancel():
        return
    try:
        outcome = call()
    except BaseException as error:  # noqa: BLE001 - it belongs to who asked
        made.set_exception(error)
        # The error holds this frame, by its traceback: it would hold itself.
        del made
    else:
        made.set_result(outcome)
