"""Why the judge answered as it did: one reason for each right, one sentence for each.

A reason names all causes of the answer about its right: undoing all of them turns it,
undoing fewer does not (`stead.decision.undoing`). What that costs is bounded: a reason
with very many causes, or late in a costly question, is not complete and says so. Of a
question about object types, the whole object's answer is explained.

Reasons are worked out when somebody asks, from the question that the decision keeps.
Who may ask is itself a question for the judge, and the guard's matter: a reason shows
the descriptor. Windows' name for these is access reasons (event 4656).

A question for MAXIMUM_ALLOWED is explained for every right that the object's kind has,
so that what was not granted is explained too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

from stead.codec.sddl import ace_to_sddl
from stead.decision.judgement import NEVER_BY_ENTRY, find_unknown
from stead.decision.one_right import Budget
from stead.decision.privilege_rights import MAXIMUM_ALLOWED, bits_of
from stead.decision.undoing import causes_of
from stead.errors import SteadError
from stead.model.access_mask import name_rights
from stead.model.ace import Ace
from stead.model.decision import AccessDecision, AccessQuestion, Reason, Rule, Whom
from stead.model.limits import when
from stead.model.sid import Sid
from stead.model.well_known import OWNER_RIGHTS

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
    Rule.CONDITION_NOT_TRUE: "{right} is not granted by {entry} of the DACL, {ace}, "
    "which names {who}: its condition is not true",
    Rule.DENIED_BY_TRUST: "{right} is denied by the object's trust label, {ace}, which "
    "is above the token's process trust",
    Rule.DENIED_BY_FILTER: "{right} is denied by an access filter, {ace}, whose "
    "condition is not true",
    Rule.DENIED_BY_POLICY: "{right} is denied by a rule of the central access policy "
    "{policy}",
    Rule.NEVER_TO_PACKAGE: "{right} is granted to no appcontainer",
    Rule.GRANT_NOT_ASKED_ABOUT: "{right} is denied because the token is limited by "
    "grant {grant}, and nobody said what is asked about and when",
    Rule.GRANT_EXPIRED: "{right} is denied because the token is limited by grant "
    "{grant}, which expired at {expired}",
    Rule.OUTSIDE_TARGETS: "{right} is denied because the token is limited by grant "
    "{grant}: the object is not among its targets",
    Rule.OUTSIDE_RIGHTS: "{right} is denied because the token is limited by grant "
    "{grant}: it is not among its rights",
    Rule.NOTHING_ASKED: "{right} is denied because nothing was asked for",
    Rule.NOTHING_GRANTED: "{right} is denied because nothing could be granted",
}
_WHOM: Final = {
    Whom.RESTRICTING: "the token's restricting SIDs",
    Whom.PACKAGE: "the token's package",
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
    budget = Budget()
    rights = bits_of(_explained(decision))
    reasons = tuple(why(question, right, budget) for right in rights)
    if question.desired == MAXIMUM_ALLOWED and not decision:
        return (Reason(0, granted=False, rule=Rule.NOTHING_GRANTED), *reasons)
    return reasons


def why(question: AccessQuestion, right: int, budget: Budget | None = None) -> Reason:
    """Say what settled one right, and what else made it so."""
    first, *others = causes_of(question, right, budget)
    return replace(first, also=tuple(others))


def sentence(
    reason: Reason,
    *,
    names: Callable[[Sid], str] = str,
    rights: Mapping[str, int] = MappingProxyType({}),
) -> str:
    """Say one reason in one plain sentence.

    Args:
        reason: what `explain` returned.
        names: gives a SID's name, or its text.
        rights: the names of the object's own rights, and their bits; a right without a
            name is said as a number.

    Returns:
        such as `WRITE is denied by entry 2 of the DACL, (D;;DC;;;S-1-5-21-1-2-3-1001),
        which names interns`; entries are counted from 1. It is one line, whatever an
        entry's condition or a name holds.
    """
    template = _SENTENCES[reason.rule]
    if reason.rule is Rule.DENIED_BY_INTEGRITY and reason.ace is None:
        template = _NO_LABEL
    said = template.format(
        right=name_rights(reason.right, dict(rights)) if reason.right else "access",
        entry="" if reason.position is None else f"entry {reason.position + 1}",
        ace=_spelled(reason.ace),
        who=_who(reason, names),
        privilege="" if reason.privilege is None else reason.privilege.value,
        policy=_policy(reason),
        grant=reason.grant,
        expired="" if reason.grant is None else when(reason.grant.expires),
    )
    if reason.whom is not Whom.TOKEN:
        how = " to " if reason.rule is Rule.NOT_GRANTED else ", for "
        said = f"{said}{how}{_WHOM[reason.whom]}"
    return _on_one_line(said)


def _on_one_line(text: str) -> str:
    """Escape what a terminal or a log could act on: conditions hold any letter."""
    if text.isprintable():
        return text
    return "".join(
        letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text
    )


def _explained(decision: AccessDecision) -> int:
    """Return the rights that are to be explained."""
    question = decision.question
    asked = question.desired & ~MAXIMUM_ALLOWED
    if not question.desired & MAXIMUM_ALLOWED:
        return asked
    return asked | decision.granted | question.mapping.all & ~NEVER_BY_ENTRY


def _policy(reason: Reason) -> str:
    if reason.central_rule is None:
        return ""
    name = reason.central_rule.name
    return f"{reason.policy} (rule `{name}`)" if name else str(reason.policy)


def _spelled(ace: Ace | None) -> str:
    """Spell an entry in SDDL; what has no spelling there is named by its number."""
    if ace is None:
        return ""
    try:
        return ace_to_sddl(ace)
    except SteadError:
        return f"an entry of type {ace.number:#04x}"


def _who(reason: Reason, names: Callable[[Sid], str]) -> str:
    """Name the SID that mattered; OWNER RIGHTS also says who the owner is."""
    if reason.matched is None:
        return ""
    name = names(reason.matched)
    if reason.ace is not None and reason.ace.trustee == OWNER_RIGHTS:
        return f"the owner, {name}"
    return name


@dataclass(frozen=True, slots=True)
class ExplainedReason:
    """One reason, for people.

    Attributes:
        reason: as data.
        sentence: as a sentence: the right, the rule, the entry in SDDL.
        path: names from the account to the group that the entry names; empty if the
            entry names the account itself, or no entry decided.
        also: what else made it so: without the reasons before it, each of these would
            have settled the right the same way.
    """

    reason: Reason
    sentence: str
    path: tuple[str, ...]
    also: tuple[ExplainedReason, ...] = ()

    def lines(self) -> tuple[str, ...]:
        """Return it as lines of text, the first of them the reason that comes first."""
        lines = [f"  {self.sentence}", *_by_membership(self.path)]
        for other in self.also:
            lines.append(f"    and without that, {other.sentence}")
            lines += _by_membership(other.path)
        if not self.reason.is_complete:
            lines.append("    ... and perhaps more: not all causes were looked for")
        return tuple(lines)


def _by_membership(path: tuple[str, ...]) -> list[str]:
    return [f"    by membership: {' -> '.join(path)}"] if path else []
