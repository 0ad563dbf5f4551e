"""Who clients turned out to be, for as long as the store says the same.

A client that shows its ticket with each request is looked up once: what an issuer says
of it and what the store makes of that are the same until the store changes, which its
generation tells (`AccountStore.generation`). What the host knows of a uid, no
generation tells: whoever takes an identity from here asks the host again, unless the
issuer's clients are told to be believed for a while (docs/adr/0115).

    known = remembered.at(store.generation())
    found = known.clients.get(key)      # a `KnownClient`, or None
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from stead.authority.asserted_identity import (
    AssertedIdentity,
    account_of_alias,
    account_of_name,
)
from stead.authority.identity import Identity
from stead.authority.packages import AssertedSids
from stead.authority.ports import (
    NOTHING_ASSIGNED,
    Account,
    AccountStore,
    Assignments,
)
from stead.codec.keeping import Kept
from stead.model.sid import Sid

_MOST: Final = 1024
_WORTH_READING: Final = 8
"""How often a store is asked before it is asked for all: it may change all the time."""


@dataclass(frozen=True, slots=True)
class KnownClient:
    """A client that came before.

    Attributes:
        sids: what its issuer said of it.
        said: what counted of that.
        identity: who it was.
        host_counts_until: monotonic nanoseconds until which the host need not be asked
            about its uid again; 0 if it is asked each time.
    """

    sids: AssertedSids | None
    said: AssertedIdentity
    identity: Identity
    host_counts_until: int


class Few:
    """All names of a kind, where they are few and it was asked about some of them.

    Most strangers are nobody to the store: then none of its names is theirs.
    """

    __slots__ = ("_asked", "_is_read", "_names")

    def __init__(self) -> None:
        self._asked = 0
        self._is_read = False
        self._names: frozenset[str] | None = None

    def names(self, read: Callable[[int], Collection[str]]) -> frozenset[str] | None:
        """Return them; None if they are many, or are not worth to be read yet.

        Args:
            read: returns them, or as many as it is told at most.
        """
        if not self._is_read:
            self._asked += 1
            if self._asked >= _WORTH_READING:
                found = read(_MOST + 1)
                self._names = frozenset(found) if len(found) <= _MOST else None
                self._is_read = True
        return self._names


class Known:
    """What is known as of one generation of a store.

    Attributes:
        clients: by what they are called and how they come.
    """

    __slots__ = ("_aliases", "_assigned", "_assignments", "clients")

    def __init__(self) -> None:
        self._aliases: dict[str, Few] = {}  # by issuers that are believed: a few
        self._assigned = Few()
        self._assignments: Kept[Sid, Assignments] = Kept(_MOST)
        self.clients: Kept[Hashable, KnownClient] = Kept(_MOST)

    def account_of(self, store: AccountStore, said: AssertedIdentity) -> Account | None:
        """Return the account that a client is, whom an issuer brought; None if none."""
        few = self._aliases.setdefault(said.issuer, Few())
        names = few.names(partial(store.alias_names, said.issuer))
        if names is not None and names.isdisjoint(said.aliases):
            return account_of_name(store, said)
        return account_of_alias(store, said)

    def assignments_of(
        self, store: AccountStore, sids: Sequence[Sid]
    ) -> dict[Sid, Assignments]:
        """Return what is assigned to SIDs: whoever comes is in groups as others are."""
        found, unknown = {}, []
        for sid in sids:
            known = self._assignments.get(sid)
            if known is None:
                unknown.append(sid)
            else:
                found[sid] = known
        if unknown:
            told = self._ask(store, unknown)
            for sid, assigned in told.items():
                self._assignments.offer(sid, assigned)
            found.update(told)
        return found

    def _ask(self, store: AccountStore, sids: Sequence[Sid]) -> dict[Sid, Assignments]:
        """Ask of those to whom anything may be assigned."""
        told = dict.fromkeys(sids, NOTHING_ASSIGNED)
        holders = self._assigned.names(store.assigned_to)
        if holders is not None:
            sids = [sid for sid in sids if str(sid) in holders]
        if sids:
            told.update(store.assignments_of(sids))
        return told


class Remembered:
    """What is known as of one generation of one store; bounded."""

    __slots__ = ("_now",)

    def __init__(self) -> None:
        self._now: tuple[int, Known] | None = None

    def at(self, generation: int) -> Known:
        """Return what is known as of a generation; of others nothing is, any more."""
        now = self._now
        if now is None or now[0] != generation:
            # Whoever still holds the former one adds to what nobody asks.
            now = self._now = (generation, Known())
        return now[1]
