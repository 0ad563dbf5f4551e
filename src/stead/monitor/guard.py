"""The guard: the one place where check, record and refusal meet.

Whatever a server does for a client passes here, in one order: the session must live,
the judge decides, the record is durable, and only then the act runs or the refusal is
raised. A guard knows nothing of stores, sockets or system calls; it is handed what it
needs (`stead.monitor.ports`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Final, NoReturn

from stead.decision.access_check import access_check
from stead.decision.audit_check import audit_check
from stead.decision.explain import explain, sentence
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
from stead.monitor import context
from stead.monitor.context import Frame
from stead.monitor.file_acts import FileActs
from stead.monitor.frames import FrameKind
from stead.monitor.ports import (
    AuditSink,
    Enforcer,
    Entered,
    Names,
    SessionLiveness,
    Subject,
)
from stead.monitor.process_acts import ProcessActs
from stead.monitor.recorder import Recorder
from stead.monitor.securable_object import Handle, SecurableObject
from stead.monitor.who_may import WhoMay

_EVERYBODY_HOLDS: Final = frozenset({Privilege.CHANGE_NOTIFY})


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

    @property
    def recorder(self) -> Recorder:
        """The server's pen."""
        return Recorder(self.server, self.sink, self.clock)

    # --- objects ------------------------------------------------------------------

    def check(
        self, subject: Subject, securable: SecurableObject, desired: int
    ) -> AccessDecision:
        """Judge, and record only what the object's SACL asks for.

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
        if audit_check(decision):
            self._record(AuditEvent.OBJECT_ACCESS, subject, securable, decision)
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
        return self._settle(subject, securable, desired, AuditEvent.OBJECT_ACCESS)[0]

    def open(
        self, subject: Subject, securable: SecurableObject, desired: int
    ) -> Handle:
        """Open a handle that remembers what was granted; raises as `require` does."""
        decision, number = self._settle(
            subject, securable, desired, AuditEvent.HANDLE_REQUESTED
        )
        return Handle(
            securable,
            decision.granted,
            number=number,
            require_live=lambda: self.liveness.require_live(subject.token),
            close=lambda handle: self._closed(subject, handle),
        )

    def _settle(
        self,
        subject: Subject,
        securable: SecurableObject,
        desired: int,
        event: AuditEvent,
    ) -> tuple[AccessDecision, int]:
        decision = self._judge(subject, securable, desired)
        number = self._record(event, subject, securable, decision)
        if not decision:
            raise AccessDeniedError(
                decision=decision,
                object_name=securable.name,
                record=number,
                advice=f"record {number} of the trail says why",
            )
        return decision, number

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

    def _record(
        self,
        event: AuditEvent,
        subject: Subject,
        securable: SecurableObject,
        decision: AccessDecision,
    ) -> int:
        """Record a decision durably, with its reasons; return the number."""
        return self.recorder.record(
            event,
            subject,
            error=None if decision else AccessDeniedError(),
            object_type=securable.kind.name,
            object_name=securable.name,
            desired=decision.question.desired,
            granted=decision.granted,
            privileges=tuple(p.value for p in decision.privileges_used),
            reasons=self.reasons(decision, securable),
            detail={"sacl": "asked"} if audit_check(decision) else {},
        )

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

    def reasons(
        self, decision: AccessDecision, securable: SecurableObject
    ) -> tuple[str, ...]:
        """Say in sentences why each right was granted or refused."""
        rights = securable.kind.rights
        return tuple(
            sentence(reason, names=self.names, rights=rights)
            for reason in explain(decision)
        )

    def _closed(self, subject: Subject, handle: Handle) -> None:
        self.recorder.queue(
            AuditEvent.HANDLE_CLOSED,
            subject,
            context.raw_frame(),
            object_type=handle.object.kind.name,
            object_name=handle.object.name,
            granted=handle.granted,
            detail={"opened by": str(handle.number)},
        )

    # --- privileges -----------------------------------------------------------------

    def require_privilege(
        self, subject: Subject, privileges: tuple[Privilege, ...], *, operation: str
    ) -> int:
        """Demand privileges, all of them, enabled; recorded either way.

        Returns:
            the number of the record.

        Raises:
            PrivilegeNotHeldError: one is not held enabled.
            LogonSessionEndedError: the session has ended.
        """
        error = self._lacks(subject, privileges)
        number = self.recorder.record(
            AuditEvent.PRIVILEGED_SERVICE,
            subject,
            error=error,
            operation=operation,
            privileges=tuple(p.value for p in privileges),
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

    # --- what is done on the machine itself -------------------------------------------

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

    # --- identity (called by the blocks of `stead.monitor.impersonation`) -------------

    def announce(
        self, kind: FrameKind, subject: Subject | None, *, at: str = ""
    ) -> None:
        """Record durably that a block is about to be entered.

        Args:
            kind: what it makes of its thread.
            subject: the client, for a client's.
            at: file and line that the record names; the caller's, if not given.

        Raises:
            LogonSessionEndedError: the client's session has ended.
            PrivilegeNotHeldError: the server may not impersonate.
            LedgerUnavailableError: it cannot be recorded, so it is not entered.
        """
        if kind is FrameKind.HANDLER:
            return
        where = {"where": at or context.caller()}
        if kind is FrameKind.SERVER or subject is None:
            how = {} if subject is None else _how(subject.token)
            self.recorder.record(AuditEvent.ACTED_AS_SERVER, None, detail=where | how)
            return
        try:
            self.who_may.require_ready(subject, Act.IMPERSONATE)
        except SteadError as error:
            self.recorder.record(
                AuditEvent.IMPERSONATION_REFUSED, subject, error=error, detail=where
            )
            raise
        self.recorder.record(
            AuditEvent.IMPERSONATION_ENTERED,
            subject,
            detail=where | _how(subject.token),
        )

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

    def enter(self, subject: Subject | None) -> Entered:
        """Make the kernel follow the subject, where it can; None is the server.

        Raises:
            ImpersonationRefusedError: the kernel cannot become this client; recorded.
        """
        token = None if subject is None else subject.token
        try:
            return self.enforcer.enter(token)
        except SteadError as error:
            self.recorder.record(AuditEvent.IMPERSONATION_REFUSED, subject, error=error)
            raise

    def announce_left(self, frame: Frame, disorder: SteadError | None) -> None:
        """Record that a block was left, or leaked; nobody waits for it."""
        if disorder is None and frame.kind is not FrameKind.CLIENT:
            return
        left, leaked = AuditEvent.IMPERSONATION_LEFT, AuditEvent.IDENTITY_LEAKED
        # Blocks left late or elsewhere have nothing to do with who is in force there.
        self.recorder.queue(
            left if disorder is None else leaked,
            frame.subject,
            frame.outer,
            error=disorder,
            detail={"where": frame.where},
        )

    def announce_end(self, event: AuditEvent, subject: Subject) -> None:
        """Record the end of what the subject held; nobody waits for it.

        A finalizer may say so, inside somebody else's block: the chain is the
        subject's own.
        """
        self.recorder.queue(event, subject, None)


def _how(token: AccessToken) -> dict[str, str]:
    """Say with what a thread acts."""
    enabled = sorted(
        privilege.value for privilege in token.enabled_privileges - _EVERYBODY_HOLDS
    )
    shown = {"enabled": " ".join(enabled)} if enabled else {}
    return {"level": token.level.name.lower()} | shown
