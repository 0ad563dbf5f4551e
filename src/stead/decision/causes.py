"""What settles one right, in the order of the access check ([MS-DTYP] 2.5.3.2).

A cause is a `Reason` without others beside it. `next_cause` finds the first thing that
settles a right as things stand; what the answer would be without it is the matter of
`stead.decision.undoing`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from stead.decision.central_policy import policies_of
from stead.decision.dacl_walk import is_unmet
from stead.decision.judgement import Case, find_unknown
from stead.decision.limiting import find_limiting, rights_within
from stead.decision.mandatory import (
    closed_filters,
    find_label,
    find_trust_label,
    rights_past_label,
    rights_past_trust,
)
from stead.decision.object_tree import ObjectTree, build_tree
from stead.decision.principals import Principal
from stead.decision.privilege_rights import ACCESS_SYSTEM_SECURITY
from stead.model.ace import Ace
from stead.model.ace_kinds import DACL_KINDS
from stead.model.acl import Acl, NoAcl
from stead.model.decision import AccessQuestion, Reason, Rule, Whom
from stead.model.privilege import Privilege
from stead.model.sid import Sid
from stead.model.well_known import OWNER_RIGHTS, PRINCIPAL_SELF

_WITHOUT_DACL: Final = {
    NoAcl.NULL: Rule.GRANTED_BY_NULL_DACL,
    NoAcl.ABSENT: Rule.GRANTED_BY_ABSENT_DACL,
}
GRANTING: Final = frozenset({
    Rule.GRANTED_BY_ACE, Rule.GRANTED_BY_OWNERSHIP, Rule.GRANTED_BY_PRIVILEGE,
    Rule.GRANTED_BY_NULL_DACL, Rule.GRANTED_BY_ABSENT_DACL,
})  # fmt: skip


def is_answered(question: AccessQuestion, right: int) -> bool:
    """Tell whether one right is granted, whatever becomes of the others."""
    return Scene.of(question, right, build_tree(question.object_types)).is_granted()


def next_cause(question: AccessQuestion, right: int) -> Reason:
    """Find what settles a right, the first of it that the access check meets."""
    scene = Scene.of(question, right, build_tree(question.object_types))
    return scene.cause(granted=scene.is_granted())


@dataclass(frozen=True, slots=True)
class Scene:
    """One question about one right.

    Attributes:
        question: what was asked.
        right: one bit.
        tree: the question's object types.
        case: what stays the same for every list that is judged for it.
        left: the rights that the mandatory rules leave open, of those that matter here.
    """

    question: AccessQuestion
    right: int
    tree: ObjectTree
    case: Case
    left: int

    @classmethod
    def of(cls, question: AccessQuestion, right: int, tree: ObjectTree) -> Scene:
        """Work out who asks, and what is open to them.

        Rights do not depend on each other, but for a write-restricted token: whether
        its restricting SIDs are asked depends on all that was named.
        """
        case, matters = Case.of(question), right
        if question.token.is_write_restricted:
            matters |= case.required
        return cls(question, right, tree, case, case.rights_left() & matters)

    def is_granted(self) -> bool:
        """Judge the right, as `stead.decision.judgement.judge` does."""
        question = self.question
        if find_unknown(question.descriptor.sacl) is not None:
            return False
        own = self.case.judge_list(question.descriptor.dacl, self.left, self.tree)
        granted = self.case.narrowed(own, self.left).granted[0] & self.right
        return bool(granted & self._within_limits())

    def _within_limits(self) -> int:
        question = self.question
        return rights_within(question.token, question.mapping, question.circumstances)

    def cause(self, *, granted: bool) -> Reason:
        """Find what settles the right, which `is_granted` has judged."""
        if granted:
            return self.granted()
        found = self.refused_by_grant() or self.before_lists()
        return found or self.refused_by_list() or self.refused_by_policy()

    # --- what grants ----------------------------------------------------------------

    def granted(self) -> Reason:
        """Find what grants the right: a privilege, ownership, an entry, no list."""
        privilege = self.case.by_privilege(self.left).get(self.right)
        if privilege is not None:
            return self._by(Rule.GRANTED_BY_PRIVILEGE, privilege=privilege)
        dacl = self.question.descriptor.dacl
        if self.case.owners_rights(dacl) & self.right:
            owner = self.question.descriptor.owner
            return self._by(Rule.GRANTED_BY_OWNERSHIP, matched=owner)
        if isinstance(dacl, NoAcl):
            return self._by(_WITHOUT_DACL[dacl])
        _, found = self._walked(dacl, self.case.principal, Whom.TOKEN)
        return found or self._by(Rule.NOT_GRANTED)

    # --- what refuses ---------------------------------------------------------------

    def refused_by_grant(self) -> Reason | None:
        """Find the limits of the token that do not leave the right.

        They are asked last and named first: whoever holds a limited token is told what
        it was lent for, and not what its user may.
        """
        found = find_limiting(self.question, self.right)
        return None if found is None else replace(self._by(found[1]), grant=found[0])

    def before_lists(self) -> Reason | None:
        """Find what refuses the right before any list is asked."""
        question = self.question
        parts = (question.token, question.descriptor, question.mapping)
        unknown = find_unknown(question.descriptor.sacl)
        if unknown is not None:
            return self._at(Rule.DENIED_BY_UNKNOWN_ACE, unknown)
        if self.right & ~rights_past_trust(*parts):
            found = find_trust_label(question.descriptor)
            return self._at(Rule.DENIED_BY_TRUST, found)
        for found in closed_filters(
            question.descriptor, self.case.callbacks, self.case.principal
        ):
            mask = question.mapping.map(found[1].mask) | ACCESS_SYSTEM_SECURITY
            if self.right & ~mask:
                return self._at(Rule.DENIED_BY_FILTER, found)
        if self.right & ~rights_past_label(*parts):
            return self._at(Rule.DENIED_BY_INTEGRITY, find_label(question.descriptor))
        if self.right == ACCESS_SYSTEM_SECURITY:
            return self._system_security()
        return None

    def _system_security(self) -> Reason:
        if self.case.by_privilege(self.left).get(self.right) is None:
            missing = Privilege.SECURITY
            return self._by(Rule.DENIED_WITHOUT_PRIVILEGE, privilege=missing)
        return self._by(Rule.NEVER_TO_PACKAGE)

    def refused_by_list(self) -> Reason | None:
        """Find whom the object's own list does not grant the right, and why."""
        dacl, case = self.question.descriptor.dacl, self.case
        by_privilege = case.by_privilege(self.left)
        outside = self.right in by_privilege or case.owners_rights(dacl) & self.right
        passes: list[tuple[Whom, Principal]] = []
        if not outside:
            passes.append((Whom.TOKEN, case.principal))
            if case.restricting is not None and self._is_restricted():
                passes.append((Whom.RESTRICTING, case.restricting))
        if case.package is not None:
            passes.append((Whom.PACKAGE, case.package))
        for whom, principal in passes:
            is_granted, found = self._walked(dacl, principal, whom)
            if not is_granted:
                found = found or self._conditional(dacl, principal, whom)
                return found or self._by(Rule.NOT_GRANTED, whom=whom)
        return None

    def _conditional(
        self, dacl: Acl | NoAcl, principal: Principal, whom: Whom
    ) -> Reason | None:
        """Find the first entry that would grant the right, were its condition true."""
        mapping = self.question.mapping
        for position, ace in enumerate(() if isinstance(dacl, NoAcl) else dacl.aces):
            if (
                is_unmet(ace, principal, self.case.callbacks)
                and self.tree.locate(ace, deny=False) == 0
                and mapping.map(ace.mask) & self.right
            ):
                found = self._entry(position, ace, grants=False, whom=whom)
                return replace(found, rule=Rule.CONDITION_NOT_TRUE)
        return None

    def _is_restricted(self) -> bool:
        """Tell whether the restricting SIDs are asked about this right."""
        case, left = self.case, self.left
        taken = sum(self.case.by_privilege(left))
        taken |= case.owners_rights(self.question.descriptor.dacl)
        return bool(case.bound_by_restriction(case.wanted(left) & ~taken) & self.right)

    def refused_by_policy(self) -> Reason:
        """Find the rule of a central access policy that does not grant the right."""
        case, left = self.case, self.left
        denied = self._by(Rule.DENIED_BY_POLICY)
        found = [
            replace(denied, policy=policy.sid, central_rule=rule)
            for policy in policies_of(self.question)
            for rule in filter(case.applies, policy.rules)
            if not case.judge_rule(rule.dacl, left) & self.right
        ]
        return found[0] if found else self._by(Rule.NOT_GRANTED)

    # --- reasons ------------------------------------------------------------------

    def _walked(
        self, dacl: Acl | NoAcl, principal: Principal, whom: Whom
    ) -> tuple[bool, Reason | None]:
        """Ask a list for one principal; return the entry that settles the right too."""
        heard: list[Reason] = []

        def note(position: int, ace: Ace, grants: bool, _settled: int) -> None:  # noqa: FBT001
            heard.append(self._entry(position, ace, grants=grants, whom=whom))

        granted = self.case.walk(dacl, principal, self.right, self.tree, note)[0]
        return bool(granted), heard[0] if heard else None

    def _entry(self, position: int, ace: Ace, *, grants: bool, whom: Whom) -> Reason:
        if type(ace) not in DACL_KINDS:
            return self._at(Rule.DENIED_BY_UNKNOWN_ACE, (position, ace), whom=whom)
        stands_for = {
            OWNER_RIGHTS: self.question.descriptor.owner,
            PRINCIPAL_SELF: self.question.self_sid,
        }
        matched = stands_for.get(ace.trustee, ace.trustee)
        rule = Rule.GRANTED_BY_ACE if grants else Rule.DENIED_BY_ACE
        found = self._at(rule, (position, ace), whom=whom)
        return replace(found, granted=grants, matched=matched)

    def _at(
        self, rule: Rule, found: tuple[int, Ace] | None, *, whom: Whom = Whom.TOKEN
    ) -> Reason:
        position, ace = found or (None, None)
        return Reason(
            self.right, granted=False, rule=rule, ace=ace, position=position, whom=whom
        )

    def _by(
        self,
        rule: Rule,
        *,
        matched: Sid | None = None,
        privilege: Privilege | None = None,
        whom: Whom = Whom.TOKEN,
    ) -> Reason:
        return Reason(
            self.right,
            granted=rule in GRANTING,
            rule=rule,
            matched=matched,
            privilege=privilege,
            whom=whom,
        )
