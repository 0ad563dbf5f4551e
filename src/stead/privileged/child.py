"""One process of a client, as the server that had it started hears of it.

Nothing here waits for a client: a keeper speaks, and futures are told.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
from concurrent.futures import Future
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar

from stead.errors import (
    ImpersonationRefusedError,
    KernelRefusedError,
    LauncherUnavailableError,
    QuotaExceededError,
    ServerClosedError,
    SteadError,
)
from stead.privileged.launcher_process import next_message
from stead.privileged.syscalls import words_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from stead.privileged.watch import Watch

_T = TypeVar("_T")

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
