"""A client's password, shown over TLS by SCRAM (RFC 5802, RFC 7677).

    with Secret(password) as secret:
        tls = TlsServer(ca="corp-ca.pem", package=ScramPassword("alice", secret))
        notes = PipeClient.connect("tls://notes.example:7443", tls=tls)

The server never sees the password, and proves that it knows the account. The exchange
is tied to the channel, so that nobody can pass it on.
"""

from __future__ import annotations

from typing import Final

from stead.adapters.scram_client import ScramClient
from stead.authority.packages import ChannelBinding
from stead.errors import InvalidRequestError
from stead.model.secret import Secret


class ScramPassword:
    """Shows one account's password (`reaching.ClientPackage`).

    Args:
        name: the account.
        secret: its password; it stays the caller's to wipe.
    """

    name: Final = "scram-sha-256"

    def __init__(self, name: str, secret: Secret) -> None:
        self._account = name
        self._secret = secret

    def begin(self, binding: ChannelBinding, _host: str, /) -> _Exchange:
        """Begin with a server."""
        return _Exchange(ScramClient(self._account, self._secret, binding))


class _Exchange:
    def __init__(self, client: ScramClient) -> None:
        self._client: ScramClient | None = client

    def step(self, challenge: bytes, /) -> bytes:
        """Return the first message, and then the answer to the challenge."""
        client = self._open
        return client.answer(challenge) if challenge else client.first()

    def finish(self, last: bytes, /) -> None:
        """Require the server's own proof."""
        self._open.require_server(last)

    @property
    def _open(self) -> ScramClient:
        if self._client is None:
            raise InvalidRequestError("the exchange is over")
        return self._client

    def close(self) -> None:
        """Forget it; again does nothing."""
        self._client = None
