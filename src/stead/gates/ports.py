"""What a gate and whoever stands behind it ask of one another.

A gate learns who is at the door and hands that evidence to `admit`. It gets back a
conversation, to which it passes messages and whose answers it passes on. It decides
nothing, and knows neither accounts nor tokens.
"""

from __future__ import annotations

import logging
import socket
import traceback
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar

from stead.authority.packages import Authenticated
from stead.errors import (
    AccessDeniedError,
    LogonFailureError,
    OperationFailedError,
    ServerUnavailableError,
    SteadError,
)
from stead.model.posix_identity import PosixIdentity
from stead.model.quality_of_service import QualityOfService

EvidenceT_contra = TypeVar("EvidenceT_contra", contravariant=True)


class Conversation(Protocol):
    """One admitted client: what it asks is done, or refused, on its behalf."""

    @property
    def account(self) -> str:
        """The client's account, as the server names it."""
        ...

    @property
    def quality(self) -> QualityOfService:
        """What was granted; never more than the client stated."""
        ...

    async def call(self, operation: str, arguments: Mapping[str, Any]) -> Any:
        """Do one operation. Calls of one client may overlap.

        Raises:
            SteadError: the refusal; the client hears `public_refusal` of it.
        """

    async def close(self) -> None:
        """End the conversation, after its last call has ended; called once."""


class ClientLike(Protocol):
    """What a gate of requests asks of a client's context."""

    @property
    def name(self) -> str:
        """The client's account."""
        ...

    def close(self) -> object:
        """End it; what is returned is awaited if it can be."""


class Admit(Protocol[EvidenceT_contra]):
    """The door behind a gate: evidence goes in, a conversation comes out."""

    def __call__(
        self,
        evidence: EvidenceT_contra,
        quality: QualityOfService,
        correlation: str | None,
    ) -> Awaitable[Conversation]:
        """Admit a client.

        Args:
            evidence: what the gate saw for itself about the peer.
            quality: what the client lets be done with its identity.
            correlation: the client's own name for this conversation, unverified.

        Raises:
            LogonFailureError: the client is not admitted.
        """
        ...


class AdmitShown(Protocol):
    """Opens a session by what is shown: `ProtectedServer.admit_shown`."""

    def __call__(
        self,
        show: Callable[[], Authenticated],
        /,
        *,
        package: str,
        gate: str,
        peer: str,
        wait: Callable[[float], None] | None = ...,
    ) -> Any:
        """Return the session; its `client` is the request's."""
        ...


class Ticket(Protocol):
    """By what a broker knows a client that it accepted for this server."""

    @property
    def identity(self) -> PosixIdentity:
        """Who the client is to the kernel."""
        ...

    @property
    def principal(self) -> str:
        """Whose Kerberos ticket it showed; empty if the kernel vouches for it."""
        ...

    @property
    def through(self) -> tuple[str, ...]:
        """The services that its ticket came through, the nearest first."""
        ...

    @property
    def expires(self) -> int | None:
        """Nanoseconds since the epoch, UTC, of that ticket's end; None without one."""
        ...

    def close(self) -> None:
        """Tell the broker that the client is gone; again does nothing."""


class Entrance(Protocol):
    """Where a gate's clients are accepted: by itself, or for it by a broker.

    It is watched by its descriptor, which is readable when a client may be taken.
    """

    def open(self) -> None:
        """Begin to have clients accepted.

        Raises:
            SteadError: they are not accepted now; it may be tried again.
        """

    def fileno(self) -> int:
        """Return the descriptor to watch; another one after each `open`."""
        ...

    def accept(self) -> tuple[socket.socket, Ticket | None]:
        """Take an accepted client, with its ticket if it is a broker that accepts.

        Raises:
            BlockingIOError: there is none now.
            EOFError: no other will come before it is opened again.
        """
        ...

    def close(self) -> None:
        """Have no more clients accepted; again does nothing."""


class TurnedAway(Protocol):
    """Whoever is told, now and then, how many clients a gate has turned away."""

    def __call__(self, count: int, last: str) -> None:
        """Take note of clients that were turned away before anybody was asked.

        Called on the loop's thread, at most once in a period however many came: it
        may queue a record, and must not wait.

        Args:
            count: how many, since it was told the last time.
            last: the last of them and why, in words.
        """
        ...


@dataclass(frozen=True, slots=True)
class PublicRefusal:
    """All that a refused client hears.

    Attributes:
        status: the Win32 code that belongs to the message.
        message: the public sentence.
        record: the number of the audit record that holds the reason, or None.
    """

    status: int
    message: str
    record: int | None = None


# One number for each sentence that several causes share: the number must not tell
# apart what the sentence keeps together (a disabled account from an unknown one, an
# object that is not there from one that may not be read).
_SHARED_STATUS: Final[Mapping[str, int]] = {
    kind.public: kind.status
    for kind in (
        SteadError,
        LogonFailureError,
        AccessDeniedError,
        OperationFailedError,
        ServerUnavailableError,
    )
}


def public_refusal(error: Exception) -> PublicRefusal:
    """Return what a client may hear of an error, and nothing else.

    Args:
        error: a refusal, or any failure of an operation's own code.
    """
    if not isinstance(error, SteadError):
        return PublicRefusal(OperationFailedError.status, OperationFailedError.public)
    record = getattr(error, "record", None)
    return PublicRefusal(
        status=_SHARED_STATUS.get(error.public, error.status),
        message=error.public,
        record=record if type(record) is int else None,
    )


# By the Win32 code of what the client may hear; the rest is what it may have asked for
# wrongly, and is told where an operator wants to hear so much.
_UNLOGGED: Final = frozenset({1, 5, 1115, 1306, 1307, 1312, 1314, 1316, 1326, 1346})
_LOG_LEVEL: Final[Mapping[int, int]] = {
    50: logging.ERROR,  # ERROR_NOT_SUPPORTED: something is not configured, or missing
    1359: logging.ERROR,  # ERROR_INTERNAL_ERROR: the program's own mistake
    1722: logging.WARNING,  # RPC_S_SERVER_UNAVAILABLE: what it needs does not answer
}


def tell_operator(error: SteadError, log: logging.Logger) -> None:
    """Log an error that its client does not hear and no record has.

    What a program or its configuration does wrong is told nowhere else. Refusals are in
    the trail; and a line for each of them would be the clients' to write.

    Args:
        error: what was raised.
        log: the gate's.
    """
    refusal = public_refusal(error)
    if refusal.record is not None or refusal.status in _UNLOGGED:
        return
    level = _LOG_LEVEL.get(refusal.status, logging.INFO)
    told = f"{type(error).__name__}: {error}"
    if error.advice:
        told = f"{told}; what to do: {error.advice}"
    told = "".join(letter if letter.isprintable() else "?" for letter in told)
    # Of the places alone: the error's words would stand there as whoever sent them did.
    places = traceback.format_tb(error.__traceback__) if level == logging.ERROR else ()
    log.log(level, "%s", "\n".join([told, *places]).rstrip())
