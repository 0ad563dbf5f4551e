"""Reasons of a decision as plain data, which every verb that explains prints."""

from __future__ import annotations

from typing import Any

from stead.codec.sddl import ace_to_sddl
from stead.decision.explain import ExplainedReason
from stead.errors import SteadError
from stead.model.access_mask import format_mask
from stead.model.ace import Ace
from stead.model.decision import Reason


def explained(found: ExplainedReason) -> dict[str, Any]:
    """Return one reason as plain data, with its words, path and further causes."""
    return {
        **reason_data(found.reason),
        "sentence": found.sentence,
        "path": list(found.path),
        "also": [explained(other) for other in found.also],
    }


def reason_data(reason: Reason) -> dict[str, Any]:
    """Return what a reason says, as plain data; what it does not say is left out."""
    rule, ace = reason.central_rule, reason.ace
    said = {
        "entry": None if reason.position is None else reason.position + 1,
        "ace": None if ace is None else _spelled(ace),
        "matched": None if reason.matched is None else str(reason.matched),
        "privilege": None if reason.privilege is None else reason.privilege.value,
        "policy": None if reason.policy is None else str(reason.policy),
        "central_rule": None if rule is None else rule.name,
    }
    return {
        "right": format_mask(reason.right),
        "granted": reason.granted,
        "rule": reason.rule.name,
        "whom": reason.whom.name,
        **{name: value for name, value in said.items() if value is not None},
        **({} if reason.is_complete else {"is_complete": False}),
    }


def _spelled(ace: Ace) -> str:
    """Spell an entry in SDDL, or name its kind where SDDL has no words for it."""
    try:
        return ace_to_sddl(ace)
    except SteadError:
        return f"type {ace.number:#04x}"
