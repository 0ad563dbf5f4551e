"""Logon sessions: opened, held, alive for a lease at a time, ended ([MS-LSAD], LSA).

A session lives as long as somebody holds it *and* its account stays fit. Whoever
opened it holds it, and so does whatever acts for it: a block in force, a process, a
function at work in a worker. An account that is disabled, or that lost a group, a
privilege or the right by which it logged on, ends its sessions: at once if this process
made the change, with the lease if another one did. A token whose session does not live
is refused before anything else is looked at.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final, TypeVar

from stead.authority import tokens
from stead.authority.ceiling import is_within
from stead.authority.identity import Identity, identify_again, require_logon_right
from stead.authority.packages import OutboundCredentials
from stead.authority.ports import AccountStore
from stead.decision.limiting import is_over as grant_is_over
from stead.decision.limiting import limit_token
from stead.decision.token_ops import effective_part
from stead.errors import (
    AccountDisabledError,
    InvalidNameError,
    LogonSessionEndedError,
    LogonTypeNotGrantedError,
    TooManyGroupsError,
    UnknownAccountError,
)
from stead.model.limits import TokenLimits
from stead.model.logon_record import LogonRecord, LogonType
from stead.model.luid import NO_LUID, Luid
from stead.model.posix_identity import PosixIdentity
from stead.model.privilege import Privilege
from stead.model.sid import Sid
from stead.model.token import (
    AccessToken,
    ImpersonationLevel,
)

_log: Final = logging.getLogger("stead.authority")

_T = TypeVar("_T")

LEASE: Final = 1_000_000_000
"""Nanoseconds for which a session is believed without asking the store again."""


Ending = Callable[[], object]
"""What is called, once, when a session has ended."""


@dataclass(slots=True, eq=False)
class Session:
    """One logon session of this process.

    Attributes:
        record: what is known of it.
        token: the token it was opened with.
        posix: what the kernel calls its client, or None.
        identity: who its client was when it was opened; None for the server's own and
            for a client that came as nobody, who can lose nothing.
        generation: the store's when the account was looked at last.
        same_at: the store's when the account was last seen to have gained nothing.
        lease_ends: monotonic nanoseconds.
        epoch: how often leases had been expired when this one was given.
        outer: the session that it lies within: that of whoever's token was limited.
        over: monotonic nanoseconds at which it ends by itself; None for never.
        credentials: what it has to show to other machines; closed when it ends.
        holds: how many hold it.
        holders: who else holds it, each once however often it says so.
        endings: what is to be called when it ends.
    """

    record: LogonRecord
    token: AccessToken
    posix: PosixIdentity | None
    identity: Identity | None
    generation: int
    lease_ends: int
    epoch: int
    same_at: int
    outer: Session | None = None
    over: int | None = None
    credentials: tuple[OutboundCredentials, ...] = ()
    holds: int = 1
    holders: set[object] = field(default_factory=set)
    endings: list[Ending] = field(default_factory=list)


class Sessions:
    """The live sessions of one server.

    Args:
        store: where accounts live and numbers are allocated.
        clock: nanoseconds since the epoch, UTC.
        monotonic: nanoseconds that never step.
    """

    def __init__(
        self,
        store: AccountStore,
        *,
        clock: Callable[[], int],
        monotonic: Callable[[], int],
    ) -> None:
        self._store = store
        self._clock = clock
        self._monotonic = monotonic
        self._live: dict[Luid, Session] = {}
        self._epoch = 0
        self._due: list[Ending] = []
        # Re-entrant: a finalizer may end a session while this thread opens one.
        self._lock = threading.RLock()
        self._depth = 0

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
        session = self._keep(record, token, identity if is_known else None)
        if expires is not None:
            session.over = self._monotonic() + expires - self._clock()
        session.credentials = credentials
        for held in credentials:
            self.on_end(logon_id, held.close)
        return session

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
        return self._keep(record, token, None)

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
        session = self._keep(record, lent, None)
        session.outer, session.posix = outer, outer.posix
        left = limits.expires - self._clock()
        session.over = self._monotonic() + left
        # In either order of ends, each is told of the other's and does it once.
        self.on_end(logon_id, partial(self.release, token.logon_id))
        forget = self.on_end(token.logon_id, partial(self.end, logon_id))
        self.on_end(logon_id, forget)
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
        return self._keep(record, token, None)

    def _keep(
        self, record: LogonRecord, token: AccessToken, identity: Identity | None
    ) -> Session:
        session = Session(
            record=record,
            token=token,
            posix=None if identity is None else identity.posix,
            identity=identity,
            generation=0 if identity is None else identity.generation,
            lease_ends=self._monotonic() + LEASE,
            epoch=self._epoch,
            same_at=0 if identity is None else identity.generation,
        )
        with self._locked():
            self._live[record.logon_id] = session
        if identity is not None and self._store.generation() != identity.generation:
            # Something was changed after the client was identified: look again first.
            session.lease_ends = 0
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
            raise _ended(token)
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
        if session is None or session.identity is None:
            return True
        generation = self._store.generation()
        if generation == session.same_at:
            return True
        try:
            by_now = identify_again(self._store, session.identity)
        except (AccountDisabledError, UnknownAccountError, TooManyGroupsError):
            return True  # and whoever acts in it is told
        made = _token_by_now(session, by_now)
        is_same = session.token in (made, effective_part(made))
        if is_same:
            session.same_at = generation
        return is_same

    def credentials_of(self, token: AccessToken) -> tuple[OutboundCredentials, ...]:
        """Return what a token's session has to show to other machines.

        A grant's are those of whoever's token was limited.

        Raises:
            LogonSessionEndedError, StoreUnavailableError: as `of` does.
        """
        session = self.of(token)
        while session.outer is not None:
            session = session.outer
        return session.credentials

    def _require_time_left(self, token: AccessToken, session: Session) -> None:
        """End a session that has had its time, by either clock: one can be set back."""
        now = self._clock()
        is_over = session.over is not None and self._monotonic() >= session.over
        if is_over or grant_is_over(session.token, now):
            self.end(session.record.logon_id)
        elif not grant_is_over(token, now):
            return
        raise _expired(token)

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
                raise _ended(token)
            _add_hold(session, by)

        self._run_locked(add)

    def retain(self, token: AccessToken, by: object) -> None:
        """Hold a session as it is known here: nothing is asked of the store.

        Raises:
            LogonSessionEndedError: it has ended, or never made such a token.
        """

        def add() -> None:
            session = self._live.get(token.logon_id)
            if session is None or not is_within(token, session.token):
                raise _ended(token)
            _add_hold(session, by)

        self._run_locked(add)

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

        return self._run_locked(drop)

    def on_end(self, logon_id: Luid, ending: Ending) -> Callable[[], None]:
        """Call `ending` when the session ends; now, if it has ended.

        It is called once, under no lock of this object, and what it raises is logged.
        A finalizer may be what ends a session, on whatever thread it runs: an ending
        waits for nothing, and takes no lock that this thread might hold already.

        Returns:
            what takes it back, for whatever has ended by itself.
        """
        with self._locked():
            session = self._live.get(logon_id)
            if session is None:
                self._due.append(ending)
                return _nothing
            session.endings.append(ending)

        def forget() -> None:
            with self._locked():
                if ending in session.endings:
                    session.endings.remove(ending)

        return forget

    def end(self, logon_id: Luid) -> bool:
        """End a session at once, whoever holds it; False if it had ended."""
        with self._locked():
            session = self._live.get(logon_id)
            return session is not None and self._take(session)

    def end_all_of(self, user: Sid) -> tuple[LogonRecord, ...]:
        """End every session of a user, at once in this process; return them."""
        with self._locked():
            ended = [s for s in self._live.values() if s.record.user == user]
            for session in ended:
                self._take(session)
        return tuple(session.record for session in ended)

    def expire(self) -> None:
        """End every lease: what was just changed in the store counts at once."""
        with self._locked():
            self._epoch += 1

    def records(self) -> tuple[LogonRecord, ...]:
        """Return what is known of every live session, oldest first."""
        with self._locked():
            return tuple(session.record for session in self._live.values())

    def _take(self, session: Session) -> bool:
        """End a session, with the lock held."""
        del self._live[session.record.logon_id]
        self._due += session.endings
        session.endings.clear()
        return True

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the lock, and call what became due when it is held no more."""
        due: list[Ending] = []
        try:
            with self._lock:
                depth = self._depth
                try:
                    self._depth = depth + 1
                    yield
                finally:
                    self._depth = depth
                    # A finalizer inside another call leaves it to that one.
                    if not depth:
                        due, self._due = self._due, due
        finally:
            for ending in due:
                _call(ending)

    def _run_locked(self, act: Callable[[], _T]) -> _T:
        """Do the same without a generator, which keeps the lock if interrupted.

        Blocks hold and release sessions on a program's main thread, where it arrives.
        """
        due: list[Ending] = []
        try:
            with self._lock:
                depth = self._depth
                try:
                    self._depth = depth + 1
                    return act()
                finally:
                    self._depth = depth
                    if not depth:
                        due, self._due = self._due, due
        finally:
            for ending in due:
                _call(ending)

    # --- whether it is fit ------------------------------------------------------------

    def _renew(self, session: Session) -> None:
        # Read before the store is: a change from here on expires this lease too.
        epoch, begins = self._epoch, self._monotonic()
        generation = self._fit(session)
        if generation is None:
            self.end(session.record.logon_id)
            raise LogonSessionEndedError(
                f"account `{session.record.name}` was changed or disabled, which "
                "ended its sessions",
                advice="log the client on again",
            )
        session.generation, session.epoch = generation, epoch
        session.lease_ends = begins + LEASE

    def _fit(self, session: Session) -> int | None:
        """Return the store's generation at which the session is fit; None if it is not.

        An account that gained something is fit: that counts from its next session.
        """
        before = session.identity
        if before is None:
            return 0
        generation = self._store.generation()
        if generation == session.generation:
            return generation
        # A bare uid that has an account by now is that account, disabled or not.
        if (
            before.account is None
            and before.posix is not None
            and self._store.account_by_uid(before.posix.uid) is not None
        ):
            return None
        try:
            by_now = identify_again(self._store, before)
            require_logon_right(by_now)
        except (
            AccountDisabledError,
            InvalidNameError,
            LogonTypeNotGrantedError,
            TooManyGroupsError,
            UnknownAccountError,
        ):
            return None
        return generation if _has_kept(session, before, by_now) else None


def _has_kept(session: Session, before: Identity, by_now: Identity) -> bool:
    """Tell whether somebody still has all that their session's token holds."""
    if before.account != by_now.account:  # its version grows with every change
        return False
    begun, made = session.token, _token_by_now(session, by_now)
    return {group.sid for group in begun.groups} <= {
        group.sid for group in made.groups
    } and {entry.privilege for entry in begun.privileges} <= {
        entry.privilege for entry in made.privileges
    }


def _token_by_now(session: Session, by_now: Identity) -> AccessToken:
    """Return the token with which the session would begin now."""
    begun = session.token
    return tokens.client_token(
        by_now,
        level=begun.level,
        logon_id=begun.logon_id,
        token_id=begun.token_id,
        origin=begun.origin,
    )


def _ended(token: AccessToken) -> LogonSessionEndedError:
    return LogonSessionEndedError(
        f"logon session {token.logon_id} of `{token.user}` does not live here",
        advice="log the client on again; tokens made by hand have no session",
    )


def _expired(token: AccessToken) -> LogonSessionEndedError:
    if token.limits is not None:
        return LogonSessionEndedError(
            f"grant {token.limits} has expired", advice="limit the client's token anew"
        )
    return LogonSessionEndedError(
        f"what `{token.user}` was authenticated by has expired",
        advice="have the client log on again",
    )


def _add_hold(session: Session, by: object) -> None:
    if by is None:
        session.holds += 1
    else:
        session.holders.add(by)


def _call(ending: Ending) -> None:
    try:
        ending()
    except Exception:  # noqa: BLE001 - one ending must not keep the others from theirs
        _log.exception("an ending of a logon session failed")


def _nothing() -> None:
    """Take back what was called already."""
