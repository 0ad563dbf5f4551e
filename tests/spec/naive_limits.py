"""What limits leave, by another hand: one bit, one layer, one name at a time.

A layer leaves a bit of an object if its time has not come, one of its targets is the
object, and one of its rights, for the object's kind or for every kind, holds the bit.
"""

from __future__ import annotations

from tests.spec.naive_masks import mapped

from stead.model.decision import AccessQuestion


def limits_leave(question: AccessQuestion, number: int) -> bool:
    """Tell whether every layer of the asker's limits leaves a bit."""
    layer = question.token.limits
    while layer is not None:
        if not layer_leaves(question, layer, number):
            return False
        layer = layer.within
    return True


def layer_leaves(question, layer, number):
    about = question.circumstances
    if about is None or not about.time < layer.expires:
        return False
    is_target = False
    for target in layer.objects:
        if target.is_prefix:
            is_target |= about.name[: len(target.text)] == target.text
        else:
            is_target |= about.name == target.text
    if not is_target:
        return False
    for entry in layer.rights:
        is_kind = entry.kind in ("", about.kind)
        if is_kind and number in mapped(entry.mask, question.mapping):
            return True
    return False
