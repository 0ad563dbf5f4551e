"""A signed token in its compact form (RFC 7515 3.1), taken apart and not yet believed.

Only its form is judged here. Of the header three members count: `alg`, `kid` and `typ`.
What would let a token bring its own key (`jku`, `jwk`, `x5u`, `x5c`) is read by nobody;
what asks to be understood (`crit`) is refused.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field
from typing import Any, Final

from joserfc.errors import JoseError, UnsupportedAlgorithmError
from joserfc.jwa import JWSAlgModel
from joserfc.jwk import ECKey, OKPKey, RSAKey
from joserfc.jws import CompactSignature, JWSRegistry, validate_compact

from stead.adapters.oidc.strict_json import read_object
from stead.errors import EvidenceRefusedError

LARGEST_TOKEN: Final = 16_384
"""How many letters a token may have; web servers take no longer header either."""
_LARGEST_HEADER: Final = 4_096
_PART: Final = re.compile(r"[A-Za-z0-9_-]+")
# The last letter of a part has bits to spare, which have to be 0: else one token could
# be written in several ways, and a list of refused tokens be walked around.
_SPARE: Final = {2: frozenset("AQgw"), 3: frozenset("AEIMQUYcgkosw048")}
_KEY_ID: Final = 256

PublicKey = RSAKey | ECKey | OKPKey


class OneAlgorithm(JWSRegistry):
    """Allows one algorithm, and has no opinion of its own.

    The library's takes an empty list for its own recommendation, which has symmetric
    algorithms in it, and warns of `EdDSA` for not naming its curve; keys name it here.
    """

    def __init__(self, algorithm: str) -> None:
        super().__init__(algorithms=[algorithm], strict_check_header=False)
        self._algorithm = algorithm

    def get_alg(self, name: str) -> JWSAlgModel:
        """Return how an algorithm works."""
        if name != self._algorithm:
            raise UnsupportedAlgorithmError(name)
        return self.algorithms[name]


@dataclass(frozen=True, slots=True)
class CompactToken:
    """A token whose signature nobody has looked at.

    Attributes:
        algorithm: `alg`, as it says.
        key_id: `kid`, or empty.
        type: `typ` in lower case, without `application/`; or empty.
        header: all of its header, for whoever needs more (RFC 9449).
        payload: the bytes that are signed.
    """

    algorithm: str
    key_id: str
    type: str
    header: dict[str, Any] = field(repr=False)
    payload: bytes = field(repr=False)
    _parts: tuple[str, str, str] = field(repr=False)

    def claims(self, what: str) -> dict[str, Any]:
        """Return what the payload says.

        Raises:
            EvidenceRefusedError: it is no JSON object, or could be read in two ways.
        """
        return read_object(self.payload, largest=LARGEST_TOKEN, what=what)

    def require_signed_by(self, key: PublicKey, algorithms: frozenset[str]) -> None:
        """Return if a key signed it, by one of these algorithms.

        Raises:
            EvidenceRefusedError: it did not.
        """
        if self.algorithm not in algorithms:
            raise EvidenceRefusedError(
                f"the token's algorithm `{self.algorithm[:20]!a}` is not allowed"
            )
        head, body, signature = (part.encode() for part in self._parts)
        signed = CompactSignature(
            {"alg": self.algorithm, "kid": self.key_id}, self.payload
        )
        signed.segments = {"header": head, "payload": body, "signature": signature}
        try:
            is_right = validate_compact(
                signed, key, registry=OneAlgorithm(self.algorithm)
            )
        except (JoseError, ValueError) as error:
            raise EvidenceRefusedError(
                f"the token's signature cannot be verified: {type(error).__name__}"
            ) from None
        if not is_right:
            raise EvidenceRefusedError("the token's signature is wrong")


def read_compact(token: str, *, what: str = "the token") -> CompactToken:
    """Take a token apart.

    Args:
        token: as it was sent.
        what: what it is, for errors.

    Raises:
        EvidenceRefusedError: it has not the form of a signed token.
    """
    if len(token) > LARGEST_TOKEN:
        raise EvidenceRefusedError(f"{what} has over {LARGEST_TOKEN} letters")
    parts = token.split(".")
    if len(parts) != 3 or not all(map(_is_base64url, parts)):  # noqa: PLR2004 - RFC 7515 3.1
        raise EvidenceRefusedError(f"{what} is not three parts of base64url")
    header = read_object(
        _decoded(parts[0]), largest=_LARGEST_HEADER, what=f"the header of {what}"
    )
    for name in ("crit", "b64", "enc", "zip"):
        if name in header:
            raise EvidenceRefusedError(f"{what} has a header that asks for `{name}`")
    return CompactToken(
        algorithm=_text(header, "alg", what),
        key_id=_text(header, "kid", what) if "kid" in header else "",
        type=_type(_text(header, "typ", what)) if "typ" in header else "",
        header=header,
        payload=_decoded(parts[1]),
        _parts=(parts[0], parts[1], parts[2]),
    )


def _is_base64url(part: str) -> bool:
    over = len(part) % 4
    if over == 1 or not _PART.fullmatch(part):
        return False
    return over == 0 or part[-1] in _SPARE[over]


def _decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def _text(header: dict[str, Any], name: str, what: str) -> str:
    found = header.get(name)
    if not isinstance(found, str) or not 0 < len(found) <= _KEY_ID:
        raise EvidenceRefusedError(f"the header of {what} has no text as `{name}`")
    return found


def _type(text: str) -> str:
    """Return a media type in its short form (RFC 7515 4.1.9)."""
    return text.lower().removeprefix("application/")
