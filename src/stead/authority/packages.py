"""What authenticates clients, and what it says of them ([MS-SPNG], SSPI).

A package is sans-IO: it is given the blobs that a client sent and returns those to
send back. It says who the client is *to its issuer*; what that is here, the registrar
says (`stead.authority.asserted`). A package that has the client's credentials hands
them over with the rest: from then on they are the session's, and end with it.

    exchange = package.begin(binding)
    step = exchange.step(blob)          # until step.client is there
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from stead.model.claim import Claim
from stead.model.posix_identity import PosixIdentity
from stead.model.secret import Secret
from stead.model.sid import Sid
from stead.model.token import ImpersonationLevel, TokenGroup


@dataclass(frozen=True, slots=True)
class ChannelBinding:
    """What ties an exchange to the channel that it goes over (RFC 5056, RFC 5929).

    Attributes:
        kind: `tls-exporter`, `tls-server-end-point`, or `stead-socket`.
        data: what the kind says that it is.
    """

    kind: str
    data: bytes = field(repr=False)


class OutboundCredentials(Protocol):
    """What a session has to show to other machines as its client; never printed."""

    @property
    def package(self) -> str:
        """What takes them: `kerberos`, `password`, `bearer`."""
        ...

    @property
    def principal(self) -> str:
        """Whom they authenticate, as records print it."""
        ...

    @property
    def expires(self) -> int | None:
        """Nanoseconds since the epoch, UTC, of their end by now; None for never."""
        ...

    def renew_for(self, seconds: float) -> None:
        """Have them last for so long from now; those that end sooner are renewed.

        To be called before the work, which they must not end in the middle of. It may
        wait for whoever renews them. Those that never end return at once.

        Raises:
            CredentialsExpiredError: they end sooner and cannot be renewed, or were
                wiped.
            DirectoryUnavailableError: whoever renews them does not answer.
        """
        ...

    def close(self) -> None:
        """Wipe them; again does nothing. Waits for nothing and never raises."""


@dataclass(frozen=True, slots=True)
class AssertedSids:
    """Who somebody is, by SIDs that an issuer says, such as a PAC's.

    Attributes:
        user: the account.
        groups: its groups, nested ones included.
        primary_group: one of them, or None.
        user_claims: attributes of the account.
        device_groups: the groups of the machine that it came from.
        device_claims: attributes of that machine.
    """

    user: Sid
    groups: tuple[TokenGroup, ...] = ()
    primary_group: Sid | None = None
    user_claims: tuple[Claim, ...] = ()
    device_groups: tuple[TokenGroup, ...] = ()
    device_claims: tuple[Claim, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Authenticated:
    """A client that a package has authenticated.

    Attributes:
        package: `kerberos`, `ntlm`, `scram`, `pam`, `certificate`, `bearer`, ...
        issuer: who says so: a realm, a domain, a certificate authority's name, a URL.
            Empty for the store itself, whose accounts `name` then names.
        name: the client, as its issuer writes it, without the issuer.
        sids: what the issuer says of it in SIDs, if it does.
        is_verified_by_service: whether the client showed nothing of its own, and a
            service said who it is, as far as the issuer tells (S4U; `S-1-18-2` in place
            of `S-1-18-1`).
        actors: through whom its identity came, the nearest first, by name.
        level: how far the client lets the server go.
        expires: nanoseconds since the epoch, UTC, at which its session ends, or None.
        is_bound: whether the exchange was tied to its channel.
        credentials: what the client handed over, to reach others as it.
        details: what records say beside; no secrets.
        host: what this host calls the client, where this host itself says who it is:
            from a password authority that asked the host, and from nobody else.
    """

    package: str
    issuer: str
    name: str
    sids: AssertedSids | None = None
    is_verified_by_service: bool = False
    actors: tuple[str, ...] = ()
    level: ImpersonationLevel = ImpersonationLevel.IMPERSONATION
    expires: int | None = None
    is_bound: bool = False
    credentials: OutboundCredentials | None = field(default=None, repr=False)
    details: tuple[tuple[str, str], ...] = ()
    host: PosixIdentity | None = None

    def close(self) -> None:
        """Wipe what the client handed over: it is not admitted."""
        if self.credentials is not None:
            self.credentials.close()


@dataclass(frozen=True, slots=True)
class Step:
    """What came of one blob of a client's.

    Attributes:
        reply: what to send back; empty for nothing.
        client: who it is, once the exchange is complete.
    """

    reply: bytes = field(default=b"", repr=False)
    client: Authenticated | None = None


class Exchange(Protocol):
    """One client being authenticated."""

    def step(self, blob: bytes) -> Step:
        """Take the client's next blob.

        It may wait for a directory or a key distribution centre.

        Raises:
            SteadError: the client is not authenticated, or the exchange is malformed,
                or over; the cause is for the trail, and a client hears the same of all.
            DirectoryUnavailableError: whoever would know does not answer.
        """
        ...

    def close(self) -> None:
        """Forget it, and what it holds; again does nothing."""


@dataclass(frozen=True, slots=True)
class Counted:
    """What an exchange that failed has counted, where its client guessed a secret.

    Attributes:
        name: whom the client said that it is; for the trail.
        locks: whether this failure is what locked that name.
        delay: seconds by which the answer is late at least.
        sid: the account of the store that has the name; None if none has.
    """

    name: str = ""
    locks: bool = False
    delay: float = 0.0
    sid: Sid | None = None


@runtime_checkable
class CountingExchange(Exchange, Protocol):
    """An exchange whose failures count as wrong passwords do."""

    @property
    def counted(self) -> Counted:
        """What it has counted by now."""
        ...


@runtime_checkable
class AuthenticationPackage(Protocol):
    """One way for clients to show who they are."""

    @property
    def name(self) -> str:
        """What gates and records call it: `negotiate`, `scram-sha-256`, ..."""
        ...

    def begin(self, binding: ChannelBinding | None) -> Exchange:
        """Begin with a client.

        Args:
            binding: what the channel can be told by; None for a channel that is not
                protected. With one, a package that can bind demands it.
        """
        ...


@runtime_checkable
class PasswordAuthority(Protocol):
    """Who knows whether passwords of other people's accounts are right: PAM, a KDC."""

    @property
    def name(self) -> str:
        """What records call it: `pam`, `kerberos`."""
        ...

    @property
    def domains(self) -> Collection[str]:
        """Whose accounts it knows, by any name of the domain, without case."""
        ...

    def log_on(
        self, name: str, domain: str, secret: Secret, *, keep: bool
    ) -> Authenticated:
        """Tell who an account is, to whoever knows its password.

        Args:
            name: the account, without its domain.
            domain: as it was written.
            secret: the password; it stays the caller's to wipe.
            keep: whether credentials for other machines are wanted.

        Raises:
            PasswordMismatchError, UnknownAccountError, AccountDisabledError,
            AccountExpiredError, PasswordMustChangeError, LogonHoursError,
            AccountLockedOutError: for the trail; a client hears one thing of all.
            DirectoryUnavailableError: whoever would know does not answer.
        """
        ...
