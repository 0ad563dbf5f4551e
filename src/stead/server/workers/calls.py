"""What the pool of workers holds: limits, calls, workers."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, TypeAlias

from stead.errors import InvalidRequestError, SteadError
from stead.model.luid import Luid
from stead.model.posix_identity import PosixIdentity
from stead.monitor.process_acts import WorkerNotes
from stead.privileged.child import Child
from stead.privileged.confinement import Confinement
from stead.server.workers.answers import ReceivedDescriptor, Reply
from stead.server.workers.channel import WorkerChannel
from stead.server.workers.future import WorkerFuture

Environment: TypeAlias = tuple[tuple[bytes, bytes], ...]
"""Names and values of variables."""

_NEVER: Final = float("inf")


@dataclass(frozen=True, slots=True)
class WorkerLimits:
    """How much clients' workers may cost.

    Attributes:
        per_client: how many workers one uid may have at once.
        total: how many there may be of all clients.
        idle_seconds: after how long without work one is ended.
        reply_bytes: how long a value may be, as plain data.
        waiting_per_client: how many calls of one uid may wait.
        seconds: how long a call may take unless it says otherwise; None for ever.
    """

    per_client: int = 4
    total: int = 64
    idle_seconds: float = 30.0
    reply_bytes: int = 64 << 20
    waiting_per_client: int = 64
    seconds: float | None = 300.0

    def __post_init__(self) -> None:
        """Refuse limits under which nothing could run.

        Raises:
            InvalidRequestError: one is too small.
        """
        least = (self.per_client, self.total, self.reply_bytes, self.waiting_per_client)
        if min(least) < 1 or self.idle_seconds < 0:
            raise InvalidRequestError("limits of workers leave room for none")


class Key(NamedTuple):
    """What one worker is for.

    Attributes:
        logon_id: the only session that it ever serves.
        kind: the one thing it does; see ``wire``.
        confinement: what it reaches at most. A confined worker does one thing once.
    """

    logon_id: Luid
    kind: str
    confinement: Confinement | None = None


@dataclass(slots=True, eq=False, kw_only=True)
class Call:
    """One request, from its line to its answer.

    Attributes:
        key: which workers may do it.
        identity: as whom.
        environment: of a worker that is started for it.
        body: the request's bytes.
        read: looks into the answer.
        deadline: when it is too late, on the monotonic clock; None for never.
        notes: records a worker that is started for it.
        future: who waits for it.
        is_ready: whether it may be given to a worker.
        is_settled: whether somebody has undertaken to settle its future.
        promised: until when it waits for a place that is made for it, on that clock.
    """

    key: Key
    identity: PosixIdentity
    environment: Environment = field(repr=False)
    body: bytes = field(repr=False)
    read: Callable[[Reply], Any]
    deadline: float | None
    notes: WorkerNotes | None = None
    future: WorkerFuture[Any] = field(init=False)
    is_ready: bool = False
    is_settled: bool = False
    promised: float = 0.0


@dataclass(slots=True, eq=False, kw_only=True)
class Worker:
    """One worker's process.

    Attributes:
        key: what it is for.
        identity: as whom it runs.
        environment: its variables.
        call: what it is doing.
        asked: how many times it was asked; the number of the request.
        idle_since: since when it has nothing to do, on the monotonic clock.
        is_ordered: whether the housekeeper knows that it is to be started.
        is_ending: whether it gets nothing more to do.
        channel: the server's end of its socket.
        child: its process.
        refusal: why it could not even be ordered.
        is_buried: whether what it leaves behind is settled.
        leftovers: descriptors that came from it and that nobody wants.
        hearing: held while what it sends is taken.
        notes: records its start and its end.
    """

    key: Key
    identity: PosixIdentity
    environment: Environment = field(repr=False)
    call: Call | None = None
    asked: int = 0
    idle_since: float = _NEVER
    is_ordered: bool = False
    is_ending: bool = False
    channel: WorkerChannel | None = None
    child: Child | None = None
    refusal: SteadError | None = None
    is_buried: bool = False
    leftovers: list[ReceivedDescriptor | None] = field(default_factory=list)
    hearing: threading.Lock = field(default_factory=threading.Lock)
    notes: WorkerNotes | None = None

    @property
    def is_new(self) -> bool:
        """Whether what it was given is its first."""
        return self.asked == 1

    @property
    def is_idle(self) -> bool:
        """Whether it can be given something to do."""
        return self.call is None and not self.is_ending
