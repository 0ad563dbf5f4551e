"""What proves that a request comes from a proxy that is named."""

from __future__ import annotations

import hmac
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from stead.authority.packages import Authenticated
from stead.errors import (
    EnforcementUnavailableError,
    EvidenceRefusedError,
    InvalidRequestError,
)
from stead.gates.proxy.seen import Seen
from stead.model.arguments import require_kind, require_text, several
from stead.model.secret import Secret

_ADVICE = (
    "serve with uvicorn's `http=stead.gates.proxy.uvicorn_peer.PeerProtocol`, or have "
    "the proxy show a `SharedSecret`"
)
_LEAST_SECRET = 16


class Proof(Protocol):
    """One way for a proxy to prove who it is."""

    def is_shown(self, seen: Seen) -> bool:
        """Whether a request shows it.

        Raises:
            EvidenceRefusedError: it shows something that is wrong.
            EnforcementUnavailableError: the web server hides what would show it.
        """
        ...


class CertificateDesk(Protocol):
    """Knows whose certificates are believed; such as `adapters.certificates`."""

    def identify(self, chain: Sequence[bytes], /) -> Authenticated:
        """Return whose it is that was verified; raises `SteadError` otherwise."""
        ...


@dataclass(frozen=True, slots=True)
class PeerUid:
    """The proxy connects to a local socket, and the kernel says as whom.

    Attributes:
        uids: as whom it runs.
    """

    uids: Collection[int]

    def __post_init__(self) -> None:
        """Refuse one uid that is no collection (`InvalidRequestError`)."""
        several("uids", self.uids, int, "write `PeerUid({33})`")

    def is_shown(self, seen: Seen) -> bool:
        """Whether the kernel names one of the uids."""
        if not seen.is_told:
            raise EnforcementUnavailableError(
                "the web server hides who connects to its socket", advice=_ADVICE
            )
        return seen.uid is not None and seen.uid in self.uids


@dataclass(frozen=True, slots=True)
class ProxyCertificate:
    """The proxy has a certificate of its own, and shows it to this server.

    Attributes:
        certificates: whose certificates are believed.
        issuer: which of their issuers certifies proxies. Of an authority that
            certifies others too, whoever has the name is the proxy.
        names: what its certificate calls it.
    """

    certificates: CertificateDesk
    issuer: str
    names: Collection[str]

    def __post_init__(self) -> None:
        """Refuse one text, whose parts would be names (`InvalidRequestError`)."""
        several("names", self.names, str, 'write `{"edge.example"}`')

    def is_shown(self, seen: Seen) -> bool:
        """Whether the connection's certificate is the proxy's."""
        if not seen.is_told:
            raise EnforcementUnavailableError(
                "the web server hides certificates from applications", advice=_ADVICE
            )
        if not seen.chain:
            return False
        shown = self.certificates.identify(seen.chain)
        return shown.issuer == self.issuer and shown.name in self.names


@dataclass(frozen=True, slots=True)
class SharedSecret:
    """The proxy sends a secret in a header, over a way that nobody else can read.

    Attributes:
        header: the header's name; applications do not see it.
        secret: what it has to be; at least 16 bytes.
    """

    header: str
    secret: Secret = field(repr=False)

    def __post_init__(self) -> None:
        """Refuse a secret that can be guessed; raises `InvalidRequestError`."""
        require_text("header", self.header)
        require_kind("secret", self.secret, Secret, 'write `Secret("...")`')
        with self.secret.revealed() as content:
            if len(content) < _LEAST_SECRET or not self.header:
                raise InvalidRequestError(
                    f"a proxy's secret has {_LEAST_SECRET} bytes or more",
                    advice="make one: `openssl rand -hex 32`",
                )

    def is_shown(self, seen: Seen) -> bool:
        """Whether the header is there and right; one that is wrong is an error."""
        found = seen.values(self.header)
        if not found:
            return False
        with self.secret.revealed() as content:
            is_right = hmac.compare_digest(found[0].encode("latin-1"), content)
        if len(found) > 1 or not is_right:
            raise EvidenceRefusedError("the proxy's secret is wrong")
        return True
