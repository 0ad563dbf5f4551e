"""A client's Kerberos ticket, shown over TLS (RFC 4121, RFC 4752 without its layers).

    tls = TlsServer(ca="corp-ca.pem", package=KerberosClient())
    notes = PipeClient.connect("tls://notes.example:7443", tls=tls)

The ticket is for the service at the host whose certificate was checked, and tied to
that certificate; the server proves that it has the service's key. Needs the extra
`kerberos`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from stead.adapters.extras import require_extra

require_extra("kerberos", "gssapi")

import gssapi
from gssapi.raw.misc import GSSError

from stead.adapters.kerberos.binding import gss_binding
from stead.authority.packages import ChannelBinding
from stead.errors import InvalidRequestError, NoCredentialsError, WrongServerError

_PROVED: Final = gssapi.RequirementFlag.mutual_authentication
_FLAGS: Final = _PROVED | gssapi.RequirementFlag.integrity


@dataclass(frozen=True, slots=True)
class KerberosClient:
    """Shows a ticket (`reaching.ClientPackage`).

    Attributes:
        service: what the server's principal begins with, `stead/host.example`.
        cache: the credential cache to use; the process's own if it is empty. Name it
            where threads act for different people: the variable is everybody's.
        delegates: whether the server may go on to other machines as the client; the
            level has to be DELEGATION, too.
    """

    name = "negotiate"
    service: str = "stead"
    cache: str = ""
    delegates: bool = False

    def begin(self, binding: ChannelBinding, host: str, /) -> _Exchange:
        """Begin with a server.

        Raises:
            NoCredentialsError: there is no ticket to begin with.
        """
        flags = _FLAGS
        if self.delegates:
            flags |= gssapi.RequirementFlag.delegate_to_peer
        target = f"{self.service}@{host}"
        try:
            context = gssapi.SecurityContext(
                name=gssapi.Name(target, gssapi.NameType.hostbased_service),
                creds=gssapi.Credentials(
                    usage="initiate",
                    mechs=[gssapi.MechType.kerberos],
                    store=self._store(),
                ),
                # Named, or another mechanism might show somebody else's credentials.
                mech=gssapi.MechType.kerberos,
                flags=flags,
                usage="initiate",
                channel_bindings=gss_binding(binding),
            )
        except GSSError as error:
            raise _nothing(error) from error
        return _Exchange(context)

    def _store(self) -> dict[bytes | str, bytes | str] | None:
        if not self.cache:
            return None
        # Without keys: an empty cache is nobody's.
        return {"ccache": self.cache, "client_keytab": "FILE:/nonexistent"}


class _Exchange:
    def __init__(self, context: gssapi.SecurityContext) -> None:
        self._context: gssapi.SecurityContext | None = context

    def step(self, challenge: bytes, /) -> bytes:
        """Return the next message."""
        try:
            return self._open.step(challenge or None) or b""
        except GSSError as error:
            raise _nothing(error) from error

    def finish(self, last: bytes, /) -> None:
        """Require the server's own proof."""
        context = self._open
        try:
            if last and not context.complete:
                context.step(last)
        except GSSError as error:
            raise _stranger() from error
        if not context.complete or not context.actual_flags & _PROVED:
            raise _stranger()

    @property
    def _open(self) -> gssapi.SecurityContext:
        if self._context is None:
            raise InvalidRequestError("the exchange is over")
        return self._context

    def close(self) -> None:
        """Forget it; again does nothing."""
        self._context = None


def _nothing(error: GSSError) -> NoCredentialsError:
    return NoCredentialsError(
        f"there is no ticket for the server: {error}", advice="`kinit`, and try again"
    )


def _stranger() -> WrongServerError:
    return WrongServerError("the server proves no key of the service's")
