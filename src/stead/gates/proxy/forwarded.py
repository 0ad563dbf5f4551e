"""Whose request it is: by a named proxy's header, or the connection's certificate."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextvars import Context
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol, TypeAlias

from stead.authority.packages import Authenticated
from stead.errors import (
    EnforcementUnavailableError,
    EvidenceRefusedError,
    SteadError,
)
from stead.gates.arrivals import Arrivals
from stead.gates.ports import AdmitShown, ClientLike
from stead.gates.proxy.headers import (
    CHAIN_NAME,
    WELL_KNOWN,
    Forwarded,
    HeaderFormat,
    read_header,
)
from stead.gates.proxy.proofs import Proof, SharedSecret
from stead.gates.proxy.seen import Scope, Seen, seen_in, without_header
from stead.gates.sites import origins_of, require_own_site
from stead.model.arguments import several
from stead.monitor.tracing import arriving, incoming_trace

_GATE: Final = "http"
_PACKAGE: Final = "certificate"

ClientFor: TypeAlias = Callable[[Scope], Awaitable[ClientLike | None]]
Otherwise: TypeAlias = Callable[
    [Scope], ClientLike | Awaitable[ClientLike | None] | None
]


class CertificateDesk(Protocol):
    """Knows whose certificates are believed; such as `adapters.certificates`."""

    def verify(self, leaf: bytes, others: Sequence[bytes], /) -> Authenticated:
        """Return whose it is, where a proxy had the handshake."""
        ...

    def identify(self, chain: Sequence[bytes], /) -> Authenticated:
        """Return whose it is, as a handshake here has verified it."""
        ...


@dataclass(frozen=True, slots=True)
class NamedProxy:
    """A proxy whose header counts.

    Attributes:
        name: what records call it.
        style: how it writes a client's certificate.
        proof: what proves that it is the proxy.
        header: the header's name; the format's own if it is empty.
    """

    name: str
    style: HeaderFormat
    proof: Proof
    header: str = ""

    @property
    def header_name(self) -> str:
        """The header's name, in small letters."""
        return (self.header or self.style.value).lower()


def by_certificate(
    admit: AdmitShown,
    certificates: CertificateDesk,
    *,
    proxies: Collection[NamedProxy] = (),
    otherwise: Otherwise | None = None,
    origins: Collection[str] = (),
) -> ClientFor:
    """Return what says whose a request is, for `SteadMiddleware`.

    Without proxies it is the connection's own certificate that counts, where the web
    server shows it (`uvicorn_peer`).

    Args:
        admit: `server.admit_shown`.
        certificates: whose certificates clients have.
        proxies: those whose header counts.
        otherwise: who says whose a request is that shows no certificate; nobody's if
            it is None.
        origins: other sites whose pages may send requests as whoever reads them, such
            as `https://portal.example`: browsers show certificates unasked.

    Raises:
        InvalidRequestError: proxies or origins are of another kind.
    """
    several("proxies", proxies, NamedProxy, "write `[NamedProxy(...)]`")
    allowed = origins_of(origins)
    names = frozenset(proxy.header_name for proxy in proxies) | WELL_KNOWN
    # Its own: what is verified takes its time, and the loop's threads are everybody's.
    arrivals = Arrivals("http-arrival")

    async def client_for(scope: Scope) -> ClientLike | None:
        seen = seen_in(scope)
        for proxy in proxies:
            if isinstance(proxy.proof, SharedSecret):
                without_header(scope, proxy.proof.header)
        if not _shows_any(seen, proxies, names):
            found = None if otherwise is None else otherwise(scope)
            return await found if isinstance(found, Awaitable) else found
        require_own_site(scope.get("method", ""), seen.by_name, allowed)
        show = partial(_identify, seen, certificates, tuple(proxies), names)
        late: list[float] = []
        answering = partial(admit, wait=late.append)
        task = partial(_admitted, answering, show, seen.peer, incoming_trace())
        try:
            looking = arrivals.submit(seen.peer, partial(Context().run, task))
            return await asyncio.wrap_future(looking)
        except SteadError:
            # No thread waits for that: failures, however many, delay nobody else.
            await asyncio.sleep(sum(late))
            raise

    return client_for


def _admitted(
    admit: AdmitShown,
    show: Callable[[], Authenticated],
    peer: str,
    trace: str | None,
) -> ClientLike:
    with arriving(trace):
        session = admit(show, package=_PACKAGE, gate=_GATE, peer=peer)
    client: ClientLike = session.client
    return client


def _shows_any(
    seen: Seen, proxies: Collection[NamedProxy], names: frozenset[str]
) -> bool:
    """Whether a request has a certificate, or what passes for one somewhere."""
    if names & seen.names:
        return True
    # With proxies, the connection's certificate is a proxy's, if anybody's.
    return not proxies and (bool(seen.chain) or not seen.is_told)


def _identify(
    seen: Seen,
    certificates: CertificateDesk,
    proxies: tuple[NamedProxy, ...],
    names: frozenset[str],
) -> Authenticated:
    """Return whose request it is.

    1. A header that says who a client is came from a proxy that is named.
    2. It is that proxy's own header, and no other came beside it.
    3. It holds one certificate, whose chain is verified here.

    Raises:
        EvidenceRefusedError: one of these is not so; the trail has which.
        EnforcementUnavailableError: the web server hides what would tell.
    """
    shown = names & seen.names
    if not shown:
        return _identify_direct(seen, certificates)
    proxy = _sender(seen, proxies)
    own = {proxy.header_name}
    if proxy.style is HeaderFormat.CLIENT_CERT:
        own.add(CHAIN_NAME)
    if not shown <= own:
        raise EvidenceRefusedError(
            f"`{proxy.name}` lets `{', '.join(sorted(shown - own))}` pass",
            advice="have the proxy remove every such header that clients send",
        )
    values = seen.values(proxy.header_name)
    found: Forwarded | None = read_header(proxy.style, values, seen.values(CHAIN_NAME))
    if found is None:
        raise EvidenceRefusedError("no certificate was forwarded")
    return certificates.verify(found.leaf, found.others)


def _sender(seen: Seen, proxies: tuple[NamedProxy, ...]) -> NamedProxy:
    found = [proxy for proxy in proxies if proxy.proof.is_shown(seen)]
    if len(found) != 1:
        why = "several proxies" if found else "somebody who is no named proxy"
        raise EvidenceRefusedError(
            f"a header that says who a client is came from {why}",
            advice="let nobody but the proxy reach this server, and name the proxy",
        )
    return found[0]


def _identify_direct(seen: Seen, certificates: CertificateDesk) -> Authenticated:
    if not seen.is_told:
        raise EnforcementUnavailableError(
            "the web server hides certificates from applications",
            advice="serve with uvicorn's "
            "`http=stead.gates.proxy.uvicorn_peer.PeerProtocol`, or name a proxy",
        )
    return certificates.identify(seen.chain)
