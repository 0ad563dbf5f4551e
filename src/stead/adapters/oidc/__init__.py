"""OpenID Connect and OAuth 2.0: clients who show a token that an issuer signed.

`bearer` verifies tokens and says whom they name; `token_exchange` gets tokens for other
servers in a client's stead (RFC 8693), and `exchange_desk` is the issuer's side of it.
Signatures, keys and thumbprints are joserfc's (extra `oidc`); nothing is computed here.
"""

from __future__ import annotations

from stead.adapters.extras import require_extra

require_extra("oidc", "joserfc", "cryptography", "httpx")
