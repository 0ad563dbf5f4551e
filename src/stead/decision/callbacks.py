"""Whether a conditional entry counts ([MS-DTYP] 2.4.4.17.3, Win32 AuthzAccessCheck).

An allow entry counts where its condition is true, a deny entry where it is true or
unknown. What cannot be evaluated is unknown. Callback entries whose data is no
condition are the application's: it is asked, and where nobody can be asked an allow
entry does not count and a deny entry does.
"""

from __future__ import annotations

from collections.abc import Iterable

from stead.codec.claim_binary import read_claim
from stead.codec.condition_binary import read_condition
from stead.codec.condition_tree import in_postfix_order
from stead.decision.conditional import ConditionContext, Truth, evaluate
from stead.decision.principals import Principal, sids_of
from stead.errors import InvalidClaimError, SteadError
from stead.model.ace import Ace, ResourceAttributeAce
from stead.model.ace_kinds import CALLBACK_KINDS
from stead.model.acl import Acl, NoAcl
from stead.model.claim import Claim
from stead.model.condition import Attribute, AttributeSource, Condition
from stead.model.decision import AccessQuestion
from stead.model.sid import Sid
from stead.model.token import AccessToken


class Callbacks:
    """Judges the conditional entries of one question.

    Args:
        question: what was asked; its SACL has the resource attributes.
    """

    __slots__ = ("_contexts", "_is_broken", "_question")

    def __init__(self, question: AccessQuestion) -> None:
        self._question = question
        self._is_broken = False
        # A context indexes its claims: one for each principal and kind of entry.
        self._contexts: dict[tuple[frozenset[Sid], bool], ConditionContext] = {}

    def counts(self, ace: Ace, principal: Principal, *, deny: bool) -> bool:
        """Tell whether an entry that is about a principal counts for it."""
        if type(ace) not in CALLBACK_KINDS:
            return True
        if ace.is_conditional:
            truth = self.truth_of_data(ace.application_data, principal, deny=deny)
            return truth is not Truth.FALSE if deny else truth is Truth.TRUE
        if self._question.callback is None:
            return deny
        answer = self._question.callback(ace, self._question.token)
        if answer is not True and answer is not False:
            # A coroutine, say, is true where Python asks.
            raise SteadError("an ace callback answers `True` or `False`")
        return answer

    def truth_of_data(self, data: bytes, principal: Principal, *, deny: bool) -> Truth:
        """Evaluate an entry's condition; unknown if it is none or cannot be."""
        try:
            return self.truth(read_condition(data), principal, deny=deny)
        except SteadError:
            return Truth.UNKNOWN

    def truth(
        self, condition: Condition, principal: Principal, *, deny: bool = False
    ) -> Truth:
        """Evaluate a condition.

        Raises:
            InvalidConditionError: it is too deep or too large.
            InvalidClaimError: a claim that it names has a value twice, or it names an
                attribute of the object and one of those cannot be read.
        """
        sids = principal.deny_members if deny else principal.members
        context = self._contexts.get((sids, deny))
        if context is None:
            context = condition_context(
                self._question.token, self._resource(), sids=sids, deny=deny
            )
            self._contexts[sids, deny] = context
        if self._is_broken and names_source(condition, AttributeSource.RESOURCE):
            raise InvalidClaimError("an attribute of the object cannot be read")
        return evaluate(condition, context)

    def _resource(self) -> tuple[Claim, ...]:
        try:
            return resource_claims(self._question.descriptor.sacl)
        except InvalidClaimError:
            self._is_broken = True
            return ()


def names_source(condition: Condition, source: AttributeSource) -> bool:
    """Tell whether a condition names an attribute of a source."""
    return any(
        isinstance(node, Attribute) and node.source is source
        for node in in_postfix_order(condition)
    )


def condition_context(
    token: AccessToken,
    resource: Iterable[Claim],
    *,
    sids: frozenset[Sid],
    deny: bool,
) -> ConditionContext:
    """Return what a condition is about where a token asks ([MS-DTYP] 2.5.3.1.6, .7).

    Args:
        token: who asks.
        resource: the attributes of what is asked about.
        sids: what Member_of asks.
        deny: whether the condition is a deny entry's, which sees deny-only SIDs and
            claims too.
    """
    enabled, present = sids_of(token.device_groups)
    return ConditionContext(
        user_claims=token.user_claims,
        device_claims=token.device_claims,
        local_claims=token.local_claims,
        resource_claims=tuple(resource),
        sids=sids,
        device_sids=present if deny else enabled,
        deny=deny,
    )


def resource_claims(sacl: Acl | NoAcl) -> tuple[Claim, ...]:
    """Return the attributes that a SACL gives its object ([MS-DTYP] 2.5.3.1.7).

    Raises:
        InvalidClaimError: an entry's data is no attribute; a condition that names one
            of the object's can then not be evaluated.
    """
    if isinstance(sacl, NoAcl):
        return ()
    return tuple(
        read_claim(ace.application_data)
        for ace in sacl.aces
        if type(ace) is ResourceAttributeAce and not ace.is_inherit_only
    )
