"""Which sessions live, and which were ended, in every process that shares a store.

A process writes its sessions down soon after they open, many at a time; what is written
is for people to read. What ends a session of another process is written by itself, and
is looked at whenever a lease is renewed: so it holds for every session, written down or
not, as soon as its lease is over.

A process that gives no sign of life is given up by the others. If it lives after all,
it finds so with the next lease, and all its sessions end.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

from stead.model.logon_record import LogonRecord
from stead.model.luid import Luid
from stead.model.sid import Sid


@dataclass(frozen=True, slots=True)
class ServerProcess:
    """A process that has logon sessions.

    Attributes:
        number: given out by the store, to it alone.
        name: what its server is called.
        host: where it runs.
        pid: its number there.
        started_at: nanoseconds since the epoch, UTC.
    """

    number: Luid
    name: str
    host: str
    pid: int
    started_at: int


@dataclass(frozen=True, slots=True)
class ListedSession:
    """A session of some process.

    Attributes:
        record: what is known of it.
        generation: the store's, before its client was identified.
    """

    record: LogonRecord
    generation: int


@dataclass(frozen=True, slots=True)
class FoundSession:
    """A session as another process finds it.

    Attributes:
        record: what is known of it.
        process: whose it is.
        seen_at: nanoseconds since the epoch, UTC, of that process's last sign of life.
    """

    record: LogonRecord
    process: ServerProcess
    seen_at: int


class Leases(Protocol):
    """What is asked when a lease is over."""

    def generation(self) -> int:
        """Return the store's generation by now.

        Raises:
            StoreUnavailableError: it cannot be asked, or what is there is not the
                store that was opened.
            LogonSessionEndedError: this process was given up by the others.
        """
        ...

    def was_ended(self, logon_id: Luid, user: Sid | None, generation: int) -> bool:
        """Tell whether somebody ended a session, or all of its user's.

        Args:
            logon_id: its number.
            user: whose it is; None for one that ends with another.
            generation: the store's, before its client was identified.

        Raises:
            StoreUnavailableError: as `generation` does.
        """
        ...


class SessionRoster(Protocol):
    """Where processes write down their sessions."""

    def enter(self, process: ServerProcess, now: int) -> None:
        """Write down a process."""
        ...

    def leave(self, number: Luid) -> None:
        """Forget a process that ends, or is given up, with its sessions."""
        ...

    def write(
        self,
        number: Luid,
        opened: Collection[ListedSession],
        ended: Collection[Luid],
        now: int,
    ) -> bool:
        """Write down what changed, as a sign of life; False if it was given up."""
        ...

    def beats(self) -> dict[Luid, int]:
        """Return how many signs of life each process gave."""
        ...

    def generation(self, number: Luid | None) -> int | None:
        """Return the store's generation; None if this process was given up.

        Raises:
            StoreUnavailableError: it cannot be asked, or is another one by now.
        """
        ...

    def was_ended(self, logon_id: Luid, user: Sid | None, generation: int) -> bool:
        """Tell whether a session was ended; see `Leases`."""
        ...

    def ended_of(self, number: Luid) -> tuple[Luid, ...]:
        """Return the sessions of a process that were ended and are written down."""
        ...

    def sessions(self) -> tuple[FoundSession, ...]:
        """Return every session that is written down, oldest first."""
        ...

    def session(self, logon_id: Luid) -> FoundSession | None:
        """Return the session of a number, if it is written down."""
        ...

    def numbers_of(self, user: Sid) -> frozenset[Luid]:
        """Return the numbers of a user's sessions that are written down."""
        ...


class SessionEnds(Protocol):
    """Where sessions of any process are ended; durable when a call returns."""

    def end_session(self, logon_id: Luid) -> None:
        """End one."""
        ...

    def end_sessions_of(self, user: Sid) -> None:
        """End all of a user's that there are by now."""
        ...
