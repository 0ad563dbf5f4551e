"""Which grants were used: the first use of each has a record of its own."""

from __future__ import annotations

from stead.model.luid import Luid


class GrantUses:
    """The grants of one server that were used and have not ended.

    Without a lock: a finalizer may be what ends a grant, on any thread. Of uses that
    begin at the same moment, each may be recorded as the first; none goes before its
    record.
    """

    def __init__(self) -> None:
        self._used: set[Luid] = set()

    def is_known(self, logon_id: Luid) -> bool:
        """Tell whether the record of the grant's first use is durable."""
        return logon_id in self._used

    def know(self, logon_id: Luid) -> None:
        """Note that it is."""
        self._used.add(logon_id)

    def forget(self, logon_id: Luid) -> None:
        """Forget a grant that has ended."""
        self._used.discard(logon_id)
