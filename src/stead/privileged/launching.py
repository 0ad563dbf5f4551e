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

import json
import logging
import os
import signal
import socket
import threading
from concurrent.futures import Future, wait
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from stead.errors import (
    ImpersonationRefusedError,
    InvalidRequestError,
    KernelRefusedError,
    LauncherUnavailableError,
    QuotaExceededError,
    ServerClosedError,
    SteadError,
)
from stead.privileged import orders
from stead.privileged.launcher_process import LauncherProcess, next_message
from stead.privileged.orders import MAXIMUM_EXTRA, Parcel, Terms
from stead.privileged.syscalls import words_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from stead.privileged.orders import Order
    from stead.privileged.watch import Watch

_T = TypeVar("_T")

_log: Final = logging.getLogger(__name__)

_SECONDS_TO_OPEN: Final = 120.0
_SECONDS_TO_CLOSE: Final = 20.0
_JUDGED_AS_CLIENT: Final = frozenset({"directory", "exec"})
_NOBODYS_REFUSAL: Final = frozenset({"broker", "start"})
"""Where it ends by no fault of the client's: the broker has no room, or the child was
killed before it heard whose it is."""


class Tidings(Future[_T]):
    """What will be known of a process, by the server's own process alone.

    In one that was forked from it there is no thread that could ever tell.
    """

    def __init__(self) -> None:
        """Begin with nothing known; nobody who waits can call it off."""
        super().__init__()
        self._pid = os.getpid()
        self.set_running_or_notify_cancel()

    def result(self, timeout: float | None = None) -> _T:
        """Wait, and return it; raises `ServerClosedError` where nobody will tell."""
        self._require_teller()
        return super().result(timeout)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Wait, and return why not; raises as `result` where nobody will tell."""
        self._require_teller()
        return super().exception(timeout)

    def _require_teller(self) -> None:
        if os.getpid() != self._pid and not self.done():
            raise ServerClosedError("the process is another server process's")


class Child:
    """One process of a client, as its keeper speaks of it.

    In a process that was forked from the server's it is a copy, which neither asks
    anything of the keeper nor hears it: `end` and `let_go` close that copy's channel.

    Attributes:
        started: its pid, once its program or function has begun; or why it has not:
            KernelRefusedError if the kernel, judging as the client, refused the program
            or the directory, ImpersonationRefusedError if it could not be made the
            client's, LauncherUnavailableError if nobody can say. Nothing is left of it
            then.
        ended: its exit status as ``subprocess`` counts, once nothing is left of its
            tree; None if it never began or its keeper was lost.
    """

    def __init__(
        self,
        watch: Watch,
        channel: socket.socket,
        *,
        name: str,
        on_end: Callable[[int | None], None],
    ) -> None:
        """Listen to its keeper, who may not have taken the order yet.

        Args:
            watch: notices what the keeper says.
            channel: where it does.
            name: what was to be started, for messages.
            on_end: called once, just before `ended` is done.
        """
        self.started: Future[int] = Tidings()
        self.ended: Future[int | None] = Tidings()
        self._server = os.getpid()
        self._watch = watch
        self._channel = channel
        self._name = name
        self._on_end = on_end
        self._lock = threading.Lock()
        self._pid: int | None = None
        try:
            channel.setblocking(False)  # noqa: FBT003  # the library's signature
            watch.add(channel, self._hear)
        except BaseException:
            channel.close()
            raise

    @property
    def pid(self) -> int | None:
        """Its number; None before it has started. It may be another's once it ended."""
        return self._pid

    def signal(self, number: int) -> None:
        """Send a signal to the process itself; one that has ended gets none.

        Raises:
            LauncherUnavailableError: its keeper takes no more now.
            ServerClosedError: this process was forked from the server's.
            ValueError: there is no such signal.
        """
        if self.is_copy:
            raise ServerClosedError(f"`{self._name}` is another server process's")
        message = json.dumps({"signal": signal.Signals(number).value}).encode()
        with self._lock:
            try:
                self._channel.send(message, socket.MSG_NOSIGNAL)
            except BlockingIOError as error:
                raise LauncherUnavailableError(
                    f"the keeper of `{self._name}` takes no more signals now"
                ) from error
            except OSError:
                return  # closed by either side: it has ended, or is being ended

    def end(self) -> None:
        """Kill the process and everything below it; `ended` says when that is done."""
        if self.is_copy:
            self._channel.close()
            return
        with self._lock, suppress(OSError):  # it has ended already
            self._channel.shutdown(socket.SHUT_WR)

    def let_go(self) -> None:
        """Hear no more, and close the channel: a keeper ends its tree at that."""
        if self.is_copy:
            self._channel.close()
            return
        self._watch.remove(self._channel)
        with self._lock:
            self._channel.close()

    @property
    def is_copy(self) -> bool:
        """Whether this is a process that was forked from the server's."""
        # Asked before any lock: a fork may have copied one that a thread held.
        return os.getpid() != self._server

    def _hear(self) -> None:
        with self._lock:
            if self._channel.fileno() < 0:
                return  # let go of meanwhile
            try:
                message = next_message(self._channel)
            except BlockingIOError:
                return
        said: dict[str, Any] = json.loads(message) if message else {"ended": None}
        if "started" in said:
            self._pid = said["started"]
            self.started.set_result(said["started"])
        elif "refused" in said:
            self.started.set_exception(self._refusal(said))
        else:
            self._settle(said["ended"])

    def _settle(self, status: int | None) -> None:
        self.let_go()
        if not self.started.done():
            self.started.set_exception(
                LauncherUnavailableError(
                    f"`{self._name}` was not started: its launcher or keeper ended",
                    advice="the server's standard error may say why",
                )
            )
        known = status if self.started.exception() is None else None
        try:
            self._on_end(known)
        finally:
            self.ended.set_result(known)

    def _refusal(self, said: dict[str, Any]) -> SteadError:
        stage, number, words = said["refused"], said["errno"], said["text"]
        reason = words or words_of(OSError(number, os.strerror(number)))
        message = f"`{self._name}` cannot be started at {stage}: {reason}"
        if stage == "quota":
            return QuotaExceededError(f"`{self._name}` is not started: {reason}")
        if stage in _NOBODYS_REFUSAL:
            return LauncherUnavailableError(message)
        if number and stage in _JUDGED_AS_CLIENT:
            return KernelRefusedError(message, errno=number, object_name=self._name)
        return ImpersonationRefusedError(message)


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


def begin(
    watch: Watch, name: str, on_end: Callable[[int | None], None]
) -> tuple[Child, socket.socket]:
    """Return a process to be, and the end of its channel that its keeper is to have."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        return Child(watch, ours, name=name, on_end=on_end), theirs
    except BaseException:
        theirs.close()
        raise


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
            with orders.sealed(order.to_bytes()) as document:
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
