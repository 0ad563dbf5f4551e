"""Which entries of an object's SACL demand a record ([MS-DTYP] 2.4.4.10 to .14).

Windows records an access when an audit entry's trustee is in the token, its mask meets
the rights that were granted, or on refusal those that were asked for, and its flags
name the outcome. An entry about an object type meets only what was asked of that type.
A conditional one speaks unless its condition is false: what cannot be told is recorded.
Entries for a whole kind of objects (Global Object Access Auditing) count as if they
stood in the SACL of each.
This module only says what is demanded; what is recorded beyond that is the guard's
matter.
"""

from __future__ import annotations

from dataclasses import dataclass

from stead.decision.callbacks import Callbacks
from stead.decision.mandatory import EVERY_RIGHT
from stead.decision.object_tree import ObjectTree, build_tree
from stead.decision.principals import Principal, token_principal
from stead.decision.privilege_rights import MAXIMUM_ALLOWED
from stead.model.ace import Ace, AceFlags
from stead.model.ace_kinds import AUDIT_KINDS, SACL_KINDS
from stead.model.acl import Acl
from stead.model.decision import AccessDecision


@dataclass(frozen=True, slots=True)
class AuditDemand:
    """The entries of the SACL that demand a record; true if there are any.

    Attributes:
        aces: the entries, in the order of the list.
    """

    aces: tuple[Ace, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.aces)


def audit_check(decision: AccessDecision, whole_kind: Acl | None = None) -> AuditDemand:
    """Find the entries of the SACL that demand a record of this decision.

    Args:
        decision: what was asked and answered.
        whole_kind: the SACL of all objects of this kind, if they have one.

    A refused question for MAXIMUM_ALLOWED meant every right, so every failure entry
    for the token speaks. An entry of an unknown kind always demands a record: it is
    also why the question was refused.
    """
    question = decision.question
    own = question.descriptor.sacl
    aces = own.aces if isinstance(own, Acl) else ()
    if whole_kind is not None:
        aces += whole_kind.aces
    if not aces:
        return AuditDemand()
    case = _Case(
        decision,
        token_principal(question),
        Callbacks(question),
        build_tree(question.object_types),
    )
    return AuditDemand(tuple(ace for ace in aces if case.is_demanded_by(ace)))


@dataclass(frozen=True, slots=True)
class _Case:
    """One decision, and what its audit entries are compared with."""

    decision: AccessDecision
    principal: Principal
    callbacks: Callbacks
    tree: ObjectTree

    def is_demanded_by(self, ace: Ace) -> bool:
        """Tell whether one entry demands a record."""
        if type(ace) not in SACL_KINDS:
            return True
        if type(ace) not in AUDIT_KINDS or ace.is_inherit_only:
            return False
        # A SID held for deny entries only is still who came: it counts.
        if ace.trustee not in self.principal.deny:
            return False
        node = self.tree.locate(ace, deny=True)
        return (
            node is not None
            and self._meets(ace, node)
            and self.callbacks.counts(ace, self.principal, deny=True)
        )

    def _meets(self, ace: Ace, node: int) -> bool:
        """Tell whether an entry is about the outcome at a node and its rights."""
        question, allowed = self.decision.question, self.decision.allowed
        granted = self.decision.granted
        if self.decision.object_results:
            result = self.decision.object_results[node]
            allowed, granted = result.allowed, result.granted
        if allowed:
            wanted, rights = AceFlags.SUCCESSFUL_ACCESS, granted
        else:
            wanted, rights = AceFlags.FAILED_ACCESS, question.desired
            if question.desired & MAXIMUM_ALLOWED:
                rights = EVERY_RIGHT
        return bool(ace.flags & wanted and question.mapping.map(ace.mask) & rights)
