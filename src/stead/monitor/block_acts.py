"""What is asked, and what is recorded, when a thread becomes somebody and goes back.

The blocks of `stead.monitor.impersonation` and the steps of `stead.monitor.stepping` do
what is said here; the rules are `stead.monitor.who_may`'s.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from stead.errors import SteadError
from stead.model.audit_record import AuditEvent
from stead.model.impersonation_policy import Act
from stead.model.privilege import Privilege
from stead.model.token import AccessToken, ImpersonationLevel
from stead.monitor import context
from stead.monitor.context import Frame
from stead.monitor.frames import FrameKind
from stead.monitor.ports import Enforcer, Entered, Subject
from stead.monitor.recorder import Recorder
from stead.monitor.who_may import WhoMay

_EVERYBODY_HOLDS: Final = frozenset({Privilege.CHANGE_NOTIFY})


@dataclass(frozen=True, slots=True, eq=False)
class BlockActs:
    """What one server's guard has to do with identities.

    Attributes:
        recorder: the server's pen.
        who_may: whom this server may act as.
        enforcer: makes threads somebody.
    """

    recorder: Recorder
    who_may: WhoMay
    enforcer: Enforcer

    def announce(
        self, kind: FrameKind, subject: Subject | None, *, at: str = ""
    ) -> bool:
        """Record that a block is about to be entered: durably, unless it is covered.

        A client's block in an operation of the same client's is announced by the
        durable record of that operation (`stead.monitor.covering`).

        Args:
            kind: what it makes of its thread.
            subject: the client, for a client's.
            at: file and line that the record names; the caller's, if not given.

        Returns:
            whether the record of the client's operation covers it.

        Raises:
            LogonSessionEndedError: the client's session has ended.
            PrivilegeNotHeldError: the server may not impersonate.
            LedgerUnavailableError: it cannot be recorded, so it is not entered.
        """
        if kind is FrameKind.HANDLER:
            return False
        where = {"where": at or context.caller()}
        if kind is FrameKind.SERVER or subject is None:
            how = {} if subject is None else _how(subject.token)
            self.recorder.record(AuditEvent.ACTED_AS_SERVER, None, detail=where | how)
            return False
        try:
            self.who_may.require_ready(subject, Act.IMPERSONATE)
        except SteadError as error:
            self.recorder.record(
                AuditEvent.IMPERSONATION_REFUSED, subject, error=error, detail=where
            )
            raise
        is_covered = self._cover_entering(subject, where["where"])
        if not is_covered:
            event, how = AuditEvent.IMPERSONATION_ENTERED, _how(subject.token)
            self.recorder.record(event, subject, detail=where | how)
        return is_covered

    def announce_at_once(self, subject: Subject, *, at: str) -> bool:
        """Record a client's block as `announce` does, if nobody has to be waited for.

        Whoever asks knows that the session is believed, and needs not be asked about.

        Returns:
            whether it is recorded; if not, `announce` it where that may wait, which
            says what is wrong, if something is.
        """
        if subject.token.level < ImpersonationLevel.IMPERSONATION:
            return False
        try:
            self.who_may.require_allowed(subject, Act.IMPERSONATE)
        except SteadError:
            return False
        return self._cover_entering(subject, at)

    def _cover_entering(self, subject: Subject, at: str) -> bool:
        detail = {"where": at} | _how(subject.token)
        event = AuditEvent.IMPERSONATION_ENTERED
        return self.recorder.cover(event, subject, detail=detail)

    def announce_many(
        self, event: AuditEvent, subject: Subject, *, where: str, many: int, since: int
    ) -> None:
        """Record together what an operation did often; nobody waits for it.

        Args:
            event: entered, or left.
            subject: the client.
            where: file and line.
            many: how many blocks, beside those that have records of their own.
            since: when the last of these was recorded.
        """
        counted = {"where": where, "count": str(many), "since": str(since)}
        if event is AuditEvent.IMPERSONATION_ENTERED:
            counted |= _how(subject.token)
        self.recorder.queue(event, subject, None, detail=counted)

    def enter(self, subject: Subject | None) -> Entered:
        """Make the kernel follow the subject, where it can; None is the server.

        Raises:
            ImpersonationRefusedError: the kernel cannot become this client; recorded.
        """
        token = None if subject is None else subject.token
        try:
            return self.enforcer.enter(token)
        except SteadError as error:
            self.tell_refused(subject, error)
            raise

    def tell_refused(self, subject: Subject | None, error: SteadError) -> None:
        """Record durably that the kernel cannot become a client."""
        self.recorder.record(AuditEvent.IMPERSONATION_REFUSED, subject, error=error)

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


def _how(token: AccessToken) -> dict[str, str]:
    """Say with what a thread acts."""
    enabled = sorted(
        privilege.value for privilege in token.enabled_privileges - _EVERYBODY_HOLDS
    )
    shown = {"enabled": " ".join(enabled)} if enabled else {}
    return {"level": token.level.name.lower()} | shown
