"""Records of one kind that come by the thousand, told as one.

Strangers can make a server record as fast as they can knock. What goes beyond a quota
(`stead.server.failure_quota`) is handed to the writer to be counted: it writes the last
of each kind, with how many there were and since when, once in a period.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from stead.model.audit_record import AuditRecord

PERIOD: Final = 5_000_000_000
"""Nanoseconds from the first that is counted to the record that tells of all."""

_QUIET: Final = 5
_MOST_KINDS: Final = 256
_REST: Final = "others"


@dataclass(slots=True)
class _Kind:
    """One kind: how many, the first's time, and the last."""

    count: int
    since: int
    last: AuditRecord


class Flood:
    """Counts by kind; used by the writer's thread alone.

    It has no clock: time goes by as records say. Where none come, the writer says how
    often it waited in vain for its second.

    Attributes:
        kinds: what is not told yet.
    """

    def __init__(self) -> None:
        self.kinds: dict[str, _Kind] = {}
        self._quiet = 0

    def add(self, kind: str, record: AuditRecord) -> None:
        """Count one.

        Args:
            kind: what is told together; beyond 256 of them, the rest is one.
            record: what happened.
        """
        if kind not in self.kinds and len(self.kinds) >= _MOST_KINDS:
            kind = _REST
        known = self.kinds.get(kind)
        if known is None:
            self.kinds[kind] = _Kind(1, record.time, record)
        else:
            known.count += 1
            known.last = record

    def due(self, now: int | None) -> list[AuditRecord]:
        """Take and return what is to be told, the oldest first.

        Args:
            now: the time of the newest record; None if none came for a second.
        """
        self._quiet = self._quiet + 1 if now is None else 0
        if self._quiet >= _QUIET:
            return self.rest()
        if now is None:
            return []
        # A clock that was set back must not keep anything for as long.
        told = [k for k, known in self.kinds.items() if abs(now - known.since) > PERIOD]
        return [_telling(self.kinds.pop(kind)) for kind in told]

    def rest(self) -> list[AuditRecord]:
        """Take and return everything."""
        told = [_telling(kind) for kind in self.kinds.values()]
        self.kinds.clear()
        self._quiet = 0
        return told


def _telling(kind: _Kind) -> AuditRecord:
    said = {"count": str(kind.count), "since": str(kind.since)}
    return replace(kind.last, detail={**kind.last.detail, **said})
