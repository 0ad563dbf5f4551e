"""The words of RFC 8693, which both sides of an exchange say."""

from __future__ import annotations

from typing import Final

GRANT: Final = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS_TOKEN: Final = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105 - a type
JWT: Final = "urn:ietf:params:oauth:token-type:jwt"
ASSERTION: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"  # RFC 7523
SIGNED_TYPES: Final = frozenset({ACCESS_TOKEN, JWT})
