"""The verbs that reach other machines, as whoever has them hands them out."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

from stead.server.second_hop import SecondHop

if TYPE_CHECKING:
    import httpx

    from stead.adapters.outbound.gss import GssClient
    from stead.adapters.outbound.postgres import PostgresHop
    from stead.adapters.outbound.smb import SmbHop


class NetworkVerbs:
    """Reaches other machines as one client."""

    __slots__ = ()

    @property
    @abstractmethod
    def _hop(self) -> SecondHop:
        """Whose way out, and what is shown."""

    def http(
        self,
        base_url: str = "",
        *,
        timeout: float = 30.0,
        follow_redirects: bool = False,
    ) -> httpx.Client:
        """Return a client of `httpx` whose every request is this client's.

        It shows the client's Kerberos ticket (Negotiate) or, over TLS, its bearer
        token; a server must show who it is in every response. It takes no proxy and no
        netrc of the server's. A redirect to another server is refused. Close it, or use
        it as a context manager: connections stay in the session's pool.

        Args:
            base_url: what relative URLs begin with.
            timeout: seconds, for each step of a request.
            follow_redirects: whether to follow those that stay on one server.

        Raises:
            LoopThreadError: an event loop runs on this thread: `client.aio.http`.
            LogonSessionEndedError, EnforcementUnavailableError: as they say.
            NoCredentialsError: a request has nothing to show, or the policy does not
                name the server; it explains the double hop. From each request, too:
                CredentialsExpiredError, WrongIdentityError, AccessDeniedError.
        """
        return self._hop.http(base_url, timeout, follow_redirects=follow_redirects)

    def smb(self, host: str, *, port: int = 445) -> SmbHop:
        """Return a file server (SMB 2 and 3) that takes us for this client.

        It is connected when a file is asked for, and asked then who it thinks we are.

        Args:
            host: the server, as its Kerberos principal `cifs/host` names it, or where
                a password without a realm is shown, the policy (`smb+ntlm://host`).
            port: where it listens.

        Raises:
            NoCredentialsError, CredentialsExpiredError, WrongIdentityError,
            AccessDeniedError, LogonSessionEndedError, LoopThreadError,
            EnforcementUnavailableError: as in `http`.
        """
        return self._hop.smb(host, port)

    def postgres(self, dsn: str) -> PostgresHop:
        """Return a PostgreSQL database that takes us for this client.

        Each connection is made with the client's ticket, or by a proof of a password
        that has no realm, and the database is asked then who it thinks we are.
        `connection()` lends one of the session's pool.

        Args:
            dsn: host and database, such as `host=db.example dbname=notes`.

        Raises:
            InvalidRequestError: it names credentials, no host, or several.
            NoCredentialsError, CredentialsExpiredError, WrongIdentityError,
            AccessDeniedError, LogonSessionEndedError, LoopThreadError,
            EnforcementUnavailableError: as in `http`.
        """
        return self._hop.postgres(dsn)

    def gss(self, service: str, *, port: int | None = None) -> GssClient:
        """Return a context of GSS-API in which this client is the initiator.

        Args:
            service: `service@host`.
            port: where it listens; a limited client says it.

        Raises:
            NoCredentialsError, CredentialsExpiredError, WrongIdentityError,
            AccessDeniedError, LogonSessionEndedError, LoopThreadError,
            EnforcementUnavailableError: as in `http`.
        """
        return self._hop.gss(service, port)
