"""What entries and kinds are made of: steps of `stead.server.objects`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from stead.authority.names import NameTable
from stead.authority.ports import StoredObject
from stead.errors import InvalidNameError, InvalidRequestError
from stead.model.access_mask import GenericMapping, mapping_of
from stead.model.ace import Ace, MandatoryLabelAce, Place
from stead.model.ace_kinds import AUDIT_KINDS
from stead.model.acl import ABSENT_SACL, Acl, NoAcl
from stead.model.arguments import require_text, several
from stead.model.explicit_access import ExplicitAccess
from stead.monitor.securable_object import ObjectKind

MAXIMUM_OBJECT_NAME: Final = 256
Entries = Iterable[Ace | ExplicitAccess]
_ENTRIES: Final = 'write `[allow("alice", Doc.READ)]`, also for one'


def require_object_name(name: str) -> str:
    """Return the name if it is one.

    Raises:
        InvalidNameError: it is too long, or holds what nobody can read.
        InvalidRequestError: it is no text.
    """
    require_text("name", name)
    if not 0 < len(name) <= MAXIMUM_OBJECT_NAME or not name.isprintable():
        raise InvalidNameError(
            f"`{name[:80]}` is no object's name: 1 to {MAXIMUM_OBJECT_NAME} printable "
            "characters"
        )
    return name


def stored_kind(stored: StoredObject) -> ObjectKind:
    """Return the kind of an object that is kept."""
    mapping = mapping_of(stored.rights)
    if stored.mapping is not None:
        mapping = GenericMapping(*stored.mapping)
    return ObjectKind(stored.type_name, stored.rights, mapping)


def is_of(stored: StoredObject, kind: ObjectKind) -> bool:
    """Tell whether an object that is kept is of this kind."""
    return (stored.type_name, stored.rights) == (kind.name, dict(kind.rights))


def mapping_of_its_own(kind: ObjectKind) -> tuple[int, int, int, int] | None:
    """Return a kind's mapping where its rights' names do not say it."""
    own = kind.mapping
    if own == mapping_of(kind.rights):
        return None
    return own.read, own.write, own.execute, own.all


def resolved(
    entries: Entries, kind: ObjectKind, names: NameTable
) -> tuple[Acl, Acl | NoAcl]:
    """Return the DACL and the SACL that these entries make, names resolved.

    Raises:
        UnknownAccountError: an entry names nobody.
        InvalidRequestError: an entry is none, or is about another kind's rights.
    """
    given = several("entries", entries, (Ace, ExplicitAccess), _ENTRIES)
    aces = [_resolve(entry, kind, names) for entry in given]
    system = tuple(ace for ace in aces if ace.place is Place.SACL)
    dacl = Acl(tuple(ace for ace in aces if ace.place is not Place.SACL))
    return dacl, Acl(system) if system else ABSENT_SACL


def _resolve(entry: Ace | ExplicitAccess, kind: ObjectKind, names: NameTable) -> Ace:
    if isinstance(entry, Ace):
        return entry
    kind.mask_of(entry.mask)
    return entry.resolve(names.find(entry.trustee))


def audit_entries(
    entries: Entries, kind: ObjectKind, names: NameTable
) -> tuple[Ace, ...]:
    """Return the audit entries that are meant, for a kind of object.

    Raises:
        InvalidRequestError: one of them is something else.
        UnknownAccountError: one names nobody.
    """
    dacl, sacl = resolved(entries, kind, names)
    mapped = mapped_to(sacl, kind)
    audits = mapped.aces if isinstance(mapped, Acl) else ()
    if len(dacl.aces) or not all(type(ace) in AUDIT_KINDS for ace in audits):
        raise InvalidRequestError(
            "what is recorded is said by audit entries alone",
            advice="write `audit(whom, rights, success=..., failure=...)`",
        )
    return audits


def halves(sacl: Acl | NoAcl) -> tuple[tuple[Ace, ...], tuple[Ace, ...]]:
    """Return a SACL's labels, and its other entries."""
    aces = sacl.aces if isinstance(sacl, Acl) else ()
    labels = tuple(ace for ace in aces if isinstance(ace, MandatoryLabelAce))
    return labels, tuple(ace for ace in aces if ace not in labels)


def mapped_to(acl: Acl | NoAcl, kind: ObjectKind) -> Acl | NoAcl:
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
