"""The server's securable objects: kept in its store, judged by its guard."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Final

from stead.authority.names import NameTable
from stead.authority.ports import ObjectStore, StoredObject
from stead.authority.sessions import LEASE
from stead.codec.sddl import spelled
from stead.decision.inheritance import new_object_descriptor, rights_to_set
from stead.decision.mandatory import dominates
from stead.errors import (
    AccessDeniedError,
    InvalidNameError,
    InvalidRequestError,
    UnknownObjectError,
)
from stead.model import well_known
from stead.model.access_mask import (
    AccessMask,
    GenericMapping,
    Rights,
    mapping_of,
)
from stead.model.ace import Ace, MandatoryLabelAce, Place
from stead.model.acl import ABSENT_DACL, ABSENT_SACL, Acl, NoAcl
from stead.model.audit_record import AuditEvent
from stead.model.explicit_access import ExplicitAccess, allow, audit
from stead.model.privilege import Privilege
from stead.model.security_descriptor import SecurityDescriptor
from stead.model.sid import Sid
from stead.model.token import AccessToken
from stead.monitor import context
from stead.monitor.context import Frame
from stead.monitor.guard import Guard
from stead.monitor.ports import Subject
from stead.monitor.securable_object import ObjectKind, SecurableObject

MAXIMUM_OBJECT_NAME: Final = 256
Entries = Iterable[Ace | ExplicitAccess]


class AccountDatabase(Rights):
    """Rights to the store's accounts, groups, rights and live sessions."""

    READ = 0x1
    WRITE = 0x2


class AuditTrail(Rights):
    """Rights to the audit trail."""

    READ = 0x1
    CLEAR = 0x2


ACCOUNTS: Final = "stead:accounts"
TRAIL: Final = "stead:trail"


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

    def resolve(self, entries: Entries) -> tuple[Acl, Acl | NoAcl]:
        """Return the DACL and the SACL that these entries make, names resolved.

        Raises:
            UnknownAccountError: an entry names nobody.
        """
        aces = [
            entry
            if isinstance(entry, Ace)
            else entry.resolve(self._names.find(entry.trustee))
            for entry in entries
        ]
        system = tuple(ace for ace in aces if ace.place is Place.SACL)
        dacl = Acl(tuple(ace for ace in aces if ace.place is not Place.SACL))
        return dacl, Acl(system) if system else ABSENT_SACL

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
        stored = self._store.object_by_name(_require_object_name(name))
        if stored is None:
            descriptor = self._describe(token, kind, entries, owner)
            stored = self._add(
                guard,
                StoredObject(
                    name,
                    kind.name,
                    dict(kind.rights),
                    descriptor.to_bytes(),
                    mapping=_mapping_of_its_own(kind),
                ),
                spelled(descriptor),
            )
        if (stored.type_name, stored.rights) != (kind.name, dict(kind.rights)):
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
            dacl, sacl = self.resolve(entries)
        made = new_object_descriptor(token, dacl=dacl, mapping=kind.mapping)
        # Owner and SACL given by the server's own code need no privilege of the
        # client's: the composition root may name whom it likes.
        chosen = made.owner if owner is None else self._names.find(owner)
        mapped = _mapped(sacl, kind)
        return replace(made, owner=chosen, sacl=mapped)

    def _remember(
        self, stored: StoredObject, kind: ObjectKind | None
    ) -> SecurableObject:
        made = SecurableObject(
            stored.name,
            kind or _stored_kind(stored),
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
        """Read an object again whose lease is up."""
        if self._monotonic() >= self._leases[securable.name]:
            self._remember(self._stored(securable.name), securable.kind)

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
        """
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
        dacl, sacl = self.resolve(entries)
        labels, audits = _halves(_mapped(sacl, securable.kind))
        guard.require(
            subject,
            securable,
            rights_to_set(dacl=True, sacl=bool(audits), label=bool(labels)),
        )
        if not all(dominates(subject.token.integrity, ace.trustee) for ace in labels):
            guard.require_privilege(
                subject, (Privilege.RELABEL,), operation=f"label {securable.name}"
            )
        before = securable.descriptor
        kept_labels, kept_audits = _halves(before.sacl)
        aces = (*(labels or kept_labels), *(audits or kept_audits))
        after = replace(
            before,
            dacl=_mapped(dacl, securable.kind),
            sacl=Acl(aces) if labels or audits else before.sacl,
        )
        with guard.recorder.changing(
            AuditEvent.PERMISSIONS_CHANGED,
            subject,
            object_type=securable.kind.name,
            object_name=securable.name,
            detail={"old": spelled(before), "new": spelled(after)},
        ):
            stored = self._store.set_object_descriptor(
                securable.name, after.to_bytes(), version=version
            )
        securable.descriptor, securable.version = after, stored.version


def built_in(directory: ObjectDirectory, guard: Guard) -> None:
    """Make the objects that guard the server's own accounts and trail."""
    everything = int(AccessMask.GENERIC_ALL)
    for name, rights in ((ACCOUNTS, AccountDatabase), (TRAIL, AuditTrail)):
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


def _require_object_name(name: str) -> str:
    if not 0 < len(name) <= MAXIMUM_OBJECT_NAME or not name.isprintable():
        raise InvalidNameError(
            f"`{name[:80]}` is no object's name: 1 to {MAXIMUM_OBJECT_NAME} printable "
            "characters"
        )
    return name


def _stored_kind(stored: StoredObject) -> ObjectKind:
    mapping = mapping_of(stored.rights)
    if stored.mapping is not None:
        mapping = GenericMapping(*stored.mapping)
    return ObjectKind(stored.type_name, stored.rights, mapping)


def _mapping_of_its_own(kind: ObjectKind) -> tuple[int, int, int, int] | None:
    """Return a kind's mapping where its rights' names do not say it."""
    own = kind.mapping
    if own == mapping_of(kind.rights):
        return None
    return own.read, own.write, own.execute, own.all


def _halves(sacl: Acl | NoAcl) -> tuple[tuple[Ace, ...], tuple[Ace, ...]]:
    """Return a SACL's labels, and its other entries."""
    aces = sacl.aces if isinstance(sacl, Acl) else ()
    labels = tuple(ace for ace in aces if isinstance(ace, MandatoryLabelAce))
    return labels, tuple(ace for ace in aces if ace not in labels)


def _mapped(acl: Acl | NoAcl, kind: ObjectKind) -> Acl | NoAcl:
    """Return a list with generic rights replaced by the kind's own."""
    if isinstance(acl, NoAcl):
        return acl
    return Acl(
        tuple(replace(ace, mask=_map(ace, kind)) for ace in acl), revision=acl.revision
    )


def _map(ace: Ace, kind: ObjectKind) -> int:
    if isinstance(ace, MandatoryLabelAce):
        return ace.mask  # a label's mask is a policy, not rights
    return kind.mapping.map(ace.mask)
