"""Making tokens: an issuer's own keys (RFC 7515, RFC 9068).

For servers that are their own issuer, for what shows a server to its issuer (RFC 7523),
and for issuers of tests. Keys are joserfc's; a private one is never printed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from joserfc.jwk import ECKey, OKPKey, RSAKey
from joserfc.jwt import encode

from stead.adapters.oidc.compact import OneAlgorithm
from stead.adapters.oidc.keys import read_key, require_algorithms
from stead.errors import UnsafeConfigurationError

ACCESS_TYPE: Final = "at+jwt"
_RSA_BITS: Final = 2048


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key, by which tokens are signed.

    Attributes:
        key_id: `kid`.
        algorithm: the one that it is for.
        key: the key.
    """

    key_id: str
    algorithm: str
    key: RSAKey | ECKey | OKPKey = field(repr=False)

    def __post_init__(self) -> None:
        """Refuse a key that is not for its algorithm.

        Raises:
            UnsafeConfigurationError: it is not, or is no private key.
        """
        require_algorithms([self.algorithm])
        public = read_key(self.public())
        if (
            public is None
            or not public.is_for(self.algorithm)
            or not self.key.is_private
        ):
            raise UnsafeConfigurationError(
                f"the key `{self.key_id}` does not sign by `{self.algorithm}`"
            )

    @classmethod
    def generate(cls, key_id: str, algorithm: str = "ES256") -> SigningKey:
        """Make a new one; `algorithm` is ES256, EdDSA, or one of RSA."""
        made: RSAKey | ECKey | OKPKey
        if algorithm == "ES256":
            made = ECKey.generate_key("P-256")
        elif algorithm == "EdDSA":
            made = OKPKey.generate_key("Ed25519")
        else:
            made = RSAKey.generate_key(_RSA_BITS)
        return cls(key_id, algorithm, made)

    def public(self) -> dict[str, Any]:
        """Return what its issuer's document says of it (RFC 7517)."""
        said = dict(self.key.as_dict(private=False))
        return said | {"kid": self.key_id, "alg": self.algorithm, "use": "sig"}

    def sign(
        self,
        claims: Mapping[str, Any],
        token_type: str = ACCESS_TYPE,
        more: Mapping[str, Any] | None = None,
    ) -> str:
        """Return a signed token.

        Args:
            claims: what it says.
            token_type: its `typ`.
            more: other members of its header.
        """
        header = {"alg": self.algorithm, "typ": token_type, "kid": self.key_id}
        header |= more or {}
        registry = OneAlgorithm(self.algorithm)
        return encode(header, dict(claims), self.key, registry=registry)
