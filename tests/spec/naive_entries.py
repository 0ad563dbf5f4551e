"""What single entries say: whether they are about this object, and whether they count.

An entry with a condition counts where the condition says so, and where nobody can tell
it counts against the one who asks.
"""

from __future__ import annotations

from dataclasses import dataclass

from tests.spec.naive_condition import Facts, evaluate
from tests.spec.naive_masks import bits

from stead.codec.claim_binary import read_claim
from stead.codec.condition_binary import read_condition
from stead.errors import SteadError
from stead.model.ace import (
    AccessAllowedAce,
    AccessAllowedCallbackAce,
    AccessAllowedCallbackObjectAce,
    AccessAllowedObjectAce,
    AccessDeniedAce,
    AccessDeniedCallbackAce,
    AccessDeniedCallbackObjectAce,
    AccessDeniedObjectAce,
    AccessFilterAce,
    Ace,
    MandatoryLabelAce,
    ObjectAce,
    ProcessTrustLabelAce,
    ResourceAttributeAce,
    ScopedPolicyIdAce,
    SystemAlarmAce,
    SystemAlarmCallbackAce,
    SystemAlarmCallbackObjectAce,
    SystemAlarmObjectAce,
    SystemAuditAce,
    SystemAuditCallbackAce,
    SystemAuditCallbackObjectAce,
    SystemAuditObjectAce,
)
from stead.model.acl import Acl, NoAcl
from stead.model.claim import Claim
from stead.model.decision import AceCallback
from stead.model.guid import Guid
from stead.model.token import AccessToken

ALLOW_KINDS = (
    AccessAllowedAce,
    AccessAllowedObjectAce,
    AccessAllowedCallbackAce,
    AccessAllowedCallbackObjectAce,
)
DENY_KINDS = (
    AccessDeniedAce,
    AccessDeniedObjectAce,
    AccessDeniedCallbackAce,
    AccessDeniedCallbackObjectAce,
)
OBJECT_KINDS = (
    AccessAllowedObjectAce,
    AccessAllowedCallbackObjectAce,
    AccessDeniedObjectAce,
    AccessDeniedCallbackObjectAce,
)
CALLBACK_KINDS = (
    AccessAllowedCallbackAce,
    AccessAllowedCallbackObjectAce,
    AccessDeniedCallbackAce,
    AccessDeniedCallbackObjectAce,
)
DACL_KINDS = (*ALLOW_KINDS, *DENY_KINDS)
SACL_KINDS = (
    SystemAuditAce,
    SystemAuditObjectAce,
    SystemAuditCallbackAce,
    SystemAuditCallbackObjectAce,
    SystemAlarmAce,
    SystemAlarmObjectAce,
    SystemAlarmCallbackAce,
    SystemAlarmCallbackObjectAce,
    MandatoryLabelAce,
    ResourceAttributeAce,
    ScopedPolicyIdAce,
    ProcessTrustLabelAce,
    AccessFilterAce,
)


def entries_of(acl: Acl | NoAcl) -> tuple[Ace, ...]:
    return acl.aces if isinstance(acl, Acl) else ()


def is_inherit_only(ace: Ace) -> bool:
    return 3 in bits(int(ace.flags))


def of_kind(acl: Acl | NoAcl, kind: type[Ace]) -> list[Ace]:
    """The entries of one kind that are about this object."""
    return [a for a in entries_of(acl) if type(a) is kind and not is_inherit_only(a)]


def type_of(ace: Ace) -> Guid | None:
    return ace.object_type if isinstance(ace, ObjectAce) else None


def resource_claims(sacl: Acl | NoAcl) -> tuple[Claim, ...] | None:
    """The object's attributes; None where one of them cannot be read."""
    claims = []
    for ace in of_kind(sacl, ResourceAttributeAce):
        try:
            claims.append(read_claim(ace.application_data))
        except SteadError:
            return None
    return tuple(claims)


@dataclass(frozen=True)
class Counting:
    """Tells which entries count for a token on an object."""

    token: AccessToken
    resource: tuple[Claim, ...] | None
    callback: AceCallback | None

    def counts(self, ace: Ace, *, by_restriction: bool = False) -> bool:
        if type(ace) not in CALLBACK_KINDS:
            return True
        denies = type(ace) in DENY_KINDS
        if ace.application_data.startswith(b"artx"):
            truth = self.truth(
                ace.application_data, for_deny=denies, by_restriction=by_restriction
            )
            return truth == "T" or (denies and truth in ("U", "E", "X"))
        if self.callback is None:
            return denies
        return self.callback(ace, self.token)

    def truth(
        self, data: bytes, *, for_deny: bool, by_restriction: bool = False
    ) -> str:
        """What the condition says: "E" also where there is none that can be read."""
        if not data.startswith(b"artx"):
            return "E"
        try:
            condition = read_condition(data)
        except SteadError:
            return "E"
        facts = Facts(self.token, self.resource, for_deny, by_restriction)
        return evaluate(condition, facts)
