"""Letting clients in: who they are, their session, and what they are handed.

Two doors. A local peer comes with ids that the kernel vouches for. A client that
somebody else authenticated comes by name, vouched for by the server itself, which
needs SeTcbPrivilege in its process token for that.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass

from stead.authority.identity import (
    HostIdentity,
    Identity,
    identify_account,
    identify_peer,
)
from stead.authority.ports import AccountStore
from stead.authority.sessions import Session, Sessions
from stead.decision.privilege_check import privilege_check
from stead.errors import (
    LogonFailureError,
    LogonTypeNotGrantedError,
    PrivilegeNotHeldError,
    SteadError,
)
from stead.model import well_known
from stead.model.audit_record import AuditEvent, Principal
from stead.model.logon_record import LogonType
from stead.model.posix_identity import PosixIdentity
from stead.model.privilege import LogonRight, Privilege
from stead.model.token import AccessToken, ImpersonationLevel
from stead.monitor.guard import Guard
from stead.monitor.ports import Subject
from stead.server.client_context import ClientContext, FileOpener


@dataclass(frozen=True, slots=True)
class Arrival:
    """How a client came.

    Attributes:
        gate: `pipe`, `http`, `local`.
        peer: what the gate knows of the other end.
        correlation: what ties its records together.
        package: what authenticated it.
        authenticated_by: who vouches for it.
    """

    gate: str
    peer: str
    correlation: str
    package: str
    authenticated_by: str


@dataclass(frozen=True, slots=True)
class Admission:
    """The server's door.

    Attributes:
        guard: records who came.
        store: where accounts live.
        sessions: opens sessions.
        host: what this host knows of a uid.
        opener: opens files as clients, if the kernel judges for this server.
    """

    guard: Guard
    store: AccountStore
    sessions: Sessions
    host: HostIdentity
    opener: FileOpener | None

    def admit_peer(
        self, peer: PosixIdentity, *, level: ImpersonationLevel, arrival: Arrival
    ) -> ClientContext:
        """Admit a local peer, whose ids the kernel vouches for.

        Raises:
            LogonFailureError: whatever the cause; the trail has it.
            LedgerUnavailableError: it could not be recorded.
        """
        principal = Principal(well_known.unix_user(peer.uid), f"uid {peer.uid}")
        try:
            identity = identify_peer(self.store, peer)
            return self._admit(identity, level=level, arrival=arrival)
        except SteadError as error:
            number = self._refused(principal, arrival, error)
            failure = LogonFailureError()
            failure.record = number
            raise failure from error

    def admit_asserted(
        self, name: str, *, level: ImpersonationLevel, arrival: Arrival
    ) -> ClientContext:
        """Admit an account that somebody trusted has authenticated.

        1. The server's process token must hold SeTcbPrivilege.
        2. The account must exist, be enabled and be allowed to log on.
        3. Its session opens, and the record of that is durable.

        Raises:
            PrivilegeNotHeldError: the server may not vouch for anybody.
            UnknownAccountError, AccountDisabledError, LogonTypeNotGrantedError: as they
                say; a client hears the same of each.
        """
        principal = Principal(well_known.NULL_SID, name[:80])
        try:
            self._require_tcb()
            identity = identify_account(self.store, name, host=self.host)
            return self._admit(identity, level=level, arrival=arrival)
        except SteadError as error:
            self._refused(principal, arrival, error)
            raise

    def _require_tcb(self) -> None:
        decision = privilege_check(self.guard.process_token, (Privilege.TCB,))
        if not decision:
            raise PrivilegeNotHeldError(
                decision.missing,
                advice="only a server that holds SeTcbPrivilege may vouch for clients",
            )

    def _admit(
        self, identity: Identity, *, level: ImpersonationLevel, arrival: Arrival
    ) -> ClientContext:
        if LogonRight.DENY_NETWORK.value in identity.rights:
            raise LogonTypeNotGrantedError(
                f"`{identity.name}` is denied to log on from the network"
            )
        session = self.sessions.open(
            identity,
            level=level,
            package=arrival.package,
            authenticated_by=arrival.authenticated_by,
            logon_type=LogonType.NETWORK,
        )
        subject = _subject(session, arrival)
        try:
            self.guard.recorder.record(
                AuditEvent.LOGON, subject, detail=_logon_detail(session, level)
            )
        except BaseException:
            self.sessions.end(session.record.logon_id)
            raise
        return ClientContext(
            subject, self.guard, opener=self.opener, end=self._ender(subject)
        )

    def _ender(self, subject: Subject) -> Callable[[], None]:
        def end() -> None:
            if self.sessions.end(subject.token.logon_id):
                self.guard.announce_end(AuditEvent.LOGOFF, subject)

        return end

    def _refused(
        self, principal: Principal, arrival: Arrival, error: SteadError
    ) -> int:
        nobody = AccessToken(principal.sid, level=ImpersonationLevel.ANONYMOUS)
        subject = Subject(
            nobody,
            principal,
            gate=arrival.gate,
            peer=arrival.peer,
            correlation=arrival.correlation,
            authenticated_by=arrival.authenticated_by,
        )
        return self.guard.recorder.record(AuditEvent.LOGON_FAILED, subject, error=error)


def _subject(session: Session, arrival: Arrival) -> Subject:
    record = session.record
    return Subject(
        session.token,
        Principal(record.user, record.name, record.logon_id),
        gate=arrival.gate,
        peer=arrival.peer,
        correlation=arrival.correlation,
        authenticated_by=arrival.authenticated_by,
    )


def _logon_detail(session: Session, level: ImpersonationLevel) -> dict[str, str]:
    record = session.record
    return {
        "logon type": record.logon_type.name.lower(),
        "package": record.package,
        "level": level.name.lower(),
        "uid": "" if session.posix is None else str(session.posix.uid),
    }


def new_correlation(given: str | None = None) -> str:
    """Return a new mark for one client's records, with its own beside it."""
    mark = secrets.token_hex(8)
    return f"{mark} {given}" if given else mark
