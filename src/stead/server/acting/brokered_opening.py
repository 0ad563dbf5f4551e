"""Open files by the broker itself, for a server that may do nothing else there.

A service whose `may` is `["open"]` has no workers. For each file the broker starts a
process of its own code, which is the client, opens that one file beneath a folder that
the broker's file names, and ends.
"""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial
from typing import Final, Protocol

from stead.errors import ImpersonationRefusedError, QuotaExceededError, SteadError
from stead.model.posix_identity import PosixIdentity
from stead.model.token import AccessToken
from stead.monitor.process_acts import WorkerNotes
from stead.privileged.broker_link import BrokerLink
from stead.privileged.brokered_client import BrokeredIdentity
from stead.server.acting.errands import Errands
from stead.server.workers.answers import ReceivedDescriptor, checked
from stead.server.workers.bounds import root_for
from stead.server.workers.future import Outcome, WorkerFuture

_SECONDS: Final = 10.0
_SHARE: Final = 4  # of the threads that one uid's files may hold


class Opener(Protocol):
    """What opens files as clients."""

    def open(
        self,
        token: AccessToken,
        path: str,
        flags: int,
        *,
        seconds: float | None,
        notes: WorkerNotes | None = None,
    ) -> Future[int]:
        """Open a file as the client; as `Workers.open` does."""
        ...


class BrokeredOpener:
    """Opens files as clients, each by a process that the broker starts for it."""

    def __init__(
        self,
        name: str,
        link: BrokerLink,
        identity: Callable[[AccessToken], PosixIdentity],
        threads: int,
    ) -> None:
        """Start the threads that wait for the broker.

        Args:
            name: for messages.
            link: the way to the broker.
            identity: says by what the broker knows a token's client.
            threads: how many files may be on their way at once.
        """
        self._link = link
        self._identity = identity
        self._errands = Errands(f"{name}-opener", threads)
        self._most = max(1, threads // _SHARE)
        self._lock = threading.Lock()
        self._busy: Counter[int] = Counter()

    def open(
        self,
        token: AccessToken,
        path: str,
        flags: int,
        *,
        seconds: float | None,
        notes: WorkerNotes | None = None,  # noqa: ARG002 - no worker is started
    ) -> Future[int]:
        """Open a file as the client, and return the descriptor.

        Whoever takes the result closes it; a result that nobody takes is closed.

        Raises:
            AccessDeniedError: the token's limits do not leave it.
            ImpersonationRefusedError: the broker knows no such client.
            ServerClosedError: the server is closed.
        """
        root = root_for(token, path, flags)
        identity = self._identity(token)
        future: WorkerFuture[int] = WorkerFuture(_nothing)

        def deliver() -> None:
            try:
                with self._place(identity.uid):
                    number = self._open(identity, (path, flags, root), seconds)
            except (SteadError, OSError) as error:
                future.fail(error)
                return
            received = ReceivedDescriptor(number)  # closed, if nobody takes it
            future.deliver(Outcome(partial(checked, path, flags, received)))

        self._errands.submit(deliver)
        return future

    def close(self) -> None:
        """End the threads, once the broker has answered."""
        self._errands.close()

    def _open(
        self, identity: PosixIdentity, what: tuple[str, int, str], seconds: float | None
    ) -> int:
        if not isinstance(identity, BrokeredIdentity) or identity.client is None:
            raise ImpersonationRefusedError("the broker knows nothing of this client")
        path, flags, root = what
        return self._link.open_beneath(
            identity.client,
            path,
            flags | os.O_NONBLOCK,
            within=root,
            groups=identity.mapped,
            seconds=_SECONDS if seconds is None else min(seconds, _SECONDS),
        )

    @contextmanager
    def _place(self, uid: int) -> Iterator[None]:
        """Hold one of a uid's places: a file system that never answers takes no more.

        Raises:
            QuotaExceededError: the uid has none left.
        """
        with self._lock:
            if self._busy[uid] >= self._most:
                raise QuotaExceededError(f"uid {uid} waits for too many files already")
            self._busy[uid] += 1
        try:
            yield
        finally:
            with self._lock:
                self._busy[uid] -= 1
                if not self._busy[uid]:
                    del self._busy[uid]


def _nothing() -> None:
    """Let the broker end what nobody waits for: it does in its time."""
