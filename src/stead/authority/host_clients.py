"""Who users of this host are to a store, whom PAM or another of the host's knows.

    hosts = HostClients(store)
    identity = hosts.identify(PosixIdentity(70001, 70001), LogonType.NETWORK)

Of a user who comes again with the same ids, nothing but the store's generation is asked
(docs/adr/0098): the host has said its ids and groups just now, and what the store makes
of those is the same until it changes.
"""

from __future__ import annotations

from typing import Final

from stead.authority.identity import Identity, identify_peer
from stead.authority.ports import AccountStore
from stead.codec.keeping import Kept
from stead.model.logon_record import LogonType
from stead.model.posix_identity import PosixIdentity

_MOST: Final = 1024

_Known = Kept[tuple[PosixIdentity, LogonType], Identity]


class HostClients:
    """Users of this host, as one generation of one store knows them; bounded.

    Args:
        store: where accounts live.
    """

    __slots__ = ("_known", "_store")

    def __init__(self, store: AccountStore) -> None:
        self._store = store
        self._known: tuple[int, _Known] = (-1, Kept(_MOST))

    def identify(self, posix: PosixIdentity, logon_type: LogonType) -> Identity:
        """Return who a user is here: the account with its uid, or the bare uid.

        Args:
            posix: its ids, as the host has said them just now.
            logon_type: how it comes.

        Raises:
            AccountDisabledError, TooManyGroupsError: as `identify_peer`; neither is
                remembered.
        """
        known, key = self._at(self._store.generation()), (posix, logon_type)
        found = known.get(key)
        if found is None:
            # It asks for the generation itself: what is kept is of that one or a later.
            found = identify_peer(self._store, posix, logon_type=logon_type)
            self._at(found.generation).offer(key, found)
        return found

    def _at(self, generation: int) -> _Known:
        now = self._known
        if now[0] != generation:
            # Whoever still holds the former one adds to what nobody asks.
            now = self._known = (generation, Kept(_MOST))
        return now[1]
