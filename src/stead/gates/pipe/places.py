"""Who has a place at the gate, and who makes room when all are taken.

1. No uid has more places than its own bound.
2. The last places are for those who administer the server: root and its own uid.
3. When all others are taken, somebody must go: first who has not said Hello yet, the
   longest silent of them; then the longest silent of the uid that has most places, if
   that has more than the newcomer's will have. Who is being served never goes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Protocol

from stead.gates.pipe.limits import PipeLimits
from stead.gates.pipe.peer import PeerEvidence


class Occupant(Protocol):
    """What is asked of a connection that has a place."""

    evidence: PeerEvidence
    last_active: float

    @property
    def is_idle(self) -> bool:
        """Whether nothing is being done for it."""
        ...

    @property
    def is_greeted(self) -> bool:
        """Whether it has said Hello."""
        ...

    def make_room(self) -> None:
        """End, at once: somebody else needs the place."""


class Places:
    """The places of one gate."""

    def __init__(self, limits: PipeLimits, reserved: Collection[int]) -> None:
        """Describe the places.

        Args:
            limits: how many there are.
            reserved: the uids that may use the reserve.
        """
        self._limits = limits
        self._reserved = frozenset(reserved)
        self._by_uid: dict[int, set[Occupant]] = {}
        self._leaving: set[Occupant] = set()

    def has_room(self, uid: int) -> bool:
        """Whether one more of a uid may come; somebody else may have to go for it."""
        own = len(self._by_uid.get(uid, ()))
        if own >= self._limits.clients_per_uid:
            return False
        places = self._limits.clients
        if uid in self._reserved:
            places += self._limits.reserve
        taken = sum(map(len, self._by_uid.values()))
        return taken < places or self._make_room(own + 1)

    def take(self, occupant: Occupant) -> None:
        """Give a place to who comes."""
        self._by_uid.setdefault(occupant.evidence.uid, set()).add(occupant)

    def free(self, occupant: Occupant) -> None:
        """Take back the place of who has gone."""
        if occupant in self._leaving:
            self._leaving.remove(occupant)
        else:
            self._remove(occupant)

    def _remove(self, occupant: Occupant) -> None:
        uid = occupant.evidence.uid
        self._by_uid[uid].remove(occupant)
        if not self._by_uid[uid]:
            del self._by_uid[uid]

    def _make_room(self, own: int) -> bool:
        # Who leaves holds its descriptors until it has gone.
        if len(self._leaving) >= self._limits.reserve:
            return False
        occupant = self._stranger() or self._of_the_largest(own)
        if occupant is None:
            return False
        self._remove(occupant)
        self._leaving.add(occupant)
        occupant.make_room()
        return True

    def _stranger(self) -> Occupant | None:
        return _longest_idle(
            occupant
            for occupants in self._by_uid.values()
            for occupant in occupants
            if not occupant.is_greeted
        )

    def _of_the_largest(self, own: int) -> Occupant | None:
        for occupants in sorted(self._by_uid.values(), key=len, reverse=True):
            if len(occupants) <= own:
                return None
            if (occupant := _longest_idle(occupants)) is not None:
                return occupant
        return None


def _longest_idle(occupants: Iterable[Occupant]) -> Occupant | None:
    idle = (occupant for occupant in occupants if occupant.is_idle)
    return min(idle, key=lambda occupant: occupant.last_active, default=None)
