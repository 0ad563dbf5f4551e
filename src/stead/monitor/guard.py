"""The guard: the one place where check, record and refusal meet.

Whatever a server does for a client passes here, in one order: the session must live,
the judge decides, the record is durable, and only then the act runs or the refusal is
raised. A guard knows nothing of stores, sockets or system calls; it is handed what it
needs (`stead.monitor.ports`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import NoReturn

from stead.decision.access_check import access_check
from stead.decision.audit_check import AuditDemand
from stead.decision.privilege_check import privilege_check
from stead.errors import (
    AccessDeniedError,
    PrivilegeNotHeldError,
    SteadError,
)
from stead.model.audit_record import AuditEvent, Principal
from stead.model.decision import AccessDecision
from stead.model.impersonation_policy import AS_WINDOWS, Act, ImpersonationPolicy
from stead.model.limits import Circumstances
from stead.model.privilege import Privilege
from stead.model.token import AccessToken, ImpersonationLevel
from stead.monitor.block_acts import BlockActs
from stead.monitor.file_acts import FileActs
from stead.monitor.grant_use import GrantUses
from stead.monitor.object_acts import ObjectActs, audited_rights, demanded
from stead.monitor.ports import (
    AuditRules,
    AuditSink,
    Enforcer,
    FixedRules,
    Names,
    SessionLiveness,
    Subject,
)
from stead.monitor.process_acts import ProcessActs
from stead.monitor.recorder import Recorder
from stead.monitor.securable_object import Handle, SecurableObject
from stead.monitor.server_acts import ServerActs
from stead.monitor.who_may import WhoMay


@dataclass(frozen=True, slots=True, eq=False)
class Guard:
    """One server's reference monitor.

    Attributes:
        process_token: the server's own primary token.
        server: the server, as records print it.
        sink: where records go.
        enforcer: makes threads somebody.
        liveness: knows which sessions live.
        names: prints SIDs.
        clock: nanoseconds since the epoch, UTC.
        verbs: what this server offers inside blocks, for the texts of refusals.
        policy: who may be acted as, for what.
        rules: what is recorded beyond what always is.
        process: the process, as records about handles and privileges print it.
        grant_uses: which grants were used.
    """

    process_token: AccessToken
    server: Principal
    sink: AuditSink
    enforcer: Enforcer
    liveness: SessionLiveness
    names: Names
    clock: Callable[[], int]
    verbs: frozenset[str] = field(default_factory=frozenset)
    policy: ImpersonationPolicy = AS_WINDOWS
    rules: AuditRules = field(default_factory=FixedRules)
    process: Mapping[str, str] = field(default_factory=dict)
    grant_uses: GrantUses = field(default_factory=GrantUses)

    @property
    def recorder(self) -> Recorder:
        """The server's pen."""
        return Recorder(self.server, self.sink, self.clock, self.rules, self.grant_uses)

    # --- objects ------------------------------------------------------------------

    def check(
        self, subject: Subject, securable: SecurableObject, desired: int
    ) -> AccessDecision:
        """Judge, and record only what a SACL asks for: the object's, or its kind's.

        The audit policy may leave that out: nothing is done here.

        Args:
            subject: who asks.
            securable: what they ask about.
            desired: the rights; generic ones are mapped by the object's kind.

        Raises:
            LogonSessionEndedError: the session has ended.
            BadImpersonationLevelError: the token is anonymous.
            StoreUnavailableError: the descriptor cannot be read again.
        """
        decision = self._judge(subject, securable, desired)
        demand = demanded(self.rules, decision, securable)
        if demand:
            event = AuditEvent.OBJECT_ACCESS
            said = self.objects.said(securable, decision, demand)
            self.recorder.note(event, subject, **said)
        return decision

    def require(
        self, subject: Subject, securable: SecurableObject, desired: int
    ) -> AccessDecision:
        """Judge, record durably, and return only if access is granted.

        Raises:
            AccessDeniedError: it is not; holds the decision and the record's number.
            LedgerUnavailableError: it could not be recorded, so it is not done.
            LogonSessionEndedError, BadImpersonationLevelError: as in `check`.
        """
        decision = self._judge(subject, securable, desired)
        demand = demanded(self.rules, decision, securable)
        event = AuditEvent.OBJECT_ACCESS
        self._settle(event, subject, securable, decision, demand)
        return decision

    def open(
        self, subject: Subject, securable: SecurableObject, desired: int
    ) -> Handle:
        """Open a handle that remembers what was granted; raises as `require` does."""
        decision = self._judge(subject, securable, desired)
        demand = demanded(self.rules, decision, securable)
        event = AuditEvent.HANDLE_REQUESTED
        number = self._settle(event, subject, securable, decision, demand)
        return Handle(
            securable,
            decision.granted,
            number=number,
            require_live=lambda: self.liveness.require_live(subject.token),
            close=lambda handle: self.objects.closed(subject, handle),
            use=lambda handle, rights: self.objects.used(subject, handle, rights),
            audited=audited_rights(securable, demand),
        )

    def _settle(
        self,
        event: AuditEvent,
        subject: Subject,
        securable: SecurableObject,
        decision: AccessDecision,
        demand: AuditDemand,
    ) -> int:
        """Record a decision durably, and raise if it is a refusal."""
        said = self.objects.said(securable, decision, demand)
        number = self.recorder.record(event, subject, **said)
        if not decision:
            raise AccessDeniedError(
                decision=decision,
                object_name=securable.name,
                record=number,
                advice=f"record {number} of the trail says why",
            )
        return number

    def _judge(
        self, subject: Subject, securable: SecurableObject, desired: int
    ) -> AccessDecision:
        try:
            self.liveness.require_live(subject.token)
            mapping = securable.kind.mapping
            return access_check(
                subject.token,
                securable.in_force(),
                mapping.map(int(desired)),
                mapping,
                circumstances=self.circumstances(subject.token, securable),
            )
        except SteadError as error:
            self.recorder.record(
                AuditEvent.OBJECT_ACCESS,
                subject,
                error=error,
                object_type=securable.kind.name,
                object_name=securable.name,
                desired=int(desired),
            )
            raise

    def circumstances(
        self, token: AccessToken, securable: SecurableObject
    ) -> Circumstances | None:
        """Return what a limited token is asked about, now; None for any other token."""
        if token.limits is None:
            return None
        return Circumstances(securable.kind.name, securable.name, self.clock())

    @property
    def objects(self) -> ObjectActs:
        """What is recorded about objects and handles."""
        return ObjectActs(self.recorder, self.names, self.process)

    def reasons(
        self, decision: AccessDecision, securable: SecurableObject
    ) -> tuple[str, ...]:
        """Say in sentences why each right was granted or refused."""
        return self.objects.reasons(decision, securable)

    def refuse_unknown(self, subject: Subject, name: str) -> NoReturn:
        """Refuse an object that is not there as one that may not be had is refused.

        Raises:
            AccessDeniedError: always; recorded.
        """
        error = AccessDeniedError(object_name=name)
        self.recorder.record(
            AuditEvent.OBJECT_ACCESS,
            subject,
            error=error,
            object_name=name,
            reasons=("no object has this name",),
        )
        raise error

    # --- privileges -----------------------------------------------------------------

    def require_privilege(
        self,
        subject: Subject,
        privileges: tuple[Privilege, ...],
        *,
        operation: str,
        on: SecurableObject | None = None,
    ) -> int:
        """Demand privileges, all of them, enabled; recorded either way.

        Args:
            subject: who needs them.
            privileges: which.
            operation: what they are needed for.
            on: the object they are used on, if it is one (Windows event 4674 in place
                of 4673).

        Returns:
            the number of the record.

        Raises:
            PrivilegeNotHeldError: one is not held enabled.
            LogonSessionEndedError: the session has ended.
        """
        error = self._lacks(subject, privileges)
        event = AuditEvent.PRIVILEGED_SERVICE
        if on is not None:
            event = AuditEvent.PRIVILEGED_OBJECT
        number = self.recorder.record(
            event,
            subject,
            error=error,
            operation=operation,
            object_type="" if on is None else on.kind.name,
            object_name="" if on is None else on.name,
            privileges=tuple(p.value for p in privileges),
            detail={**self.process},
        )
        if error is not None:
            raise error
        return number

    def _lacks(
        self, subject: Subject, privileges: tuple[Privilege, ...]
    ) -> SteadError | None:
        """Return why the subject may not use the privileges, or None."""
        try:
            self.liveness.require_live(subject.token)
            decision = privilege_check(subject.token, privileges, time=self.clock())
        except SteadError as error:
            return error
        return None if decision else PrivilegeNotHeldError(decision.missing)

    # --- what is done by the server, and on the machine itself ------------------------

    @property
    def own(self) -> ServerActs:
        """What is recorded about the server's own acts."""
        return ServerActs(self.recorder, self.process_token, self.process)

    @property
    def files(self) -> FileActs:
        """What is recorded about files."""
        ready = partial(self.who_may.require_ready, act=Act.OPEN)
        return FileActs(self.recorder, ready)

    @property
    def processes(self) -> ProcessActs:
        """What is recorded about clients' processes, and demanded before they start."""
        return ProcessActs(self.recorder, self.who_may)

    @property
    def who_may(self) -> WhoMay:
        """Whom this server may act as."""
        return WhoMay(
            self.process_token,
            self.server.name,
            self.policy,
            self.liveness.require_live,
        )

    # --- identity -------------------------------------------------------------------

    @property
    def blocks(self) -> BlockActs:
        """What is asked and recorded when threads become somebody and go back."""
        return BlockActs(self.recorder, self.who_may, self.enforcer)

    def require_level(
        self, subject: Subject, needed: ImpersonationLevel, *, act: str
    ) -> None:
        """Return if the client allows `needed`; record the refusal and raise if not.

        Raises:
            BadImpersonationLevelError: the client, or whoever lowered its token,
                allows less; or the server may not impersonate, and so was given a token
                that only identifies.
        """
        if subject.token.level >= needed:
            return
        error = self.who_may.level_error(subject.token, needed, act=act)
        self.recorder.record(AuditEvent.IMPERSONATION_REFUSED, subject, error=error)
        raise error

    def announce_end(self, event: AuditEvent, subject: Subject) -> None:
        """Record the end of what the subject held; nobody waits for it.

        A finalizer may say so, inside somebody else's block: the chain is the
        subject's own.
        """
        self.recorder.queue(event, subject, None)
