"""The server's securable objects: kept in its store, judged by its guard."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace

from stead.authority.names import NameTable
from stead.authority.ports import ObjectStore, StoredObject
from stead.authority.session import LEASE
from stead.codec.sddl import spelled
from stead.decision.inheritance import new_object_descriptor, rights_to_set
from stead.decision.mandatory import dominates
from stead.errors import (
    AccessDeniedError,
    InvalidRequestError,
    UnknownObjectError,
)
from stead.model import well_known
from stead.model.access_mask import (
    AccessMask,
)
from stead.model.acl import ABSENT_DACL, ABSENT_SACL, Acl, NoAcl
from stead.model.arguments import require_text
from stead.model.audit_record import AuditEvent
from stead.model.explicit_access import allow, audit
from stead.model.privilege import Privilege
from stead.model.security_descriptor import SecurityDescriptor
from stead.model.sid import Sid
from stead.model.token import AccessToken
from stead.monitor import context
from stead.monitor.context import Frame
from stead.monitor.guard import Guard
from stead.monitor.ports import Subject
from stead.monitor.securable_object import Handle, ObjectKind, SecurableObject
from stead.server.object_entries import (
    Entries,
    audit_entries,
    halves,
    is_of,
    mapped_to,
    mapping_of_its_own,
    require_object_name,
    resolved,
    stored_kind,
)
from stead.server.own_objects import OWN, OWN_OBJECTS


class ObjectDirectory:
    """Finds, makes and changes securable objects by name.

    Args:
        store: where descriptors are kept.
        names: resolves trustees.
        monotonic: nanoseconds that never step. A descriptor is believed for a lease,
            as a session is, and then read again: another process may have changed it.
    """

    def __init__(
        self, store: ObjectStore, names: NameTable, *, monotonic: Callable[[], int]
    ) -> None:
        self._store = store
        self._names = names
        self._monotonic = monotonic
        self._leases: dict[str, int] = {}
        self._known: dict[str, SecurableObject] = {}

    def protect(
        self,
        guard: Guard,
        name: str,
        kind: ObjectKind,
        *,
        token: AccessToken,
        entries: Entries | None,
        owner: Sid | str | None,
    ) -> SecurableObject:
        """Return the object of this name, made now if the store has none.

        An object that exists keeps the descriptor it has: somebody may have changed it.

        Args:
            guard: records that it is made.
            name: 1 to 256 printable characters.
            kind: its kind.
            token: whose defaults it takes where nothing else says.
            entries: its DACL and SACL; None for the token's default DACL.
            owner: the owner; None for the token's.

        Raises:
            UnknownAccountError: an entry or the owner names nobody.
            InvalidRequestError: the object exists and is of another kind.
        """
        stored = self._store.object_by_name(require_object_name(name))
        if stored is None:
            descriptor = self._describe(token, kind, entries, owner)
            stored = self._add(
                guard,
                StoredObject(
                    name,
                    kind.name,
                    dict(kind.rights),
                    descriptor.to_bytes(),
                    mapping=mapping_of_its_own(kind),
                ),
                spelled(descriptor),
            )
        if not is_of(stored, kind):
            raise InvalidRequestError(
                f"object `{name}` is kept as a {stored.type_name} with other rights",
                advice="an object keeps its kind: give the new one another name",
            )
        return self._remember(stored, kind)

    def _add(self, guard: Guard, stored: StoredObject, sddl: str) -> StoredObject:
        """Record that an object is made, and make it."""
        frame = context.live_outer(context.raw_frame())
        _require_may_make(frame, stored.name)
        with guard.recorder.changing(
            AuditEvent.OBJECT_CREATED,
            None if frame is None else frame.subject,
            object_type=stored.type_name,
            object_name=stored.name,
            detail={"descriptor": sddl},
        ):
            return self._store.add_object(stored)

    def _describe(
        self,
        token: AccessToken,
        kind: ObjectKind,
        entries: Entries | None,
        owner: Sid | str | None,
    ) -> SecurityDescriptor:
        dacl: Acl | NoAcl = ABSENT_DACL
        sacl: Acl | NoAcl = ABSENT_SACL
        if entries is not None:
            dacl, sacl = resolved(entries, kind, self._names)
        made = new_object_descriptor(token, dacl=dacl, mapping=kind.mapping)
        # Owner and SACL given by the server's own code need no privilege of the
        # client's: the composition root may name whom it likes.
        chosen = made.owner if owner is None else self._names.find(owner)
        mapped = mapped_to(sacl, kind)
        return replace(made, owner=chosen, sacl=mapped)

    def _remember(
        self, stored: StoredObject, kind: ObjectKind | None
    ) -> SecurableObject:
        made = SecurableObject(
            stored.name,
            kind or stored_kind(stored),
            SecurityDescriptor.from_bytes(stored.descriptor),
            version=stored.version,
            renew=self._renew,
        )
        known = self._known.setdefault(stored.name, made)
        if known.version < made.version:  # another process changed it
            known.descriptor, known.version = made.descriptor, made.version
        self._leases[stored.name] = self._monotonic() + LEASE
        return known

    def _renew(self, securable: SecurableObject) -> None:
        """Read an object again whose lease is up.

        Raises:
            UnknownObjectError: it was deleted. One that was made since under the same
                name is another.
        """
        if self._known.get(securable.name) is not securable:
            raise _deleted(securable.name)
        if self._monotonic() >= self._leases[securable.name]:
            stored = self._store.object_by_name(securable.name)
            # Made again elsewhere: of another kind it is another object. Of the same,
            # it is judged by the descriptor that it has by now.
            if stored is None or not is_of(stored, securable.kind):
                self._forget(securable)
                raise _deleted(securable.name)
            self._remember(stored, securable.kind)

    def _forget(self, securable: SecurableObject) -> None:
        if self._known.get(securable.name) is securable:
            del self._known[securable.name]

    def _stored(self, name: str) -> StoredObject:
        stored = self._store.object_by_name(name)
        if stored is None:
            raise UnknownObjectError(
                f"no object is called `{name[:80]}`", advice="`protect` it first"
            )
        return stored

    def find(self, name: str) -> SecurableObject:
        """Return the object of this name.

        Raises:
            UnknownObjectError: there is none.
            InvalidRequestError: it is no text.
        """
        require_text("name", name)
        return self._known.get(name) or self._remember(self._stored(name), None)

    def all(self) -> tuple[SecurableObject, ...]:
        """Return every object of the store, by name."""
        return tuple(self.find(stored.name) for stored in self._store.objects())

    def set_entries(
        self,
        guard: Guard,
        subject: Subject,
        securable: SecurableObject,
        entries: Entries,
    ) -> None:
        """Replace an object's DACL; audit entries and label only if some are given.

        Raises:
            AccessDeniedError: the subject lacks WRITE_DAC, or ACCESS_SYSTEM_SECURITY
                for audit entries, or WRITE_OWNER for a label.
            PrivilegeNotHeldError: the label is above the subject's own.
            StaleVersionError: somebody changed the descriptor meanwhile.
        """
        # Read before anything is judged: whoever changes the descriptor after this, in
        # this process or another, makes the version stale.
        version = securable.version
        dacl, sacl = resolved(entries, securable.kind, self._names)
        labels, audits = halves(mapped_to(sacl, securable.kind))
        guard.require(
            subject,
            securable,
            rights_to_set(dacl=True, sacl=bool(audits), label=bool(labels)),
        )
        if not all(dominates(subject.token.integrity, ace.trustee) for ace in labels):
            guard.require_privilege(
                subject,
                (Privilege.RELABEL,),
                operation=f"label {securable.name}",
                on=securable,
            )
        before = securable.descriptor
        kept_labels, kept_audits = halves(before.sacl)
        aces = (*(labels or kept_labels), *(audits or kept_audits))
        after = replace(
            before,
            dacl=mapped_to(dacl, securable.kind),
            sacl=Acl(aces) if labels or audits else before.sacl,
        )
        events = [AuditEvent.PERMISSIONS_CHANGED]
        if audits:
            events.append(AuditEvent.OBJECT_SACL_CHANGED)
        self._replace(guard, subject, securable, events, after=after, version=version)

    def set_audit(
        self,
        guard: Guard,
        subject: Subject,
        securable: SecurableObject,
        entries: Entries,
    ) -> None:
        """Replace the audit entries of an object's SACL, or take them all.

        Raises:
            AccessDeniedError: the subject lacks ACCESS_SYSTEM_SECURITY, which
                SeSecurityPrivilege gives.
            InvalidRequestError: an entry is no audit entry.
            StaleVersionError: somebody changed the descriptor meanwhile.
        """
        version = securable.version
        audits = audit_entries(entries, securable.kind, self._names)
        guard.require(subject, securable, rights_to_set(sacl=True))
        before = securable.descriptor
        aces = (*halves(before.sacl)[0], *audits)
        after = replace(before, sacl=Acl(aces) if aces else ABSENT_SACL)
        events = [AuditEvent.OBJECT_SACL_CHANGED]
        self._replace(guard, subject, securable, events, after=after, version=version)

    def _replace(
        self,
        guard: Guard,
        subject: Subject,
        securable: SecurableObject,
        events: Iterable[AuditEvent],
        *,
        after: SecurityDescriptor,
        version: int,
    ) -> None:
        """Record that a descriptor changes, from what to what, and change it."""
        detail = {"old": spelled(securable.descriptor), "new": spelled(after)}
        with ExitStack() as told:
            for event in events:
                told.enter_context(_about(guard, event, subject, securable, detail))
            stored = self._store.set_object_descriptor(
                securable.name, after.to_bytes(), version=version
            )
        securable.descriptor, securable.version = after, stored.version

    def delete(
        self,
        guard: Guard,
        subject: Subject,
        securable: SecurableObject,
        handle: Handle | None = None,
    ) -> None:
        """Delete an object: nothing is judged by its descriptor any more.

        Handles that are open stay what they are until they are closed, as on Windows.

        Raises:
            AccessDeniedError: the subject, or the handle, lacks DELETE.
            InvalidRequestError: it is one of the server's own.
            UnknownObjectError: it is deleted already.
            StaleVersionError: somebody changed the descriptor meanwhile.
        """
        version = securable.version
        if securable.name.startswith(OWN):
            raise InvalidRequestError(f"`{securable.name}` guards the server itself")
        detail = {}
        if handle is None:
            guard.require(subject, securable, int(AccessMask.DELETE))
        else:
            if handle.object is not securable:
                raise AccessDeniedError(
                    object_name=securable.name,
                    advice="the handle is to another object, or to one of before",
                )
            handle.require(int(AccessMask.DELETE))
            detail = {"opened by": str(handle.number)}
        with _about(guard, AuditEvent.OBJECT_DELETED, subject, securable, detail):
            self._store.remove_object(securable.name, version=version)
        self._forget(securable)


def built_in(directory: ObjectDirectory, guard: Guard) -> None:
    """Make the objects that guard the server's own accounts, trail and policy."""
    everything = int(AccessMask.GENERIC_ALL)
    for name, rights in OWN_OBJECTS.items():
        directory.protect(
            guard,
            name,
            ObjectKind.of(rights),
            token=guard.process_token,
            entries=[
                allow(well_known.ADMINISTRATORS, everything),
                allow(guard.process_token.user, everything),
                audit(well_known.EVERYONE, everything),
            ],
            owner=well_known.ADMINISTRATORS,
        )


def _about(
    guard: Guard,
    event: AuditEvent,
    subject: Subject,
    securable: SecurableObject,
    detail: dict[str, str],
) -> AbstractContextManager[None]:
    """Record a change of an object before it is made, and again if it fails."""
    return guard.recorder.changing(
        event,
        subject,
        object_type=securable.kind.name,
        object_name=securable.name,
        detail=detail,
    )


def _deleted(name: str) -> UnknownObjectError:
    return UnknownObjectError(f"object `{name}` was deleted")


def _require_may_make(frame: Frame | None, name: str) -> None:
    """Refuse to make an object for a limited client: nobody could have named it."""
    limits = None
    if frame is not None and frame.subject is not None:
        limits = frame.subject.token.limits
    if limits is not None:
        raise AccessDeniedError(
            object_name=name,
            advice=f"grant {limits} makes no objects: the server makes it, beforehand",
        )
