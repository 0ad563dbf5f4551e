"""Central access policies: rules that narrow what an object's own list grants.

[MS-DTYP] 2.5.3.2 (AccessCheck), 2.5.3.1.3 and 2.5.3.1.4. An object names policies by
scoped policy entries in its SACL. Each rule that applies to the object is judged like a
DACL of its own, by the whole check, and what it does not grant is not granted. A staged
list that would answer differently changes nothing and is reported.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from stead.model.access_mask import AccessMask
from stead.model.ace import AccessAllowedAce, ScopedPolicyIdAce
from stead.model.acl import Acl
from stead.model.decision import AccessQuestion
from stead.model.policy import CentralAccessPolicy, CentralAccessRule
from stead.model.sid import Sid
from stead.model.well_known import ADMINISTRATORS, LOCAL_SYSTEM, OWNER_RIGHTS

RECOVERY_RULE: Final = CentralAccessRule(
    Acl(
        tuple(
            AccessAllowedAce(trustee, int(AccessMask.GENERIC_ALL))
            for trustee in (ADMINISTRATORS, LOCAL_SYSTEM, OWNER_RIGHTS)
        )
    ),
    name="recovery",
)
"""The rule of a policy that an object names and nobody knows."""


def policies_of(question: AccessQuestion) -> Iterator[CentralAccessPolicy]:
    """Yield the policies that bind an object, each once, in the order of its SACL.

    Where no policies are configured the entries mean nothing. All entries count: a
    second one does not open what it was to close.
    """
    sacl = question.descriptor.sacl
    if not question.policies or not isinstance(sacl, Acl):
        return
    named: dict[Sid, list[CentralAccessPolicy]] = {
        ace.trustee: []
        for ace in sacl.aces
        if type(ace) is ScopedPolicyIdAce and not ace.is_inherit_only
    }
    for policy in question.policies:
        if policy.sid in named:
            named[policy.sid].append(policy)
    for sid, known in named.items():
        yield from known or (CentralAccessPolicy(sid, (RECOVERY_RULE,)),)
