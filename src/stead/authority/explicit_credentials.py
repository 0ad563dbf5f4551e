"""Credentials for one other machine, and no logon here (Win32: WNetAddConnection2)."""

from __future__ import annotations

from typing import NoReturn

from stead.authority.packages import OutboundCredentials
from stead.errors import (
    CredentialsExpiredError,
    InvalidRequestError,
    WrongIdentityError,
)
from stead.model.limits import Host


class ExplicitCredentials:
    """What a client shows to one other machine, in place of its session's own.

    They are `OutboundCredentials`. Whoever connects with them asks `require_for` first:
    shown to any other machine, they would give that one the client's password.

    Args:
        credentials: what is shown; theirs from here on.
        target: to whom alone.
    """

    __slots__ = ("_credentials", "_is_closed", "target")

    def __init__(self, credentials: OutboundCredentials, target: Host) -> None:
        self._credentials = credentials
        self._is_closed = False
        self.target = target

    @property
    def package(self) -> str:
        """What takes them."""
        return self._credentials.package

    @property
    def principal(self) -> str:
        """Whom they authenticate."""
        return self._credentials.principal

    @property
    def expires(self) -> int | None:
        """Nanoseconds since the epoch, UTC, of their end by now; None for never."""
        return self._credentials.expires

    @property
    def is_closed(self) -> bool:
        """Whether they were wiped."""
        return self._is_closed

    def renew_for(self, seconds: float) -> None:
        """Have them last for so long; raises `CredentialsExpiredError`."""
        self._require_open()
        self._credentials.renew_for(seconds)

    def require_for(self, host: Host) -> OutboundCredentials:
        """Return what is to be shown to the one machine that they are for.

        Raises:
            WrongIdentityError: this is another machine.
            CredentialsExpiredError: their block was left, or the session has ended.
        """
        self._require_open()
        if host != self.target:
            raise WrongIdentityError(
                f"these credentials are for `{self.target}`, and not for `{host}`",
                advice="ask for credentials of each machine by itself",
            )
        return self._credentials

    def close(self) -> None:
        """Wipe them; again does nothing."""
        self._is_closed = True
        self._credentials.close()

    def _require_open(self) -> None:
        if self._is_closed:
            raise CredentialsExpiredError(
                f"the credentials for `{self.target}` were wiped",
                advice="use them within their `with` block, in a session that lives",
            )

    def __reduce_ex__(self, protocol: object, /) -> NoReturn:
        raise InvalidRequestError("credentials are neither pickled nor copied")

    def __repr__(self) -> str:
        return f"ExplicitCredentials({self.principal!r}, {str(self.target)!r})"
