"""A second judge: slow, naive, one bit at a time, by another hand.

Written from [MS-DTYP] 2.5.3.2 and 2.5.3.3 and from Microsoft's documentation of
AccessCheck, and not from `stead.decision`: it shares no helper with the judge, takes no
step early, and asks of each bit alone whether it is granted. Where the documents
differ, it holds what docs/adr says was chosen.
"""

from __future__ import annotations

from dataclasses import dataclass

from stead.model.access_mask import GenericMapping
from stead.model.ace import (
    AccessAllowedAce,
    AccessDeniedAce,
    Ace,
    MandatoryLabelAce,
    SystemAuditAce,
)
from stead.model.acl import Acl, NoAcl
from stead.model.privilege import Privilege
from stead.model.security_descriptor import SecurityDescriptor
from stead.model.sid import Sid
from stead.model.token import AccessToken, ImpersonationLevel, TokenGroup

READ_CONTROL, WRITE_DAC, WRITE_OWNER = 17, 18, 19
SYSTEM_SECURITY, MAXIMUM = 24, 25
GENERIC_ALL, GENERIC_EXECUTE, GENERIC_WRITE, GENERIC_READ = 28, 29, 30, 31
DACL_KINDS = (AccessAllowedAce, AccessDeniedAce)
SACL_KINDS = (SystemAuditAce, MandatoryLabelAce)


@dataclass(frozen=True)
class Answer:
    error: str = ""
    allowed: bool = False
    granted: frozenset[int] = frozenset()
    privileges: frozenset[Privilege] = frozenset()


def bits(mask: int) -> frozenset[int]:
    return frozenset(number for number in range(32) if mask & (1 << number))


def naive_access_check(
    token: AccessToken,
    descriptor: SecurityDescriptor,
    desired: int,
    mapping: GenericMapping,
) -> Answer:
    asked = bits(desired)
    if asked & {GENERIC_ALL, GENERIC_EXECUTE, GENERIC_WRITE, GENERIC_READ}:
        return Answer(error="ERROR_GENERIC_NOT_MAPPED")
    if token.level == ImpersonationLevel.ANONYMOUS:
        return Answer(error="ERROR_BAD_IMPERSONATION_LEVEL")
    if descriptor.owner is None or descriptor.group is None:
        return Answer(error="ERROR_INVALID_SECURITY_DESCR")
    case = _Case(token, descriptor, mapping, asked)
    if not asked or case.sacl_is_strange():
        return Answer()
    by_name = asked - {MAXIMUM}
    tried = frozenset(range(32)) if MAXIMUM in asked else by_name
    why = {number: case.why(number) for number in tried}
    granted = frozenset(number for number in tried if why[number])
    if not granted or not by_name <= granted:
        return Answer()
    used = frozenset(w for w in why.values() if isinstance(w, Privilege))
    return Answer(allowed=True, granted=granted, privileges=used)


@dataclass(frozen=True)
class _Case:
    token: AccessToken
    descriptor: SecurityDescriptor
    mapping: GenericMapping
    asked: frozenset[int]

    def why(self, number: int) -> Privilege | str:
        """What grants this one bit, or nothing."""
        is_open = self.label_leaves_open(number)
        if number == MAXIMUM:
            return ""
        if number == SYSTEM_SECURITY:
            privilege = self.enabled(Privilege.SECURITY)
            return privilege if is_open and number in self.asked else ""
        if number == WRITE_OWNER and number in self.asked:
            by_taking = self.enabled(Privilege.TAKE_OWNERSHIP) if is_open else ""
            by_privilege = by_taking or self.enabled(Privilege.RELABEL)
            if by_privilege:
                return by_privilege
        if not is_open:
            return ""
        if number in {READ_CONTROL, WRITE_DAC} and self.owner_rules_alone():
            return "owner"
        return "dacl" if self.dacl_grants(number) else ""

    # --- integrity ----------------------------------------------------------------

    def sacl_is_strange(self) -> bool:
        sacl = self.descriptor.sacl
        kinds = [type(ace) for ace in sacl] if isinstance(sacl, Acl) else []
        return any(kind not in SACL_KINDS for kind in kinds)

    def label_leaves_open(self, number: int) -> bool:
        if 0 not in bits(int(self.token.mandatory_policy)):
            return True
        level, forbidden = self.label()
        if level is not None and number_of(self.token.integrity) >= level:
            return True
        if level is None:
            return False
        reading = bits(self.mapping.read) if "R" not in forbidden else frozenset()
        writing = bits(self.mapping.write) if "W" not in forbidden else frozenset()
        running = bits(self.mapping.execute) if "X" not in forbidden else frozenset()
        return number in reading | writing | running

    def label(self) -> tuple[int | None, str]:
        sacl = self.descriptor.sacl
        found = [
            ace
            for ace in (sacl if isinstance(sacl, Acl) else ())
            if type(ace) is MandatoryLabelAce and 3 not in bits(int(ace.flags))
        ]
        if not found:
            return 8192, "W"
        policy = bits(found[0].mask)
        letters = "".join(c for n, c in enumerate("WRX") if n in policy)
        parts = str(found[0].trustee).split("-")
        if parts[:3] != ["S", "1", "16"] or len(parts) != 4:
            return None, letters
        return int(parts[3]), letters

    # --- who is who ---------------------------------------------------------------

    def enabled(self, privilege: Privilege) -> Privilege | str:
        for entry in self.token.privileges:
            held = bits(int(entry.attributes))
            if entry.privilege == privilege and 1 in held and 2 not in held:
                return privilege
        return ""

    def is_denied_as(self, sid: Sid) -> bool:
        """Whether a deny entry for this SID means the token."""
        return sid == self.token.user or any(
            group.sid == sid and (_is_enabled(group) or _is_deny_only(group))
            for group in self.token.groups
        )

    def is_allowed_as(self, sid: Sid) -> bool:
        """Whether an allow entry for this SID means the token."""
        if any(g.sid == sid and _is_deny_only(g) for g in self.token.groups):
            return False
        if sid == self.token.user:
            return not self.token.user_is_deny_only
        return any(g.sid == sid and _is_enabled(g) for g in self.token.groups)

    def owner_rules_alone(self) -> bool:
        dacl, owner = self.descriptor.dacl, self.descriptor.owner
        spoken_for = isinstance(dacl, Acl) and any(
            str(ace.trustee) == "S-1-3-4" and 3 not in bits(int(ace.flags))
            for ace in dacl
        )
        return not spoken_for and owner is not None and self.is_allowed_as(owner)

    # --- the list -----------------------------------------------------------------

    def dacl_grants(self, number: int) -> bool:
        dacl = self.descriptor.dacl
        if isinstance(dacl, NoAcl):
            return number in self.asked or number in bits(self.mapping.all)
        speaking = [ace for ace in dacl if self.speaks(ace, number)]
        return bool(speaking) and type(speaking[0]) is AccessAllowedAce

    def speaks(self, ace: Ace, number: int) -> bool:
        if type(ace) not in DACL_KINDS:
            return True
        trustee = ace.trustee
        if str(trustee) == "S-1-3-4":
            trustee = self.descriptor.owner or trustee
        allows = type(ace) is AccessAllowedAce
        meant = self.is_allowed_as if allows else self.is_denied_as
        if 3 in bits(int(ace.flags)) or not meant(trustee):
            return False
        return number in self.mapped(bits(ace.mask))

    def mapped(self, mask: frozenset[int]) -> frozenset[int]:
        result = {number for number in mask if number < GENERIC_ALL}
        for generic, meaning in (
            (GENERIC_READ, self.mapping.read),
            (GENERIC_WRITE, self.mapping.write),
            (GENERIC_EXECUTE, self.mapping.execute),
            (GENERIC_ALL, self.mapping.all),
        ):
            if generic in mask:
                result |= bits(meaning)
        return frozenset(result)


def _is_enabled(group: TokenGroup) -> bool:
    return 2 in bits(int(group.attributes))


def _is_deny_only(group: TokenGroup) -> bool:
    return 4 in bits(int(group.attributes))


def number_of(level: Sid) -> int:
    return int(str(level).rsplit("-", 1)[1])
