"""What the answer is without a cause, and all causes of an answer together.

To undo a grant is to take the right out of the entry, the privilege out of the token,
the ownership from the owner; to undo a refusal is to take the right out of the entry
that denies, to add an entry where none grants, to lift a label. An entry whose right is
taken out stays where it is with the rest of its mask: that an entry for OWNER RIGHTS is
there at all has a meaning of its own.

`causes_of` undoes one cause after another until the answer turns, and keeps those that
it needs: undoing all of them turns the answer, and undoing fewer does not. It looks for
a bounded number of causes (`stead.decision.one_right`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from stead.decision.causes import Scene
from stead.decision.dacl_walk import unconditional
from stead.decision.judgement import Case, find_unknown
from stead.decision.object_tree import build_tree
from stead.decision.one_right import (
    STRANGER,
    Budget,
    entries_about,
    price_of,
    put_back,
)
from stead.decision.principals import Principal
from stead.model.ace import AccessAllowedAce, Ace, AceFlags, SystemAuditAce
from stead.model.acl import Acl, NoAcl
from stead.model.decision import AccessQuestion, Reason, Rule, Whom
from stead.model.policy import CentralAccessPolicy
from stead.model.privilege import TokenPrivilege
from stead.model.sid import Sid
from stead.model.token import MandatoryPolicy, TokenGroup
from stead.model.well_known import NULL_SID

_INERT_DACL: Final = AccessAllowedAce(NULL_SID, 0, AceFlags.INHERIT_ONLY)
_INERT_SACL: Final = SystemAuditAce(NULL_SID, 0, AceFlags.INHERIT_ONLY)
_MOST_CAUSES: Final = 12
_OF_GRANTS: Final = (
    Rule.GRANT_NOT_ASKED_ABOUT, Rule.GRANT_EXPIRED, Rule.OUTSIDE_TARGETS,
    Rule.OUTSIDE_RIGHTS,
)  # fmt: skip


def causes_of(
    question: AccessQuestion, right: int, budget: Budget | None = None
) -> tuple[Reason, ...]:
    """Find all causes of the answer about one right.

    Args:
        question: what was asked.
        right: one bit.
        budget: what it may cost; the first cause is found whatever that costs.

    Returns:
        one or more, the first to be met first. Undoing all of them turns the answer
        about this right; undoing fewer does not. Where there are more than 12, or the
        budget is spent, there are the first ones, and the first of all says with
        `is_complete` that not all were looked for.
    """
    about, kept = entries_about(question, right)
    found, is_complete = _search(about, right, budget or Budget())
    first, *others = (put_back(cause, kept) for cause in found)
    return (replace(first, is_complete=is_complete), *others)


def _search(
    question: AccessQuestion, right: int, budget: Budget
) -> tuple[list[Reason], bool]:
    """Undo one cause after another; tell as well whether these are all of them."""
    tree, price = build_tree(question.object_types), price_of(question)
    scene = Scene.of(question, right, tree)
    answer = scene.is_granted()
    found = [scene.cause(granted=answer)]
    budget.spend(2 * price)
    while True:
        scene = Scene.of(undone(scene.question, found[-1:]), right, tree)
        if not budget.spend(2 * price):
            return found, False
        if scene.is_granted() != answer:
            break
        if len(found) == _MOST_CAUSES:
            return found, False
        found.append(scene.cause(granted=answer))
    # Which of them are needed is told for all or for none.
    if len(found) > 1 and not budget.spend(len(found) * price):
        return found[:1], False
    for cause in reversed(found):
        others = [other for other in found if other is not cause]
        fewer = Scene.of(undone(question, others), right, tree)
        if fewer.is_granted() != answer:
            found = others
    return found, True


def undone(question: AccessQuestion, causes: Sequence[Reason]) -> AccessQuestion:
    """Return a question as it is without some causes."""
    for cause in causes:
        question = UNDOING[cause.rule](question, cause)
    return question


# --- one cause undone ---------------------------------------------------------------


def _without_privilege(question: AccessQuestion, cause: Reason) -> AccessQuestion:
    kept = (p for p in question.token.privileges if p.privilege is not cause.privilege)
    return replace(question, token=replace(question.token, privileges=tuple(kept)))


def _with_privilege(question: AccessQuestion, cause: Reason) -> AccessQuestion:
    if cause.privilege is None:
        return question
    poorer = _without_privilege(question, cause).token
    held = (*poorer.privileges, TokenPrivilege(cause.privilege))
    # Limits that do not leave it would take it away again.
    limits = poorer.limits and poorer.limits.keeping(cause.privilege)
    richer = replace(poorer, privileges=held, limits=limits)
    return replace(question, token=richer)


def _of_another_owner(question: AccessQuestion, _cause: Reason) -> AccessQuestion:
    descriptor = replace(question.descriptor, owner=STRANGER)
    return replace(question, descriptor=descriptor)


def _with_empty_dacl(question: AccessQuestion, _cause: Reason) -> AccessQuestion:
    return _with_dacl(question, Acl())


def _unbound_by_integrity(question: AccessQuestion, _cause: Reason) -> AccessQuestion:
    free = question.token.mandatory_policy & ~MandatoryPolicy.NO_WRITE_UP
    return replace(question, token=replace(question.token, mandatory_policy=free))


def _out_of_container(question: AccessQuestion, cause: Reason) -> AccessQuestion:
    # Outside, integrity would bind it again, which it did not before.
    freed = _unbound_by_integrity(question, cause).token
    freed = replace(freed, package=None, capabilities=())
    return replace(question, token=freed)


def _entry_silenced(question: AccessQuestion, cause: Reason) -> AccessQuestion:
    """Take the right out of an entry of the DACL."""
    if cause.ace is None:
        return question
    mask = question.mapping.map(cause.ace.mask) & ~cause.right
    return _with_entry(question, cause, replace(cause.ace, mask=mask))


def _condition_met(question: AccessQuestion, cause: Reason) -> AccessQuestion:
    """Exchange a conditional entry for one that grants the same without asking."""
    if cause.ace is None:
        return question
    return _with_entry(question, cause, unconditional(cause.ace))


def _entry_opened(question: AccessQuestion, cause: Reason) -> AccessQuestion:
    """Put the right into a trust label or an access filter, which then leave it."""
    sacl = question.descriptor.sacl
    if cause.ace is None or cause.position is None or not isinstance(sacl, Acl):
        return question
    opened = replace(cause.ace, mask=cause.ace.mask | cause.right)
    descriptor = replace(
        question.descriptor, sacl=_exchanged(sacl, cause.position, opened)
    )
    return replace(question, descriptor=descriptor)


def _unknown_removed(question: AccessQuestion, cause: Reason) -> AccessQuestion:
    """Exchange an entry of an unknown kind for one that says nothing."""
    descriptor = question.descriptor
    found, sacl = find_unknown(descriptor.sacl), descriptor.sacl
    if found is None or found[1] is not cause.ace or not isinstance(sacl, Acl):
        return _with_entry(question, cause, _INERT_DACL)
    changed = replace(descriptor, sacl=_exchanged(sacl, found[0], _INERT_SACL))
    return replace(question, descriptor=changed)


def _with_entry(question: AccessQuestion, cause: Reason, ace: Ace) -> AccessQuestion:
    dacl = question.descriptor.dacl
    if cause.position is None or not isinstance(dacl, Acl):
        return question
    return _with_dacl(question, _exchanged(dacl, cause.position, ace))


def _exchanged(acl: Acl, position: int, ace: Ace) -> Acl:
    aces = list(acl.aces)
    aces[position] = ace
    return Acl(tuple(aces))


def _with_dacl(question: AccessQuestion, dacl: Acl) -> AccessQuestion:
    return replace(question, descriptor=replace(question.descriptor, dacl=dacl))


def _rule_removed(question: AccessQuestion, cause: Reason) -> AccessQuestion:
    """Take a rule out of its policy; a policy nobody knows becomes an empty one."""
    kept = []
    for policy in question.policies:
        rules = policy.rules
        if policy.sid == cause.policy:
            rules = tuple(rule for rule in rules if rule != cause.central_rule)
        kept.append(replace(policy, rules=rules))
    if cause.policy is not None and all(p.sid != cause.policy for p in kept):
        kept.append(CentralAccessPolicy(cause.policy))
    return replace(question, policies=tuple(kept))


def _grant_lifted(question: AccessQuestion, cause: Reason) -> AccessQuestion:
    """Take one layer of limits from the token."""
    limits = question.token.limits
    if limits is None or cause.grant is None:
        return question
    freed = replace(question.token, limits=limits.without(cause.grant))
    return replace(question, token=freed)


# --- an entry where none grants -----------------------------------------------------


def _with_grant(question: AccessQuestion, cause: Reason) -> AccessQuestion:
    """Add an entry for whom the right is not granted to, after all others.

    So entries that deny still count, and keep their places. Where there is no list,
    which opens to all but a package, the new one has an entry for everybody who needs
    one.
    """
    dacl = question.descriptor.dacl
    aces = () if isinstance(dacl, NoAcl) else dacl.aces
    for whom in Whom if isinstance(dacl, NoAcl) else (cause.whom,):
        question, trustee = _trustee_for(question, whom)
        if trustee is not None:
            aces = (*aces, AccessAllowedAce(trustee, cause.right))
    return _with_dacl(question, Acl(aces))


def _trustee_for(
    question: AccessQuestion, whom: Whom
) -> tuple[AccessQuestion, Sid | None]:
    """Return a SID that an entry for somebody can name, given to them if need be."""
    token, case = question.token, Case.of(question)
    if whom is Whom.PACKAGE:
        return question, token.package
    if whom is Whom.TOKEN:
        found = _somebody(case.principal)
        if found is None:
            groups = (*token.groups, TokenGroup(STRANGER))
            token = replace(token, groups=groups)
        return replace(question, token=token), found or STRANGER
    if case.restricting is None:
        return question, None
    found = _somebody(case.restricting)
    if found is None:
        token = replace(token, restricting_sids=(STRANGER,))
    return replace(question, token=token), found or STRANGER


def _somebody(principal: Principal) -> Sid | None:
    return min(principal.members, default=None)


UNDOING: Final[dict[Rule, Callable[[AccessQuestion, Reason], AccessQuestion]]] = {
    Rule.GRANTED_BY_ACE: _entry_silenced,
    Rule.DENIED_BY_ACE: _entry_silenced,
    Rule.DENIED_BY_UNKNOWN_ACE: _unknown_removed,
    Rule.GRANTED_BY_OWNERSHIP: _of_another_owner,
    Rule.GRANTED_BY_PRIVILEGE: _without_privilege,
    Rule.GRANTED_BY_NULL_DACL: _with_empty_dacl,
    Rule.GRANTED_BY_ABSENT_DACL: _with_empty_dacl,
    Rule.DENIED_BY_INTEGRITY: _unbound_by_integrity,
    Rule.DENIED_BY_TRUST: _entry_opened,
    Rule.DENIED_BY_FILTER: _entry_opened,
    Rule.DENIED_WITHOUT_PRIVILEGE: _with_privilege,
    Rule.NEVER_TO_PACKAGE: _out_of_container,
    Rule.DENIED_BY_POLICY: _rule_removed,
    Rule.CONDITION_NOT_TRUE: _condition_met,
    Rule.NOT_GRANTED: _with_grant,
    **dict.fromkeys(_OF_GRANTS, _grant_lifted),
}
