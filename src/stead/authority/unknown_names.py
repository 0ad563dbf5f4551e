"""What a name is called that nobody has: it may be a password, typed as a name.

Whoever types the password where the name belongs has it looked up, refused, and written
down: in the trail, for years, and wherever that is sent. So a name is written where
somebody has it, and in its place stands a mark where nobody does (docs/adr/0118). The
mark is the same for the same name as long as the process lives, and says nothing of it
to whoever has the trail.

    >>> names = UnknownNames(b"the store's", entropy=lambda size: b"-" * size)
    >>> names.shown("tiger")
    'unknown name 286e6fd5'
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Callable
from typing import Final, Self

from stead.authority.credential_ports import CredentialStore
from stead.authority.names import name_key

LONGEST_SHOWN: Final = 80
UNSEEN: Final = "unknown name"
"""What records call a name that nobody has looked at."""
_LONGEST: Final = 256
_KEY: Final = 32
_MARK: Final = 4
_DIGEST: Final = 16


class UnknownNames:
    """Writes names that nobody has, in one server.

    Args:
        secret: the store's, which processes that share it have.
        are_recorded: whether records have such names as they were given.
        entropy: returns that many random bytes.
    """

    def __init__(
        self,
        secret: bytes,
        *,
        are_recorded: bool = False,
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._secret: Final = secret
        self._are_recorded = are_recorded
        # Never written down: the store's own lies beside the trail.
        self._own: Final = entropy(_KEY)

    @classmethod
    def of(cls, credentials: CredentialStore, *, are_recorded: bool = False) -> Self:
        """Return what writes them for a store, which is asked now and no more."""
        return cls(credentials.scram_decoys().key, are_recorded=are_recorded)

    def key(self, name: str) -> str:
        """Return by what failures of a name are counted; no name looks like it.

        It is the same in every process, and no name that anybody can read. Whoever has
        the whole store can try words against it.
        """
        return f"unknown:{_digest(self._secret, name)[:_DIGEST].hex()}"

    def shown(self, name: str) -> str:
        """Return what records call it."""
        if self._are_recorded:
            return name[:LONGEST_SHOWN]
        return f"{UNSEEN} {_digest(self._own, name)[:_MARK].hex()}"


def _digest(key: bytes, name: str) -> bytes:
    folded = name_key(name[:_LONGEST]).encode("utf-8", "surrogatepass")
    return hmac.digest(key, b"unknown name\0" + folded, "sha256")
