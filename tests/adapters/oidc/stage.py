"""What several tests of tokens share."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode

from stead.adapters.oidc.bearer import BearerVerifier

NOTES = "https://notes.example"


def b64(data) -> str:
    if not isinstance(data, bytes):
        data = json.dumps(data).encode()
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64(part: str) -> bytes:
    return urlsafe_b64decode(part + "=" * (-len(part) % 4))


def naive(token: str) -> dict:
    """Read a token's claims as code does that leaves verifying to somebody else."""
    return json.loads(unb64(token.split(".")[1]))


def verifier(issuer, audience=NOTES, **options) -> BearerVerifier:
    return BearerVerifier([issuer.described(audience, **options)])
