"""A GSS-API context as a client, for protocols of the program's own (RFC 2743).

    with session.gss("ldap@dc1.example") as context:
        blob = context.step()
        while not context.is_complete:
            blob = context.step(exchange(blob))

The Kerberos mechanism is named, and no other: under SPNEGO, tickets that are for
Kerberos alone are not found, and the server's own are shown in their place.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self, cast

from stead.adapters.outbound.aside import aside, require_may_wait
from stead.adapters.outbound.by_password import PasswordLike
from stead.adapters.outbound.passage import (
    RENEWED_AT,
    TIME_LEFT,
    Passage,
    credentials_for,
    recorded,
)
from stead.authority.packages import OutboundCredentials
from stead.errors import (
    InvalidRequestError,
    NoCredentialsError,
    WrongIdentityError,
)
from stead.model.delegation_policy import GSS, NetworkTarget

if TYPE_CHECKING:
    from stead.adapters.kerberos.credentials import (
        ClientSecurityContext,
        KerberosCredentials,
    )

_MUTUAL: Final = 0x2  # GSS_C_MUTUAL_FLAG (RFC 2744, appendix A)


def kerberos_of(passage: Passage, target: NetworkTarget) -> KerberosCredentials:
    """Return the client's tickets, which last for a minute at least.

    Raises:
        NoCredentialsError, CredentialsExpiredError: there are none; recorded.
    """
    found = credentials_for(passage, target, ("kerberos", "password"), time.time_ns())
    return tickets_of(passage, target, found)


def tickets_of(
    passage: Passage, target: NetworkTarget, found: OutboundCredentials
) -> KerberosCredentials:
    """Return the tickets that a session has, or gets by its password.

    Raises:
        NoCredentialsError, DirectoryUnavailableError: it gets none; recorded.
    """
    if found.package == "kerberos":
        return cast("KerberosCredentials", found)
    with recorded(passage, target):
        return passage.by_password.of(
            cast("PasswordLike", found), TIME_LEFT, RENEWED_AT
        )


@contextmanager
def lent_cache(
    tickets: KerberosCredentials, service: str
) -> Iterator[tuple[str, int | None]]:
    """Have a library find the client's ticket, which takes none from its caller.

    The ticket for the service is fetched by name first, and the cache is a copy that
    has nothing else: the library may ask DNS what the service is called, and get a
    ticket for that. And the session may end while it connects; a cache that is emptied
    under it is one in which it finds the server's own keys to fill it with.

    Args:
        tickets: the client's.
        service: `service@host`.

    Yields:
        the copy's name, and when the ticket ends. In this thread, the library's default
        is the copy too.
    """
    copy = tickets.only_for(service)
    try:
        with copy.on_this_thread() as cache:
            yield cache, copy.expires
    finally:
        copy.close()


def gss_target(service: str, port: int | None = None) -> NetworkTarget:
    """Return the target that a service's name means.

    Args:
        service: `service@host`.
        port: where it listens, if the program says.

    Raises:
        InvalidRequestError: it is no service's name.
    """
    name, _, host = service.partition("@")
    if not (name and host):
        raise InvalidRequestError(
            f"`{service[:80]!a}` is no service on a host",
            advice="write `ldap@dc1.example`",
        )
    return NetworkTarget(GSS, host, port or 0, name)


def _unproven(target: NetworkTarget) -> WrongIdentityError:
    return WrongIdentityError(
        f"`{target}` does not show who it is",
        advice="whoever answers has not the service's key",
    )


class GssClient:
    """One context as the client, which ends with its session."""

    __slots__ = ("_context", "_passage", "_target")

    def __init__(self, passage: Passage, target: NetworkTarget) -> None:
        """Judge and record; nothing is sent.

        Raises:
            SteadError: as `Passage.begin` and `credentials_for` raise.
        """
        passage.begin(target)
        self._passage = passage
        self._target = target
        tickets = kerberos_of(passage, target)
        with recorded(passage, target):
            self._context: ClientSecurityContext | None = tickets.initiate(
                f"{target.service}@{target.host}"
            )

    @property
    def is_complete(self) -> bool:
        """Whether each side knows who the other is."""
        return bool(self._live.complete)

    @property
    def client(self) -> str:
        """Who the service knows us as: always the client."""
        return self._live.client

    def step(self, blob: bytes | None = None) -> bytes | None:
        """Take the service's blob; return ours. It may wait for a KDC.

        Raises:
            LogonSessionEndedError: the session has ended.
            WrongIdentityError: somebody else would be authenticated, or the service
                has not shown who it is; recorded.
            NoCredentialsError: there is no ticket to the service; recorded.
        """
        require_may_wait("gss")
        context = self._live
        with recorded(self._passage, self._target):
            try:
                answer = context.step(blob)
            except NoCredentialsError as error:
                if blob is None:
                    raise
                raise _unproven(self._target) from error
            if context.complete and not int(context.actual_flags) & _MUTUAL:
                raise _unproven(self._target)
        return answer

    def wrap(self, message: bytes) -> bytes:
        """Return a message sealed for the service.

        Raises:
            LogonSessionEndedError: the session has ended.
            InvalidRequestError: the two do not know each other yet.
        """
        return self._live.seal(message)

    def unwrap(self, sealed: bytes) -> bytes:
        """Return what the service sealed, or signed.

        Raises:
            LogonSessionEndedError, InvalidRequestError: as `wrap` raises.
            RemoteProtocolError: it is not the service's, or came before.
        """
        return self._live.unseal(sealed)

    def close(self) -> None:
        """Forget the context; again does nothing."""
        self._context = None

    @property
    def _live(self) -> ClientSecurityContext:
        self._passage.line.require_live()
        if self._context is None:
            raise InvalidRequestError("this context was closed")
        return self._context

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"GssClient({self._target})"


class AsyncGssClient:
    """The same for asyncio: a step may wait for a KDC, and the loop does not."""

    __slots__ = ("_client",)

    def __init__(self, client: GssClient) -> None:
        self._client: Final = client

    @property
    def is_complete(self) -> bool:
        """Whether each side knows who the other is."""
        return self._client.is_complete

    @property
    def client(self) -> str:
        """Who the service knows us as: always the client."""
        return self._client.client

    async def step(self, blob: bytes | None = None) -> bytes | None:
        """Take the service's blob; return ours; see `GssClient.step`."""
        return await aside(partial(self._client.step, blob))

    async def wrap(self, message: bytes) -> bytes:
        """Return a message sealed for the service."""
        return await aside(partial(self._client.wrap, message))

    async def unwrap(self, sealed: bytes) -> bytes:
        """Return what the service sealed."""
        return await aside(partial(self._client.unwrap, sealed))

    def close(self) -> None:
        """Forget the context; again does nothing."""
        self._client.close()
