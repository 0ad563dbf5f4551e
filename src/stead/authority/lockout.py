"""Counting logons that fail, slowing the answers, and locking a name for a while.

A failure is counted before anybody knows that it is one, and taken back by success: so
however many guesses run at once, in however many processes, no more of them than the
threshold are ever compared with a password in one window.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from stead.authority.credential_ports import CredentialStore
from stead.authority.ports import LogonFailures

_SECOND: Final = 1_000_000_000
_MOST_DOUBLINGS: Final = 62


@dataclass(frozen=True, slots=True)
class LockoutPolicy:
    """How many failures lock a name, and how long each answer takes.

    The first three are Windows' default of 10 failures in 10 minutes for 10 minutes.

    Attributes:
        threshold: failures that lock the name; 0 locks none.
        window: seconds after which the first failure is forgotten, with the others.
        duration: seconds for which a name is locked.
        first_delay: seconds by which the first failure's answer is late; doubled by
            each one after it.
        longest_delay: seconds by which an answer is late at most.
        most_waiting: how many threads of the program's own wait for late answers at
            once. Those of all others are answered earlier, and count alike. Have a web
            server with more threads than that.
    """

    threshold: int = 10
    window: float = 600.0
    duration: float = 600.0
    first_delay: float = 0.1
    longest_delay: float = 2.0
    most_waiting: int = 2

    def delay(self, count: int) -> float:
        """Return by how many seconds the answer to a name's failure is late."""
        doublings = min(max(count - 1, 0), _MOST_DOUBLINGS)
        return float(min(self.longest_delay, self.first_delay * 2**doublings))


@dataclass(frozen=True, slots=True)
class Reservation:
    """One attempt, counted as a failure until it is known to be none.

    Attributes:
        count: failures of the name, this one included.
        is_locked: whether the name was locked before this attempt.
    """

    count: int
    is_locked: bool


@dataclass(frozen=True, slots=True)
class Lockout:
    """The failures of every name, in a store.

    Attributes:
        store: where they are kept.
        policy: when a name is locked.
        clock: nanoseconds since the epoch, UTC.
    """

    store: CredentialStore
    policy: LockoutPolicy
    clock: Callable[[], int]

    def reserve(self, key: str) -> Reservation:
        """Count an attempt as a failure before it is one; tell whether it may go on.

        The attempt that reaches the threshold locks the name and goes on itself:
        success will unlock it.

        Every process sees it now. It is durable before anybody hears what came of the
        attempt: `fail` and the record of a logon wait for the disk, and this does not,
        so that the disk is at work while the password is (docs/adr/0099).
        """
        now, made = self.clock(), Reservation(0, is_locked=False)

        def change(found: LogonFailures | None) -> LogonFailures:
            nonlocal made
            kept = self._in_force(found, now)
            if kept is not None and kept.locked_until > now:
                # A lock is not made longer by who knocks meanwhile.
                made = Reservation(kept.count, is_locked=True)
                return replace(kept, last_at=now)
            count = 1 if kept is None else kept.count + 1
            made = Reservation(count, is_locked=False)
            first_at = now if kept is None else kept.first_at
            return LogonFailures(count, first_at, now, self._lock(count, now))

        self.store.change_failures(key, change, is_awaited=False)
        return made

    def fail(self, key: str, reservation: Reservation) -> bool:
        """Let the reserved failure stand; return whether it is what locked the name."""
        now = self.clock()

        def change(found: LogonFailures | None) -> LogonFailures:
            # Cleared meanwhile by a success elsewhere: this failure is the first since.
            kept = found or LogonFailures(1, now, now)
            if reservation.is_locked:
                return replace(kept, last_at=now)
            return replace(kept, last_at=now, locked_until=self._lock(kept.count, now))

        self.store.change_failures(key, change)
        return (
            not reservation.is_locked
            and reservation.count == self.policy.threshold  # 0 counts nothing
        )

    def forgive(self, key: str) -> None:
        """Take one failure of a name back: nobody could tell whether it was one."""

        def change(found: LogonFailures | None) -> LogonFailures | None:
            if found is None or found.count <= 1:
                return None
            count = found.count - 1
            until = found.locked_until if self._lock(count, found.last_at) else 0
            return replace(found, count=count, locked_until=until)

        self.store.change_failures(key, change)

    def clear(self, key: str) -> None:
        """Forget a name's failures: it is unlocked."""
        self.store.change_failures(key, lambda _found: None)

    def succeed(self, key: str) -> None:
        """Forget a name's failures: it is logged on.

        Without power, they are back: that lets in nobody.
        """
        self.store.change_failures(key, lambda _found: None, is_awaited=False)

    def locked(self) -> dict[str, int]:
        """Return the keys of the names that are locked now, and until when."""
        now = self.clock()
        kept = (
            (key, self._in_force(one, now))
            for key, one in self.store.failures().items()
        )
        return {
            key: one.locked_until
            for key, one in kept
            if one is not None and one.locked_until > now
        }

    def _lock(self, count: int, now: int) -> int:
        if self.policy.threshold and count >= self.policy.threshold:
            return now + int(self.policy.duration * _SECOND)
        return 0

    def _in_force(self, found: LogonFailures | None, now: int) -> LogonFailures | None:
        """Return what still counts: not what is older than the window or the lock."""
        if found is None:
            return None
        if found.locked_until:
            # A clock that was put back does not lock anybody for longer than this.
            latest = now + int(self.policy.duration * _SECOND)
            until = min(found.locked_until, latest)
            return replace(found, locked_until=until) if until > now else None
        # By a clock that was put back since, it is as far from now on the other side.
        if abs(now - found.first_at) > int(self.policy.window * _SECOND):
            return None
        return found
