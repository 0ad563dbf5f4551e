"""A GSS-API context in which a client, and nobody else, is the initiator."""

from __future__ import annotations

import gssapi
from gssapi.raw.misc import GSSError

from stead.adapters.kerberos.causes import refused_outbound
from stead.errors import WrongIdentityError


class ClientSecurityContext(gssapi.SecurityContext):
    """A context in which a client, and nobody else, is the initiator."""

    client: str = ""

    def step(self, token: bytes | None = None) -> bytes | None:
        """Take the other side's blob; return ours.

        Raises:
            WrongIdentityError: another one than the client would be authenticated.
            CredentialsExpiredError, NoCredentialsError: there is no ticket.
            DirectoryUnavailableError: no KDC answers.
        """
        try:
            blob: bytes | None = super().step(token)
            if self.complete:
                require_client(self.client, self.initiator_name)
        except GSSError as error:
            act = f"`{self.client}` reaches `{self._target_name}`"
            raise refused_outbound(error, act) from error
        return blob


def require_client(client: str, found: gssapi.Name | str | None) -> None:
    """Refuse to be anybody else than the client.

    Raises:
        WrongIdentityError: somebody else, or nobody, would be authenticated.
    """
    if str(found) != client:
        raise WrongIdentityError(
            f"`{found}` would be authenticated in the place of `{client}`"
        )
