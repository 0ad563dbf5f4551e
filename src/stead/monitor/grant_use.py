"""Which grants were used: the first use of each has a record of its own."""

from __future__ import annotations

from stead.model.luid import Luid


class GrantUses:
    """The grants of one server that were used and have not ended.

    Without a lock: a finalizer may be what ends a grant, on any thread.
    """

    def __init__(self) -> None:
        self._used: dict[Luid, object] = {}

    def is_first(self, logon_id: Luid) -> bool:
        """Tell whether this is the grant's first use; only one caller hears so."""
        mine = object()
        return self._used.setdefault(logon_id, mine) is mine

    def forget(self, logon_id: Luid) -> None:
        """Forget a grant: it has ended, or its use could not be recorded."""
        self._used.pop(logon_id, None)
