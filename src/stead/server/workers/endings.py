"""What is recorded and said of workers that have ended, or could not be started."""

from __future__ import annotations

from stead.errors import (
    LauncherUnavailableError,
    ProcessTimeoutError,
    SteadError,
    WorkerLostError,
)
from stead.privileged.syscalls import words_of
from stead.server.workers.calls import Call, Worker


def note_end(worker: Worker) -> None:
    """Record that a worker has ended."""
    child = worker.child
    if worker.notes is not None:
        pid = None if child is None else child.pid
        is_known = child is not None and child.ended.done()
        status = child.ended.result() if child is not None and is_known else None
        worker.notes.ended(pid, status)


def too_late(_: Call) -> ProcessTimeoutError:
    """Return what becomes of a call whose time is over."""
    return ProcessTimeoutError(
        "the client's worker did not answer in time; it is ended"
    )


def unstarted(error: BaseException) -> SteadError:
    """Return why a worker could not even be ordered."""
    if isinstance(error, SteadError):
        return error
    why = words_of(error) if isinstance(error, OSError) else type(error).__qualname__
    return LauncherUnavailableError(f"a worker cannot be started: {why}")


def loss(worker: Worker) -> SteadError:
    """Return why a worker that has ended did not answer."""
    if worker.refusal is not None:
        return worker.refusal
    child = worker.child
    if child is not None and child.started.done():
        error = child.started.exception()
        if isinstance(error, SteadError):
            return error
    status = child.ended.result() if child is not None and child.ended.done() else None
    how = "" if status is None else f", with status {status}"
    return WorkerLostError(f"the client's worker ended before it answered{how}")
