"""Records of one kind that come by the thousand, told as one.

Strangers can make a server record as fast as they can knock. What goes beyond a quota
(`stead.server.failure_quota`) is handed to the writer to be counted: it writes the last
of each kind, with how many there were and since when, once in a period.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from stead.model.audit_record import AuditRecord

PERIOD: Final = 5.0
"""Seconds from the first that is counted to the record that tells of all."""

_MOST_KINDS: Final = 256
_REST: Final = "others"


@dataclass(slots=True)
class _Kind:
    """One kind: how many, the first's time, the last, and when it is told."""

    count: int
    since: int
    last: AuditRecord
    due: float


class Flood:
    """Counts by kind; used by the writer's thread alone."""

    def __init__(self) -> None:
        self._kinds: dict[str, _Kind] = {}

    def __bool__(self) -> bool:
        """Tell whether something is not told yet."""
        return bool(self._kinds)

    def add(self, kind: str, record: AuditRecord, *, now: float) -> None:
        """Count one.

        Args:
            kind: what is told together; beyond 256 of them, the rest is one.
            record: what happened.
            now: seconds that never step.
        """
        if kind not in self._kinds and len(self._kinds) >= _MOST_KINDS:
            kind = _REST
        known = self._kinds.get(kind)
        if known is None:
            self._kinds[kind] = _Kind(1, record.time, record, now + PERIOD)
        else:
            known.count += 1
            known.last = record

    def due(self, now: float) -> list[AuditRecord]:
        """Take and return what is to be told by now, the oldest first."""
        told = [kind for kind, known in self._kinds.items() if known.due <= now]
        return [_telling(self._kinds.pop(kind)) for kind in told]


def _telling(kind: _Kind) -> AuditRecord:
    said = {"count": str(kind.count), "since": str(kind.since)}
    return replace(kind.last, detail={**kind.last.detail, **said})
