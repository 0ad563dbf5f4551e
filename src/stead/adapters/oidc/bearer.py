"""Bearer tokens: whether one is to be believed, and whom it names.

    idp = TokenIssuer(
        issuer="https://idp.example",
        audience="https://notes.example",
        keys=IssuerKeys(discovered("https://idp.example", Fetcher())),
    )
    verifier = BearerVerifier([idp])
    token = verifier.verify(text, Shown(certificate=der))
    token.authenticated()                 # for `server.admit`

RFC 9068 (access tokens), RFC 7519 (claims), OpenID Connect Core 3.1.3.7 (ID tokens),
RFC 8705 and RFC 9449 (tokens that are bound), RFC 8693 4.1 (who acts).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from stead.adapters.oidc.act_chain import Actor, read_actor, read_chain, through_of
from stead.adapters.oidc.claim_values import (
    optional_text,
    optional_time,
    read_scopes,
    require_name,
    require_texts,
    require_time,
)
from stead.adapters.oidc.compact import CompactToken, read_compact
from stead.adapters.oidc.confirmation import NOTHING_SHOWN, Shown, require_confirmed
from stead.adapters.oidc.dpop import ProofRules
from stead.adapters.oidc.keys import require_algorithms
from stead.adapters.oidc.token_issuer import TokenIssuer, TokenKind
from stead.authority.packages import (
    AssertedSids,
    Authenticated,
    OutboundCredentials,
)
from stead.errors import EvidenceRefusedError, UnsafeConfigurationError
from stead.model.arguments import several
from stead.model.token import ImpersonationLevel

PACKAGE: Final = "bearer"
_WHAT: Final = "the token"
_NANOSECONDS: Final = 1_000_000_000
_LONGEST_TOLD: Final = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class BearerToken:
    """A token that is believed.

    Attributes:
        issuer: who says all this.
        name: the client, as its issuer writes it.
        expires: nanoseconds since the epoch, UTC.
        actors: through whom its identity came, the nearest first.
        scopes: what it may be used for; None if it does not say.
        token_id: `jti`, or empty.
        client_id: the program that asked for it, or empty.
        is_bound: whether its owner showed that it is his.
        sids: what it says in SIDs.
        claims: all of them.
    """

    issuer: str
    name: str
    expires: int
    actors: tuple[Actor, ...]
    scopes: frozenset[str] | None
    token_id: str
    client_id: str
    is_bound: bool
    sids: AssertedSids | None
    claims: Mapping[str, Any] = field(repr=False)

    def authenticated(
        self, credentials: OutboundCredentials | None = None
    ) -> Authenticated:
        """Return the client, for `server.admit`.

        Args:
            credentials: what reaches others in its stead, made of this token.
        """
        said = {
            "token id": _plain(self.token_id),
            "client id": _plain(self.client_id),
            "scope": _plain(" ".join(sorted(self.scopes or ()))),
        }
        hands_on = credentials is not None
        return Authenticated(
            package=PACKAGE,
            issuer=self.issuer,
            name=self.name,
            sids=self.sids,
            actors=through_of(self.actors),
            level=(
                ImpersonationLevel.DELEGATION
                if hands_on
                else ImpersonationLevel.IMPERSONATION
            ),
            expires=self.expires,
            is_bound=self.is_bound,
            credentials=credentials,
            details=tuple((name, value) for name, value in said.items() if value),
        )


def _plain(text: str) -> str:
    """Return a text that a record can hold and a terminal show."""
    cut = text[:_LONGEST_TOLD]
    return cut if cut.isprintable() else ascii(cut)


class BearerVerifier:
    """Knows which tokens to believe; used by any thread. It may wait for keys."""

    def __init__(
        self,
        issuers: Iterable[TokenIssuer],
        *,
        proofs: ProofRules | None = None,
        is_handed_on: bool = False,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        """Take the issuers that are believed.

        Args:
            issuers: those; each once.
            proofs: how proofs of keys are judged.
            is_handed_on: whether tokens come from servers to which clients have shown
                them, and who are known otherwise: a desk for exchanges. What binds a
                token to its client is not asked for then.
            clock: nanoseconds since the epoch, UTC.

        Raises:
            UnsafeConfigurationError: there is none, or one twice.
        """
        known = several("issuers", issuers, TokenIssuer, "write `[TokenIssuer(...)]`")
        self._issuers = {one.issuer: one for one in known}
        if len(self._issuers) != len(known) or not known:
            raise UnsafeConfigurationError("name issuers of tokens, and each once")
        self._proofs = proofs or ProofRules()
        self._is_handed_on = is_handed_on
        self._clock = clock

    def verify(self, token: str, shown: Shown = NOTHING_SHOWN) -> BearerToken:
        """Return what a token says, once it is believed.

        1. It has the form of a signed token, and says whose it is.
        2. That issuer is known here, gives tokens of this type, and signed it, by a key
           of its own and an algorithm that it is known to use.
        3. It is for this server, and good by now.
        4. If it is bound, its owner sent it.
        5. Who acts with it may; it is not revoked.

        Args:
            token: as it was sent, without the scheme's name.
            shown: what came with it.

        Raises:
            EvidenceRefusedError: it is not believed.
            DirectoryUnavailableError: the issuer's keys cannot be had.
        """
        found = read_compact(token, what=_WHAT)
        claims = found.claims(_WHAT)
        issuer = self._issuer_of(claims)
        kind = issuer.kind_of(found.type)
        if kind is None:
            raise EvidenceRefusedError(
                f"tokens of type `{found.type[:40]!a}` are not taken from "
                f"`{issuer.issuer}`",
                advice="see `kinds` of its TokenIssuer",
            )
        _require_signed(found, issuer)
        now = self._clock() / _NANOSECONDS
        expires = _require_now(claims, issuer, now)
        _require_for_us(claims, issuer, kind)
        is_bound = not self._is_handed_on and require_confirmed(
            claims, token, shown, self._proofs, now
        )
        if issuer.must_be_bound and not is_bound:
            raise EvidenceRefusedError("the token is bound to nobody")
        scopes = _require_scopes(claims, issuer)
        return BearerToken(
            issuer=issuer.issuer,
            name=require_name(claims.get(issuer.name_claim), f"`{issuer.name_claim}`"),
            expires=int(expires * _NANOSECONDS),
            actors=_require_actors(claims, issuer),
            scopes=scopes,
            token_id=_require_not_revoked(claims, issuer),
            client_id=optional_text(claims, "client_id")
            or optional_text(claims, "azp"),
            is_bound=is_bound,
            sids=None if issuer.sids is None else issuer.sids.read(claims),
            claims=claims,
        )

    def _issuer_of(self, claims: Mapping[str, Any]) -> TokenIssuer:
        name = claims.get("iss")
        issuer = self._issuers.get(name) if isinstance(name, str) else None
        if issuer is None:
            raise EvidenceRefusedError(
                f"the token's issuer `{name!a:.80}` is not known"
            )
        return issuer


def _require_signed(token: CompactToken, issuer: TokenIssuer) -> None:
    algorithms = require_algorithms(issuer.algorithms)
    if token.algorithm not in algorithms:
        # Before any key is looked for: `none` would need none.
        raise EvidenceRefusedError(
            f"`{token.algorithm[:20]!a}` is no algorithm of `{issuer.issuer}`"
        )
    token.require_signed_by(issuer.keys.key_of(token).key, algorithms)


def _require_now(claims: Mapping[str, Any], issuer: TokenIssuer, now: float) -> float:
    """Return when a token ends, in seconds since the epoch, if it is good by now."""
    ends, made = require_time(claims, "exp"), require_time(claims, "iat")
    begins = optional_time(claims, "nbf")
    if now >= ends + issuer.leeway:
        raise EvidenceRefusedError("the token has expired")
    if max(made, begins or 0.0) > now + issuer.leeway:
        raise EvidenceRefusedError("the token is not good yet")
    if not 0 < ends - made <= issuer.longest_life:
        raise EvidenceRefusedError(
            "the token is good for longer than its issuer's tokens are",
            advice="see `longest_life` of its TokenIssuer",
        )
    return ends + issuer.leeway


def _require_for_us(
    claims: Mapping[str, Any], issuer: TokenIssuer, kind: TokenKind
) -> None:
    audiences = require_texts(claims.get("aud"), "aud")
    if issuer.audience not in audiences:
        raise EvidenceRefusedError("the token is for another server")
    others = set(audiences) - {issuer.audience, *issuer.other_audiences}
    if others:
        raise EvidenceRefusedError(
            f"the token is also for `{min(others)!a:.80}`, who could use it here",
            advice="if it may, name it in `other_audiences`",
        )
    if "events" in claims:
        raise EvidenceRefusedError("the token tells of an event, and logs nobody on")
    # OpenID Connect Core 3.1.3.7, steps 4 and 5.
    if kind is TokenKind.ID and claims.get("azp", issuer.audience) != issuer.audience:
        raise EvidenceRefusedError("the ID token was given to another program")


def _require_scopes(
    claims: Mapping[str, Any], issuer: TokenIssuer
) -> frozenset[str] | None:
    scopes = read_scopes(claims)
    if not scopes.issuperset(issuer.scopes):
        raise EvidenceRefusedError("the token lacks a scope that this server asks for")
    return scopes if "scope" in claims else None


def _require_actors(claims: dict[str, Any], issuer: TokenIssuer) -> tuple[Actor, ...]:
    """Return who acts with a token; the nearest must be one who may."""
    chain = read_chain(claims, issuer.issuer)
    if not chain:
        return chain
    nearest = chain[0]
    if issuer.actors is not None and (
        nearest.issuer != issuer.issuer or nearest.name not in issuer.actors
    ):
        raise EvidenceRefusedError(
            f"`{nearest.name[:80]}` may not act with tokens here"
        )
    may = claims.get("may_act")
    if may is not None:
        if not isinstance(may, dict):
            raise EvidenceRefusedError("the token's `may_act` is no object")
        if read_actor(may, issuer.issuer, "may_act") != nearest:
            raise EvidenceRefusedError(
                f"the token says that somebody else than `{nearest.name[:80]}` may act"
            )
    return chain


def _require_not_revoked(claims: Mapping[str, Any], issuer: TokenIssuer) -> str:
    token_id = optional_text(claims, "jti")
    if issuer.is_revoked is not None:
        if not token_id:
            raise EvidenceRefusedError("the token has no `jti` by which to be revoked")
        if issuer.is_revoked(token_id):
            raise EvidenceRefusedError("the token was revoked")
    return token_id
