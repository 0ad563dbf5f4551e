"""What the judge answered ([MS-DTYP] 2.5.3.2), with all that is needed to explain it.

A decision is false when access was refused: a result object that is always true would
fail open. Reasons are worked out when somebody who may ask asks
(`stead.decision.explain`), from the question that the decision keeps.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from stead.model.access_mask import GenericMapping
from stead.model.ace import Ace
from stead.model.privilege import Privilege
from stead.model.security_descriptor import SecurityDescriptor
from stead.model.sid import Sid
from stead.model.token import AccessToken


@dataclass(frozen=True, slots=True)
class AccessQuestion:
    """What was asked: may this token do this to what this descriptor guards?

    Attributes:
        descriptor: the object's descriptor.
        token: who asks.
        desired: the rights asked for, without generic bits.
        mapping: what generic rights mean on the object.
    """

    descriptor: SecurityDescriptor
    token: AccessToken
    desired: int
    mapping: GenericMapping


@dataclass(frozen=True, slots=True)
class AccessDecision:
    """The answer to an `AccessQuestion`; its truth is `allowed`.

    Attributes:
        question: what was asked.
        allowed: whether all that was asked for is granted.
        granted: the rights granted; 0 when refused.
        privileges_used: privileges that granted a right, asked before the DACL is;
            none when refused.
    """

    question: AccessQuestion
    allowed: bool
    granted: int
    privileges_used: tuple[Privilege, ...] = ()

    def __bool__(self) -> bool:
        return self.allowed


class Rule(Enum):
    """The rule that settled one right (Windows' access reasons, in our words)."""

    GRANTED_BY_ACE = "granted by an entry"
    DENIED_BY_ACE = "denied by an entry"
    DENIED_BY_UNKNOWN_ACE = "denied because an entry is of a kind that is not judged"
    GRANTED_BY_OWNERSHIP = "granted to the owner"
    GRANTED_BY_PRIVILEGE = "granted by a privilege"
    GRANTED_BY_NULL_DACL = "granted because the object has a NULL DACL"
    GRANTED_BY_ABSENT_DACL = "granted because the object has no DACL"
    DENIED_BY_INTEGRITY = "denied because the object's integrity is higher"
    DENIED_WITHOUT_PRIVILEGE = "denied because a privilege is missing"
    NOT_GRANTED = "granted by no entry"
    NOTHING_ASKED = "denied because nothing was asked for"
    NOTHING_GRANTED = "denied because nothing could be granted"


@dataclass(frozen=True, slots=True)
class Reason:
    """Why one right was granted or refused.

    Attributes:
        right: the right, one bit; 0 where the reason is about the whole question.
        granted: whether it was granted.
        rule: the rule that settled it.
        ace: the deciding entry, if an entry decided.
        position: that entry's index in its list, from 0.
        matched: the token's SID that made it so: the one that the entry matched, or
            the owner's.
        privilege: the privilege used or missing.
    """

    right: int
    granted: bool
    rule: Rule
    ace: Ace | None = None
    position: int | None = None
    matched: Sid | None = None
    privilege: Privilege | None = None
