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
from typing import Final

from stead.authority import tokens
from stead.authority.account_policy import AccountPolicy, end_of_time
from stead.authority.fitness import Asking, Fitness, LeasesOfStore, asked_here
from stead.authority.identity import Identity
from stead.authority.leases import SessionLeases
from stead.authority.live_sessions import LiveSessions, SessionWatcher
from stead.authority.numbers import Numbers
from stead.authority.packages import OutboundCredentials
from stead.authority.ports import AccountStore
from stead.authority.roster import Leases, ListedSession
from stead.authority.session import LEASE, Session
from stead.decision.limiting import limit_token
from stead.decision.token_ops import effective_part
from stead.model.limits import TokenLimits
from stead.model.logon_record import LogonRecord, LogonType
from stead.model.luid import NO_LUID, Luid
from stead.model.privilege import Privilege
from stead.model.token import AccessToken, ImpersonationLevel


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

    How one is retained, released, listed and ended is `LiveSessions`'; for how long it
    is believed, and what it shows, `SessionLeases`'.
    """

    def __init__(
        self,
        store: AccountStore,
        *,
        clock: Callable[[], int],
        monotonic: Callable[[], int],
        policy: AccountPolicy | None = None,
        leases: Leases | None = None,
        ask: Asking = asked_here,
        watcher: SessionWatcher | None = None,
    ) -> None:
        self._store = store
        self._number: Final = Numbers(store).take
        self._policy = policy or AccountPolicy()
        self._watcher = watcher
        self._clock = clock
        self._monotonic = monotonic
        table = self._table = LiveSessions(watcher)
        fitness = Fitness(store, leases or LeasesOfStore(store))
        leased = self._leases = SessionLeases(
            table, fitness, ask=ask, clock=clock, monotonic=monotonic
        )
        self.of: Final = leased.of
        self.require_live: Final = leased.require_live
        self.standing: Final = leased.standing
        self.hold: Final = leased.hold
        self.is_up_to_date: Final = leased.is_up_to_date
        self.credentials_of: Final = leased.credentials_of
        self.credentials_session: Final = leased.credentials_session
        self.ends_at: Final = leased.ends_at
        self.end_overdue: Final = leased.end_overdue
        self.expire: Final = leased.expire
        self.retain: Final = table.retain
        self.release: Final = table.release
        self.on_end: Final = table.on_end
        self.end: Final = table.end
        self.end_all_of: Final = table.end_all_of
        self.end_every: Final = table.end_every
        self.outermost: Final = table.outermost
        self.record_of: Final = table.record_of
        self.records: Final = table.records

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
        logon_id, number = self._number(), self._number()
        token = tokens.client_token(
            identity,
            level=level,
            logon_id=logon_id,
            token_id=number,
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
        logon_id, number = self._number(), self._number()
        token = tokens.nobodys_token(logon_id=logon_id, token_id=number)
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
        outer = self.of(token)
        logon_id, number = self._number(), self._number()
        lent = limit_token(
            replace(token, logon_id=logon_id),
            replace(limits, grant=logon_id),
            token_id=number,
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
            outer = self.of(token)
            logon_id, number = self._number(), self._number()
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
        session.at_end(partial(self.release, outer_id))
        self._keep(session)
        # In either order of ends, each is told of the other's and does it once.
        self.on_end(inner_id, self.on_end(outer_id, partial(self.end, inner_id)))
        return session

    def open_server(self, name: str, privileges: tuple[Privilege, ...]) -> Session:
        """Open the session of the server itself: its primary token."""
        logon_id, number = self._number(), self._number()
        token = tokens.server_token(
            name, logon_id=logon_id, token_id=number, privileges=privileges
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
        self._table.add(session)
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
            epoch=self._table.epoch,
            same_at=generation,
        )

    def _keep(self, session: Session) -> Session:
        """Have a session live; what it has is wiped when it ends, whatever ends it."""
        identity, logon_id = session.identity, session.record.logon_id
        self._table.add(session)
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
