"""Who was not let in, in the trail: one by one within a quota, and then by numbers."""

from __future__ import annotations

from dataclasses import dataclass

from stead.errors import SteadError
from stead.model import well_known
from stead.model.audit_record import AuditEvent, Principal
from stead.model.logon_record import LogonType
from stead.model.sid import Sid
from stead.monitor.guard import Guard
from stead.monitor.recorder import Parts
from stead.server.arrival import Arrival, failure_detail, nobody
from stead.server.failure_quota import FailureQuota, origin_of


@dataclass(frozen=True, slots=True)
class Refusals:
    """Writes them down.

    Attributes:
        guard: records them.
        quota: how many are recorded one by one.
    """

    guard: Guard
    quota: FailureQuota

    def record(
        self,
        principal: Principal,
        arrival: Arrival,
        error: SteadError,
        logon_type: LogonType,
    ) -> int | None:
        """Record who was not let in; return the number, if it has one of its own."""
        recorder, subject = self.guard.recorder, nobody(principal, arrival)
        origin = origin_of(arrival.gate, arrival.peer)
        told = Parts(error=error, detail=failure_detail(error, logon_type, arrival))
        if self.quota.takes(origin):
            return recorder.record(AuditEvent.LOGON_FAILED, subject, **told)
        recorder.count(AuditEvent.LOGON_FAILED, subject, origin, **told)
        return None

    def record_named(
        self, name: str, arrival: Arrival, error: SteadError, logon_type: LogonType
    ) -> int | None:
        """Record who was not let in, whom nobody knows by a SID yet; as `record`."""
        return self.record(unknown(name), arrival, error, logon_type)

    def record_lock(self, name: str, sid: Sid | None, arrival: Arrival) -> None:
        """Record that a name is locked by now (Windows event 4740).

        Args:
            name: as records have it.
            sid: the account of the store that has it; None if none has: names that
                nobody has are locked as well, or locks would tell which are somebody's.
            arrival: how the last guess came.
        """
        principal = unknown(name)
        self.guard.recorder.record(
            AuditEvent.ACCOUNT_LOCKED_OUT,
            nobody(principal, arrival),
            object_type="Account",
            object_name=principal.name,
            detail=about(sid),
        )


def about(sid: Sid | None) -> dict[str, str]:
    """Return how a record says whose account it is about, if it is anybody's."""
    return {} if sid is None else {"sid": str(sid)}


def unknown(name: str) -> Principal:
    """Return what records call somebody who only has said a name."""
    return Principal(well_known.NULL_SID, name[:80])
