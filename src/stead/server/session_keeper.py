"""Keeps the list of this process's sessions, and hears of those that others ended.

A thread of its own writes down what opened and ended since the last time, once a second
and only if anything did: no logon waits for it, and a session that is over within that
second costs no write at all. A process that has sessions gives a sign of life every ten
seconds. One that gives none for a minute is given up by the others, by their own
clocks: whatever it does after that, its sessions are over. A minute in which whoever
looks stood still itself does not count: what paused it may have paused them all.

Sessions that have had their time are ended by another thread, which asks the store
nothing: what they keep is wiped within a second also while the store does not answer.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Final, Protocol

from stead.authority.roster import ListedSession, ServerProcess, SessionRoster
from stead.errors import LogonSessionEndedError, SteadError
from stead.model.luid import Luid
from stead.model.sid import Sid

_log: Final = logging.getLogger("stead.server")

TICK_SECONDS: Final = 1.0
BEAT_SECONDS: Final = 10.0
GIVEN_UP_SECONDS: Final = 60.0
_STOOD_STILL_SECONDS: Final = 30.0  # between two looks: no store takes so long


@dataclass(slots=True, eq=False)
class _Changes:
    """What is still to be written down."""

    opened: dict[Luid, ListedSession] = field(default_factory=dict)
    ended: set[Luid] = field(default_factory=set)

    def add(self, change: ListedSession | Luid) -> None:
        if isinstance(change, ListedSession):
            self.opened[change.record.logon_id] = change
        elif self.opened.pop(change, None) is None:
            self.ended.add(change)

    def __bool__(self) -> bool:
        return bool(self.opened or self.ended)


class OwnSessions(Protocol):
    """The sessions of this process."""

    def end(self, logon_id: Luid, /) -> bool:
        """End one at once; False if it had ended."""
        ...

    def end_every(self) -> object:
        """End all but the server's own."""
        ...

    def end_overdue(self) -> object:
        """End those that have had their time."""
        ...


class SessionKeeper:
    """The roster's hand in this process; it is its `Leases` and what sessions tell.

    Args:
        name: the server's.
        host: where it runs.
        roster: where sessions are written down.
        allocate: gives out numbers.
        clock: nanoseconds since the epoch, UTC.
        tick: seconds between two looks.
    """

    def __init__(
        self,
        name: str,
        host: str,
        roster: SessionRoster,
        *,
        allocate: Callable[[], Luid],
        clock: Callable[[], int],
        tick: float = TICK_SECONDS,
    ) -> None:
        self._name, self._host = name, host
        self._roster = roster
        self._allocate = allocate
        self._clock = clock
        self._tick = tick
        self._number: Luid | None = None
        self._told: SimpleQueue[ListedSession | Luid] = SimpleQueue()
        self._changes = _Changes()
        self._beat_at = 0.0
        self._looked_at = 0.0
        self._others = _Others()
        self._is_silent = False
        self._closing = threading.Event()
        self._threads: list[threading.Thread] = []

    # --- what sessions tell: waits for nothing ----------------------------------------

    def opened(self, session: ListedSession) -> None:
        """Hear that a session opened."""
        self._told.put(session)

    def ended(self, logon_id: Luid) -> None:
        """Hear that a session ended."""
        self._told.put(logon_id)

    # --- leases -----------------------------------------------------------------------

    def generation(self) -> int:
        """Return the store's generation by now; see `Leases`."""
        found = self._roster.generation(self._number)
        if found is None:
            raise LogonSessionEndedError(
                "other processes have given this one up, which ended its sessions",
                advice="log the client on again",
            )
        return found

    def was_ended(self, logon_id: Luid, user: Sid | None, generation: int) -> bool:
        """Tell whether somebody ended a session; see `Leases`."""
        return self._roster.was_ended(logon_id, user, generation)

    # --- its threads ------------------------------------------------------------------

    def start(self, sessions: OwnSessions) -> None:
        """Start the threads, which look after these sessions."""
        for work in (self._work, self._watch_time):
            thread = threading.Thread(
                target=work, args=(sessions,), name=f"{self._name}-sessions"
            )
            thread.daemon = True
            thread.start()
            self._threads.append(thread)

    def close(self) -> None:
        """Strike this process off, and end the threads."""
        self._closing.set()
        for thread in self._threads:
            thread.join(BEAT_SECONDS)

    def _watch_time(self, sessions: OwnSessions) -> None:
        while not self._closing.wait(self._tick):
            try:
                sessions.end_overdue()
            except Exception:  # noqa: BLE001 - time is up for others, too, later on
                _log.exception("sessions that have had their time cannot be ended")

    def _work(self, sessions: OwnSessions) -> None:
        while not self._closing.wait(self._tick):
            try:
                self.look(sessions)
            except Exception as error:  # noqa: BLE001 - a process without signs of life
                self._say(error)  # is given up, with all that it opens from then on
            else:
                self._is_silent = False
        try:
            if self._number is not None:
                self._roster.leave(self._number)
        except SteadError as error:
            self._say(error)

    def look(self, sessions: OwnSessions) -> None:
        """Write down what changed, and end what others ended.

        Raises:
            StoreUnavailableError: what changed is kept for the next time; or the store
                is another by now, which is seen here also while nobody asks.
        """
        self._hear()
        if self._number is None and self._changes.opened:
            self._number = self._enter()
        number = self._number
        if number is None:
            return
        try:
            self._tell(number)
        finally:
            # Also while this process can write nothing: others may, and end sessions.
            self._heed(number, sessions)

    def _tell(self, number: Luid) -> None:
        """Write down what changed, and give a sign of life when it is due."""
        now = time.monotonic()
        if now - self._looked_at >= _STOOD_STILL_SECONDS:
            self._others = _Others()
        self._looked_at = now
        is_due = now - self._beat_at >= BEAT_SECONDS
        is_known = not (self._changes or is_due) or self._write(number)
        if is_due and is_known:
            self._beat_at = now
            self._give_up_others(number, now)

    def _heed(self, number: Luid, sessions: OwnSessions) -> None:
        """End what others ended: some sessions, or all, with this process."""
        if self._roster.generation(number) is None:
            self._start_anew(sessions)
            return
        for logon_id in self._roster.ended_of(number):
            sessions.end(logon_id)

    def _hear(self) -> None:
        while True:
            try:
                self._changes.add(self._told.get_nowait())
            except Empty:
                return

    def _enter(self) -> Luid:
        number = self._allocate()
        process = ServerProcess(
            number, self._name, self._host, os.getpid(), self._clock()
        )
        self._roster.enter(process, self._clock())
        return number

    def _write(self, number: Luid) -> bool:
        changes = self._changes
        is_known = self._roster.write(
            number, changes.opened.values(), changes.ended, self._clock()
        )
        self._changes = _Changes()
        return is_known

    def _start_anew(self, sessions: OwnSessions) -> None:
        """Take it that this process was given up: nothing of before goes on."""
        _log.error("other processes gave this one up: its sessions end")
        sessions.end_every()
        self._number = None
        # What was heard of by now is of before. What opened in between ends as well,
        # and what opens after that is written down: nobody ends what nobody sees.
        self._hear()
        self._changes = _Changes()
        sessions.end_every()

    def _give_up_others(self, number: Luid, now: float) -> None:
        for other in self._others.silent(self._roster.beats(), now):
            if other != number:
                _log.warning("process %s gives no sign of life: given up", other)
                self._roster.leave(other)

    def _say(self, error: Exception) -> None:
        if not self._is_silent:
            more = None if isinstance(error, SteadError) else error
            words = "sessions cannot be written down: %s"
            _log.warning(words, error, exc_info=more)
        self._is_silent = True


class _Others:
    """When this process saw each other one give a sign of life, by its own clock."""

    def __init__(self) -> None:
        self._seen: dict[Luid, tuple[int, float]] = {}

    def silent(self, beats: dict[Luid, int], now: float) -> list[Luid]:
        """Return those that have given no sign of life for too long."""
        self._seen = {
            number: seen
            if (seen := self._seen.get(number)) is not None and seen[0] == count
            else (count, now)
            for number, count in beats.items()
        }
        return [
            number
            for number, (_, at) in self._seen.items()
            if now - at >= GIVEN_UP_SECONDS
        ]
