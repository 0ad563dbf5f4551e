"""One root process beside each process of a client: it starts it, and ends its tree.

A keeper is forked in advance, forks the child that will become the client, and waits
for the next order. From then on it serves that order's channel, a SOCK_SEQPACKET pair
with JSON in it:

- to the server ``{"started": pid}``, or ``{"refused": stage, "errno": n, "text": s}``,
  and at last ``{"ended": status}``, as ``subprocess`` counts it;
- from the server ``{"signal": n}``, for the process itself. The end of the channel
  means that the tree is to be ended, whether the server asked for it or is gone.

Where a broker stands between, it has a *hold* on the keeper as well: at its end the
tree is ended, whatever the server wants, and the broker sees by it when the keeper is
done.

When the process has ended, the rest of its tree is ended too before the server hears of
it. If the launcher is gone, which takes in the orphans of a keeper that is killed,
keepers end their trees as well: nothing runs without somebody above it.
"""

from __future__ import annotations

import json
import os
import resource
import select
import socket
import struct
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from stead.errors import SteadError
from stead.privileged import parcels
from stead.privileged.becoming import BEGUN, Cradle, wait_and_become
from stead.privileged.pam_session import PamSession
from stead.privileged.post import Post
from stead.privileged.trees import (
    ChildSignal,
    become_subreaper,
    kill_descendants,
    reap,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from stead.privileged.orders import Terms
    from stead.privileged.parcels import Parcel

KEEPER: Final = struct.Struct("i")
"""What a keeper says on its hold: its number."""

_MESSAGE: Final = 4096
_REPORT: Final = 65536
_ROUNDS_OF_ENDING: Final = 200
_PAUSE: Final = 50  # milliseconds between two of them, unless a child ends before


def wait_and_keep(post: Post) -> int:
    """Take orders, and keep each one's process until its whole tree has ended.

    1. A session of its own, out of reach of signals to the server's; and a subreaper.
    2. Fork the child that will become the client, so that a start does not wait for it.
    3. Wait for an order, as long as the launcher is there, and tell it when one came,
       so that it forks another keeper if none waits now.
    4. Serve the order.
    5. Begin again, unless enough others wait or a PAM session changed the process: it
       holds nothing of the client, as it never reads the order otherwise.

    Args:
        post: what it shares with others.

    Returns:
        The exit code: 0 if it is proved that nothing is left of the tree.
    """
    os.setsid()
    become_subreaper()
    child_signal = ChildSignal()
    has_seat = False
    while True:
        child = _fork(post.terms)
        parcel = _next(post)
        if parcel is None or not post.tell(is_waiting=False):
            child.end()
            return 0
        if has_seat:
            post.leave_seat()
        code = _Keeper(parcel, post, child_signal).serve(child)
        has_seat = not code and not parcel.needs_session and post.take_seat()
        if not has_seat or not post.tell(is_waiting=True):
            return code


def _next(post: Post) -> Parcel | None:
    """Wait for the next order; there is none if the launcher or the server is gone."""
    with select.epoll() as poll:
        # Exclusive: an order wakes one of those that wait for it, and not all.
        poll.register(post.control, select.EPOLLIN | select.EPOLLEXCLUSIVE)
        poll.register(post.news, 0)  # errors alone: nobody reads there any more
        while True:
            if post.news in dict(poll.poll()):
                return None
            with suppress(BlockingIOError):
                return parcels.receive(post.control)


@dataclass(frozen=True, slots=True)
class _Forked:
    """A child that waits for its order.

    Attributes:
        pid: its number.
        orders: where to send it.
        report: where it tells how that went; does not wait.
    """

    pid: int
    orders: socket.socket
    report: int

    def end(self) -> None:
        """Let it end without an order, and forget it."""
        self.orders.close()
        os.close(self.report)
        os.waitpid(self.pid, 0)


def _fork(terms: Terms, session: PamSession | None = None) -> _Forked:
    """Fork the child.

    Raises:
        OSError: there are too many processes, or no memory.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    reading, writing = os.pipe()
    variables = session.environment if session is not None else {}
    cradle = Cradle(
        os.getpid(), theirs, writing, terms, variables, has_keyring=session is not None
    )
    pid = os.fork()
    if not pid:
        try:
            wait_and_become(cradle)
        finally:
            os._exit(127)  # whatever happened, this is no keeper
    theirs.close()
    os.close(writing)
    os.set_blocking(reading, False)
    return _Forked(pid, ours, reading)


class _Keeper:
    """What one keeper knows of its process."""

    def __init__(self, parcel: Parcel, post: Post, child_signal: ChildSignal) -> None:
        self._parcel = parcel
        self._post = post
        self._child_signal = child_signal
        self._channel = socket.socket(fileno=parcel.channel)
        self._channel.setblocking(False)  # noqa: FBT003  # the library's signature
        self._poll = select.poll()
        self._handlers: dict[int, Callable[[], None]] = {}
        self._report = b""
        self._pid = 0
        self._status: int | None = None
        self._is_ending = False
        self._is_clear = True

    def serve(self, child: _Forked) -> int:
        """Hand the order to the child, and serve its channel until its tree has ended.

        1. If a PAM session is ordered, open it, and fork the child again within it.
        2. Hand the order over, and let go of what the process inherits.
        3. Do what the server says, until the child and all below it have ended.
        4. Close the PAM session, and tell the server how it ended.

        Returns:
            The exit code; see `wait_and_keep`.
        """
        with self._channel, ExitStack() as undo:
            if self._parcel.hold is not None:
                undo.callback(os.close, self._parcel.hold)
            session = None
            if not self._is_wanted():
                child.end()
                self._parcel.let_go()
                return 0
            if self._parcel.needs_session:
                child.end()
                try:
                    session, child = self._within_session()
                except (SteadError, OSError) as error:
                    self._say({"refused": "pam", "errno": 0, "text": str(error)})
                    return 0
            status = self._keep(child, session)
            # Before the server hears of it: then the broker has its place back by the
            # time that the server asks for the next.
            undo.close()
            if status is not None:
                self._say({"ended": status})
            return 0 if self._is_clear else 1

    def _is_wanted(self) -> bool:
        """Tell the broker who keeps this order, and say whether it still wants it.

        It may have waited, and its client be gone. The broker ends the tree by itself
        if this process does not, whatever holds it: a descriptor of the server's may
        be one whose closing never returns.
        """
        hold = self._parcel.hold
        if hold is None:
            return True
        try:
            os.write(hold, KEEPER.pack(os.getpid()))
        except (BrokenPipeError, ConnectionResetError):
            return False
        poll = select.poll()
        poll.register(hold, select.POLLRDHUP)
        return not poll.poll(0)

    def _keep(self, child: _Forked, session: PamSession | None) -> int | None:
        """Do steps 2 to 4; return how the process ended, if nothing is left of it."""
        self._pid = child.pid
        with suppress(ConnectionError):  # it has ended: its report says why
            parcels.send(child.orders, self._parcel)
        child.orders.close()
        self._parcel.let_go()
        self._is_clear = self._wait(child.report)
        if session is not None:
            session.close()
        self._learn(child.report)
        return self._status if self._is_clear else None

    def _within_session(self) -> tuple[PamSession, _Forked]:
        order = self._parcel.order()
        limits = _own_limits()
        session = PamSession(order.pam_user, order.identity.uid)
        try:
            return session, _fork(self._post.terms, session)
        except OSError:
            session.close()
            raise
        finally:
            _restore_limits(limits)

    def _wait(self, report: int) -> bool:
        """Serve until no descendant is left, and say whether that came to be."""
        self._on(self._channel.fileno(), select.POLLIN, self._hear)
        # Its end alone: what stands there before is read then.
        self._on(report, 0, lambda: self._learn(report))
        self._on(self._child_signal.fileno(), select.POLLIN, self._child_signal.clear)
        self._on(self._post.news, 0, self._lose_launcher)
        hold = self._parcel.hold
        if hold is not None:
            self._on(hold, select.POLLRDHUP, lambda: self._end(hold))
        for _ in range(_ROUNDS_OF_ENDING):
            while not self._is_ending:
                if not self._look(None):
                    return True
            kill_descendants()
            if not self._look(_PAUSE):
                return True
        return False

    def _look(self, pause: int | None) -> bool:
        """Wait for what comes next, and say whether a descendant is left."""
        for descriptor, _ in self._poll.poll(pause):
            self._handlers[descriptor]()
        ended, is_left = reap()
        if self._pid in ended:
            self._status = ended[self._pid]
            self._is_ending = True
        return is_left

    def _hear(self) -> None:
        """Do what the server says; its end of the channel may be closed.

        A server that says nonsense has its tree ended: it may be anybody's by now.
        """
        try:
            message = self._channel.recv(_MESSAGE, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except ConnectionResetError:
            message = b""
        if not message:
            self._end(self._channel.fileno())
        elif self._status is None:
            # Its number cannot be anybody else's: it is not reaped yet.
            try:
                os.kill(self._pid, json.loads(message)["signal"])
            except (
                *(KeyError, OSError, OverflowError, RecursionError),
                *(TypeError, ValueError),
            ):
                self._end(self._channel.fileno())

    def _learn(self, report: int) -> None:
        """Read what the child reports, and when it is all there, tell the server."""
        if report not in self._handlers:
            return
        try:
            while part := os.read(report, _REPORT):
                self._report += part
        except BlockingIOError:
            return
        self._off(report)
        os.close(report)
        self._say(self._outcome())

    def _outcome(self) -> dict[str, Any]:
        if self._report == BEGUN:
            return {"started": self._pid}
        refusal = self._report.removeprefix(BEGUN)
        if refusal:
            outcome: dict[str, Any] = json.loads(refusal)
            return outcome
        return {"refused": "start", "errno": 0, "text": "the child ended before it"}

    def _lose_launcher(self) -> None:
        """End the tree; and let the server notice, by the control socket's end."""
        self._post.control.close()
        self._end(self._post.news)

    def _end(self, descriptor: int) -> None:
        self._is_ending = True
        self._off(descriptor)

    def _say(self, message: dict[str, Any]) -> None:
        """Tell the server; never wait for one that does not read, or is gone.

        The server has had this very socket: that it does not wait is said each time.
        """
        try:
            self._channel.send(json.dumps(message).encode(), socket.MSG_DONTWAIT)
        except BlockingIOError:
            self._is_ending = True
        except (BrokenPipeError, ConnectionResetError):
            return

    def _on(self, descriptor: int, events: int, handle: Callable[[], None]) -> None:
        self._handlers[descriptor] = handle
        self._poll.register(descriptor, events)

    def _off(self, descriptor: int) -> None:
        del self._handlers[descriptor]
        self._poll.unregister(descriptor)


def _own_limits() -> dict[int, tuple[int, int]]:
    names = (name for name in dir(resource) if name.startswith("RLIMIT_"))
    numbers = {getattr(resource, name) for name in names}
    return {number: resource.getrlimit(number) for number in numbers}


def _restore_limits(limits: dict[int, tuple[int, int]]) -> None:
    """Take back what a PAM module set for the child, which has it by now.

    A root without CAP_SYS_RESOURCE cannot raise some again: the keeper serves this one
    process and needs little.
    """
    for number, pair in limits.items():
        with suppress(ValueError):
            resource.setrlimit(number, pair)
