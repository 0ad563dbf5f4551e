"""The access check's answer alone, by the million: `is_granted`.

For a token, a descriptor and a mapping there is one mask of all rights that are granted
to whoever names them; it answers every question without MAXIMUM_ALLOWED. It is worked
out by `stead.decision.plain_list` for the common case (a token that is nothing special,
a list of plain entries), natively where the twin in C was built, and by the whole judge
(`stead.decision.judgement`) for all else. Only for a write-restricted token there is
none: what it may do depends on all that it asks for.

A descriptor keeps the last mask, with the token and mapping that it belongs to. All
three are values that never change, so nothing kept can go stale: an ended session,
another policy or another clock are the guard's to look at, before anything is asked
here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeAlias

from stead.decision import plain_list, twin
from stead.decision.access_check import decide, require_question
from stead.decision.judgement import judge
from stead.decision.plain_list import EVERY_NAMED_RIGHT, Index
from stead.model.access_mask import GenericMapping, require_mask
from stead.model.decision import AccessQuestion
from stead.model.security_descriptor import SecurityDescriptor
from stead.model.token import AccessToken

__all__ = ["EVERY_NAMED_RIGHT", "granted_mask", "has_twin", "is_granted"]

_PlainMask: TypeAlias = Callable[
    [AccessToken, SecurityDescriptor, GenericMapping], int | None
]


def has_twin() -> bool:
    """Tell whether the twin in C was built and answers here."""
    return twin.TWIN is not None


def pure_is_granted(
    token: AccessToken,
    descriptor: SecurityDescriptor,
    desired: int,
    mapping: GenericMapping,
    /,
) -> bool:
    """Answer `access_check`'s question with a bool, as fast as Python can.

    Args and Raises are those of `access_check`. Where a question has more sides
    (object types, policies, intent, the circumstances that a limited token is asked
    about), ask that: a limited token is granted nothing here.
    """
    index = descriptor.kept_index
    if type(index) is Index and type(desired) is int and desired > 0:
        asker, kind, granted = index.answer
        if asker is not token or kind is not mapping:
            found = plain_list.plain_mask(token, descriptor, mapping)
            if found is None:
                return _work_out(
                    token, descriptor, desired, mapping, by_list=_by_python
                )
            index.answer = (token, mapping, granted := found)
        if not desired & ~granted:
            return True
        if not desired & _SPECIAL:
            return False
    return _work_out(token, descriptor, desired, mapping, by_list=_by_python)


is_granted = twin.natively("is_granted", pure_is_granted)


def granted_mask(
    token: AccessToken, descriptor: SecurityDescriptor, mapping: GenericMapping
) -> int:
    """Return all rights that a token is granted if it names them.

    Args:
        token: who would ask; not a write-restricted one. One with limits is granted
            nothing: they are about an object and a time.
        descriptor: the object's descriptor.
        mapping: what generic rights mean on this kind of object.

    Raises:
        BadImpersonationLevelError: the token's level is anonymous.
        InvalidSecurityDescriptorError: the descriptor lacks an owner or a group.
    """
    granted = twin.plain_mask(token, descriptor, mapping)
    return _judged(token, descriptor, mapping) if granted is None else granted


# --- inside -------------------------------------------------------------------------

_SPECIAL: Final = ~EVERY_NAMED_RIGHT
_by_python: Final = plain_list.plain_mask


def _work_out(
    token: AccessToken,
    descriptor: SecurityDescriptor,
    desired: int,
    mapping: GenericMapping,
    *,
    by_list: _PlainMask,
) -> bool:
    """Answer what is not kept, and keep it where that can be."""
    desired = require_mask(desired)
    if desired & _SPECIAL or token.is_write_restricted:
        return decide(AccessQuestion(descriptor, token, desired, mapping)).allowed
    granted = by_list(token, descriptor, mapping)
    if granted is None:
        granted = _judged(token, descriptor, mapping)
    kept: Any = descriptor.kept_index  # `by_list` has seen to it
    kept.keep(token, mapping, granted)
    return desired != 0 and not desired & ~granted


def _judged(
    token: AccessToken, descriptor: SecurityDescriptor, mapping: GenericMapping
) -> int:
    """Have the whole judge say what a token is granted if it names everything."""
    question = AccessQuestion(descriptor, token, EVERY_NAMED_RIGHT, mapping)
    return judge(question, require_question(question)).granted[0]


def _by_twin(
    token: AccessToken,
    descriptor: SecurityDescriptor,
    desired: int,
    mapping: GenericMapping,
) -> bool:
    """Answer what the twin does not."""
    return _work_out(token, descriptor, desired, mapping, by_list=twin.plain_mask)


twin.natively("connect", twin.ignore)(twin.prepare, _by_twin)
