"""Recording what the kernel is asked to open for a client, and what it said.

The kernel is the judge here. A record is durable before it is asked wherever Stead
asks it itself; in a block, where the client's code asks by itself, the block's own
entry is the durable one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from stead.errors import KernelRefusedError, SteadError
from stead.model.audit_record import AuditEvent
from stead.monitor import context
from stead.monitor.context import Frame
from stead.monitor.ports import Subject
from stead.monitor.recorder import Recorder


@dataclass(frozen=True, slots=True, eq=False)
class FileActs:
    """What one server's guard records about files.

    Attributes:
        recorder: the server's pen.
        require_ready: raises unless the subject's session lives and the server may
            act for it.
    """

    recorder: Recorder
    require_ready: Callable[[Subject], None]

    def ask(self, subject: Subject, path: str, flags: int) -> None:
        """Record durably that the kernel is about to be asked, as the client.

        Raises:
            LogonSessionEndedError, PrivilegeNotHeldError, LedgerUnavailableError: then
                the kernel is not asked.
        """
        event = AuditEvent.HANDLE_REQUESTED
        try:
            self.require_ready(subject)
        except SteadError as error:
            self._record(event, subject, path, flags, error)
            raise
        self._record(event, subject, path, flags, None)

    def answer(
        self, subject: Subject, path: str, flags: int, error: SteadError | None
    ) -> int:
        """Record durably what the kernel said; return the record's number."""
        return self._record(AuditEvent.FILE_OPENED, subject, path, flags, error)

    def note_raw(
        self,
        subject: Subject | None,
        event: str,
        path: str,
        error: SteadError | None = None,
    ) -> None:
        """Queue what a block asks of the machine by itself, refused if `error`.

        The block's own entry is durable; the kernel answers before a record could be.
        """
        kind = AuditEvent.HANDLE_REQUESTED
        self.recorder.queue(
            kind if error is None else AuditEvent.RAW_ACT_REFUSED,
            subject,
            context.raw_frame(),
            error=error,
            object_type="File",
            object_name=path,
            detail={"asked by": event},
        )

    def refused_by_kernel(self, frame: Frame, error: PermissionError) -> SteadError:
        """Record durably that the kernel refused inside a block; return our error.

        Raises:
            LedgerUnavailableError: it could not be recorded.
        """
        path = error.filename if isinstance(error.filename, str) else ""
        refusal = KernelRefusedError(
            f"the kernel refused the client `{path}`: {str(error.strerror).lower()}",
            errno=error.errno or 0,
            object_name=path,
        )
        self.recorder.record(
            AuditEvent.FILE_OPENED,
            frame.subject,
            error=refusal,
            object_type="File",
            object_name=path,
            detail={"judge": "kernel", "where": frame.where},
        )
        return refusal

    def _record(
        self,
        event: AuditEvent,
        subject: Subject,
        path: str,
        flags: int,
        error: SteadError | None,
    ) -> int:
        return self.recorder.record(
            event,
            subject,
            error=error,
            object_type="File",
            object_name=path,
            detail={"flags": f"{flags:#o}", "judge": "kernel"},
        )
