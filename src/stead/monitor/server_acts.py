"""What is recorded of the server itself: what it reports, asks, enables, passes on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Unpack

from stead.decision.privilege_check import privilege_check
from stead.errors import PrivilegeNotHeldError, SteadError
from stead.model.audit_record import AuditEvent
from stead.model.privilege import Privilege
from stead.model.token import AccessToken
from stead.monitor import context
from stead.monitor.ports import Subject
from stead.monitor.recorder import Parts, Recorder


@dataclass(frozen=True, slots=True, eq=False)
class ServerActs:
    """What one server's guard records about the server's own acts.

    Attributes:
        recorder: the server's pen.
        process_token: the server's own primary token.
        process: the process, as records print it.
    """

    recorder: Recorder
    process_token: AccessToken
    process: Mapping[str, str]

    def report(self, subject: Subject, **parts: Unpack[Parts]) -> int:
        """Record what the server's own code has to say of a client (event 4666).

        Raises:
            PrivilegeNotHeldError: the server's process token lacks SeAuditPrivilege:
                what it says is not taken for a record.
            LedgerUnavailableError: it could not be recorded.
        """
        decision = privilege_check(self.process_token, (Privilege.AUDIT,))
        if not decision:
            raise PrivilegeNotHeldError(
                decision.missing,
                advice="a server writes audit records of its own with "
                "SeAuditPrivilege in its process token: open it with `privileges=`",
            )
        return self.recorder.record(AuditEvent.APPLICATION_OPERATION, subject, **parts)

    def asking_broker(self, subject: Subject | None, request: str, about: str) -> int:
        """Record durably that the broker is about to be asked something.

        Raises:
            LedgerUnavailableError: then it is not asked.
        """
        return self.recorder.record(
            AuditEvent.BROKER_ASKED,
            subject,
            object_type="Broker",
            object_name=about,
            detail={"request": request},
        )

    def delegating(
        self,
        subject: Subject,
        target: str,
        *,
        protocol: str,
        mechanism: str = "",
        error: SteadError | None = None,
    ) -> int:
        """Record durably that another machine is about to be reached as a client.

        Args:
            subject: the client.
            target: the service.
            protocol: how it is reached.
            mechanism: by what the client is shown there, such as `kerberos`.
            error: why it is not reached, or not any more.

        Raises:
            LedgerUnavailableError: then it is not reached.
        """
        detail = {"protocol": protocol, "level": subject.token.level.name.lower()}
        if mechanism:
            detail["mechanism"] = mechanism
        return self.recorder.record(
            AuditEvent.DELEGATED,
            subject,
            error=error,
            object_type="Service",
            object_name=target,
            detail=detail,
        )

    def adjusting(
        self,
        subject: Subject | None,
        privileges: tuple[Privilege, ...],
        error: SteadError | None,
    ) -> None:
        """Record that privileges are enabled in a thread's token, or why not (4703).

        Args:
            subject: whose token; None for the server's own.
            privileges: which.
            error: what keeps them from it.

        Raises:
            LedgerUnavailableError: it could not be recorded; enable nothing.
        """
        self.recorder.record(
            AuditEvent.PRIVILEGES_ADJUSTED,
            subject,
            error=error,
            privileges=tuple(p.value for p in privileges),
            detail={**self.process, "where": context.caller()},
        )
