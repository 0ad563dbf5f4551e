"""The keys of an issuer: what its document says, and which of them fits a token.

A key is one of a name (`kid`) and a kind. Symmetric keys are not taken from anywhere:
whoever can verify by one can sign by it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from cryptography.exceptions import UnsupportedAlgorithm
from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import ECKey, OKPKey, RSAKey

from stead.adapters.oidc.compact import CompactToken, PublicKey
from stead.errors import EvidenceRefusedError, UnsafeConfigurationError

_FEWEST_RSA_BITS: Final = 2048  # RFC 7518 3.3
_MOST_RSA_BITS: Final = 8192  # more takes a verifier's time and no attack needs it
_MOST_KEYS: Final = 64
# How many letters each part of a key may have: of 8192 bits, and a small exponent.
_LONGEST: Final = {"kty": 3, "n": 1_368, "e": 6, "crv": 10, "x": 90, "y": 90}
_UNSAID: Final = "A" * 342  # as long as the shortest modulus is
_KINDS: Final[Mapping[str, type[PublicKey]]] = {
    "RSA": RSAKey,
    "EC": ECKey,
    "OKP": OKPKey,
}
_KIND_OF: Final[Mapping[str, tuple[str, frozenset[str]]]] = {
    "RS256": ("RSA", frozenset()),
    "RS384": ("RSA", frozenset()),
    "RS512": ("RSA", frozenset()),
    "PS256": ("RSA", frozenset()),
    "PS384": ("RSA", frozenset()),
    "PS512": ("RSA", frozenset()),
    "ES256": ("EC", frozenset({"P-256"})),
    "ES384": ("EC", frozenset({"P-384"})),
    "ES512": ("EC", frozenset({"P-521"})),
    "EdDSA": ("OKP", frozenset({"Ed25519"})),
    "Ed25519": ("OKP", frozenset({"Ed25519"})),
}
"""By algorithm, which kind of key it takes, and on which curves."""


def require_algorithms(names: Iterable[str]) -> frozenset[str]:
    """Return an allow list of algorithms.

    Raises:
        UnsafeConfigurationError: it is empty, or has one that no public key verifies.
    """
    found = frozenset(names)
    wrong = sorted(found - _KIND_OF.keys())
    if wrong or not found:
        raise UnsafeConfigurationError(
            f"`{wrong[0] if wrong else ''}` is no algorithm to verify tokens by",
            advice=f"name one or more of {', '.join(_KIND_OF)}",
        )
    return found


@dataclass(frozen=True, slots=True)
class VerificationKey:
    """A public key of an issuer.

    Attributes:
        key_id: its `kid`, or empty.
        kind: `RSA`, `EC` or `OKP`.
        curve: of the last two.
        algorithm: the only one that it is for, if its document says so.
        key: the key.
    """

    key_id: str
    kind: str
    curve: str
    algorithm: str
    key: PublicKey = field(repr=False)

    def is_for(self, algorithm: str) -> bool:
        """Tell whether signatures by an algorithm are verified with it."""
        kind, curves = _KIND_OF.get(algorithm, ("", frozenset()))
        return (
            kind == self.kind
            and (not curves or self.curve in curves)
            and self.algorithm in {"", algorithm}
        )


def read_keys(document: Mapping[str, Any]) -> tuple[VerificationKey, ...]:
    """Return the keys of a JWK set (RFC 7517 5) that verify signatures.

    Keys for something else are left out, and so is what is no key that we know; a set
    may hold those (RFC 7517 5).

    Raises:
        EvidenceRefusedError: it is no set of keys.
    """
    found = document.get("keys")
    if not isinstance(found, list) or len(found) > _MOST_KEYS:
        raise EvidenceRefusedError(f"the keys are no list of up to {_MOST_KEYS}")
    made = (read_key(one) for one in found)
    return tuple(key for key in made if key is not None)


def read_key(jwk: object) -> VerificationKey | None:
    """Return a public key that verifies signatures; None for anything else."""
    if not isinstance(jwk, dict) or not _is_for_signatures(jwk):
        return None
    bare = {name: jwk[name] for name in _LONGEST if name in jwk}
    if not all(isinstance(v, str) and len(v) <= _LONGEST[n] for n, v in bare.items()):
        return None
    if len(bare.get("n", _UNSAID)) < len(_UNSAID):
        return None
    key = _imported(bare)
    if key is None:
        return None
    said, curve = jwk.get("alg", ""), bare.get("crv", "")
    return VerificationKey(jwk.get("kid", ""), bare["kty"], curve, said, key)


def _is_for_signatures(jwk: Mapping[str, Any]) -> bool:
    usages = jwk.get("key_ops", ["verify"])
    return (
        # Whoever publishes a private key has none left.
        "d" not in jwk
        and "k" not in jwk
        and jwk.get("use", "sig") == "sig"
        and isinstance(usages, list)
        and "verify" in usages
        and all(isinstance(jwk.get(name, ""), str) for name in ("kid", "alg"))
    )


def _imported(bare: Mapping[str, str]) -> PublicKey | None:
    """Return a key of its parts, if the library takes it and its size is right."""
    made = _KINDS.get(bare.get("kty", ""))
    if made is None:
        return None
    try:
        key = made.import_key(dict(bare))
        bits = key.public_key.key_size if isinstance(key, RSAKey) else _FEWEST_RSA_BITS
    except (JoseError, SecurityWarning, UnsupportedAlgorithm, LookupError, ValueError):
        return None
    return key if _FEWEST_RSA_BITS <= bits <= _MOST_RSA_BITS else None


def fitting(
    keys: Iterable[VerificationKey], token: CompactToken
) -> VerificationKey | None:
    """Return the one key that a token says it was signed by; None if there is none.

    A token without a `kid` has one where the issuer has one key for its algorithm.

    Raises:
        EvidenceRefusedError: there are several, and nobody says which.
    """
    found = [
        key
        for key in keys
        if key.is_for(token.algorithm) and token.key_id in {"", key.key_id}
    ]
    if len(found) > 1:
        raise EvidenceRefusedError(
            "several keys fit the token, and it names none alone"
        )
    return found[0] if found else None
