"""The server's end of one running launcher: its process and its control socket."""

from __future__ import annotations

import json
import logging
import os
import socket
import subprocess
import sys
import threading
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from stead.errors import LauncherUnavailableError
from stead.privileged import parcels
from stead.privileged.syscalls import words_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stead.privileged.orders import Terms
    from stead.privileged.parcels import Parcel
    from stead.privileged.watch import Watch

_log: Final = logging.getLogger(__name__)

_BOOTSTRAP: Final = Path(__file__).with_name("bootstrap.py")
_MESSAGE: Final = 1 << 16
_ROOM_FOR_ORDERS: Final = 4 << 20  # bytes of the socket's buffer: about 5,000 of them
_SO_SNDBUFFORCE: Final = 32


class LauncherProcess:
    """A launcher from its start to its end.

    Attributes:
        ready: done when it takes orders, or holds why it does not. Orders may be sent
            before.
    """

    def __init__(
        self, name: str, watch: Watch, terms: Terms, environment: Mapping[str, str]
    ) -> None:
        """Start it: executed and not forked, so that the server's size costs nothing.

        It gets one end of the control socket and /dev/null, the server's standard error
        for its last words, and no environment but what is given here.

        Raises:
            LauncherUnavailableError: it cannot be started.
            ServerClosedError: the watch is closed.
        """
        self.ready: Future[None] = Future()
        self.ready.set_running_or_notify_cancel()
        self._pid = os.getpid()
        self._name = name
        self._watch = watch
        self._lock = threading.Lock()
        self._is_gone = False
        self._control, theirs = control_pair(terms)
        with theirs:
            try:
                self._watch.add(self._control, self._hear)
                self._process = execute(theirs.fileno(), environment)
            except OSError as error:
                self._let_go()
                raise LauncherUnavailableError(
                    f"the launcher `{name}` cannot be started: {words_of(error)}"
                ) from error
            except BaseException:
                self._let_go()
                raise

    @property
    def is_gone(self) -> bool:
        """Whether it is known to take no more orders."""
        return self._is_gone

    def is_reaped(self) -> bool:
        """Say whether it takes no more orders and its process has ended."""
        return self._is_gone and self._process.poll() is not None

    def send(self, parcel: Parcel) -> None:
        """Send an order, without waiting.

        Raises:
            ConnectionError: it takes no more orders, or will not take this one.
            OSError: too many orders wait, or the kernel refuses.
        """
        with self._lock:
            try:
                if self._is_closed():
                    raise ConnectionResetError
                parcels.send(self._control, parcel)
            except ConnectionError:
                self._is_gone = True
                raise

    def close(self, seconds: float) -> None:
        """Tell it to end every tree and itself; kill it if that takes too long.

        A process that was forked from the server's lets go of its copy of the control
        socket, and the launcher goes on.
        """
        if os.getpid() != self._pid:
            self._control.close()
            return
        with self._lock, suppress(OSError):  # it has ended already
            self._control.shutdown(socket.SHUT_RDWR)
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            _log.exception("the launcher `%s` did not end in time", self._name)
            self._process.kill()
            self._process.wait()
        self._let_go()

    def _hear(self) -> None:
        with self._lock:
            if self._is_closed():
                return
            try:
                message = next_message(self._control)
            except BlockingIOError:
                return
        said: dict[str, Any] = json.loads(message) if message else {}
        if "ready" in said:
            self.ready.set_result(None)
            return
        if "failed" in said:
            _log.error("the launcher `%s` cannot serve: %s", self._name, said["failed"])
            self.ready.set_exception(LauncherUnavailableError(said["failed"]))
        self._let_go()

    def _is_closed(self) -> bool:
        return self._control.fileno() < 0

    def _let_go(self) -> None:
        """Close the control socket; again does nothing."""
        self._watch.remove(self._control)
        with self._lock:
            self._is_gone = True
            self._control.close()
            if not self.ready.done():
                self.ready.set_exception(
                    LauncherUnavailableError(
                        f"the launcher `{self._name}` ended before it was ready",
                        advice="the server's standard error may say why",
                    )
                )


def next_message(channel: socket.socket) -> bytes:
    """Take the next message, without waiting; it is empty if no other will come.

    Raises:
        BlockingIOError: there is none now.
    """
    try:
        return channel.recv(_MESSAGE)
    except ConnectionResetError:
        # The peer left something unread. That is told first, and once; what it said
        # before it ended is still there.
        return channel.recv(_MESSAGE)


def control_pair(terms: Terms) -> tuple[socket.socket, socket.socket]:
    """Return both ends of a launcher's control socket, with its terms on the way."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        ours.setblocking(False)  # noqa: FBT003  # the library's signature
        with suppress(PermissionError):  # without CAP_NET_ADMIN fewer orders can wait
            ours.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, _ROOM_FOR_ORDERS)
        ours.send(terms.to_document(sys.path))
    except BaseException:
        ours.close()
        theirs.close()
        raise
    return ours, theirs


def execute(
    control: int, environment: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Execute what the first message of a control socket names; see ``bootstrap``.

    Raises:
        OSError: it cannot be executed.
    """
    return subprocess.Popen(
        [sys.executable, "-I", "-X", "utf8", str(_BOOTSTRAP), str(control)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        # Started without one, the server may have anything else in its place.
        stderr=subprocess.DEVNULL if sys.__stderr__ is None else None,
        pass_fds=(control,),
        cwd="/",
        env=dict(environment or {}),
        start_new_session=True,
    )
