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
from stead.authority.ceiling import is_within
from stead.authority.fitness import Asking, Fitness, LeasesOfStore, asked_here
from stead.authority.identity import Identity
from stead.authority.live_sessions import LiveSessions, SessionWatcher
from stead.authority.numbers import Numbers
from stead.authority.packages import OutboundCredentials
from stead.authority.ports import AccountStore
from stead.authority.roster import Leases, ListedSession
from stead.authority.session import LEASE, Session, expired, unfit
from stead.authority.standing import Standing
from stead.decision.limiting import is_over as grant_is_over
from stead.decision.limiting import limit_token
from stead.decision.token_ops import effective_part
from stead.errors import LogonSessionEndedError
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

    How one is retained, released, listed and ended is `LiveSessions`'.
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
        self._fitness = Fitness(store, leases or LeasesOfStore(store))
        self._policy = policy or AccountPolicy()
        self._ask = ask
        self._watcher = watcher
        self._clock = clock
        self._monotonic = monotonic
        table = self._table = LiveSessions(watcher)
        self._live: Final = table.by_id
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
        session.endings.append(partial(self.release, outer_id))
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
        session.endings += [held.close for held in session.credentials]
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

    def of(self, token: AccessToken) -> Session:
        """Return the live session that a token belongs to.

        Raises:
            LogonSessionEndedError: it has ended, its account was disabled or has lost
                what the session began with, or no session of this server ever made
                such a token: one of another user or other groups, or of more than the
                session began with.
            StoreUnavailableError: the store cannot say whether it is fit.
        """
        session = self._table.find(token)
        if token.limits is not None or session.over is not None:
            self._require_time_left(token, session)
        if session.outer is not None:
            self.of(session.outer.token)
        if (
            self._monotonic() >= session.lease_ends
            or session.epoch != self._table.epoch
        ):
            self._renew(session)
        return session

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
        ends = (session.ends_at for session in self.of(token).outwards())
        return min((end for end in ends if end is not None), default=None)

    def _of_credentials(self, token: AccessToken) -> Session:
        *_, session = self.of(token).outwards(to_credentials=True)
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

    def standing(self, token: AccessToken) -> Standing | None:
        """Return what tells for how long a token's session is believed; asks nobody.

        Returns:
            None if `of` looks at more than the session's lease: it lies within another
            one, or the token has limits. None too if it does not live.
        """
        session = self._live.get(token.logon_id)
        if session is None or session.outer is not None or token.limits is not None:
            return None
        if not is_within(token, session.token):
            return None
        return Standing(session, self._clock, self._monotonic)

    def hold(self, token: AccessToken, by: object = None) -> None:
        """Keep the token's session alive until `release`.

        Args:
            token: whose session.
            by: who holds it, by which an interrupted hold can be undone; None for
                somebody who counts by itself.

        Raises:
            LogonSessionEndedError, StoreUnavailableError: as `of` does.
        """
        self._table.hold(self.of(token), token, by)

    def end_overdue(self) -> None:
        """End the sessions that have had their time, whether or not they are used."""
        self._table.end_overdue(self._clock(), self._monotonic())

    def expire(self) -> None:
        """End every lease: what was just changed in the store counts at once."""
        self._table.expire()

    def _renew(self, session: Session) -> None:
        # Read before the store is: a change from here on expires this lease too.
        epoch, begins = self._table.epoch, self._monotonic()
        try:
            generation = self._ask(partial(self._fitness.renew, session))
        except LogonSessionEndedError:
            self.end(session.record.logon_id)
            raise
        if generation is None:
            self.end(session.record.logon_id)
            raise unfit(session.record.name)
        self._table.renew(session, generation, epoch, begins + LEASE)
