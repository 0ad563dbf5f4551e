"""What is kept of a password for SCRAM (RFC 5802 3): the password is not in it."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class ScramVerifier:
    """Tells whoever knows a password from others, without ever hearing it.

    Whoever has it can try passwords against it, and can pose as the server to its
    client; it logs nobody on.

    Attributes:
        salt: what the password was hashed with; told to whoever asks.
        iterations: how often; told likewise.
        stored_key: tells a client's proof.
        server_key: makes the server's.
    """

    salt: bytes
    iterations: int
    stored_key: bytes = field(repr=False)
    server_key: bytes = field(repr=False)
