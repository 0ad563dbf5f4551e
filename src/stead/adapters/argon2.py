"""Verifiers of passwords by Argon2id, with the low-memory profile of RFC 9106.

A verification takes 64 MiB and some tens of milliseconds on purpose. How many run at
once is bounded, so that nobody who guesses passwords takes the server's memory.
"""

from __future__ import annotations

import os
from base64 import b64encode
from collections.abc import Callable
from threading import BoundedSemaphore
from typing import Any, Final

from stead.adapters.extras import require_extra

require_extra("password", "argon2")

# The bindings have no stubs.
from _argon2_cffi_bindings import ffi, lib  # type: ignore[import-untyped]
from argon2 import PasswordHasher, extract_parameters
from argon2.exceptions import InvalidHashError
from argon2.low_level import ARGON2_VERSION, error_to_str
from argon2.profiles import RFC_9106_LOW_MEMORY

from stead.errors import InvalidRequestError, SteadError, StoreUnavailableError

MAXIMUM_SECRET: Final = 1024
"""Bytes of a password; a longer one is refused rather than cut."""

AT_ONCE: Final = 2
"""Verifications that run at once: at most 128 MiB."""

_REFUSED: Final = b"\0"


class Argon2Verifier:
    """The `PasswordVerifier` of `argon2-cffi`.

    Args:
        hasher: with which parameters; RFC 9106's low-memory profile if not given.
        at_once: how many verifications run at once; others wait.
        entropy: returns that many random bytes.
    """

    def __init__(
        self,
        hasher: PasswordHasher | None = None,
        *,
        at_once: int = AT_ONCE,
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> None:
        if hasher is None:
            hasher = PasswordHasher.from_parameters(RFC_9106_LOW_MEMORY)
        self._hasher = hasher
        self._places = BoundedSemaphore(at_once)
        self._entropy = entropy

    def make(self, secret: bytes) -> str:
        """Return a new verifier of a secret.

        Raises:
            InvalidRequestError: the secret is empty or too long.
            StoreUnavailableError: the machine lacks the memory.
        """
        if not 0 < len(secret) <= MAXIMUM_SECRET:
            raise InvalidRequestError(
                f"a password has 1 to {MAXIMUM_SECRET} bytes", advice="choose another"
            )
        made, salt = self._hasher, self._entropy(self._hasher.salt_len)
        costs = (made.time_cost, made.memory_cost, made.parallelism)
        sizes = (len(salt), made.hash_len, made.type.value)
        encoded = ffi.new("char[]", lib.argon2_encodedlen(*costs, *sizes))
        with self._places:
            code = lib.argon2_hash(
                *costs, _borrowed(secret), len(secret), salt, len(salt),
                ffi.NULL, made.hash_len, encoded, len(encoded), made.type.value,
                ARGON2_VERSION,
            )  # fmt: skip
        if code != lib.ARGON2_OK:
            cause = error_to_str(code).lower()
            raise StoreUnavailableError(f"no verifier can be made: {cause}")
        verifier: str = ffi.string(encoded).decode("ascii")
        return verifier

    def decoy(self) -> str:
        """Return a verifier that nothing matches and that costs what others cost.

        It holds random bytes in a hash's place, so making it costs nothing.
        """
        made = self._hasher
        salt, digest = self._entropy(made.salt_len), self._entropy(made.hash_len)
        return (
            f"$argon2id$v={ARGON2_VERSION}$m={made.memory_cost},t={made.time_cost},"
            f"p={made.parallelism}${_letters(salt)}${_letters(digest)}"
        )

    def matches(self, verifier: str, secret: bytes) -> bool:
        """Tell whether a secret is the one; a secret that none can be costs the same.

        Raises:
            StoreUnavailableError: the verifier is damaged, or the memory is short.
        """
        is_possible = 0 < len(secret) <= MAXIMUM_SECRET
        answer = self._verify(verifier, secret if is_possible else _REFUSED)
        # Raised here, outside any handler: what the library raised knows the secret.
        if isinstance(answer, SteadError):
            raise answer
        return answer and is_possible

    def is_outdated(self, verifier: str) -> bool:
        """Tell whether `make` would by now make a stronger one."""
        return self._hasher.check_needs_rehash(verifier)

    def _verify(self, verifier: str, secret: bytes) -> bool | SteadError:
        try:
            kind = extract_parameters(verifier).type.value
            stored = ffi.new("char[]", verifier.encode("ascii"))
        except (InvalidHashError, UnicodeEncodeError):
            return _unverified("invalid hash")
        with self._places:
            code = self._compare(stored, secret, kind)
        if code in {lib.ARGON2_OK, lib.ARGON2_VERIFY_MISMATCH}:
            return bool(code == lib.ARGON2_OK)
        return _unverified(error_to_str(code).lower())

    def _compare(self, stored: Any, secret: bytes, kind: int) -> int:
        """Return the library's answer; takes the time and the memory it is to take."""
        code: int = lib.argon2_verify(stored, _borrowed(secret), len(secret), kind)
        return code


def _borrowed(secret: bytes) -> Any:
    """Return a secret as the library reads it, where it lies.

    `argon2-cffi` itself makes a copy, and leaves that in memory that is free again.
    """
    return ffi.from_buffer("uint8_t[]", secret)


def _unverified(cause: str) -> StoreUnavailableError:
    return StoreUnavailableError(
        f"a password cannot be verified: {cause}",
        advice="set the account's password again, or free some memory",
    )


def _letters(content: bytes) -> str:
    """Return bytes as the encoded form of Argon2 has them: base64 without padding."""
    return b64encode(content).rstrip(b"=").decode("ascii")
