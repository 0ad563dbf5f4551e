"""The live sessions of a process: who holds each, and what is told of its end.

Nothing here asks a store, and nothing waits: a finalizer may be what ends a session.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from stead.authority.ceiling import is_within
from stead.authority.ending_lock import EndingLock
from stead.authority.roster import ListedSession
from stead.authority.session import Ending, Session, ended
from stead.model.logon_record import LogonRecord
from stead.model.luid import Luid
from stead.model.sid import Sid
from stead.model.token import AccessToken


class SessionWatcher(Protocol):
    """Hears of sessions, and waits for nothing: a finalizer may be what ends one."""

    def opened(self, session: ListedSession, /) -> None:
        """Hear that a session opened."""
        ...

    def ended(self, logon_id: Luid, /) -> None:
        """Hear that a session ended."""
        ...


class LiveSessions:
    """Sessions by their numbers.

    Args:
        watcher: hears of each that ends.

    Attributes:
        by_id: those that live.
        epoch: how often every lease was ended.
    """

    def __init__(self, watcher: SessionWatcher | None) -> None:
        self.by_id: Final[dict[Luid, Session]] = {}
        self.epoch = 0
        self._watcher = watcher
        self._lock = EndingLock()

    def add(self, session: Session) -> None:
        """Have a session live from now on."""
        with self._lock.held():
            self.by_id[session.record.logon_id] = session

    def find(self, token: AccessToken) -> Session:
        """Return the session that a token belongs to.

        Raises:
            LogonSessionEndedError: it has ended, or never made such a token.
        """
        session = self.by_id.get(token.logon_id)
        if session is None or not is_within(token, session.token):
            raise ended(token)
        return session

    def renew(self, session: Session, generation: int, epoch: int, ends: int) -> None:
        """Begin a session's lease anew, unless it or all leases ended meanwhile.

        Args:
            session: whose.
            generation: the store's when its account was looked at.
            epoch: this table's before that.
            ends: monotonic nanoseconds.
        """
        with self._lock.held():
            session.generation, session.epoch = generation, epoch
            # What ended meanwhile is not undone: `Standing` looks at this alone.
            if (
                epoch == self.epoch
                and self.by_id.get(session.record.logon_id) is session
            ):
                session.lease_ends = ends

    def expire(self) -> None:
        """End every lease."""
        with self._lock.held():
            self.epoch += 1
            for session in self.by_id.values():
                session.lease_ends = 0

    def hold(self, session: Session, token: AccessToken, by: object) -> None:
        """Hold a session that was found by this token; raises if it has ended since."""

        def add() -> None:
            if self.by_id.get(token.logon_id) is not session:
                raise ended(token)
            _add_hold(session, by)

        self._lock.run(add)

    def retain(self, token: AccessToken, by: object) -> None:
        """Hold a session as it is known here: nothing is asked of the store.

        Raises:
            LogonSessionEndedError: it has ended, or never made such a token.
        """

        def add() -> None:
            _add_hold(self.find(token), by)

        self._lock.run(add)

    def release(self, logon_id: Luid, by: object = None) -> bool:
        """Give up one hold; return whether that ended the session.

        Giving up a hold by name again does nothing.
        """

        def drop() -> bool:
            session = self.by_id.get(logon_id)
            if session is None:
                return False
            if by is None:
                session.holds -= 1
            else:
                session.holders.discard(by)
            return session.holds <= 0 and not session.holders and self._take(session)

        return self._lock.run(drop)

    def on_end(self, logon_id: Luid, ending: Ending) -> Callable[[], None]:
        """Call `ending` when the session ends; now, if it has ended.

        It is called once, under no lock of this object, and what it raises is logged.
        A finalizer may be what ends a session, on whatever thread it runs: an ending
        waits for nothing, and takes no lock that this thread might hold already.

        Returns:
            what takes it back, for whatever has ended by itself.
        """
        with self._lock.held():
            session = self.by_id.get(logon_id)
            if session is None:
                self._lock.due.append(ending)
                return _nothing
            key = session.at_end(ending)

        def forget() -> None:
            with self._lock.held():
                session.endings.pop(key, None)

        return forget

    def end(self, logon_id: Luid) -> bool:
        """End a session at once, whoever holds it; False if it had ended."""
        with self._lock.held():
            session = self.by_id.get(logon_id)
            return session is not None and self._take(session)

    def end_all_of(self, user: Sid) -> tuple[LogonRecord, ...]:
        """End every session of a user, at once in this process; return them."""
        with self._lock.held():
            ended = [s for s in self.by_id.values() if s.record.user == user]
            for session in ended:
                self._take(session)
        return tuple(session.record for session in ended)

    def end_every(self) -> None:
        """End every session but the server's own."""
        with self._lock.held():
            for session in [s for s in self.by_id.values() if not s.is_own]:
                self._take(session)

    def end_overdue(self, now: int, monotonic: int) -> None:
        """End the sessions that have had their time, whether or not they are used.

        Args:
            now: nanoseconds since the epoch, UTC.
            monotonic: nanoseconds that never step.
        """
        with self._lock.held():
            for session in list(self.by_id.values()):
                if session.record.logon_id in self.by_id and session.is_over(
                    now, monotonic
                ):
                    self._take(session)

    def outermost(self, logon_id: Luid) -> Luid:
        """Return the session within which a grant's lies; itself, if within none."""
        session = self.by_id.get(logon_id)
        if session is None:
            return logon_id
        *_, outermost = session.outwards()
        return outermost.record.logon_id

    def record_of(self, logon_id: Luid) -> LogonRecord | None:
        """Return what is known of a session of a client's, if it lives here."""
        session = self.by_id.get(logon_id)
        return None if session is None or session.is_own else session.record

    def records(self) -> tuple[LogonRecord, ...]:
        """Return what is known of every live session, oldest first."""
        with self._lock.held():
            return tuple(session.record for session in self.by_id.values())

    def _take(self, session: Session) -> bool:
        """End a session, with the lock held."""
        session.lease_ends = 0
        del self.by_id[session.record.logon_id]
        if self._watcher is not None:
            self._watcher.ended(session.record.logon_id)
        self._lock.due += session.endings.values()
        session.endings.clear()
        # Last: what is connected with them is known to have ended by then.
        self._lock.due += [held.close for held in session.credentials]
        return True


def _add_hold(session: Session, by: object) -> None:
    if by is None:
        session.holds += 1
    else:
        session.holders.add(by)


def _nothing() -> None:
    """Take back what was called already."""
