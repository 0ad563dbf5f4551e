"""What the server asks of whatever keeps its audit policy."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from stead.model.acl import Acl
from stead.model.audit_policy import (
    AccountAuditing,
    Auditing,
    AuditPolicy,
    Subcategory,
)
from stead.model.audit_record import AuditEvent
from stead.model.sid import Sid


class AuditPolicyStore(Protocol):
    """Where the audit policy lives; it decides nothing."""

    def policy(self) -> AuditPolicy:
        """Return all of it.

        Raises:
            StoreUnavailableError: it cannot be read, or says what nobody understands.
        """
        ...

    def set_everybody(self, subcategory: Subcategory, wanted: Auditing) -> None:
        """Keep what is recorded of everybody."""
        ...

    def set_account(
        self, sid: Sid, subcategory: Subcategory, wanted: AccountAuditing
    ) -> None:
        """Keep what is recorded of one account; nothing of it if that is nothing."""
        ...

    def set_global_sacl(self, type_name: str, sacl: Acl | None) -> None:
        """Keep the SACL of a whole kind of objects; None for none."""
        ...

    def set_losable(self, events: Iterable[AuditEvent]) -> None:
        """Keep which events may be lost while the trail cannot be written."""
        ...
