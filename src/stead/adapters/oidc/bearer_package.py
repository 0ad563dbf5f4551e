"""Bearer tokens on gates that exchange blobs: SASL OAUTHBEARER (RFC 7628).

    server = ProtectedServer("notes", packages=[BearerPackage(verifier)], ...)
    exchange = server.begin_logon("oauthbearer", gate="pipe")
    exchange.step(oauthbearer(token))

One message of the client's is all. What is bound to a certificate or a key of the
client's (`cnf`) cannot be shown here, and a token that is not bound is tied to no
channel: a gate that asks for a tie gets none, and refuses.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from stead.adapters.oidc.bearer import BearerVerifier
from stead.adapters.oidc.bearer_credentials import BearerCredentials
from stead.adapters.oidc.compact import LARGEST_TOKEN
from stead.adapters.oidc.token_exchange import TokenExchange
from stead.authority.packages import ChannelBinding, Step
from stead.errors import EvidenceRefusedError, InvalidRequestError

NAME: Final = "oauthbearer"
_LARGEST: Final = LARGEST_TOKEN + 1_024
# RFC 7628 3.1: a GS2 header, key-value pairs that end with ^A, and another ^A.
_MESSAGE: Final = re.compile(
    r"n,(?:a=(?P<authorize>[^,\x01]{1,255}))?,\x01(?P<pairs>(?:[A-Za-z]+=[^\x01]*\x01)+)\x01"
)


@dataclass(frozen=True, slots=True)
class BearerPackage:
    """Clients that show a token in one message.

    Attributes:
        verifier: knows which tokens to believe.
        exchange: where tokens for other servers come from, if the client's are that.
    """

    verifier: BearerVerifier
    exchange: TokenExchange | None = None
    name: str = field(default=NAME, init=False)

    def begin(self, binding: ChannelBinding | None) -> BearerExchange:  # noqa: ARG002 - tokens are tied to no channel
        """Begin with a client."""
        return BearerExchange(self.verifier, self.exchange)


@dataclass(slots=True, eq=False)
class BearerExchange:
    """One client that shows a token."""

    _verifier: BearerVerifier
    _exchange: TokenExchange | None

    def step(self, blob: bytes) -> Step:
        """Take the client's message; it may wait for the issuer's keys.

        Raises:
            EvidenceRefusedError, DirectoryUnavailableError: as of
                `BearerVerifier.verify`; or the message is none.
        """
        text, authorize = _read(blob)
        token = self._verifier.verify(text)
        if authorize not in {"", token.name}:
            raise EvidenceRefusedError("the client asks to be somebody else")
        held = None
        if self._exchange is not None:
            held = BearerCredentials(self._exchange, text, token)
        return Step(client=token.authenticated(held))

    def close(self) -> None:
        """Forget it: there is nothing to forget."""


def oauthbearer(token: str) -> bytes:
    """Return a client's message with a token.

    Raises:
        InvalidRequestError: it is no token.
    """
    if not token.isascii() or not token.isprintable() or " " in token:
        raise InvalidRequestError("what is shown is no token")
    return f"n,,\x01auth=Bearer {token}\x01\x01".encode()


def _read(blob: bytes) -> tuple[str, str]:
    """Return a message's token, and as whom the client asks to be taken, or nothing."""
    if len(blob) > _LARGEST or not blob.isascii():
        raise EvidenceRefusedError("the message is too long, or no text")
    found = _MESSAGE.fullmatch(blob.decode())
    pairs = [] if found is None else found["pairs"].split("\x01")[:-1]
    shown = [pair.partition("=")[2] for pair in pairs if pair.startswith("auth=")]
    if found is None or len(shown) != 1:
        raise EvidenceRefusedError("the message is not RFC 7628's")
    scheme, _, token = shown[0].partition(" ")
    if scheme.lower() != "bearer":
        raise EvidenceRefusedError("the message brings no bearer token")
    return token, found["authorize"] or ""
