"""Many blocks of other clients' under one durable record, with nothing else left out.

A server counts the blocks that an operation enters for its own client, and records each
for any other. One that enters thousands for others says so once: the first block of a
client's is recorded as every block is, before it is entered, and the others name that
record. All the rest is as always: the session is held and must live, the rules are
asked, the kernel follows, and the switch is proved there and back. What is no plain
entering or leaving goes to the trail.
"""

from __future__ import annotations

from dataclasses import replace

from stead import ClientContext
from stead.model.audit_record import AuditEvent, AuditRecord, Outcome
from stead.monitor.context import FrameKind
from stead.monitor.impersonation import Block


class Own:
    """The blocks of the client whose operation it is: nothing is left out of them.

    Stead counts them itself (docs/adr/0102), and the trail must say how many.

    Attributes:
        client: whose.
        entered: how many were entered.
        recorded: how many blocks the trail must tell of.
    """

    def __init__(self, client: ClientContext) -> None:
        self.client = client
        self.entered = 0

    def block(self) -> Block:
        """Return a block in which this thread is the client."""
        self.entered += 1
        return self.client.impersonate()

    @property
    def left(self) -> int:
        """How many were left: the trail says whether all were."""
        return self.entered

    @property
    def recorded(self) -> int:
        """How many blocks the trail must tell of: all of them."""
        return self.entered


class Cover:
    """The blocks of one client in one operation; a sink for what they record.

    Attributes:
        client: whose.
        entered: how many were entered.
        left: how many were left in order.
    """

    def __init__(self, client: ClientContext) -> None:
        self.client = client
        self.entered = 0
        self.left = 0
        self._trail = client._guard.sink
        self._guard = replace(client._guard, sink=self)
        self._number = 0

    @property
    def recorded(self) -> int:
        """How many blocks the trail must tell of: the first."""
        return min(self.entered, 1)

    def block(self) -> Block:
        """Return a block in which this thread is the client."""
        return Block(
            FrameKind.CLIENT, self.client.subject, self._guard, keep=self.client
        )

    def record(self, record: AuditRecord, *, is_reserved: bool = False) -> int:
        """Return the number of the record that covers this one, once there is one."""
        if not self._is_entering(record):
            return self._trail.record(record, is_reserved=is_reserved)
        if not self._number:
            self._number = self._trail.record(record)
        self.entered += 1
        return self._number

    def cover(self, record: AuditRecord) -> None:
        """Record as what nothing covers: this sink is of no server's operation."""
        self.record(record)

    def is_well(self) -> bool:
        """Say that the trail can be written; nothing here is entered on a pass."""
        return self._trail.is_well()

    def count(self, record: AuditRecord, kind: str) -> None:
        """Hand on what is told with others of its kind."""
        self._trail.count(record, kind)

    def queue(self, record: AuditRecord) -> None:
        """Count a block that was left; the first one's end is recorded."""
        if record.event is not AuditEvent.IMPERSONATION_LEFT:
            self._trail.queue(record)
            return
        if not self.left:
            self._trail.queue(record)
        self.left += 1

    def _is_entering(self, record: AuditRecord) -> bool:
        return (
            record.event is AuditEvent.IMPERSONATION_ENTERED
            and record.outcome is Outcome.SUCCESS
            and record.client == self.client.subject.principal
            and record.correlation == self.client.subject.correlation
        )
