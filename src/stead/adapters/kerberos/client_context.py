"""A GSS-API context in which a client, and nobody else, is the initiator."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import gssapi
from gssapi.raw.misc import GSSError

from stead.adapters.kerberos.causes import in_words, refused_outbound
from stead.errors import (
    InvalidRequestError,
    RemoteProtocolError,
    WrongIdentityError,
)

_Step = Callable[[], bytes | None]


class ClientSecurityContext(gssapi.SecurityContext):
    """A context in which a client, and nobody else, is the initiator."""

    client: str = ""
    target: str = ""
    """The service, as it was asked for."""
    place: tuple[str, str] = ("", "")
    """The cache that its ticket is in, and the service."""
    fetch: Callable[[_Step], bytes | None] | None = None
    """Takes the first step, if that may have to wait for a ticket."""

    def step(self, token: bytes | None = None) -> bytes | None:
        """Take the other side's blob; return ours.

        Raises:
            WrongIdentityError: another one than the client would be authenticated.
            CredentialsExpiredError, NoCredentialsError: there is no ticket.
            DirectoryUnavailableError: no KDC answers.
        """
        try:
            blob = self._stepped(token)
            if self.complete:
                require_client(self.client, self.initiator_name)
        except GSSError as error:
            act = f"`{self.client}` reaches `{self.target}`"
            raise refused_outbound(error, act) from error
        return blob

    def seal(self, message: bytes) -> bytes:
        """Return a message sealed for the service; raises `InvalidRequestError`."""
        self._require_complete()
        return self.wrap(message, encrypt=True).message

    def unseal(self, sealed: bytes) -> bytes:
        """Return what the service sealed, or signed.

        Raises:
            InvalidRequestError: the two do not know each other yet.
            RemoteProtocolError: it is not the service's, or came before, or too late.
        """
        self._require_complete()
        try:
            return self.unwrap(sealed).message
        except GSSError as error:
            raise RemoteProtocolError(
                f"`{self.target}` did not seal that: {in_words(error)}",
                advice="somebody between changes what it says; end the connection",
            ) from error

    def _require_complete(self) -> None:
        if not self.complete:
            raise InvalidRequestError(
                "nothing is sealed before each side knows who the other is",
                advice="take steps until `is_complete`",
            )

    def _stepped(self, token: bytes | None) -> bytes | None:
        fetch, self.fetch = self.fetch, None
        step: _Step = partial(super().step, token)
        return step() if fetch is None else fetch(step)


def require_client(client: str, found: gssapi.Name | str | None) -> None:
    """Refuse to be anybody else than the client.

    Raises:
        WrongIdentityError: somebody else, or nobody, would be authenticated.
    """
    if str(found) != client:
        raise WrongIdentityError(
            f"`{found}` would be authenticated in the place of `{client}`"
        )
