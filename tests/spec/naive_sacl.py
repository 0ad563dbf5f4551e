"""What a SACL leaves open: process trust, access filters and integrity, in this order.

[MS-DTYP] 2.5.3.3 for integrity; winnt.h names the other two. ACCESS_SYSTEM_SECURITY is
a privilege's alone and never the business of a trust label or a filter.
"""

from __future__ import annotations

from dataclasses import dataclass

from tests.spec.naive_entries import Counting, of_kind
from tests.spec.naive_masks import SYSTEM_SECURITY, bits, mapped, numbers_after

from stead.model.access_mask import GenericMapping
from stead.model.ace import AccessFilterAce, MandatoryLabelAce, ProcessTrustLabelAce
from stead.model.acl import Acl, NoAcl
from stead.model.token import AccessToken

MEDIUM = 8192


@dataclass(frozen=True)
class SaclRules:
    """The rules of one SACL for one token, each asked of one bit."""

    token: AccessToken
    sacl: Acl | NoAcl
    mapping: GenericMapping
    counting: Counting

    def leaves(self, number: int) -> bool:
        return self.leaves_but_for_integrity(number) and self.integrity_leaves(number)

    def leaves_but_for_integrity(self, number: int) -> bool:
        return self.trust_leaves(number) and self.filters_leave(number)

    def trust_leaves(self, number: int) -> bool:
        labels = of_kind(self.sacl, ProcessTrustLabelAce)
        if not labels or number == SYSTEM_SECURITY:
            return True
        needed = numbers_after(labels[0].trustee, "S-1-19-", 2)
        held = self.token.trust
        has = (0, 0) if held is None else numbers_after(held, "S-1-19-", 2)
        if needed and has and has[0] >= needed[0] and has[1] >= needed[1]:
            return True
        return number in mapped(labels[0].mask, self.mapping)

    def filters_leave(self, number: int) -> bool:
        if number == SYSTEM_SECURITY:
            return True
        return all(
            number in mapped(ace.mask, self.mapping)
            for ace in of_kind(self.sacl, AccessFilterAce)
            if self.counting.truth(ace.application_data, for_deny=False) != "T"
        )

    def integrity_leaves(self, number: int) -> bool:
        if 0 not in bits(int(self.token.mandatory_policy)):
            return True
        level, forbidden = self.label()
        if level is None:
            return number in self._left_by_label(forbidden)
        (has,) = numbers_after(self.token.integrity, "S-1-16-", 1) or (0,)
        if has >= level or (self.token.package is not None and level <= MEDIUM):
            return True
        return number in self._left_by_label(forbidden)

    def label(self) -> tuple[int | None, str]:
        """The level, None if it is no level; and what is forbidden from below."""
        found = of_kind(self.sacl, MandatoryLabelAce)
        if not found:
            return MEDIUM, "W"
        letters = "".join(c for n, c in enumerate("WRX") if n in bits(found[0].mask))
        level = numbers_after(found[0].trustee, "S-1-16-", 1)
        return (level[0], letters) if level else (None, "WRX")

    def _left_by_label(self, forbidden: str) -> frozenset[int]:
        kept: frozenset[int] = frozenset()
        for letter, meaning in (
            ("R", self.mapping.read),
            ("W", self.mapping.write),
            ("X", self.mapping.execute),
        ):
            if letter not in forbidden:
                kept |= bits(meaning)
        return kept
