"""Logon sessions: opened, alive for a lease at a time, ended ([MS-LSAD], LSA sessions).

A session lives as long as its owner keeps it *and* its account stays fit: an account
that is disabled, by this process or another, ends its sessions when the lease is up.
A token whose session does not live is refused before anything else is looked at.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from stead.authority import tokens
from stead.authority.identity import Identity
from stead.authority.ports import AccountStore
from stead.errors import LogonSessionEndedError
from stead.model.logon_record import LogonRecord, LogonType
from stead.model.luid import Luid
from stead.model.posix_identity import PosixIdentity
from stead.model.privilege import Privilege
from stead.model.sid import Sid
from stead.model.token import AccessToken, GroupAttributes, ImpersonationLevel
from stead.model.well_known import integrity_level

LEASE: Final = 1_000_000_000
"""Nanoseconds for which a session is believed without asking the store again."""


@dataclass(slots=True, eq=False)
class Session:
    """One logon session of this process.

    Attributes:
        record: what is known of it.
        token: the token it was opened with.
        posix: what the kernel calls its client, or None.
        account_version: the account's version when it was opened; 0 without account.
        lease_ends: monotonic nanoseconds.
    """

    record: LogonRecord
    token: AccessToken
    posix: PosixIdentity | None
    account_version: int
    lease_ends: int


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
        # Re-entrant: a finalizer may end a session while this thread opens one.
        self._lock = threading.RLock()

    def open(
        self,
        identity: Identity,
        *,
        level: ImpersonationLevel,
        package: str,
        authenticated_by: str,
        logon_type: LogonType = LogonType.NETWORK,
    ) -> Session:
        """Open a session for somebody who was authenticated, and build its token."""
        logon_id = self._store.allocate_luid()
        token = tokens.client_token(
            identity,
            logon_type=logon_type,
            level=level,
            logon_id=logon_id,
            token_id=self._store.allocate_luid(),
        )
        is_known = token.user == identity.user  # a client may come as nobody
        record = LogonRecord(
            logon_id=logon_id,
            user=token.user,
            name=identity.name if is_known else "ANONYMOUS LOGON",
            logon_type=logon_type,
            package=package,
            authenticated_by=authenticated_by,
            opened_at=self._clock(),
        )
        if not is_known or identity.account is None:
            version = 0
        else:
            version = identity.account.version
        return self._keep(record, token, identity.posix if is_known else None, version)

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
        return self._keep(record, token, None, 0)

    def _keep(
        self,
        record: LogonRecord,
        token: AccessToken,
        posix: PosixIdentity | None,
        version: int,
    ) -> Session:
        session = Session(record, token, posix, version, self._monotonic() + LEASE)
        with self._lock:
            self._live[record.logon_id] = session
        return session

    def of(self, token: AccessToken) -> Session:
        """Return the live session that a token belongs to.

        Raises:
            LogonSessionEndedError: it has ended, its account was disabled or changed,
                or no session of this server ever made such a token: one of another
                user or other groups, or of more than the session began with.
        """
        session = self._live.get(token.logon_id)
        if session is None or not _is_within(token, session.token):
            raise LogonSessionEndedError(
                f"logon session {token.logon_id} of `{token.user}` does not live here",
                advice="log the client on again; tokens made by hand have no session",
            )
        if self._monotonic() >= session.lease_ends:
            self._renew(session)
        return session

    def require_live(self, token: AccessToken) -> None:
        """Return if the token's session lives; raises as `of` does."""
        self.of(token)

    def _renew(self, session: Session) -> None:
        if not self._is_fit(session):
            self.end(session.record.logon_id)
            raise LogonSessionEndedError(
                f"account `{session.record.name}` was changed or disabled, which "
                "ended its sessions",
                advice="log the client on again",
            )
        session.lease_ends = self._monotonic() + LEASE

    def _is_fit(self, session: Session) -> bool:
        """Tell whether the account is what it was when the session began."""
        if session.account_version:
            account = self._store.account_by_sid(session.record.user)
            return account is not None and account.version == session.account_version
        # A bare uid that has an account by now is that account, disabled or not.
        posix = session.posix
        return posix is None or self._store.account_by_uid(posix.uid) is None

    def end(self, logon_id: Luid) -> bool:
        """End a session; False if it had ended."""
        with self._lock:
            return self._live.pop(logon_id, None) is not None

    def end_all_of(self, user: Sid) -> tuple[LogonRecord, ...]:
        """End every session of a user, at once in this process; return them."""
        with self._lock:
            ended = [s.record for s in self._live.values() if s.record.user == user]
            for record in ended:
                del self._live[record.logon_id]
        return tuple(ended)

    def records(self) -> tuple[LogonRecord, ...]:
        """Return what is known of every live session, oldest first."""
        with self._lock:
            return tuple(session.record for session in self._live.values())


def _is_within(token: AccessToken, begun: AccessToken) -> bool:
    """Tell whether a token could be made of the one that its session began with.

    Copies may be lowered; a group cannot be left out, since that might grant.
    """
    return token is begun or (
        token.user == begun.user
        and token.level <= begun.level
        and integrity_level(token.integrity) <= integrity_level(begun.integrity)
        and not begun.mandatory_policy & ~token.mandatory_policy
        and _groups_are_within(token, begun)
        and {entry.privilege for entry in token.privileges}
        <= {entry.privilege for entry in begun.privileges}
        and token.default_owner == begun.default_owner
        and token.default_group == begun.default_group
        and token.default_dacl == begun.default_dacl
    )


def _groups_are_within(token: AccessToken, begun: AccessToken) -> bool:
    """Tell whether a token holds the groups it began with, and none in a better way."""
    held = {group.sid: group.attributes for group in begun.groups}
    return held.keys() == {group.sid for group in token.groups} and not any(
        group.attributes & ~held[group.sid] & ~GroupAttributes.USE_FOR_DENY_ONLY
        for group in token.groups
    )
