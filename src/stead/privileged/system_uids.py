"""Which uids are the machine's own, and are never impersonated unless named.

Which they are stands in `stead.model.system_ids`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from stead.errors import ImpersonationRefusedError
from stead.model.system_ids import owner_of

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from stead.model.posix_identity import PosixIdentity

DEFAULT_GUARD_UID: Final = 65530
"""The real uid and gid of a thread while it impersonates, and of nothing else.

65520 to 65533 is the one range that systemd lists as unused and that no tool hands
out: useradd stops at 60000, dynamic service users at 65519, and 65534 is nobody's. It
lies within the 65536 ids that a container usually maps.
"""

DEFAULT_VERIFIER_UID: Final = 65529
"""As whom the broker's verifiers of tickets read what strangers send."""


def refuse_system_uid(
    identity: PosixIdentity,
    *,
    guard: int = DEFAULT_GUARD_UID,
    allowed: AbstractSet[int] = frozenset(),
) -> None:
    """Refuse an identity that belongs to the machine and not to a person.

    1. uid 0 and the guard are refused whatever the policy says: a thread cannot be
       them (see ``credentials``).
    2. A uid that the policy names is allowed with whatever groups it has.
    3. A system uid is refused; so is group 0, which owns what root keeps for itself.

    Args:
        identity: who is to be impersonated.
        guard: the server's guard uid.
        allowed: the uids that the policy names.

    Raises:
        ImpersonationRefusedError: the uid or a group is the system's.
    """
    groups = {identity.gid, *identity.groups}
    if identity.uid in {0, guard} or guard in groups:
        raise ImpersonationRefusedError(
            f"uid {identity.uid} is never impersonated",
            advice="root and the guard are not clients; act as the server itself",
        )
    if identity.uid in allowed:
        return
    whose = owner_of(identity.uid)
    if whose is None and 0 in groups:
        whose = "a member of group 0"
    if whose is not None:
        raise ImpersonationRefusedError(
            f"uid {identity.uid} is {whose}, and no policy names it",
            advice=f"allow uid {identity.uid} by name if it really is a client",
        )
