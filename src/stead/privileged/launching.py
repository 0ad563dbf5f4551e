"""The server's handle on a launcher: send orders, hear how each process fares.

Nothing here waits for a client, and nothing of a client's runs here. The launcher is
started by `Launcher.open` or the first order, and again by the next one if it was
killed; whoever keeps a `Child` is told by its futures.

Call it as the server: on a plain thread, outside of clients' blocks. A hardened
thread's filter lets it start nothing, and a block's tripwire would be right to refuse.

>>> launcher = Launcher("programs", watch, guard=DEFAULT_GUARD_UID)   # doctest: +SKIP
>>> child = launcher.start(order, (0, 1, 2), on_end=print)            # doctest: +SKIP
>>> child.started.result(10)                                          # doctest: +SKIP
4711
"""

from __future__ import annotations

import logging
import os
import threading
from concurrent.futures import wait
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Protocol

from stead.errors import (
    InvalidRequestError,
    LauncherUnavailableError,
    ServerClosedError,
)
from stead.privileged import sealing
from stead.privileged.child import Child, begin
from stead.privileged.launcher_process import LauncherProcess
from stead.privileged.orders import Terms
from stead.privileged.parcels import MAXIMUM_EXTRA, Parcel
from stead.privileged.syscalls import words_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from stead.privileged.orders import Order
    from stead.privileged.watch import Watch

_log: Final = logging.getLogger(__name__)

_SECONDS_TO_OPEN: Final = 120.0
_SECONDS_TO_CLOSE: Final = 20.0


class Starter(Protocol):
    """Starts processes as clients: a launcher of the server's own, or a broker."""

    def open(self) -> None:
        """Be ready, or raise."""

    def start(
        self,
        order: Order,
        stdio: tuple[int, int, int],
        *,
        extra: Sequence[int] = (),
        on_end: Callable[[int | None], None],
    ) -> Child:
        """Start a process; see `Launcher.start`."""
        ...

    def close(self) -> None:
        """End every process's tree."""


class Launcher:
    """Starts processes as clients, by way of a small root process of its own.

    Leave it by `close`. A process that is forked from the server can close its copies
    of what this holds, and nothing else.
    """

    def __init__(
        self,
        name: str,
        watch: Watch,
        *,
        guard: int,
        preload: tuple[str, ...] = (),
        allowed: frozenset[int] = frozenset(),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Prepare; nothing is started.

        Args:
            name: for messages.
            watch: notices what keepers say.
            guard: the uid that is nobody, and never a client.
            preload: modules that functions need; they are imported as root.
            allowed: system uids that may be clients.
            environment: the launcher's own, which no client sees; empty by default.
        """
        self._name = name
        self._watch = watch
        self._terms = Terms(os.getpid(), guard, allowed, preload)
        self._environment = dict(environment or {})
        self._lock = threading.Lock()
        self._processes: list[LauncherProcess] = []
        self._children: set[Child] = set()
        self._is_closed = False

    def open(self) -> None:
        """Start the launcher now, and wait until it is ready.

        Raises:
            LauncherUnavailableError: it cannot be started, or a module cannot be
                preloaded.
            ServerClosedError: it is closed, or is another process's.
        """
        self._require_own()
        with self._lock:
            process = self._running()
        try:
            process.ready.result(_SECONDS_TO_OPEN)
        except TimeoutError as error:
            raise LauncherUnavailableError(
                f"the launcher `{self._name}` is not ready in time",
                advice="look at what the preloaded modules do when they are imported",
            ) from error

    def start(
        self,
        order: Order,
        stdio: tuple[int, int, int],
        *,
        extra: Sequence[int] = (),
        on_end: Callable[[int | None], None],
    ) -> Child:
        """Send the order, without waiting for anything.

        Args:
            order: what to start as whom.
            stdio: what becomes descriptors 0, 1 and 2; still the caller's to close.
            extra: what becomes 3 and so on; likewise. A function is called with 3.
            on_end: called once with the exit status when nothing is left of the tree,
                with None if it never began or nobody knows. It must not wait.

        Returns:
            The process that will be.

        Raises:
            InvalidRequestError: a function needs a descriptor; or there are too many.
            LauncherUnavailableError: the launcher cannot be started, or has too many
                orders waiting; nothing was started, and `on_end` is not called.
            ServerClosedError: it is closed, or is another process's; likewise.
        """
        self._require_own()
        if len(extra) > MAXIMUM_EXTRA or (order.body and not extra):
            raise InvalidRequestError(
                "a process inherits too many descriptors, or none"
            )
        name = order.body or os.fsdecode(order.argv[0])
        try:
            with sealing.sealed(order.to_bytes()) as document:
                parcel = Parcel(
                    -1, document.fileno(), (*stdio, *extra), bool(order.pam_user)
                )
                return self._send(parcel, name, on_end)
        except OSError as error:
            raise LauncherUnavailableError(
                f"the launcher `{self._name}` takes no order: {words_of(error)}"
            ) from error

    def close(self) -> None:
        """End every tree and the launcher; wait for that, but not for ever.

        Not on the watch's own thread, which hears of those ends. What a client's
        process does in the kernel (a file system that never answers) may outlast the
        wait: then it dies as soon as the kernel lets it.

        A forked process ends nothing and waits for nothing.
        """
        if self._is_copy():
            self._close_copies()
            return
        with self._lock:
            self._is_closed = True
            processes, self._processes = self._processes, []
            children = tuple(self._children)
        for process in processes:
            process.close(_SECONDS_TO_CLOSE)
        late = wait([child.ended for child in children], _SECONDS_TO_CLOSE).not_done
        if late:
            _log.error("%s processes of clients did not end in time", len(late))

    def _is_copy(self) -> bool:
        return os.getpid() != self._terms.server

    def _require_own(self) -> None:
        # Before any lock: a fork may have copied one that a thread held.
        if self._is_copy():
            raise ServerClosedError(
                f"the launcher `{self._name}` is another process's",
                advice="let the parent start it, or open a server in the child",
            )

    def _close_copies(self) -> None:
        for process in tuple(self._processes):
            process.close(_SECONDS_TO_CLOSE)
        for child in tuple(self._children):
            child.let_go()

    def _send(
        self, parcel: Parcel, name: str, on_end: Callable[[int | None], None]
    ) -> Child:
        child, theirs = begin(self._watch, name, on_end)
        with theirs:
            try:
                self._hand_over(replace(parcel, channel=theirs.fileno()), child)
            except BaseException:
                child.let_go()
                raise
        child.ended.add_done_callback(lambda _: self._forget(child))
        return child

    def _hand_over(self, parcel: Parcel, child: Child) -> None:
        with self._lock:
            try:
                self._running().send(parcel)
            except ConnectionError:  # it has ended just now
                self._running().send(parcel)
            self._children.add(child)

    def _forget(self, child: Child) -> None:
        with self._lock:
            self._children.discard(child)

    def _running(self) -> LauncherProcess:
        """Return the launcher's process, started anew if there is none."""
        if self._is_closed:
            raise ServerClosedError(f"the launcher `{self._name}` is closed")
        self._processes = [one for one in self._processes if not one.is_reaped()]
        if not self._processes or self._processes[-1].is_gone:
            self._processes.append(
                LauncherProcess(self._name, self._watch, self._terms, self._environment)
            )
        return self._processes[-1]
