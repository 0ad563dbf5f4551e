"""Why the judge answered as it did: one reason for each right, one sentence for each.

Reasons are worked out when somebody asks, from the question that the decision keeps.
Who may ask is itself a question for the judge, and the guard's matter: a reason shows
the descriptor. Windows' name for these is access reasons (event 4656).

A question for MAXIMUM_ALLOWED is explained for every right that the object's kind has,
so that what was not granted is explained too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from stead.codec.sddl import ace_to_sddl
from stead.decision.access_check import (
    ACCESS_SYSTEM_SECURITY,
    MAXIMUM_ALLOWED,
    NEVER_BY_ENTRY,
    find_unknown,
    matching_sids,
    owners_rights,
    privileges_for,
)
from stead.decision.mandatory import find_label, rights_past_label
from stead.model.access_mask import name_rights
from stead.model.ace import AccessAllowedAce, AccessDeniedAce, Ace
from stead.model.acl import NoAcl
from stead.model.decision import AccessDecision, AccessQuestion, Reason, Rule
from stead.model.privilege import Privilege
from stead.model.security_descriptor import DACL_KINDS, SACL_KINDS
from stead.model.sid import Sid
from stead.model.well_known import OWNER_RIGHTS

_WITHOUT_DACL: Final = {
    NoAcl.NULL: Rule.GRANTED_BY_NULL_DACL,
    NoAcl.ABSENT: Rule.GRANTED_BY_ABSENT_DACL,
}
_SENTENCES: Final = {
    Rule.GRANTED_BY_ACE: "{right} is granted by {entry} of the DACL, {ace}, which "
    "names {who}",
    Rule.DENIED_BY_ACE: "{right} is denied by {entry} of the DACL, {ace}, which names "
    "{who}",
    Rule.DENIED_BY_UNKNOWN_ACE: "{right} is denied because {entry} is of a kind that "
    "is not judged",
    Rule.GRANTED_BY_OWNERSHIP: "{right} is granted to the owner, {who}",
    Rule.GRANTED_BY_PRIVILEGE: "{right} is granted by {privilege}",
    Rule.GRANTED_BY_NULL_DACL: "{right} is granted because the object has a NULL DACL",
    Rule.GRANTED_BY_ABSENT_DACL: "{right} is granted because the object has no DACL",
    Rule.DENIED_BY_INTEGRITY: "{right} is denied by the object's label, {ace}, which "
    "is above the token's integrity",
    Rule.DENIED_WITHOUT_PRIVILEGE: "{right} is denied because {privilege} is not held "
    "enabled",
    Rule.NOT_GRANTED: "{right} is granted by no entry of the DACL",
    Rule.NOTHING_ASKED: "{right} is denied because nothing was asked for",
    Rule.NOTHING_GRANTED: "{right} is denied because nothing could be granted",
}
_NO_LABEL: Final = (
    "{right} is denied because the token's integrity is below medium, the level of an "
    "object without a label"
)


def explain(decision: AccessDecision) -> tuple[Reason, ...]:
    """Say for each right asked for what settled it.

    Args:
        decision: what `access_check` returned.

    Returns:
        reasons, lowest right first; before them, with right 0, one about the whole
        question where it was refused as a whole. If access was allowed, the rights of
        the reasons that grant are those that were granted. If it was refused, a reason
        that grants says that this right alone would have been granted.
    """
    question = decision.question
    if not question.desired:
        return (Reason(0, granted=False, rule=Rule.NOTHING_ASKED),)
    unknown = find_unknown(question.descriptor.sacl)
    if unknown is not None:
        (position, ace), rule = unknown, Rule.DENIED_BY_UNKNOWN_ACE
        return (Reason(0, granted=False, rule=rule, ace=ace, position=position),)
    grounds = _Grounds.of(question)
    reasons = tuple(
        _settled(right, question, grounds) for right in _rights(_explained(decision))
    )
    if question.desired == MAXIMUM_ALLOWED and not decision:
        return (Reason(0, granted=False, rule=Rule.NOTHING_GRANTED), *reasons)
    return reasons


def sentence(
    reason: Reason, *, names: Callable[[Sid], str], rights: Mapping[str, int]
) -> str:
    """Say one reason in one plain sentence.

    Args:
        reason: what `explain` returned.
        names: gives a SID's name, or its text.
        rights: the names of the object's own rights, and their bits.

    Returns:
        such as `WRITE is denied by entry 2 of the DACL, (D;;DC;;;S-1-5-21-1-2-3-1001),
        which names interns`; entries are counted from 1.
    """
    template = _SENTENCES[reason.rule]
    if reason.rule is Rule.DENIED_BY_INTEGRITY and reason.ace is None:
        template = _NO_LABEL
    return template.format(
        right=name_rights(reason.right, dict(rights)) if reason.right else "access",
        entry="" if reason.position is None else f"entry {reason.position + 1}",
        ace=_spelled(reason.ace),
        who=_who(reason, names),
        privilege="" if reason.privilege is None else reason.privilege.value,
    )


@dataclass(frozen=True, slots=True)
class _Grounds:
    """What was true of the question before any entry of the DACL was read."""

    required: int
    past_label: int
    by_privilege: dict[int, Privilege]
    by_ownership: int

    @classmethod
    def of(cls, question: AccessQuestion) -> _Grounds:
        token, descriptor = question.token, question.descriptor
        required = question.desired & ~MAXIMUM_ALLOWED
        past_label = rights_past_label(token, descriptor, question.mapping)
        return cls(
            required,
            past_label,
            privileges_for(token, required, past_label),
            owners_rights(token, descriptor),
        )


def _explained(decision: AccessDecision) -> int:
    """Return the rights that are to be explained."""
    question = decision.question
    asked = question.desired & ~MAXIMUM_ALLOWED
    if not question.desired & MAXIMUM_ALLOWED:
        return asked
    return asked | decision.granted | question.mapping.all & ~NEVER_BY_ENTRY


def _rights(mask: int) -> Iterator[int]:
    """Yield the bits of a mask, lowest first."""
    while mask:
        lowest = mask & -mask
        yield lowest
        mask ^= lowest


def _settled(right: int, question: AccessQuestion, grounds: _Grounds) -> Reason:
    """Find what settled one right, in the order of the access check."""
    privilege = grounds.by_privilege.get(right)
    if privilege is not None:
        rule = Rule.GRANTED_BY_PRIVILEGE
        return Reason(right, granted=True, rule=rule, privilege=privilege)
    if right & ~grounds.past_label:
        position, label = find_label(question.descriptor) or (None, None)
        rule = Rule.DENIED_BY_INTEGRITY
        return Reason(right, granted=False, rule=rule, ace=label, position=position)
    if right == ACCESS_SYSTEM_SECURITY:
        rule = Rule.DENIED_WITHOUT_PRIVILEGE
        return Reason(right, granted=False, rule=rule, privilege=Privilege.SECURITY)
    if right & grounds.by_ownership:
        rule, owner = Rule.GRANTED_BY_OWNERSHIP, question.descriptor.owner
        return Reason(right, granted=True, rule=rule, matched=owner)
    return _settled_by_dacl(right, question)


def _settled_by_dacl(right: int, question: AccessQuestion) -> Reason:
    """Find the first entry of the DACL that names a right for the token."""
    dacl = question.descriptor.dacl
    if isinstance(dacl, NoAcl):
        return Reason(right, granted=True, rule=_WITHOUT_DACL[dacl])
    enabled, denied = matching_sids(question.token, question.descriptor)
    for position, ace in enumerate(dacl):
        kind = type(ace)
        if kind not in DACL_KINDS:
            rule = Rule.DENIED_BY_UNKNOWN_ACE
            return Reason(right, granted=False, rule=rule, ace=ace, position=position)
        if ace.is_inherit_only or not question.mapping.map(ace.mask) & right:
            continue
        grants = kind is AccessAllowedAce and ace.trustee in enabled
        if grants or (kind is AccessDeniedAce and ace.trustee in denied):
            return Reason(
                right,
                granted=grants,
                rule=Rule.GRANTED_BY_ACE if grants else Rule.DENIED_BY_ACE,
                ace=ace,
                position=position,
                matched=_matched(ace.trustee, question),
            )
    return Reason(right, granted=False, rule=Rule.NOT_GRANTED)


def _matched(trustee: Sid, question: AccessQuestion) -> Sid | None:
    """Return the token's SID behind a trustee that means it."""
    return question.descriptor.owner if trustee == OWNER_RIGHTS else trustee


def _spelled(ace: Ace | None) -> str:
    """Spell an entry in SDDL; one of an unknown kind has no spelling."""
    if ace is None or type(ace) not in (*DACL_KINDS, *SACL_KINDS):
        return ""
    return ace_to_sddl(ace)


def _who(reason: Reason, names: Callable[[Sid], str]) -> str:
    """Name the SID that mattered; OWNER RIGHTS also says who the owner is."""
    if reason.matched is None:
        return ""
    name = names(reason.matched)
    if reason.ace is not None and reason.ace.trustee == OWNER_RIGHTS:
        return f"the owner, {name}"
    return name
