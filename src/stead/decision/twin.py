"""The twin in C of `stead.decision.plain_list`, where there was a compiler to build it.

It changes no answer: without it everything is worked out in Python. What it keeps of
descriptors and tokens stands where Python's own would stand (`kept_index`,
`kept_standing`), made here of the same facts; whatever else it finds there, it leaves
the question to Python.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final, TypeVar

from stead.decision import plain_list
from stead.decision.plain_list import is_plain, own_entries, work_out_standing
from stead.model.access_mask import GENERIC_RIGHTS
from stead.model.ace import AccessAllowedAce
from stead.model.security_descriptor import SecurityDescriptor
from stead.model.sid import Sid
from stead.model.token import AccessToken
from stead.model.well_known import OWNER_RIGHTS

if TYPE_CHECKING:
    from types import ModuleType

    from stead.decision import _fast

T = TypeVar("T")
_NAME: Final = "stead.decision._fast"
# As in the C.
_IS_PLAIN: Final = 1
_IS_TOKEN: Final = 2
_OWNER_SPEAKS: Final = 4
_IS_GENERIC: Final = 8


def load(name: str = _NAME) -> ModuleType | None:
    """Return the twin, or None if it was not built."""
    try:
        return import_module(name)
    except ImportError:
        return None


TWIN: Final = load()


def natively(name: str, pure: T) -> T:
    """Return the twin's function of a name; without a twin the one in Python."""
    return getattr(TWIN, name, pure)


plain_mask = natively("plain_mask", plain_list.plain_mask)


def prepare(value: AccessToken | SecurityDescriptor) -> None:
    """Have a token or descriptor keep what the twin needs of it."""
    if isinstance(value, AccessToken):
        object.__setattr__(value, "kept_standing", _standing(value))
    else:
        object.__setattr__(value, "kept_index", _index(value))


def _standing(token: AccessToken) -> _fast.Kept:
    standing = work_out_standing(token)
    sids: tuple[tuple[Sid, int, bool], ...] = ()
    flags = _IS_TOKEN
    if standing.is_ordinary:
        flags |= _IS_PLAIN
        enabled = token.enabled_sids
        sids = tuple([(sid, 0, sid in enabled) for sid in token.deny_sids])
    return _kept()(sids, None, flags, standing.by_privilege)


def _index(descriptor: SecurityDescriptor) -> _fast.Kept:
    if not is_plain(descriptor):
        return _kept()((), None, 0, 0)
    flags, items = _IS_PLAIN, []
    for ace in own_entries(descriptor):
        items.append((ace.trustee, ace.mask, type(ace) is AccessAllowedAce))
        if ace.trustee == OWNER_RIGHTS:
            flags |= _OWNER_SPEAKS
        if ace.mask & GENERIC_RIGHTS:
            flags |= _IS_GENERIC
    return _kept()(tuple(items), descriptor.owner, flags, 0)


def _kept() -> type[_fast.Kept]:
    kept: type[_fast.Kept] = TWIN.Kept  # type: ignore[union-attr]  # it asks for this
    return kept


def ignore(*functions: object) -> None:
    """Connect nothing, where there is no twin."""


natively("connect", ignore)(prepare)
