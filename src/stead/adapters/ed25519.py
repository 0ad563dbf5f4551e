"""Signing and verifying notes with Ed25519, by `cryptography`; a witness's key file.

The private key is a line of text in a file that its owner alone may read. Whoever can
read it can sign another history: keep it where the server's uid cannot, best on another
machine.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final, Self

from stead.adapters.extras import require_extra

require_extra("witness", "cryptography")

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from stead.errors import InvalidCheckpointError, UnsafeConfigurationError
from stead.ledger.checkpoint import (
    Note,
    Signature,
    VerifierKey,
    read_private_key,
    require_key_name,
    write_private_key,
)

_MODE: Final = 0o600
_LONGEST_FILE: Final = 4096


class Ed25519Signer:
    """The private half of a key."""

    def __init__(self, name: str, seed: bytes) -> None:
        """Take a key over.

        Args:
            name: what signatures call it.
            seed: 32 bytes that nobody else knows.

        Raises:
            InvalidCheckpointError: that is no name.
        """
        self._private = Ed25519PrivateKey.from_private_bytes(seed)
        public = self._private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self.key: Final = VerifierKey(require_key_name(name), public)

    def sign(self, text: str) -> Signature:
        """Sign a note's text."""
        made = self._private.sign(text.encode())
        return Signature(self.key.name, self.key.key_hash, made)

    @classmethod
    def from_string(cls, line: str) -> Self:
        """Read a private key's line; raises `InvalidCheckpointError`."""
        name, key_hash, seed = read_private_key(line)
        signer = cls(name, seed)
        if signer.key.key_hash.hex() != key_hash:
            raise InvalidCheckpointError("the private key is damaged")
        return signer


class Ed25519Verifier:
    """The public half of a key."""

    def __init__(self, key: VerifierKey) -> None:
        """Take a key; raises `InvalidCheckpointError` if it is none of Ed25519."""
        self.key: Final = key
        try:
            self._public = Ed25519PublicKey.from_public_bytes(key.public)
        except ValueError as error:
            raise InvalidCheckpointError("the key is not one of Ed25519") from error

    def is_signed(self, note: Note) -> bool:
        """Tell whether the key has signed this note's text."""
        text = note.text.encode()
        return any(
            self._holds(signature, text)
            for signature in note.signatures
            if (signature.name, signature.key_hash)
            == (self.key.name, self.key.key_hash)
        )

    def _holds(self, signature: Signature, text: bytes) -> bool:
        try:
            self._public.verify(signature.signature, text)
        except InvalidSignature:
            return False
        return True

    @classmethod
    def from_string(cls, text: str) -> Self:
        """Take a public key as text; raises `InvalidCheckpointError`."""
        return cls(VerifierKey.from_string(text.strip()))


def make_key_file(path: Path, name: str, seed: bytes) -> VerifierKey:
    """Write a new private key that its owner alone may read; return its public half.

    Raises:
        InvalidCheckpointError: that is no name of a key.
        OSError: the file is there already, or cannot be made.
    """
    signer = Ed25519Signer(name, seed)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(path, flags, _MODE)
    with os.fdopen(descriptor, "w") as file:
        os.fchmod(descriptor, _MODE)
        file.write(write_private_key(signer.key, seed) + "\n")
        file.flush()
        os.fsync(descriptor)
    return signer.key


def read_key_file(path: Path) -> Ed25519Signer:
    """Read a private key that nobody else may read.

    Raises:
        UnsafeConfigurationError: others may read or change it.
        InvalidCheckpointError: it holds no private key.
        OSError: it cannot be read.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    with os.fdopen(descriptor, encoding="utf-8", errors="replace") as file:
        status = os.fstat(descriptor)
        is_ours = status.st_uid in {0, os.geteuid()}
        if not is_ours or status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise UnsafeConfigurationError(
                f"others may read or change the witness's key `{path}`",
                advice=f"make another with `stead witness key`, or chmod 0600 {path}",
            )
        return Ed25519Signer.from_string(file.read(_LONGEST_FILE).strip())
