"""Tokens for other servers, in a client's stead (RFC 8693, the client's side).

A token that was given to this server is no good elsewhere, and is never sent there.
The issuer exchanges it for one that names another audience, and this server as its
actor. What comes back is read before it is used: it must be the client's, for that
audience, and name everybody through whom the client's identity came.

    exchange = TokenExchange(
        endpoint="https://idp.example/token", fetcher=Fetcher(), issuer=idp,
        authentication=ClientKey("front", key), actor=Actor("front", "https://idp.example"),
        actor_token=own_token, audiences={"https://files.example": "files"},
    )
    credentials = BearerCredentials(exchange, text, token)     # the session's
    credentials.bearer("https://files.example")                # for one request
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Final
from urllib.parse import urlsplit

from stead.adapters.oidc.act_chain import MOST_ACTORS, Actor, chain_of
from stead.adapters.oidc.bearer import BearerToken, BearerVerifier
from stead.adapters.oidc.client_authentication import ClientAuthentication
from stead.adapters.oidc.confirmation import NOTHING_SHOWN, Shown
from stead.adapters.oidc.exchange_words import ACCESS_TOKEN, GRANT
from stead.adapters.oidc.fetching import Fetcher, require_https
from stead.adapters.oidc.token_answer import read_answer
from stead.adapters.oidc.token_issuer import TokenIssuer
from stead.errors import (
    EvidenceRefusedError,
    NoCredentialsError,
    UnsafeConfigurationError,
    WrongIdentityError,
)
from stead.model.arguments import require_kind, several
from stead.model.secret import Secret
from stead.monitor.ports import Subject

_NANOSECONDS: Final = 1_000_000_000
_PORTS: Final = {"https": 443, "http": 80}

ActorToken = Callable[[], str]
"""Returns this server's own token at the issuer, good by now; may wait."""


@dataclass(frozen=True, slots=True)
class ExchangedToken:
    """A token for one other server, in one client's stead.

    Attributes:
        secret: the token.
        expires: nanoseconds since the epoch, UTC.
    """

    secret: Secret
    expires: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenExchange:
    """An issuer's exchange, as this server may use it.

    Attributes:
        endpoint: the issuer's token endpoint.
        fetcher: asks it.
        issuer: whose tokens those are, and how they are judged.
        authentication: shows the endpoint who asks.
        actor: this server, as the issuer knows it.
        actor_token: gives this server's own token; None to impersonate, which the
            issuer must allow: the new token then does not name this server.
        audiences: by the server to be reached, such as `https://files.example`, the
            audience that its tokens name. What is not named here is not reached.
        scopes: what is asked for, and given at most; empty for what the client's token
            has.
        accepts_opaque: whether tokens are taken that only the other server can read.
        certificate: this server's, in DER, if the issuer binds its tokens to it.
        clock: nanoseconds since the epoch, UTC.
    """

    endpoint: str
    fetcher: Fetcher = field(repr=False)
    issuer: TokenIssuer
    authentication: ClientAuthentication = field(repr=False)
    actor: Actor
    actor_token: ActorToken | None = field(repr=False)
    audiences: Mapping[str, str]
    scopes: Collection[str] = ()
    accepts_opaque: bool = False
    certificate: bytes | None = field(default=None, repr=False)
    clock: Callable[[], int] = field(default=time.time_ns, repr=False)

    def __post_init__(self) -> None:
        """Refuse an endpoint that is not HTTPS.

        Raises:
            UnsafeConfigurationError: it is not, or a place of `audiences` is none.
            InvalidRequestError: audiences or scopes are of another kind.
        """
        require_https(self.endpoint)
        require_kind("audiences", self.audiences, Mapping, "name one by its server")
        several("scopes", self.scopes, str, 'write `scopes=["docs.read"]`')
        for place in self.audiences:
            origin_of(place)

    def audience_of(self, place: str) -> str:
        """Return the audience by which a server is named.

        Raises:
            NoCredentialsError: it is none that this server goes on to.
        """
        wanted = origin_of(place)
        for known, audience in self.audiences.items():
            if origin_of(known) == wanted:
                return audience
        raise NoCredentialsError(
            f"no token is exchanged for `{place[:200]}`",
            advice="name it in `audiences` of the TokenExchange",
        )

    def exchange(
        self, token: Secret, read: BearerToken, audience: str, subject: Subject | None
    ) -> ExchangedToken:
        """Return a token for an audience, in a client's stead.

        1. What is asked for, and who asks, goes to the issuer.
        2. What it answers is a token, of the type that was asked for.
        3. The token is the client's, for that audience, with no scope that was not
           asked for, and its chain is whole.

        Args:
            token: the client's, as it came.
            read: what it says.
            audience: whom the new token is for.
            subject: the client, as it acts here by now; None where nobody carried its
                identity on.

        Raises:
            NoCredentialsError: the issuer refuses, or the token is another issuer's.
            WrongIdentityError: it answers with something else than was asked for.
            DirectoryUnavailableError: it does not answer.
        """
        # Another's token is good here: it is not shown to this issuer, and whom this
        # one calls by the same name is somebody else.
        if read.issuer != self.issuer.issuer:
            raise NoCredentialsError(
                f"the token of `{read.name}` is `{read.issuer}`'s, and is exchanged at "
                f"`{self.issuer.issuer}`",
                advice="exchange each issuer's tokens at that issuer's own endpoint",
            )
        shown = self.authentication.present(self.endpoint)
        asked = self._form(token, audience) | dict(shown.form)
        answer = self.fetcher.post(self.endpoint, asked, shown.headers)
        text, life = read_answer(answer, self.endpoint, audience, is_exchange=True)
        expires = self.clock() + life * _NANOSECONDS
        made = self._read(text, audience)
        if made is not None:
            self._require_ours(made, read, subject)
            expires = min(expires, int(made.claims["exp"] * _NANOSECONDS))
        return ExchangedToken(Secret(text), expires)

    def _form(self, token: Secret, audience: str) -> dict[str, str]:
        with token.revealed() as letters:
            asked = {
                "grant_type": GRANT,
                "audience": audience,
                "requested_token_type": ACCESS_TOKEN,
                "subject_token": letters.decode(),
                "subject_token_type": ACCESS_TOKEN,
            }
        if self.scopes:
            asked["scope"] = " ".join(self.scopes)
        if self.actor_token is not None:
            asked["actor_token"] = self.actor_token()
            asked["actor_token_type"] = ACCESS_TOKEN
        return asked

    def _read(self, text: str, audience: str) -> BearerToken | None:
        """Return what a new token says; None for one that cannot be read here."""
        if self.accepts_opaque and text.count(".") != 2:  # noqa: PLR2004 - RFC 7515 3.1
            return None
        expected = replace(
            self.issuer, audience=audience, other_audiences=(), scopes=(), sids=None,
            actors=None, must_be_bound=False, is_revoked=None,
        )  # fmt: skip
        shown = Shown(self.certificate) if self.certificate else NOTHING_SHOWN
        try:
            return BearerVerifier([expected], clock=self.clock).verify(text, shown)
        except EvidenceRefusedError as error:
            raise WrongIdentityError(
                f"the issuer's token for `{audience[:200]}` is not what was asked "
                f"for: {error}",
                advice="if only the other server can read its tokens, say "
                "`accepts_opaque`",
            ) from None

    def _require_ours(
        self, made: BearerToken, read: BearerToken, subject: Subject | None
    ) -> None:
        """Return if a new token is the client's, with its whole chain, and no wider."""
        if made.name != read.name:
            raise WrongIdentityError(
                f"the issuer's token is `{made.name}`'s, not `{read.name}`'s"
            )
        most = frozenset(self.scopes) or read.scopes
        if most is not None and (wider := (made.scopes or frozenset()) - most):
            raise WrongIdentityError(
                f"the issuer's token has the scope `{min(wider)[:80]}`, which was not "
                "asked for",
                advice="if it may, name all of them in `scopes`",
            )
        expected = read.actors
        if self.actor_token is not None:
            here = (self.actor,)
            expected = (*here, *read.actors)
            if subject is not None:
                expected = chain_of(subject, read.actors, self.actor)
        if made.actors != expected:
            raise WrongIdentityError(
                f"the issuer's token does not name all through whom `{read.name}` "
                "comes, the nearest first: "
                f"{', '.join(map(str, expected[:MOST_ACTORS])) or 'nobody'}",
                advice="have the issuer nest the `act` claims of both tokens",
            )


def origin_of(place: str) -> tuple[str, str, int]:
    """Return scheme, host and port of a server, as it is compared.

    Raises:
        UnsafeConfigurationError: it is no address of one.
    """
    try:
        parts = urlsplit(place)
        port = _PORTS.get(parts.scheme, 0) if parts.port is None else parts.port
    except ValueError:
        raise _no_server(place) from None
    if not port or not parts.hostname or "@" in parts.netloc:
        raise _no_server(place)
    return parts.scheme, parts.hostname.lower(), port


def _no_server(place: str) -> UnsafeConfigurationError:
    return UnsafeConfigurationError(
        f"`{place[:200]!a}` is no server", advice="write `https://files.example`"
    )
