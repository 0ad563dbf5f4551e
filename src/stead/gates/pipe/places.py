"""Who has a place at the gate, and who makes room when all are taken.

Who shares a bound is of one origin: a uid, or over the network an address.

1. No origin has more places than its own bound.
2. The last places are for those who administer the server: root and its own uid.
3. When all others are taken, somebody must go: first a stranger, who has not been let
   in yet; then the longest silent of the origin that has most places, if that has more
   than the newcomer's will have. Who is being served, or looked at, never goes; who
   waits for its turn to be, or for the late answer to a failure, does.
4. So many as may be pending have not said Hello; one of them makes room.
5. Of strangers that is the longest silent of the origin that has most of them: whoever
   floods the gate makes room for its own flood.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable
from typing import Protocol

from stead.gates.pipe.limits import PipeLimits
from stead.gates.pipe.peer import Peer


class Occupant(Protocol):
    """What is asked of a connection that has a place."""

    @property
    def evidence(self) -> Peer:
        """Who it is."""
        ...

    @property
    def last_active(self) -> float:
        """When a byte came from it or went to it, by the loop's clock."""
        ...

    @property
    def is_idle(self) -> bool:
        """Whether nothing is being done for it."""
        ...

    @property
    def is_greeted(self) -> bool:
        """Whether it has said all that it has to say before it is let in."""
        ...

    @property
    def is_admitted(self) -> bool:
        """Whether it has been let in."""
        ...

    def make_room(self) -> None:
        """End, at once: somebody else needs the place."""


class Places:
    """The places of one gate."""

    def __init__(self, limits: PipeLimits, reserved: Collection[Hashable]) -> None:
        """Describe the places.

        Args:
            limits: how many there are.
            reserved: the origins that may use the reserve.
        """
        self._limits = limits
        self._reserved = frozenset(reserved)
        self._by_origin: dict[Hashable, set[Occupant]] = {}
        self._leaving: set[Occupant] = set()

    def has_room(self, origin: Hashable) -> bool:
        """Whether one more of an origin may come; somebody may have to go for it."""
        own = len(self._by_origin.get(origin, ()))
        if own >= self._limits.clients_per_uid:
            return False
        pending = self._limits.pending
        if pending is not None:
            silent = self._each(lambda occupant: not occupant.is_greeted)
            if sum(map(len, silent)) >= pending:
                return self._let_go(_of_most(silent))
        places = self._limits.clients
        if origin in self._reserved:
            places += self._limits.reserve
        taken = sum(map(len, self._by_origin.values()))
        return taken < places or self._make_room(own + 1)

    def take(self, occupant: Occupant) -> None:
        """Give a place to who comes."""
        self._by_origin.setdefault(occupant.evidence.origin, set()).add(occupant)

    def free(self, occupant: Occupant) -> None:
        """Take back the place of who has gone."""
        if occupant in self._leaving:
            self._leaving.remove(occupant)
        else:
            self._remove(occupant)

    def _remove(self, occupant: Occupant) -> None:
        origin = occupant.evidence.origin
        self._by_origin[origin].remove(occupant)
        if not self._by_origin[origin]:
            del self._by_origin[origin]

    def _make_room(self, own: int) -> bool:
        strangers = self._each(lambda one: not one.is_admitted and one.is_idle)
        return self._let_go(_of_most(strangers) or self._of_the_largest(own))

    def _let_go(self, occupant: Occupant | None) -> bool:
        # Who leaves holds its descriptors until it has gone.
        if occupant is None or len(self._leaving) >= self._limits.reserve:
            return False
        self._remove(occupant)
        self._leaving.add(occupant)
        occupant.make_room()
        return True

    def _each(self, is_meant: Callable[[Occupant], bool]) -> list[list[Occupant]]:
        """Return those of each origin who are meant."""
        return [[*filter(is_meant, those)] for those in self._by_origin.values()]

    def _of_the_largest(self, own: int) -> Occupant | None:
        for occupants in sorted(self._by_origin.values(), key=len, reverse=True):
            if len(occupants) <= own:
                return None
            if (occupant := _longest_idle(occupants)) is not None:
                return occupant
        return None


def _of_most(by_origin: Collection[Collection[Occupant]]) -> Occupant | None:
    """Return the longest idle of the origin, or origins, with most of them."""
    most = max(map(len, by_origin), default=0)
    return _longest_idle(one for each in by_origin if len(each) == most for one in each)


def _longest_idle(occupants: Iterable[Occupant]) -> Occupant | None:
    idle = (occupant for occupant in occupants if occupant.is_idle)
    return min(idle, key=lambda occupant: occupant.last_active, default=None)
