"""Who clients turned out to be, for as long as the store says the same.

A client that shows its ticket with each request is looked up once: what an issuer says
of it and what the store makes of that are the same until the store changes, which its
generation tells (`AccountStore.generation`). What the host knows of a uid, no
generation tells: whoever takes an identity from here asks the host again
(docs/adr/0098).

    known = remembered.at(store.generation())
    found = known.get(key)              # a `KnownClient`, or None
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Final

from stead.authority.asserted_identity import AssertedIdentity
from stead.authority.identity import Identity
from stead.authority.packages import AssertedSids
from stead.codec.keeping import Kept

_MOST: Final = 1024


@dataclass(frozen=True, slots=True)
class KnownClient:
    """A client that came before.

    Attributes:
        sids: what its issuer said of it.
        said: what counted of that.
        identity: who it was.
    """

    sids: AssertedSids | None
    said: AssertedIdentity
    identity: Identity


Known = Kept[Hashable, KnownClient]
"""Clients, by what they are called and how they come."""


class Remembered:
    """Identities, of one generation of one store; bounded."""

    __slots__ = ("_now",)

    def __init__(self) -> None:
        self._now: tuple[int, Known] = (-1, Kept(_MOST))

    def at(self, generation: int) -> Known:
        """Return what is remembered of a generation; of others nothing is, any more."""
        now = self._now
        if now[0] != generation:
            # Whoever still holds the former one adds to what nobody asks.
            now = self._now = (generation, Kept(_MOST))
        return now[1]
