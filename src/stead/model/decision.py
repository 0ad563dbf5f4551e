"""What the judge answered ([MS-DTYP] 2.5.3.2), with all that is needed to explain it.

A decision is false when access was refused: a result object that is always true would
fail open. Reasons are worked out when somebody who may ask asks
(`stead.decision.explain`), from the question that the decision keeps.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum, IntFlag
from typing import TYPE_CHECKING, Any, Final, Protocol

from stead.model.access_mask import GenericMapping
from stead.model.ace import Ace
from stead.model.guid import Guid
from stead.model.limits import Circumstances, TokenLimits
from stead.model.policy import CentralAccessPolicy, CentralAccessRule
from stead.model.privilege import Privilege
from stead.model.security_descriptor import SecurityDescriptor
from stead.model.sid import Sid
from stead.model.token import AccessToken


class Intent(IntFlag):
    """What the asker says it is about, where a privilege then grants rights."""

    NONE = 0
    BACKUP = 1
    RESTORE = 2


@dataclass(frozen=True, slots=True)
class ObjectType:
    """One node of a tree of object types (Win32: OBJECT_TYPE_LIST).

    Attributes:
        level: 0 for the object, 1 for property sets and the like, up to 4.
        guid: which type.
    """

    level: int
    guid: Guid


class AceCallback(Protocol):
    """Judges callback entries whose data is not a condition (AuthzAccessCheck)."""

    def __call__(self, ace: Ace, token: AccessToken) -> bool:
        """Tell whether the entry counts for this token."""
        ...


@dataclass(frozen=True, slots=True)
class AccessQuestion:
    """What was asked: may this token do this to what this descriptor guards?

    Attributes:
        descriptor: the object's descriptor.
        token: who asks.
        desired: the rights asked for, without generic bits.
        mapping: what generic rights mean on the object.
        object_types: the parts of the object that are asked about, as a tree in the
            order of a walk; none for the object as a whole.
        self_sid: whom PRINCIPAL_SELF stands for in entries; None for nobody.
        intent: whether backup or restore is what the rights are asked for.
        policies: the central access policies that are configured; where there are none,
            scoped policy entries mean nothing.
        callback: judges callback entries whose data is not a condition.
        circumstances: what and when, for tokens with limits; without, they are granted
            nothing.
    """

    descriptor: SecurityDescriptor
    token: AccessToken
    desired: int
    mapping: GenericMapping
    object_types: tuple[ObjectType, ...] = ()
    self_sid: Sid | None = None
    intent: Intent = Intent.NONE
    policies: tuple[CentralAccessPolicy, ...] = ()
    callback: AceCallback | None = None
    circumstances: Circumstances | None = None


@dataclass(frozen=True, slots=True)
class ObjectResult:
    """The answer for one node of a tree of object types.

    Attributes:
        allowed: whether all that was asked for is granted there.
        granted: the rights granted; where it is refused, those of the ones asked for
            that are granted all the same (Win32 AccessCheckByTypeResultList).
    """

    allowed: bool
    granted: int

    def __bool__(self) -> bool:
        return self.allowed


@dataclass(frozen=True, slots=True)
class StagedDifference:
    """A central rule whose staged list would have answered differently.

    Attributes:
        policy: the policy's SID.
        rule: the rule.
        effective: the rights that its list in force grants.
        staged: the rights that the staged one would grant.
    """

    policy: Sid
    rule: CentralAccessRule
    effective: int
    staged: int


@dataclass(frozen=True, slots=True)
class AccessDecision:
    """The answer to an `AccessQuestion`; its truth is `allowed`.

    Attributes:
        question: what was asked.
        allowed: whether all that was asked for is granted; with object types, to the
            whole object, which is the tree's root.
        granted: the rights granted; 0 when refused.
        privileges_used: privileges that granted a right, asked before the DACL is;
            none when refused.
        object_results: with object types, one answer for each node, in their order.
        staged: what central policies would answer differently once they are in force.
        kept_parts: what `question` is made of, where it is not made yet; no part of
            the value.
    """

    question: AccessQuestion
    allowed: bool
    granted: int
    privileges_used: tuple[Privilege, ...] = ()
    object_results: tuple[ObjectResult, ...] = ()
    staged: tuple[StagedDifference, ...] = ()
    kept_parts: tuple[Any, ...] = field(
        init=False, repr=False, compare=False, default=()
    )

    @classmethod
    def of_parts(cls, asked: tuple[Any, ...], granted: int) -> AccessDecision:
        """Make a decision that used no privilege and has nothing else to tell.

        It is made for every check, and few look at more than its truth: the question
        is put together when somebody asks for it.

        Args:
            asked: the parts of an `AccessQuestion`, in their order.
            granted: the rights granted; 0 when refused.
        """
        made = object.__new__(cls)
        _set_parts(made, asked)
        _set_allowed(made, granted != 0)
        _set_granted(made, granted)
        return made

    if not TYPE_CHECKING:  # pragma: no branch

        def __getattr__(self, name: str) -> object:
            # Reached only where `of_parts` left a field empty.
            if name == "question":
                found = AccessQuestion(*self.kept_parts)
            elif name in _EMPTY_FIELDS:
                found = ()
            else:
                raise AttributeError(name, name=name, obj=self)
            object.__setattr__(self, name, found)
            return found

    def __bool__(self) -> bool:
        return self.allowed


_EMPTY_FIELDS: Final = frozenset({"privileges_used", "object_results", "staged"})
_set_parts: Final = vars(AccessDecision)["kept_parts"].__set__
_set_allowed: Final = vars(AccessDecision)["allowed"].__set__
_set_granted: Final = vars(AccessDecision)["granted"].__set__


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
    DENIED_BY_TRUST = "denied because the object's process trust is higher"
    DENIED_BY_FILTER = "denied because an access filter's condition is not true"
    DENIED_BY_POLICY = "denied by a rule of a central access policy"
    CONDITION_NOT_TRUE = "not granted because an entry's condition is not true"
    NEVER_TO_PACKAGE = "granted to no appcontainer"
    NOT_GRANTED = "granted by no entry"
    GRANT_NOT_ASKED_ABOUT = "denied because a limited token is asked about no object"
    GRANT_EXPIRED = "denied because the token's grant has expired"
    OUTSIDE_TARGETS = "denied because the object is not among a grant's targets"
    OUTSIDE_RIGHTS = "denied because the right is not among a grant's rights"
    NOTHING_ASKED = "denied because nothing was asked for"
    NOTHING_GRANTED = "denied because nothing could be granted"


class Whom(Enum):
    """For whom a list was asked when it settled a right."""

    TOKEN = "the token"  # noqa: S105 - nobody's secret
    RESTRICTING = "its restricting SIDs"
    PACKAGE = "its package"


@dataclass(frozen=True, slots=True)
class Reason:
    """Why one right was granted or refused.

    A reason and the others in `also` are all of its causes together: without them the
    right would have been answered the other way, and without fewer of them it would
    not.

    Attributes:
        right: the right, one bit; 0 where the reason is about the whole question.
        granted: whether it was granted.
        rule: the rule that settled it.
        ace: the deciding entry, if an entry decided.
        position: that entry's index in its list, from 0.
        matched: the token's SID that made it so: the one that the entry matched, or
            the owner's.
        privilege: the privilege used or missing.
        whom: for whom the DACL was asked.
        policy: the central access policy whose rule refused.
        central_rule: that rule.
        grant: the limits that refused, of those that the token has.
        also: what else made it so; these have none of their own.
        is_complete: whether all causes were looked for; there may be more if not, and
            the ones found may not all be needed.
    """

    right: int
    granted: bool
    rule: Rule
    ace: Ace | None = None
    position: int | None = None
    matched: Sid | None = None
    privilege: Privilege | None = None
    whom: Whom = Whom.TOKEN
    policy: Sid | None = None
    central_rule: CentralAccessRule | None = None
    grant: TokenLimits | None = None
    also: tuple[Reason, ...] = ()
    is_complete: bool = True

    @property
    def causes(self) -> tuple[Reason, ...]:
        """All that made it so, the first to be met first."""
        return (replace(self, also=()), *self.also)
