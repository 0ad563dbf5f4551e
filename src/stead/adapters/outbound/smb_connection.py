"""One connection to a file server, and all that the library is to know of others.

`smbclient` keeps what it learns for everybody in the process: connections, and what
servers say of where paths lead (DFS). Here each connection is by itself.
"""

from __future__ import annotations

import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import Context, ContextVar
from functools import partial
from typing import Any, Final, NoReturn, TypeAlias, TypeVar, cast

import smbclient
from smbprotocol import transport
from smbprotocol.connection import Connection
from smbprotocol.exceptions import (
    SMBConnectionClosed,
    SMBException,
    SMBResponseException,
)
from smbprotocol.header import Commands, NtStatus, Smb2Flags

from stead.adapters.outbound.lifeline import Cuttable
from stead.adapters.outbound.passage import TIME_LEFT
from stead.errors import ServerUnavailableError, WrongIdentityError

_T = TypeVar("_T")
Explain: TypeAlias = Callable[[BaseException], None]

_SPOKEN_TO: Final[ContextVar[OwnConnection | None]] = ContextVar(
    "stead_smb_spoken_to", default=None
)


SILENCE: Final = 60.0
"""Seconds in which a server answers, or says that it is at work."""
_PAUSE: Final = 0.002
_SAID: Final = (SMBResponseException, SMBConnectionClosed)


class _Watch:
    """Stands for `select` in the library's transport, which select(2) serves badly.

    That watches no descriptor above 1,023, and a server with many clients has such.
    """

    @staticmethod
    def select(
        reading: list[Any], _writing: object, _failing: object, seconds: float
    ) -> tuple[list[Any], list[Any], list[Any]]:
        """Wait until one socket can be read, as `select.select` does."""
        watch = select.poll()
        for each in reading:
            watch.register(each, select.POLLIN)
        ready = watch.poll(seconds * 1000)
        return (reading if ready else []), [], []


def watch_any_number() -> None:
    """Let the library's connections have descriptors of any number; for all of them."""
    transport.select = _Watch  # all that it asks of it


class ProtectedConnection(Connection):  # type: ignore[misc]  # it has no types
    """A connection on which a session's answers come, and are signed or encrypted.

    The library asks for signatures, and then takes an answer that says that it is not
    signed; it waits for answers for ever; and it fails where several ask at once for
    more than the server lets be asked.

    Attributes:
        explain: raises `LogonSessionEndedError` of an error, if that is why: files that
            are open speak by the library alone.
        connected: called when there is a socket, before anything is said.
        is_silent: whether its server was given up: nothing new is asked by it.
    """

    explain: Explain | None = None
    connected: Callable[[], None] | None = None
    is_silent = False

    def __init__(self, *arguments: Any, **more: Any) -> None:
        """Take what the library takes; nothing is connected."""
        super().__init__(*arguments, **more)
        self._turn: Final = threading.Lock()

    def _send(self, messages: Sequence[Any], *more: Any, **options: Any) -> Any:
        connected, self.connected = self.connected, None
        if connected is not None:
            connected()
        with self._explaining():
            if threading.current_thread() is self._t_worker:
                return self._sent(messages, *more, **options)  # it brings credits
            with self._turn:
                self._wait_for_credits(messages)
                return self._sent(messages, *more, **options)

    def _sent(self, messages: Sequence[Any], *more: Any, **options: Any) -> Any:
        try:
            return super()._send(messages, *more, **options)
        except BlockingIOError as error:
            # Half of a message was sent: nothing can follow it.
            transport: Any = self.transport
            transport.close()
            raise self._silent() from error

    def _wait_for_credits(self, messages: Sequence[Any]) -> None:
        """Wait until the server lets so much be asked, as others' answers come.

        The library fails at once instead: who else of the session writes at the same
        time would be why. Where nothing is awaited it fails still.

        Raises:
            ServerUnavailableError: no answer comes.
        """
        needed = sum(map(self._calculate_credit_charge, messages))
        until = time.monotonic() + SILENCE
        while self._credits() < needed and self._is_awaiting():
            if time.monotonic() > until:
                raise self._silent()
            time.sleep(_PAUSE)

    def _credits(self) -> int:
        window: dict[str, int] = self.sequence_window
        return window["high"] - window["low"]

    def _is_awaiting(self) -> bool:
        transport: Any = self.transport
        awaited = list(self.outstanding_requests.values())
        is_any = any(not each.response_event.is_set() for each in awaited)
        return bool(transport.connected) and is_any

    def _silent(self) -> ServerUnavailableError:
        self.is_silent = True
        return ServerUnavailableError(
            f"`{self.server_name}:{self.port}` does not answer",
            advice="see whether it runs, and the network; what was asked may be done "
            "nevertheless",
        )

    @contextmanager
    def _explaining(self) -> Iterator[None]:
        try:
            yield
        except (SMBException, OSError) as error:
            if self.explain is not None:
                self.explain(error)
            raise

    def receive(
        self,
        request: Any,
        wait: bool = True,  # noqa: FBT001, FBT002 - the library's
        timeout: float | None = None,
        resolve_symlinks: bool = True,  # noqa: FBT001, FBT002 - likewise
    ) -> Any:
        """Return an answer; a server that says it is at work is waited for.

        Raises:
            ServerUnavailableError: it says nothing.
            LogonSessionEndedError: the session has ended, which cut this.
        """
        with self._explaining():
            return self._received(request, wait, timeout, resolve_symlinks)

    def _received(
        self,
        request: Any,
        wait: bool,  # noqa: FBT001 - the library's
        timeout: float | None,
        resolve_symlinks: bool,  # noqa: FBT001 - likewise
    ) -> Any:
        silence = SILENCE if timeout is None else timeout
        transport: Any = self.transport
        while True:
            try:
                return super().receive(request, wait, silence, resolve_symlinks)
            except SMBException as error:
                if isinstance(error, _SAID) or not transport.connected:
                    raise
                if request.response is None:
                    raise self._silent() from error
                if request.response_event.is_set():
                    raise

    def verify_signature(
        self,
        header: Any,
        session_id: Any,
        force: bool = False,  # noqa: FBT001, FBT002 - the library's
    ) -> None:
        """Return if an answer that came unencrypted is signed, and rightly so.

        Raises:
            SMBException: it is not; the connection ends.
        """
        # There is one; what an answer says of its session and kind is anybody's.
        session = next(iter(self.session_table.values()), None)
        is_interim = header["status"].get_value() == NtStatus.STATUS_PENDING
        if session is not None and not force and not is_interim:
            is_signed = header["flags"].has_flag(Smb2Flags.SMB2_FLAGS_SIGNED)
            is_setup = header["command"].get_value() == Commands.SMB2_SESSION_SETUP
            if session.encrypt_data or is_setup or not is_signed:
                raise SMBException("an answer came that nothing protects")
        super().verify_signature(header, session_id, force)


def socket_of(connection: Connection) -> Cuttable:
    """Return the socket of a connection, which the library shows nowhere."""
    inside: Any = connection.transport
    return cast("Cuttable", inside._sock)  # noqa: SLF001 - as it says


def give_up_sending(connected: Cuttable) -> Cuttable:
    """Have a server that takes nothing given up when it would be for saying nothing.

    A message waits where the other end reads none, and with it whoever else has
    something to say; the library waits for ever.
    """
    sending: Any = connected
    seconds = struct.pack("ll", int(SILENCE), 0)
    sending.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, seconds)
    return connected


def cut(connected: Cuttable) -> None:
    """End a connection, and wait for nothing."""
    with suppress(OSError):
        connected.shutdown(socket.SHUT_RDWR)


class _Settings(smbclient.ClientConfig):  # type: ignore[misc]  # it has no types
    """The library's settings, in which each connection has referrals of its own.

    The library keeps what one server says of paths, of whatever server they are, and
    goes by it for everybody: another session's file would be looked for where the first
    one's server wants it.
    """

    @property
    def _referral_cache(self) -> list[Any]:  # pyright: ignore[reportIncompatibleVariableOverride] - one list there, for everybody
        own = _SPOKEN_TO.get()
        if own is not None:
            return own.referrals
        everybodys: list[Any] = vars(self)["_referral_cache"]
        return everybodys

    @_referral_cache.setter
    def _referral_cache(self, referrals: list[Any]) -> None:  # pyright: ignore[reportIncompatibleVariableOverride] - likewise
        own = _SPOKEN_TO.get()
        if own is not None:
            own.referrals = referrals
        else:
            cast("dict[str, Any]", vars(self))["_referral_cache"] = referrals


class OwnConnection(dict[str, Connection]):
    """What the library takes for its pool: one connection, and no way to another.

    Attributes:
        referrals: what its server said of where paths lead (DFS).
        forget: what is to be called when it is closed.
        expires: when the ticket ends by which it was opened, and the server its session
            there (STATUS_NETWORK_SESSION_EXPIRED); nanoseconds since the epoch.
    """

    def __init__(self, key: str, connection: Connection) -> None:
        super().__init__({key: connection})
        self.referrals: list[Any] = []
        self.forget: Callable[[], None] | None = None
        self.expires: int | None = None
        self._made: Final = time.time_ns()

    @property
    def is_up(self) -> bool:
        """Whether it can be used."""
        # A transport is None before it is connected.
        transports: list[Any] = [connection.transport for connection in self.values()]
        return all(transport.connected for transport in transports)

    @property
    def is_silent(self) -> bool:
        """Whether its server was given up: what is open by it may still be answered."""
        return any(getattr(each, "is_silent", False) for each in self.values())

    @property
    def lasts(self) -> bool:
        """Whether its server will go on to know the client for a while.

        That is a minute, or half of what there was: the next connection may be made by
        the same ticket, which is kept to its end, and would be no better.
        """
        if self.expires is None:
            return True
        least = min(TIME_LEFT * 1e9, (self.expires - self._made) / 2)
        return self.expires - time.time_ns() >= max(least, 0)

    @property
    def is_over(self) -> bool:
        """Whether its server knows the client no more, and nothing lives by it."""
        return self.expires is not None and self.expires <= time.time_ns()

    def disconnect(self) -> None:
        """Close it; never raises."""
        if self.forget is not None:
            self.forget()
        for connection in self.values():
            with suppress(SMBException, OSError, ValueError):
                connection.disconnect(close=False)

    def ask(self, call: Callable[..., _T], path: str, **options: Any) -> _T:
        """Have the library do something by this connection, and as nobody.

        A handler is nobody; this says who it is by what it showed.
        """
        settings = smbclient.ClientConfig()  # one for all that use the library
        if not isinstance(settings, _Settings):
            settings.__class__ = _Settings
        return Context().run(
            self._ask, partial(call, path, connection_cache=self, **options)
        )

    def _ask(self, call: Callable[[], _T]) -> _T:
        _SPOKEN_TO.set(self)
        return call()

    def get(self, key: str, default: Any = None) -> Connection:  # noqa: ARG002 - dict's
        """Return the connection.

        Raises:
            WrongIdentityError: another one is looked for.
            ServerUnavailableError: it was lost; nobody connects again but its session.
        """
        found = super().get(key)
        if found is None:
            raise WrongIdentityError(
                f"a file leads to `{key}`, where nobody asked to go as the client",
                advice="reach that server by its name: `session.smb(host)`",
            )
        if not self.is_up:
            raise ServerUnavailableError(f"the connection to `{key}` was lost")
        return found

    def __setitem__(self, key: str, connection: Connection) -> NoReturn:
        raise WrongIdentityError(f"`{key}` is connected by nobody but its session")
