"""Recording what is started for a client, and what must hold before it is.

Win32: CreateProcessAsUser. A program's name and the number of its arguments are
recorded, never their text nor the environment: either may hold a secret, and what is in
the trail cannot be taken out. (Windows leaves the command line out of event 4688 too,
unless a policy asks for it.)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from stead.errors import (
    BadTokenTypeError,
    ImpersonationRefusedError,
    PrivilegeNotHeldError,
    SteadError,
)
from stead.model.audit_record import AuditEvent
from stead.model.privilege import Privilege, PrivilegeAttributes
from stead.model.token import AccessToken, TokenType
from stead.monitor.ports import Subject
from stead.monitor.recorder import Parts, Recorder
from stead.monitor.who_may import WhoMay

TO_START: Final = (Privilege.ASSIGN_PRIMARY_TOKEN, Privilege.INCREASE_QUOTA)
"""What a server's token holds that starts processes as others."""


@dataclass(frozen=True, slots=True)
class Deed:
    """A program or function to be started, as records print it.

    Attributes:
        kind: `Process` or `Function`.
        name: the program, or the function by module and name.
        arguments: how many arguments it is given.
    """

    kind: str
    name: str
    arguments: int


@dataclass(frozen=True, slots=True, eq=False)
class ProcessActs:
    """What one server's guard demands and records about what it starts.

    Attributes:
        recorder: the server's pen.
        who_may: whom the server may act as.
    """

    recorder: Recorder
    who_may: WhoMay

    # --- programs -------------------------------------------------------------------

    def require_primary(self, token: AccessToken) -> None:
        """Return if a process can be started with the token.

        Raises:
            BadTokenTypeError: it is an impersonation token.
            ImpersonationRefusedError: it is the server's own; what starts processes
                starts those of clients.
            LogonSessionEndedError: its session has ended.
        """
        if token.type is not TokenType.PRIMARY:
            raise BadTokenTypeError(
                "a process needs a primary token",
                advice="duplicate it: `duplicate_token(token, type=TokenType.PRIMARY)`",
            )
        if token.logon_id == self.who_may.process_token.logon_id:
            raise ImpersonationRefusedError(
                "the server's own token starts no client's process",
                advice="start the server's own programs with `subprocess`",
            )
        self.who_may.require_live(token)

    def require_may_start(self) -> None:
        """Return if the server may start processes as others.

        The privileges must be held and need not be enabled: as CreateProcessAsUser
        does, the call enables them for itself.

        Raises:
            PrivilegeNotHeldError: one is not held, or was removed.
        """
        held = {
            entry.privilege
            for entry in self.who_may.process_token.privileges
            if not entry.attributes & PrivilegeAttributes.REMOVED
        }
        missing = tuple(privilege for privilege in TO_START if privilege not in held)
        if missing:
            raise PrivilegeNotHeldError(
                missing,
                advice="open the server with them: `ProtectedServer(name, "
                "privileges=...)`",
            )

    def creating(self, subject: Subject, deed: Deed) -> int:
        """Record durably that a process is about to be started; return the number.

        Raises:
            LedgerUnavailableError: then it is not started.
        """
        return self._record(AuditEvent.PROCESS_CREATED, subject, deed)

    def not_created(
        self, subject: Subject, deed: Deed, error: SteadError, announced: int | None
    ) -> None:
        """Record durably that a process was refused, or could not be started.

        Args:
            subject: for whom.
            deed: what was asked for.
            error: why.
            announced: the number of the record that had announced it, if any.
        """
        event = AuditEvent.PROCESS_CREATED
        self._record(event, subject, deed, error=error, detail=_announced(announced))

    def exited(
        self, subject: Subject, deed: Deed, detail: dict[str, str], announced: int
    ) -> None:
        """Record that a process ended, and how; nobody waits for it."""
        self._queue(
            AuditEvent.PROCESS_EXITED,
            subject,
            deed,
            detail=detail | _announced(announced),
        )

    # --- functions ------------------------------------------------------------------

    def calling(self, subject: Subject, deed: Deed) -> int:
        """Record durably that a function is about to run; return the number.

        Raises:
            LedgerUnavailableError: then it does not run.
        """
        return self._record(AuditEvent.FUNCTION_RUN, subject, deed)

    def not_called(
        self, subject: Subject, deed: Deed, error: SteadError, announced: int | None
    ) -> None:
        """Record durably that a function was refused; as `not_created`."""
        event = AuditEvent.FUNCTION_RUN
        self._record(event, subject, deed, error=error, detail=_announced(announced))

    def called(
        self, subject: Subject, deed: Deed, announced: int, error: SteadError | None
    ) -> None:
        """Record that a function ended, and how; nobody waits for it."""
        event, detail = AuditEvent.FUNCTION_ENDED, _announced(announced)
        self._queue(event, subject, deed, error=error, detail=detail)

    # --- workers --------------------------------------------------------------------

    def worker_starting(self, subject: Subject, kind: str) -> int:
        """Record durably that a worker's process is about to be started as a client.

        Raises:
            LedgerUnavailableError: then it is not started.
        """
        return self.recorder.record(
            AuditEvent.WORKER_STARTED, subject, object_type="Worker", object_name=kind
        )

    def worker_ended(
        self, subject: Subject, kind: str, detail: dict[str, str], announced: int
    ) -> None:
        """Record that a worker's process has ended; nobody waits for it."""
        self.recorder.queue(
            AuditEvent.WORKER_ENDED,
            subject,
            None,
            object_type="Worker",
            object_name=kind,
            detail=detail | _announced(announced),
        )

    # --- the records ----------------------------------------------------------------

    def _record(
        self,
        event: AuditEvent,
        subject: Subject,
        deed: Deed,
        *,
        error: SteadError | None = None,
        detail: dict[str, str] | None = None,
    ) -> int:
        return self.recorder.record(event, subject, **_parts(deed, detail or {}, error))

    def _queue(
        self,
        event: AuditEvent,
        subject: Subject,
        deed: Deed,
        *,
        error: SteadError | None = None,
        detail: dict[str, str],
    ) -> None:
        # Told by whoever noticed, perhaps in a block of somebody else: the chain is
        # the subject's own.
        self.recorder.queue(event, subject, None, **_parts(deed, detail, error))


def _parts(deed: Deed, detail: dict[str, str], error: SteadError | None) -> Parts:
    return {
        "object_type": deed.kind,
        "object_name": deed.name,
        "detail": {"arguments": str(deed.arguments)} | detail,
        "error": error,
    }


def _announced(number: int | None) -> dict[str, str]:
    return {} if number is None else {"announced by": str(number)}


@dataclass(slots=True, eq=False)
class WorkerNotes:
    """What is recorded of one worker, if it is started.

    Attributes:
        acts: the records.
        subject: for whom it is started.
        kind: what it does.
        number: the record that announced it; None before that.
    """

    acts: ProcessActs
    subject: Subject
    kind: str
    number: int | None = None

    def starting(self) -> None:
        """Record durably that it is about to be started; raises if that fails."""
        self.number = self.acts.worker_starting(self.subject, self.kind)

    def ended(self, pid: int | None, status: int | None) -> None:
        """Record that it has ended, if it was announced."""
        if self.number is None:
            return
        how = {"pid": str(pid)} if pid is not None else {}
        if status is not None:
            how["status"] = str(status)
        self.acts.worker_ended(self.subject, self.kind, how, self.number)
