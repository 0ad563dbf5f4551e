"""How a server shows its issuer who it is, when it asks for tokens (RFC 6749 2.3).

Best is a certificate in the TLS handshake (RFC 8705: give the `Fetcher` a context that
has it) or a key (RFC 7523); a secret that two parties know comes last.
"""

from __future__ import annotations

import secrets
import time
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol
from urllib.parse import quote_plus

from stead.adapters.oidc.exchange_words import ASSERTION
from stead.adapters.oidc.signing import SigningKey
from stead.model.secret import Secret

_NANOSECONDS: Final = 1_000_000_000
_SECONDS: Final = 60


@dataclass(frozen=True, slots=True)
class Presented:
    """What goes with one request to a token endpoint.

    Attributes:
        form: parameters.
        headers: of HTTP.
    """

    form: Mapping[str, str] = field(default_factory=dict, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


class ClientAuthentication(Protocol):
    """Shows who asks."""

    def present(self, endpoint: str) -> Presented:
        """Return what goes with a request to an endpoint."""
        ...


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    """By the certificate of the TLS connection (RFC 8705 2)."""

    client_id: str

    def present(self, endpoint: str) -> Presented:  # noqa: ARG002 - the same for each
        """Name the client; the handshake shows that it is."""
        return Presented({"client_id": self.client_id})


@dataclass(frozen=True, slots=True)
class ClientSecret:
    """By a secret (`client_secret_basic`)."""

    client_id: str
    secret: Secret

    def present(self, endpoint: str) -> Presented:  # noqa: ARG002 - the same for each
        """Show the secret; raises `SecretUsedError` if it was wiped."""
        with self.secret.revealed() as letters:
            shown = f"{quote_plus(self.client_id)}:{quote_plus(letters)}"
        blob = b64encode(shown.encode()).decode()
        return Presented(headers={"Authorization": f"Basic {blob}"})


@dataclass(frozen=True, slots=True)
class ClientKey:
    """By a key (`private_key_jwt`): an assertion is for one endpoint, and used once."""

    client_id: str
    key: SigningKey
    clock: Callable[[], int] = time.time_ns

    def present(self, endpoint: str) -> Presented:
        """Sign an assertion that is good for a minute."""
        now = self.clock() // _NANOSECONDS
        claims = {
            "iss": self.client_id,
            "sub": self.client_id,
            "aud": endpoint,
            "iat": now,
            "exp": now + _SECONDS,
            "jti": secrets.token_urlsafe(16),
        }
        assertion = self.key.sign(claims, "JWT")
        return Presented(
            {"client_assertion_type": ASSERTION, "client_assertion": assertion}
        )
