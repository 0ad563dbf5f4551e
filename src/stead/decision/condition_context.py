"""What conditions are evaluated against: claims by name, and SIDs ([MS-DTYP] 2.5.2).

Names and, unless a claim says otherwise, strings are compared as Windows does, without
regard to case. What a context has once looked up and prepared, it keeps.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Final, TypeAlias

from stead.decision.case_folding import fold, order_key
from stead.errors import InvalidClaimError
from stead.model.claim import Claim, ClaimType, ClaimValue
from stead.model.condition import Attribute, AttributeSource
from stead.model.sid import Sid

Key: TypeAlias = "int | bytes"
"""A value as it is compared: equal values have equal keys, and keys are ordered."""


class Kind(Enum):
    """What values can be compared with what; both kinds of integers are one."""

    NUMBER = "number"
    STRING = "string"
    SID = "sid"
    BOOLEAN = "boolean"
    OCTETS = "octets"


_KINDS: Final[dict[ClaimType, Kind]] = {
    ClaimType.INT64: Kind.NUMBER,
    ClaimType.UINT64: Kind.NUMBER,
    ClaimType.STRING: Kind.STRING,
    ClaimType.SID: Kind.SID,
    ClaimType.BOOLEAN: Kind.BOOLEAN,
    ClaimType.OCTET_STRING: Kind.OCTETS,
}


class Found:
    """A claim that a condition names, prepared to be compared.

    Attributes:
        kind: what its values are.
        is_case_sensitive: whether its strings are compared with regard to case.
    """

    __slots__ = ("_claim", "_keys", "is_case_sensitive", "kind")

    def __init__(self, claim: Claim) -> None:
        self._claim = claim
        self._keys: dict[bool, frozenset[Key]] = {}
        self.kind = _KINDS[claim.type]
        self.is_case_sensitive = claim.is_case_sensitive
        if len(self.keys(case_sensitive=claim.is_case_sensitive)) != len(claim.values):
            # Windows ends the whole check here.
            raise InvalidClaimError(
                f"claim `{ascii(claim.name)[1:-1]}` has a value twice"
            )

    def __bool__(self) -> bool:
        return bool(self._claim.values)

    def keys(self, *, case_sensitive: bool) -> frozenset[Key]:
        """Return the values' keys."""
        known = self._keys.get(case_sensitive)
        if known is None:
            known = frozenset(
                key_of(value, case_sensitive=case_sensitive)
                for value in self._claim.values
            )
            self._keys[case_sensitive] = known
        return known


def key_of(value: ClaimValue, *, case_sensitive: bool) -> Key:
    """Return a value as it is compared."""
    if isinstance(value, str):
        return order_key(value if case_sensitive else fold(value))
    return value


@dataclass(frozen=True, slots=True)
class ConditionContext:
    """Whose claims and SIDs a condition is about.

    Attributes:
        user_claims: of the user; of two with one name the last counts, as on Windows.
        device_claims: of the device, likewise.
        local_claims: of the token, likewise.
        resource_claims: of the object; of two with one name the first counts
            ([MS-DTYP] 2.5.3.1.7).
        sids: those that Member_of looks at, the user's own among them.
        device_sids: those that Device_Member_of looks at.
        deny: whether claims are seen that count for denying only.
    """

    user_claims: tuple[Claim, ...] = ()
    device_claims: tuple[Claim, ...] = ()
    local_claims: tuple[Claim, ...] = ()
    resource_claims: tuple[Claim, ...] = ()
    sids: frozenset[Sid] = frozenset()
    device_sids: frozenset[Sid] = frozenset()
    deny: bool = False
    _named: dict[AttributeSource, dict[str, Claim]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    _found: dict[tuple[AttributeSource, str], Found] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def find(self, attribute: Attribute) -> Found | None:
        """Return the claim that an attribute names, or None; it may have no values.

        Raises:
            InvalidClaimError: the claim has a value twice.
        """
        name = fold(attribute.name)
        place = (attribute.source, name)
        found = self._found.get(place)
        if found is None:
            claim = self._claims_of(attribute.source).get(name)
            if claim is None:
                return None
            found = self._found[place] = Found(claim)
        return found

    def _claims_of(self, source: AttributeSource) -> dict[str, Claim]:
        named = self._named.get(source)
        if named is None:
            named = self._named[source] = self._by_name(source)
        return named

    def _by_name(self, source: AttributeSource) -> dict[str, Claim]:
        if source is AttributeSource.RESOURCE:
            claims = self.resource_claims[::-1]
        elif source is AttributeSource.USER:
            claims = self.user_claims
        elif source is AttributeSource.DEVICE:
            claims = self.device_claims
        else:
            claims = self.local_claims
        return {
            fold(claim.name): claim
            for claim in claims
            if not claim.is_disabled and (self.deny or not claim.is_deny_only)
        }
