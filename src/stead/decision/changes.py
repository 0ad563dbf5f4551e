"""The smallest changes after which a refused question would be granted.

A change is something that an administrator can do: let the account join a group that
an entry names, enable what it holds disabled, add an entry, remove one that denies,
raise its integrity, give it a privilege. `smallest_changes` tries all sets of one
change, then of two, and so on, and judges each: what it returns grants, and nothing
smaller made of such changes does.

>>> from stead.decision.access_check import access_check
>>> from stead.model.access_mask import FILE_MAPPING
>>> from stead.model.security_descriptor import SecurityDescriptor
>>> from stead.model.sid import Sid
>>> from stead.model.token import AccessToken
>>> alice = AccessToken(Sid.from_string("S-1-5-21-1-2-3-1001"))
>>> plan = SecurityDescriptor.from_sddl("O:SYG:SYD:(A;;FR;;;BU)")
>>> found = smallest_changes(access_check(alice, plan, 1, FILE_MAPPING))
>>> [change.kind.name for (change,) in found.sets]
['JOIN_GROUP', 'ADD_ENTRY']
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Final

from stead.decision.access_check import decide
from stead.decision.change_candidates import candidate_changes
from stead.decision.changing import Change, changed
from stead.decision.limiting import rights_within
from stead.decision.privilege_rights import MAXIMUM_ALLOWED
from stead.model.decision import AccessDecision, AccessQuestion

MOST_CHANGES: Final = 4
MOST_CANDIDATES: Final = 48
MOST_JUDGED: Final = 50_000


@dataclass(frozen=True, slots=True)
class Changes:
    """What `smallest_changes` found.

    Attributes:
        sets: each grants by itself; all are of the same size, the smallest.
        is_complete: whether everything up to that size was tried.
    """

    sets: tuple[tuple[Change, ...], ...]
    is_complete: bool = True


def smallest_changes(decision: AccessDecision, *, most: int = MOST_CHANGES) -> Changes:
    """Find the smallest sets of changes after which a refusal would be a grant.

    Args:
        decision: a refusal. A grant needs no change: one empty set.
        most: how many changes a set may have.

    Returns:
        the sets, each judged; none where nothing so small grants, and none where it is
        the token's limits that refuse, which nothing turns. Not complete where too many
        changes would have to be tried.
    """
    question = decision.question
    if decision:
        return Changes(((),))
    if question.token.limits is not None and _is_limited(question):
        return Changes(())
    candidates = tuple(dict.fromkeys(candidate_changes(question)))
    is_complete = len(candidates) <= MOST_CANDIDATES
    candidates, judged = candidates[:MOST_CANDIDATES], 0
    for size in range(1, most + 1):
        found: list[tuple[Change, ...]] = []
        for changes in combinations(candidates, size):
            judged += 1
            if judged > MOST_JUDGED:
                return Changes(tuple(found), is_complete=False)
            if decide(changed(question, changes)):
                found.append(changes)
        if found:
            return Changes(tuple(found), is_complete)
    return Changes((), is_complete)


def _is_limited(question: AccessQuestion) -> bool:
    """Tell whether the token's limits refuse by themselves."""
    left = rights_within(question.token, question.mapping, question.circumstances)
    return not left or bool(question.desired & ~MAXIMUM_ALLOWED & ~left)
