"""What is recorded of a server's own objects: decisions, and handles' use and close."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from operator import or_

from stead.codec.token_text import DIGEST, token_digest
from stead.decision.audit_check import AuditDemand, audit_check
from stead.decision.explain import explain, sentence
from stead.errors import AccessDeniedError
from stead.model.audit_record import AuditEvent
from stead.model.decision import AccessDecision
from stead.monitor import context
from stead.monitor.ports import AuditRules, Names, Subject
from stead.monitor.recorder import Parts, Recorder
from stead.monitor.securable_object import Handle, SecurableObject


@dataclass(frozen=True, slots=True, eq=False)
class ObjectActs:
    """What one server's guard records about objects.

    Attributes:
        recorder: the server's pen.
        names: prints SIDs.
        process: the process, as records print it.
    """

    recorder: Recorder
    names: Names
    process: Mapping[str, str]

    def said(
        self,
        securable: SecurableObject,
        decision: AccessDecision,
        demand: AuditDemand,
    ) -> Parts:
        """Return what a record says of a decision: rights, reasons, process."""
        token = decision.question.token
        detail = {**self.process, DIGEST: token_digest(token)}
        if demand:
            detail["sacl"] = "asked"
        if token.restricting_sids:
            detail["restricted sids"] = str(len(token.restricting_sids))
        return {
            "error": None if decision else AccessDeniedError(),
            "object_type": securable.kind.name,
            "object_name": securable.name,
            "desired": decision.question.desired,
            "granted": decision.granted,
            "privileges": tuple(p.value for p in decision.privileges_used),
            "reasons": self.reasons(decision, securable),
            "detail": detail,
        }

    def reasons(
        self, decision: AccessDecision, securable: SecurableObject
    ) -> tuple[str, ...]:
        """Say in sentences why each right was granted or refused."""
        rights = securable.kind.rights
        return tuple(
            sentence(reason, names=self.names, rights=rights)
            for reason in explain(decision)
        )

    def used(self, subject: Subject, handle: Handle, rights: int) -> None:
        """Record that rights are used through a handle for the first time."""
        self.recorder.note(
            AuditEvent.OBJECT_ACCESS,
            subject,
            object_type=handle.object.kind.name,
            object_name=handle.object.name,
            desired=rights,
            granted=rights,
            detail={**self.process, "opened by": str(handle.number)},
        )

    def closed(self, subject: Subject, handle: Handle) -> None:
        """Record that a handle is closed; nobody waits for it."""
        self.recorder.queue(
            AuditEvent.HANDLE_CLOSED,
            subject,
            context.raw_frame(),
            object_type=handle.object.kind.name,
            object_name=handle.object.name,
            granted=handle.granted,
            detail={"opened by": str(handle.number)},
        )


def audited_rights(securable: SecurableObject, demand: AuditDemand) -> int:
    """Return the rights that the entries of a demand are about."""
    mapping = securable.kind.mapping
    return reduce(or_, (mapping.map(ace.mask) for ace in demand.aces), 0)


def demanded(
    rules: AuditRules, decision: AccessDecision, securable: SecurableObject
) -> AuditDemand:
    """Return which audit entries ask for a record: the object's, and its kind's."""
    sacls = rules.in_force().global_sacls
    return audit_check(decision, sacls.get(securable.kind.name) if sacls else None)
