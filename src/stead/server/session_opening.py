"""A newcomer's session opens, and the record of that is durable.

Whoever comes here is known; the doors that found out who it is are those of
`stead.server.admission`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

from stead.authority.account_policy import PasswordAges
from stead.authority.identity import require_may_log_on
from stead.authority.newcomer import Newcomer
from stead.authority.session import Session
from stead.authority.sessions import Sessions
from stead.codec.token_text import token_detail
from stead.decision.impersonation import granted_level
from stead.model import well_known
from stead.model.audit_record import AuditEvent, Principal
from stead.model.luid import NO_LUID, Luid
from stead.model.privilege import SENSITIVE
from stead.model.quality_of_service import QualityOfService, Tracking
from stead.model.token import ImpersonationLevel
from stead.monitor.guard import Guard
from stead.monitor.ports import Subject
from stead.server.arrival import Arrival
from stead.server.client_context import ClientContext


class MakeClient(Protocol):
    """Makes what a client is handed about as."""

    def __call__(
        self, subject: Subject, /, *, end: Callable[[], object]
    ) -> ClientContext:
        """Return the client; `end` gives up its hold on its session."""
        ...


@dataclass(frozen=True, slots=True)
class SessionOpening:
    """Where newcomers get their sessions.

    Attributes:
        guard: records who came.
        sessions: opens sessions.
        make_client: makes what an admitted client is handed about as.
        ages: whether passwords count that a package says are known.
    """

    guard: Guard
    sessions: Sessions
    make_client: MakeClient
    ages: PasswordAges

    def require_may_log_on_now(self, newcomer: Newcomer) -> None:
        """Return if somebody may log on as they come, at this time.

        Raises:
            SteadError: why not, for the trail.
        """
        now, account = self.guard.clock(), newcomer.identity.account
        require_may_log_on(newcomer.identity, now)
        newcomer.require_time_left(now)
        if newcomer.has_shown_password and account is not None:
            self.ages.require(account)

    def admit(
        self,
        newcomer: Newcomer,
        quality: QualityOfService,
        arrival: Arrival,
        origin: Luid = NO_LUID,
    ) -> tuple[Session, ClientContext]:
        """Open a session for whoever may log on this way, and record it durably.

        A server that may not act as the client gets a token that only identifies it.
        The session's end is recorded too, once, whoever lets go of it last.
        """
        session = self._open(newcomer, quality, arrival, origin)
        logon_id = session.record.logon_id
        try:
            subject = _subject(
                session, newcomer, arrival, effective_only=quality.effective_only
            )
            self.guard.recorder.record(
                AuditEvent.LOGON,
                subject,
                detail=newcomer.told() | _logon_detail(session, quality, arrival),
            )
            self.sessions.on_end(
                logon_id, partial(self.guard.announce_end, AuditEvent.LOGOFF, subject)
            )
            self._record_special(subject)
            end = partial(self.sessions.release, logon_id)
            return session, self.make_client(subject, end=end)
        except BaseException:
            self.sessions.end(logon_id)
            raise

    def _open(
        self,
        newcomer: Newcomer,
        quality: QualityOfService,
        arrival: Arrival,
        origin: Luid,
    ) -> Session:
        """Open a session, of which nobody knows yet; or wipe what the newcomer gave."""
        identity = newcomer.identity
        try:
            self.require_may_log_on_now(newcomer)
            granted = granted_level(
                min(quality.level, newcomer.level),
                self.guard.process_token,
                user=identity.user,
                origin=origin,
            )
            if not _keeps_credentials(newcomer, granted, origin):
                newcomer.close()
                newcomer = replace(newcomer, credentials=())
            return self.sessions.open(
                identity,
                level=granted,
                package=newcomer.package or arrival.package,
                authenticated_by=newcomer.issuer or arrival.authenticated_by,
                origin=origin,
                effective_only=quality.effective_only,
                credentials=newcomer.credentials,
                expires=newcomer.expires,
            )
        except BaseException:
            newcomer.close()
            raise

    def _record_special(self, subject: Subject) -> None:
        """Record what somebody holds that is sensitive (Windows event 4672)."""
        held = tuple(
            entry.privilege.value
            for entry in subject.token.privileges
            if entry.privilege in SENSITIVE
        )
        if held:
            self.guard.recorder.note(
                AuditEvent.SPECIAL_PRIVILEGES, subject, privileges=held
            )


def _keeps_credentials(
    newcomer: Newcomer, granted: ImpersonationLevel, origin: Luid
) -> bool:
    """Tell whether a session has what its client gave, to show to other machines.

    A client whose token only identifies it is nobody's to be elsewhere; and one that
    delegates, and states a lower level, is acted for here alone. Its own credentials,
    with which the server logged it on, are its session's.
    """
    if granted < ImpersonationLevel.IMPERSONATION:
        return False
    return origin != NO_LUID or granted >= newcomer.level


def _subject(
    session: Session, newcomer: Newcomer, arrival: Arrival, *, effective_only: bool
) -> Subject:
    record = session.record
    return Subject(
        session.token,
        Principal(record.user, record.name, record.logon_id),
        gate=arrival.gate,
        peer=arrival.peer,
        correlation=arrival.correlation,
        authenticated_by=record.authenticated_by,
        effective_only=effective_only,
        through=tuple(Principal(well_known.NULL_SID, each) for each in newcomer.actors),
    )


def _logon_detail(
    session: Session,
    stated: QualityOfService,
    arrival: Arrival,
) -> dict[str, str]:
    record, more = session.record, token_detail(session.token)
    level = session.token.level
    if level is not stated.level:
        more["stated level"] = stated.level.name.lower()
    if stated.tracking is Tracking.DYNAMIC:
        more["tracking"] = stated.tracking.value
    if arrival.within != NO_LUID:
        more["within"] = str(arrival.within)
    return more | {
        "logon type": record.logon_type.name.lower(),
        "package": record.package,
        "level": level.name.lower(),
        "uid": "" if session.posix is None else str(session.posix.uid),
    }
