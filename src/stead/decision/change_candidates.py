"""The changes that could matter to a refused question.

A change that is not here can be left out of the smallest sets: it touches nothing that
the judge looks at on the way to the refusal.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from stead.decision.central_policy import policies_of
from stead.decision.changing import Change, ChangeKind
from stead.decision.dacl_walk import effect_of, is_unmet
from stead.decision.judgement import OWNERS_RIGHTS, Case, find_unknown
from stead.decision.mandatory import (
    closed_filters,
    find_label,
    find_trust_label,
    rights_past_label,
    rights_past_trust,
)
from stead.decision.principals import Principal
from stead.decision.privilege_rights import (
    ACCESS_SYSTEM_SECURITY,
    MAXIMUM_ALLOWED,
    WRITE_OWNER,
)
from stead.model.ace_kinds import ALLOW_KINDS, DENY_KINDS
from stead.model.acl import NoAcl
from stead.model.decision import AccessQuestion, Intent
from stead.model.privilege import Privilege, PrivilegeAttributes, TokenPrivilege
from stead.model.sid import Sid
from stead.model.well_known import (
    CREATOR_GROUP,
    CREATOR_OWNER,
    MEDIUM_LEVEL,
    OWNER_RIGHTS,
    PRINCIPAL_SELF,
    is_integrity_level,
)

_NOBODY_S: Final = {OWNER_RIGHTS, PRINCIPAL_SELF, CREATOR_OWNER, CREATOR_GROUP}


def candidate_changes(question: AccessQuestion) -> Iterator[Change]:
    """Yield every change that could matter to a refused question."""
    case = Case.of(question)
    needed = question.desired & ~MAXIMUM_ALLOWED or question.mapping.all
    yield from _about_integrity(question, needed)
    yield from _about_entries(case, needed)
    yield from _about_privileges(question, needed)
    yield from _new_entries(case, needed)
    if needed & OWNERS_RIGHTS:
        yield Change(ChangeKind.BECOME_OWNER)
    yield from _about_sacl(case, needed)
    for policy in policies_of(question):
        for rule in filter(case.applies, policy.rules):
            yield Change(ChangeKind.REMOVE_RULE, sid=policy.sid, rule=rule)


def _about_integrity(question: AccessQuestion, needed: int) -> Iterator[Change]:
    parts = (question.token, question.descriptor, question.mapping)
    if needed & ~rights_past_label(*parts):
        found = find_label(question.descriptor)
        level = MEDIUM_LEVEL if found is None else found[1].trustee
        if is_integrity_level(level):
            yield Change(ChangeKind.RAISE_INTEGRITY, sid=level)


def _about_entries(case: Case, needed: int) -> Iterator[Change]:
    """Yield what would make entries grant that do not, or not deny that do."""
    dacl, question = case.question.descriptor.dacl, case.question
    if isinstance(dacl, NoAcl):
        return
    principals = [p for p in (case.principal, case.restricting, case.package) if p]
    for position, ace in enumerate(dacl.aces):
        if any(effect_of(ace, p, case.callbacks) is False for p in principals):
            yield Change(ChangeKind.REMOVE_ENTRY, position=position)
            if type(ace) in DENY_KINDS and question.token.group(ace.trustee):
                yield Change(ChangeKind.LEAVE_GROUP, sid=ace.trustee)
        elif type(ace) in ALLOW_KINDS and question.mapping.map(ace.mask) & needed:
            if any(is_unmet(ace, p, case.callbacks) for p in principals):
                yield Change(ChangeKind.MEET_CONDITION, position=position)
            yield from _joining(question, ace.trustee)


def _joining(question: AccessQuestion, trustee: Sid) -> Iterator[Change]:
    token = question.token
    if trustee in token.enabled_sids or trustee in _NOBODY_S:
        return
    group = token.group(trustee)
    if group is None and trustee != token.user:
        yield Change(ChangeKind.JOIN_GROUP, sid=trustee)
    elif group is not None and not group.is_deny_only:
        yield Change(ChangeKind.ENABLE_GROUP, sid=trustee)


def _about_privileges(question: AccessQuestion, needed: int) -> Iterator[Change]:
    offers = [
        (Privilege.SECURITY, needed & ACCESS_SYSTEM_SECURITY),
        (Privilege.TAKE_OWNERSHIP, needed & WRITE_OWNER),
        (Privilege.RELABEL, needed & WRITE_OWNER),
        (Privilege.BACKUP, question.intent & Intent.BACKUP),
        (Privilege.RESTORE, question.intent & Intent.RESTORE),
    ]
    held = {entry.privilege for entry in _kept_privileges(question)}
    for privilege, is_useful in offers:
        if is_useful and not question.token.has_privilege(privilege):
            kind = ChangeKind.HOLD_PRIVILEGE
            if privilege in held:
                kind = ChangeKind.ENABLE_PRIVILEGE
            yield Change(kind, privilege=privilege)


def _kept_privileges(question: AccessQuestion) -> Iterator[TokenPrivilege]:
    for entry in question.token.privileges:
        if not entry.attributes & PrivilegeAttributes.REMOVED:
            yield entry


def _new_entries(case: Case, needed: int) -> Iterator[Change]:
    """Yield an entry for each list of SIDs that must be granted something."""
    rights = needed & ~ACCESS_SYSTEM_SECURITY
    if not rights:
        return
    for principal in (case.principal, case.restricting, case.package):
        trustee = None if principal is None else _named(principal, case)
        if trustee is not None:
            yield Change(ChangeKind.ADD_ENTRY, sid=trustee, rights=rights)


def _named(principal: Principal, case: Case) -> Sid | None:
    """Return the SID that an entry for a principal would name."""
    token = case.question.token
    for sid in (token.package if principal.is_package else token.user,):
        if sid is not None and sid in principal.allow:
            return sid
    return min(principal.allow - _NOBODY_S, default=None)


def _about_sacl(case: Case, needed: int) -> Iterator[Change]:
    question = case.question
    parts = (question.token, question.descriptor, question.mapping)
    found = [find_unknown(question.descriptor.sacl)]
    if needed & ~rights_past_trust(*parts):
        found.append(find_trust_label(question.descriptor))
    found += closed_filters(question.descriptor, case.callbacks, case.principal)
    for entry in found:
        if entry is not None:
            yield Change(ChangeKind.REMOVE_SYSTEM_ENTRY, position=entry[0])
