"""A live logon session: what `server.log_on` returns.

    with server.log_on("alice", password) as session:
        with session.impersonate():
            ...

It holds the session like any client does; `close` lets go of it, and the session ends
when nothing else acts in it any more. `log_off` ends it at once, with its processes.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Final, NoReturn, Self

from stead.authority.packages import OutboundCredentials
from stead.errors import (
    InvalidRequestError,
    LogonSessionEndedError,
    NoCredentialsError,
)
from stead.model.logon_record import LogonRecord
from stead.model.sid import Sid
from stead.model.token import AccessToken
from stead.monitor.impersonation import Block
from stead.server.client_context import ClientContext
from stead.server.machine_verbs import Hand, MachineVerbs
from stead.server.network_verbs import NetworkVerbs
from stead.server.second_hop import SecondHop


class LogonSession(MachineVerbs, NetworkVerbs):
    """One session that the server opened with a client's credentials.

    Its credentials are reached only through it, and end with it. It is neither
    pickled nor copied: it lives here.

    Attributes:
        record: how and when it was opened.
    """

    __slots__ = ("_client", "_credentials", "_end", "_is_closed", "record")

    def __init__(
        self,
        client: ClientContext,
        record: LogonRecord,
        end: Callable[[], object],
        credentials: Callable[[], tuple[OutboundCredentials, ...]] = tuple,
    ) -> None:
        self._client: Final = client
        self._credentials = credentials
        self.record: Final = record
        self._end = end
        self._is_closed = False

    @property
    def client(self) -> ClientContext:
        """Whom it makes, as any other client of the server.

        Raises:
            LogonSessionEndedError: it was closed. What acts in it goes on until it has
                ended, and nothing new begins.
        """
        if self._is_closed:
            raise LogonSessionEndedError(
                f"the logon session of `{self._client.name}` was closed here",
                advice="act within its `with` block, or log the client on again",
            )
        return self._client

    @property
    def token(self) -> AccessToken:
        """The session's token: primary, except for a logon from the network."""
        return self._client.token

    @property
    def name(self) -> str:
        """The account's name, as records print it."""
        return self._client.name

    @property
    def sid(self) -> Sid:
        """The account's SID."""
        return self._client.sid

    def credentials_for(self, package: str) -> OutboundCredentials:
        """Return what the session has to show to other machines, of one kind.

        They are the session's: they end with it, and are not to be kept.

        Args:
            package: `kerberos`, `password` or `bearer`.

        Raises:
            NoCredentialsError: the session has none of that kind.
            LogonSessionEndedError: it has ended.
        """
        client = self.client
        for held in self._credentials():
            if held.package == package:
                return held
        raise NoCredentialsError(
            f"the session of `{client.name}` has no {package} credentials",
            advice="log the client on with its own credentials, or have it delegate "
            "them: a logon from the network brings none",
        )

    def require_credentials(
        self, package: str, *, seconds: float = 0.0
    ) -> OutboundCredentials:
        """Return credentials that last as long as some work; to be called before it.

        Those that end sooner are renewed, which may wait for whoever does that.

        Args:
            package: `kerberos`, `password` or `bearer`.
            seconds: how long the work takes.

        Raises:
            CredentialsExpiredError: they end sooner and cannot be renewed, or the
                session does.
            NoCredentialsError, LogonSessionEndedError: as `credentials_for`.
            DirectoryUnavailableError: whoever renews them does not answer.
        """
        found = self.credentials_for(package)
        found.renew_for(seconds)
        self.client.require_time(seconds)
        return found

    def impersonate(self) -> Block:
        """Return a block in which this thread is the client; see `ClientContext`."""
        return self.client.impersonate()

    @property
    def _hand(self) -> Hand:
        return self.client._hand  # noqa: SLF001 - a session's verbs are its client's

    @property
    def _hop(self) -> SecondHop:
        return self.client._hop  # noqa: SLF001 - likewise

    def close(self) -> None:
        """Let go of the session; it ends when nobody else holds it.

        A second call does nothing.
        """
        self._is_closed = True
        self._client.close()

    def log_off(self) -> None:
        """End the session at once, with every process and worker of it."""
        self._end()
        self.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __reduce_ex__(self, protocol: object, /) -> NoReturn:
        raise InvalidRequestError("a logon session is neither pickled nor copied")

    def __repr__(self) -> str:
        return f"LogonSession({self.name!r}, {self.record.logon_type.name.lower()})"
