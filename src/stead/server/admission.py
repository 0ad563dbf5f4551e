"""Letting clients in: who they are, by four doors.

Four doors. A local peer comes with ids that the kernel vouches for. A client that
somebody else authenticated comes by name, vouched for by the server itself. A client
that is logged on comes with its password. One that a package has authenticated comes as
a newcomer (`stead.server.authentication`). For the last three the server needs
SeTcbPrivilege in its process token. Their sessions, and the records of those, are the
matter of `stead.server.session_opening`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from stead.authority.account_policy import PasswordAges
from stead.authority.errands import Errand, at_once
from stead.authority.identity import (
    HostIdentity,
    Identity,
    identify_account,
    identify_peer,
)
from stead.authority.logon import Logon
from stead.authority.names import differ_in_case_alone
from stead.authority.newcomer import Newcomer, newcomer_of
from stead.authority.packages import Authenticated
from stead.authority.ports import AccountStore
from stead.authority.session import Session
from stead.authority.sessions import Sessions
from stead.decision.privilege_check import privilege_check
from stead.errors import (
    ImpersonationRefusedError,
    LogonFailureError,
    PrivilegeNotHeldError,
    SteadError,
    UnknownAccountError,
)
from stead.gates.ports import Ticket
from stead.model import well_known
from stead.model.audit_record import AuditEvent, Principal
from stead.model.logon_record import LogonType
from stead.model.luid import NO_LUID, Luid
from stead.model.posix_identity import PosixIdentity
from stead.model.privilege import Privilege
from stead.model.quality_of_service import QualityOfService
from stead.model.secret import Secret
from stead.model.token import ImpersonationLevel
from stead.monitor.guard import Guard
from stead.server.arrival import Arrival, new_correlation, quality_at
from stead.server.authorities import Elsewhere
from stead.server.brokered import Tickets
from stead.server.client_context import ClientContext
from stead.server.failure_quota import FailureQuota
from stead.server.logon_session import LogonSession
from stead.server.password_door import PasswordDoor
from stead.server.refusals import Refusals
from stead.server.session_opening import MakeClient, SessionOpening

__all__ = ["Admission", "Arrival", "new_correlation"]


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
        errand: has several questions asked of the store at once.
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
    errand: Errand = at_once

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
            through = () if ticket is None else ticket.through
            identity = identify_peer(self.store, peer, is_sent=bool(through))
            expires = None if ticket is None else ticket.expires
            newcomer = Newcomer(identity=identity, expires=expires, actors=through)
            session, client = self._opening.admit(newcomer, quality, arrival)
        except SteadError as error:
            failure = LogonFailureError()
            failure.record = self.refusals.record(
                principal, arrival, error, LogonType.NETWORK
            )
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
        2. The account must exist, have the name but for its case, be enabled and be
           allowed to log on.
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
            ImpersonationRefusedError: `via` is limited, and would be without limits.
            UnknownAccountError, AccountDisabledError, LogonTypeNotGrantedError: as they
                say; a client hears the same of each.
        """
        try:
            self.require_tcb()
            _require_unlimited(via)
            identity = identify_account(
                self.store, name, host=self.host, errand=self.errand
            )
            _require_spelled(name, identity)
            newcomer = Newcomer(identity=identity)
            session, client = self._opening.admit(newcomer, quality_at(level), arrival)
        except SteadError as error:
            self.refusals.record_named(name, arrival, error, LogonType.NETWORK)
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
        """Log an account on with its password; as `PasswordDoor.log_on`."""
        return PasswordDoor(self).log_on(
            name, secret, logon_type, arrival=arrival, via=via
        )

    @property
    def _opening(self) -> SessionOpening:
        return SessionOpening(self.guard, self.sessions, self.make_client, self.ages)

    @property
    def refusals(self) -> Refusals:
        """What writes down who was not let in."""
        return Refusals(self.guard, self.quota)

    def require_may_log_on_now(self, newcomer: Newcomer) -> None:
        """Return if somebody may log on as they come, at this time.

        Raises:
            SteadError: why not, for the trail.
        """
        self._opening.require_may_log_on_now(newcomer)

    def require_fit(self, client: Authenticated) -> None:
        """Return if somebody may log on from the network; raises `SteadError`."""
        newcomer = newcomer_of(
            self.store,
            client,
            self.elsewhere.issuers,
            host=self.host,
            logon_type=LogonType.NETWORK,
        )
        self.require_may_log_on_now(newcomer)

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
        session, client = self._opening.admit(newcomer, quality, arrival, origin)
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


def _require_spelled(name: str, identity: Identity) -> None:
    """Return if an account has a name as somebody else spells it, but for its case.

    To whoever authenticated the client, wide letters or ligatures may be another user.

    Raises:
        UnknownAccountError: it is spelled otherwise.
    """
    if not differ_in_case_alone(name, identity.name):
        raise UnknownAccountError(
            f"`{name[:80]}` is not how `{identity.name}` is spelled",
            advice="hand in the account's own name: to whoever authenticated the "
            "client, the other may be another user",
        )


def _require_unlimited(via: ClientContext | None) -> None:
    """Return unless a client would come by a grant: what a broker knows is all of it.

    Raises:
        ImpersonationRefusedError: it would.
    """
    if via is not None and via.token.limits is not None:
        raise ImpersonationRefusedError(
            f"grant {via.token.limits} brings nobody in: it would be without limits",
            advice="limit it further, `client.limited(...)`, or use it as it is",
        )
