"""Credentials of a client's for other machines, in place of those it came with.

Two ways. A session with new credentials is a copy of the client's token: here it is
the client, and elsewhere whom the credentials say (Win32: LogonUser with
LOGON32_LOGON_NEW_CREDENTIALS). Explicit credentials are for one machine, and open no
session (Win32: WNetAddConnection2). Neither compares anything: the other machine does.
Each is recorded durably before, with the client, the account and the machine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from stead.authority.packages import OutboundCredentials
from stead.authority.session import Session
from stead.authority.sessions import Sessions
from stead.codec.token_text import token_detail
from stead.errors import (
    AccessDeniedError,
    CredentialsExpiredError,
    InvalidRequestError,
    SteadError,
)
from stead.model.audit_record import AuditEvent
from stead.model.limits import Host
from stead.model.logon_record import LogonRecord, LogonType
from stead.model.token import ImpersonationLevel
from stead.monitor.guard import Guard
from stead.monitor.ports import Subject
from stead.server.explicit_hop import ExplicitHop
from stead.server.hops import Hops

_CREDENTIALS: Final = "such as `PasswordCredentials(name, secret)`"


@dataclass(frozen=True, slots=True, eq=False)
class OpenedSession:
    """A session that was opened, before it is handed out.

    Attributes:
        subject: whom checks and records are about.
        record: what is known of it.
        let_go: gives up the hold of whoever opened it.
        log_off: ends it at once, because somebody asked for it.
    """

    subject: Subject
    record: LogonRecord
    let_go: Callable[[], None]
    log_off: Callable[[], None]


@dataclass(frozen=True, slots=True, eq=False)
class NetworkCredentials:
    """Where a client's other credentials are taken.

    Attributes:
        guard: demands and records.
        sessions: opens them.
        hops: reach other machines with them.
    """

    guard: Guard
    sessions: Sessions
    hops: Hops

    def open_session(
        self, subject: Subject, credentials: tuple[OutboundCredentials, ...]
    ) -> OpenedSession:
        """Open a session with new credentials; they are wiped if none opens.

        1. The client lets the server act as it, and its session lives.
        2. That it uses other credentials is recorded durably, as the client's.
        3. The session opens within the client's own, and that is durable before it is
           handed out. Its end is recorded whoever ends it.

        Raises:
            InvalidRequestError: there are no credentials.
            BadImpersonationLevelError: the client does not let the server go so far.
            LogonSessionEndedError: its session has ended.
            LedgerUnavailableError: it could not be recorded.
        """
        try:
            _require_some(credentials)
            self._require(subject, "using other credentials")
            for held in credentials:
                self._record_use(subject, held, "")
        except BaseException:
            _wipe(credentials)
            raise
        session = self.sessions.open_new_credentials(subject.token, credentials)
        made = replace(
            subject,
            token=session.token,
            principal=replace(subject.principal, logon_id=session.record.logon_id),
        )
        self._announce(session, made, subject)
        return OpenedSession(
            made,
            session.record,
            partial(_let_go, self.sessions, session),
            partial(self._log_off, made),
        )

    def _announce(self, session: Session, made: Subject, within: Subject) -> None:
        """Record a session before anybody hears of it; if that fails, it is gone."""
        logon_id = session.record.logon_id
        detail = token_detail(session.token) | {
            "logon type": LogonType.NEW_CREDENTIALS.name.lower(),
            "package": session.credentials[0].package,
            "network account": session.credentials[0].principal[:80],
            "within": str(within.principal.logon_id),
            "level": session.token.level.name.lower(),
            "uid": "" if session.posix is None else str(session.posix.uid),
        }
        try:
            self.guard.recorder.record(AuditEvent.LOGON, made, detail=detail)
            ended = partial(self.guard.announce_end, AuditEvent.LOGOFF, made)
            self.sessions.on_end(logon_id, ended)
        except BaseException:
            self.sessions.end(logon_id)
            raise

    def _log_off(self, made: Subject) -> None:
        with suppress(SteadError):  # nobody is kept from leaving
            self.sessions.require_live(made.token)
            self.guard.announce_end(AuditEvent.LOGOFF_ASKED, made)
        self.sessions.end(made.token.logon_id)

    @contextmanager
    def explicit(
        self,
        subject: Subject,
        credentials: OutboundCredentials,
        target: Host,
        *,
        keep: object,
    ) -> Iterator[ExplicitHop]:
        """Have credentials for one machine, until the block or the session ends.

        1. The client lets the server act as it, its session lives, and its limits, if
           it has any, name the machine.
        2. That it uses them there is recorded durably (Windows event 4648).

        They are wiped on every path, and no session was opened. What is connected with
        them is cut, and recorded each time before (`ExplicitHop`); `keep` is the
        client, which lives as long as that.

        Raises:
            BadImpersonationLevelError: the client does not let the server go so far.
            AccessDeniedError: its limits do not name the machine.
            LogonSessionEndedError: its session has ended.
            InvalidRequestError: the target is no `Host`, or the credentials are none.
            LedgerUnavailableError: it could not be recorded.
        """
        _require_some((credentials,))
        made = ExplicitHop(credentials, target, self.hops, subject, keep=keep)
        try:
            _require_host(target)
            self._require(subject, "using other credentials")
            self._require_within_limits(subject, target)
            self._record_use(subject, credentials, str(target))
            forget = self.sessions.on_end(subject.token.logon_id, made.close)
            try:
                yield made
            finally:
                forget()
        finally:
            made.close()

    def require_time(self, subject: Subject, seconds: float) -> None:
        """Return if a session does not end by itself before some work does.

        Raises:
            CredentialsExpiredError: it ends sooner.
            LogonSessionEndedError: it has ended.
        """
        ends_at = self.sessions.ends_at(subject.token)
        if ends_at is None:
            return
        left = (ends_at - self.guard.clock()) / 1e9
        if left < seconds:
            raise CredentialsExpiredError(
                f"the session of `{subject.principal.name}` ends in {left:.0f} seconds",
                advice="log the client on again before work that takes longer",
            )

    def _require(self, subject: Subject, act: str) -> None:
        self.guard.liveness.require_live(subject.token)
        needed = ImpersonationLevel.IMPERSONATION
        self.guard.require_level(subject, needed, act=act)

    def _require_within_limits(self, subject: Subject, target: Host) -> None:
        limits = subject.token.limits
        if limits is None or limits.may_reach(target):
            return
        error = AccessDeniedError(
            f"the limits of `{subject.principal.name}` do not name `{target}`",
            advice="name the host among the grant's `targets`",
        )
        self._record(subject, str(target), "", error)
        raise error

    def _record_use(
        self, subject: Subject, credentials: OutboundCredentials, target: str
    ) -> None:
        self._record(subject, target, credentials.principal, None)

    def _record(
        self, subject: Subject, target: str, account: str, error: SteadError | None
    ) -> None:
        detail = {"logon type": LogonType.NEW_CREDENTIALS.name.lower()}
        if target:
            detail = {"target server": target}
        self.guard.recorder.record(
            AuditEvent.EXPLICIT_CREDENTIALS,
            subject,
            error=error,
            object_type="Account",
            object_name=account[:80],
            detail=detail,
        )


def _let_go(sessions: Sessions, session: Session) -> None:
    sessions.release(session.record.logon_id)


def _wipe(credentials: tuple[OutboundCredentials, ...]) -> None:
    for held in filter(_are_credentials, credentials):
        held.close()


def _require_some(credentials: tuple[OutboundCredentials, ...]) -> None:
    if not credentials:
        raise InvalidRequestError(
            "a session with new credentials has some", advice=_CREDENTIALS
        )
    for held in credentials:
        if not _are_credentials(held):
            what = type(held).__name__
            raise InvalidRequestError(
                f"`credentials` is a `{what}`", advice=_CREDENTIALS
            )


def _are_credentials(held: object) -> bool:
    # By a method: what they know of themselves may be gone already.
    return hasattr(held, "renew_for")


def _require_host(target: object) -> None:
    if not isinstance(target, Host):
        raise InvalidRequestError(
            "credentials for one machine name it, and the port",
            advice='write `target=Host("files.example", 445)`',
        )
