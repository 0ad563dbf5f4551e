"""Who sent a call, by its certificate or by its bearer token: by one, not by both."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Protocol, TypeAlias

from stead.authority.packages import Authenticated
from stead.errors import EvidenceRefusedError, InvalidRequestError
from stead.gates.grpc.calls import GrpcCall
from stead.gates.ports import AdmitShown, ClientLike
from stead.monitor.tracing import arriving

_SCHEME: Final = "bearer"

ClientFor: TypeAlias = Callable[
    [GrpcCall], ClientLike | Awaitable[ClientLike | None] | None
]
"""Says whose a call is; it may wait. What it raises is answered like a refusal."""

Bearer: TypeAlias = Callable[[str, GrpcCall], Authenticated]
"""Says whom a bearer token names; the call has what a token may be bound to."""


class CertificateVerifier(Protocol):
    """Knows whose certificates are believed; such as `adapters.certificates`."""

    def verify(self, leaf: bytes, others: Sequence[bytes], /) -> Authenticated:
        """Return whose it is; raises `SteadError` if it is not believed."""
        ...


@dataclass(frozen=True, slots=True)
class ByEvidence:
    """Says whose a call is, by what it shows; see `by_evidence`.

    Attributes:
        admit: opens sessions.
        certificates: whose certificates count.
        bearer: who reads bearer tokens.
    """

    admit: AdmitShown
    certificates: CertificateVerifier | None
    bearer: Bearer | None

    def __call__(
        self, call: GrpcCall, *, wait: Callable[[float], None] | None = None
    ) -> ClientLike:
        """Return the client.

        Args:
            call: the call.
            wait: called with the seconds by which a failure's answer must be late;
                without it this waits itself.

        Raises:
            LogonFailureError: it is not admitted, whatever the cause.
        """
        package, show = _shown(call, self.certificates, self.bearer)
        client: ClientLike = self.admit(
            show, package=package, gate="grpc", peer=call.peer, wait=wait
        ).client
        return client


def by_evidence(
    admit: AdmitShown,
    *,
    certificates: CertificateVerifier | None = None,
    bearer: Bearer | None = None,
) -> ByEvidence:
    """Return what says whose a call is, by what it shows.

    With both, a call may show either: one that shows both has two answers to one
    question, and is refused. A service that calls for a user by a token, and has a
    certificate of its own, is taken by its tokens alone: leave `certificates` out.

    Args:
        admit: `server.admit_shown`.
        certificates: whose certificates count; None for nobody's.
        bearer: who reads bearer tokens; None to take none.

    Raises:
        InvalidRequestError: neither is given.
    """
    if certificates is None and bearer is None:
        raise InvalidRequestError(
            "nobody could show who it is", advice="give `certificates` or `bearer`"
        )

    return ByEvidence(admit, certificates, bearer)


def asked(client_for: ClientFor, call: GrpcCall) -> Any:
    """Ask whose a call is, in the trace that it came in; nobody said so if None."""
    with arriving(call.traceparent):
        return client_for(call)


def _shown(
    call: GrpcCall, certificates: CertificateVerifier | None, bearer: Bearer | None
) -> tuple[str, Callable[[], Authenticated]]:
    """Return a package, and what says who it is or why it is nobody."""
    has_token = bearer is not None and bool(call.authorization)
    has_certificate = certificates is not None and call.certificate is not None
    if has_token and has_certificate:
        return "bearer", partial(_refuse, "it shows a certificate and a token")
    if bearer is not None and has_token:
        return "bearer", partial(_by_token, call, bearer)
    if certificates is not None and call.certificate is not None:
        verify = partial(certificates.verify, call.certificate, call.others)
        return "certificate", verify
    package = "certificate" if certificates is not None else "bearer"
    return package, partial(_refuse, "the call shows nothing that counts here")


def _by_token(call: GrpcCall, bearer: Bearer) -> Authenticated:
    if not call.is_protected:
        raise EvidenceRefusedError(
            "the token came over a channel that anybody can read",
            advice="add the port with `add_secure_port`",
        )
    given, *more = call.authorization
    if more:
        raise EvidenceRefusedError("the call has more than one authorization")
    scheme, _, token = given.partition(" ")
    if scheme.lower() != _SCHEME or not token or token != token.strip():
        raise EvidenceRefusedError("the call's authorization is no bearer token")
    return bearer(token, call)


def _refuse(why: str) -> Authenticated:
    raise EvidenceRefusedError(why)
