"""The client's side of SCRAM-SHA-256(-PLUS); see `stead.adapters.scram`.

client = ScramClient("alice", secret, binding)
send(client.first())
send(client.answer(receive()))
client.require_server(receive())        # not before is it the server that knows us
"""

from __future__ import annotations

import hmac
import os
from base64 import b64encode
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Final, Protocol

from stead.authority.packages import ChannelBinding
from stead.codec import scram
from stead.errors import (
    InvalidRequestError,
    RemoteProtocolError,
    WrongIdentityError,
)

_NONCE: Final = 18


class Revealing(Protocol):
    """A password; a `Secret` is one."""

    def revealed(self) -> AbstractContextManager[bytes | memoryview]:
        """Yield it; what is of printable ASCII is read where it lies."""
        ...


class ScramClient:
    """One exchange, as its client.

    Args:
        name: who the client is.
        secret: its password; it stays the caller's to wipe.
        binding: the channel's; None where it has none.
        could_bind: whether the client could bind, and was told that the server cannot.
            A server that can knows then that somebody between the two said so.
        least_iterations: fewer are refused: a false server would ask for few, and try
            passwords against the answer.
        entropy: returns that many random bytes.

    Raises:
        InvalidRequestError: the binding is empty, and would bind to nothing.
    """

    def __init__(
        self,
        name: str,
        secret: Revealing,
        binding: ChannelBinding | None = None,
        *,
        could_bind: bool = False,
        least_iterations: int = scram.MINIMUM_ITERATIONS,
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> None:
        flag = "y" if could_bind else "n"
        if binding is not None:
            if not binding.data:
                raise InvalidRequestError("a channel's binding is empty")
            flag = f"p={binding.kind}"
        nonce = b64encode(entropy(_NONCE)).decode()
        self._first = scram.write_client_first(name, nonce, flag)
        self._secret = secret
        self._data = b"" if binding is None else binding.data
        self._least = least_iterations
        self._expected: bytes | None = None

    def first(self) -> bytes:
        """Return the first message."""
        return f"{self._first.header}{self._first.bare}".encode()

    def answer(self, challenge: bytes) -> bytes:
        """Return the answer to the server's challenge; as slow as that asks for.

        Raises:
            RemoteProtocolError: the challenge is none.
            WrongIdentityError: it asks for too little work.
        """
        asked, first = scram.read_server_first(challenge), self._first
        if len(asked.nonce) <= len(first.nonce) or not asked.nonce.startswith(
            first.nonce
        ):
            raise RemoteProtocolError("the challenge answers somebody else")
        if asked.iterations < self._least:
            raise WrongIdentityError(
                f"the server asks for {asked.iterations} iterations, fewer than "
                f"{self._least}",
                advice="it may be a false one that wants to guess the password",
            )
        bare = scram.write_client_final_bare(first.header, self._data, asked.nonce)
        said = scram.conversation(first, asked, bare)
        with self._secret.revealed() as content:
            keys = scram.keys_of(content, asked.salt, asked.iterations)
        self._expected = scram.signature_of(keys.server, said)
        return scram.write_client_final(bare, scram.proof_of(keys, said))

    def require_server(self, final: bytes) -> None:
        """Return if the server knows the account, too.

        Raises:
            RemoteProtocolError: it is no proof, or the server refuses.
            WrongIdentityError: it is not this account's server.
            InvalidRequestError: there was no challenge before.
        """
        if self._expected is None:
            raise InvalidRequestError("the server has not asked anything yet")
        shown = scram.read_server_final(final)
        if not hmac.compare_digest(shown, self._expected):
            raise WrongIdentityError(
                "the server does not know this account",
                advice="nothing that it says is to be believed; ask whoever runs it",
            )
