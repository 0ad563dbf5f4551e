"""Which entries of an object's SACL demand a record ([MS-DTYP] 2.4.4.10).

Windows records an access when an audit entry's trustee is in the token, its mask meets
the rights that were granted, or on refusal those that were asked for, and its flags
name the outcome. This module only says what is demanded; what is recorded beyond that
is the guard's matter.
"""

from __future__ import annotations

from dataclasses import dataclass

from stead.decision.access_check import MAXIMUM_ALLOWED, matching_sids
from stead.decision.mandatory import EVERY_RIGHT
from stead.model.ace import Ace, AceFlags, SystemAuditAce
from stead.model.acl import Acl
from stead.model.decision import AccessDecision
from stead.model.security_descriptor import SACL_KINDS


@dataclass(frozen=True, slots=True)
class AuditDemand:
    """The entries of the SACL that demand a record; true if there are any.

    Attributes:
        aces: the entries, in the order of the list.
    """

    aces: tuple[Ace, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.aces)


def audit_check(decision: AccessDecision) -> AuditDemand:
    """Find the entries of the SACL that demand a record of this decision.

    A refused question for MAXIMUM_ALLOWED meant every right, so every failure entry
    for the token speaks. An entry of an unknown kind always demands a record: it is
    also why the question was refused.
    """
    sacl = decision.question.descriptor.sacl
    if not isinstance(sacl, Acl):
        return AuditDemand()
    return AuditDemand(tuple(ace for ace in sacl if _demands(ace, decision)))


def _demands(ace: Ace, decision: AccessDecision) -> bool:
    """Tell whether one entry demands a record."""
    if type(ace) not in SACL_KINDS:
        return True
    if not isinstance(ace, SystemAuditAce) or ace.is_inherit_only:
        return False
    question = decision.question
    wanted = AceFlags.SUCCESSFUL_ACCESS if decision else AceFlags.FAILED_ACCESS
    # A SID held for deny entries only is still who came: it counts.
    _, present = matching_sids(question.token, question.descriptor)
    return bool(
        ace.flags & wanted
        and ace.trustee in present
        and question.mapping.map(ace.mask) & _rights_of(decision)
    )


def _rights_of(decision: AccessDecision) -> int:
    """Return the rights that audit entries are compared with."""
    if decision:
        return decision.granted
    if decision.question.desired & MAXIMUM_ALLOWED:
        return EVERY_RIGHT
    return decision.question.desired
