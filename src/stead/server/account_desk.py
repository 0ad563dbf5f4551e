"""What every change of accounts has in common: judged, recorded, then in force at once.

What a subject may do is the descriptor of the object `stead:accounts`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from stead.authority.ports import Account, AccountStore
from stead.authority.sessions import Sessions
from stead.errors import SteadError, UnknownAccountError
from stead.model.audit_record import AuditEvent
from stead.monitor.guard import Guard
from stead.monitor.ports import Subject
from stead.monitor.securable_object import SecurableObject
from stead.server.own_objects import AccountDatabase


@dataclass(frozen=True, slots=True)
class AccountDesk:
    """Where changes of accounts are asked for.

    Attributes:
        guard: judges and records.
        sessions: learns that something was changed.
        database: the object whose descriptor says who may.
        subject: on whose behalf.
    """

    guard: Guard
    sessions: Sessions
    database: SecurableObject
    subject: Subject

    def require(self, right: AccountDatabase) -> None:
        """Return if the subject may; raises `AccessDeniedError`."""
        self.guard.require(self.subject, self.database, int(right))

    @contextmanager
    def changing(self, event: AuditEvent, name: str, **detail: str) -> Iterator[None]:
        """Record a change before it is made, and again if it fails.

        In this process it counts at once, also for sessions that are open.

        Raises:
            LedgerUnavailableError: it could not be recorded; it is not made.
        """
        changing = self.guard.recorder.changing(
            event,
            self.subject,
            object_type=self.database.kind.name,
            object_name=name,
            detail=detail,
        )
        try:
            with changing:
                yield
        finally:
            self.sessions.expire()

    def record(
        self, event: AuditEvent, name: str, error: SteadError | None, **detail: str
    ) -> int:
        """Record what was asked and came to nothing, or what came of it besides."""
        return self.guard.recorder.record(
            event,
            self.subject,
            error=error,
            object_type=self.database.kind.name,
            object_name=name,
            detail=detail,
        )


def account_named(store: AccountStore, name: str) -> Account:
    """Return the account of this name; raises `UnknownAccountError`."""
    found = store.account_by_name(name)
    if found is None:
        raise UnknownAccountError(
            f"no account is called `{name[:80]}`",
            advice="`stead account list` shows those there are",
        )
    return found
