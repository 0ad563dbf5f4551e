"""Clients of HTTP by the bearer token of each request, for the HTTP gates.

    clients = bearer_clients(server, verifier)
    app = SteadMiddleware(app, client_for=clients)                  # ASGI
    app = WsgiMiddleware(app, client_for=bearer_clients(...).of_environ)

The token of *this* request counts, and no other's: not that of the request which opened
a connection, a stream or a session of the application's. Each request has a logon
session of its own, which ends with it. Where scopes are given a meaning, the client is
limited to what its token's scopes mean (`ClientContext.limited`), whatever it may do
besides.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Mapping, Sequence
from contextvars import copy_context
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final, Protocol
from urllib.parse import quote

from stead.adapters.oidc.bearer import PACKAGE, BearerToken, BearerVerifier
from stead.adapters.oidc.bearer_credentials import BearerCredentials
from stead.adapters.oidc.confirmation import Shown
from stead.adapters.oidc.token_exchange import TokenExchange
from stead.authority.packages import Authenticated
from stead.errors import EvidenceRefusedError
from stead.gates.arrivals import Arrivals
from stead.gates.http import Scope
from stead.gates.wsgi import Environ
from stead.model.arguments import require_callable, require_kind
from stead.server.client_context import ClientContext
from stead.server.grants import OperationName, Target
from stead.server.logon_session import LogonSession

_GATE: Final = "http"
_NANOSECONDS: Final = 1_000_000_000


class Admits(Protocol):
    """What this asks of a server."""

    def admit_shown(
        self,
        show: Callable[[], Authenticated],
        *,
        package: str,
        gate: str = ...,
        peer: str = ...,
        wait: Callable[[float], None] | None = ...,
    ) -> LogonSession:
        """Return the session of a client whose evidence is looked at now."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ScopeRule:
    """What one scope lets a client do; several scopes add up.

    Attributes:
        rights: such as `Doc.READ`, as in `ClientContext.limited`.
        operations: names of the server's operations.
    """

    rights: Sequence[int] = ()
    operations: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ScopeRules:
    """What scopes mean here. A client is limited to them, and by nothing widened.

    Attributes:
        rules: by scope. One that is not named means nothing.
        targets: on what rights are used, whatever the scope: objects, files, hosts, as
            in `ClientContext.limited`. It is one list: rights by one scope on some
            objects and by another on others cannot be said in one set of limits.
    """

    rules: Mapping[str, ScopeRule]
    targets: Sequence[Target]

    def meaning(self, token: BearerToken) -> tuple[ScopeRule, ...]:
        """Return what a token's scopes mean.

        Raises:
            EvidenceRefusedError: they mean nothing here.
        """
        said = sorted(token.scopes or ())
        found = tuple(self.rules[scope] for scope in said if scope in self.rules)
        if not found:
            raise EvidenceRefusedError(
                "the token has no scope that means anything here"
            )
        return found

    def limited(self, client: ClientContext, token: BearerToken) -> ClientContext:
        """Return a client limited to what its token's scopes mean; recorded before.

        Raises:
            EvidenceRefusedError, LogonSessionEndedError, LedgerUnavailableError: it is
                not made.
        """
        meant = self.meaning(token)
        named = [OperationName(name) for rule in meant for name in rule.operations]
        return client.limited(
            expires=datetime.fromtimestamp(token.expires / _NANOSECONDS, UTC),
            rights=[right for rule in meant for right in rule.rights],
            targets=[*self.targets, *named],
            purpose=f"scope {' '.join(sorted(token.scopes or ()))}"[:200],
        )


def _none() -> None:
    """Return that the gate saw no certificate."""


@dataclass(frozen=True, slots=True)
class Arrived:
    """What a request brings that counts here.

    Attributes:
        authorization: every `Authorization` header.
        proofs: every `DPoP` header.
        peer: from where it came.
        method: of HTTP.
        path: as it was sent, percent-encoded.
        certificate: reads the client's, in DER, or None; what it raises is a failure of
            the client's.
        gate: how it came, as records name it.
    """

    authorization: tuple[str, ...] = field(repr=False)
    proofs: tuple[str, ...] = field(default=(), repr=False)
    peer: str = ""
    method: str = "GET"
    path: str = "/"
    certificate: Callable[[], bytes | None] = field(default=_none, repr=False)
    gate: str = _GATE


CertificateOf = Callable[[Mapping[str, Any]], bytes | None]
"""Finds a client's certificate, in DER, in an ASGI scope or a WSGI environ."""


class BearerClients:
    """Says who sent a request, by its token; used by any thread and event loop."""

    def __init__(
        self,
        server: Admits,
        verifier: BearerVerifier,
        *,
        origin: str = "",
        scopes: ScopeRules | None = None,
        exchange: TokenExchange | None = None,
        certificate_of: CertificateOf | None = None,
    ) -> None:
        """See `bearer_clients`."""
        self._server = server
        self._verifier = verifier
        self._origin = origin.rstrip("/")
        self._scopes = scopes
        self._exchange = exchange
        self._certificate_of = certificate_of or tls_certificate
        # Its own: an issuer may answer late, and the loop's threads are everybody's.
        self._arrivals = Arrivals("bearer")

    async def __call__(self, scope: Scope) -> ClientContext | None:
        """Return the client of an ASGI request; None if it brings no token.

        Raises:
            LogonFailureError: its token is not believed; the trail says why.
            ServerUnavailableError: too many requests wait to be looked at.
        """
        arrived = _of_scope(scope, self._certificate_of)
        if not arrived.authorization:
            return None
        late: list[float] = []
        client = partial(self._client, arrived, late.append)
        act = partial(copy_context().run, client)
        try:
            looking = self._arrivals.submit(arrived.peer, act)
            return await asyncio.wrap_future(looking)
        finally:
            # No thread waits for that: failures, however many, delay nobody else.
            for seconds in late:
                await asyncio.sleep(seconds)

    def of_environ(self, environ: Environ) -> ClientContext | None:
        """Return the client of a WSGI request; as for ASGI."""
        return self.of_arrived(_of_environ(environ, self._certificate_of))

    def of_arrived(self, arrived: Arrived) -> ClientContext | None:
        """Return the client of a request that another gate took apart; as for ASGI."""
        return self._client(arrived, None) if arrived.authorization else None

    def _client(
        self, arrived: Arrived, wait: Callable[[float], None] | None
    ) -> ClientContext:
        """Open a session for one request, which ends with its client."""
        read: list[BearerToken] = []
        session = self._server.admit_shown(
            partial(self._shown, arrived, read.append),
            package=PACKAGE,
            gate=arrived.gate,
            peer=arrived.peer,
            wait=wait,
        )
        client = session.client
        if self._scopes is None:
            return client
        try:
            # The grant holds the session from here on, and ends it.
            return self._scopes.limited(client, read[0])
        finally:
            client.close()

    def _shown(
        self, arrived: Arrived, tell: Callable[[BearerToken], None]
    ) -> Authenticated:
        """Return whom a request's token names, once it is believed."""
        text, token = self._verified(arrived)
        if self._scopes is not None:
            self._scopes.meaning(token)
        tell(token)
        held = None
        if self._exchange is not None:
            held = BearerCredentials(self._exchange, text, token)
        return token.authenticated(held)

    def _verified(self, arrived: Arrived) -> tuple[str, BearerToken]:
        """Return a request's token, and what it says, once it is believed."""
        if len(arrived.authorization) != 1:
            raise EvidenceRefusedError("the request has two `Authorization` headers")
        scheme, _, token = arrived.authorization[0].partition(" ")
        is_dpop = scheme.lower() == "dpop"
        if not is_dpop and scheme.lower() != "bearer":
            raise EvidenceRefusedError("the request brings no bearer token")
        shown = Shown(
            certificate=arrived.certificate(),
            proofs=arrived.proofs,
            is_dpop=is_dpop,
            method=arrived.method,
            url=self._origin and self._origin + arrived.path,
        )
        text = token.strip(" ")
        return text, self._verifier.verify(text, shown)


def bearer_clients(
    server: Admits,
    verifier: BearerVerifier,
    *,
    origin: str = "",
    scopes: ScopeRules | None = None,
    exchange: TokenExchange | None = None,
    certificate_of: CertificateOf | None = None,
) -> BearerClients:
    """Return what says who sent a request, by the bearer token of that request.

    Args:
        server: lets them in; its `issuers` name who is believed, beside `verifier`.
        verifier: knows which tokens to believe.
        origin: this server as its clients see it, such as `https://notes.example`,
            with the path before its own if there is one; proofs of keys (RFC 9449) are
            for an address, and without it none is right.
        scopes: what scopes mean; without it they mean nothing, and limit nobody.
        exchange: where tokens for other servers come from; without it nobody is
            reached in a client's stead.
        certificate_of: finds the client's certificate; that of ASGI's extension `tls`
            if not given. A header counts only if a proxy sets it, always, itself.

    Raises:
        InvalidRequestError: one of these is of another kind.
    """
    require_kind("verifier", verifier, BearerVerifier, "write `BearerVerifier([...])`")
    if exchange is not None:
        require_kind("exchange", exchange, TokenExchange, "write `TokenExchange(...)`")
    if scopes is not None:
        require_kind("scopes", scopes, ScopeRules, "write `ScopeRules(...)`")
    if certificate_of is not None:
        require_callable("certificate_of", certificate_of, "a function of the request")
    return BearerClients(
        server,
        verifier,
        origin=origin,
        scopes=scopes,
        exchange=exchange,
        certificate_of=certificate_of,
    )


def tls_certificate(scope: Mapping[str, Any]) -> bytes | None:
    """Return a client's certificate as ASGI's extension `tls` has it, in DER."""
    chain = scope.get("extensions", {}).get("tls", {}).get("client_cert_chain", ())
    return ssl.PEM_cert_to_DER_cert(chain[0]) if chain else None


def _peer(host: str, port: object) -> str:
    """Return where a request comes from, as failures are counted by it."""
    shown = f"[{host}]" if ":" in host else host
    return f"{shown}:{port}" if port else shown


def _of_scope(scope: Scope, certificate_of: CertificateOf) -> Arrived:
    headers = [(bytes(k).lower(), bytes(v)) for k, v in scope.get("headers", ())]

    def named(name: bytes) -> tuple[str, ...]:
        return tuple(value.decode("latin-1") for key, value in headers if key == name)

    raw, client = scope.get("raw_path"), scope.get("client")
    return Arrived(
        authorization=named(b"authorization"),
        proofs=named(b"dpop"),
        peer=_peer(*client) if client else "",
        method=scope.get("method", "GET"),
        path=raw.decode("latin-1") if raw else quote(scope.get("path", "/")),
        certificate=partial(certificate_of, scope),
    )


def _of_environ(environ: Environ, certificate_of: CertificateOf) -> Arrived:
    # Of several headers a web server makes one with commas, which no token has.
    path = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
    host, port = environ.get("REMOTE_ADDR", ""), environ.get("REMOTE_PORT", "")
    said, proof = environ.get("HTTP_AUTHORIZATION"), environ.get("HTTP_DPOP")
    return Arrived(
        authorization=() if said is None else (said,),
        proofs=() if proof is None else (proof,),
        peer=_peer(host, port),
        method=environ.get("REQUEST_METHOD", "GET"),
        path=quote(path.encode("latin-1")),
        certificate=partial(certificate_of, environ),
    )
