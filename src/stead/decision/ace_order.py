"""The preferred order of entries (Win32: Order of ACEs in a DACL).

An object's own entries stand before inherited ones, and what denies before what allows.
Inherited entries keep the order in which they came: a parent's first, then its
parent's. The judge obeys whatever order it finds; the preferred one makes a deny deny.
"""

from __future__ import annotations

from typing import Final

from stead.decision.ace_inheritance import is_inherited, rebuild
from stead.model.ace import Ace, OpaqueAce
from stead.model.ace_kinds import DENY_KINDS
from stead.model.acl import Acl

_DENYING: Final = 0
_GRANTING: Final = 1
_INHERITED: Final = 2


def canonical_order(acl: Acl) -> Acl:
    """Return a list in the preferred order; entries of one rank keep their order.

    An entry of a kind that nobody can judge ranks with those that deny, as it does
    where it stands.
    """
    return rebuild(acl, sorted(acl, key=_rank))


def is_canonical(acl: Acl) -> bool:
    """Tell whether a list is in the preferred order."""
    ranks = [_rank(ace) for ace in acl]
    return ranks == sorted(ranks)


def _rank(ace: Ace) -> int:
    if is_inherited(ace):
        return _INHERITED
    denies = type(ace) in DENY_KINDS or isinstance(ace, OpaqueAce)
    return _DENYING if denies else _GRANTING
