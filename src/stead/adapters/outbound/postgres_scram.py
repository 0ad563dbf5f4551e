"""PostgreSQL by a password: SCRAM-SHA-256, spoken by us, and nothing else.

The server asks for a proof (AuthenticationSASL), gets one, and shows that it knows the
account, too; then it says that we are in, and libpq goes on. Whatever else a server
asks for, the password itself, its MD5, a ticket, gets no answer; and who lets us in
without asking is not believed. Under TLS the proof is tied to the server's certificate
(SCRAM-SHA-256-PLUS), so that nobody between passes it on.

https://www.postgresql.org/docs/current/protocol-flow.html and sasl-authentication.html
"""

from __future__ import annotations

import struct
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Final

from stead.adapters.end_point import server_end_point
from stead.adapters.outbound.libpq_channel import Channel
from stead.adapters.outbound.passage import mistaken, not_taken
from stead.adapters.outbound.passwords import MachinePassword
from stead.adapters.outbound.postgres_refusals import refused
from stead.adapters.scram_client import ScramClient
from stead.authority.packages import ChannelBinding
from stead.codec.scram import LONGEST_MESSAGE
from stead.errors import (
    InvalidRequestError,
    RemoteProtocolError,
    SteadError,
    WrongIdentityError,
)
from stead.model.delegation_policy import NetworkTarget

_HEAD: Final = struct.Struct("!cI")
_CODE: Final = struct.Struct("!I")
_LET_IN, _SASL, _CONTINUE, _FINAL = 0, 10, 11, 12
_LET_IN_MESSAGE: Final = b"R" + struct.pack("!II", 8, _LET_IN)
_ASKED_FOR: Final = {
    2: "Kerberos 5", 3: "the password itself", 5: "the password's MD5", 7: "a ticket",
    9: "SSPI",
}  # fmt: skip
_BOUND, _UNBOUND = b"SCRAM-SHA-256-PLUS", b"SCRAM-SHA-256"


@dataclass(frozen=True, slots=True)
class _Lent:
    """A password, as `ScramClient` takes it."""

    held: MachinePassword

    def revealed(self) -> AbstractContextManager[memoryview]:
        return self.held.lent()


def end_point(certificate: bytes, to: NetworkTarget) -> ChannelBinding:
    """Return what ties a proof to a server's certificate.

    Raises:
        NoCredentialsError: nothing is defined for that kind of certificate.
    """
    try:
        return server_end_point(certificate)
    except InvalidRequestError as error:
        raise not_taken(to, str(error), error.advice) from error


def show_password(
    channel: Channel,
    binding: ChannelBinding | None,
    held: MachinePassword,
    to: NetworkTarget,
) -> None:
    """Show that the client knows the password, and have the server show it, too.

    1. The server asks for SCRAM, and under TLS for the kind that is tied to it.
    2. It gets a proof, and answers with its own.
    3. What it says next is that we are in; that is left for libpq to read.

    Raises:
        NoCredentialsError: the server does not take the password, or asks for
            something else.
        AccessDeniedError, UnknownDatabaseError: it refuses the client otherwise.
        WrongIdentityError: it does not know the account, lets us in without a proof, or
            does not keep to the protocol.
        ServerUnavailableError: it is not ready.
        CredentialsExpiredError: the password was wiped meanwhile.
    """
    try:
        _exchange(channel, binding, held, to)
    except RemoteProtocolError as error:
        raise WrongIdentityError(
            f"`{to}` does not keep to SCRAM: {error}",
            advice="it may be a false server; it got nothing to log on with",
        ) from error


def _exchange(
    channel: Channel,
    binding: ChannelBinding | None,
    held: MachinePassword,
    to: NetworkTarget,
) -> None:
    exchange = ScramClient("", _Lent(held), binding)
    kind = _UNBOUND if binding is None else _BOUND
    asked = _expect(channel, to, _SASL, held.principal)
    if kind not in asked.split(b"\0"):
        raise not_taken(
            to,
            f"the database does not offer {kind.decode()}",
            "what stands between, and ends TLS in the database's place, offers none; "
            "nor is there any for an account whose password is kept as MD5",
        )
    first = exchange.first()
    _send(channel, kind + b"\0" + _CODE.pack(len(first)) + first)
    challenge = _expect(channel, to, _CONTINUE, held.principal)
    _send(channel, exchange.answer(challenge))
    exchange.require_server(_expect(channel, to, _FINAL, held.principal))
    if channel.peek(len(_LET_IN_MESSAGE)) != _LET_IN_MESSAGE:
        raise RemoteProtocolError("it asks for more after the proof")


def _send(channel: Channel, content: bytes) -> None:
    channel.send(_HEAD.pack(b"p", len(content) + _CODE.size) + content)


def _expect(channel: Channel, to: NetworkTarget, code: int, account: str) -> bytes:
    """Read one request of the server's for a proof, and no other message."""
    kind, size = _HEAD.unpack(channel.read(_HEAD.size))
    if not _CODE.size <= size <= LONGEST_MESSAGE:
        raise RemoteProtocolError("a message has no length that it may have")
    body = channel.read(size - _CODE.size)
    if kind == b"E":
        raise _refused(body, to)
    if kind != b"R" or len(body) < _CODE.size:
        raise RemoteProtocolError(f"a message of kind {kind!r} is none of a logon")
    (said,) = _CODE.unpack_from(body)
    if said == _LET_IN:
        raise mistaken(to, "whoever we say we are", account)
    if said in _ASKED_FOR:
        raise not_taken(
            to,
            f"the database asks for {_ASKED_FOR[said]}, which nobody gets",
            "have its `pg_hba.conf` say `scram-sha-256` for this account",
        )
    if said != code:
        raise RemoteProtocolError(f"it says {said}, where {code} is due")
    return body[_CODE.size :]


def _refused(body: bytes, to: NetworkTarget) -> SteadError:
    """Return what a server's error message means; its fields are letter and text."""
    texts = [part.decode("utf-8", "replace") for part in body.split(b"\0") if part]
    said = {text[0]: text[1:] for text in texts}
    return refused(to, said.get("M", "nothing"), said.get("C", ""))
