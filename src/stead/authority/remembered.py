"""Who clients turned out to be, for as long as the store says the same.

A client that shows its ticket with each request is looked up once: what an issuer says
of it and what the store makes of that are the same until the store changes, which its
generation tells (`AccountStore.generation`). Only who is no account with a uid is
remembered: what the host knows of a uid, no generation tells.

    known = remembered.at(store.generation())
    sids, identity = known.get(key) or (None, None)
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final

from stead.authority.identity import Identity
from stead.authority.packages import AssertedSids
from stead.codec.keeping import Kept

Known = Kept[Hashable, tuple[AssertedSids | None, Identity]]
"""What an issuer said of a client, and who that is; by how the client comes."""

_MOST: Final = 1024


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
