"""Clients that show a Kerberos ticket, alone or wrapped in SPNEGO (RFC 4121, RFC 4178).

    package = KerberosPackage(service)
    exchange = package.begin(binding)
    step = exchange.step(blob)

A ticket takes one message. SPNEGO may take more, when the client did not guess the
mechanism; no other mechanism is negotiated than Kerberos.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from typing import Final

import gssapi
from gssapi.raw import accept_sec_context
from gssapi.raw.misc import GSSError
from gssapi.raw.named_tuples import AcceptSecContextResult
from gssapi.raw.sec_contexts import SecurityContext as RawContext

from stead.adapters.kerberos.binding import gss_binding
from stead.adapters.kerberos.causes import SKEW, code_of, in_words
from stead.adapters.kerberos.credentials import KerberosCredentials
from stead.adapters.kerberos.proof import Proof, read_proof
from stead.adapters.kerberos.service import KerberosService, require_targets
from stead.adapters.patience import Patience
from stead.authority.packages import Authenticated, ChannelBinding, Step
from stead.errors import EvidenceRefusedError
from stead.model.arguments import require_kind
from stead.model.token import ImpersonationLevel

_MOST_ROUNDS: Final = 4
_LONGEST: Final = 128 * 1024  # a ticket with a PAC at its bound, wrapped
_IDENTIFY: Final = 0x2000  # RFC 4757 7.1, GSS_C_IDENTIFY_FLAG
_NANOSECONDS: Final = 1_000_000_000


class KerberosPackage:
    """Authenticates clients by tickets for one service."""

    def __init__(
        self,
        service: KerberosService,
        *,
        negotiates: bool = True,
        targets: Sequence[str] = (),
        account: str = "",
    ) -> None:
        """Describe it; nothing is asked before a client comes.

        Args:
            service: whose tickets count.
            negotiates: whether they may come wrapped in SPNEGO.
            targets: where this server may go for clients that delegated nothing, by the
                domain's leave (constrained delegation), as `service@host`; empty for
                nowhere.
            account: the principal that the domain knows this server by, if not its own.
        """
        require_kind(
            "service", service, KerberosService, "write `KerberosService(...)`"
        )
        self._service: Final = service
        self._negotiates: Final = negotiates
        self._targets: Final = require_targets(targets)
        self._account: Final = account
        self._realm: Final = (account or service.principal).rpartition("@")[2]
        self._patience: Final = Patience()

    @property
    def name(self) -> str:
        """What gates and records call it."""
        return "negotiate" if self._negotiates else "kerberos"

    def begin(self, binding: ChannelBinding | None) -> KerberosExchange:
        """Begin with a client; a binding that is given is demanded."""
        return KerberosExchange(self, binding)

    def accept(
        self, blob: bytes, context: RawContext | None, binding: ChannelBinding | None
    ) -> AcceptSecContextResult:
        """Have the library check a message; raises its errors, and `SteadError`."""
        if self._targets:
            # Its own tickets may have ended: all who come would wait for a silent KDC.
            both = partial(
                self._service.both, self._account, negotiates=self._negotiates
            )
            creds = self._patience.ask(self._realm, both, _forget)
        else:
            creds = self._service.acceptor(negotiates=self._negotiates)
        return accept_sec_context(
            blob, creds, context, channel_bindings=gss_binding(binding)
        )

    def client(
        self,
        accepted: AcceptSecContextResult,
        messages: Sequence[bytes],
        *,
        must_be_bound: bool,
    ) -> Authenticated:
        """Return whom an established context authenticates.

        Args:
            accepted: what the library made of the client's last message.
            messages: all that the client showed.
            must_be_bound: whether the channel can be told.

        Raises:
            EvidenceRefusedError: nobody.
        """
        rules = self._service.rules
        proof = read_proof(accepted, messages, rules, must_be_bound=must_be_bound)
        # What is refused is refused before anything of the client's is kept.
        sids, actors = proof.sids, proof.actors
        credentials = self._credentials(accepted, proof)
        ends = time.time_ns() + accepted.lifetime * _NANOSECONDS
        return Authenticated(
            package="kerberos",
            issuer=proof.realm,
            name=proof.name,
            sids=sids,
            is_verified_by_service=proof.is_verified_by_service,
            actors=actors,
            level=_level(proof, credentials),
            expires=min(proof.kicked_off or ends, ends),
            is_bound=proof.is_bound,
            credentials=credentials,
            details=(("principal", proof.principal),),
        )

    def _credentials(
        self, accepted: AcceptSecContextResult, proof: Proof
    ) -> KerberosCredentials | None:
        """Return what the client handed over, or what the domain lets us have for it.

        Neither the library's flag nor its field tells them apart: credentials that can
        ask for tickets give both for every client, delegated or not. Only a ticket-
        granting ticket of the client's own was delegated by it.
        """
        if accepted.delegated_creds is None or proof.flags & _IDENTIFY:
            return None
        kept = KerberosCredentials.keep(
            gssapi.Credentials(accepted.delegated_creds), targets=self._targets
        )
        if kept.principal != proof.principal:
            kept.close()
            raise EvidenceRefusedError(
                f"`{proof.principal}` hands over what is `{kept.principal}`'s"
            )
        return kept


class KerberosExchange:
    """One client that shows a ticket."""

    def __init__(
        self, package: KerberosPackage, binding: ChannelBinding | None
    ) -> None:
        self._package: Final = package
        self._binding: Final = binding
        self._context: RawContext | None = None
        self._messages: list[bytes] = []
        self._is_over = False

    def step(self, blob: bytes) -> Step:
        """Take the client's next blob.

        Raises:
            EvidenceRefusedError: it proves nothing; the exchange is over.
            NoCredentialsError: the server's own keys cannot be read.
            DirectoryUnavailableError: it has to get tickets first, and no KDC answers.
        """
        is_last = self._is_over or len(self._messages) == _MOST_ROUNDS
        if is_last or not 0 < len(blob) <= _LONGEST:
            self.close()
            raise EvidenceRefusedError("there is no message, or too much of it")
        self._messages.append(blob)
        try:
            accepted = self._package.accept(blob, self._context, self._binding)
        except GSSError as error:
            self.close()
            raise _refused(error) from error
        reply = accepted.token or b""
        if accepted.more_steps:
            self._context = accepted.context
            return Step(reply)
        messages, must_be_bound = self._messages, self._binding is not None
        self.close()
        client = self._package.client(accepted, messages, must_be_bound=must_be_bound)
        return Step(reply, client)

    def close(self) -> None:
        """Forget it; again does nothing. What it gave out is not its any more."""
        self._context = None
        self._messages, self._is_over = [], True


def _forget(_own: gssapi.Credentials) -> None:
    """Drop what nobody waits for: the tickets stay where they are."""


def _refused(error: GSSError) -> EvidenceRefusedError:
    advice = "the clocks differ too much" if code_of(error) == SKEW else ""
    return EvidenceRefusedError(
        f"kerberos refuses the message: {in_words(error)}", advice=advice
    )


def _level(proof: Proof, credentials: KerberosCredentials | None) -> ImpersonationLevel:
    """Return how far the client lets the server go ([MS-KILE] 3.1.1.2)."""
    if proof.flags & _IDENTIFY:
        return ImpersonationLevel.IDENTIFICATION
    if credentials is not None and not credentials.is_constrained:
        return ImpersonationLevel.DELEGATION
    return ImpersonationLevel.IMPERSONATION
