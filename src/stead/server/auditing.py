"""What is recorded beyond what always is: read by the guard, changed by who may.

Who may read or change the policy is the descriptor of the object `stead:audit policy`.
The SACL of a whole kind of objects takes SeSecurityPrivilege, as that of one object
does. Each change is recorded before it is made.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from stead.authority.audit_ports import AuditPolicyStore
from stead.authority.names import NameTable
from stead.authority.session import LEASE
from stead.codec.sddl import spelled
from stead.errors import StoreUnavailableError
from stead.model.acl import ABSENT_DACL, Acl
from stead.model.audit_policy import (
    AccountAuditing,
    Auditing,
    AuditPolicy,
    Subcategory,
)
from stead.model.audit_record import AuditEvent
from stead.model.privilege import Privilege
from stead.model.security_descriptor import SecurityDescriptor
from stead.model.sid import Sid
from stead.monitor.guard import Guard
from stead.monitor.ports import Subject
from stead.monitor.securable_object import ObjectKind, SecurableObject
from stead.server.object_entries import Entries, audit_entries
from stead.server.own_objects import AuditSettings

_log: Final = logging.getLogger("stead.server")


class StoredRules:
    """The `AuditRules` of a store, believed for a lease: others may change them."""

    def __init__(
        self, store: AuditPolicyStore, *, monotonic: Callable[[], int]
    ) -> None:
        """Read them; raises `StoreUnavailableError`."""
        self._store = store
        self._monotonic = monotonic
        self._policy = AuditPolicy()
        self._lease_ends = 0
        self.read()

    def read(self) -> AuditPolicy:
        """Read them now; raises `StoreUnavailableError`."""
        begins = self._monotonic()
        self._policy = self._store.policy()
        self._lease_ends = begins + LEASE
        return self._policy

    def known(self) -> AuditPolicy:
        """Return the policy as it was last read; never waits."""
        return self._policy

    def in_force(self) -> AuditPolicy:
        """Return the policy, read again where it is known for too long."""
        if self._monotonic() < self._lease_ends:
            return self._policy
        try:
            return self.read()
        except StoreUnavailableError:
            # The trail lies in the same store: what must be recorded will be refused.
            _log.exception("the audit policy cannot be read; the last one goes on")
            return self._policy


@dataclass(frozen=True, slots=True)
class AuditDesk:
    """Where the audit policy is read and changed, on behalf of a subject.

    Attributes:
        guard: judges and records.
        store: where the policy lives.
        rules: what the guard goes by; told of each change.
        names: resolves accounts.
        securable: the object whose descriptor says who may.
        subject: on whose behalf.
    """

    guard: Guard
    store: AuditPolicyStore
    rules: StoredRules
    names: NameTable
    securable: SecurableObject
    subject: Subject

    def policy(self) -> AuditPolicy:
        """Return the policy; raises `AccessDeniedError`."""
        self._require(AuditSettings.READ)
        return self.rules.read()

    def require_may_change(self) -> None:
        """Return if the subject may change the policy; raises `AccessDeniedError`."""
        self._require(AuditSettings.WRITE)

    def set_everybody(self, subcategory: Subcategory, wanted: Auditing) -> None:
        """Say what is recorded of everybody (Windows event 4719).

        Raises:
            InvalidRequestError: that would leave out what is always recorded.
            AccessDeniedError: the subject may not.
        """
        self._require(AuditSettings.WRITE)
        before = self.rules.read()
        before.with_setting(subcategory, wanted)
        changed = {"old": words(before.of(subcategory)), "new": words(wanted)}
        with self._changing(
            AuditEvent.AUDIT_POLICY_CHANGED, subcategory.value, changed
        ):
            self.store.set_everybody(subcategory, wanted)

    def set_account(
        self, account: Sid | str, subcategory: Subcategory, wanted: AccountAuditing
    ) -> None:
        """Say what is recorded of one account (Windows event 4912).

        Raises:
            InvalidRequestError: as `set_everybody`.
            UnknownAccountError: nobody is called that.
            AccessDeniedError: the subject may not.
        """
        self._require(AuditSettings.WRITE)
        sid, before = self.names.find(account), self.rules.read()
        before.with_account(sid, subcategory, wanted)
        changed = {
            "account": self.names(sid),
            "sid": str(sid),
            "old": _own(before.of_account(sid, subcategory)),
            "new": _own(wanted),
        }
        with self._changing(
            AuditEvent.ACCOUNT_AUDIT_CHANGED, subcategory.value, changed
        ):
            self.store.set_account(sid, subcategory, wanted)

    def set_losable(self, events: Iterable[AuditEvent]) -> None:
        """Say which events may be lost while the trail cannot be written.

        Without any, which is the default, an act whose record cannot be written is
        refused. What is lost is counted, and told once it can be.

        Raises:
            InvalidRequestError: one of them never may.
            AccessDeniedError: the subject may not.
        """
        self._require(AuditSettings.WRITE)
        wanted, before = frozenset(events), self.rules.read()
        before.with_losable(wanted)
        changed = {"old": _events(before.losable), "new": _events(wanted)}
        with self._changing(AuditEvent.AUDIT_POLICY_CHANGED, "may be lost", changed):
            self.store.set_losable(wanted)

    def global_sacl(self, kind: ObjectKind) -> Acl | None:
        """Return the SACL of all objects of a kind.

        Raises:
            PrivilegeNotHeldError: the subject lacks SeSecurityPrivilege.
        """
        self.require_may_set_global_sacl(kind)
        return self.rules.read().global_sacls.get(kind.name)

    def set_global_sacl(self, kind: ObjectKind, entries: Entries) -> None:
        """Replace the SACL of all objects of a kind, or take it (event 4817).

        Raises:
            PrivilegeNotHeldError: the subject lacks SeSecurityPrivilege.
            InvalidRequestError: an entry is no audit entry.
            UnknownAccountError: an entry names nobody.
        """
        aces = audit_entries(entries, kind, self.names)
        self.require_may_set_global_sacl(kind)
        before, after = self.rules.read().global_sacls.get(kind.name), None
        if aces:
            after = Acl(aces)
        changed = {"old": _sddl(before), "new": _sddl(after)}
        with self._changing(AuditEvent.GLOBAL_SACL_CHANGED, kind.name, changed):
            self.store.set_global_sacl(kind.name, after)

    def _require(self, right: AuditSettings) -> None:
        self.guard.require(self.subject, self.securable, int(right))

    def require_may_set_global_sacl(self, kind: ObjectKind) -> None:
        """Return if the subject may; raises `PrivilegeNotHeldError`."""
        self.guard.require_privilege(
            self.subject,
            (Privilege.SECURITY,),
            operation=f"global sacl of {kind.name}",
        )

    @contextmanager
    def _changing(
        self, event: AuditEvent, name: str, detail: dict[str, str]
    ) -> Iterator[None]:
        """Record a change before it is made; afterwards it counts here at once."""
        with self.guard.recorder.changing(
            event,
            self.subject,
            object_type=self.securable.kind.name,
            object_name=name,
            detail=detail,
        ):
            yield
        self.rules.read()


def words(flags: Auditing) -> str:
    """Say which outcomes are meant."""
    said = [flag.name.lower() for flag in Auditing if flag & flags and flag.name]
    return " and ".join(said) or "nothing"


def _own(wanted: AccountAuditing) -> str:
    return f"include {words(wanted.included)}, exclude {words(wanted.excluded)}"


def _events(events: Iterable[AuditEvent]) -> str:
    return " ".join(event.name.lower() for event in sorted(events)) or "nothing"


def _sddl(sacl: Acl | None) -> str:
    return "" if sacl is None else spelled(SecurityDescriptor(ABSENT_DACL, sacl=sacl))
