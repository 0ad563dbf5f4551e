"""Proof that whoever sends a token has the key that it is bound to (RFC 9449).

A proof is a small signed token of the client's own: for one request, one access token
and one moment, and good once. Which proofs were seen is known in this process alone.
"""

from __future__ import annotations

import hashlib
import math
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from hmac import compare_digest
from threading import Lock
from typing import Any, Final
from urllib.parse import urlsplit

from stead.adapters.oidc.claim_values import optional_text, require_time
from stead.adapters.oidc.compact import CompactToken, PublicKey, read_compact
from stead.adapters.oidc.keys import read_key, require_algorithms
from stead.errors import EvidenceRefusedError

_WHAT: Final = "the proof"
_TYPE: Final = "dpop+jwt"
_LONGEST_ID: Final = 128
_MOST_SEEN: Final = 100_000
_MOST_OF_ONE: Final = 20_000
_ALGORITHMS: Final = ("ES256", "EdDSA", "Ed25519", "PS256", "RS256")
_DEFAULT_PORTS: Final = {"https": 443, "http": 80}


@dataclass(frozen=True, slots=True)
class Request:
    """What a proof is for.

    Attributes:
        method: of HTTP.
        url: as the client sees it; its query does not count.
        token: the access token that comes with it.
    """

    method: str
    url: str
    token: str = field(repr=False)


class SeenProofs:
    """Which proofs were seen lately; bounded, and full is a refusal.

    What has had its time makes room, by what never steps: a clock that is set back
    would have all proofs refused until it is again where it was. Until then it is
    remembered, since such a clock makes a proof good again.
    """

    def __init__(
        self,
        most: int = _MOST_SEEN,
        most_of_one: int = _MOST_OF_ONE,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._most, self._most_of_one = most, most_of_one
        self._monotonic = monotonic
        self._lock = Lock()
        # When a proof ends by the clock, when by what never steps, and whose it is.
        self._ends: dict[bytes, tuple[float, float, str]] = {}
        self._count: dict[str, int] = {}
        self._looked = -math.inf

    def add(self, thumbprint: str, proof_id: str, now: float, ends: float) -> None:
        """Remember a proof until its end, in seconds.

        Raises:
            EvidenceRefusedError: it was seen before, or there are too many.
        """
        name = hashlib.sha256(f"{thumbprint} {proof_id}".encode()).digest()
        with self._lock:
            if name in self._ends and self._ends[name][0] >= now:
                raise EvidenceRefusedError(f"{_WHAT} was used before")
            if self._is_full(thumbprint):
                self._forget()
            if self._is_full(thumbprint):
                raise EvidenceRefusedError("too many proofs came lately")
            if name not in self._ends:
                self._count[thumbprint] = self._of(thumbprint) + 1
            self._ends[name] = (ends, self._monotonic() + ends - now, thumbprint)

    def _of(self, thumbprint: str) -> int:
        return self._count.get(thumbprint, 0)

    def _is_full(self, thumbprint: str) -> bool:
        of_one = self._of(thumbprint)
        return len(self._ends) >= self._most or of_one >= self._most_of_one

    def _forget(self) -> None:
        # Once a second at most: looking at all of them for each proof of somebody who
        # has too many would cost the others more than they have.
        moment = self._monotonic()
        if moment < self._looked + 1:
            return
        self._looked = moment
        for name, (_, over, thumbprint) in list(self._ends.items()):
            if over < moment:
                del self._ends[name]
                self._count[thumbprint] -= 1
                if not self._count[thumbprint]:
                    del self._count[thumbprint]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofRules:
    """How proofs are judged.

    Attributes:
        algorithms: those that keys of clients may sign by.
        window: seconds for which a proof is good, after and before it was made.
        seen: remembers proofs.
    """

    algorithms: Iterable[str] = _ALGORITHMS
    window: float = 60.0
    seen: SeenProofs = field(default_factory=SeenProofs)

    def require_proof(
        self, proof: str, thumbprint: str, request: Request, now: float
    ) -> None:
        """Return if a proof shows possession of a key, for this request.

        1. It is a token of the right type, signed by the key that it brings.
        2. That key is the one to which the access token is bound.
        3. It is for this method, address and access token, and made just now.
        4. It was not seen before.

        Args:
            proof: the `DPoP` header.
            thumbprint: the key's, as the access token says it (RFC 7638).
            request: what it has to be for.
            now: seconds since the epoch.

        Raises:
            EvidenceRefusedError: it does not.
        """
        found = read_compact(proof, what=_WHAT)
        key = _own_key(found)
        found.require_signed_by(key, require_algorithms(self.algorithms))
        if not compare_digest(key.thumbprint(), thumbprint):
            raise EvidenceRefusedError(
                "the token is bound to another key than the proof's"
            )
        claims = found.claims(_WHAT)
        made = require_time(claims, "iat")
        if abs(now - made) > self.window:
            raise EvidenceRefusedError(f"{_WHAT} was not made just now")
        _require_for(claims, request)
        proof_id = optional_text(claims, "jti")
        if not 0 < len(proof_id) <= _LONGEST_ID:
            raise EvidenceRefusedError(f"{_WHAT} has no `jti`")
        self.seen.add(thumbprint, proof_id, now, made + self.window)


def _own_key(proof: CompactToken) -> PublicKey:
    """Return the key that a proof brings, as a token may not."""
    if proof.type != _TYPE:
        raise EvidenceRefusedError(f"{_WHAT} is not of type `{_TYPE}`")
    read = read_key(proof.header.get("jwk"))
    if read is None or not read.is_for(proof.algorithm):
        raise EvidenceRefusedError(f"{_WHAT} brings no public key for its algorithm")
    return read.key


def _require_for(claims: dict[str, Any], request: Request) -> None:
    if optional_text(claims, "htm") != request.method:
        raise EvidenceRefusedError(f"{_WHAT} is for another method")
    if not request.url or _place(optional_text(claims, "htu")) != _place(request.url):
        raise EvidenceRefusedError(f"{_WHAT} is for another address")
    if not compare_digest(
        optional_text(claims, "ath").encode(), digest_of(request.token).encode()
    ):
        raise EvidenceRefusedError(f"{_WHAT} is for another token")


def digest_of(token: str) -> str:
    """Return a token's SHA-256 as `ath` says it (RFC 9449 4.2)."""
    return base64url(hashlib.sha256(token.encode("ascii", "replace")).digest())


def base64url(data: bytes) -> str:
    """Return bytes as JOSE writes them (RFC 7515 2)."""
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def _place(url: str) -> tuple[str, str, int | None, str]:
    """Return what counts of an address (RFC 9449 4.3, RFC 3986 6.2.2 and 6.2.3)."""
    try:
        parts = urlsplit(url)
        port = parts.port or _DEFAULT_PORTS.get(parts.scheme)
    except ValueError:
        raise EvidenceRefusedError(f"{_WHAT} is for no address") from None
    return parts.scheme, (parts.hostname or "").lower(), port, parts.path or "/"
