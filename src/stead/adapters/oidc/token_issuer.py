"""An issuer of tokens, as this server's configuration describes it.

What is not said is not believed: other audiences, other kinds of tokens, groups.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import Any, Final

from stead.adapters.oidc.claim_values import require_texts
from stead.adapters.oidc.issuer_keys import IssuerKeys
from stead.adapters.oidc.keys import require_algorithms
from stead.authority.packages import AssertedSids
from stead.errors import EvidenceRefusedError, InvalidSidError, UnsafeConfigurationError
from stead.model.arguments import (
    require_callable,
    require_kind,
    require_text,
    several,
)
from stead.model.sid import Sid
from stead.model.token import TokenGroup

ALGORITHMS: Final = ("ES256", "EdDSA", "PS256", "RS256")
_MOST_LEEWAY: Final = 300.0
_DOMAIN_PARTS: Final = 4  # 21, and three of the domain's own
_NT_AUTHORITY: Final = 5
_NON_UNIQUE: Final = 21


class TokenKind(Enum):
    """What a token is for; its `typ` says so."""

    ACCESS = "access"
    """An access token (RFC 9068): type `at+jwt`."""
    ID = "id"
    """An ID token (OpenID Connect Core 2): type `JWT`, or none."""
    UNTYPED_ACCESS = "untyped access"
    """An access token of an issuer that gives it no type of its own."""


_TYPES: Final[Mapping[TokenKind, frozenset[str]]] = {
    TokenKind.ACCESS: frozenset({"at+jwt"}),
    TokenKind.ID: frozenset({"jwt", ""}),
    TokenKind.UNTYPED_ACCESS: frozenset({"jwt", ""}),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SidClaims:
    """Which claims an issuer says SIDs by.

    Attributes:
        user: the claim with the account's SID; tokens must have it.
        groups: the claim with the names of groups; or empty.
        table: by such a name, the group's SID. Names that are not in it mean nothing.
    """

    user: str
    groups: str = ""
    table: Mapping[str, Sid] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        """Refuse SIDs that no issuer may assert.

        Raises:
            UnsafeConfigurationError: there is one.
        """
        for sid in self.table.values():
            if not _is_of_a_domain(sid):
                raise UnsafeConfigurationError(
                    f"no issuer may assert `{sid}`",
                    advice="groups of tokens are SIDs of a domain, S-1-5-21-a-b-c-rid",
                )

    def read(self, claims: Mapping[str, Any]) -> AssertedSids:
        """Return what a token says.

        Raises:
            EvidenceRefusedError: it does not say who, or says what it may not.
        """
        names = require_texts(claims.get(self.groups, []), self.groups)
        groups = dict.fromkeys(self.table[name] for name in names if name in self.table)
        return AssertedSids(self._user(claims), tuple(map(TokenGroup, groups)))

    def _user(self, claims: Mapping[str, Any]) -> Sid:
        said = claims.get(self.user)
        try:
            user = Sid.from_string(said) if isinstance(said, str) else None
        except InvalidSidError:
            user = None
        if user is None or not _is_of_a_domain(user):
            raise EvidenceRefusedError(
                f"the token's `{self.user[:40]}` is no SID of an account of a domain"
            )
        return user


def _is_of_a_domain(sid: Sid) -> bool:
    parts = sid.sub_authorities
    return (
        sid.authority == _NT_AUTHORITY
        and len(parts) == _DOMAIN_PARTS + 1
        and parts[0] == _NON_UNIQUE
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenIssuer:
    """One issuer, and what its tokens have to be.

    Attributes:
        issuer: its name, exactly as in `iss`.
        audience: this server's, exactly as in `aud`.
        keys: finds its keys.
        algorithms: those that it signs by; public keys verify each of them.
        kinds: which of its tokens are taken.
        name_claim: the claim that names the client to `stead.authority.issuers`. One
            that people can choose for themselves (`email`, `preferred_username`) is
            none.
        sids: by which claims it says SIDs; None if it says none.
        other_audiences: who else may be named beside this server: each of them can use
            the token here.
        scopes: all of which a token must have.
        actors: who may act with its tokens as the nearest actor; None for whoever it
            says.
        must_be_bound: whether tokens that anybody could use are refused.
        leeway: seconds by which clocks may differ.
        longest_life: seconds that a token may be good for, from when it was made.
        is_revoked: whether a token is, by its `jti`; tokens need one then.
    """

    issuer: str
    audience: str
    keys: IssuerKeys = field(repr=False)
    algorithms: Collection[str] = ALGORITHMS
    kinds: Collection[TokenKind] = (TokenKind.ACCESS,)
    name_claim: str = "sub"
    sids: SidClaims | None = None
    other_audiences: Collection[str] = ()
    scopes: Collection[str] = ()
    actors: Collection[str] | None = None
    must_be_bound: bool = False
    leeway: float = 30.0
    longest_life: float = 86_400.0
    is_revoked: Callable[[str], bool] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        """Refuse what would let in whom nobody meant.

        Raises:
            UnsafeConfigurationError: something of it does.
            InvalidRequestError: something of it is of another kind.
        """
        require_text("issuer", self.issuer)
        require_text("audience", self.audience)
        require_kind("keys", self.keys, IssuerKeys, "write `IssuerKeys(...)`")
        require_algorithms(self.algorithms)
        several("kinds", self.kinds, TokenKind, "write `kinds=[TokenKind.ACCESS]`")
        require_kind("leeway", self.leeway, (int, float), "say how many seconds")
        require_kind("longest_life", self.longest_life, (int, float), "in seconds")
        if self.is_revoked is not None:
            require_callable("is_revoked", self.is_revoked, "a function of a `jti`")
        if not self.issuer or not self.audience or not self.kinds:
            raise UnsafeConfigurationError("an issuer needs a name, audience and kinds")
        for listed in (self.other_audiences, self.scopes, self.actors, self.algorithms):
            if isinstance(listed, str):
                raise UnsafeConfigurationError(
                    "a text alone is no list", advice="[...]"
                )
        # Turned round, either would take what is no number.
        if not (0 <= self.leeway <= _MOST_LEEWAY and self.longest_life > 0):
            raise UnsafeConfigurationError(
                f"clocks differ by up to {_MOST_LEEWAY:.0f} s, and tokens live longer",
                advice="see `leeway` and `longest_life`",
            )

    def kind_of(self, token_type: str) -> TokenKind | None:
        """Return which kind of token a `typ` means, of those that are taken."""
        for kind in TokenKind:
            if kind in self.kinds and token_type in _TYPES[kind]:
                return kind
        return None
