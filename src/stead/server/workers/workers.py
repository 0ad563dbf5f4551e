"""Processes of a client's own, in which functions run and files are opened as them.

Each worker belongs to one logon session and does one kind of thing, until it is ended;
it has become the client for good before it hears of any request. A function of one
client never runs in another's worker, nor in that of another session of the same one.

How many there are is bounded, for each client and in all. Beyond that a client waits in
a line of its own; a place that becomes free goes round among those who wait.
"""

from __future__ import annotations

import os
import pickle
import time
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from stead.errors import NotPlainDataError
from stead.model.luid import Luid
from stead.model.posix_identity import PosixIdentity
from stead.model.token import AccessToken
from stead.monitor.process_acts import WorkerNotes
from stead.privileged.launching import Starter
from stead.privileged.opening import openable
from stead.privileged.watch import Watch
from stead.server.workers.answers import Reply, function_outcome, opened_file
from stead.server.workers.bounds import confinement_of, root_for
from stead.server.workers.calls import Call, Environment, Key, WorkerLimits
from stead.server.workers.future import WorkerFuture
from stead.server.workers.importable import name_of
from stead.server.workers.plain_data import write_plain
from stead.server.workers.pool import WorkerPool
from stead.server.workers.wire import OPEN, RUN, to_open

__all__ = ["WorkerLimits", "Workers"]

_T = TypeVar("_T")


class Workers:
    """The workers of all clients of one server.

    Call it as the server: on a plain thread, outside of clients' blocks. Futures may be
    waited for, and cancelled, anywhere.
    """

    def __init__(
        self,
        launcher: Starter,
        watch: Watch,
        *,
        identity: Callable[[AccessToken], PosixIdentity],
        environment: Callable[[PosixIdentity], Environment],
        limits: WorkerLimits,
    ) -> None:
        """Prepare; nothing is started but the housekeeper's thread.

        Args:
            launcher: starts workers; it has `stead.server.workers.start` preloaded.
            watch: notices what workers answer.
            identity: says what the kernel calls a token's client; raises if it is not
                to be asked as this client, or the session has ended.
            environment: says what variables a client's worker has.
            limits: how much workers may cost.
        """
        self._identity = identity
        self._environment = environment
        self._limits = limits
        self._pool = WorkerPool(launcher, watch, limits)

    def run(
        self,
        token: AccessToken,
        function: Callable[..., _T],
        args: tuple[Any, ...],
        *,
        seconds: float | None,
        notes: WorkerNotes | None = None,
    ) -> WorkerFuture[_T]:
        """Run a function as the client, in a process of the client's own.

        Args:
            token: whose.
            function: one that can be imported by name; see `name_of`.
            args: what it is called with; pickled.
            seconds: how long it may take, waiting included; None for ever.
            notes: records a worker that is started for it.

        Returns:
            What becomes its value, or the error; `cancel` ends the worker.

        Raises:
            InvalidRequestError: the function cannot be imported by name.
            NotPlainDataError: an argument cannot be pickled.
            QuotaExceededError: too much of this client's is waiting already.
            ServerClosedError: the workers are closed.
            SteadError: as `identity` raises.
        """
        name = name_of(function)
        largest = self._limits.reply_bytes
        body = write_plain(
            (name.module, name.qualname, name.is_main, _pickled(args), largest)
        )

        def read(reply: Reply) -> Any:
            return function_outcome(str(name), reply, largest)

        return self._submit(token, RUN, body, read, seconds, notes)

    def open(
        self,
        token: AccessToken,
        path: str,
        flags: int,
        *,
        seconds: float | None,
        notes: WorkerNotes | None = None,
    ) -> WorkerFuture[int]:
        """Open a file as the client, and return the descriptor.

        Whoever takes the result closes it; a result that nobody takes is closed.

        Args:
            token: whose.
            path: absolute.
            flags: as of `stead.privileged.opening.open_as`.
            seconds: how long it may take, waiting included; None for ever.
            notes: records a worker that is started for it.

        Raises:
            InvalidNameError, InvalidRequestError: the path or the flags mean nothing.
        AccessDeniedError: the token's limits do not leave it.
            QuotaExceededError, ServerClosedError, SteadError: as in `run`.
        """
        root = root_for(token, path, flags)
        body = to_open(openable(path, flags), flags, os.fsencode(root))
        read = partial(opened_file, path, flags)
        return self._submit(token, OPEN, body, read, seconds, notes)

    def end_session(self, logon_id: Luid) -> None:
        """End a session's workers at once, with whatever they do."""
        self._pool.end_session(logon_id)

    def close(self) -> None:
        """End every worker and wait for that, but not for ever; again does nothing."""
        self._pool.close()

    def _submit(
        self,
        token: AccessToken,
        kind: str,
        body: bytes,
        read: Callable[[Reply], _T],
        seconds: float | None,
        notes: WorkerNotes | None,
    ) -> WorkerFuture[_T]:
        identity = self._identity(token)
        call = Call(
            key=Key(token.logon_id, kind, confinement_of(token)),
            identity=identity,
            environment=self._environment_of(identity),
            body=body,
            read=read,
            deadline=None if seconds is None else time.monotonic() + seconds,
            notes=notes,
        )
        future: WorkerFuture[_T] = WorkerFuture(partial(self._pool.cancelled, call))
        call.future = future
        self._pool.submit(call, partial(self._identity, token))
        return future

    def _environment_of(self, identity: PosixIdentity) -> Environment:
        """Ask once for as long as the client has workers: a directory may be slow."""
        known = self._pool.environment(identity.uid)
        return self._environment(identity) if known is None else known


def _pickled(args: tuple[Any, ...]) -> bytes:
    try:
        return pickle.dumps(args, protocol=5)
    except Exception as error:
        # Classes say in their own ways that their instances do not travel.
        raise NotPlainDataError(
            f"an argument cannot be sent to a client's worker: {error}",
            advice="pass plain values; open files and connections in the function",
        ) from error
