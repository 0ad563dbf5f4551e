"""The client's end of DDE, blocking; `async_client` is the same for asyncio.

    with DdeClient.connect("/run/notes/dde") as client:
        with client.conversation("prices", "stocks") as stocks:
            print(stocks.request("acme"))
            stocks.poke("acme", "14")
            with stocks.advise("acme", "globex") as news:
                for item, value in news:
                    print(item, value)

Before a byte is sent the client asks the kernel who listens: by default only root and
the client's own uid will do.
"""

from __future__ import annotations

import os
import socket
import struct
from contextlib import suppress
from typing import Any, Final, Self, cast

from stead.errors import RequestTimeoutError, SteadError
from stead.gates.dde.awaited import Inbox
from stead.gates.dde.messages import (
    Asking,
    Connected,
    Data,
    Execute,
    Message,
    Poke,
    QosWas,
    Request,
    Welcome,
    data_of,
    qos_of,
    value_of,
)
from stead.gates.dde.ports import AdviseKind, DdeData
from stead.gates.dde.wire import Wire
from stead.gates.pipe.calling import ServerUid, attempt, refuse_wrong_server
from stead.gates.pipe.introduction import introduced
from stead.model.quality_of_service import QualityOfService

_TIMEVAL: Final = struct.Struct("@ll")


class DdeClient:
    """A blocking client. Threads may share it; one of them waits at a time.

    Attributes:
        timeout: seconds for each call; None waits for ever. A call that is given up
            leaves the connection whole.
    """

    def __init__(self, connected: socket.socket, timeout: float | None) -> None:
        """Take over a connected and verified socket; `connect` makes one."""
        self.timeout = timeout
        self._wire = Wire(connected)
        self._welcome: Welcome | None = None

    @classmethod
    def connect(
        cls,
        path: str | os.PathLike[str],
        *,
        qos: QualityOfService | None = None,
        server_uid: ServerUid = None,
        timeout: float | None = 30.0,
        correlation: str | None = None,
    ) -> Self:
        """Connect, verify the server, and set the quality of service.

        Args:
            path: the socket.
            qos: what the server may do with the client's identity; if None,
                impersonate it, statically and effective only. A broker hears this
                one, and none that is set later.
            server_uid: the uid or uids that may listen; root and our own if None.
            timeout: seconds for connecting, and for each call later.
            correlation: a name for this visit in the server's trail.

        Raises:
            ServerUnavailableError: no server answers there.
            WrongServerError: somebody else listens; nothing was sent.
            ServerClosedError: the server says goodbye instead.
            RequestTimeoutError: the server does not answer in time.
        """
        connected = introduced((qos or QualityOfService()).level)
        try:
            _connect(connected, path, timeout)
            refuse_wrong_server(connected, server_uid)
            client = cls(connected, timeout)
            client._greet(correlation)
            if qos is not None:
                client.set_quality_of_service(qos)
        except BaseException:
            connected.close()
            raise
        return client

    @property
    def server(self) -> str:
        """The server's name, as it gives it."""
        return "" if self._welcome is None else self._welcome.server

    def set_quality_of_service(self, qos: QualityOfService) -> QualityOfService:
        """Set what later conversations have; return what was set before.

        A conversation keeps the quality of service that it was begun with.
        """
        with self._wire.held(self.timeout) as deadline:
            answer = self._wire.wait(self._wire.exchange.set_qos(qos), deadline)
        return qos_of(cast("QosWas", answer))

    def conversation(self, service: str, topic: str) -> ClientConversation:
        """Begin a conversation about a topic of a service.

        Raises:
            RemoteError: no conversation was established.
            QuotaExceededError: there are as many as the server bears.
            ServerClosedError, ServerUnavailableError: the server is gone.
            RequestTimeoutError: the server did not answer in time.
        """
        with self._wire.held(self.timeout) as deadline:
            number, awaited = self._wire.exchange.connect(service, topic)
            answer = self._wire.wait(awaited, deadline)
        granted = qos_of(cast("Connected", answer))
        return ClientConversation(self._wire, number, granted, self.timeout)

    def close(self) -> None:
        """Say goodbye and close; more than once is no mistake."""
        self._wire.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _greet(self, correlation: str | None) -> None:
        with self._wire.held(self.timeout) as deadline:
            answer = self._wire.wait(self._wire.exchange.hello(correlation), deadline)
        self._welcome = cast("Welcome", answer)


class ClientConversation:
    """One conversation of a `DdeClient`; leaving its `with` block terminates it.

    Its methods raise `RemoteError` for what the server refuses, `DdeBusyError` if it
    asks to come again later, `RequestTimeoutError` if it does not answer in time (what
    was asked may be done all the same), and `NoConversationError`, `ServerClosedError`
    or `ServerUnavailableError` once there is nobody to ask.

    Attributes:
        number: its number on its connection.
        quality_of_service: what the server has granted.
        timeout: seconds for each call; None waits for ever.
    """

    def __init__(
        self, wire: Wire, number: int, qos: QualityOfService, timeout: float | None
    ) -> None:
        """Describe it; `DdeClient.conversation` begins one."""
        self.number: Final = number
        self.quality_of_service: Final = qos
        self.timeout = timeout
        self._wire = wire

    def request(self, item: str) -> Any:
        """Return an item's value: text, bytes, or what JSON holds."""
        return self.request_data(item).value

    def request_data(self, item: str) -> DdeData:
        """Return an item's value with its format."""
        answer = self._transact(Request, item=item)
        return data_of(cast("Data", answer).value)

    def poke(self, item: str, value: object, data_format: str | None = None) -> None:
        """Give an item a value, in the format that fits it or the one given."""
        given = value_of(DdeData.of(value, data_format))
        self._transact(Poke, item=item, value=given)

    def execute(self, command: str) -> None:
        """Have a command run."""
        self._transact(Execute, command=command)

    def advise(
        self,
        *items: str,
        kind: AdviseKind = AdviseKind.HOT,
        acknowledged: bool = False,
        timeout: float | None = None,
    ) -> Advised:
        """Ask to be told of items' new values; iterate over what is returned.

        Args:
            items: their names.
            kind: hot tells the values; warm only that there are new ones (None), to
                be requested.
            acknowledged: whether the server waits, before it tells of an item again,
                until the last value was taken here; it does not wait for ever.
            timeout: seconds to wait for each value; None waits for ever.
        """
        inbox = Inbox(self.number, items)
        self._wire.advise(inbox, kind, acknowledged=acknowledged, timeout=self.timeout)
        return Advised(self._wire, inbox, timeout, closing=self.timeout)

    def close(self) -> None:
        """Terminate the conversation; more than once is no mistake.

        Returns once the server has ended it as well, or has not in time.
        """
        # Ended, or left to the server to end: there is nothing more to be done.
        with suppress(SteadError), self._wire.held(self.timeout) as deadline:
            self._wire.settle(self._wire.exchange.terminate(self.number), deadline)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _transact(self, kind: type[Asking], **fields: Any) -> Message:
        return self._wire.transact(self.timeout, kind, self.number, **fields)


class Advised:
    """New values, as they come: an iterator of `(item, value)`.

    Of each item the latest value waits, no more. When the server ends the advise of an
    item, `next` raises `RemoteError` once; other items may still be told.

    Attributes:
        timeout: seconds to wait for each value; None waits for ever.
    """

    def __init__(
        self,
        wire: Wire,
        inbox: Inbox,
        timeout: float | None,
        *,
        closing: float | None,
    ) -> None:
        """Describe it; `ClientConversation.advise` begins one."""
        self.timeout = timeout
        self._wire = wire
        self._inbox = inbox
        self._closing = closing

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> tuple[str, Any]:
        told = self._wire.next(self._inbox, self.timeout)
        if told is None:
            raise StopIteration
        return told

    def close(self) -> None:
        """Be told no more; more than once is no mistake."""
        # If nobody is left who could tell, there is nothing more to be done.
        with suppress(SteadError):
            self._wire.unadvise(self._inbox, self._closing)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _connect(
    connected: socket.socket, path: str | os.PathLike[str], timeout: float | None
) -> None:
    # A time-out of Python's own would make the socket non-blocking, and a non-blocking
    # connect does not wait for a place in the server's queue.
    microseconds = 0 if timeout is None else max(1, round(timeout * 1_000_000))
    timeval = _TIMEVAL.pack(*divmod(microseconds, 1_000_000))
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, timeval)
    if not attempt(connected, path):
        raise RequestTimeoutError(f"the server at `{path}` is too busy")
