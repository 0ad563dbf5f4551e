"""What finding the causes of one right may cost: the entries about it, and a budget.

Whoever may write a list may write a long one, and whoever may read it may ask why. So
entries that can say nothing about the right are left out before anything is undone, and
what is left is judged a bounded number of times.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from stead.decision.judgement import Case, find_unknown
from stead.model.ace_kinds import DACL_KINDS
from stead.model.acl import Acl
from stead.model.decision import AccessQuestion, Reason, Rule
from stead.model.sid import Sid
from stead.model.well_known import OWNER_RIGHTS, PRINCIPAL_SELF

STRANGER: Final = Sid.from_string("S-1-5-1000")
"""Nobody's SID: it stands in where an owner or a trustee must be somebody else."""
MOST_WORK: Final = 4000
"""What all causes of one answer may cost; see `Budget`."""
_UNIT: Final = 512
_IN_DACL: Final = frozenset({
    Rule.GRANTED_BY_ACE, Rule.DENIED_BY_ACE, Rule.DENIED_BY_UNKNOWN_ACE,
    Rule.CONDITION_NOT_TRUE,
})  # fmt: skip


class Budget:
    """What may still be spent on judging.

    One judgement costs one unit, and one more for each 512 bytes of the list: entries
    with long conditions cost as much as many short ones.

    Args:
        units: how many there are.
    """

    __slots__ = ("left",)

    def __init__(self, units: int = MOST_WORK) -> None:
        self.left = units

    def spend(self, units: int) -> bool:
        """Take units out, or what there is of them; tell whether there were enough."""
        is_enough = units <= self.left
        self.left = max(0, self.left - units)
        return is_enough


def price_of(question: AccessQuestion) -> int:
    """Return what one judgement of a question costs."""
    dacl = question.descriptor.dacl
    size = sum(ace.size for ace in dacl.aces) if isinstance(dacl, Acl) else 0
    return 1 + size // _UNIT


def entries_about(
    question: AccessQuestion, right: int
) -> tuple[AccessQuestion, list[int] | None]:
    """Leave out the entries of the DACL that can say nothing about a right.

    Whatever causes are undone, they would say nothing still: undoing gives nobody a SID
    but the stranger's.

    Returns:
        the question, and where the entries that are left stood; None where all are. A
        list that is judged by nobody, for an unknown entry of the SACL, stays as it is.
    """
    dacl = question.descriptor.dacl
    if not isinstance(dacl, Acl) or find_unknown(question.descriptor.sacl) is not None:
        return question, None
    case, heard = Case.of(question), {PRINCIPAL_SELF, STRANGER}
    for principal in (case.principal, case.restricting, case.package):
        if principal is not None:
            heard |= principal.deny
    kept = [
        position
        for position, ace in enumerate(dacl.aces)
        if type(ace) not in DACL_KINDS
        # That an entry for OWNER RIGHTS is there means something, whatever it grants.
        or ace.trustee == OWNER_RIGHTS
        or (ace.trustee in heard and question.mapping.map(ace.mask) & right)
    ]
    shorter = Acl(tuple(dacl.aces[position] for position in kept))
    descriptor = replace(question.descriptor, dacl=shorter)
    return replace(question, descriptor=descriptor), kept


def put_back(cause: Reason, kept: list[int] | None) -> Reason:
    """Return a cause with the place of its entry in the whole list."""
    if kept is None or cause.rule not in _IN_DACL or cause.position is None:
        return cause
    return replace(cause, position=kept[cause.position])
