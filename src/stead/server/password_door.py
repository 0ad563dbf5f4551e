"""Logging clients on with their passwords: the numbered steps of `log_on`.

The store compares, or somebody elsewhere who knows the name's domain. The door itself,
which opens sessions and records them, is `stead.server.admission`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from stead.authority.identity import Identity
from stead.authority.logon import Logon
from stead.authority.logon_attempt import LogonAttempt
from stead.authority.logon_rules import logon_rule
from stead.authority.newcomer import Newcomer
from stead.authority.packages import Authenticated
from stead.authority.password_credentials import PasswordCredentials
from stead.authority.unknown_names import LONGEST_SHOWN, UNSEEN
from stead.errors import (
    EnforcementUnavailableError,
    LogonFailureError,
    LoopThreadError,
    PrivilegeNotHeldError,
    SteadError,
)
from stead.gates.ports import Ticket
from stead.model.audit_record import AuditEvent, Principal
from stead.model.logon_record import LogonType
from stead.model.secret import Secret
from stead.model.token import ImpersonationLevel
from stead.monitor import loops
from stead.server.arrival import Arrival, nobody, quality_at
from stead.server.client_context import ClientContext
from stead.server.logon_session import LogonSession

if TYPE_CHECKING:
    from stead.server.admission import Admission


@dataclass(frozen=True, slots=True)
class PasswordDoor:
    """Where passwords are shown.

    Attributes:
        admission: the door that it is a part of.
    """

    admission: Admission

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
            logon = self._require_may_log_on(logon_type, arrival)
            if via is not None:
                self._record_explicit(via, self._shown(logon, name), logon_type)
                arrival = replace(arrival, within=via.subject.principal.logon_id)
            attempt = self._attempt(logon, name, secret, logon_type)
            try:
                ticket = self._vouched(attempt, secret, arrival)
            except BaseException:
                attempt.discard()
                raise
        return self._answer(attempt, logon_type, arrival, ticket)

    def _attempt(
        self, logon: Logon, name: str, secret: Secret, logon_type: LogonType
    ) -> LogonAttempt[Newcomer]:
        """Ask whoever knows the name's password: the store, or somebody elsewhere."""
        ask = self.admission.elsewhere.knows(name, secret, logon_type)
        try:
            if ask is not None:
                return logon.elsewhere.attempt(
                    self.admission.elsewhere.counted_as(name),
                    ask,
                    partial(self._fit, logon_type),
                )
            found = logon.attempt(name, secret, logon_type)
            if found.error is not None:
                return LogonAttempt(
                    found.error, found.locks, found.delay, found.shown, found.sid
                )
            newcomer = _with_password(found.require(), secret)
            return LogonAttempt(newcomer, delay=found.delay, shown=found.shown)
        except SteadError as error:
            return LogonAttempt(error)

    def _fit(self, logon_type: LogonType, client: Authenticated) -> Newcomer:
        """Return who somebody elsewhere says that it is, if it may log on.

        Whoever may not is a failure like one with a wrong password: as late, and
        counted.
        """
        newcomer = self.admission.elsewhere.newcomer(client, logon_type)
        try:
            self.admission.require_may_log_on_now(newcomer)
        except BaseException:
            newcomer.close()
            raise
        return newcomer

    def _vouched(
        self, attempt: LogonAttempt[Newcomer], secret: Secret, arrival: Arrival
    ) -> Ticket | None:
        """Show a password that was right here to the broker, if that is wanted."""
        if (
            self.admission.tickets is None
            or not self.admission.shows_passwords
            or attempt.error
        ):
            return None
        newcomer = attempt.require()
        identity = newcomer.identity
        if identity.posix is None:
            return None
        whose = nobody(Principal(identity.user, identity.name), arrival)
        try:
            self.admission.guard.own.asking_broker(whose, "log_on", identity.name)
            return self.admission.tickets.vouch(identity.posix, secret)
        except BaseException:
            newcomer.close()
            raise

    def _require_may_log_on(self, logon_type: LogonType, arrival: Arrival) -> Logon:
        if loops.is_loop_thread():
            raise LoopThreadError(
                "`log_on` waits, and an event loop runs on this thread",
                advice="call it from a thread: `await asyncio.to_thread(server.log_on, "
                "name, secret)`",
            )
        try:
            self.admission.require_tcb()
        except PrivilegeNotHeldError as error:
            # Nobody looks whether there is such a name.
            self.admission.refusals.record_named(UNSEEN, arrival, error, logon_type)
            raise
        logon_rule(logon_type)
        if self.admission.logon is None:
            raise EnforcementUnavailableError(
                "no library that compares passwords is installed",
                advice="`pip install 'stead[password]'`",
            )
        return self.admission.logon

    def _shown(self, logon: Logon, name: str) -> str:
        """Return what a record calls a name before anybody compares its password."""
        if self.admission.elsewhere.is_theirs(name):
            return name[:LONGEST_SHOWN]  # a directory's: it has not been asked yet
        return logon.shown(logon.account_named(name), name)

    def _record_explicit(
        self, via: ClientContext, name: str, logon_type: LogonType
    ) -> None:
        """Record durably that a client uses somebody's password (Windows event 4648).

        Raises:
            LogonSessionEndedError: the client's session has ended.
            LedgerUnavailableError: it could not be recorded.
        """
        self.admission.guard.liveness.require_live(via.token)
        self.admission.guard.recorder.record(
            AuditEvent.EXPLICIT_CREDENTIALS,
            via.subject,
            object_type="Account",
            object_name=name,
            detail={"logon type": logon_type.name.lower()},
        )

    def _answer(
        self,
        attempt: LogonAttempt[Newcomer],
        logon_type: LogonType,
        arrival: Arrival,
        ticket: Ticket | None,
    ) -> LogonSession:
        """Take steps 4 and 5 of `log_on`."""
        error = attempt.error
        if error is None:
            try:
                return self.admission.open_session(
                    attempt.require(),
                    quality_at(ImpersonationLevel.IMPERSONATION),
                    arrival,
                    origin=self.admission.guard.process_token.logon_id,
                    ticket=ticket,
                )
            except SteadError as refusal:
                error = refusal.with_traceback(None)
                if ticket is not None:
                    ticket.close()
        failure = LogonFailureError()
        try:
            refusals = self.admission.refusals
            failure.record = refusals.record_named(
                attempt.shown, arrival, error, logon_type
            )
            if attempt.locks:
                refusals.record_lock(attempt.shown, attempt.sid, arrival)
        finally:
            self.admission.sleep(attempt.delay)
        # Outside every handler: what is raised here leads to no cause.
        raise failure


def _with_password(identity: Identity, secret: Secret) -> Newcomer:
    """Return an account that was logged on, with what its session keeps of it."""
    if not logon_rule(identity.logon_type).keeps_credentials:
        return Newcomer(identity=identity)
    kept = PasswordCredentials(identity.name, secret)
    return Newcomer(identity=identity, credentials=(kept,))
