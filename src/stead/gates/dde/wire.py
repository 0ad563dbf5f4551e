"""A blocking client's socket: one thread at a time sends, waits and receives.

with wire.held(30.0) as deadline:
    answer = wire.wait(wire.exchange.set_qos(qos), deadline)
"""

from __future__ import annotations

import math
import select
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from stead.errors import RequestTimeoutError, ServerUnavailableError
from stead.gates.dde.awaited import Awaited, Inbox, value_in
from stead.gates.dde.exchange import Exchange
from stead.gates.dde.messages import Asking, Message
from stead.gates.dde.ports import AdviseKind

_READ_SIZE: Final = 1 << 16


class Wire:
    """A socket and what is said over it. Threads may share it.

    Attributes:
        exchange: what is asked and awaited; to be touched only while held.
    """

    def __init__(self, connected: socket.socket) -> None:
        """Take over a connected and verified socket."""
        self.exchange: Final = Exchange()
        self._socket = connected
        self._socket.settimeout(0.0)
        self._poll = select.poll()
        self._lock = threading.Lock()

    @contextmanager
    def held(self, timeout: float | None) -> Iterator[float | None]:
        """Hold the connection; yield the deadline of what is done meanwhile.

        Raises:
            RequestTimeoutError: it, or what was done, took longer.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        if not self._lock.acquire(timeout=-1 if timeout is None else timeout):
            raise RequestTimeoutError("another thread holds the connection")
        try:
            yield deadline
        except TimeoutError as error:
            raise RequestTimeoutError("the server did not answer in time") from error
        finally:
            self._lock.release()

    def wait(self, awaited: Awaited, deadline: float | None) -> Message:
        """Wait for an answer and return it, or raise what it says; held."""
        try:
            self.settle(awaited, deadline)
        except BaseException:
            self.exchange.abandon(awaited)
            self.send()
            raise
        return awaited.result()

    def settle(self, awaited: Awaited, deadline: float | None) -> None:
        """Wait for an answer, whatever it says; held."""
        while not awaited.is_done:
            self.pump(deadline)

    def pump(self, deadline: float | None) -> None:
        """Send what can be sent and take what has come, or wait for either; held.

        Both at once: two that only send would wait for one another.

        Raises:
            TimeoutError: nothing came in time.
            SteadError: the connection is over.
        """
        self.send()
        if self.exchange.end is not None:
            raise self.exchange.end
        wanted = select.POLLIN | (select.POLLOUT if self.exchange.outgoing else 0)
        self._poll.register(self._socket, wanted)
        left = None if deadline is None else deadline - time.monotonic()
        if left is not None and left <= 0:
            raise TimeoutError
        if not self._poll.poll(None if left is None else math.ceil(left * 1000)):
            raise TimeoutError
        self._receive()

    def send(self) -> None:
        """Send as much as the socket takes; held."""
        outgoing = self.exchange.outgoing
        try:
            while outgoing:
                del outgoing[: self._socket.send(outgoing)]
        except BlockingIOError:
            return
        except OSError:
            # The server has closed; it may have left a goodbye that says why.
            outgoing.clear()

    def close(self) -> None:
        """Say goodbye and close; more than once is no mistake."""
        with self._lock:
            if self._socket.fileno() >= 0:
                self.exchange.goodbye()
                self.send()  # as much as goes at once: it is a courtesy
                self._socket.close()

    # --- what takes several steps -----------------------------------------------------

    def transact(
        self, timeout: float | None, asking: type[Asking], number: int, **fields: Any
    ) -> Message:
        """Have a transaction done in a conversation; return its answer."""
        with self.held(timeout) as deadline:
            return self.wait(self.exchange.ask(asking, number, **fields), deadline)

    def advise(
        self,
        inbox: Inbox,
        kind: AdviseKind,
        *,
        acknowledged: bool,
        timeout: float | None,
    ) -> None:
        """Begin to have an inbox told of all its items, or of none."""
        with self.held(timeout) as deadline:
            try:
                for item in tuple(inbox.items):
                    awaited = self.exchange.advise(
                        inbox, item, kind, acknowledged=acknowledged
                    )
                    self.wait(awaited, deadline)
            except BaseException:
                self._end(inbox)
                raise

    def unadvise(self, inbox: Inbox, timeout: float | None) -> None:
        """Have an inbox told no more."""
        with self.held(timeout) as deadline:
            for awaited in self._end(inbox):
                self.settle(awaited, deadline)

    def next(self, inbox: Inbox, timeout: float | None) -> tuple[str, Any] | None:
        """Return the next item and value, or None when nothing more will come."""
        with self.held(timeout) as deadline:
            self._receive()  # what has come is newer than what was not taken yet
            while not inbox.has_news:
                self.pump(deadline)
            message = inbox.take()
            if message is None:
                return None
            self.exchange.acknowledge(inbox, message)
            self.send()
        return message.item, value_in(message)

    def _end(self, inbox: Inbox) -> list[Awaited]:
        ended = self.exchange.unadvise_all(inbox)
        self.send()
        return ended

    def _receive(self) -> None:
        if self.exchange.end is not None:
            return
        try:
            data = self._socket.recv(_READ_SIZE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self.exchange.feed(data)
        else:
            self.exchange.fail(
                ServerUnavailableError("the server closed the connection")
            )
