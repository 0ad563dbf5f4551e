"""Limited tokens: made, and what their limits leave of the judge's answer.

Limits come last and only take away: the answer is what it would be without them, less
what they do not leave (docs/adr/0053). The judge has no clock and knows no names, so
the question says both (`stead.model.limits.Circumstances`); of a limited token nothing
is granted to who does not say them.
"""

from __future__ import annotations

from dataclasses import replace

from stead.decision.mandatory import EVERY_RIGHT
from stead.errors import InvalidRequestError
from stead.model.access_mask import GenericMapping
from stead.model.decision import AccessQuestion, Rule
from stead.model.limits import Circumstances, TokenLimits
from stead.model.luid import NO_LUID, Luid
from stead.model.token import AccessToken


def limit_token(
    token: AccessToken, limits: TokenLimits, *, token_id: Luid = NO_LUID
) -> AccessToken:
    """Make a token that reaches nothing beyond limits, nor beyond those it had.

    Args:
        token: whose token.
        limits: what is left of it; they may not lie within others already.
        token_id: the new token's own number.

    Raises:
        InvalidRequestError: the limits lie within others, or are too many.
    """
    if limits.within is not None:
        raise InvalidRequestError(
            "limits are put within a token's own, not within others"
        )
    return replace(
        token, limits=replace(limits, within=token.limits), token_id=token_id
    )


def rights_within(
    token: AccessToken, mapping: GenericMapping, about: Circumstances | None
) -> int:
    """Return the rights that a token's limits leave; all of them where it has none."""
    if token.limits is None:
        return EVERY_RIGHT
    if about is None:
        return 0
    left = EVERY_RIGHT
    for layer in token.limits.layers():
        left &= layer.rights_to(about, mapping)
    return left


def is_over(token: AccessToken, time: int | None) -> bool:
    """Tell whether a token's limits have expired, or nobody says what time it is."""
    return token.limits is not None and (time is None or time >= token.limits.ends)


def find_limiting(
    question: AccessQuestion, right: int
) -> tuple[TokenLimits, Rule] | None:
    """Find the outermost layer of limits that does not leave a right, and why not."""
    limits, about = question.token.limits, question.circumstances
    for layer in reversed(() if limits is None else tuple(limits.layers())):
        if about is None:
            return layer, Rule.GRANT_NOT_ASKED_ABOUT
        if layer.is_over(about.time):
            return layer, Rule.GRANT_EXPIRED
        if not layer.names(about):
            return layer, Rule.OUTSIDE_TARGETS
        if not layer.rights_of(about.kind, question.mapping) & right:
            return layer, Rule.OUTSIDE_RIGHTS
    return None
