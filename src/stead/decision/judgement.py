"""The access check's steps behind the question ([MS-DTYP] 2.5.3.2, 2.5.3.3).

`judge` takes them in order for one question that has been found to have an answer:

1. nothing asked, or a SACL entry of a kind that nobody here can judge: refused;
2. mandatory rules (`stead.decision.mandatory`): process trust, access filters,
   integrity; they leave some rights open;
3. privileges (`stead.decision.privilege_rights`), among what is open;
4. the owner's READ_CONTROL and WRITE_DAC, unless an OWNER RIGHTS entry speaks;
5. the DACL, once for the token, once for its restricting SIDs and once for its package
   (`stead.decision.dacl_walk`); what all of them grant is granted;
6. central access policies (`stead.decision.central_policy`): steps 3 to 5 again for
   each rule's list; what a rule does not grant is not granted;
7. the token's limits (`stead.decision.limiting`): what they do not leave is not
   granted.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from stead.decision.callbacks import Callbacks
from stead.decision.central_policy import policies_of
from stead.decision.conditional import Truth
from stead.decision.dacl_walk import Note, walk_dacl
from stead.decision.limiting import rights_within
from stead.decision.mandatory import (
    EVERY_RIGHT,
    rights_past_filters,
    rights_past_label,
    rights_past_trust,
)
from stead.decision.object_tree import WHOLE_OBJECT, ObjectTree
from stead.decision.principals import (
    Principal,
    package_principal,
    restricting_principal,
    token_principal,
)
from stead.decision.privilege_rights import (
    ACCESS_SYSTEM_SECURITY,
    MAXIMUM_ALLOWED,
    privileges_for,
)
from stead.errors import SteadError
from stead.model.access_mask import AccessMask, GenericMapping
from stead.model.ace import Ace
from stead.model.ace_kinds import SACL_KINDS
from stead.model.acl import Acl, NoAcl
from stead.model.decision import AccessQuestion, StagedDifference
from stead.model.policy import CentralAccessPolicy, CentralAccessRule
from stead.model.privilege import Privilege
from stead.model.well_known import OWNER_RIGHTS

OWNERS_RIGHTS: Final = int(AccessMask.READ_CONTROL | AccessMask.WRITE_DAC)
NEVER_BY_ENTRY: Final = ACCESS_SYSTEM_SECURITY | MAXIMUM_ALLOWED
"""Bits that an entry may hold and that mean nothing there (2.4.3)."""
_ALWAYS_WRITING: Final = int(
    AccessMask.DELETE | AccessMask.WRITE_DAC | AccessMask.WRITE_OWNER
)


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the steps found.

    Attributes:
        granted: the rights granted at each node of the tree; what was required and is
            not there is refused.
        privileges: which privilege granted which right.
        staged: what staged central rules would answer differently.
    """

    granted: tuple[int, ...]
    privileges: dict[int, Privilege]
    staged: tuple[StagedDifference, ...] = ()


def judge(question: AccessQuestion, tree: ObjectTree = WHOLE_OBJECT) -> Judgement:
    """Take the steps for a question that has an answer.

    Args:
        question: what was asked, without generic bits, of a token that may be judged
            and a descriptor with owner and group.
        tree: the question's object types.
    """
    if not question.desired or find_unknown(question.descriptor.sacl) is not None:
        return Judgement((0,) * len(tree.parents), {})
    case = Case.of(question)
    left = case.rights_left()
    own = case.judge_list(question.descriptor.dacl, left, tree)
    found = case.narrowed(own, left)
    return found if question.token.limits is None else case.limited(found)


@dataclass(frozen=True, slots=True)
class Case:
    """One question, and what stays the same for every list that is judged for it.

    Attributes:
        question: what was asked.
        callbacks: judges conditional entries.
        principal: the token.
        restricting: its restricting SIDs, if it has any.
        package: its AppContainer, if it is in one.
    """

    question: AccessQuestion
    callbacks: Callbacks
    principal: Principal
    restricting: Principal | None
    package: Principal | None

    @classmethod
    def of(cls, question: AccessQuestion) -> Case:
        """Work out who asks."""
        token = question.token
        return cls(
            question,
            Callbacks(question),
            token_principal(question),
            restricting_principal(question) if token.restricting_sids else None,
            None if token.package is None else package_principal(token, token.package),
        )

    @property
    def required(self) -> int:
        """The rights asked for by name."""
        return self.question.desired & ~MAXIMUM_ALLOWED

    # --- step 2 -------------------------------------------------------------------

    def rights_left(self) -> int:
        """Return the rights that the mandatory rules leave open."""
        question = self.question
        return self.rights_but_for_label() & rights_past_label(
            question.token, question.descriptor, question.mapping
        )

    def rights_but_for_label(self) -> int:
        """Return the rights that process trust and access filters leave open."""
        question = self.question
        return rights_past_trust(
            question.token, question.descriptor, question.mapping
        ) & rights_past_filters(question, self.callbacks, self.principal)

    # --- steps 3 to 5 -------------------------------------------------------------

    def judge_list(self, dacl: Acl | NoAcl, left: int, tree: ObjectTree) -> Judgement:
        """Judge one list: privileges, owner, entries."""
        used, wanted = self.by_privilege(left), self.wanted(left)
        by_privilege = sum(used)
        by_owner = self.owners_rights(dacl) & wanted & ~by_privilege
        asked = wanted & ~by_privilege & ~by_owner
        nodes = self._by_entries(dacl, asked, tree)
        granted = [by_privilege | by_owner | rights for rights in nodes]
        if self.package is not None:
            inside = (wanted | by_privilege) & ~NEVER_BY_ENTRY
            contained = self.walk(dacl, self.package, inside, tree)
            granted = [a & b for a, b in zip(granted, contained, strict=True)]
        return Judgement(tuple(granted), used)

    def by_privilege(self, left: int) -> dict[int, Privilege]:
        """Return which privilege grants which of the rights asked for by name."""
        but_for_label = self.rights_but_for_label()
        return privileges_for(self.question, left, but_for_label=but_for_label)

    def wanted(self, left: int) -> int:
        """Return the rights that are looked for beside privileges."""
        if self.question.desired & MAXIMUM_ALLOWED:
            return left & ~NEVER_BY_ENTRY
        return self.required & left & ~NEVER_BY_ENTRY

    def owners_rights(self, dacl: Acl | NoAcl) -> int:
        """Return what the owner holds without any entry: READ_CONTROL and WRITE_DAC.

        Nothing if the token holds the owner's SID disabled or for deny entries only,
        if it is restricted and the owner is not among its restricting SIDs, or if an
        OWNER RIGHTS entry says what the owner has instead.
        """
        for principal in (self.principal, self.restricting):
            if principal is not None and OWNER_RIGHTS not in principal.allow:
                return 0
        if isinstance(dacl, Acl):
            for ace in dacl.aces:
                if ace.trustee == OWNER_RIGHTS and not ace.is_inherit_only:
                    return 0
        return OWNERS_RIGHTS

    def bound_by_restriction(self, asked: int) -> int:
        """Return which rights the restricting SIDs must be granted too.

        All of them; of a write-restricted token those that write, and everything that
        was named if anything named writes.

        Args:
            asked: the rights that neither a privilege nor ownership grants.
        """
        if self.restricting is None:
            return 0
        if not self.question.token.is_write_restricted:
            return EVERY_RIGHT
        writing = rights_that_write(self.question.mapping)
        return writing | (self.required if self.required & asked & writing else 0)

    def _by_entries(self, dacl: Acl | NoAcl, asked: int, tree: ObjectTree) -> list[int]:
        """Return what a list grants the token, and its restricting SIDs if it must."""
        first = self.walk(dacl, self.principal, asked, tree)
        bound = self.bound_by_restriction(asked)
        if self.restricting is None or not bound & asked:
            return first
        second = self.walk(dacl, self.restricting, asked, tree)
        return [a & (b | ~bound) for a, b in zip(first, second, strict=True)]

    def walk(
        self,
        dacl: Acl | NoAcl,
        principal: Principal,
        wanted: int,
        tree: ObjectTree,
        note: Note | None = None,
    ) -> list[int]:
        """Return which wanted rights a list grants one principal, at each node.

        Without a list everything is granted to everybody who named it, or up to what
        GENERIC_ALL maps to; to a package, nothing.
        """
        mapping = self.question.mapping
        if isinstance(dacl, Acl):
            return walk_dacl(
                dacl,
                principal,
                tree=tree,
                wanted=wanted,
                mapping=mapping,
                callbacks=self.callbacks,
                note=note,
            )
        everything = 0 if principal.is_package else self.required | mapping.all
        return [everything & wanted] * len(tree.parents)

    # --- step 6 -------------------------------------------------------------------

    def narrowed(self, own: Judgement, left: int) -> Judgement:
        """Return what the object's central policies leave of what its list grants."""
        granted, staged = own.granted, list[StagedDifference]()
        for policy in policies_of(self.question):
            for rule in policy.rules:
                if self.applies(rule):
                    effective = self.judge_rule(rule.dacl, left)
                    staged += self._staged(policy, rule, effective, left)
                    granted = tuple(node & effective for node in granted)
        return replace(own, granted=granted, staged=tuple(staged))

    def applies(self, rule: CentralAccessRule) -> bool:
        """Tell whether a rule is about the object, or might be.

        Where its condition is unknown it does not apply, as in the specification; where
        nobody can evaluate the condition it does: a rule only narrows.
        """
        if rule.applies_to is None:
            return True
        try:
            return self.callbacks.truth(rule.applies_to, self.principal) is Truth.TRUE
        except SteadError:
            return True

    def judge_rule(self, dacl: Acl | NoAcl, left: int) -> int:
        """Return what a rule's list grants, object types aside."""
        return self.judge_list(dacl, left, WHOLE_OBJECT).granted[0]

    # --- step 7 -------------------------------------------------------------------

    def limited(self, found: Judgement) -> Judgement:
        """Return what the token's limits leave of what was found."""
        question = self.question
        left = rights_within(question.token, question.mapping, question.circumstances)
        return replace(
            found,
            granted=tuple(node & left for node in found.granted),
            privileges={r: p for r, p in found.privileges.items() if r & left},
        )

    def _staged(
        self,
        policy: CentralAccessPolicy,
        rule: CentralAccessRule,
        effective: int,
        left: int,
    ) -> list[StagedDifference]:
        if rule.staged_dacl is None:
            return []
        would = self.judge_rule(rule.staged_dacl, left)
        if would == effective:
            return []
        return [StagedDifference(policy.sid, rule, effective, would)]


def rights_that_write(mapping: GenericMapping) -> int:
    """Return what counts as writing for a write-restricted token.

    What reading or executing maps to as well (READ_CONTROL, SYNCHRONIZE) does not.
    """
    return (mapping.write | _ALWAYS_WRITING) & ~(mapping.read | mapping.execute)


def find_unknown(sacl: Acl | NoAcl) -> tuple[int, Ace] | None:
    """Find a SACL's first entry of a kind that the judge does not know.

    What it was to protect, and from whom, cannot be told, so nobody is let in.
    """
    if isinstance(sacl, Acl):
        for position, ace in enumerate(sacl.aces):
            if type(ace) not in SACL_KINDS:
                return position, ace
    return None
