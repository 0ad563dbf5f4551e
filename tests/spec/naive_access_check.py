"""A second judge: slow, naive, one bit at a time, by another hand.

Written from [MS-DTYP] 2.5.3.2 and 2.5.3.3 and from Microsoft's documentation of
AccessCheck, and not from `stead.decision`: it shares no helper with the judge, takes no
step early, and asks of each bit alone whether it is granted. Where the documents
differ, it holds what docs/adr says was chosen.

1. A question that cannot be judged is an error.
2. Nothing asked, or an entry of an unknown kind in the SACL: nothing granted.
3. Of each bit: is it left open by process trust, access filters and integrity; does a
   privilege grant it; does ownership; does the DACL, to each of the askers that a
   restricted or AppContainer token is; and does each central rule say so too?
4. Of what is granted: do the token's limits leave it?
5. Of each node: is all that was named granted?
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

from tests.spec.naive_condition import Facts, evaluate
from tests.spec.naive_entries import (
    ALLOW_KINDS,
    DACL_KINDS,
    OBJECT_KINDS,
    SACL_KINDS,
    Counting,
    entries_of,
    is_inherit_only,
    of_kind,
    resource_claims,
    type_of,
)
from tests.spec.naive_limits import limits_leave
from tests.spec.naive_masks import (
    DELETE,
    GENERIC_ALL,
    GENERIC_EXECUTE,
    GENERIC_READ,
    GENERIC_WRITE,
    MAXIMUM,
    READ_CONTROL,
    SYSTEM_SECURITY,
    WRITE_DAC,
    WRITE_OWNER,
    bits,
    mapped,
)
from tests.spec.naive_sacl import SaclRules
from tests.spec.naive_tree import OneBit, is_tree
from tests.spec.naive_who import (
    OWNER_RIGHTS,
    Asker,
    ByItself,
    ByPackage,
    ByRestriction,
    Stand,
)

from stead.model.access_mask import FILE_MAPPING
from stead.model.ace import AccessAllowedAce, Ace, ScopedPolicyIdAce
from stead.model.acl import Acl, NoAcl
from stead.model.decision import AccessQuestion, Intent
from stead.model.policy import CentralAccessRule
from stead.model.privilege import Privilege
from stead.model.security_descriptor import SecurityDescriptor
from stead.model.sid import Sid
from stead.model.token import ImpersonationLevel

__all__ = ["Answer", "bits", "naive_access_check"]

EVERY_BIT = frozenset(range(32))
TRAVERSE = 5
RECOVERY = Acl(
    tuple(
        AccessAllowedAce(Sid.from_string(text), 1 << GENERIC_ALL)
        for text in ("S-1-5-32-544", "S-1-5-18", OWNER_RIGHTS)
    )
)


@dataclass(frozen=True)
class Answer:
    """An error, or what is granted; `nodes` says the same of each object type.

    A node that is refused says all the same which of the bits it has.
    """

    error: str = ""
    allowed: bool = False
    granted: frozenset[int] = frozenset()
    privileges: frozenset[Privilege] = frozenset()
    nodes: tuple[tuple[bool, frozenset[int]], ...] = ()


def naive_access_check(question: AccessQuestion) -> Answer:
    """Answer a question."""
    error = why_not_judged(question)
    if error:
        return Answer(error=error)
    case = _Case(question)
    nodes = tuple(case.node_answer(node) for node in range(case.node_count))
    allowed, granted = nodes[0]
    return Answer(
        allowed=allowed,
        granted=granted if allowed else frozenset(),
        privileges=case.privileges_for(granted if allowed else frozenset()),
        nodes=nodes if question.object_types else (),
    )


def why_not_judged(question: AccessQuestion) -> str:
    generic = {GENERIC_ALL, GENERIC_EXECUTE, GENERIC_WRITE, GENERIC_READ}
    if bits(question.desired) & generic:
        return "ERROR_GENERIC_NOT_MAPPED"
    if question.token.level == ImpersonationLevel.ANONYMOUS:
        return "ERROR_BAD_IMPERSONATION_LEVEL"
    if not is_tree(question.object_types):
        return "ERROR_INVALID_PARAMETER"
    if question.descriptor.owner is None or question.descriptor.group is None:
        return "ERROR_INVALID_SECURITY_DESCR"
    return ""


class _Case:
    """One question; each method is one rule, asked of one bit."""

    def __init__(self, question: AccessQuestion) -> None:
        self.question = question
        self.token = question.token
        self.mapping = question.mapping
        self.sacl = question.descriptor.sacl
        self.asked = bits(question.desired)
        self.node_count = max(1, len(question.object_types))

    # --- the whole ----------------------------------------------------------------

    def node_answer(self, node: int) -> tuple[bool, frozenset[int]]:
        named = self.asked - {MAXIMUM}
        tried = EVERY_BIT if MAXIMUM in self.asked else named
        granted = frozenset(
            n
            for n in tried
            if node in self.granted_by_all(n) and limits_leave(self.question, n)
        )
        if not self.may_be_granted_anything():
            return False, frozenset()
        return bool(granted) and named <= granted, granted

    def may_be_granted_anything(self) -> bool:
        kinds = [type(ace) for ace in entries_of(self.sacl)]
        return bool(self.asked) and all(kind in SACL_KINDS for kind in kinds)

    def privileges_for(self, granted: frozenset[int]) -> frozenset[Privilege]:
        used = [self.privilege_for(number) for number in granted]
        return frozenset(privilege for privilege in used if privilege is not None)

    def granted_by_all(self, number: int) -> frozenset[int]:
        """The nodes where the object's own list and every central rule grant it."""
        if number not in self._by_all:
            granted = self.granted_nodes(number)
            for case in self.central_cases:
                if not case.granted_nodes(number):
                    granted = frozenset()
            self._by_all[number] = granted
        return self._by_all[number]

    @cached_property
    def _by_all(self) -> dict[int, frozenset[int]]:
        return {}

    def granted_nodes(self, number: int) -> frozenset[int]:
        everywhere = frozenset(range(self.node_count))
        if number == MAXIMUM:
            return frozenset()
        if self.privilege_for(number) is not None:
            return self.inside(number) if self.is_container else everywhere
        if number == SYSTEM_SECURITY or not self.sacl_rules.leaves(number):
            return frozenset()
        return self.granted_by_dacl(number)

    def inside(self, number: int) -> frozenset[int]:
        """The nodes where a package may what a privilege grants its user."""
        dacl = self.question.descriptor.dacl
        if number == SYSTEM_SECURITY or isinstance(dacl, NoAcl):
            return frozenset()
        walked = self.walk(number, ByPackage(self.token))
        return frozenset(n for n in range(self.node_count) if walked.is_granted(n))

    # --- privileges -----------------------------------------------------------------

    def privilege_for(self, number: int) -> Privilege | None:
        """The privilege that grants a bit which was asked for by name."""
        if number not in self.asked:
            return None
        is_open = self.sacl_rules.leaves(number)
        relabels = number == WRITE_OWNER and self.sacl_rules.leaves_but_for_integrity(
            number
        )
        intent = self.question.intent
        grants = (
            (Privilege.SECURITY, is_open and number == SYSTEM_SECURITY),
            (Privilege.TAKE_OWNERSHIP, is_open and number == WRITE_OWNER),
            (Privilege.RELABEL, relabels),
            (
                Privilege.BACKUP,
                is_open and Intent.BACKUP in intent and number in self.by_backup(),
            ),
            (
                Privilege.RESTORE,
                is_open and Intent.RESTORE in intent and number in self.by_restore(),
            ),
        )
        for privilege, would_grant in grants:
            if would_grant and self.holds(privilege):
                return privilege
        return None

    def by_backup(self) -> frozenset[int]:
        """Reading, whatever that is here; and passing through folders, of files."""
        reading = bits(self.mapping.read) | {READ_CONTROL, SYSTEM_SECURITY}
        return reading | {TRAVERSE} if self.mapping == FILE_MAPPING else reading

    def by_restore(self) -> frozenset[int]:
        """Writing, whatever that is here, descriptors, owners and deleting."""
        others = {WRITE_DAC, WRITE_OWNER, SYSTEM_SECURITY, DELETE}
        return bits(self.mapping.write) | others

    def holds(self, privilege: Privilege) -> bool:
        return any(
            entry.privilege == privilege
            and 1 in bits(int(entry.attributes))
            and 2 not in bits(int(entry.attributes))
            for entry in self.token.privileges
        )

    # --- who asks -------------------------------------------------------------------

    @property
    def is_container(self) -> bool:
        return self.token.package is not None

    def askers(self, number: int) -> list[Asker]:
        """All to whom the DACL must grant a bit."""
        askers: list[Asker] = [ByItself(self.token)]
        if self.restriction_binds(number):
            askers.append(ByRestriction(self.token))
        if self.is_container:
            askers.append(ByPackage(self.token))
        return askers

    def restriction_binds(self, number: int) -> bool:
        if not self.token.restricting_sids:
            return False
        if not self.token.is_write_restricted:
            return True
        if number in self.writing():
            return True
        # What neither a privilege nor ownership grants, if it is named and writes,
        # binds everything that is named.
        names_writing = any(
            self.privilege_for(named) is None and not self.is_owner_s(named)
            for named in self.asked & self.writing()
            if self.sacl_rules.leaves(named)
        )
        return names_writing and number in self.asked

    def writing(self) -> frozenset[int]:
        writes = bits(self.mapping.write) | {DELETE, WRITE_DAC, WRITE_OWNER}
        return writes - bits(self.mapping.read) - bits(self.mapping.execute)

    # --- the list -------------------------------------------------------------------

    @cached_property
    def sacl_rules(self) -> SaclRules:
        return SaclRules(self.token, self.sacl, self.mapping, self.counting)

    @cached_property
    def counting(self) -> Counting:
        resource = resource_claims(self.sacl)
        return Counting(self.token, resource, self.question.callback)

    @cached_property
    def stand(self) -> Stand:
        owner = self.question.descriptor.owner
        assert owner is not None
        return Stand(owner, self.question.self_sid)

    def granted_by_dacl(self, number: int) -> frozenset[int]:
        if isinstance(self.question.descriptor.dacl, NoAcl):
            is_granted = self.granted_without_a_list(number)
            return frozenset(range(self.node_count)) if is_granted else frozenset()
        granted = frozenset(range(self.node_count))
        for asker in self.askers(number):
            walked = self.walk(number, asker)
            granted &= {n for n in range(self.node_count) if walked.is_granted(n)}
        return granted

    def granted_without_a_list(self, number: int) -> bool:
        """Whoever asks gets what it names, or all that there is to get."""
        if self.is_container:
            return False
        if number in self.asked or number in bits(self.mapping.all):
            return True
        return all(self.owner_gets(number, asker) for asker in self.askers(number))

    def walk(self, number: int, asker: Asker) -> OneBit:
        """Walk the whole list for one bit and one asker."""
        bit = OneBit(self.question.object_types)
        if self.owner_gets(number, asker):
            bit.grant_everywhere()
        for ace in entries_of(self.question.descriptor.dacl):
            if type(ace) not in DACL_KINDS:
                bit.deny_everywhere()
            elif self.is_about(ace, number, asker):
                self.apply(ace, bit)
        return bit

    def is_about(self, ace: Ace, number: int, asker: Asker) -> bool:
        """Whether an entry is about this bit and this asker, and counts."""
        sid = self.stand.meant_by(ace.trustee)
        if is_inherit_only(ace) or sid is None:
            return False
        if number not in mapped(ace.mask, self.mapping):
            return False
        if type(ace) in ALLOW_KINDS:
            is_typed = isinstance(asker, ByPackage) and type(ace) in OBJECT_KINDS
            if is_typed or not asker.allows(sid):
                return False
        elif not asker.denies(sid):
            return False
        by_restriction = isinstance(asker, ByRestriction)
        return self.counting.counts(ace, by_restriction=by_restriction)

    def apply(self, ace: Ace, bit: OneBit) -> None:
        guid = type_of(ace)
        if type(ace) in ALLOW_KINDS:
            bit.grant_everywhere() if guid is None else bit.grant_type(guid)
        else:
            bit.deny_everywhere() if guid is None else bit.deny_type(guid)

    def owner_gets(self, number: int, asker: Asker) -> bool:
        """Whether ownership alone grants it to whoever asks; to a package, never."""
        return not isinstance(asker, ByPackage) and self.is_owner_s(number)

    def is_owner_s(self, number: int) -> bool:
        """Whether it is the owner's, who is in both lists and not spoken for."""
        if number not in {READ_CONTROL, WRITE_DAC}:
            return False
        spoken_for = any(
            str(ace.trustee) == OWNER_RIGHTS and not is_inherit_only(ace)
            for ace in entries_of(self.question.descriptor.dacl)
        )
        lists: list[Asker] = [ByItself(self.token)]
        if self.token.restricting_sids:
            lists.append(ByRestriction(self.token))
        owned = all(each.allows(self.stand.owner) for each in lists)
        return owned and not spoken_for

    # --- central policies -------------------------------------------------------------

    @cached_property
    def central_cases(self) -> list[_Case]:
        """The same question once more for each rule that applies to the object."""
        cases = []
        for rule in self.rules():
            if self.applies(rule):
                own = self.question.descriptor
                descriptor = SecurityDescriptor(
                    rule.dacl, own.owner, own.group, own.sacl
                )
                asked = replace(self.question, descriptor=descriptor, object_types=())
                cases.append(_Case(asked))
        return cases

    def rules(self) -> list[CentralAccessRule]:
        rules: list[CentralAccessRule] = []
        for ace in of_kind(self.sacl, ScopedPolicyIdAce):
            known = [p for p in self.question.policies if p.sid == ace.trustee]
            for policy in known:
                rules.extend(policy.rules)
            if self.question.policies and not known:
                rules.append(CentralAccessRule(RECOVERY))
        return rules

    def applies(self, rule: CentralAccessRule) -> bool:
        """Whether a rule is about the object, or nobody can read whether it is."""
        if rule.applies_to is None:
            return True
        facts = Facts(self.token, self.counting.resource)
        return evaluate(rule.applies_to, facts) in ("T", "X")
