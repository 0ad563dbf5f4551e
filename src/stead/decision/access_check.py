"""The access check ([MS-DTYP] 2.5.3.2): may this token do this to that object?

First the question itself: rights that are mapped, a token that may be judged, an owner
and a group, object types that are a tree. What cannot be asked on Windows is refused
with Windows' error. Then the steps of `stead.decision.judgement`, in their order; where
they come down to one loop, that loop (`stead.decision.plain_list`), with the same
answer.

`access_check` returns a decision that can be explained. `is_granted` answers the common
question with a bool, by the million (`stead.decision.fast`). Neither reads a clock or
records anything; primary and impersonation tokens are judged alike.

>>> from stead.model.access_mask import FILE_MAPPING, FileRights
>>> from stead.model.security_descriptor import SecurityDescriptor
>>> from stead.model.sid import Sid
>>> alice = AccessToken(Sid.from_string("S-1-5-21-1-2-3-1001"))
>>> plan = SecurityDescriptor.from_sddl("O:SYG:SYD:(A;;FR;;;S-1-5-21-1-2-3-1001)")
>>> bool(access_check(alice, plan, FileRights.READ_DATA, FILE_MAPPING))
True
>>> bool(access_check(alice, plan, FileRights.WRITE_DATA, FILE_MAPPING))
False
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from stead.decision.judgement import Judgement, judge
from stead.decision.object_tree import ObjectTree, build_tree
from stead.decision.plain_list import PRIVILEGES
from stead.decision.privilege_rights import (
    ACCESS_SYSTEM_SECURITY,
    MAXIMUM_ALLOWED,
    WRITE_OWNER,
)
from stead.decision.twin import plain_mask
from stead.errors import (
    BadImpersonationLevelError,
    GenericNotMappedError,
    InvalidSecurityDescriptorError,
)
from stead.model.access_mask import (
    GENERIC_RIGHTS,
    GenericMapping,
    format_mask,
    require_mask,
)
from stead.model.decision import (
    AccessDecision,
    AccessQuestion,
    AceCallback,
    Intent,
    ObjectResult,
    ObjectType,
)
from stead.model.limits import Circumstances
from stead.model.policy import CentralAccessPolicy
from stead.model.privilege import Privilege
from stead.model.security_descriptor import SecurityDescriptor
from stead.model.sid import Sid
from stead.model.token import AccessToken, ImpersonationLevel

_IDENTIFICATION: Final = ImpersonationLevel.IDENTIFICATION
_NO_INTENT: Final = Intent.NONE
_UNCOMMON: Final = (
    GENERIC_RIGHTS | MAXIMUM_ALLOWED | ACCESS_SYSTEM_SECURITY | WRITE_OWNER
)
"""What cannot be asked for, or may come from a privilege, or is more than its bit."""


def access_check(  # noqa: PLR0913 - a question has that many sides; four are positional
    token: AccessToken,
    descriptor: SecurityDescriptor,
    desired: int,
    mapping: GenericMapping,
    *,
    object_types: Sequence[ObjectType] = (),
    self_sid: Sid | None = None,
    intent: Intent = Intent.NONE,
    policies: Sequence[CentralAccessPolicy] = (),
    callback: AceCallback | None = None,
    circumstances: Circumstances | None = None,
) -> AccessDecision:
    """Judge whether a token may have rights to what a descriptor guards.

    Args:
        token: who asks.
        descriptor: the object's descriptor, with an owner and a group.
        desired: the rights asked for, without generic bits; with MAXIMUM_ALLOWED, all
            that can be had, and at least the other bits.
        mapping: what generic rights mean on this kind of object.
        object_types: the parts of the object that are asked about, as a tree in the
            order of a walk (Win32 AccessCheckByType, ...ResultList).
        self_sid: whom PRINCIPAL_SELF stands for, if the object is somebody.
        intent: whether this is asked for backup or restore.
        policies: the central access policies that are configured.
        callback: judges callback entries whose data is not a condition; what it raises
            passes through.
        circumstances: what the object is called, and what time it is; a token with
            limits is granted nothing without.

    Returns:
        the decision; false when refused. With object types, also one answer for each.

    Raises:
        InvalidAccessMaskError: `desired` is not 32 bits.
        GenericNotMappedError: `desired` holds generic bits.
        BadImpersonationLevelError: the token's level is anonymous.
        InvalidSecurityDescriptorError: the descriptor lacks an owner or a group.
        InvalidObjectTypesError: the object types are no tree, or name one twice.
    """
    desired = require_mask(desired)
    asked = (
        descriptor,
        token,
        desired,
        mapping,
        tuple(object_types),
        self_sid,
        intent,
        tuple(policies),
        callback,
        circumstances,
    )
    if not object_types and self_sid is None and intent is _NO_INTENT:
        granted = _by_plain_list(token, descriptor, desired, mapping)
        if granted is not None:
            return AccessDecision.of_parts(asked, granted)
    return decide(AccessQuestion(*asked))


def decide(question: AccessQuestion) -> AccessDecision:
    """Answer a question; Raises are those of `access_check`."""
    tree = require_question(question)
    return decision_of(question, judge(question, tree))


def require_question(question: AccessQuestion) -> ObjectTree:
    """Refuse a question that has no answer, in the order in which Windows does.

    Returns:
        the question's object types as a tree.
    """
    require_mapped(question.desired)
    require_token(question.token)
    tree = build_tree(question.object_types)
    if question.descriptor.owner is None or question.descriptor.group is None:
        raise InvalidSecurityDescriptorError(
            "a descriptor to be judged names an owner and a group"
        )
    return tree


def require_mapped(desired: int) -> None:
    """Refuse a question that names generic rights."""
    if desired & GENERIC_RIGHTS:
        raise GenericNotMappedError(
            f"generic rights in `{format_mask(desired)}` were not mapped"
        )


def require_token(token: AccessToken) -> None:
    """Refuse a token that nobody may judge by."""
    if token.level < _IDENTIFICATION:
        raise BadImpersonationLevelError(
            token.level, _IDENTIFICATION, act="an access check"
        )


def decision_of(question: AccessQuestion, found: Judgement) -> AccessDecision:
    """Say what was found as an answer: a right required and not granted refuses."""
    required = question.desired & ~MAXIMUM_ALLOWED
    whole = found.granted[0]
    allowed = _is_enough(whole, required)
    used: tuple[Privilege, ...] = ()
    if allowed:
        used = tuple(dict.fromkeys(found.privileges.values()))
    results: tuple[ObjectResult, ...] = ()
    if question.object_types:
        results = tuple(
            ObjectResult(_is_enough(node, required), node) for node in found.granted
        )
    granted = whole if allowed else 0
    return AccessDecision(question, allowed, granted, used, results, found.staged)


def _is_enough(granted: int, required: int) -> bool:
    return bool(granted) and not required & ~granted


# --- the short way ------------------------------------------------------------------


def _by_plain_list(
    token: AccessToken,
    descriptor: SecurityDescriptor,
    desired: int,
    mapping: GenericMapping,
) -> int | None:
    """Return what a decision grants where a plain list alone decides it; else None.

    Policies and callbacks change nothing there: no entry of the descriptor names one.
    """
    if desired & _UNCOMMON and (
        desired & GENERIC_RIGHTS or not token.enabled_privileges.isdisjoint(PRIVILEGES)
    ):
        return None
    granted = plain_mask(token, descriptor, mapping)
    if granted is None:
        return None
    required = desired & ~MAXIMUM_ALLOWED
    if required & ~granted:
        return 0
    return granted if desired != required else required
