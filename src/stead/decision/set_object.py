"""Changing an object's descriptor (Win32 SetPrivateObjectSecurityEx).

Whoever asks must have been granted the rights that the parts take
(`stead.decision.descriptor_parts.rights_to_change`): that is the server's to check,
with the judge, before. What only a token can tell is checked here: that the owner is
one that it may assign, and that the SACL's entries are its to give.

With automatic inheritance, a list is made in one of three ways:

1. nothing is protected: what the object inherited stays, and the rest is replaced;
   inherited entries in the new list are ignored, so nobody edits them on the child;
2. the new list is protected: it is taken whole, and nothing in it is inherited;
3. the object's list was protected and the new one is not: it is taken as it is, and
   what the parent has to hand down is for the caller to add (`propagate`).

Without it the list is taken as it is, with its generic rights mapped.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from stead.decision.ace_inheritance import (
    CROSSING_KINDS,
    Child,
    as_explicit,
    is_inherited,
    map_aces,
    rebuild,
    settle_aces,
)
from stead.decision.auto_inherit_flags import (
    AutoInheritFlags,
    require_flags,
    token_label,
)
from stead.decision.descriptor_parts import (
    SACL_PARTS,
    SecurityInformation,
    expand_parts,
    part_of,
    require_owner,
    require_sacl,
)
from stead.decision.new_object import require_kinds
from stead.errors import (
    InvalidOwnerError,
    InvalidSecurityDescriptorError,
    PrivilegeNotHeldError,
)
from stead.model.access_mask import GenericMapping
from stead.model.ace import Ace
from stead.model.acl import ABSENT_DACL, Acl, NoAcl
from stead.model.privilege import Privilege
from stead.model.security_descriptor import ControlFlags, SecurityDescriptor
from stead.model.sid import Sid
from stead.model.token import AccessToken

_C = ControlFlags
_F = AutoInheritFlags
_I = SecurityInformation


@dataclass(frozen=True, slots=True)
class _List:
    """What one of a descriptor's two lists calls its bits."""

    part: SecurityInformation
    protect: SecurityInformation
    unprotect: SecurityInformation
    protected: ControlFlags
    auto_inherited: ControlFlags
    required: ControlFlags
    defaulted: ControlFlags
    automatic: AutoInheritFlags


_DACL: Final = _List(
    _I.DACL,
    _I.PROTECTED_DACL,
    _I.UNPROTECTED_DACL,
    _C.DACL_PROTECTED,
    _C.DACL_AUTO_INHERITED,
    _C.DACL_AUTO_INHERIT_REQ,
    _C.DACL_DEFAULTED,
    _F.DACL_AUTO_INHERIT,
)
_SACL: Final = _List(
    _I.SACL,
    _I.PROTECTED_SACL,
    _I.UNPROTECTED_SACL,
    _C.SACL_PROTECTED,
    _C.SACL_AUTO_INHERITED,
    _C.SACL_AUTO_INHERIT_REQ,
    _C.SACL_DEFAULTED,
    _F.SACL_AUTO_INHERIT,
)


@dataclass(frozen=True, slots=True)
class _Change:
    """One change of one descriptor."""

    parts: SecurityInformation
    current: SecurityDescriptor
    wanted: SecurityDescriptor
    child: Child
    flags: AutoInheritFlags

    def is_protected(self, which: _List) -> bool:
        """Tell whether a list is to be protected once the change is made."""
        if not self.parts & which.part:
            return bool(self.current.control & which.protected)
        if self.parts & which.protect:
            return True
        return not self.parts & which.unprotect and bool(
            self.wanted.control & which.protected
        )

    def merged(
        self,
        which: _List,
        old: tuple[Ace, ...],
        new: Acl,
        crosses: Callable[[Ace], bool],
    ) -> tuple[Ace, ...]:
        """Return the entries that replace `old`, in one of the three ways.

        Args:
            which: the list.
            old: the entries that the object has.
            new: those that it is to have.
            crosses: tells of an entry that no protection keeps from being inherited.
        """
        if not self.flags & which.automatic:
            return tuple(map_aces(new, self.child.mapping))
        was_protected = bool(self.current.control & which.protected)
        is_protected = self.is_protected(which)
        own: list[Ace] = []
        kept = [
            ace
            for ace in old
            if is_inherited(ace)
            and (crosses(ace) or not (was_protected or is_protected))
        ]
        for ace in new:
            if crosses(ace) or not (was_protected or is_protected):
                if not is_inherited(ace):
                    own.append(ace)
            else:
                own.append(as_explicit(ace) if is_protected else ace)
        return (*settle_aces(own, self.child), *kept)

    def control(self, which: _List) -> ControlFlags:
        """Return the control bits of a list once the change is made.

        A list made by hand says so with AUTO_INHERIT_REQ beside AUTO_INHERITED; the
        request itself is not kept, nor whether a list is a default.
        """
        mine = which.protected | which.auto_inherited | which.required | which.defaulted
        if not self.parts & which.part:
            return self.current.control & mine
        control = which.protected if self.is_protected(which) else _C.NONE
        by_hand = which.required | which.auto_inherited
        if self.flags & which.automatic or self.wanted.control & by_hand == by_hand:
            control |= which.auto_inherited
        return control


def set_object_descriptor(
    parts: int,
    modification: SecurityDescriptor,
    current: SecurityDescriptor,
    *,
    token: AccessToken,
    mapping: GenericMapping,
    is_container: bool = True,
    flags: int = AutoInheritFlags.NONE,
    server: AccessToken | None = None,
) -> SecurityDescriptor:
    """Return an object's descriptor with some parts replaced.

    Args:
        parts: `SecurityInformation`: which parts, and whether its lists inherit.
        modification: what these parts are to be.
        current: the object's descriptor.
        token: on whose behalf it is changed.
        mapping: what generic rights mean on the object.
        is_container: whether it may hold other objects.
        flags: `AutoInheritFlags`. Either of AVOID_OWNER_CHECK and AVOID_PRIVILEGE_CHECK
            leaves out the owner's check, as on Windows; the latter that of the SACL.
        server: the token of the server, for CREATOR OWNER SERVER.

    Raises:
        InvalidOwnerError: there is no owner, or the token may not assign this one.
        InvalidSecurityDescriptorError: a group or a DACL is to be set and none is given
            (`NULL_DACL` is how to ask for none), or a list is to be protected or not,
            without being set.
        InvalidAclError: an entry is of a made-up kind, or a list gets too long.
        PrivilegeNotHeldError: the SACL takes a privilege (`require_sacl`).
        SteadError: parts or flags that there are not.
    """
    asked, how = expand_parts(parts), require_flags(flags)
    _require_named(asked, modification)
    owner = _owner(asked, modification, current, token, how)
    group = modification.group if asked & _I.GROUP else current.group
    child = Child(
        mapping,
        is_container=is_container,
        owner=owner,
        group=group,
        server_owner=None if server is None else server.default_owner,
        server_group=None if server is None else server.default_group,
    )
    change = _Change(asked, current, modification, child, how)
    lists = _C.NONE
    for which in (_DACL, _SACL):
        lists |= change.control(which)
    return replace(
        current,
        dacl=_dacl(change),
        owner=owner,
        group=group,
        sacl=_sacl(change, token),
        control=current.control & ~_LIST_BITS | lists,
    )


_LIST_BITS: Final = (
    _C.DACL_PROTECTED
    | _C.DACL_AUTO_INHERITED
    | _C.DACL_AUTO_INHERIT_REQ
    | _C.DACL_DEFAULTED
    | _C.SACL_PROTECTED
    | _C.SACL_AUTO_INHERITED
    | _C.SACL_AUTO_INHERIT_REQ
    | _C.SACL_DEFAULTED
)


def _require_named(parts: SecurityInformation, wanted: SecurityDescriptor) -> None:
    """Refuse changes that do not say what to change a part to."""
    for which in (_DACL, _SACL):
        if parts & (which.protect | which.unprotect) and not parts & which.part:
            raise InvalidSecurityDescriptorError(
                "a list is protected, or no longer, when it is set"
            )
    if parts & _I.GROUP and wanted.group is None:
        raise InvalidSecurityDescriptorError("no primary group is given")
    if parts & _I.DACL and wanted.dacl is ABSENT_DACL:
        # Windows would leave the object open to everybody.
        raise InvalidSecurityDescriptorError("no dacl is given")


def _owner(
    parts: SecurityInformation,
    wanted: SecurityDescriptor,
    current: SecurityDescriptor,
    token: AccessToken,
    flags: AutoInheritFlags,
) -> Sid | None:
    if not parts & _I.OWNER:
        return current.owner
    if wanted.owner is None:
        raise InvalidOwnerError("no owner is given")
    if not flags & (_F.AVOID_OWNER_CHECK | _F.AVOID_PRIVILEGE_CHECK):
        require_owner(token, wanted.owner)
    return wanted.owner


def _dacl(change: _Change) -> Acl | NoAcl:
    """Return the DACL once the change is made."""
    current, wanted = change.current.dacl, change.wanted.dacl
    if not change.parts & _I.DACL:
        return current
    require_kinds(wanted)
    old = current.aces if isinstance(current, Acl) else ()
    new = wanted if isinstance(wanted, Acl) else Acl()
    aces = change.merged(_DACL, old, new, _never)
    if isinstance(wanted, NoAcl) and not aces:
        return wanted
    return rebuild(wanted, aces)


def _sacl(change: _Change, token: AccessToken) -> Acl | NoAcl:
    """Return the SACL once the change is made: each part set replaced, others kept."""
    parts = change.parts & SACL_PARTS
    if not parts:
        return change.current.sacl
    current, wanted = change.current.sacl, change.wanted.sacl
    require_kinds(wanted)
    old = current.aces if isinstance(current, Acl) else ()
    given = tuple(wanted) if isinstance(wanted, Acl) else ()
    label = token_label(token, change.flags)
    if label is not None:
        given = (label, *(ace for ace in given if part_of(ace) != _I.LABEL))
    new = Acl(tuple(ace for ace in given if part_of(ace) & parts))
    if not change.flags & _F.AVOID_PRIVILEGE_CHECK:
        _require_security(token, parts)
        require_sacl(token, new)
    kept = tuple(ace for ace in old if not part_of(ace) & parts)
    replaced = tuple(ace for ace in old if part_of(ace) & parts)
    aces = kept + change.merged(_SACL, replaced, new, _crosses)
    if change.flags & _F.SACL_AUTO_INHERIT:
        aces = tuple(sorted(aces, key=is_inherited))
    if aces:
        return rebuild(current, aces)
    # Nothing is left: say what was asked for, if audit entries were asked about.
    left = wanted if parts & _I.SACL else current
    return left if isinstance(left, NoAcl) else Acl()


def _require_security(token: AccessToken, parts: SecurityInformation) -> None:
    """Demand the privilege that taking entries out of these parts takes as well."""
    free = _I.LABEL | _I.ATTRIBUTE
    if parts & ~free and not token.has_privilege(Privilege.SECURITY):
        raise PrivilegeNotHeldError((Privilege.SECURITY,))


def _never(_ace: Ace) -> bool:
    return False


def _crosses(ace: Ace) -> bool:
    return isinstance(ace, CROSSING_KINDS)
