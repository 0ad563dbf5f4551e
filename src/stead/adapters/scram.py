"""SCRAM-SHA-256 and SCRAM-SHA-256-PLUS for the store's accounts (RFC 5802, RFC 7677).

The client proves that it knows its password, the server that it knows the account, and
neither says anything that the other could use elsewhere. Over a channel that has a
binding the client must prove to be at *this* end of it (PLUS), or else whoever stands
between could pass everything on.

    server = ProtectedServer("notes", store="notes.db", packages=[Scram()])
    exchange = server.begin_logon("scram-sha-256", binding=binding)

Two messages come and two go::

    client                                   server
    n,,n=alice,r=<nonce>              ->
                                      <-     r=<both>,s=<salt>,i=<iterations>
    c=<header and binding>,r=..,p=..  ->
                                      <-     v=<the server's own proof>

Whatever fails, fails alike: nobody is told by the challenge, the count, the work or the
words whether a name exists. The messages are `stead.codec.scram`; the client's side is
`stead.adapters.scram_client`.
"""

from __future__ import annotations

import hmac
import os
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar, Final

from stead.authority.credential_ports import CredentialStore, ScramDecoys
from stead.authority.logon import Logon
from stead.authority.names import name_key, require_name
from stead.authority.packages import (
    Authenticated,
    ChannelBinding,
    Counted,
    Step,
)
from stead.authority.ports import Account
from stead.codec import scram
from stead.errors import (
    EvidenceRefusedError,
    InvalidNameError,
    InvalidRequestError,
    RemoteProtocolError,
)
from stead.model import well_known
from stead.model.logon_record import LogonType
from stead.model.scram_verifier import ScramVerifier

NAME: Final = "scram-sha-256"
ITERATIONS: Final = 600_000
"""What OWASP's Password Storage Cheat Sheet asks of PBKDF2 with SHA-256. It is the
client's work at each logon, and a thief's at each guess."""
_SALT: Final = 16
_NONCE: Final = 18
_LONGEST_NAME: Final = 256


@dataclass(frozen=True, slots=True)
class Scram:
    """What a server is told to have its accounts log on by SCRAM.

    Attributes:
        iterations: how often new verifiers hash a password.
        entropy: returns that many random bytes.

    Raises:
        InvalidRequestError: fewer iterations than RFC 7677 allows, or too many.
    """

    name: ClassVar[str] = NAME
    iterations: int = ITERATIONS
    entropy: Callable[[int], bytes] = field(default=os.urandom, repr=False)

    def __post_init__(self) -> None:
        """Refuse what no client may take."""
        least, most = scram.MINIMUM_ITERATIONS, scram.MAXIMUM_ITERATIONS
        if not least <= self.iterations <= most:
            raise InvalidRequestError(
                f"SCRAM hashes {least} to {most} times",
                advice=f"leave it at {ITERATIONS}",
            )

    def make(self, secret: bytes) -> ScramVerifier:
        """Return what is kept of a new password; takes a good part of a second."""
        return scram.make_verifier(secret, self.entropy(_SALT), self.iterations)

    def is_outdated(self, verifier: ScramVerifier) -> bool:
        """Tell whether `make` would by now make a stronger one."""
        return verifier.iterations < self.iterations

    def over(self, logon: Logon, credentials: CredentialStore) -> ScramPackage:
        """Return the package over a store."""
        return ScramPackage(self, logon, credentials)


class ScramPackage:
    """The `AuthenticationPackage` over one store.

    Args:
        terms: how it is done.
        logon: counts failures, and says who may log on.
        credentials: where verifiers live.
    """

    def __init__(
        self, terms: Scram, logon: Logon, credentials: CredentialStore
    ) -> None:
        self.terms: Final = terms
        self.logon: Final = logon
        self._credentials = credentials

    @property
    def name(self) -> str:
        """What gates call it."""
        return NAME

    def begin(self, binding: ChannelBinding | None) -> ScramExchange:
        """Begin with a client.

        Args:
            binding: the channel's, which the client must know too; None for a channel
                that has none, on which a client that would bind is refused.

        Raises:
            InvalidRequestError: the binding is empty, and would bind to nothing.
        """
        return ScramExchange(self, binding)

    def begin_for(self, name: str, binding: ChannelBinding | None) -> ScramExchange:
        """Begin with a client whom the protocol around this has named.

        PostgreSQL's clients leave the name empty in SCRAM's own message.
        """
        return ScramExchange(self, binding, name)

    def verifier_of(self, account: Account | None, name: str) -> tuple[
        ScramVerifier, bool
    ]:  # fmt: skip
        """Return an account's verifier, or one that looks like it and matches nothing.

        The store is asked as much for either.
        """
        sid = well_known.NULL_SID if account is None else account.sid
        kept, decoys = self._credentials.scram_or_decoys(sid)
        decoy = self._decoy(decoys, name)
        return (decoy, False) if kept is None else (kept, True)

    def _decoy(self, decoys: ScramDecoys, name: str) -> ScramVerifier:
        """Return what a name has that nobody, or nobody with a verifier, has.

        Always the same for one name, and unforeseeable without the store's secret.
        """
        key = _key_of(name)

        def made(what: bytes) -> bytes:
            return hmac.digest(decoys.key, what + b"\0" + key, "sha256")

        iterations = _iterations(decoys, made(b"iterations")) or self.terms.iterations
        return ScramVerifier(
            made(b"salt")[:_SALT], iterations, made(b"stored"), made(b"server")
        )


def _key_of(name: str) -> bytes:
    """Return what spellings have in common that the store takes for one name.

    It takes some for no account's, such as those with a space that does not break. If
    nobody's salt were the same for these, a name whose salt is not would be somebody's.
    """
    key = name_key(name[:_LONGEST_NAME]).encode("utf-8", "surrogatepass")
    try:
        require_name(name)
    except InvalidNameError:
        return b"\0" + key
    return key


def _iterations(decoys: ScramDecoys, chance: bytes) -> int | None:
    """Return how often the password of nobody is hashed: as often as real ones are.

    While verifiers are made again with more iterations, both counts occur, and each is
    nobody's as often as somebody's. None while there are no verifiers.
    """
    total = sum(number for _, number in decoys.iterations)
    place = int.from_bytes(chance[:8], "big") * total >> 64
    for iterations, number in decoys.iterations:
        place -= number
        if place < 0:
            return iterations
    return None


@dataclass(slots=True, eq=False)
class _State:
    """How far an exchange has come."""

    first: scram.ClientFirst | None = None
    challenge: scram.ServerFirst | None = None
    is_over: bool = False
    counted: Counted = field(default_factory=Counted)


class ScramExchange:
    """One client that proves who it is.

    Args:
        package: whose.
        binding: the channel's, or None.
        named: whom the protocol around this has named; empty if it has not.
    """

    def __init__(
        self, package: ScramPackage, binding: ChannelBinding | None, named: str = ""
    ) -> None:
        if binding is not None and not binding.data:
            raise InvalidRequestError(
                "a channel's binding is empty", advice="pass None if there is none"
            )
        self._package = package
        self._binding = binding
        self._named = named
        self._state = _State()

    @property
    def counted(self) -> Counted:
        """What it has counted by now."""
        return self._state.counted

    def step(self, blob: bytes) -> Step:
        """Take the client's next message.

        Raises:
            EvidenceRefusedError: it is malformed, for another channel, or one too many.
            PasswordMismatchError, UnknownAccountError, AccountDisabledError,
            AccountLockedOutError, LogonTypeNotGrantedError: as they say; for the trail.
        """
        state = self._state
        if state.is_over:
            raise EvidenceRefusedError("this exchange is over")
        state.is_over = True  # unless it turns out well
        try:
            if state.first is None:
                step = self._challenge(blob)
                state.is_over = False
                return step
            return self._verify(blob)
        except RemoteProtocolError as error:
            why = EvidenceRefusedError(str(error))
        raise why

    def close(self) -> None:
        """Forget it."""
        self._state.is_over = True

    def _challenge(self, blob: bytes) -> Step:
        """Read whom the client says it is, and ask it to prove that."""
        first = scram.read_client_first(blob)
        name = first.name or self._named
        if not name:
            raise EvidenceRefusedError("the client does not say who it is")
        logon = self._package.logon
        account = logon.account_named(name)
        self._state.counted = Counted(logon.shown(account, name))
        self._require_binding(first)
        verifier, _ = self._package.verifier_of(account, name)
        nonce = first.nonce + b64encode(self._package.terms.entropy(_NONCE)).decode()
        self._state.first = first
        self._state.challenge = scram.write_server_first(
            nonce, verifier.salt, verifier.iterations
        )
        return Step(self._state.challenge.text.encode())

    def _require_binding(self, first: scram.ClientFirst) -> None:
        binding = self._binding
        if binding is None:
            if first.flag == "p":
                raise EvidenceRefusedError("the client binds, and the channel cannot")
            return
        if first.flag == "y":
            raise EvidenceRefusedError(
                "the client was told that the server cannot bind",
                advice="somebody between the two changed what the server offers",
            )
        if (first.flag, first.kind) != ("p", binding.kind):
            raise EvidenceRefusedError(f"the client does not bind by {binding.kind}")

    def _verify(self, blob: bytes) -> Step:
        """Look at the client's proof, and return the server's."""
        first, challenge = self._state.first, self._state.challenge
        if first is None or challenge is None:
            raise EvidenceRefusedError("this exchange is over")
        final = scram.read_client_final(blob)
        data = b"" if self._binding is None else self._binding.data
        expected = first.header.encode() + data
        if not hmac.compare_digest(final.binding, expected):
            raise EvidenceRefusedError(
                "the client is at the end of another channel",
                advice="somebody stands between the client and the server",
            )
        if not hmac.compare_digest(final.nonce.encode(), challenge.nonce.encode()):
            raise EvidenceRefusedError("the answer is one to another challenge")
        said = scram.conversation(first, challenge, final.bare)
        return self._answer(first.name or self._named, said, final.proof)

    def _answer(self, name: str, said: bytes, proof: bytes) -> Step:
        reply = b""

        def is_proof(account: Account | None) -> bool:
            nonlocal reply
            verifier, is_real = self._package.verifier_of(account, name)
            is_right = scram.is_proof(verifier, said, proof)
            reply = scram.signature_of(verifier.server_key, said)
            return is_right and is_real

        attempt = self._package.logon.attempt_proof(name, is_proof, LogonType.NETWORK)
        self._state.counted = Counted(
            attempt.shown, attempt.locks, attempt.delay, attempt.sid
        )
        identity = attempt.require()
        kind = "" if self._binding is None else self._binding.kind
        client = Authenticated(
            package=NAME,
            issuer="",
            name=identity.name,
            is_bound=self._binding is not None,
            details=(("channel binding", kind),) if kind else (),
        )
        return Step(scram.write_server_final(reply), client)
