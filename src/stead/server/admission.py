"""Letting clients in: who they are, their session, and what they are handed.

Four doors. A local peer comes with ids that the kernel vouches for. A client that
somebody else authenticated comes by name, vouched for by the server itself. A client
that is logged on comes with its password. One that a package has authenticated comes as
a newcomer (`stead.server.authentication`). For the last three the server needs
SeTcbPrivilege in its process token.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

from stead.authority.account_policy import PasswordAges
from stead.authority.identity import (
    HostIdentity,
    Identity,
    identify_account,
    identify_peer,
    logon_rule,
    require_may_log_on,
)
from stead.authority.logon import Logon, LogonAttempt
from stead.authority.newcomer import Newcomer
from stead.authority.password_credentials import PasswordCredentials
from stead.authority.ports import AccountStore
from stead.authority.session import Session
from stead.authority.sessions import Sessions
from stead.codec.token_text import token_detail
from stead.decision.impersonation import granted_level
from stead.decision.privilege_check import privilege_check
from stead.errors import (
    EnforcementUnavailableError,
    LogonFailureError,
    LoopThreadError,
    PrivilegeNotHeldError,
    SteadError,
)
from stead.gates.ports import Ticket
from stead.model import trace_context, well_known
from stead.model.audit_record import AuditEvent, Principal
from stead.model.logon_record import LOGON_FAILURE, LogonType, sub_status
from stead.model.luid import NO_LUID, Luid
from stead.model.posix_identity import PosixIdentity
from stead.model.privilege import SENSITIVE, Privilege
from stead.model.quality_of_service import QualityOfService, Tracking
from stead.model.secret import Secret
from stead.model.token import AccessToken, ImpersonationLevel
from stead.monitor import context
from stead.monitor.guard import Guard
from stead.monitor.ports import Subject
from stead.monitor.recorder import Parts
from stead.monitor.tracing import incoming_trace
from stead.server.authorities import Elsewhere
from stead.server.brokered import Tickets
from stead.server.client_context import ClientContext
from stead.server.failure_quota import FailureQuota, origin_of
from stead.server.logon_session import LogonSession


@dataclass(frozen=True, slots=True)
class Arrival:
    """How a client came.

    Attributes:
        gate: `pipe`, `http`, `local`.
        peer: what the gate knows of the other end.
        correlation: what ties its records together.
        package: what authenticated it.
        authenticated_by: who vouches for it.
        within: the session of the client that handed its password in, if one did.
        wait: waits for the seconds by which a failure's answer is late; as the server
            does if None.
    """

    gate: str
    peer: str
    correlation: str
    package: str
    authenticated_by: str
    within: Luid = NO_LUID
    wait: Callable[[float], None] | None = None


class MakeClient(Protocol):
    """Makes what a client is handed about as."""

    def __call__(
        self, subject: Subject, /, *, end: Callable[[], None]
    ) -> ClientContext:
        """Return the client; `end` gives up its hold on its session."""
        ...


@dataclass(frozen=True, slots=True)
class Admission:
    """The server's door.

    Attributes:
        guard: records who came.
        store: where accounts live.
        sessions: opens sessions.
        host: what this host knows of a uid.
        make_client: makes what an admitted client is handed about as.
        logon: compares passwords; None where the library for that is missing.
        sleep: waits for some seconds before a failed logon is answered.
        quota: how many failures are recorded one by one.
        elsewhere: whose passwords others know; by the name's domain.
        ages: whether passwords count that a package says are known.
        tickets: by what a broker knows clients; None without a broker.
        shows_passwords: whether the broker is shown passwords that were right here.
    """

    guard: Guard
    store: AccountStore
    sessions: Sessions
    host: HostIdentity
    make_client: MakeClient
    logon: Logon | None
    sleep: Callable[[float], None]
    quota: FailureQuota
    elsewhere: Elsewhere
    ages: PasswordAges
    tickets: Tickets | None = None
    shows_passwords: bool = False

    def admit_peer(
        self,
        peer: PosixIdentity,
        *,
        quality: QualityOfService,
        arrival: Arrival,
        ticket: Ticket | None = None,
    ) -> ClientContext:
        """Admit a local peer, whose ids the kernel vouches for.

        Args:
            peer: those.
            quality: what it lets be done with its identity.
            arrival: how it came.
            ticket: by what a broker knows it; still the caller's to close.

        Raises:
            LogonFailureError: whatever the cause; the trail has it.
            LedgerUnavailableError: it could not be recorded.
        """
        principal = Principal(well_known.unix_user(peer.uid), f"uid {peer.uid}")
        try:
            identity = identify_peer(self.store, peer)
            newcomer = Newcomer(identity=identity)
            session, client = self._admit(newcomer, quality, arrival)
        except SteadError as error:
            detail = _failure_detail(error, LogonType.NETWORK, arrival)
            number = self._refused(principal, arrival, error, detail)
            failure = LogonFailureError()
            failure.record = number
            raise failure from error
        self._bind(session, ticket)
        return client

    def _bind(self, session: Session, ticket: Ticket | None) -> None:
        if self.tickets is not None:
            self.tickets.bind(session.record.logon_id, ticket)

    def admit_asserted(
        self,
        name: str,
        *,
        level: ImpersonationLevel,
        arrival: Arrival,
        via: ClientContext | None = None,
    ) -> ClientContext:
        """Admit an account that somebody trusted has authenticated.

        1. The server's process token must hold SeTcbPrivilege.
        2. The account must exist, be enabled and be allowed to log on.
        3. Its session opens, and the record of that is durable.
        4. If it is the same account as a client whom a broker knows, the broker's
           evidence of that client is evidence of this one.

        Args:
            name: the account.
            level: how far the client lets the server go.
            arrival: how it came.
            via: the client of a gate that brought it.

        Raises:
            PrivilegeNotHeldError: the server may not vouch for anybody.
            UnknownAccountError, AccountDisabledError, LogonTypeNotGrantedError: as they
                say; a client hears the same of each.
        """
        principal = Principal(well_known.NULL_SID, name[:80])
        try:
            self.require_tcb()
            identity = identify_account(self.store, name, host=self.host)
            newcomer = Newcomer(identity=identity)
            session, client = self._admit(newcomer, _at(level), arrival)
        except SteadError as error:
            detail = _failure_detail(error, LogonType.NETWORK, arrival)
            self._refused(principal, arrival, error, detail)
            raise
        if self.tickets is not None and via is not None:
            number = session.record.logon_id
            self.tickets.lend(number, via.token.logon_id, session.posix)
        return client

    def log_on(
        self,
        name: str,
        secret: Secret,
        logon_type: LogonType,
        *,
        arrival: Arrival,
        via: ClientContext | None = None,
    ) -> LogonSession:
        """Log an account on with its password; the secret is wiped on every path.

        1. The server's process token must hold SeTcbPrivilege, the type be offered.
        2. If a client has it done, that is recorded as the client's.
        3. Password, account and account right are looked at, with equal work for every
           cause of failure (`stead.authority.logon`).
        4. A failure is durable in the trail before it is answered, and answered late.
        5. The session opens, and the record of that is durable.

        Args:
            name: the account.
            secret: its password.
            logon_type: interactive, network, network cleartext, batch or service.
            arrival: how it came.
            via: the client that hands the password in, if there is one.

        Raises:
            LogonFailureError: whatever the cause in steps 3 to 5; the trail has it.
            PrivilegeNotHeldError: the server may log nobody on.
            InvalidRequestError: the type of logon is not offered.
            EnforcementUnavailableError: this server can compare no passwords.
            LoopThreadError: an event loop runs on this thread, and this waits.
            SecretUsedError: the secret was wiped before.
            LogonSessionEndedError: the session of `via` has ended.
            LedgerUnavailableError: it could not be recorded.
        """
        with secret:
            secret.require_unused()
            principal = Principal(well_known.NULL_SID, name[:80])
            logon = self._require_may_log_on(principal, logon_type, arrival)
            if via is not None:
                self._record_explicit(via, name, logon_type)
                arrival = replace(arrival, within=via.subject.principal.logon_id)
            attempt = self._attempt(logon, name, secret, logon_type)
            try:
                ticket = self._vouched(attempt, secret, arrival)
            except BaseException:
                attempt.discard()
                raise
        return self._answer(attempt, principal, logon_type, arrival, ticket)

    def _attempt(
        self, logon: Logon, name: str, secret: Secret, logon_type: LogonType
    ) -> LogonAttempt[Newcomer]:
        """Ask whoever knows the name's password: the store, or somebody elsewhere."""
        ask = self.elsewhere.knows(name, secret, logon_type)
        try:
            if ask is not None:
                fit = partial(self._fit, ask)
                return logon.attempt_elsewhere(self.elsewhere.counted_as(name), fit)
            found = logon.attempt(name, secret, logon_type)
            if found.error is not None:
                return LogonAttempt(found.error, found.locks, found.delay)
            return LogonAttempt(_with_password(found.require(), secret))
        except SteadError as error:
            return LogonAttempt(error)

    def _fit(self, ask: Callable[[], Newcomer]) -> Newcomer:
        """Return who somebody elsewhere says that it is, if it may log on.

        Whoever may not is a failure like one with a wrong password: as late, and
        counted.
        """
        newcomer = ask()
        try:
            self._require_may_log_on_now(newcomer)
        except BaseException:
            newcomer.close()
            raise
        return newcomer

    def _require_may_log_on_now(self, newcomer: Newcomer) -> None:
        now, account = self.guard.clock(), newcomer.identity.account
        require_may_log_on(newcomer.identity, now)
        newcomer.require_time_left(now)
        if newcomer.has_shown_password and account is not None:
            self.ages.require(account)

    def _vouched(
        self, attempt: LogonAttempt[Newcomer], secret: Secret, arrival: Arrival
    ) -> Ticket | None:
        """Show a password that was right here to the broker, if that is wanted."""
        if self.tickets is None or not self.shows_passwords or attempt.error:
            return None
        newcomer = attempt.require()
        identity = newcomer.identity
        if identity.posix is None:
            return None
        whose = _nobody(Principal(identity.user, identity.name), arrival)
        try:
            self.guard.own.asking_broker(whose, "log_on", identity.name)
            return self.tickets.vouch(identity.posix, secret)
        except BaseException:
            newcomer.close()
            raise

    def _require_may_log_on(
        self, principal: Principal, logon_type: LogonType, arrival: Arrival
    ) -> Logon:
        if context.is_loop_thread():
            raise LoopThreadError(
                "`log_on` waits, and an event loop runs on this thread",
                advice="call it from a thread: `await asyncio.to_thread(server.log_on, "
                "name, secret)`",
            )
        try:
            self.require_tcb()
        except PrivilegeNotHeldError as error:
            detail = _failure_detail(error, logon_type, arrival)
            self._refused(principal, arrival, error, detail)
            raise
        logon_rule(logon_type)
        if self.logon is None:
            raise EnforcementUnavailableError(
                "no library that compares passwords is installed",
                advice="`pip install 'stead[password]'`",
            )
        return self.logon

    def _record_explicit(
        self, via: ClientContext, name: str, logon_type: LogonType
    ) -> None:
        """Record durably that a client uses somebody's password (Windows event 4648).

        Raises:
            LogonSessionEndedError: the client's session has ended.
            LedgerUnavailableError: it could not be recorded.
        """
        self.guard.liveness.require_live(via.token)
        self.guard.recorder.record(
            AuditEvent.EXPLICIT_CREDENTIALS,
            via.subject,
            object_type="Account",
            object_name=name[:80],
            detail={"logon type": logon_type.name.lower()},
        )

    def _answer(
        self,
        attempt: LogonAttempt[Newcomer],
        principal: Principal,
        logon_type: LogonType,
        arrival: Arrival,
        ticket: Ticket | None,
    ) -> LogonSession:
        """Take steps 4 and 5 of `log_on`."""
        error = attempt.error
        if error is None:
            try:
                return self.open_session(
                    attempt.require(),
                    _at(ImpersonationLevel.IMPERSONATION),
                    arrival,
                    origin=self.guard.process_token.logon_id,
                    ticket=ticket,
                )
            except SteadError as refusal:
                error = refusal.with_traceback(None)
                if ticket is not None:
                    ticket.close()
        failure = LogonFailureError()
        try:
            failure.record = self._refused(
                principal, arrival, error, _failure_detail(error, logon_type, arrival)
            )
            if attempt.locks:
                self.record_lock(principal.name, arrival)
        finally:
            self.sleep(attempt.delay)
        # Outside every handler: what is raised here leads to no cause.
        raise failure

    def open_session(
        self,
        newcomer: Newcomer,
        quality: QualityOfService,
        arrival: Arrival,
        *,
        origin: Luid = NO_LUID,
        ticket: Ticket | None = None,
    ) -> LogonSession:
        """Open a session for whoever may log on this way, recorded durably before.

        What the newcomer gave is the session's, or is wiped.

        Args:
            newcomer: who.
            quality: what it lets be done with its identity.
            arrival: how it came.
            origin: the session that logged it on with its credentials, if one did.
            ticket: by what a broker knows it.

        Raises:
            SteadError: why it is not admitted; nothing is recorded of that yet.
        """
        session, client = self._admit(newcomer, quality, arrival, origin)
        try:
            self._bind(session, ticket)
        except BaseException:
            self.sessions.end(session.record.logon_id)
            raise
        return LogonSession(
            client,
            session.record,
            partial(self._log_off, client),
            partial(self.sessions.credentials_of, client.token),
        )

    def _log_off(self, client: ClientContext) -> None:
        """End a session because somebody asked for it (Windows event 4647)."""
        # Nobody is kept from leaving: the record is queued, and once it has ended
        # there is nothing left to say.
        with suppress(SteadError):
            self.sessions.require_live(client.token)
            self.guard.announce_end(AuditEvent.LOGOFF_ASKED, client.subject)
        self.sessions.end(client.token.logon_id)

    def record_lock(self, name: str, arrival: Arrival) -> None:
        """Record that a name is locked by now (Windows event 4740)."""
        principal = Principal(well_known.NULL_SID, name[:80])
        self.guard.recorder.record(
            AuditEvent.ACCOUNT_LOCKED_OUT,
            _nobody(principal, arrival),
            object_type="Account",
            object_name=principal.name,
        )

    def require_tcb(self) -> None:
        """Return if the server may say who clients are.

        Raises:
            PrivilegeNotHeldError: its process token lacks SeTcbPrivilege.
        """
        decision = privilege_check(self.guard.process_token, (Privilege.TCB,))
        if not decision:
            raise PrivilegeNotHeldError(
                decision.missing,
                advice="only a server that holds SeTcbPrivilege may vouch for clients",
            )

    def _admit(
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
            end = partial(_let_go, self.sessions, logon_id)
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
            self._require_may_log_on_now(newcomer)
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

    def refused(
        self, name: str, arrival: Arrival, error: SteadError, logon_type: LogonType
    ) -> int | None:
        """Record who was not let in, whom nobody knows by a SID yet.

        Returns:
            the record's number, if it has one of its own.
        """
        principal = Principal(well_known.NULL_SID, name[:80])
        detail = _failure_detail(error, logon_type, arrival)
        return self._refused(principal, arrival, error, detail)

    def _refused(
        self,
        principal: Principal,
        arrival: Arrival,
        error: SteadError,
        detail: dict[str, str] | None = None,
    ) -> int | None:
        """Record who was not let in; return the number, if it has one of its own."""
        recorder, subject = self.guard.recorder, _nobody(principal, arrival)
        origin = origin_of(arrival.gate, arrival.peer)
        told = Parts(error=error, detail=detail or {})
        if self.quota.takes(origin):
            return recorder.record(AuditEvent.LOGON_FAILED, subject, **told)
        recorder.count(AuditEvent.LOGON_FAILED, subject, origin, **told)
        return None


def _with_password(identity: Identity, secret: Secret) -> Newcomer:
    """Return an account that was logged on, with what its session keeps of it."""
    if not logon_rule(identity.logon_type).keeps_credentials:
        return Newcomer(identity=identity)
    kept = PasswordCredentials(identity.name, secret)
    return Newcomer(identity=identity, credentials=(kept,))


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


def _let_go(sessions: Sessions, logon_id: Luid) -> None:
    sessions.release(logon_id)


def _nobody(principal: Principal, arrival: Arrival) -> Subject:
    """Return the subject of records about somebody who is not admitted."""
    return Subject(
        AccessToken(principal.sid, level=ImpersonationLevel.ANONYMOUS),
        principal,
        gate=arrival.gate,
        peer=arrival.peer,
        correlation=arrival.correlation,
        authenticated_by=arrival.authenticated_by,
    )


def _at(level: ImpersonationLevel) -> QualityOfService:
    return QualityOfService(level, effective_only=False)


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


def _failure_detail(
    error: SteadError, logon_type: LogonType, arrival: Arrival
) -> dict[str, str]:
    return {
        "logon type": logon_type.name.lower(),
        "package": arrival.package,
        "status": f"0x{LOGON_FAILURE:08X}",
        "sub status": f"0x{sub_status(error):08X}",
    }


def new_correlation(given: str | None = None) -> str:
    """Return what ties one client's records together (`stead.model.trace_context`).

    Args:
        given: what the client calls what it does; a request's own `traceparent` is
            taken where a gate has read one (`stead.monitor.tracing`).
    """
    return trace_context.new_correlation(given or incoming_trace(), secrets.token_bytes)
