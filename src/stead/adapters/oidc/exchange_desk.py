"""An issuer's desk for exchanges (RFC 8693): whether a server may have another token.

It is what a token endpoint does once it knows which server asks. For servers that are
their own issuer, and for issuers of tests; it opens no socket.

    desk = ExchangeDesk(key, rules={"front": ExchangeRule(
        audience="https://front.example", targets={"https://files.example"})}, ...)
    answer = desk.answer(form, client="front")

Rules of the house: a server exchanges tokens that were given to it, for those servers
that it may go on to. It appears in the new token as its actor, unless it may
impersonate, which is said by name (1.1). A chain is never made shorter, a scope never
wider, an end never later.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn

from stead.adapters.oidc.act_chain import Actor, read_actor, write_chain
from stead.adapters.oidc.bearer import BearerToken, BearerVerifier
from stead.adapters.oidc.exchange_words import ACCESS_TOKEN, GRANT, JWT, SIGNED_TYPES
from stead.adapters.oidc.issuer_keys import IssuerKeys
from stead.adapters.oidc.signing import SigningKey
from stead.adapters.oidc.token_issuer import TokenIssuer
from stead.errors import (
    DirectoryUnavailableError,
    EvidenceRefusedError,
    UnsafeConfigurationError,
)

_OK: Final = 200
_BAD: Final = 400
_BUSY: Final = 503
_NANOSECONDS: Final = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ExchangeRule:
    """What one server may have in its clients' stead.

    Attributes:
        audience: as which tokens name it: only those it may exchange.
        targets: for which other servers.
        scopes: which scopes at most; None for those of the client's token. They are
            what it may have where that token says nothing of scopes.
        may_impersonate: whether it may have tokens in which it does not appear.
    """

    audience: str
    targets: Collection[str]
    scopes: Collection[str] | None = None
    may_impersonate: bool = False

    def __post_init__(self) -> None:
        """Refuse a text where a list is meant: `in` would find parts of it.

        Raises:
            UnsafeConfigurationError: it is one.
        """
        if isinstance(self.targets, str) or isinstance(self.scopes, str):
            raise UnsafeConfigurationError("a text alone is no list", advice="[...]")


@dataclass(frozen=True, slots=True)
class DeskAnswer:
    """What a token endpoint answers (RFC 8693 2.2, RFC 6749 5.2).

    Attributes:
        status: of HTTP.
        body: the JSON object; with `error` if it is a refusal.
        cause: why it was refused, for the endpoint's own log.
    """

    status: int
    body: Mapping[str, Any] = field(repr=False)
    cause: str = ""


class _RefusedError(Exception):
    """The request is refused; `code` is RFC 6749's or RFC 8693's."""

    def __init__(self, code: str, cause: str) -> None:
        super().__init__(cause)
        self.code = code


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request, taken apart."""

    subject: str = field(repr=False)
    actor: str | None = field(repr=False)
    target: str
    scopes: frozenset[str] | None


class ExchangeDesk:
    """Gives out tokens for tokens; used by any thread."""

    def __init__(
        self,
        issuer: str,
        key: Callable[[], SigningKey],
        *,
        keys: IssuerKeys,
        rules: Mapping[str, ExchangeRule],
        life: float = 300.0,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        """Take an issuer's rules.

        Args:
            issuer: its name.
            key: gives the key that it signs by just now.
            keys: finds its own public keys, by which tokens that come back are judged.
            rules: by the name of an authenticated server, what it may have.
            life: seconds that an exchanged token is good for, at most.
            clock: nanoseconds since the epoch, UTC.
        """
        self._issuer = issuer
        self._key = key
        self._keys = keys
        self._rules = dict(rules)
        self._life = life
        self._clock = clock

    def answer(self, form: Sequence[tuple[str, str]], *, client: str) -> DeskAnswer:
        """Answer a request.

        1. It asks for one token, for one server, by tokens of types that are known.
        2. The client's token was made here, for the server that asks, and is good.
        3. Who acts is the server that asks, and may: by `may_act`, if the token says.
        4. The target and the scopes are ones that it may have.
        5. The new token names the client, the server, and everybody before.

        Args:
            form: the request's parameters, as they came.
            client: the server that asks, which the endpoint has authenticated.
        """
        try:
            return self._exchange(_read(form), self._rule_of(client), client)
        except _RefusedError as refused:
            return DeskAnswer(_BAD, {"error": refused.code}, str(refused))
        except EvidenceRefusedError as error:
            return DeskAnswer(_BAD, {"error": "invalid_request"}, str(error))
        except DirectoryUnavailableError as error:
            body = {"error": "temporarily_unavailable"}
            return DeskAnswer(_BUSY, body, str(error))

    def _rule_of(self, client: str) -> ExchangeRule:
        rule = self._rules.get(client)
        if rule is None:
            raise _RefusedError("unauthorized_client", f"`{client}` has no rule")
        return rule

    def _exchange(self, asked: _Asked, rule: ExchangeRule, client: str) -> DeskAnswer:
        subject = self._verified(asked.subject, rule.audience)
        acting = self._acting(asked, rule, client)
        _require_may_act(subject, acting[0] if acting else Actor(client, self._issuer))
        if asked.target not in rule.targets:
            raise _RefusedError("invalid_target", f"`{client}` may not go on to it")
        scopes = _scopes(asked, rule, subject)
        now = self._clock() / _NANOSECONDS
        # `expires` is the end of a session, which clocks that differ may make later.
        ends = min(now + self._life, float(subject.claims["exp"]))
        if ends <= now:
            raise _RefusedError("invalid_request", "the client's token ends just now")
        claims = {
            "iss": self._issuer,
            "sub": subject.name,
            "aud": asked.target,
            "client_id": client,
            "iat": int(now),
            "exp": int(ends),
            "jti": secrets.token_urlsafe(16),
            **({} if scopes is None else {"scope": " ".join(sorted(scopes))}),
            **write_chain((*acting, *subject.actors), self._issuer),
        }
        body = {
            "access_token": self._key().sign(claims),
            "issued_token_type": ACCESS_TOKEN,
            "token_type": "Bearer",
            "expires_in": max(1, int(ends - now)),
        }
        return DeskAnswer(
            _OK, body if scopes is None else body | {"scope": claims["scope"]}
        )

    def _verified(self, token: str, audience: str) -> BearerToken:
        """Return a token of this issuer's, given to one server."""
        issuer = TokenIssuer(issuer=self._issuer, audience=audience, keys=self._keys)
        return BearerVerifier([issuer], is_handed_on=True, clock=self._clock).verify(
            token
        )

    def _acting(
        self, asked: _Asked, rule: ExchangeRule, client: str
    ) -> tuple[Actor, ...]:
        """Return who acts, the nearest first: the server that asks, or nobody."""
        if asked.actor is None:
            if not rule.may_impersonate:
                raise _RefusedError(
                    "invalid_request", f"`{client}` may not impersonate: no actor_token"
                )
            return ()
        actor = self._verified(asked.actor, self._issuer)
        if actor.name != client:
            raise _RefusedError("invalid_request", f"`{client}` is not the actor")
        return (Actor(actor.name, self._issuer), *actor.actors)


def _read(form: Sequence[tuple[str, str]]) -> _Asked:
    """Take a request apart (RFC 8693 2.1)."""
    found = dict(form)
    if len(found) != len(form):
        raise _RefusedError("invalid_request", "a parameter stands twice")
    if found.get("grant_type") != GRANT:
        raise _RefusedError("unsupported_grant_type", "it is no exchange")
    wanted = found.get("requested_token_type", ACCESS_TOKEN)
    if wanted not in {ACCESS_TOKEN, JWT}:
        raise _RefusedError("invalid_request", "it asks for another type of token")
    places = {found[name] for name in ("audience", "resource") if name in found}
    if len(places) != 1:
        raise _RefusedError("invalid_target", "it names no target, or two")
    scope = found.get("scope")
    return _Asked(
        _given(found, "subject_token") or _no_subject(),
        _given(found, "actor_token"),
        places.pop(),
        None if scope is None else frozenset(scope.split()),
    )


def _given(found: Mapping[str, str], name: str) -> str | None:
    """Return a token, whose type has to be told with it, and only with it."""
    token, kind = found.get(name), found.get(f"{name}_type")
    if (token is None) != (kind is None):
        raise _RefusedError("invalid_request", f"`{name}` and its type come together")
    if kind is not None and kind not in SIGNED_TYPES:
        raise _RefusedError("invalid_request", f"`{name}` is of a type unknown here")
    return token


def _no_subject() -> NoReturn:
    raise _RefusedError("invalid_request", "there is no subject_token")


def _require_may_act(subject: BearerToken, actor: Actor) -> None:
    """Return if a client's token lets somebody act with it (RFC 8693 4.4)."""
    may = subject.claims.get("may_act")
    if may is None:
        return
    if not isinstance(may, dict) or read_actor(may, subject.issuer, "may_act") != actor:
        raise _RefusedError("invalid_request", "the token says that another may act")


def _scopes(
    asked: _Asked, rule: ExchangeRule, subject: BearerToken
) -> frozenset[str] | None:
    """Return the scopes of the new token, which are none that the old one lacks."""
    most = subject.scopes
    if rule.scopes is not None:
        ruled = frozenset(rule.scopes)
        most = ruled if most is None else ruled & most
    if asked.scopes is None:
        return most
    # A token that says nothing of scopes has none to hand on.
    if not asked.scopes <= (most or frozenset()):
        raise _RefusedError("invalid_scope", "it asks for more than the token has")
    return asked.scopes
