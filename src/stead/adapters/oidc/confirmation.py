"""Tokens that only their owner can use: by a certificate or a key (RFC 7800, `cnf`).

A token that says whose it is is worth nothing without the proof: whoever finds it in a
log cannot use it. One that is bound in a way that is not known here is refused.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from hmac import compare_digest
from typing import Any, Final

from stead.adapters.oidc.dpop import ProofRules, Request, base64url
from stead.errors import EvidenceRefusedError

_CERTIFICATE: Final = "x5t#S256"  # RFC 8705 3.1
_KEY: Final = "jkt"  # RFC 9449 6.1


@dataclass(frozen=True, slots=True)
class Shown:
    """What came with a token, besides the token.

    Attributes:
        certificate: the client's, in DER, if the gate saw one in its TLS handshake.
        proofs: every `DPoP` header; one at most is right.
        is_dpop: whether the token was sent by the scheme `DPoP`, and not `Bearer`.
        method: the request's.
        url: the request's, as the client sees it; empty where nobody knows.
    """

    certificate: bytes | None = field(default=None, repr=False)
    proofs: tuple[str, ...] = field(default=(), repr=False)
    is_dpop: bool = False
    method: str = ""
    url: str = ""


NOTHING_SHOWN: Final = Shown()


def require_confirmed(
    claims: dict[str, Any], token: str, shown: Shown, rules: ProofRules, now: float
) -> bool:
    """Return whether a token is bound, once it is shown that its owner sent it.

    Args:
        claims: the token's, which are believed.
        token: as it was sent.
        shown: what came with it.
        rules: how proofs are judged.
        now: seconds since the epoch.

    Raises:
        EvidenceRefusedError: it is bound and nothing shows that, or the other way.
    """
    bound = claims.get("cnf", {})
    if not isinstance(bound, dict) or ("cnf" in claims and not bound):
        raise EvidenceRefusedError("the token's `cnf` says nothing")
    if bound.keys() - {_CERTIFICATE, _KEY}:
        raise EvidenceRefusedError("the token is bound in a way that is not known here")
    if shown.is_dpop and _KEY not in bound:
        raise EvidenceRefusedError("the token was sent as bound to a key, and is not")
    if _CERTIFICATE in bound:
        _require_certificate(bound[_CERTIFICATE], shown)
    if _KEY in bound:
        _require_key(bound[_KEY], token, shown, rules, now)
    return bool(bound)


def _require_certificate(thumbprint: object, shown: Shown) -> None:
    if shown.certificate is None:
        raise EvidenceRefusedError(
            "the token is bound to a certificate, and the gate saw none",
            advice="hand the client's certificate to the gate",
        )
    seen = base64url(hashlib.sha256(shown.certificate).digest())
    if not isinstance(thumbprint, str) or not compare_digest(
        thumbprint.encode(errors="replace"), seen.encode()
    ):
        raise EvidenceRefusedError("the token is bound to another certificate")


def _require_key(
    thumbprint: object, token: str, shown: Shown, rules: ProofRules, now: float
) -> None:
    if not isinstance(thumbprint, str) or not thumbprint.isascii():
        raise EvidenceRefusedError("the token's `cnf` names no key")
    if not shown.is_dpop or len(shown.proofs) != 1:
        raise EvidenceRefusedError("the token is bound to a key, and no proof came")
    rules.require_proof(
        shown.proofs[0], thumbprint, Request(shown.method, shown.url, token), now
    )
