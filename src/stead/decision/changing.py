"""What an administrator can change, and a question as it is after that.

Each change is small: one membership, one entry, one privilege. Which of them would turn
a refusal is the matter of `stead.decision.changes`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from types import MappingProxyType
from typing import Final

from stead.decision.dacl_walk import unconditional
from stead.model.access_mask import name_rights
from stead.model.ace import AccessAllowedAce, AceFlags
from stead.model.ace_kinds import DENY_KINDS
from stead.model.acl import Acl, NoAcl
from stead.model.decision import AccessQuestion
from stead.model.policy import CentralAccessPolicy, CentralAccessRule
from stead.model.privilege import Privilege, TokenPrivilege
from stead.model.sid import Sid
from stead.model.token import GroupAttributes, TokenGroup


class ChangeKind(Enum):
    """What an administrator can do, in words."""

    JOIN_GROUP = "let the account join {who}"
    ENABLE_GROUP = "enable the account's group {who}"
    LEAVE_GROUP = "take the account out of {who}"
    MEET_CONDITION = "make the condition of entry {entry} of the DACL true"
    ADD_ENTRY = "add an entry that allows {who} {rights}"
    REMOVE_ENTRY = "remove entry {entry} of the DACL"
    REMOVE_SYSTEM_ENTRY = "remove entry {entry} of the SACL"
    BECOME_OWNER = "make the account the owner"
    HOLD_PRIVILEGE = "give the account {privilege}"
    ENABLE_PRIVILEGE = "enable the account's {privilege}"
    RAISE_INTEGRITY = "raise the account's integrity to {who}"
    REMOVE_RULE = "take rule `{rule}` out of central access policy {who}"


@dataclass(frozen=True, slots=True)
class Change:
    """One change.

    Attributes:
        kind: what is done.
        sid: the group, trustee, level or policy that it is about.
        rights: the rights of an entry that is added.
        position: the index of an entry that is removed.
        privilege: the privilege that is given or enabled.
        rule: the central rule that is removed.
    """

    kind: ChangeKind
    sid: Sid | None = None
    rights: int = 0
    position: int | None = None
    privilege: Privilege | None = None
    rule: CentralAccessRule | None = None


def changed(question: AccessQuestion, changes: tuple[Change, ...]) -> AccessQuestion:
    """Return a question as it is after some changes.

    Entries are named by their place, so those that go go last first, and before any
    that come.
    """
    for change in sorted(changes, key=_order):
        question = _APPLY[change.kind](question, change)
    return question


def change_sentence(
    change: Change,
    *,
    names: Callable[[Sid], str] = str,
    rights: Mapping[str, int] = MappingProxyType({}),
) -> str:
    """Say one change in plain words.

    Args:
        change: what `smallest_changes` returned.
        names: gives a SID's name, or its text.
        rights: the names of the object's own rights, and their bits.
    """
    return change.kind.value.format(
        who="" if change.sid is None else names(change.sid),
        rights=name_rights(change.rights, dict(rights)),
        entry="" if change.position is None else change.position + 1,
        privilege="" if change.privilege is None else change.privilege.value,
        rule="" if change.rule is None else change.rule.name,
    )


def _order(change: Change) -> tuple[bool, int]:
    adds = change.kind is ChangeKind.ADD_ENTRY
    return adds, -1 if change.position is None else -change.position


# --- making a change ----------------------------------------------------------------


def _join(question: AccessQuestion, change: Change) -> AccessQuestion:
    if change.sid is None:
        return question
    groups = (*question.token.groups, TokenGroup(change.sid))
    return replace(question, token=replace(question.token, groups=groups))


def _enable(question: AccessQuestion, change: Change) -> AccessQuestion:
    on = GroupAttributes.ENABLED
    groups = tuple(
        replace(g, attributes=g.attributes | on) if g.sid == change.sid else g
        for g in question.token.groups
    )
    return replace(question, token=replace(question.token, groups=groups))


def _leave(question: AccessQuestion, change: Change) -> AccessQuestion:
    groups = tuple(g for g in question.token.groups if g.sid != change.sid)
    return replace(question, token=replace(question.token, groups=groups))


def _hold(question: AccessQuestion, change: Change) -> AccessQuestion:
    if change.privilege is None:
        return question
    kept = [e for e in question.token.privileges if e.privilege != change.privilege]
    held = (*kept, TokenPrivilege(change.privilege))
    return replace(question, token=replace(question.token, privileges=held))


def _raise(question: AccessQuestion, change: Change) -> AccessQuestion:
    if change.sid is None:
        return question
    return replace(question, token=replace(question.token, integrity=change.sid))


def _own(question: AccessQuestion, _change: Change) -> AccessQuestion:
    owned = replace(question.descriptor, owner=question.token.user)
    return replace(question, descriptor=owned)


def _add_entry(question: AccessQuestion, change: Change) -> AccessQuestion:
    """Add an allow entry at its place: after explicit deny entries, before others."""
    dacl = question.descriptor.dacl
    if change.sid is None or isinstance(dacl, NoAcl):
        return question
    at = 0
    for position, ace in enumerate(dacl.aces):
        if type(ace) in DENY_KINDS and not ace.flags & AceFlags.INHERITED:
            at = position + 1
    added = AccessAllowedAce(change.sid, change.rights)
    aces = (*dacl.aces[:at], added, *dacl.aces[at:])
    return replace(question, descriptor=replace(question.descriptor, dacl=Acl(aces)))


def _without(acl: Acl | NoAcl, position: int | None) -> Acl | NoAcl:
    if isinstance(acl, NoAcl) or position is None:
        return acl
    return Acl((*acl.aces[:position], *acl.aces[position + 1 :]))


def _remove_entry(question: AccessQuestion, change: Change) -> AccessQuestion:
    dacl = _without(question.descriptor.dacl, change.position)
    return replace(question, descriptor=replace(question.descriptor, dacl=dacl))


def _meet_condition(question: AccessQuestion, change: Change) -> AccessQuestion:
    dacl = question.descriptor.dacl
    if isinstance(dacl, NoAcl) or change.position is None:
        return question
    aces = list(dacl.aces)
    aces[change.position] = unconditional(aces[change.position])
    met = Acl(tuple(aces))
    return replace(question, descriptor=replace(question.descriptor, dacl=met))


def _remove_system_entry(question: AccessQuestion, change: Change) -> AccessQuestion:
    sacl = _without(question.descriptor.sacl, change.position)
    return replace(question, descriptor=replace(question.descriptor, sacl=sacl))


def _remove_rule(question: AccessQuestion, change: Change) -> AccessQuestion:
    policies = {policy.sid: policy for policy in question.policies}
    if change.sid is None:
        return question
    policy = policies.get(change.sid, CentralAccessPolicy(change.sid))
    rules = tuple(rule for rule in policy.rules if rule != change.rule)
    policies[change.sid] = replace(policy, rules=rules)
    return replace(question, policies=tuple(policies.values()))


_APPLY: Final[dict[ChangeKind, Callable[[AccessQuestion, Change], AccessQuestion]]] = {
    ChangeKind.JOIN_GROUP: _join,
    ChangeKind.ENABLE_GROUP: _enable,
    ChangeKind.LEAVE_GROUP: _leave,
    ChangeKind.ADD_ENTRY: _add_entry,
    ChangeKind.MEET_CONDITION: _meet_condition,
    ChangeKind.REMOVE_ENTRY: _remove_entry,
    ChangeKind.REMOVE_SYSTEM_ENTRY: _remove_system_entry,
    ChangeKind.BECOME_OWNER: _own,
    ChangeKind.HOLD_PRIVILEGE: _hold,
    ChangeKind.ENABLE_PRIVILEGE: _hold,
    ChangeKind.RAISE_INTEGRITY: _raise,
    ChangeKind.REMOVE_RULE: _remove_rule,
}
