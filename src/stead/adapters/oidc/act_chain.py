"""Through whom an identity came, as tokens say it (RFC 8693 4.1, 4.4).

A token's `act` claim names who acts with it, and nested within, who acted before: the
nearest first. Nothing here makes a chain shorter. Only the nearest counts where it is
asked who may act (RFC 8693 4.1); all of them are recorded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from stead.adapters.oidc.claim_values import require_name
from stead.errors import EvidenceRefusedError
from stead.monitor.ports import Subject

MOST_ACTORS: Final = 8
"""How long a chain may be."""


@dataclass(frozen=True, slots=True)
class Actor:
    """Somebody who acts in another's stead.

    Attributes:
        name: `sub`, as its issuer writes it.
        issuer: who says so.
    """

    name: str
    issuer: str

    def __str__(self) -> str:
        return f"{self.name} ({self.issuer})"


def read_chain(claims: dict[str, Any], issuer: str) -> tuple[Actor, ...]:
    """Return through whom a token's identity came, the nearest first.

    Args:
        claims: the token's.
        issuer: the token's, which is meant where an actor names none.

    Raises:
        EvidenceRefusedError: that cannot be read, or the chain is too long.
    """
    found: list[Actor] = []
    inner = claims
    while "act" in inner:
        inner = inner["act"]
        if not isinstance(inner, dict):
            raise EvidenceRefusedError("an `act` claim is no object")
        if len(found) == MOST_ACTORS:
            raise EvidenceRefusedError(f"a token has over {MOST_ACTORS} actors")
        found.append(read_actor(inner, issuer, "act"))
    return tuple(found)


def read_actor(claim: dict[str, Any], issuer: str, what: str) -> Actor:
    """Return whom an `act` or `may_act` claim names.

    Raises:
        EvidenceRefusedError: it names nobody.
    """
    whose = require_name(claim.get("iss", issuer), f"the issuer of `{what}`")
    return Actor(require_name(claim.get("sub"), f"`{what}`"), whose)


def write_chain(chain: Sequence[Actor], issuer: str) -> dict[str, Any]:
    """Return the claims that say so: `act`, or nothing for nobody.

    Args:
        chain: the nearest first.
        issuer: of the token that is made; it need not be named.

    Raises:
        EvidenceRefusedError: the chain is too long.
    """
    if len(chain) > MOST_ACTORS:
        raise EvidenceRefusedError(
            f"a token would have over {MOST_ACTORS} actors",
            advice="have fewer servers hand the client's identity on",
        )
    made: dict[str, Any] = {}
    for actor in reversed(chain):
        said: dict[str, Any] = {"sub": actor.name}
        if actor.issuer != issuer:
            said["iss"] = actor.issuer
        made = {"act": said | made}
    return made


def chain_of(
    subject: Subject, came_through: Sequence[Actor], server: Actor
) -> tuple[Actor, ...]:
    """Return through whom a client's identity reaches the next server.

    It is this server, then everybody in whose blocks the identity was carried on
    (`Subject.through`), who are accounts of this server's, and then whom the client's
    own token named. A session that began with that token has the last ones in its
    subject already (`Authenticated.actors`).

    Args:
        subject: the client, as checks and records know it here.
        came_through: what its token said, the nearest first.
        server: this server, as the issuer knows it.
    """
    names = tuple(principal.name for principal in subject.through)
    known = through_of(came_through)
    if known and names[-len(known) :] == known:
        names = names[: -len(known)]
    here = tuple(Actor(name, server.issuer) for name in names)
    return (server, *here, *came_through)


def through_of(chain: Sequence[Actor]) -> tuple[str, ...]:
    """Return a chain as `Authenticated.actors` names it, the nearest first."""
    return tuple(map(str, chain))
