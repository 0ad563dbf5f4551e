"""What the trail does not hold though it happened, counted by event."""

from __future__ import annotations

from collections import Counter

from stead.ledger.tally import Tally
from stead.model.audit_record import AuditEvent


class Losses:
    """Counts from anywhere, finalizers too; read and reported by one thread.

    Attributes:
        is_owing: whether something may not be reported yet.
    """

    def __init__(self) -> None:
        self._all = Tally()
        self._tallies: dict[object, Tally] = {event: Tally() for event in AuditEvent}
        self._strange = Tally()
        self._reported: Counter[str] = Counter()
        self.is_owing = False

    def add(self, event: object) -> None:
        """Count one more of an event, or of what is none."""
        self._tallies.get(event, self._strange).add()
        self._all.add()
        self.is_owing = True

    def total(self) -> int:
        """Return how many were lost, reported or not."""
        return self._all.total()

    def unreported(self) -> Counter[str]:
        """Return what was lost since the last `report`, by the event's name."""
        return self._totals() - self._reported

    def report(self, counts: Counter[str]) -> None:
        """Note that the trail now says so."""
        self._reported += counts
        self.is_owing = False
        # Whoever adds now either has counted already or says so after this.
        if self._all.total() > self._reported.total():
            self.is_owing = True

    def _totals(self) -> Counter[str]:
        totals = Counter({"not a record": self._strange.total()})
        for event in AuditEvent:
            totals[event.name] = self._tallies[event].total()
        return totals
