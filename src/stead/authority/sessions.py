"""Logon sessions: opened, held, alive for a lease at a time, ended ([MS-LSAD], LSA).

A session lives as long as somebody holds it *and* its account stays fit. Whoever
opened it holds it, and so does whatever acts for it: a block in force, a process, a
function at work in a worker. An account that is disabled, or that lost a group, a
privilege or the right by which it logged on, ends its sessions: at once if this process
made the change, with the lease if another one did. A token whose session does not live
is refused before anything else is looked at.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Protocol, TypeVar

from stead.authority import tokens
from stead.authority.account_policy import AccountPolicy, end_of_time
from stead.authority.ceiling import is_within
from stead.authority.ending_lock import EndingLock
from stead.authority.fitness import Fitness, LeasesOfStore
from stead.authority.identity import Identity
from stead.authority.packages import OutboundCredentials
from stead.authority.ports import AccountStore
from stead.authority.roster import Leases, ListedSession
from stead.authority.session import LEASE, Ending, Session, ended, expired
from stead.decision.limiting import is_over as grant_is_over
from stead.decision.limiting import limit_token
from stead.decision.token_ops import effective_part
from stead.errors import LogonSessionEndedError
from stead.model.limits import TokenLimits
from stead.model.logon_record import LogonRecord, LogonType
from stead.model.luid import NO_LUID, Luid
from stead.model.privilege import Privilege
from stead.model.sid import Sid
from stead.model.token import (
    AccessToken,
    ImpersonationLevel,
)

_T = TypeVar("_T")


class Asking(Protocol):
    """Asks something of the store, for not too long."""

    def __call__(self, act: Callable[[], _T], /) -> _T:
        """Return what `act` returns; raises `StoreUnavailableError` in time."""
        ...


def _asked_here(act: Callable[[], _T], /) -> _T:
    return act()


class SessionWatcher(Protocol):
    """Hears of sessions, and waits for nothing: a finalizer may be what ends one."""

    def opened(self, session: ListedSession, /) -> None:
        """Hear that a session opened."""
        ...

    def ended(self, logon_id: Luid, /) -> None:
        """Hear that a session ended."""
        ...


class Sessions:
    """The live sessions of one server.

    Args:
        store: where accounts live and numbers are allocated.
        clock: nanoseconds since the epoch, UTC.
        monotonic: nanoseconds that never step.
        policy: whether sessions end when their accounts may log on no more.
        leases: which sessions others ended; None where no other process could.
        ask: asks the store whether a lease may be renewed, and for not too long.
        watcher: hears of each.
    """

    def __init__(
        self,
        store: AccountStore,
        *,
        clock: Callable[[], int],
        monotonic: Callable[[], int],
        policy: AccountPolicy | None = None,
        leases: Leases | None = None,
        ask: Asking = _asked_here,
        watcher: SessionWatcher | None = None,
    ) -> None:
        self._store = store
        self._fitness = Fitness(store, leases or LeasesOfStore(store))
        self._policy = policy or AccountPolicy()
        self._ask = ask
        self._watcher = watcher
        self._clock = clock
        self._monotonic = monotonic
        self._live: dict[Luid, Session] = {}
        self._epoch = 0
        self._lock = EndingLock()

    def open(
        self,
        identity: Identity,
        *,
        level: ImpersonationLevel,
        package: str,
        authenticated_by: str,
        origin: Luid = NO_LUID,
        effective_only: bool = False,
        credentials: tuple[OutboundCredentials, ...] = (),
        expires: int | None = None,
    ) -> Session:
        """Open a session for somebody who was authenticated, and build its token.

        Whoever opens it holds it. The credentials are the session's from here on.

        Args:
            identity: who.
            level: how far the client lets the server go.
            package: what authenticated the client.
            authenticated_by: who vouches for it.
            origin: the session that had its credentials.
            effective_only: whether the token holds what is enabled and nothing else.
            credentials: what the client gave, to reach other machines as it.
            expires: nanoseconds since the epoch, UTC, at which it ends by itself.
        """
        logon_id = self._store.allocate_luid()
        token = tokens.client_token(
            identity,
            level=level,
            logon_id=logon_id,
            token_id=self._store.allocate_luid(),
            origin=origin,
        )
        if effective_only:
            token = effective_part(token)
        is_known = token.user == identity.user  # a client may come as nobody
        record = LogonRecord(
            logon_id=logon_id,
            user=token.user,
            name=identity.name if is_known else "ANONYMOUS LOGON",
            logon_type=identity.logon_type,
            package=package,
            authenticated_by=authenticated_by,
            opened_at=self._clock(),
        )
        session = self._begun(record, token, identity if is_known else None)
        session.credentials = credentials
        self._set_end(session, expires, self._end_of_account(identity))
        return self._keep(session)

    def _end_of_account(self, identity: Identity) -> int | None:
        """Return when the account's hours or time are over, if that ends sessions."""
        if identity.account is None or not self._policy.force_logoff:
            return None
        return end_of_time(identity.account, self._clock())

    def _set_end(self, session: Session, *moments: int | None) -> None:
        """Have a session end by itself at the first of these, by either clock."""
        session.ends_at = min((m for m in moments if m is not None), default=None)
        if session.ends_at is not None:
            session.over = self._monotonic() + session.ends_at - self._clock()

    def open_anonymous(self) -> Session:
        """Open a session of nobody's (Win32: the anonymous logon session)."""
        logon_id = self._store.allocate_luid()
        token = tokens.nobodys_token(
            logon_id=logon_id, token_id=self._store.allocate_luid()
        )
        record = LogonRecord(
            logon_id, token.user, "ANONYMOUS LOGON", LogonType.NETWORK, "none", "",
            self._clock(),
        )  # fmt: skip
        return self._keep_own(record, token)

    def open_limited(self, token: AccessToken, limits: TokenLimits) -> Session:
        """Open a session within a token's own, whose ceiling is the token limited.

        Whatever ends the outer session ends it, and so does the time at which the
        limits expire. It holds the outer one as long as it lives. Its number is the
        grant's.

        Raises:
            LogonSessionEndedError, StoreUnavailableError: as `of` does.
            InvalidRequestError: the limits cannot be put on the token.
        """
        outer, logon_id = self.of(token), self._store.allocate_luid()
        lent = limit_token(
            replace(token, logon_id=logon_id),
            replace(limits, grant=logon_id),
            token_id=self._store.allocate_luid(),
        )
        self.hold(token)
        record = replace(outer.record, logon_id=logon_id, opened_at=self._clock())
        session = self._begun(record, lent, None)
        session.lends_out = False
        self._set_end(session, limits.expires)
        return self._keep_within(session, outer)

    def open_new_credentials(
        self, token: AccessToken, credentials: tuple[OutboundCredentials, ...]
    ) -> Session:
        """Open a session with a copy of a token, and other credentials for the network.

        Here it is who the token's client is; elsewhere, whom the credentials say
        (Win32: LOGON32_LOGON_NEW_CREDENTIALS). Whatever ends the token's own session
        ends it. It holds that one as long as it lives.

        Args:
            token: what is copied: type, level and limits too.
            credentials: the session's from here on; wiped if none opens.

        Raises:
            LogonSessionEndedError, StoreUnavailableError: as `of` does.
        """
        try:
            outer, logon_id = self.of(token), self._store.allocate_luid()
            number = self._store.allocate_luid()
            copied = replace(token, logon_id=logon_id, token_id=number)
            record = replace(
                outer.record,
                logon_id=logon_id,
                logon_type=LogonType.NEW_CREDENTIALS,
                opened_at=self._clock(),
            )
            self.hold(token)
        except BaseException:
            for held in credentials:
                held.close()
            raise
        session = self._begun(record, copied, None)
        session.credentials = credentials
        return self._keep_within(session, outer)

    def _keep_within(self, session: Session, outer: Session) -> Session:
        """Keep a session that lies within another, which is held for it already."""
        session.outer, session.posix = outer, outer.posix
        inner_id, outer_id = session.record.logon_id, outer.record.logon_id
        session.endings.append(partial(self.release, outer_id))
        self._keep(session)
        # In either order of ends, each is told of the other's and does it once.
        self.on_end(inner_id, self.on_end(outer_id, partial(self.end, inner_id)))
        return session

    def open_server(self, name: str, privileges: tuple[Privilege, ...]) -> Session:
        """Open the session of the server itself: its primary token."""
        logon_id = self._store.allocate_luid()
        token = tokens.server_token(
            name,
            logon_id=logon_id,
            token_id=self._store.allocate_luid(),
            privileges=privileges,
        )
        record = LogonRecord(
            logon_id, token.user, name, LogonType.SERVICE, "self", "itself",
            self._clock(),
        )  # fmt: skip
        return self._keep_own(record, token)

    def _keep_own(self, record: LogonRecord, token: AccessToken) -> Session:
        """Keep a session of the server's, which is nobody else's to see or end."""
        session = self._begun(record, token, None)
        session.is_own = True
        with self._lock.held():
            self._live[record.logon_id] = session
        return session

    def _begun(
        self, record: LogonRecord, token: AccessToken, identity: Identity | None
    ) -> Session:
        generation = 0 if identity is None else identity.generation
        return Session(
            record=record,
            token=token,
            posix=None if identity is None else identity.posix,
            identity=identity,
            generation=generation,
            lease_ends=self._monotonic() + LEASE,
            epoch=self._epoch,
            same_at=generation,
        )

    def _keep(self, session: Session) -> Session:
        """Have a session live; what it has is wiped when it ends, whatever ends it."""
        identity, logon_id = session.identity, session.record.logon_id
        session.endings += [held.close for held in session.credentials]
        with self._lock.held():
            self._live[logon_id] = session
        try:
            if self._watcher is not None:
                listed = ListedSession(session.record, session.identified_at)
                self._watcher.opened(listed)
            if identity and self._store.generation() != identity.generation:
                # Something was changed after it was identified: look again first.
                session.lease_ends = 0
        except BaseException:
            self.end(logon_id)
            raise
        return session

    def of(self, token: AccessToken) -> Session:
        """Return the live session that a token belongs to.

        Raises:
            LogonSessionEndedError: it has ended, its account was disabled or has lost
                what the session began with, or no session of this server ever made
                such a token: one of another user or other groups, or of more than the
                session began with.
            StoreUnavailableError: the store cannot say whether it is fit.
        """
        session = self._live.get(token.logon_id)
        if session is None or not is_within(token, session.token):
            raise ended(token)
        if token.limits is not None or session.over is not None:
            self._require_time_left(token, session)
        if session.outer is not None:
            self.of(session.outer.token)
        if self._monotonic() >= session.lease_ends or session.epoch != self._epoch:
            self._renew(session)
        return session

    def outermost(self, logon_id: Luid) -> Luid:
        """Return the session within which a grant's lies; itself, if within none."""
        session = self._live.get(logon_id)
        while session is not None and session.outer is not None:
            session = session.outer
        return logon_id if session is None else session.record.logon_id

    def is_up_to_date(self, token: AccessToken) -> bool:
        """Tell whether a new logon would give the client what its session has.

        A session that has ended counts as such: whoever ended it meant it.

        Raises:
            StoreUnavailableError: the store cannot say.
        """
        session = self._live.get(token.logon_id)
        return session is None or self._ask(
            partial(self._fitness.is_up_to_date, session)
        )

    def credentials_of(self, token: AccessToken) -> tuple[OutboundCredentials, ...]:
        """Return what a token's session has to show to other machines.

        A grant's are those of whoever's token was limited.

        Raises:
            LogonSessionEndedError, StoreUnavailableError: as `of` does.
        """
        return self._of_credentials(token).credentials

    def credentials_session(self, token: AccessToken) -> Luid:
        """Return the number of the session whose credentials a token's session shows.

        What is kept of connections that they opened is kept by it, and ends with it.

        Raises:
            LogonSessionEndedError, StoreUnavailableError: as `of` does.
        """
        return self._of_credentials(token).record.logon_id

    def ends_at(self, token: AccessToken) -> int | None:
        """Return when a token's session ends by itself, or what it lies within does.

        That is nanoseconds since the epoch, UTC; None for never.

        Raises:
            LogonSessionEndedError, StoreUnavailableError: as `of` does.
        """
        session: Session | None = self.of(token)
        ends: list[int] = []
        while session is not None:
            ends += [] if session.ends_at is None else [session.ends_at]
            session = session.outer
        return min(ends, default=None)

    def _of_credentials(self, token: AccessToken) -> Session:
        session = self.of(token)
        while session.outer is not None and not session.lends_out:
            session = session.outer
        return session

    def _require_time_left(self, token: AccessToken, session: Session) -> None:
        """End a session that has had its time."""
        now = self._clock()
        is_over = session.is_over(now, self._monotonic())
        if is_over or grant_is_over(session.token, now):
            self.end(session.record.logon_id)
        elif not grant_is_over(token, now):
            return
        raise expired(token)

    def require_live(self, token: AccessToken) -> None:
        """Return if the token's session lives; raises as `of` does."""
        self.of(token)

    # --- who holds it -----------------------------------------------------------------

    def hold(self, token: AccessToken, by: object = None) -> None:
        """Keep the token's session alive until `release`.

        Args:
            token: whose session.
            by: who holds it, by which an interrupted hold can be undone; None for
                somebody who counts by itself.

        Raises:
            LogonSessionEndedError, StoreUnavailableError: as `of` does.
        """
        session = self.of(token)

        def add() -> None:
            if self._live.get(token.logon_id) is not session:
                raise ended(token)
            _add_hold(session, by)

        self._lock.run(add)

    def retain(self, token: AccessToken, by: object) -> None:
        """Hold a session as it is known here: nothing is asked of the store.

        Raises:
            LogonSessionEndedError: it has ended, or never made such a token.
        """

        def add() -> None:
            session = self._live.get(token.logon_id)
            if session is None or not is_within(token, session.token):
                raise ended(token)
            _add_hold(session, by)

        self._lock.run(add)

    def release(self, logon_id: Luid, by: object = None) -> bool:
        """Give up one hold; return whether that ended the session.

        Giving up a hold by name again does nothing.
        """

        def drop() -> bool:
            session = self._live.get(logon_id)
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
            session = self._live.get(logon_id)
            if session is None:
                self._lock.due.append(ending)
                return _nothing
            session.endings.append(ending)

        def forget() -> None:
            with self._lock.held():
                if ending in session.endings:
                    session.endings.remove(ending)

        return forget

    def end(self, logon_id: Luid) -> bool:
        """End a session at once, whoever holds it; False if it had ended."""
        with self._lock.held():
            session = self._live.get(logon_id)
            return session is not None and self._take(session)

    def end_all_of(self, user: Sid) -> tuple[LogonRecord, ...]:
        """End every session of a user, at once in this process; return them."""
        with self._lock.held():
            ended = [s for s in self._live.values() if s.record.user == user]
            for session in ended:
                self._take(session)
        return tuple(session.record for session in ended)

    def end_every(self) -> None:
        """End every session but the server's own."""
        with self._lock.held():
            for session in [s for s in self._live.values() if not s.is_own]:
                self._take(session)

    def end_overdue(self) -> None:
        """End the sessions that have had their time, whether or not they are used."""
        now, monotonic = self._clock(), self._monotonic()
        with self._lock.held():
            for session in list(self._live.values()):
                if session.record.logon_id in self._live and session.is_over(
                    now, monotonic
                ):
                    self._take(session)

    def expire(self) -> None:
        """End every lease: what was just changed in the store counts at once."""
        with self._lock.held():
            self._epoch += 1

    def record_of(self, logon_id: Luid) -> LogonRecord | None:
        """Return what is known of a session of a client's, if it lives here."""
        session = self._live.get(logon_id)
        return None if session is None or session.is_own else session.record

    def records(self) -> tuple[LogonRecord, ...]:
        """Return what is known of every live session, oldest first."""
        with self._lock.held():
            return tuple(session.record for session in self._live.values())

    def _take(self, session: Session) -> bool:
        """End a session, with the lock held."""
        del self._live[session.record.logon_id]
        if self._watcher is not None:
            self._watcher.ended(session.record.logon_id)
        self._lock.due += session.endings
        session.endings.clear()
        return True

    # --- whether it is fit ------------------------------------------------------------

    def _renew(self, session: Session) -> None:
        # Read before the store is: a change from here on expires this lease too.
        epoch, begins = self._epoch, self._monotonic()
        try:
            generation = self._ask(partial(self._fitness.renew, session))
        except LogonSessionEndedError:
            self.end(session.record.logon_id)
            raise
        if generation is None:
            self.end(session.record.logon_id)
            raise LogonSessionEndedError(
                f"account `{session.record.name}` was changed or disabled, or its "
                "session ended by somebody, which ended its sessions",
                advice="log the client on again",
            )
        session.generation, session.epoch = generation, epoch
        session.lease_ends = begins + LEASE


def _add_hold(session: Session, by: object) -> None:
    if by is None:
        session.holds += 1
    else:
        session.holders.add(by)


def _nothing() -> None:
    """Take back what was called already."""
