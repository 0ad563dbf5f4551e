"""What a client shows to a web server, and what the server must show in return.

Negotiate (RFC 4559) with a Kerberos ticket: a token for each request, which the server
answers with its own; so a response shows that it comes from whom the ticket was for. A
bearer token (RFC 6750) shows nothing of the server: it goes over TLS alone. Nothing
else is ever answered: Basic and NTLM ask for what a server must not pass on.
"""

from __future__ import annotations

import base64
import binascii
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, cast

from stead.adapters.outbound.gss import tickets_of
from stead.adapters.outbound.passage import (
    KERBEROS,
    Passage,
    credentials_for,
    not_taken,
)
from stead.authority.packages import OutboundCredentials
from stead.errors import NoCredentialsError, WrongIdentityError
from stead.model.delegation_policy import NetworkTarget
from stead.monitor.ports import Subject

_UNAUTHORIZED: Final = 401
_MUTUAL: Final = 0x2  # GSS_C_MUTUAL_FLAG (RFC 2744, appendix A)
_SCHEMES: Final = 5
_BEARER: Final = "bearer"
_BY_ANY: Final = (KERBEROS, "password")
_BY_TLS: Final = (KERBEROS, _BEARER, "password")

Binding = Callable[[NetworkTarget], bytes | None]
"""Returns what binds a token to the channel to a service; None without TLS."""

Prove = Callable[[int, Sequence[str]], None]
"""Judges a response by its status and its `WWW-Authenticate`; raises if it must not be
believed."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What goes with one request.

    Attributes:
        authorization: the header's value; a secret.
        prove: looks at the response.
    """

    authorization: str
    prove: Prove

    def __repr__(self) -> str:
        return "Shown()"


class BearerLike(OutboundCredentials, Protocol):
    """A client's credentials that become a bearer token for one audience."""

    def bearer(self, place: str, subject: Subject | None = None) -> str:
        """Return a token for a server; it may wait for whoever exchanges it."""
        ...


def mechanism(passage: Passage, target: NetworkTarget) -> str:
    """Return by what a client would be shown to a service; nothing is asked."""
    held = {each.package for each in passage.credentials}
    taken = next((each for each in _taken_by(target) if each in held), "")
    return _BEARER if taken == _BEARER else KERBEROS


def _taken_by(target: NetworkTarget) -> Sequence[str]:
    return _BY_TLS if target.protocol == "https" else _BY_ANY


def show(passage: Passage, target: NetworkTarget, binding: Binding) -> Shown:
    """Return what goes with one request to a service.

    Args:
        passage: whose.
        target: the service.
        binding: finds what a ticket is bound to; a bearer token is bound to nothing.

    Raises:
        NoCredentialsError, CredentialsExpiredError, WrongIdentityError,
        DirectoryUnavailableError, ServerUnavailableError: nothing can be shown.
    """
    held = credentials_for(passage, target, _taken_by(target), time.time_ns())
    if held.package == _BEARER:
        token = cast("BearerLike", held).bearer(str(target), passage.subject)
        return Shown(f"Bearer {token}", _Taken(target))
    context = tickets_of(passage, target, held).initiate(
        f"HTTP@{target.host}", binding=binding(target)
    )
    blob = base64.b64encode(context.step() or b"").decode()

    def take(blob: bytes) -> bool:
        try:
            context.step(blob)
        except NoCredentialsError:  # it is no answer of who has the service's key
            return False
        return bool(context.complete) and bool(int(context.actual_flags) & _MUTUAL)

    return Shown(f"Negotiate {blob}", _Proven(target, take))


@dataclass(frozen=True, slots=True)
class _Taken:
    """Believes a server that TLS has shown, unless it wants to know more."""

    target: NetworkTarget

    def __call__(self, status: int, challenges: Sequence[str]) -> None:
        if status == _UNAUTHORIZED:
            raise _asked_for(self.target, challenges)


@dataclass(frozen=True, slots=True)
class _Proven:
    """Believes a server that has the key which the ticket is for."""

    target: NetworkTarget
    take: Callable[[bytes], bool]

    def __call__(self, status: int, challenges: Sequence[str]) -> None:
        blob = _answer_in(challenges)
        if blob and self.take(blob):
            return
        if status == _UNAUTHORIZED:
            raise _asked_for(self.target, challenges)
        raise WrongIdentityError(
            f"`{self.target}` answers {status} and does not show who it is",
            advice="mutual authentication is demanded of every response: does that "
            "server, and not a proxy before it, answer with `WWW-Authenticate: "
            "Negotiate`?",
        )


def _answer_in(challenges: Sequence[str]) -> bytes:
    for challenge in challenges:
        scheme, _, value = challenge.strip().partition(" ")
        if scheme.lower() == "negotiate" and value:
            try:
                return base64.b64decode(value, validate=True)
            except binascii.Error:
                return b""
    return b""


def _asked_for(target: NetworkTarget, challenges: Sequence[str]) -> Exception:
    words = [challenge.split(" ", 1)[0][:20] for challenge in challenges[:_SCHEMES]]
    asks = ", ".join(f"{word!a}" for word in words) or "nothing"
    return not_taken(
        target,
        f"the server does not take what the client shows (401; it asks for {asks})",
        "Basic and NTLM are never answered",
    )
