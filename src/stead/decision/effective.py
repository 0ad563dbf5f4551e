"""Effective access (Win32: GetEffectiveRightsFromAcl, AuthzAccessCheck in a loop).

Three questions about the same rule: which rights has this token here, who of these may
do this, what of these may this token do it to. All are answered by the judge itself, so
deny-only groups, restricting SIDs, labels, privileges and conditions count, which a
look at the list alone would miss.

The effective rights are those that are granted if they alone are asked for. A refusal
of several at once is always a refusal of one of them; only a write-restricted token may
be granted two rights and not both together.

>>> from stead.model.access_mask import FILE_MAPPING
>>> from stead.model.sid import Sid
>>> alice = AccessToken(Sid.from_string("S-1-5-21-1-2-3-1001"))
>>> plan = SecurityDescriptor.from_sddl("O:SYG:SYD:(A;;FR;;;S-1-5-21-1-2-3-1001)")
>>> hex(effective_rights(alice, plan, FILE_MAPPING))
'0x120089'
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from stead.decision.access_check import decide, require_question
from stead.decision.fast import EVERY_NAMED_RIGHT, granted_mask, is_granted
from stead.decision.judgement import judge
from stead.decision.privilege_rights import bits_of
from stead.model.access_mask import GenericMapping, require_mask
from stead.model.decision import AccessQuestion
from stead.model.limits import Circumstances
from stead.model.policy import CentralAccessPolicy
from stead.model.security_descriptor import SecurityDescriptor
from stead.model.sid import Sid
from stead.model.token import AccessToken

K = TypeVar("K")


@dataclass(frozen=True, slots=True)
class Access(Generic[K]):
    """One that was found among many.

    Attributes:
        key: which subject or object.
        granted: its effective rights, those that nobody asked about too.
    """

    key: K
    granted: int


def effective_rights(
    token: AccessToken,
    descriptor: SecurityDescriptor,
    mapping: GenericMapping,
    *,
    policies: Sequence[CentralAccessPolicy] = (),
    self_sid: Sid | None = None,
    circumstances: Circumstances | None = None,
) -> int:
    """Return every right that a token is granted if it alone is asked for.

    An object without a DACL grants all bits, those that its kind has no name for too.

    Args:
        token: who would ask.
        descriptor: the object's descriptor, with an owner and a group.
        mapping: what generic rights mean on this kind of object.
        policies: the central access policies that are configured.
        self_sid: whom PRINCIPAL_SELF stands for, if the object is somebody.
        circumstances: what the object is called, and what time it is; a token with
            limits has no rights without.

    Raises:
        BadImpersonationLevelError: the token's level is anonymous.
        InvalidSecurityDescriptorError: the descriptor lacks an owner or a group.
    """
    return _rights(
        AccessQuestion(
            descriptor,
            token,
            EVERY_NAMED_RIGHT,
            mapping,
            self_sid=self_sid,
            policies=tuple(policies),
            circumstances=circumstances,
        )
    )


def who_can(
    subjects: Iterable[tuple[K, AccessToken]],
    descriptor: SecurityDescriptor,
    desired: int,
    mapping: GenericMapping,
    *,
    policies: Sequence[CentralAccessPolicy] = (),
    self_sid: Sid | None = None,
    circumstances: Circumstances | None = None,
) -> Iterator[Access[K]]:
    """Yield who of many would be granted all of some rights to one object.

    Args:
        subjects: keys of the caller's own, and tokens; taken one at a time.
        descriptor: see `effective_rights`; so are `mapping` and what follows it.
        desired: the rights, without generic bits.
        mapping: see `effective_rights`.
        policies: see `effective_rights`.
        self_sid: see `effective_rights`.
        circumstances: see `effective_rights`.

    Raises:
        GenericNotMappedError: `desired` holds generic bits.
        InvalidAccessMaskError: `desired` is not 32 bits.
        BadImpersonationLevelError, InvalidSecurityDescriptorError: as
            `effective_rights` says.
    """
    wanted, known = require_mask(desired), tuple(policies)
    for key, token in subjects:
        question = AccessQuestion(
            descriptor,
            token,
            wanted,
            mapping,
            self_sid=self_sid,
            policies=known,
            circumstances=circumstances,
        )
        if _is_granted(question):
            yield Access(key, _rights(question))


def what_can(
    token: AccessToken,
    objects: Iterable[tuple[K, SecurityDescriptor]],
    desired: int,
    mapping: GenericMapping,
    *,
    policies: Sequence[CentralAccessPolicy] = (),
    circumstances: Callable[[K], Circumstances] | None = None,
) -> Iterator[Access[K]]:
    """Yield to which of many objects of one kind a token would be granted rights.

    Args:
        token: who would ask.
        objects: keys of the caller's own, and descriptors; taken one at a time.
        desired: the rights, without generic bits.
        mapping: what generic rights mean on their kind.
        policies: the central access policies that are configured.
        circumstances: says of each key what the object is called, and what time it is;
            see `effective_rights`.

    Raises:
        SteadError: as `who_can` says.
    """
    wanted, known = require_mask(desired), tuple(policies)
    for key, descriptor in objects:
        question = AccessQuestion(
            descriptor,
            token,
            wanted,
            mapping,
            policies=known,
            circumstances=None if circumstances is None else circumstances(key),
        )
        if _is_granted(question):
            yield Access(key, _rights(question))


# --- inside -------------------------------------------------------------------------


def _is_granted(question: AccessQuestion) -> bool:
    """Answer one question, by the fast way where it has no more sides."""
    if _has_more_sides(question):
        return decide(question).allowed
    return is_granted(
        question.token, question.descriptor, question.desired, question.mapping
    )


def _has_more_sides(question: AccessQuestion) -> bool:
    """Tell whether the fast way does not see all of a question."""
    return bool(
        question.policies
        or question.self_sid is not None
        or question.token.limits is not None
    )


def _rights(question: AccessQuestion) -> int:
    """Return every right that is granted if it alone is asked for."""
    if question.token.is_write_restricted:
        return sum(_granted(question, right) for right in bits_of(EVERY_NAMED_RIGHT))
    if _has_more_sides(question):
        return _granted(question, EVERY_NAMED_RIGHT)
    return granted_mask(question.token, question.descriptor, question.mapping)


def _granted(question: AccessQuestion, desired: int) -> int:
    asked = replace(question, desired=desired)
    return judge(asked, require_question(asked)).granted[0]
